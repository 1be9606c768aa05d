"""Reading from pipes and files that may be endless."""

import io
from typing import IO, Final

from dcacodec.errors import TooLargeError

_BYTES_PER_PIXEL: Final = 8
_BYTES_BESIDES: Final = 64 << 20
_BLOCK: Final = 1 << 20


def check_binary(file: IO[bytes]) -> None:
    """Check that a file open for reading gives bytes, not text.

    Raises:
        TypeError: it was opened in text mode.
    """
    if isinstance(file, io.TextIOBase) or isinstance(file.read(0), str):
        raise TypeError("the file is open in text mode: open it in binary mode, 'rb'")


def read_bounded(file: IO[bytes], max_pixels: int | None, start: bytes = b"") -> bytes:
    """Read the rest of a file or pipe, and prepend `start`, which was read from it before.

    The limit is 8 bytes per pixel (four samples of 16 bits) and 64 MiB for metadata. No more than that is held in
    memory.

    Args:
        max_pixels: the limit of pixels for the picture; None for no limit.

    Raises:
        TooLargeError: there are more bytes than the limit.
    """
    if max_pixels is None:
        return start + file.read()
    limit = _BYTES_PER_PIXEL * max_pixels + _BYTES_BESIDES
    parts, length = [start], len(start)
    while block := file.read(_BLOCK):  # in blocks: Python allocates the memory for the number of bytes requested
        parts.append(block)
        length += len(block)
        if length > limit:
            raise TooLargeError(f"more than {limit} bytes, the limit for pictures of {max_pixels} pixels")
    return b"".join(parts)
