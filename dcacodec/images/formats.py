"""The picture formats that are read and written, and the file names that stand for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePath
from typing import Any, Final

from PIL import Image

from dcacodec.errors import ImageError

# Raster formats that start with a signature. Left out on purpose: formats that run other programs (EPS), that are
# recognised by guessing (TGA), and those whose 16-bit samples Pillow drops without a trace (JPEG 2000, SGI).
READABLE: Final = ("PNG", "JPEG", "TIFF", "WEBP", "AVIF", "PPM", "BMP", "GIF", "QOI")

_FLOATS: Final = ".pfm"
"""Of Pillow's format PPM, which is readable, but this kind of it has samples that are not."""


@cache
def picture_suffixes() -> frozenset[str]:
    """Of the names of the pictures that can be read, in lower case, with the dot."""
    known = (suffix for suffix, name in Image.registered_extensions().items() if name in READABLE)
    return frozenset(known) - {_FLOATS}


def has_picture_suffix(path: PurePath) -> bool:
    """Whether a name ends like that of a picture that can be read."""
    return path.suffix.lower() in picture_suffixes()


def has_picture_name(path: PurePath) -> bool:
    """Whether a file that nobody named, one of a folder or archive, is taken for a picture. Hidden ones are not."""
    return has_picture_suffix(path) and not path.name.startswith(".")


@dataclass(frozen=True)
class OutputFormat:
    """A lossless picture format.

    Attributes:
        pillow: Pillow's name of it.
        suffixes: of file names, in lower case.
        gray, colour, alpha, icc: what it can hold.
        texts: whether it can hold EXIF data and an XMP packet.
        max_side: the widest and tallest picture it can hold, in pixels; None for no limit worth a check.
        options: for Pillow's writer.
    """

    pillow: str
    suffixes: tuple[str, ...]
    gray: bool = True
    colour: bool = True
    alpha: bool = True
    icc: bool = True
    texts: bool = True
    max_side: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


OUTPUT_FORMATS: Final[Mapping[str, OutputFormat]] = {
    "png": OutputFormat("PNG", (".png",)),
    "tiff": OutputFormat("TIFF", (".tif", ".tiff"), options={"compression": "tiff_adobe_deflate"}),
    # `exact` keeps the colour of transparent pixels.
    "webp": OutputFormat("WEBP", (".webp",), gray=False, max_side=16383, options={"lossless": True, "exact": True}),
    "ppm": OutputFormat("PPM", (".ppm",), gray=False, alpha=False, icc=False, texts=False),
    "pgm": OutputFormat("PPM", (".pgm",), colour=False, alpha=False, icc=False, texts=False),
    # Pillow writes alpha into BMP, but most programs do not read it there.
    "bmp": OutputFormat("BMP", (".bmp",), alpha=False, icc=False, texts=False),
}
"""The formats that `write_picture` knows, by name."""


def format_for(path: str | Path) -> str:
    """The name of the output format that the suffix of a file name stands for.

    Raises:
        ImageError: the suffix stands for none; the text lists those that do.
    """
    suffix = Path(path).suffix.lower()
    for name, output in OUTPUT_FORMATS.items():
        if suffix in output.suffixes:
            return name
    known = ", ".join(suffix for output in OUTPUT_FORMATS.values() for suffix in output.suffixes)
    why = "is lossy" if suffix in (".jpg", ".jpeg", ".jpe", ".avif", ".heic") else "is not an output format"
    raise ImageError(f"{suffix or 'a name without suffix'} {why}: pictures are written without loss, as {known}")
