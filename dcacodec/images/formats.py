"""The picture formats that are read and written, and their file name suffixes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePath
from typing import Any, Final

from PIL import Image

from dcacodec.errors import ImageError

# Raster formats with a signature. Excluded are formats that run other programs (EPS), that have no signature (TGA), and
# those whose 16-bit samples Pillow silently reduces to 8 (JPEG 2000, SGI).
READABLE: Final = ("PNG", "JPEG", "TIFF", "WEBP", "AVIF", "PPM", "BMP", "GIF", "QOI")

_FLOATS: Final = ".pfm"
"""A suffix of Pillow's format PPM whose floating-point samples are not supported."""


@cache
def picture_suffixes() -> frozenset[str]:
    """The suffixes of readable picture files, in lower case, with the dot."""
    known = (suffix for suffix, name in Image.registered_extensions().items() if name in READABLE)
    return frozenset(known) - {_FLOATS}


def has_picture_suffix(path: PurePath) -> bool:
    """Whether a name has the suffix of a readable picture format."""
    return path.suffix.lower() in picture_suffixes()


def has_picture_name(path: PurePath) -> bool:
    """Whether a file in a folder or archive is taken as a picture, by its suffix. Hidden files are not."""
    return has_picture_suffix(path) and not path.name.startswith(".")


@dataclass(frozen=True)
class OutputFormat:
    """A lossless picture format.

    Attributes:
        pillow: Pillow's name of the format.
        suffixes: of file names, in lower case.
        gray, colour, alpha, icc: whether it supports these.
        texts: whether it supports EXIF data and XMP packets.
        max_side: the largest width and height in pixels; None for no relevant limit.
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
    # Pillow can write alpha to BMP, but most programs do not read it.
    "bmp": OutputFormat("BMP", (".bmp",), alpha=False, icc=False, texts=False),
}
"""The formats that `write_picture` can write, by name."""


def format_for(path: str | Path) -> str:
    """The name of the output format for the suffix of a file name.

    Raises:
        ImageError: there is no output format for the suffix; the message lists the supported suffixes.
    """
    suffix = Path(path).suffix.lower()
    for name, output in OUTPUT_FORMATS.items():
        if suffix in output.suffixes:
            return name
    known = ", ".join(suffix for output in OUTPUT_FORMATS.values() for suffix in output.suffixes)
    why = "is lossy" if suffix in (".jpg", ".jpeg", ".jpe", ".avif", ".heic") else "is not an output format"
    raise ImageError(f"{suffix or 'a name without suffix'} {why}; pictures are written losslessly, as {known}")
