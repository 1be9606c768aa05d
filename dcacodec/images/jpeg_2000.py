"""JPEG 2000 files (ISO/IEC 15444-1) that Pillow reads wrongly: found by their headers, and refused."""

from __future__ import annotations

import struct
from typing import Final

from dcacodec.errors import ImageError
from dcacodec.images.isobmff import boxes

_SIZES: Final = b"\xff\x4f\xff\x51"
"""Start of the codestream, and of its segment of sizes."""


def bits_of_jpeg_2000(head: bytes, deep: bool) -> int:
    """Bits per sample of a file: 8, or 16 for gray of more, which Pillow scales.

    Args:
        head: what tells about its picture, see `head_of`.
        deep: Pillow reads it as gray of 16 bits.

    Raises:
        ImageError: Pillow reads its samples or its palette wrongly.
    """
    sizes = dict(boxes(head)).get(b"jp2c", head).partition(_SIZES)[2]
    count = int.from_bytes(sizes[36:38], "big")
    depths = [(depth & 0x7F) + 1 for depth in sizes[38 : 38 + 3 * count : 3]] or [0]
    bits = max(depths)
    # Of more bits, Pillow rounds colour, and white becomes black. Fewer are shifted, so that white is less than that,
    # and an index into a palette another one.
    if min(depths) < 8 or (bits > 8 and not deep):
        wrong = bits if bits > 8 else min(depths)
        raise ImageError(f"JPEG 2000 pictures of {wrong or 'unknown'}-bit samples are not supported")
    _check_palette(dict(boxes(dict(boxes(head)).get(b"jp2h", b""))))
    return 16 if bits > 8 else 8


def _check_palette(header: dict[bytes, bytes]) -> None:
    """Refuse a palette that Pillow does not keep as it is: it merges equal colours, and scales and maps nothing."""
    palette = header.get(b"pclr")
    if palette is None:
        return
    count, columns = struct.unpack_from(">HB", palette)
    depths, entries = palette[3 : 3 + columns], palette[3 + columns :]
    colours = {entries[at : at + columns] for at in range(0, count * columns, columns)}
    plain = b"".join(struct.pack(">HBB", 0, 1, column) for column in range(columns))
    if set(depths) != {7} or len(colours) != count or not header.get(b"cmap", plain).startswith(plain):
        raise ImageError("a JPEG 2000 palette with repeated colours, or not of 8 bits each, is not supported")
