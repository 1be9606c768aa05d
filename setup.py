"""What setup.cfg cannot say: the page on PyPI, and that the folder `models` becomes the package `dcacodec.models`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

NOTE = "Paths on this page are those of the source distribution, whose folder `docs` has the whole documentation."


def page(readme: str) -> str:
    """The README with the paths of other files in place of links to them: PyPI shows no other files."""
    title, text = readme.split("\n", 1)
    return f"{title}\n\n{NOTE}\n" + re.sub(r"!?\[([^]]+)\]\((?!https?:)([^)#]+)[^)]*\)", r"\1 (`\2`)", text)


setup(
    long_description=page(Path(__file__).with_name("README.md").read_text("utf-8")),
    packages=[*find_packages(include=["dcacodec", "dcacodec.*"]), "dcacodec.models"],
    package_dir={"dcacodec.models": "models"},
)
