"""BMP files whose pixels Pillow reads in another width than they have."""

from __future__ import annotations

import struct
from typing import Final

from PIL import Image, ImagePalette

from dcacodec.errors import ImageError

_CORE_HEADER: Final = 12
_BITS_AT: Final = 28
_BITS_IN_CORE_HEADER_AT: Final = 24
_RAW_MODES: Final = {1: "P;1", 4: "P;4", 8: "P"}
_BITS: Final = {"1": 1, "L": 8}
"""Of a pixel, by the mode of an image whose palette Pillow leaves out: that of black and white, or of gray."""


def is_misread_bmp(image: Image.Image, head: bytes) -> bool:
    """Whether Pillow takes the indices of an opened, uncompressed BMP for samples of more or fewer bits.

    It does where the palette is that of such samples: of 8 bits for pixels, and two colours, black and white.
    """
    return image.mode in _BITS and _is_raw(image) and _bits(head) != _BITS[image.mode]


def read_indices(image: Image.Image, head: bytes) -> None:
    """Make Pillow read the indices of a BMP for which `is_misread_bmp` is true as they are."""
    levels = (0, 255) if image.mode == "1" else range(256)
    image._mode = "P"
    image.palette = ImagePalette.raw("RGB", bytes(level for level in levels for _ in range(3)))
    (tile,) = image.tile  # type: ignore[attr-defined]
    image.tile = [tile._replace(args=(_RAW_MODES[_bits(head)], *tile.args[1:]))]  # type: ignore[attr-defined]


def check_bmp(image: Image.Image, head: bytes) -> None:
    """Refuse an image that the caller opened, and that Pillow reads wrongly.

    Raises:
        ImageError: it is one.
    """
    if is_misread_bmp(image, head):
        raise ImageError(f"a BMP of {_bits(head)} bits with a palette of gray is not read correctly by Pillow")


def _is_raw(image: Image.Image) -> bool:
    return any(tile[0] == "raw" for tile in getattr(image, "tile", ()))


def _bits(head: bytes) -> int:
    (size,) = struct.unpack_from("<I", head, 14)
    (bits,) = struct.unpack_from("<H", head, _BITS_IN_CORE_HEADER_AT if size == _CORE_HEADER else _BITS_AT)
    return int(bits)
