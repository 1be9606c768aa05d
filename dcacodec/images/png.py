"""What is read of a PNG file's bytes without Pillow."""

from __future__ import annotations

import os
import struct
import zlib
from typing import BinaryIO, Final

# Enough of a file to find how many bits its samples have (an AVIF tells it within its first boxes).
HEAD_BYTES: Final = 1 << 16
PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
# Length and name of the chunk, width, height, bit depth, colour type, compression, filter, interlace.
PNG_HEADER: Final = struct.Struct(">I4sIIBBBBB")
_PNG_CHUNK: Final = struct.Struct(">I4s")


def check_png_samples(file: BinaryIO) -> None:
    """Compare the checksums of the coded samples. Pillow skips these alone, and many a flipped bit shows nowhere else.

    A file that ends early is left to Pillow.
    """
    file.seek(len(PNG_SIGNATURE))
    while len(start := file.read(_PNG_CHUNK.size)) == _PNG_CHUNK.size:
        length, name = _PNG_CHUNK.unpack(start)
        if name == b"IEND":
            return
        if name != b"IDAT":
            file.seek(length + 4, os.SEEK_CUR)
            continue
        crc = zlib.crc32(name)
        while block := file.read(min(length, HEAD_BYTES)):
            crc = zlib.crc32(block, crc)
            length -= len(block)
        stored = file.read(4)
        if len(stored) == 4 and int.from_bytes(stored, "big") != crc:
            raise ValueError("a checksum of the PNG does not match its content")
