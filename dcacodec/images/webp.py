"""The header of a WebP file (RFC 9649). Its decoder takes memory for the whole picture before it shows anything."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import Final

from dcacodec.errors import BadBlockError
from dcacodec.format.vp8l import block_header

_PAYLOAD: Final = 20
"""Where the first chunk's data start: "RIFF", size, "WEBP", tag, size."""
_HEAD: Final = 30
"""Bytes of a file in which its dimensions are."""
_ANIMATION: Final = 0x02
_SIDE: Final = (1 << 14) - 1


def webp_header(data: bytes) -> tuple[int, int, bool] | None:
    """Width and height in pixels, and whether it is animated, from the first bytes of a file; None if it is no WebP."""
    head = data[:_HEAD].ljust(_HEAD, b"\0")
    kind, start = head[12:16], head[_PAYLOAD:]
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None
    if kind == b"VP8X":
        width, height = (int.from_bytes(start[place : place + 3], "little") + 1 for place in (4, 7))
        return width, height, bool(start[0] & _ANIMATION)
    if kind == b"VP8L":
        with suppress(BadBlockError):
            width, height, _ = block_header(start)
            return width, height, False
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", start, 6)
        return width & _SIDE, height & _SIDE, False
    return None
