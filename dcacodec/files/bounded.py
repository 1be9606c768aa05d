"""Reading what may have no end."""

from typing import IO, Final

from dcacodec.errors import TooLargeError

_BYTES_PER_PIXEL: Final = 8
_BYTES_BESIDES: Final = 64 << 20
_BLOCK: Final = 1 << 20


def read_bounded(file: IO[bytes], max_pixels: int | None, start: bytes = b"") -> bytes:
    """All that is left of a file or pipe, after `start`, which was read of it before.

    No file of a picture of so many pixels need be longer than 8 bytes for each (four samples of 16 bits) and 64 MiB for
    what travels with it. No more than that is ever held in memory.

    Args:
        max_pixels: the limit of pixels that will be asked of the picture; None for no limit.

    Raises:
        TooLargeError: there is more.
    """
    if max_pixels is None:
        return start + file.read()
    limit = _BYTES_PER_PIXEL * max_pixels + _BYTES_BESIDES
    parts, length = [start], len(start)
    while block := file.read(_BLOCK):  # not all at once: Python takes the memory for what it is asked to read at most
        parts.append(block)
        length += len(block)
        if length > limit:
            raise TooLargeError(f"more than {limit} bytes, which no file of a picture of {max_pixels} pixels has")
    return b"".join(parts)
