"""Parsing of PNG files without Pillow."""

from __future__ import annotations

import os
import struct
import zlib
from typing import BinaryIO, Final

# Enough of a file that is not made of boxes to find the number of bits of its samples.
HEAD_BYTES: Final = 1 << 16
PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
# Length and name of the chunk, width, height, bit depth, colour type, compression, filter, interlace.
PNG_HEADER: Final = struct.Struct(">I4sIIBBBBB")
_PNG_CHUNK: Final = struct.Struct(">I4s")


def check_png_samples(file: BinaryIO) -> bytes | None:
    """Verify the checksums of the coded samples. Pillow does not, and many flipped bits are not detected otherwise.

    Truncated files are left to Pillow.

    Returns:
        The content of the chunk `cICP`, which Pillow ignores; None without one.
    """
    cicp = None
    file.seek(len(PNG_SIGNATURE))
    while len(start := file.read(_PNG_CHUNK.size)) == _PNG_CHUNK.size:
        length, name = _PNG_CHUNK.unpack(start)
        if name == b"IEND":
            break
        if name == b"cICP" and length < HEAD_BYTES:
            cicp = file.read(length)
            length = 0
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
    return cicp
