"""Changes of EXIF data as bytes. What is not changed keeps its place: offsets, maker notes, the thumbnail."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, TypeAlias

from PIL import ExifTags

Entry: TypeAlias = "tuple[int, int, bytes]"
"""Type of the values, their number, and their bytes, big-endian."""

EXIF_PREFIX: Final = b"Exif\0\0"
"""What some formats store before EXIF data."""
_ASCII, _SHORT, _RATIONAL = 2, 3, 5
_ENTRY: Final = 12
"""Bytes of an entry: tag, type, number, and the values or where they are."""
_ORDERS: Final = {b"II": "<", b"MM": ">"}
_NEW: Final = b"MM\0*\0\0\0\x08\0\0\0\0\0\0"
"""EXIF data without entries."""
# Horizontal and vertical: they change places when a picture is turned by a quarter.
_SIDES: Final = (
    (ExifTags.Base.ImageWidth, ExifTags.Base.ImageLength),
    (ExifTags.Base.XResolution, ExifTags.Base.YResolution),
)
_INNER_SIDES: Final = (
    (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight),
    (ExifTags.Base.FocalPlaneXResolution, ExifTags.Base.FocalPlaneYResolution),
)


def text_entry(text: str) -> Entry:
    """A text as the value of a tag."""
    data = text.replace("\0", " ").encode() + b"\0"
    return _ASCII, len(data), data


def short_entry(value: int) -> Entry:
    """A number as the value of a tag."""
    return _SHORT, 1, struct.pack(">H", value)


def ratio_entry(numerator: int, denominator: int) -> Entry:
    """A fraction as the value of a tag."""
    return _RATIONAL, 1, struct.pack(">II", numerator, denominator)


def upright_exif(exif: bytes, turned: bool) -> bytes:
    """The same data with orientation 1.

    Args:
        exif: without the prefix "Exif".
        turned: whether the picture was turned by a quarter: then width and height change places.

    Raises:
        KeyError, struct.error: these are not EXIF data.
    """
    order = _ORDERS[exif[:2]]
    (start,) = struct.unpack_from(order + "I", exif, 4)
    entries = _entries(exif, order, start)
    upright = bytearray(exif)
    if ExifTags.Base.Orientation in entries:
        struct.pack_into(
            order + "HHIHH", upright, entries[ExifTags.Base.Orientation], ExifTags.Base.Orientation, _SHORT, 1, 1, 0
        )
    if turned:
        _exchange(upright, entries, _SIDES)
        if ExifTags.IFD.Exif in entries:
            with suppress(struct.error):  # an inner directory that is damaged is kept as it is
                (inner,) = struct.unpack_from(order + "I", exif, entries[ExifTags.IFD.Exif] + 8)
                _exchange(upright, _entries(exif, order, inner), _INNER_SIDES)
    return bytes(upright)


def with_tags(exif: bytes | None, new: Mapping[int, Entry]) -> bytes | None:
    """The same data with these tags added to the first directory, which moves to the end. Existing tags stay.

    Raises:
        KeyError, struct.error: these are not EXIF data.
    """
    data = exif or _NEW
    order = _ORDERS[data[:2]]
    (start,) = struct.unpack_from(order + "I", data, 4)
    old = _entries(data, order, start)
    added = {tag: entry for tag, entry in new.items() if tag not in old}
    if not added:
        return exif
    fields = {tag: data[place : place + _ENTRY] for tag, place in old.items()}
    head = bytearray(data if exif else data[:8])
    head += bytes(len(head) % 2)
    for tag, (kind, count, value) in added.items():
        value = _in_order(value, kind, order)
        field = struct.pack(order + "HHI", tag, kind, count)
        if len(value) <= 4:
            fields[tag] = field + value.ljust(4, b"\0")
        else:
            fields[tag] = field + struct.pack(order + "I", len(head))
            head += value + bytes(len(value) % 2)
    struct.pack_into(order + "I", head, 4, len(head))
    following = data[start + 2 + _ENTRY * len(old) :][:4].ljust(4, b"\0")
    return (
        bytes(head)
        + struct.pack(order + "H", len(fields))
        + b"".join(map(fields.__getitem__, sorted(fields)))
        + following
    )


def _entries(exif: bytes, order: str, start: int) -> dict[int, int]:
    """Where the entry of each tag of a directory is."""
    (count,) = struct.unpack_from(order + "H", exif, start)
    places = range(start + 2, start + 2 + _ENTRY * count, _ENTRY)
    if count:
        struct.unpack_from(f"{_ENTRY}x", exif, places[-1])
    return {struct.unpack_from(order + "H", exif, place)[0]: place for place in places}


def _exchange(exif: bytearray, entries: Mapping[int, int], pairs: tuple[tuple[int, int], ...]) -> None:
    """Exchange the values of the tags of each pair that is there."""
    for one, other in pairs:
        if one in entries and other in entries:
            a, b = (slice(entries[tag] + 2, entries[tag] + _ENTRY) for tag in (one, other))
            exif[a], exif[b] = exif[b], exif[a]


def _in_order(value: bytes, kind: int, order: str) -> bytes:
    """Big-endian values in another order of bytes."""
    size = {_SHORT: 2, _RATIONAL: 4}.get(kind, 1)
    if order == ">" or size == 1:
        return value
    return b"".join(value[place : place + size][::-1] for place in range(0, len(value), size))
