"""Where the files that belong to the package lie."""

from pathlib import Path


def models_dir() -> Path:
    """The folder of the published weights and their cards.

    Installed, it is `weights/` inside the package; in a source checkout (so in an editable install too) it is `models/`
    beside the package, where the same files are kept in the repository.
    """
    package = Path(__file__).resolve().parent
    installed = package / "weights"
    return installed if installed.is_dir() else package.parent / "models"
