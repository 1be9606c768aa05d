"""The header of a JPEG XL codestream (ISO/IEC 18181-1). Its plugin for Pillow decodes before it shows anything."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dcacodec.images.isobmff import boxes

_CODESTREAM: Final = b"\xff\x0a"
# Width as a ratio to height: numerator and denominator.
_RATIOS: Final = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


class _Bits:
    """Reads numbers of some bits, the least significant first; zeros follow the end."""

    def __init__(self, data: bytes) -> None:
        self._number = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        value = self._number & ((1 << count) - 1)
        self._number >>= count
        return value


def jxl_header(head: bytes) -> tuple[int, int, int, bool] | None:
    """Width, height, bits per sample, and whether it is animated, from what `head_of` gives of a file.

    None if they are not found there.
    """
    codestream = head
    if not head.startswith(_CODESTREAM):
        parts = [content[4 * (name == b"jxlp") :] for name, content in boxes(head) if name in (b"jxlc", b"jxlp")]
        codestream = parts[0] if parts else b""
    if not codestream.startswith(_CODESTREAM):
        return None
    bits = _Bits(codestream[2:64])
    width, height = _size(bits)
    depth = 8
    if not bits.take(1):  # not all values are the defaults
        if bits.take(1):  # extra fields
            bits.take(3)  # orientation, which the plugin has applied
            if bits.take(1):  # the size in which it is to be shown
                _size(bits)
            preview, animated = bits.take(1), bits.take(1)
            if preview or animated:  # they are not followed
                return width, height, depth, bool(animated and not preview)
        depth = 32 if bits.take(1) else _integer_depth(bits)  # floating point, which becomes no picture
    return width, height, depth, False


def deep_gray_and_alpha(image: Image.Image) -> NDArray[np.uint16] | None:
    """The 16-bit samples of an opened image of gray with alpha, whose bytes the plugin takes for 8-bit samples."""
    data: bytes = getattr(image, "_data", b"")
    deep = image.mode == "LA" and len(data) == 4 * image.width * image.height
    return np.frombuffer(data, np.uint16) if deep else None


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.take(1)
    height = _side(bits, small)
    ratio = bits.take(3)
    if ratio:
        numerator, denominator = _RATIOS[ratio - 1]
        return height * numerator // denominator, height
    return _side(bits, small), height


def _side(bits: _Bits, small: int) -> int:
    return (bits.take(5) + 1) * 8 if small else bits.take((9, 13, 18, 30)[bits.take(2)]) + 1


def _integer_depth(bits: _Bits) -> int:
    selector = bits.take(2)
    return (8, 10, 12)[selector] if selector < 3 else 1 + bits.take(6)
