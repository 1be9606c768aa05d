"""Files that lie: a `.dca` file as a list of fields that may all be wrong, under a right checksum of the whole.

`dcacodec.format` cannot write these, its classes check what they hold. What is not changed is written as it was.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

from dcacodec.format.container import MAGIC, MODES, VERSION
from dcacodec.format.reader import parse


def varint(value: int, longer: int = 0) -> bytes:
    """A number of any size as LEB128, this many bytes longer than necessary."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    if longer:
        encoded[-1] |= 0x80
        encoded += b"\x80" * (longer - 1) + b"\0"
    return bytes(encoded)


def sealed(body: bytes) -> bytes:
    """The bytes of a file, with the checksum that belongs to them."""
    return body + struct.pack("<I", zlib.crc32(body))


@dataclass
class ForgedSlice:
    """An entry of the slice table, and the streams; `lengths` None says those of the streams."""

    streams: list[bytes]
    latent_crc: int
    lengths: list[int] | None = None


@dataclass
class ForgedChunk:
    """`length` None says that of the data."""

    tag: bytes
    data: bytes
    length: int | None = None


@dataclass
class Forged:
    """All fields of a file; the numbers as they are written, in range or not.

    `slice_count` None leaves that field out. `longer` has one more byte than it needs: "width", "height", "slice_count"
    or "length" (the first of the slice table). `tail` stands between the chunks and the checksum.
    """

    width: int
    height: int
    layout: int
    quality: float
    fingerprint: bytes
    slices: list[ForgedSlice]
    slice_count: int | None = None
    chunks: list[ForgedChunk] = field(default_factory=list)
    version: int = VERSION
    longer: str = ""
    end: bytes = b"\0"
    tail: bytes = b""

    @classmethod
    def of(cls, data: bytes) -> Forged:
        """The fields of a valid file."""
        container = parse(data, None)
        header = container.header
        return cls(
            width=header.width,
            height=header.height,
            layout=MODES.index(header.mode) << 4 | header.slice_log2,
            quality=header.quality,
            fingerprint=header.fingerprint,
            slices=[ForgedSlice(list(part.streams), part.latent_crc) for part in container.slices],
            slice_count=len(container.slices) if header.slice_log2 else None,
            chunks=[ForgedChunk(chunk.tag.encode(), chunk.data) for chunk in container.chunks],
        )

    def body(self) -> bytes:
        """All bytes before the checksum."""

        def number(name: str, value: int) -> bytes:
            return varint(value, self.longer == name)

        parts = [MAGIC, bytes([self.version & 255]), self.fingerprint]
        parts += [number("width", self.width), number("height", self.height)]
        parts.append(bytes([self.layout & 255]))
        whole, tenth = divmod(round(self.quality * 10), 10)
        parts.append(bytes([whole | 0x80, tenth] if tenth else [whole & 255]))
        if self.slice_count is not None:
            parts.append(number("slice_count", self.slice_count))
        for index, part in enumerate(self.slices):
            lengths = part.lengths if part.lengths is not None else [len(stream) for stream in part.streams]
            parts += [
                varint(length, self.longer == "length" and not index + place) for place, length in enumerate(lengths)
            ]
            parts.append(struct.pack("<I", part.latent_crc & 0xFFFFFFFF))
        for part in self.slices:
            parts += part.streams
        for chunk in self.chunks:
            parts += [chunk.tag, varint(len(chunk.data) if chunk.length is None else chunk.length), chunk.data]
        return b"".join([*parts, self.end, self.tail])

    def written(self) -> bytes:
        """The file."""
        return sealed(self.body())
