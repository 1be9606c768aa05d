"""Writing of lossless picture files."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

from dcacodec.errors import ImageError
from dcacodec.images.formats import OUTPUT_FORMATS
from dcacodec.images.metadata import exif_for_tiff, has_directories, xmp_for
from dcacodec.images.picture import Picture, warn_of_change
from dcacodec.images.pillow import image_of


def write_picture(picture: Picture, target: BinaryIO, format: str) -> None:
    """Write a picture losslessly. `target` need not be seekable.

    Args:
        picture: what to write.
        target: a file open for writing.
        format: a key of `OUTPUT_FORMATS`.

    Raises:
        ImageError: the format is unknown, or cannot hold the alpha plane, colour or size of the picture.
        OSError: `target` cannot be written to.

    Warns:
        ImageWarning: the format cannot hold the ICC profile, EXIF data or XMP packet; the file is written without.
    """
    if format not in OUTPUT_FORMATS:
        raise ImageError(f"{format} is not an output format; these are: {', '.join(OUTPUT_FORMATS)}")
    output, name = OUTPUT_FORMATS[format], format.upper()
    if picture.alpha is not None and not output.alpha:
        keeping = ", ".join(other for other, properties in OUTPUT_FORMATS.items() if properties.alpha)
        raise ImageError(f"{name} cannot hold the alpha plane of this picture; these can: {keeping}")
    if not picture.gray and not output.colour:
        raise ImageError(f"{name} holds gray pictures only, and this one has colour")
    if output.max_side is not None and max(picture.width, picture.height) > output.max_side:
        raise ImageError(f"{name} holds up to {output.max_side} pixels a side, not {picture.width}x{picture.height}")

    metadata: dict[str, Any] = {}
    gray = picture.gray and output.gray
    if picture.icc is not None:
        # A gray profile does not apply to the three bands that gray is written as in formats without gray.
        if output.icc and gray == picture.gray:
            metadata["icc_profile"] = picture.icc
        else:
            warn_of_change(f"{name} cannot hold the ICC profile of this picture: it is left out")
    exif = picture.exif if format != "tiff" or picture.exif is None else exif_for_tiff(picture.exif)
    if exif is not None and output.texts:
        metadata["exif"] = exif
    elif picture.exif is not None:
        warn_of_change(f"{name} cannot hold the EXIF data of this picture: they are left out")
    if picture.xmp is not None:
        xmp = xmp_for(format, picture.xmp, exif and picture.exif) if output.texts else None
        if xmp is None:
            warn_of_change(f"{name} cannot hold the XMP data of this picture: they are left out")
        else:
            metadata |= xmp

    image = image_of(picture, gray)
    buffer = io.BytesIO()
    options = output.options
    if format == "tiff" and "exif" in metadata and has_directories(metadata["exif"]):
        options = {}  # uncompressed, as Pillow then writes by itself: libtiff, which compresses, fails on directories
    image.save(buffer, output.pillow, **options, **metadata)
    target.write(buffer.getbuffer())
