"""Changes of EXIF data as bytes. What is not changed keeps its place: offsets, maker notes, the thumbnail."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, TypeAlias

from PIL import ExifTags
from PIL.TiffImagePlugin import IFDRational

Entry: TypeAlias = "tuple[int, int, bytes]"
"""Type of the values, their number, and their bytes, big-endian."""
Directory: TypeAlias = "Mapping[int, Entry | Directory]"
"""The tags of a directory, and the directories in it."""

EXIF_PREFIX: Final = b"Exif\0\0"
"""What some formats store before EXIF data."""
_BYTE, _ASCII, _SHORT, _LONG, _RATIONAL, _UNDEFINED = 1, 2, 3, 4, 5, 7
_SIGNED_LONG, _SIGNED_RATIONAL, _DOUBLE = 9, 10, 12
_WIDTHS: Final = {_SHORT: 2, _LONG: 4, _RATIONAL: 4, _SIGNED_LONG: 4, _SIGNED_RATIONAL: 4, _DOUBLE: 8}
"""Bytes whose order counts; 1 for the other types."""
_ENTRY: Final = 12
"""Bytes of an entry: tag, type, number, and the values or where they are."""
_ORIENTATIONS: Final = 8
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


def bytes_entry(data: bytes, kind: int = _BYTE) -> Entry:
    """Bytes as the value of a tag."""
    return kind, len(data), data


def entry_of(value: object, plain: bool) -> Entry | None:
    """The value of a tag as Pillow reads it, None if it is of no known type.

    Texts become the bytes that they were read from, whatever their encoding: Pillow would write "?" for what is not
    ASCII.

    Args:
        value: of a text, bytes, or one or more numbers.
        plain: whether bytes are of the type BYTE, and not UNDEFINED.
    """
    if isinstance(value, str):
        return bytes_entry(value.encode("latin-1", "replace") + b"\0", _ASCII)
    if isinstance(value, bytes):
        return bytes_entry(value, _BYTE if plain else _UNDEFINED)
    values = value if isinstance(value, tuple) else (value,)
    if not values:
        return None
    if all(isinstance(each, IFDRational) for each in values):
        parts = [int(part) for each in values for part in (each.numerator, each.denominator)]
        signed = min(parts) < 0
        kind = _SIGNED_RATIONAL if signed else _RATIONAL
        return kind, len(values), struct.pack(f">{len(parts)}{'i' if signed else 'I'}", *parts)
    if all(isinstance(each, int) for each in values):
        unsigned = (_SHORT, "H") if max(values) < 1 << 16 else (_LONG, "I")
        kind, form = (_SIGNED_LONG, "i") if min(values) < 0 else unsigned
        return kind, len(values), struct.pack(f">{len(values)}{form}", *values)
    if all(isinstance(each, float) for each in values):
        return _DOUBLE, len(values), struct.pack(f">{len(values)}d", *values)
    return None


def without_orientation(exif: bytes) -> bytes:
    """The same data without the orientation, whose place in the first directory the tags after it take."""
    try:
        order, start, entries = _first_directory(exif)
    except (KeyError, struct.error):
        return exif
    place = entries.get(ExifTags.Base.Orientation)
    if place is None:
        return exif
    (count,) = struct.unpack_from(order + "H", exif, start)
    end = _end(exif, order, start) + 4
    moved = struct.pack(order + "H", count - 1) + exif[start + 2 : place] + exif[place + _ENTRY : end]
    return exif[:start] + moved + bytes(_ENTRY) + exif[end:]


def upright_exif(exif: bytes, turned: bool, applied: int = 1) -> bytes:
    """The same data with orientation 1, and without the thumbnail if the picture was turned, which that is not.

    Args:
        exif: without the prefix "Exif".
        turned: whether the picture was turned by a quarter: then width and height change places.
        applied: the orientation that these data had before, if a reader has applied it and set it to 1.

    Raises:
        KeyError, struct.error: these are not EXIF data.
    """
    order, start, entries = _first_directory(exif)
    upright = bytearray(exif)
    orientation = applied
    if ExifTags.Base.Orientation in entries:
        place = entries[ExifTags.Base.Orientation]
        orientation = max(applied, *struct.unpack_from(order + "H", exif, place + 8))
        struct.pack_into(order + "HHIHH", upright, place, ExifTags.Base.Orientation, _SHORT, 1, 1, 0)
    if turned or 1 < orientation <= _ORIENTATIONS:
        with suppress(struct.error):  # the data end before the place of the thumbnail
            struct.pack_into(order + "I", upright, _end(exif, order, start), 0)
    if turned:
        _exchange(upright, entries, _SIDES)
        if ExifTags.IFD.Exif in entries:
            with suppress(struct.error):  # an inner directory that is damaged is kept as it is
                (inner,) = struct.unpack_from(order + "I", exif, entries[ExifTags.IFD.Exif] + 8)
                _exchange(upright, _entries(exif, order, inner), _INNER_SIDES)
    return bytes(upright)


def with_tags(exif: bytes | None, new: Directory) -> bytes | None:
    """The same data with these tags added to the first directory, which moves to the end. Existing tags stay.

    Raises:
        KeyError, struct.error: these are not EXIF data.
    """
    data = exif or _NEW
    order, start, old = _first_directory(data)
    added = {tag: entry for tag, entry in new.items() if tag not in old}
    if not added:
        return exif
    fields = {tag: data[place : place + _ENTRY] for tag, place in old.items()}
    head = bytearray(data if exif else data[:8])
    head += bytes(len(head) % 2)
    new_fields, values = _stored(added, order, len(head))
    head += values
    struct.pack_into(order + "I", head, 4, len(head))
    head += _table(fields | new_fields, order)
    head += data[_end(data, order, start) :][:4].ljust(4, b"\0")
    return bytes(head)


def _stored(entries: Directory, order: str, place: int) -> tuple[dict[int, bytes], bytes]:
    """The fields of tags, and their values that do not fit into the fields, which begin at this place."""
    fields, values = {}, b""
    for tag, entry in entries.items():
        if isinstance(entry, Mapping):
            inner_fields, inner_values = _stored(entry, order, place + len(values))
            values += inner_values
            at = place + len(values)
            values += _table(inner_fields, order) + bytes(4)
            fields[tag] = struct.pack(order + "HHII", tag, _LONG, 1, at)
            continue
        kind, count, value = entry
        value = _in_order(value, kind, order)
        field = struct.pack(order + "HHI", tag, kind, count)
        if len(value) <= 4:
            fields[tag] = field + value.ljust(4, b"\0")
        else:
            fields[tag] = field + struct.pack(order + "I", place + len(values))
            values += value + bytes(len(value) % 2)
    return fields, values


def _table(fields: Mapping[int, bytes], order: str) -> bytes:
    return struct.pack(order + "H", len(fields)) + b"".join(map(fields.__getitem__, sorted(fields)))


def _first_directory(exif: bytes) -> tuple[str, int, dict[int, int]]:
    """The order of bytes, where the first directory is, and where its entries are.

    Raises:
        KeyError, struct.error: these are not EXIF data.
    """
    order = _ORDERS[exif[:2]]
    (start,) = struct.unpack_from(order + "I", exif, 4)
    return order, start, _entries(exif, order, start)


def _entries(exif: bytes, order: str, start: int) -> dict[int, int]:
    """Where the entry of each tag of a directory is."""
    (count,) = struct.unpack_from(order + "H", exif, start)
    places = range(start + 2, start + 2 + _ENTRY * count, _ENTRY)
    if count:
        struct.unpack_from(f"{_ENTRY}x", exif, places[-1])
    return {struct.unpack_from(order + "H", exif, place)[0]: place for place in places}


def _end(exif: bytes, order: str, start: int) -> int:
    """Where the entries of a directory end, and the place of the next directory follows: that of the thumbnail."""
    (count,) = struct.unpack_from(order + "H", exif, start)
    return int(start + 2 + _ENTRY * count)


def _exchange(exif: bytearray, entries: Mapping[int, int], pairs: tuple[tuple[int, int], ...]) -> None:
    """Exchange the values of the tags of each pair that is there."""
    for one, other in pairs:
        if one in entries and other in entries:
            a, b = (slice(entries[tag] + 2, entries[tag] + _ENTRY) for tag in (one, other))
            exif[a], exif[b] = exif[b], exif[a]


def _in_order(value: bytes, kind: int, order: str) -> bytes:
    """Big-endian values in another order of bytes."""
    size = _WIDTHS.get(kind, 1)
    if order == ">" or size == 1:
        return value
    return b"".join(value[place : place + size][::-1] for place in range(0, len(value), size))
