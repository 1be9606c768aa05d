"""The `.dca` container: coded streams and metadata as bytes, and back (docs/format.md is the specification).

Bytes only: nothing here knows how streams are coded or what a network is, and nothing needs torch or NumPy, so that
looking into a file is instant.

A value of one of the classes below is valid once it exists, because its constructor checks it. So `pack` cannot write
a malformed file, and what `parse` accepts packs to the very same bytes again.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from dcacodec.errors import (
    BadChecksum,
    BadChunkTag,
    BadDimensions,
    BadLength,
    BadMagic,
    BadMode,
    BadQuality,
    BadSliceBits,
    BadSliceCount,
    BadSliceSize,
    BadVarint,
    BadVersion,
    DuplicateChunk,
    FormatError,
    NewerVersion,
    TooLarge,
    TooManyChunks,
    TrailingBytes,
    Truncated,
    UnknownChunk,
)

MAGIC: Final = b"\x89DCA"
VERSION: Final = 1
STREAMS: Final = ("z_r", "z_g", "z_l", "y_1", "y_2", "y_3", "y_4")
"""Names of the streams of a slice, in file order."""
MODES: Final = ("RGB", "L")
"""Colour modes; the file stores the index."""
FINGERPRINT_BYTES: Final = 4
MAX_SIDE: Final = 1 << 20
"""The widest and tallest a picture of this format can be, in pixels."""
DEFAULT_MAX_PIXELS: Final = 178_956_970
"""Pictures of more pixels are refused unless the caller says otherwise: the count at which Pillow refuses too."""
SLICE_LOG2: Final = (0, *range(8, 12))
"""Allowed values of `Header.slice_log2`."""
LARGEST_SLICE: Final = 1 << 22
"""Pixels of the largest slice, each side rounded up by `padded`: what a decoder must have memory for at once."""
MAX_CHUNKS: Final = 1000
"""As many chunks a file may have; each is an object, and the shortest takes 5 bytes of a file."""
ALPHA_CHUNK: Final = "ALPH"
ICC_CHUNK: Final = "icCP"
EXIF_CHUNK: Final = "exIF"
XMP_CHUNK: Final = "xmPP"
METADATA_CHUNKS: Final = (ICC_CHUNK, EXIF_CHUNK, XMP_CHUNK)
"""In the order of `Picture.metadata`."""
FULL_CHUNK: Final = "FULL"
_CRITICAL_CHUNKS: Final = frozenset({ALPHA_CHUNK, FULL_CHUNK})

_U32: Final = struct.Struct("<I")
_MAX_U32: Final = (1 << 32) - 1
_VARINT_BYTES: Final = 5
GLANCE: Final = 64
"""More bytes than any header has."""
_END_OF_CHUNKS: Final = 0


@dataclass(frozen=True)
class Header:
    """What a decoder must know before it reads a stream.

    Attributes:
        fingerprint: four bytes that name the weights the streams were coded with.
        width, height: of the picture in pixels, 1..2^20 each.
        mode: "RGB" or "L" (gray). Alpha is no mode: it is told by the chunk "ALPH".
        quality: 1..100, what the encoder was asked for; the decoder needs it to undo the gains of the latents.
        slice_log2: 0 where the whole picture is one slice, which only those of up to `LARGEST_SLICE` may be; else 8..11
            for square slices of 2^slice_log2 pixels a side.

    Raises:
        BadDimensions, BadMode, BadQuality, BadSliceSize: a field that can come from a file is out of range.
        ValueError: the fingerprint is not four bytes long.
    """

    fingerprint: bytes
    width: int
    height: int
    mode: str
    quality: int
    slice_log2: int = 0

    def __post_init__(self) -> None:
        if len(self.fingerprint) != FINGERPRINT_BYTES:
            raise ValueError(f"a fingerprint has {FINGERPRINT_BYTES} bytes, not {len(self.fingerprint)}")
        if not (1 <= self.width <= MAX_SIDE and 1 <= self.height <= MAX_SIDE):
            raise BadDimensions(f"a picture of {self.width}x{self.height} pixels: each side must be 1 to {MAX_SIDE}")
        if self.mode not in MODES:
            raise BadMode(f"colour mode {self.mode} is not one of {', '.join(MODES)}")
        if not 1 <= self.quality <= 100:
            raise BadQuality(f"quality {self.quality} is not in 1 to 100")
        if self.slice_log2 not in SLICE_LOG2:
            raise BadSliceSize(f"slice size code {self.slice_log2} is neither 0 nor in 8 to 11")
        if self.slice_log2 == 0 and padded(self.width) * padded(self.height) > LARGEST_SLICE:
            raise BadSliceSize(f"a picture of {self.width}x{self.height} pixels is too large for a single slice")

    @property
    def slice_grid(self) -> tuple[int, int]:
        """(columns, rows) of slices. Those of the last column and row may be smaller than the others."""
        if self.slice_log2 == 0:
            return 1, 1
        return -(-self.width >> self.slice_log2), -(-self.height >> self.slice_log2)

    @property
    def slice_count(self) -> int:
        """How many slices the picture has."""
        columns, rows = self.slice_grid
        return columns * rows


@dataclass(frozen=True)
class Slice:
    """The coded part of a picture that can be decoded on its own.

    Attributes:
        streams: the seven coded streams, in the order of `STREAMS`; any of them may be empty.
        latent_crc: CRC-32 of the latents that the streams decode to, 0..2^32-1.

    Raises:
        ValueError: not seven streams, or a checksum out of range.
    """

    streams: tuple[bytes, ...]
    latent_crc: int

    def __post_init__(self) -> None:
        if len(self.streams) != len(STREAMS):
            raise ValueError(f"a slice has {len(STREAMS)} streams, not {len(self.streams)}")
        if not 0 <= self.latent_crc <= _MAX_U32:
            raise ValueError(f"a CRC-32 is in 0 to {_MAX_U32}, not {self.latent_crc}")


@dataclass(frozen=True)
class Chunk:
    """Something that travels with the picture: alpha, ICC profile, EXIF data, XMP, or what later releases think of.

    Attributes:
        tag: four ASCII letters. An upper-case first letter makes the chunk critical: a decoder that does not know it
            must refuse the file. Any other chunk may be skipped.
        data: the content.

    Raises:
        BadChunkTag: the tag is not four ASCII letters.
    """

    tag: str
    data: bytes

    def __post_init__(self) -> None:
        if not (len(self.tag) == 4 and self.tag.isascii() and self.tag.isalpha()):
            raise BadChunkTag(f"chunk tag {self.tag!a} is not four ASCII letters")

    @property
    def critical(self) -> bool:
        """Whether a decoder that does not know this chunk must refuse the file."""
        return self.tag[0].isupper()


@dataclass(frozen=True)
class Container:
    """All that a `.dca` file holds.

    Attributes:
        header: see `Header`.
        slices: in raster order, `header.slice_count` of them.
        chunks: in file order, no tag twice. Unknown ones that are not critical are kept as they are.

    Raises:
        BadSliceCount: not as many slices as the header asks for.
        TooManyChunks: more than `MAX_CHUNKS`.
        UnknownChunk: a critical chunk is not one that this release knows.
        DuplicateChunk: two chunks have the same tag.
        BadSliceBits: the chunk "FULL" is not one bit for each slice, one of which is set, and zeros up to a whole byte.
    """

    header: Header
    slices: tuple[Slice, ...]
    chunks: tuple[Chunk, ...] = ()

    def __post_init__(self) -> None:
        _check_slice_count(self.header, len(self.slices))
        _check_chunk_count(len(self.chunks))
        tags = set()
        for chunk in self.chunks:
            if chunk.critical and chunk.tag not in _CRITICAL_CHUNKS:
                raise UnknownChunk(f"the picture needs chunk {chunk.tag}, which this release does not know")
            if chunk.tag in tags:
                raise DuplicateChunk(f"chunk {chunk.tag} is there twice")
            tags.add(chunk.tag)
        full, count = self.chunk(FULL_CHUNK), len(self.slices)
        if full is not None and (len(full) != -(-count // 8) or not 0 < self._full < 1 << count):
            raise BadSliceBits(f"chunk {FULL_CHUNK} is not one bit for each of {count} slices, with one that is set")

    def chunk(self, tag: str) -> bytes | None:
        """Data of the chunk with this tag, or None where there is none."""
        return next((chunk.data for chunk in self.chunks if chunk.tag == tag), None)

    def is_full(self, index: int) -> bool:
        """Whether all elements of y of a slice are coded; if not, those that the network is sure of are skipped."""
        return bool(self._full >> index & 1)

    @cached_property
    def _full(self) -> int:
        """A bit for each slice, the first the least significant."""
        return int.from_bytes(self.chunk(FULL_CHUNK) or b"", "little")


def full_chunk(full: Sequence[bool]) -> Chunk:
    """The chunk that tells of each slice whether it is full, see `Container.is_full`; one of them is."""
    bits = sum(each << index for index, each in enumerate(full))
    return Chunk(FULL_CHUNK, bits.to_bytes(-(-len(full) // 8), "little"))


def pack(container: Container) -> bytes:
    """The bytes of a `.dca` file. The same container always gives the same bytes.

    Raises:
        BadLength: a stream or chunk has 2^32 bytes or more.
    """
    header = container.header
    parts = [
        MAGIC,
        bytes([VERSION]),
        header.fingerprint,
        varint(header.width),
        varint(header.height),
        bytes([MODES.index(header.mode) << 4 | header.slice_log2, header.quality]),
    ]
    if header.slice_log2:
        parts.append(varint(len(container.slices)))
    for part in container.slices:
        parts += [varint(len(stream)) for stream in part.streams]
        parts.append(_U32.pack(part.latent_crc))
    for part in container.slices:
        parts += part.streams
    for chunk in container.chunks:
        parts += [chunk.tag.encode("ascii"), varint(len(chunk.data)), chunk.data]
    parts.append(bytes([_END_OF_CHUNKS]))
    body = b"".join(parts)
    return body + _U32.pack(zlib.crc32(body))


def parse(data: bytes, max_pixels: int | None = DEFAULT_MAX_PIXELS) -> Container:
    """Read the bytes of a `.dca` file. Memory is bounded by the length of `data`, whatever the file claims.

    The order of checks: magic, version, checksum of the whole, then the fields in file order. So whatever is said about
    a field is said about a file that is as its writer left it. Where the checksum is wrong, the file is followed
    along its lengths to tell why: one that ends early is `Truncated`, one with a whole container at its start
    has `TrailingBytes`, any other has a `BadChecksum`.

    Args:
        data: the whole file.
        max_pixels: refuse pictures of more pixels; None for no limit but that of the format.

    Raises:
        FormatError: one of its subclasses, see dcacodec/errors.py.
        TooLarge: more than `max_pixels` pixels.
    """
    start, end = _after_version(data), len(data) - _U32.size
    if zlib.crc32(memoryview(data)[:end]).to_bytes(_U32.size, "little") != data[end:]:
        raise _damage(data, start)
    reader = _Reader(data, start, end)
    try:
        container = _read_body(reader, max_pixels)
    except Truncated:
        # The checksum is right, so nothing was cut off.
        raise BadLength("a length inside the file reaches past its end") from None
    if reader.position != end:
        raise TrailingBytes(f"{end - reader.position} bytes between the last chunk and the checksum")
    return container


def glance(data: bytes) -> Header:
    """The header of a `.dca` file, from its first `GLANCE` bytes or more. Nothing tells whether the rest is sound.

    Raises:
        FormatError: one of its subclasses, see dcacodec/errors.py.
    """
    return _read_header(_Reader(data, _after_version(data), len(data)), max_pixels=None)


def _after_version(data: bytes) -> int:
    """Check magic and version; where the bytes after them begin."""
    if data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise BadMagic("not a .dca file: it does not start with the bytes 89 44 43 41")
    if len(data) <= len(MAGIC):
        raise _truncated(len(data))
    version = data[len(MAGIC)]
    if version > VERSION:
        raise NewerVersion(f"container version {version}: this release reads up to version {VERSION}")
    if version < VERSION:
        raise BadVersion(f"container version {version} does not exist")
    return len(MAGIC) + 1


def describe(container: Container, file_size: int) -> dict[str, Any]:
    """What `dcacodec info --json` prints: plain values, ready for `json.dumps`.

    Args:
        container: a parsed file.
        file_size: its bytes on disk.

    Returns:
        version; fingerprint (hexadecimal); width, height (pixels); mode; alpha (whether there is an alpha plane);
        quality; slices (their count); slice_size (pixels a side, 0 where the picture is one slice); streams (bytes of
        each kind, over all slices); chunks (tag and bytes of each, in file order); overhead_bytes (what is neither
        in a stream nor the data of a chunk); file_bytes; bpp (file bits per pixel).
    """
    header = container.header
    streams = {name: sum(len(part.streams[index]) for part in container.slices) for index, name in enumerate(STREAMS)}
    chunks = [{"tag": chunk.tag, "bytes": len(chunk.data)} for chunk in container.chunks]
    payload = sum(streams.values()) + sum(len(chunk.data) for chunk in container.chunks)
    return {
        "version": VERSION,
        "fingerprint": header.fingerprint.hex(),
        "width": header.width,
        "height": header.height,
        "mode": header.mode,
        "alpha": container.chunk(ALPHA_CHUNK) is not None,
        "quality": header.quality,
        "slices": header.slice_count,
        "slice_size": 1 << header.slice_log2 if header.slice_log2 else 0,
        "streams": streams,
        "chunks": chunks,
        "overhead_bytes": file_size - payload,
        "file_bytes": file_size,
        "bpp": file_size * 8 / (header.width * header.height),
    }


class _Reader:
    """Reads numbers and bytes from front to back; raises `Truncated` where `end` comes too early."""

    def __init__(self, data: bytes, position: int, end: int) -> None:
        self._data = data
        self._end = end
        self.position = position

    def skip(self, count: int) -> None:
        """Pass over the next `count` bytes."""
        if count > self._end - self.position:
            raise _truncated(len(self._data))
        self.position += count

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        self.skip(count)
        return self._data[self.position - count : self.position]

    def byte(self) -> int:
        """The next byte as a number."""
        return self.take(1)[0]

    def u32(self) -> int:
        """Four bytes, the least significant first."""
        return int.from_bytes(self.take(_U32.size), "little")

    def varint(self) -> int:
        """A number of seven bits per byte, least significant first; the top bit of a byte says that more follow."""
        value = 0
        for index in range(_VARINT_BYTES):
            byte = self.byte()
            value |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                if index and byte == 0:
                    raise BadVarint("a number in the file is not in its shortest form")
                break
        if byte >= 0x80 or value > _MAX_U32:
            raise BadVarint("a number in the file is 2^32 or more")
        return value


def _read_body(reader: _Reader, max_pixels: int | None) -> Container:
    """Read from the fingerprint to the end of the chunks."""
    header = _read_header(reader, max_pixels)
    # A table that is too long for the file ends the loop at the end of the file, so the count can do no harm.
    table = [([reader.varint() for _ in STREAMS], reader.u32()) for _ in range(header.slice_count)]
    slices = tuple(Slice(tuple(reader.take(length) for length in lengths), crc) for lengths, crc in table)
    return Container(header, slices, tuple(_read_chunks(reader)))


def _pass_body(reader: _Reader) -> None:
    """Pass over what `_read_body` reads, whatever its size, and keep nothing of it."""
    header = _read_header(reader, max_pixels=None)
    length = 0
    for _ in range(header.slice_count):
        length += sum(reader.varint() for _ in STREAMS)
        reader.u32()
    reader.skip(length)
    while (first := reader.byte()) != _END_OF_CHUNKS:
        Chunk(_read_tag(reader, first), b"")  # refuses what is none
        reader.skip(reader.varint())


def _read_header(reader: _Reader, max_pixels: int | None) -> Header:
    fingerprint = reader.take(FINGERPRINT_BYTES)
    width, height = reader.varint(), reader.varint()
    layout, quality = reader.byte(), reader.byte()
    mode = MODES[layout >> 4] if layout >> 4 < len(MODES) else f"number {layout >> 4}"
    header = Header(fingerprint, width, height, mode, quality, layout & 0xF)
    if max_pixels is not None and width * height > max_pixels:
        raise TooLarge(f"a picture of {width}x{height} pixels is above the limit of {max_pixels} pixels")
    if header.slice_log2:
        _check_slice_count(header, reader.varint())
    return header


def _read_chunks(reader: _Reader) -> Sequence[Chunk]:
    chunks: list[Chunk] = []
    while (first := reader.byte()) != _END_OF_CHUNKS:
        _check_chunk_count(len(chunks) + 1)
        chunks.append(Chunk(_read_tag(reader, first), reader.take(reader.varint())))
    return chunks


def _read_tag(reader: _Reader, first: int) -> str:
    # Latin-1 gives every byte a character, so that a bad tag reaches the check of Chunk.
    return (bytes([first]) + reader.take(3)).decode("latin-1")


def _damage(data: bytes, start: int) -> FormatError:
    """The error to raise for a file whose checksum is wrong."""
    reader = _Reader(data, start, len(data))
    try:
        _pass_body(reader)
        end = reader.position
        whole = reader.u32() == zlib.crc32(memoryview(data)[:end])
    except Truncated as error:
        return error
    except FormatError:
        whole = False
    if whole:
        return TrailingBytes(f"{len(data) - reader.position} bytes after the end of the picture")
    return BadChecksum("the file is damaged: its checksum does not match its content")


def _truncated(size: int) -> Truncated:
    return Truncated(f"the file is cut off or damaged: more than its {size} bytes are needed")


def _check_chunk_count(count: int) -> None:
    if count > MAX_CHUNKS:
        raise TooManyChunks(f"more than {MAX_CHUNKS} chunks")


def _check_slice_count(header: Header, count: int) -> None:
    if count != header.slice_count:
        columns, rows = header.slice_grid
        raise BadSliceCount(f"{count} slices where the picture has {columns}x{rows}")


def padded(side: int) -> int:
    """A side of a picture or slice as the network works on it: rounded up to a multiple of 64 pixels."""
    return -(-side // 64) * 64


def varint(value: int) -> bytes:
    """The shortest LEB128 form of a number: seven bits per byte, the least significant first.

    Raises:
        BadLength: the number is above 2^32 - 1.
    """
    if value > _MAX_U32:
        raise BadLength(f"a length of {value} bytes: the format ends at 2^32 - 1")
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
