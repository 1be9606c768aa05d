"""Variable-length numbers of one to five bytes (LEB128)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from dcacodec.errors import BadLengthError, BadVarintError

MAX_U32: Final = (1 << 32) - 1
VARINT_BYTES: Final = 5


def varint(value: int) -> bytes:
    """Encode a number as its shortest LEB128 form: seven bits per byte, the least significant first.

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


def read_varint(next_byte: Callable[[], int]) -> int:
    """Decode a number from the bytes that `next_byte` returns; the top bit of each byte says whether another follows.

    Raises:
        BadVarintError: the number is above 2^32 - 1 or not in its shortest form.
        Exception: any exception of `next_byte`.
    """
    value = 0
    for index in range(VARINT_BYTES):
        byte = next_byte()
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if index and byte == 0:
                raise BadVarintError("a number in the file is not in its shortest form")
            break
    if byte >= 0x80 or value > MAX_U32:
        raise BadVarintError("a number in the file is 2^32 or more")
    return value
