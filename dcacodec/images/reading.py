"""Reading of picture files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from dcacodec.errors import DcaError, ImageError, ImageWarning, TooLargeError
from dcacodec.files.bounded import read_bounded
from dcacodec.format.container import DEFAULT_MAX_PIXELS
from dcacodec.images.formats import READABLE
from dcacodec.images.metadata import normalise_xmp, turn_upright
from dcacodec.images.picture import Picture, warn_of_change
from dcacodec.images.pillow import bits_per_sample, one_line, to_picture
from dcacodec.images.png import HEAD_BYTES, PNG_SIGNATURE, check_png_samples


def read_picture(source: str | Path | BinaryIO, max_pixels: int | None = DEFAULT_MAX_PIXELS) -> Picture:
    """Read the first frame of a picture file, with its EXIF orientation applied.

    Colours are kept, with the ICC profile; only CMYK is converted to sRGB. Samples of 9 to 16 bits are reduced to their
    upper 8. A transparent colour or palette entry becomes an alpha plane.

    Args:
        source: a path, or a file open for reading, which is read from its start if it is seekable.
        max_pixels: refuse larger pictures before they are decoded; None for no limit but Pillow's own
            (`PIL.Image.MAX_IMAGE_PIXELS`), which always applies.

    Raises:
        ImageError: not one of the `READABLE` formats, damaged, or of a kind that cannot become a `Picture`.
        TooLargeError: more pixels than allowed, or a pipe with more bytes than such a picture needs.
        OSError: the file cannot be opened.

    Warns:
        ImageWarning: bits, frames, EXIF data, parts of XMP data or CMYK colours were lost.
    """
    if isinstance(source, str | Path):
        with open(source, "rb") as file:
            return _read(file, max_pixels)
    return _read(source if source.seekable() else io.BytesIO(read_bounded(source, max_pixels)), max_pixels)


def _read(file: BinaryIO, max_pixels: int | None) -> Picture:
    file.seek(0)
    head = file.read(HEAD_BYTES)
    try:
        if head.startswith(PNG_SIGNATURE):
            check_png_samples(file)
        with Image.open(file, formats=READABLE) as image:
            if max_pixels is not None and image.width * image.height > max_pixels:
                raise TooLargeError(
                    f"a picture of {image.width}x{image.height} pixels is above the limit of {max_pixels} pixels"
                )
            return _unpack(image, bits_per_sample(image, head))
    except (DcaError, MemoryError, ImageWarning):
        raise
    except UnidentifiedImageError:
        raise ImageError(
            f"not a picture in one of the formats {', '.join(READABLE)}, or its beginning is damaged"
        ) from None
    except Image.DecompressionBombError as error:
        raise TooLargeError(str(error)) from None
    except Exception as error:  # Pillow's readers raise many kinds of exceptions for damaged files
        raise ImageError(f"the picture is damaged or of an unknown kind: {one_line(error)}") from error


def _unpack(image: Image.Image, bits: int) -> Picture:
    """Load the first frame of an opened file."""
    if getattr(image, "is_animated", False):
        warn_of_change("the file holds several pictures: only the first is used")
    normalise_xmp(image)
    image.load()
    normalise_xmp(image)  # texts at the end of a PNG file are read with the pixels
    exif = turn_upright(image)
    return to_picture(image, image, bits, exif)
