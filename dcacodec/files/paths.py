"""Where the files that belong to the package lie, and those that it keeps for itself."""

import os
from importlib import resources
from pathlib import Path

from platformdirs import user_cache_path


def models_dir() -> Path:
    """The folder of the published weights and their cards.

    Installed, it is the package `dcacodec.models`; in a source checkout (so in an editable install too) it is `models/`
    beside the package, where the same files are kept in the repository.
    """
    package = Path(str(resources.files("dcacodec")))
    installed = package / "models"
    return installed if installed.is_dir() else package.parent / "models"


def own_models_dir() -> Path | None:
    """The folder of the user's own weights, such as `dcacodec publish` makes.

    It is the one that the environment variable DCACODEC_MODELS names. None where there is no such variable.
    """
    own = os.environ.get("DCACODEC_MODELS")
    return Path(own).absolute() if own else None


def cache_dir() -> Path:
    """The folder of what can be made or fetched again. It need not be there yet.

    It is the one that the environment variable DCACODEC_CACHE names, else `dcacodec` in the user's cache folder.

    Raises:
        RuntimeError: there is no home folder, and no variable says what to take instead.
    """
    # Absolute, as some of the work is done in other folders.
    if own := os.environ.get("DCACODEC_CACHE"):
        return Path(own).absolute()
    folder = user_cache_path("dcacodec", appauthor=False)
    if not folder.is_absolute():  # "~" stays where nothing says whose home it is
        raise RuntimeError("there is no home folder")
    return folder
