"""The picture formats that are read and written, and their file name suffixes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePath
from typing import Any, Final

from PIL import Image

from dcacodec.errors import ImageError
from dcacodec.images.optional import optional_suffixes

# Raster formats with a signature. Excluded are formats that run other programs (EPS), that have no signature (TGA), and
# those whose 16-bit samples Pillow silently reduces to 8 (SGI).
READABLE: Final = ("PNG", "JPEG", "TIFF", "WEBP", "AVIF", "PPM", "BMP", "GIF", "QOI")

_FLOATS: Final = ".pfm"
"""A suffix of Pillow's format PPM whose floating-point samples are not supported."""


@cache
def picture_suffixes() -> frozenset[str]:
    """The suffixes of readable picture files, in lower case, with the dot."""
    known = (suffix for suffix, name in Image.registered_extensions().items() if name in READABLE)
    return (frozenset(known) - {_FLOATS}) | optional_suffixes()


def has_picture_suffix(path: PurePath) -> bool:
    """Whether a name has the suffix of a readable picture format."""
    suffix = path.suffix.lower()
    return suffix != ".dca" and suffix in picture_suffixes()  # listing them imports all of Pillow's formats


def has_picture_name(path: PurePath) -> bool:
    """Whether a file in a folder or archive is taken as a picture, by its suffix. Hidden files are not."""
    return has_picture_suffix(path) and not path.name.startswith(".")


@dataclass(frozen=True)
class OutputFormat:
    """A picture format that is written.

    Attributes:
        pillow: Pillow's name of the format.
        suffixes: of file names, in lower case.
        gray, colour, alpha, icc: whether it supports these.
        texts: whether it supports EXIF data and XMP packets.
        max_dpi: the highest print resolution, in dots per inch, that it holds besides the EXIF data; 0 for none.
        lossy: whether it is written with a quality and loses some.
        max_icc, max_exif, max_xmp: the most bytes of each that readers accept; None for no relevant limit.
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
    max_dpi: int = 0
    lossy: bool = False
    max_icc: int | None = None
    max_exif: int | None = None
    max_xmp: int | None = None
    max_side: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


OUTPUT_FORMATS: Final[Mapping[str, OutputFormat]] = {
    # Pillow refuses profiles above 1 MiB. By default libpng ignores other chunks above 8,000,000 bytes.
    "png": OutputFormat(
        "PNG",
        (".png",),
        max_dpi=54_000_000,
        max_icc=1 << 20,
        max_exif=8_000_000,
        max_xmp=8_000_000,
        max_side=0x7FFFFFFF,
    ),
    "tiff": OutputFormat("TIFF", (".tif", ".tiff"), options={"compression": "tiff_adobe_deflate"}),
    # `exact` keeps the colour of transparent pixels.
    "webp": OutputFormat("WEBP", (".webp",), gray=False, max_side=16383, options={"lossless": True, "exact": True}),
    "ppm": OutputFormat("PPM", (".ppm",), gray=False, alpha=False, icc=False, texts=False),
    "pgm": OutputFormat("PPM", (".pgm",), colour=False, alpha=False, icc=False, texts=False),
    # Pillow can write alpha to BMP, but most programs do not read it.
    "bmp": OutputFormat("BMP", (".bmp",), alpha=False, icc=False, texts=False, max_dpi=54_000_000),
    # A segment of a JPEG has 65,533 bytes, the names of the kinds of data included. A profile may take 255 of them.
    "jpeg": OutputFormat(
        "JPEG",
        (".jpg", ".jpeg"),
        alpha=False,
        max_dpi=65535,
        lossy=True,
        max_icc=255 * 65519,
        max_exif=65527,
        max_xmp=65504,
        max_side=65500,
    ),
    "avif": OutputFormat("AVIF", (".avif",), gray=False, lossy=True, max_side=65536),
}
"""The formats that `write_picture` can write, by name."""


def format_of_suffix(suffix: str) -> str | None:
    """The name of the output format for a suffix in any case, None if there is none."""
    return next((name for name, output in OUTPUT_FORMATS.items() if suffix.lower() in output.suffixes), None)


def is_of_another_kind(path: PurePath, format: str) -> bool:
    """Whether a name has the suffix of a `.dca` file, or of a picture in another format than this output format."""
    suffix = path.suffix.lower()
    own = format_of_suffix(suffix)
    if own is not None or suffix == ".dca":
        return own != format
    # Other suffixes of the same format are fine, such as .jfif and .pnm.
    return has_picture_suffix(path) and Image.registered_extensions().get(suffix) != OUTPUT_FORMATS[format].pillow


def format_for(path: str | Path) -> str:
    """The name of the output format for the suffix of a file name.

    Raises:
        ImageError: there is no output format for the suffix; the message lists the supported suffixes.
    """
    suffix = Path(path).suffix.lower()
    if (name := format_of_suffix(suffix)) is not None:
        return name
    known = ", ".join(suffix for output in OUTPUT_FORMATS.values() for suffix in output.suffixes)
    raise ImageError(f"{suffix or 'a name without suffix'} is not an output format; pictures are written as {known}")
