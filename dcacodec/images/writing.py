"""Writing of picture files."""

from __future__ import annotations

import io
from typing import Any, BinaryIO, Final

from PIL import Image

from dcacodec.errors import DcaError, ImageError
from dcacodec.images.exif_bytes import EXIF_PREFIX, bytes_entry, with_tags, without_orientation
from dcacodec.images.formats import OUTPUT_FORMATS, OutputFormat
from dcacodec.images.metadata import XMP_TAG, tags_for_tiff, xmp_for
from dcacodec.images.picture import Picture, warn_of_change
from dcacodec.images.pillow import image_of
from dcacodec.images.resolution import dots_per_inch, holds_resolution_alone
from dcacodec.images.texture import flatness

DEFAULT_QUALITY: Final = 75
"""Pillow's for JPEG and AVIF."""
_PHOTOGRAPHIC_LEVEL: Final = 4
"""Of zlib, for photographs in PNG files: in half the time of Pillow's default, 6, they become larger by 0 to 4 %. Text
and drawings, which would by up to 38 %, keep the default."""
_FLAT: Final = 0.4
"""Flatness between that of photographs and that of drawings."""


def write_picture(picture: Picture, target: BinaryIO, format: str, quality: int | None = None) -> None:
    """Write a picture, losslessly in most formats. `target` need not be seekable.

    Args:
        picture: what to write.
        target: a file open for writing.
        format: a key of `OUTPUT_FORMATS`.
        quality: of a lossy format, 1 to 100 (Pillow's option); None for `DEFAULT_QUALITY`.

    Raises:
        ValueError: a quality for a lossless format, or out of range.
        ImageError: the format is unknown, or cannot hold the alpha plane, colour or size of the picture.
        OSError: `target` cannot be written to.
        TypeError: it is open in text mode.

    Warns:
        ImageWarning: the format is lossy, or cannot hold the ICC profile, EXIF data or XMP packet, or not as many
            bytes of them; the file is written without.
    """
    if isinstance(target, io.TextIOBase):
        raise TypeError("the file is open in text mode: open it in binary mode, 'wb'")
    check_format(format, picture.width, picture.height, gray=picture.gray, alpha=picture.alpha is not None)
    output, name = OUTPUT_FORMATS[format], format.upper()
    if quality is not None and not (output.lossy and 1 <= quality <= 100):
        raise ValueError(f"a quality of 1 to 100 is for lossy formats, and not {quality} for {name}")

    metadata: dict[str, Any] = {}
    gray = picture.gray and output.gray
    if picture.icc is not None:
        # A gray profile does not apply to the three bands that gray is written as in formats without gray.
        if output.icc and gray == picture.gray and _fits(picture.icc, output.max_icc):
            metadata["icc_profile"] = picture.icc
        else:
            warn_of_change(f"{name} cannot hold the ICC profile of this picture: it is left out")
    dpi = dots_per_inch(picture.exif)
    if dpi is not None and max(dpi) <= output.max_dpi:
        metadata["dpi"] = dpi
    exif = picture.exif
    tags = tags_for_tiff(exif) if format == "tiff" and exif is not None else {}
    if exif is not None and format != "tiff" and output.texts and _fits(exif, output.max_exif):
        if format == "avif":  # else Pillow would write all other tags anew, and "?" for what is not ASCII
            exif = without_orientation(exif)
        metadata["exif"] = EXIF_PREFIX + exif if output.pillow == "JPEG" else exif  # for the others, Pillow adds it
    elif exif is not None and not tags and not ("dpi" in metadata and holds_resolution_alone(exif)):
        warn_of_change(f"{name} cannot hold the EXIF data of this picture: they are left out")
    if picture.xmp is not None and format == "tiff":
        tags[XMP_TAG] = bytes_entry(picture.xmp)
    elif picture.xmp is not None:
        holds = output.texts and _fits(picture.xmp, output.max_xmp)
        xmp = xmp_for(format, picture.xmp) if holds else None
        if xmp is None:
            warn_of_change(f"{name} cannot hold the XMP data of this picture: they are left out")
        else:
            metadata |= xmp

    options = dict(output.options)
    if output.lossy:
        options["quality"] = quality or DEFAULT_QUALITY
        warn_of_change(lossy_warning(format, quality))
    if output.pillow == "PNG" and flatness(picture.pixels) < _FLAT:
        options["compress_level"] = _PHOTOGRAPHIC_LEVEL
    file = _saved(image_of(picture, gray), output, options, metadata)
    # Pillow would write "?" for what is not ASCII in the tags of a TIFF, and not compress one with directories.
    tagged = with_tags(file.getvalue(), tags) if tags else None
    target.write(file.getbuffer() if tagged is None else tagged)


def lossy_warning(format: str, quality: int | None) -> str:
    """The warning of `write_picture` about a lossy format."""
    return f"{format.upper()} is lossy: the picture is compressed once more, with quality {quality or DEFAULT_QUALITY}"


def check_format(format: str, width: int, height: int, *, gray: bool, alpha: bool) -> None:
    """Check that a format is one that is written, and can hold a picture of this kind and size.

    Raises:
        ImageError: it is not, or cannot.
    """
    if format not in OUTPUT_FORMATS:
        raise ImageError(f"{format} is not an output format; these are: {', '.join(OUTPUT_FORMATS)}")
    output, name = OUTPUT_FORMATS[format], format.upper()
    if alpha and not output.alpha:
        keeping = ", ".join(other for other, each in OUTPUT_FORMATS.items() if each.alpha and not each.lossy)
        raise ImageError(f"{name} cannot hold the alpha plane of this picture; these can: {keeping}")
    if not gray and not output.colour:
        raise ImageError(f"{name} holds gray pictures only, and this one has colour")
    if output.max_side is not None and max(width, height) > output.max_side:
        raise ImageError(f"{name} holds up to {output.max_side} pixels a side, not {width}x{height}")


def _saved(image: Image.Image, output: OutputFormat, options: dict[str, Any], metadata: dict[str, Any]) -> io.BytesIO:
    """The file, without the EXIF data if these are the reason why Pillow cannot write it."""
    try:
        return _file(image, output, options, metadata)
    except (DcaError, MemoryError):
        raise
    except Exception as error:  # EXIF data of untrusted files hold anything
        if "exif" not in metadata:
            raise
        warn_of_change(f"{output.pillow} cannot hold the EXIF data of this picture: they are left out ({error})")
    return _file(image, output, options, {key: metadata[key] for key in metadata if key != "exif"})


def _file(image: Image.Image, output: OutputFormat, options: dict[str, Any], metadata: dict[str, Any]) -> io.BytesIO:
    buffer = io.BytesIO()
    image.save(buffer, output.pillow, **options, **metadata)
    return buffer


def _fits(data: bytes, limit: int | None) -> bool:
    return limit is None or len(data) <= limit
