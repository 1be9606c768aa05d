"""Reading of picture files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from dcacodec.errors import DcaError, ImageError, ImageWarning, TooLargeError
from dcacodec.files.bounded import check_binary, read_bounded
from dcacodec.format.container import DEFAULT_MAX_PIXELS, MAGIC, check_pixels
from dcacodec.images.bmp import correct_bmp, is_misread_bmp
from dcacodec.images.declared import declared_space
from dcacodec.images.formats import READABLE
from dcacodec.images.gif import clear_outside_frame
from dcacodec.images.isobmff import head_of, xmp_in
from dcacodec.images.jxl import jxl_header
from dcacodec.images.metadata import (
    ignore_orientation,
    ignore_xmp_orientation,
    normalise_xmp,
    turn_upright,
    upright_xmp,
)
from dcacodec.images.optional import OPTIONAL_FORMATS, optional_format
from dcacodec.images.picture import Picture, warn_of_change
from dcacodec.images.pillow import ROUNDING_FORMATS, bits_per_sample, one_line, to_picture
from dcacodec.images.png import PNG_SIGNATURE, check_png_samples
from dcacodec.images.rounding import load_rounded
from dcacodec.images.tiff import (
    check_layout,
    check_not_raw,
    correct_tiff,
    depth_of,
    first_directory,
    is_misread,
    read_with_tifffile,
)


def read_picture(
    source: str | Path | BinaryIO, max_pixels: int | None = DEFAULT_MAX_PIXELS, *, allow_hdr: bool = False
) -> Picture:
    """Read the first frame of a picture file, with its EXIF orientation applied.

    Colours are kept, with the ICC profile; what a file says about them in another way becomes one. Only CMYK is
    converted to sRGB. Samples of 9 to 16 bits are rounded to 8. A transparent colour or palette entry becomes an alpha
    plane. Print resolution and texts of a PNG become EXIF data.

    Args:
        source: a path, or a file open for reading, which is read from its start if it is seekable.
        max_pixels: refuse larger pictures before they are decoded; None for no limit but Pillow's own
            (`PIL.Image.MAX_IMAGE_PIXELS`), which always applies.
        allow_hdr: accept pictures in HDR (PQ or HLG), for which 8 bits are too few.

    Raises:
        ImageError: not one of the `READABLE` or installed optional formats, damaged, HDR, or of a kind that cannot
            become a `Picture`.
        BadDimensionsError: a side is longer than a `.dca` file can hold.
        TooLargeError: more pixels than allowed, or a pipe with more bytes than such a picture needs.
        OSError: the file cannot be opened.
        TypeError: it is open in text mode.

    Warns:
        ImageWarning: bits, bands, frames, EXIF data, texts, parts of XMP data, CMYK or other colours were lost.
    """
    limits = _Limits(max_pixels, allow_hdr)
    if isinstance(source, str | Path):
        with open(source, "rb") as file:
            return _read(file, limits)
    check_binary(source)
    return _read(source if source.seekable() else io.BytesIO(read_bounded(source, max_pixels)), limits)


@dataclass(frozen=True)
class _Limits:
    """What `read_picture` accepts."""

    max_pixels: int | None
    allow_hdr: bool

    def check(self, width: int, height: int) -> None:
        """Refuse too many pixels."""
        check_pixels(width, height, self.max_pixels)


@dataclass(frozen=True)
class _File:
    """An open picture file.

    Attributes:
        file: seekable.
        head: what tells about its picture, see `head_of`.
        cicp: the chunk `cICP` of a PNG.
    """

    file: BinaryIO
    head: bytes
    cicp: bytes | None


def _read(file: BinaryIO, limits: _Limits) -> Picture:
    head = head_of(file)
    try:
        source = _File(file, head, check_png_samples(file) if head.startswith(PNG_SIGNATURE) else None)
        opened: Image.Image
        try:
            opened = Image.open(file, formats=READABLE)
        except (UnidentifiedImageError, KeyError):  # the latter for a TIFF of unknown compression
            if (tags := first_directory(file)) is not None:
                other = read_with_tifffile(file, tags, limits.max_pixels)
                return _finished(other, source, limits, depth_of(tags), True)
            opened = _opened_with_plugin(source, limits)
        with opened as image:
            limits.check(*image.size)
            return _unpack(image, source, limits)
    except (DcaError, MemoryError, ImageWarning):
        raise
    except Image.DecompressionBombError as error:
        raise TooLargeError(str(error)) from None
    except Exception as error:  # Pillow's readers raise many kinds of exceptions for damaged files
        raise ImageError(f"the picture is damaged or of an unknown kind: {one_line(error)}") from error


def _opened_with_plugin(source: _File, limits: _Limits) -> Image.Image:
    """A file of a format that Pillow alone does not know, or that is not tried by itself."""
    formats: Sequence[str] = READABLE
    if (optional := optional_format(source.head)) is not None:
        optional.require()
        formats = [optional.pillow]
        if optional.pillow == "JXL" and (header := jxl_header(source.head)) is not None:
            limits.check(header.width, header.height)  # its plugin decodes when it opens
            if header.unread:
                raise ImageError(f"JPEG XL pictures of {header.unread} are not supported")
            if header.animated:
                raise ImageError("animated JPEG XL pictures are not supported: their reader gives the last frame alone")
        source.file.seek(0)
        with suppress(UnidentifiedImageError):
            return Image.open(source.file, formats=formats)
    if source.head.startswith(MAGIC):
        raise ImageError("a .dca file is compressed already; decode it first") from None
    names = [*READABLE, *(each.title for each in OPTIONAL_FORMATS if each.installed)] if optional is None else formats
    raise ImageError(f"not a picture in one of the formats {', '.join(names)}, or its beginning is damaged") from None


def _unpack(image: Image.Image, source: _File, limits: _Limits) -> Picture:
    """Load the first frame of an opened file."""
    if getattr(image, "is_animated", False):
        warn_of_change("the file holds several pictures: only the first is used")
    bits = bits_per_sample(image, source.head)
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        check_not_raw(source.head)
        check_layout(tags, limits.max_pixels)
        if is_misread(image):
            return _finished(read_with_tifffile(source.file, tags, limits.max_pixels), source, limits, bits, True)
        correct_tiff(image)
    if image.format == "BMP" and is_misread_bmp(image, source.head):
        correct_bmp(image, source.head)
    normalise_xmp(image)
    rounded = load_rounded(image, source.file) or image.format in ROUNDING_FORMATS
    if image.format == "GIF":
        clear_outside_frame(image)
    return _finished(image, source, limits, bits, rounded)


def _finished(image: Image.Image, source: _File, limits: _Limits, bits: int, rounded: bool) -> Picture:
    """The picture of a loaded image."""
    if image.format == "JXL":
        ignore_orientation(image)
    if not image.info.get("xmp") and (packet := xmp_in(source.head)) is not None:
        image.info["xmp"] = upright_xmp(packet)  # of its orientation these formats know nothing
    normalise_xmp(image)  # texts at the end of a PNG file are read with the pixels
    ignore_xmp_orientation(image, image.format)
    space = declared_space(image, source.file, source.head, source.cicp, limits.allow_hdr)
    return to_picture(image, image, bits, turn_upright(image, image), space, rounded)
