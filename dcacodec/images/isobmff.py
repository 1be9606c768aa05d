"""The boxes of a file (ISO base media), and the properties of the main picture of an AVIF or HEIC file in them.

ISO/IEC 14496-12 and 23008-12; JPEG 2000 and JPEG XL files have the same form.
Pillow's readers do not show these properties.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from dcacodec.errors import ImageError
from dcacodec.images.png import HEAD_BYTES

_FULL_BOX: Final = 4
"""Bytes of version and flags."""
_FIRST: Final = (b"ftyp", b"JXL ", b"jP  ")
_TELLING: Final = (*_FIRST, b"meta", b"jp2h")
_CODESTREAMS: Final = (b"jp2c", b"jxlc", b"jxlp")
_XMP_ID: Final = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_PACKETS: Final = {b"JXL ": (b"xml ", b""), b"jP  ": (b"uuid", _XMP_ID)}
"""By the first box of a file: the name of the box with an XMP packet, and what comes before it there."""
_LARGEST: Final = 1 << 24
"""Bytes of a box that is kept: those with properties have a few thousand."""
_STREAM: Final = 1 << 12
"""Bytes of an AV1 stream, which begins with its sequence header."""
_MOST_BOXES: Final = 1 << 14
"""So that a file of many empty boxes does not take long."""


@dataclass(frozen=True)
class MainPicture:
    """What the file says about its main picture.

    Attributes:
        bits: per sample.
        codes: primaries and transfer characteristics, as numbers of ITU-T H.273; None where they are not there.
        cropped: whether a part of it is to be shown (the property `clap`).
    """

    bits: int = 8
    codes: tuple[int, int] | None = None
    cropped: bool = False


def head_of(file: BinaryIO) -> bytes:
    """The first bytes of a file, or of a file of boxes those that tell about its picture, wherever they are in it.

    They follow one another, with the beginning of the codestream. Those with XMP packets are kept, too.

    Raises:
        ImageError: one of them is too large, or there are too many boxes.
    """
    file.seek(0)
    head = file.read(HEAD_BYTES)
    if head[4:8] not in _FIRST:
        return head
    kept: dict[bytes, bytes] = {}  # the first of each name
    packet, prefix = _PACKETS.get(head[4:8], (b"", b""))
    for name, start, length in _places(file):
        if name in kept:
            continue
        file.seek(start)
        if name in _TELLING:
            if length > _LARGEST:
                raise ImageError(f"a box {name.decode()} of {length} bytes is too large for a picture")
            kept[name] = file.read(length)
        elif name in _CODESTREAMS:
            kept[name] = file.read(min(length, HEAD_BYTES))
        elif name == packet and len(prefix) <= length <= _LARGEST and file.read(len(prefix)) == prefix:
            kept[name] = prefix + file.read(length - len(prefix))
        if name == b"meta":
            break
    return b"".join(struct.pack(">I4s", 8 + len(content), name) + content for name, content in kept.items())


def xmp_in(head: bytes) -> bytes | None:
    """The XMP packet of a JPEG XL or JPEG 2000 file of which `head_of` gives this. Compressed ones are not read."""
    name, start = _PACKETS.get(head[4:8], (b"", b""))
    return dict(boxes(head)).get(name, b"")[len(start) :] or None


def _places(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Name of each box, and where its content starts and how long it is."""
    file.seek(0, io.SEEK_END)
    size, position = file.tell(), 0
    for _ in range(_MOST_BOXES):
        file.seek(position)
        start = file.read(16)
        if len(start) < 8:
            return
        length, name = struct.unpack_from(">I4s", start)
        header = 8
        if length == 1:
            length, header = int.from_bytes(start[8:], "big"), 16
        end = position + length if length else size
        if end < position + header:
            return
        yield name, position + header, max(0, min(end, size) - position - header)
        position = end
    raise ImageError(f"the file has more than {_MOST_BOXES} boxes, too many for a picture")


def main_picture(head: bytes) -> MainPicture:
    """Read the boxes of a file that `head_of` keeps; damaged and missing ones say nothing."""
    try:
        properties = list(_properties(head))
    except (struct.error, IndexError, KeyError):
        return MainPicture()
    bits, codes, sides, crop = 8, None, (0, 0), b""
    for name, data in properties:
        if name == b"colr" and data[:4] == b"nclx" and len(data) >= 8:
            codes = struct.unpack_from(">HH", data, 4)
        elif name == b"pixi" and len(data) > _FULL_BOX + 1:
            bits = max(data[_FULL_BOX + 1 :])
        elif name == b"av1C" and len(data) > 2:  # third byte: tier, high_bitdepth, twelve_bit, ...
            bits = max(bits, 12 if data[2] & 0x20 else 10 if data[2] & 0x40 else 8)
        elif name == b"ispe" and len(data) >= _FULL_BOX + 8:
            sides = struct.unpack_from(">II", data, _FULL_BOX)
        elif name == b"clap" and len(data) >= 16:
            crop = data
    return MainPicture(bits, codes, bool(crop) and not _is_whole(crop, sides))


def _is_whole(crop: bytes, sides: tuple[int, int]) -> bool:
    """Whether the width and height in a property `clap`, which are fractions, are those of the picture."""
    width, of_width, height, of_height = struct.unpack_from(">4I", crop)
    return bool(width == sides[0] * of_width and height == sides[1] * of_height)


def av1_stream(file: BinaryIO, head: bytes) -> bytes:
    """The beginning of the AV1 stream of the main picture; empty if that is of another kind, or not found."""
    try:
        if all(name != b"av1C" for name, _ in _properties(head)):
            return b""
        meta, main = _main(head)
        method, offset = _location(meta[b"iloc"], main)
    except (struct.error, IndexError, KeyError):
        return b""
    if method:
        return meta.get(b"idat", b"")[offset:] if method == 1 else b""
    file.seek(0, io.SEEK_END)
    file.seek(min(offset, file.tell()))
    return file.read(_STREAM)


def _location(iloc: bytes, item: int) -> tuple[int, int]:
    """How the data of an item are found (0: in the file, 1: in the box `idat`), and where they begin."""
    version, sizes = iloc[0], (iloc[4] >> 4, iloc[4] & 15, iloc[5] >> 4, iloc[5] & 15 if iloc[0] else 0)
    offset_size, length_size, base_size, index_size = sizes
    table = io.BytesIO(iloc[_FULL_BOX + 2 :])

    def number(size: int) -> int:
        data = table.read(size)
        if len(data) < size:
            raise IndexError("the table is cut off")
        return int.from_bytes(data, "big")

    wide = 2 if version < 2 else 4
    for _ in range(number(wide)):
        found, method = number(wide), number(2) & 15 if version else 0
        number(2)  # in which file
        base, extents = number(base_size), number(2)
        if found == item:
            number(index_size)
            return method, base + number(offset_size)
        table.seek(extents * (index_size + offset_size + length_size), io.SEEK_CUR)
    raise KeyError(item)


def _main(data: bytes) -> tuple[dict[bytes, bytes], int]:
    """The boxes in `meta`, and the number of the main picture."""
    meta = dict(boxes(dict(boxes(data))[b"meta"][_FULL_BOX:]))
    short = meta[b"pitm"][0] == 0
    (main,) = struct.unpack_from(">H" if short else ">I", meta[b"pitm"], _FULL_BOX)
    return meta, main


def _properties(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents of the property boxes of the main picture."""
    meta, main = _main(data)
    described = list(boxes(meta[b"iprp"]))
    container = list(boxes(dict(described)[b"ipco"]))
    for name, content in described:
        if name == b"ipma":
            for index in _associated(content, main):
                if 0 < index <= len(container):
                    yield container[index - 1]


def _associated(content: bytes, main: int) -> Iterator[int]:
    """The numbers of the properties, counted from 1, that a box `ipma` gives to an item."""
    version, wide = content[0], content[3] & 1
    (count,) = struct.unpack_from(">I", content, _FULL_BOX)
    position = _FULL_BOX + 4
    for _ in range(count):
        item = ">H" if version < 1 else ">I"
        (number,) = struct.unpack_from(item, content, position)
        position += struct.calcsize(item)
        associations = content[position]
        position += 1
        for _ in range(associations):
            (index,) = struct.unpack_from(">H" if wide else ">B", content, position)
            position += 2 if wide else 1
            if number == main:
                yield index & (0x7FFF if wide else 0x7F)


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents of the boxes that follow one another. The last one may be cut off."""
    position = 0
    while position + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, position)
        start = position + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, start)
            start += 8
        end = position + size if size else len(data)
        if end < start:
            return
        yield name, data[start:end]
        position = end
