"""BMP files whose pixels Pillow reads in another width than they have, or without their alpha."""

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
_MASKS: Final = struct.Struct("<4I")
"""Of red, green, blue and alpha."""
_MASKS_AT: Final = 54
_MASKS_OF_ALPHA_BIT: Final = (0x7C00, 0x3E0, 0x1F, 0x8000)
_COMPRESSION_AT: Final = 30
_BITFIELDS: Final = 3
"""The compression of pixels with masks."""


def is_misread_bmp(image: Image.Image, head: bytes) -> bool:
    """Whether Pillow takes the indices of an opened, uncompressed BMP for samples, or leaves out its alpha.

    It does the first where the palette is that of samples of other bits: of 8 bits for pixels, and two colours, black
    and white.
    """
    misread = _has_alpha_bit(head) or (image.mode in _BITS and _bits(head) != _BITS[image.mode])
    return misread and _is_raw(image)


def correct_bmp(image: Image.Image, head: bytes) -> None:
    """Make Pillow read the pixels of a BMP for which `is_misread_bmp` is true as they are."""
    (tile,) = image.tile  # type: ignore[attr-defined]
    if _has_alpha_bit(head):
        image._mode, raw_mode = "RGBA", "BGRA;15"
    else:
        levels = (0, 255) if image.mode == "1" else range(256)
        image.palette = ImagePalette.raw("RGB", bytes(level for level in levels for _ in range(3)))
        image._mode, raw_mode = "P", _RAW_MODES[_bits(head)]
    image.tile = [tile._replace(args=(raw_mode, *tile.args[1:]))]  # type: ignore[attr-defined]


def check_bmp(image: Image.Image, head: bytes) -> None:
    """Refuse an image that the caller opened, and that Pillow reads wrongly.

    Raises:
        ImageError: it is one.
    """
    if is_misread_bmp(image, head):
        kind = "alpha" if _has_alpha_bit(head) else "a palette of gray"
        raise ImageError(f"a BMP of {_bits(head)} bits with {kind} is not read correctly by Pillow")


def _has_alpha_bit(head: bytes) -> bool:
    """Whether pixels have 5 bits of each colour and one of alpha."""
    (size,) = struct.unpack_from("<I", head, 14)
    if 14 + size < _MASKS_AT + _MASKS.size or _bits(head) != 16 or head[_COMPRESSION_AT] != _BITFIELDS:
        return False
    return _MASKS.unpack_from(head, _MASKS_AT) == _MASKS_OF_ALPHA_BIT


def _is_raw(image: Image.Image) -> bool:
    return any(tile[0] == "raw" for tile in getattr(image, "tile", ()))


def _bits(head: bytes) -> int:
    (size,) = struct.unpack_from("<I", head, 14)
    (bits,) = struct.unpack_from("<H", head, _BITS_IN_CORE_HEADER_AT if size == _CORE_HEADER else _BITS_AT)
    return int(bits)
