"""The header of a JPEG XL codestream (ISO/IEC 18181-1). Its plugin for Pillow decodes before it shows anything."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dcacodec.images.isobmff import boxes

_CODESTREAM: Final = b"\xff\x0a"
_LONGEST: Final = 1 << 12
"""Bytes in which a header is."""
# Kinds of extra channels.
_ALPHA, _SPOT, _BLACK, _FILTER = 0, 2, 4, 5
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


class JxlHeader(NamedTuple):
    """What the plugin does not show, or only after decoding.

    Attributes:
        width, height: in pixels.
        bits: per sample.
        animated: whether there are several frames.
        unread: channels that the plugin takes for others, or leaves out; empty if there are none.
    """

    width: int
    height: int
    bits: int = 8
    animated: bool = False
    unread: str = ""


def jxl_header(head: bytes) -> JxlHeader | None:
    """The header in what `head_of` gives of a file; None if it is not found there."""
    codestream = head
    if not head.startswith(_CODESTREAM):
        parts = [content[4 * (name == b"jxlp") :] for name, content in boxes(head) if name in (b"jxlc", b"jxlp")]
        codestream = parts[0] if parts else b""
    if not codestream.startswith(_CODESTREAM):
        return None
    bits = _Bits(codestream[2:_LONGEST])
    width, height = _size(bits)
    depth, unread = 8, ""
    if not bits.take(1):  # not all values are the defaults
        if bits.take(1):  # extra fields
            bits.take(3)  # orientation, which the plugin has applied
            if bits.take(1):  # the size in which it is to be shown
                _size(bits)
            preview, animated = bits.take(1), bits.take(1)
            if preview or animated:  # they are not followed
                return JxlHeader(width, height, depth, bool(animated and not preview))
        depth = _depth(bits)
        bits.take(1)  # whether 16 bits are enough for a decoder
        for _ in range(_number(bits, (0, 0), (1, 0), (2, 4), (1, 12))):
            unread = _unread_channel(bits) or unread
    return JxlHeader(width, height, depth, unread=unread)


def _unread_channel(bits: _Bits) -> str:
    """Go over an extra channel. What it is if the plugin takes it for another, or leaves out what is to be seen."""
    if bits.take(1):  # all values are the defaults: alpha
        return ""
    kind = _number(bits, (0, 0), (1, 0), (2, 4), (18, 6))
    _depth(bits)
    _number(bits, (0, 0), (3, 0), (4, 0), (1, 3))  # its smaller size
    bits.take(8 * _number(bits, (0, 0), (0, 4), (16, 5), (48, 10)))  # its name
    if kind == _ALPHA:
        return "premultiplied alpha" if bits.take(1) else ""
    if kind == _SPOT:
        bits.take(4 * 16)
    if kind == _FILTER:
        _number(bits, (1, 0), (0, 2), (3, 4), (19, 8))
    return "CMYK" if kind == _BLACK else ""


def _number(bits: _Bits, *choices: tuple[int, int]) -> int:
    """One of four kinds of numbers: this and as much more as this many bits say."""
    least, count = choices[bits.take(2)]
    return least + bits.take(count)


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


def _depth(bits: _Bits) -> int:
    """Bits per sample; 32 for floating point, which becomes no picture."""
    if not bits.take(1):
        return _number(bits, (8, 0), (10, 0), (12, 0), (1, 6))
    _number(bits, (32, 0), (16, 0), (24, 0), (1, 6))
    bits.take(4)  # those of the exponent
    return 32
