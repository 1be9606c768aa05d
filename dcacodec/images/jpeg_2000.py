"""JPEG 2000 files (ISO/IEC 15444-1) that Pillow reads wrongly: found by their headers, and refused."""

from __future__ import annotations

import struct
from typing import Final

from dcacodec.errors import ImageError
from dcacodec.images.isobmff import boxes

_SIZES: Final = b"\xff\x4f\xff\x51"
"""Start of the codestream, and of its segment of sizes."""


def bits_of_jpeg_2000(head: bytes, mode: str) -> int:
    """Bits per sample of a file: 8, or 16 for gray of more, which Pillow scales.

    Args:
        head: what tells about its picture, see `head_of`.
        mode: that Pillow reads it in.

    Raises:
        ImageError: Pillow reads its samples, its channels or its palette wrongly.
    """
    deep = mode.startswith("I;16")
    sizes = dict(boxes(head)).get(b"jp2c", head).partition(_SIZES)[2]
    count = int.from_bytes(sizes[36:38], "big")
    depths = [(depth & 0x7F) + 1 for depth in sizes[38 : 38 + 3 * count : 3]] or [0]
    bits = max(depths)
    # Of more bits, Pillow rounds colour, and white becomes black. Fewer are shifted, so that white is less than that,
    # and an index into a palette another one.
    if min(depths) < 8 or (bits > 8 and not deep):
        wrong = bits if bits > 8 else min(depths)
        raise ImageError(f"JPEG 2000 pictures of {wrong or 'unknown'}-bit samples are not supported")
    _check_subsampling(sizes)
    header = dict(boxes(dict(boxes(head)).get(b"jp2h", b"")))
    _check_channels(header.get(b"cdef"))
    _check_palette(header, mode)
    return 16 if bits > 8 else 8


def _check_subsampling(sizes: bytes) -> None:
    """Refuse subsampled channels of which a row or column of the picture, or of a tile, has a rounded number.

    Pillow rounds it down where it is rounded up, and takes each row from a wrong place.
    """
    count = int.from_bytes(sizes[36:38], "big")
    sides = struct.unpack_from(">8I", sizes, 4)  # across and down: end, start, sides of tiles, start of the first
    for step in zip(sizes[39 : 38 + 3 * count : 3], sizes[40 : 38 + 3 * count : 3], strict=False):
        if any(side % max(each, 1) for side, each in zip(sides, step * 4, strict=True)):
            by = "x".join(map(str, step))
            raise ImageError(f"JPEG 2000 channels subsampled by {by}, in sides not divisible by it, are not supported")


def _check_channels(definitions: bytes | None) -> None:
    """Refuse channels but colours in their order and straight alpha after them: Pillow takes all for these."""
    if definitions is None:
        return
    (count,) = struct.unpack_from(">H", definitions)
    channels = sorted(struct.iter_unpack(">HHH", definitions[2 : 2 + 6 * count]))  # number, kind, which colour
    colours = [(index, 0, index + 1) for index in range(count)]
    has_alpha = count in (2, 4) and channels[-1][:2] == (count - 1, 1)
    if channels[: count - has_alpha] != colours[: count - has_alpha]:
        raise ImageError("JPEG 2000 channels in another order, or of premultiplied alpha, are not supported")


def _check_palette(header: dict[bytes, bytes], mode: str) -> None:
    """Refuse a palette that Pillow does not keep as it is.

    It merges equal colours, scales and maps nothing, and ignores one of gray.
    """
    palette = header.get(b"pclr")
    if palette is None:
        return
    count, columns = struct.unpack_from(">HB", palette)
    depths, entries = palette[3 : 3 + columns], palette[3 + columns :]
    colours = {entries[at : at + columns] for at in range(0, count * columns, columns)}
    plain = b"".join(struct.pack(">HBB", 0, 1, column) for column in range(columns))
    kept = mode in ("P", "PA") and set(depths) == {7} and len(colours) == count
    if not kept or not header.get(b"cmap", plain).startswith(plain):
        raise ImageError("a JPEG 2000 palette of gray, with repeated colours, or not of 8 bits each, is not supported")
