"""Paths of the package's own files and of its cache."""

import os
from importlib import resources
from pathlib import Path

from platformdirs import user_cache_path


def models_dir() -> Path:
    """The folder of the published weights and their cards.

    In an installation it is the package `dcacodec.models`; in a source checkout, and so in an editable installation, it
    is the folder `models/` of the repository.
    """
    package = Path(str(resources.files("dcacodec")))
    installed = package / "models"
    return installed if installed.is_dir() else package.parent / "models"


def own_models_dir() -> Path | None:
    """The folder of the user's own weights, as made by `dcacodec publish`: the value of DCACODEC_MODELS, or None."""
    own = os.environ.get("DCACODEC_MODELS")
    return Path(own).absolute() if own else None


def cache_dir() -> Path:
    """The folder of files that can be made or fetched again; it need not exist.

    It is the value of the environment variable DCACODEC_CACHE, else `dcacodec` in the user's cache folder.

    Raises:
        RuntimeError: there is no home folder, and the variable is not set.
    """
    # Absolute, because compilation runs in another working directory.
    if own := os.environ.get("DCACODEC_CACHE"):
        return Path(own).absolute()
    if (base := os.environ.get("XDG_CACHE_HOME")) and not os.path.isabs(base):
        # Its specification wants this to be ignored, and some versions of platformdirs do not.
        folder = Path("~/.cache/dcacodec").expanduser()
    else:
        folder = user_cache_path("dcacodec", appauthor=False)
    if not folder.is_absolute():  # "~" is not expanded if the home folder is unknown
        raise RuntimeError("there is no home folder")
    return folder
