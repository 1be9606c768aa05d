"""Picture formats that are read where a package for Pillow is installed (the extra `formats`)."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import PurePath
from typing import Final

from PIL import features

from dcacodec.errors import ImageError

EXTRA: Final = "pip install 'dcacodec[formats]'"


@dataclass(frozen=True)
class OptionalFormat:
    """A format that needs more than Pillow.

    Attributes:
        pillow: Pillow's name of the format.
        title: its name for users.
        suffixes: of file names, in lower case.
        start: matches the first bytes of a file.
        module, package: the module that reads it, and the package that has it; None for a part of Pillow.
    """

    pillow: str
    title: str
    suffixes: tuple[str, ...]
    start: re.Pattern[bytes]
    module: str | None = None
    package: str | None = None

    @property
    def installed(self) -> bool:
        """Whether files can be read."""
        return bool(features.check("jpg_2000")) if self.module is None else find_spec(self.module) is not None

    def require(self) -> None:
        """Register the reader with Pillow.

        Raises:
            ImageError: it is not installed.
        """
        if not self.installed:
            how = "a Pillow with JPEG 2000" if self.package is None else f"the package {self.package}: {EXTRA}"
            raise ImageError(f"{self.title} pictures are read with {how}")
        if self.module is not None:
            module = importlib.import_module(self.module)
            if self.module == "pillow_heif":  # the other registers itself
                module.register_heif_opener(thumbnails=False)


OPTIONAL_FORMATS: Final = (
    OptionalFormat(
        "HEIF",
        "HEIC",
        (".heic", ".heif", ".hif"),
        re.compile(rb".{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL),
        "pillow_heif",
        "pillow-heif",
    ),
    OptionalFormat(
        "JXL",
        "JPEG XL",
        (".jxl",),
        re.compile(rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n"),
        "pillow_jxl",
        "pillow-jxl-plugin",
    ),
    OptionalFormat(
        "JPEG2000",
        "JPEG 2000",
        (".jp2", ".j2k", ".jpf", ".jpx", ".j2c"),
        re.compile(rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n"),
    ),
)


def optional_format(head: bytes) -> OptionalFormat | None:
    """The format of a file with these first bytes, if it is one of `OPTIONAL_FORMATS`."""
    return next((each for each in OPTIONAL_FORMATS if each.start.match(head[:256])), None)


@cache
def optional_suffixes() -> frozenset[str]:
    """The suffixes of the formats that are installed."""
    return frozenset(suffix for each in OPTIONAL_FORMATS if each.installed for suffix in each.suffixes)


def unread_formats(paths: Iterable[PurePath]) -> tuple[int, list[str]]:
    """How many of these files are pictures that packages of the extra would read, and the names of their formats."""
    names = [path.suffix.lower() for path in paths]
    missing = [each for each in OPTIONAL_FORMATS if not each.installed]
    counts = {each.title: sum(name in each.suffixes for name in names) for each in missing}
    return sum(counts.values()), [title for title, count in counts.items() if count]
