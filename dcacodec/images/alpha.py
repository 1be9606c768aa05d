"""Encoding of the alpha plane, and decoding."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, PngImagePlugin

from dcacodec.errors import ImageError
from dcacodec.images.picture import Plane
from dcacodec.images.pillow import one_line
from dcacodec.images.png import PNG_HEADER, PNG_SIGNATURE


def encode_alpha(alpha: Plane) -> bytes:
    """Encode an alpha plane (height, width) losslessly: as an 8-bit grayscale PNG, or no bytes if it is opaque."""
    if alpha.min() == 255:
        return b""
    buffer = io.BytesIO()
    Image.fromarray(alpha).save(buffer, "PNG", compress_level=9)
    return buffer.getvalue()


def decode_alpha(data: bytes, width: int, height: int) -> Plane:
    """Decode an alpha plane of known size; without bytes it is opaque.

    A PNG of another size is refused before it is decompressed.

    Raises:
        ImageError: not a valid 8-bit grayscale PNG, or not of this size.
    """
    if not data:
        return np.full((height, width), 255, np.uint8)
    if not data.startswith(PNG_SIGNATURE) or len(data) < len(PNG_SIGNATURE) + PNG_HEADER.size:
        raise ImageError("the alpha plane is not a PNG")
    _, name, *size, bits, colour_type, _, _, _ = PNG_HEADER.unpack_from(data, len(PNG_SIGNATURE))
    if name != b"IHDR":
        raise ImageError("the alpha plane is not a PNG")
    if size != [width, height]:
        raise ImageError(f"the alpha plane has {size[0]}x{size[1]} pixels, the picture {width}x{height}")
    if (bits, colour_type) != (8, 0):
        raise ImageError("the alpha plane is not 8-bit gray")
    try:
        # Not Image.open, which has its own limit of pixels.
        with PngImagePlugin.PngImageFile(io.BytesIO(data)) as image:
            if image.size != (width, height) or image.mode != "L":
                raise ImageError("the alpha plane has a second header that differs from the first")
            return np.array(image)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # Pillow raises many kinds of exceptions for damaged files
        raise ImageError(f"the alpha plane is damaged: {one_line(error)}") from error
