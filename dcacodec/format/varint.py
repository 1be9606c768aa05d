"""Numbers of one to five bytes (LEB128)."""

from __future__ import annotations

from typing import Final

from dcacodec.errors import (
    BadLengthError,
)

MAX_U32: Final = (1 << 32) - 1
VARINT_BYTES: Final = 5


def varint(value: int) -> bytes:
    """The shortest LEB128 form of a number: seven bits per byte, the least significant first.

    Raises:
        BadLengthError: the number is above 2^32 - 1.
    """
    if value > MAX_U32:
        raise BadLengthError(f"a length of {value} bytes: the format ends at 2^32 - 1")
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
