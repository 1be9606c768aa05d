"""Parsing of `.dca` files, with all checks that do not need a network (docs/reference/format.md)."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import IO, Final

from dcacodec.errors import (
    BadChecksumError,
    BadLengthError,
    BadMagicError,
    BadQualityError,
    BadVersionError,
    FormatError,
    NewerVersionError,
    TrailingBytesError,
    TruncatedError,
)
from dcacodec.files.bounded import check_binary, read_bounded
from dcacodec.format.container import (
    DEFAULT_MAX_PIXELS,
    END_OF_CHUNKS,
    FINGERPRINT_BYTES,
    FRACTIONAL,
    MAGIC,
    MODES,
    STREAMS,
    U32,
    VERSION,
    Chunk,
    Container,
    Header,
    Slice,
    check_chunk_count,
    check_pixels,
    check_slice_count,
)
from dcacodec.format.quality import TENTHS, quality_of
from dcacodec.format.varint import read_varint

MAX_HEADER_BYTES: Final = 64
"""An upper bound of the size of a header, magic and version included."""


def parse(data: bytes, max_pixels: int | None = DEFAULT_MAX_PIXELS) -> Container:
    """Parse the bytes of a `.dca` file. Memory is bounded by the length of `data`, whatever the file claims.

    The order of checks is magic, version, checksum of the whole file, then the fields in the order of the file. So an
    error about a field means that the file was written with it. If the checksum is wrong, the lengths in the file show
    the cause: a file that ends too early raises `TruncatedError`, one that starts with a complete container raises
    `TrailingBytesError`, any other `BadChecksumError`.

    Args:
        data: the whole file.
        max_pixels: refuse pictures with more pixels; None for no limit but that of the format.

    Raises:
        FormatError: one of its subclasses, see dcacodec/errors.py.
        TooLargeError: more than `max_pixels` pixels.
        TypeError: `data` is no bytes, but a path, for example.
    """
    if not isinstance(data, bytes):
        data = bytes(memoryview(data))  # of a bytearray; coders take nothing but bytes
    start, end = _after_version(data), len(data) - U32.size
    if zlib.crc32(memoryview(data)[:end]).to_bytes(U32.size, "little") != data[end:]:
        raise _damage(data, start)
    reader = Reader(data, start, end)
    try:
        container = _read_body(reader, max_pixels)
    except TruncatedError:
        # The checksum is right, so the file is not truncated.
        raise BadLengthError("a length inside the file reaches past its end") from None
    if reader.position != end:
        raise TrailingBytesError(f"{end - reader.position} bytes between the last chunk and the checksum")
    return container


def read_container(file: IO[bytes], max_pixels: int | None = DEFAULT_MAX_PIXELS) -> Container:
    """Read and parse a `.dca` file. Of other files, only the first bytes are read.

    Raises:
        As `parse`; TypeError: the file is open in text mode.
    """
    check_binary(file)
    start = b""
    while len(start) < len(MAGIC) and (more := file.read(len(MAGIC) - len(start))):  # a raw pipe gives what is there
        start += more
    return parse(read_bounded(file, max_pixels, start) if start == MAGIC else start, max_pixels)


def parse_header(data: bytes) -> Header:
    """The header of a `.dca` file, from its first `MAX_HEADER_BYTES` bytes or more; the rest is not checked.

    Raises:
        FormatError: one of its subclasses, see dcacodec/errors.py.
    """
    return _read_header(Reader(data, _after_version(data), len(data)), max_pixels=None)


def is_lossless(file: IO[bytes]) -> bool:
    """Whether all slices of a `.dca` file are lossless. What follows the table of slices is not read.

    Raises:
        FormatError: one of its subclasses, see dcacodec/errors.py.
    """
    data = file.read(MAX_HEADER_BYTES)
    data += file.read(parse_header(data).slice_count * (len(STREAMS) + U32.size))
    reader = Reader(data, _after_version(data), len(data))
    for _ in range(_read_header(reader, max_pixels=None).slice_count):
        # A lossless slice has seven empty streams, and any other has streams: not even one value takes no bytes.
        if any(reader.take(len(STREAMS))):
            return False
        reader.skip(U32.size)
    return True


def _after_version(data: bytes) -> int:
    """Check magic and version, and return the position after them."""
    if data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise BadMagicError("not a .dca file: it does not start with the bytes 89 44 43 41")
    if len(data) <= len(MAGIC):
        raise _truncated(len(data))
    version = data[len(MAGIC)]
    if version > VERSION:
        raise NewerVersionError(f"container version {version}: this release reads up to version {VERSION}")
    if version < VERSION:
        raise BadVersionError(f"container version {version} does not exist")
    return len(MAGIC) + 1


class Reader:
    """Reads numbers and bytes sequentially; raises `TruncatedError` at `end`."""

    def __init__(self, data: bytes, position: int, end: int) -> None:
        self._data = data
        self._end = end
        self.position = position

    def skip(self, count: int) -> None:
        """Skip the next `count` bytes."""
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
        """Four bytes as a little-endian number."""
        return int.from_bytes(self.take(U32.size), "little")

    def varint(self) -> int:
        """One to five bytes, see `read_varint`."""
        return read_varint(self.byte)


def _read_body(reader: Reader, max_pixels: int | None) -> Container:
    """Read from the fingerprint to the end of the chunks."""
    header = _read_header(reader, max_pixels)
    # A table that is longer than the file ends the loop with an error, so the number of slices needs no other check.
    table = [([reader.varint() for _ in STREAMS], reader.u32()) for _ in range(header.slice_count)]
    slices = tuple(Slice(tuple(reader.take(length) for length in lengths), crc) for lengths, crc in table)
    return Container(header, slices, tuple(_read_chunks(reader)))


def _pass_body(reader: Reader) -> None:
    """Skip what `_read_body` reads, without storing it."""
    header = _read_header(reader, max_pixels=None)
    length = 0
    for _ in range(header.slice_count):
        length += sum(reader.varint() for _ in STREAMS)
        reader.u32()
    reader.skip(length)
    while (first := reader.byte()) != END_OF_CHUNKS:
        Chunk(_read_tag(reader, first), b"")  # checks the tag
        reader.skip(reader.varint())


def _read_header(reader: Reader, max_pixels: int | None) -> Header:
    fingerprint = reader.take(FINGERPRINT_BYTES)
    width, height = reader.varint(), reader.varint()
    check_pixels(width, height, max_pixels)
    layout, quality = reader.byte(), _read_quality(reader)
    mode = MODES[layout >> 4] if layout >> 4 < len(MODES) else f"number {layout >> 4}"
    header = Header(fingerprint, width, height, mode, quality, layout & 0xF)
    if header.slice_log2:
        check_slice_count(header, reader.varint())
    return header


def _read_quality(reader: Reader) -> float:
    whole = reader.byte()
    if whole < FRACTIONAL:
        return whole
    if not 1 <= (tenth := reader.byte()) < TENTHS:
        raise BadQualityError(f"{tenth} tenths of a quality are not 1 to 9")
    return quality_of((whole - FRACTIONAL) * TENTHS + tenth)


def _read_chunks(reader: Reader) -> Sequence[Chunk]:
    chunks: list[Chunk] = []
    while (first := reader.byte()) != END_OF_CHUNKS:
        check_chunk_count(len(chunks) + 1)
        chunks.append(Chunk(_read_tag(reader, first), reader.take(reader.varint())))
    return chunks


def _read_tag(reader: Reader, first: int) -> str:
    # Latin-1 maps every byte to a character, so that an invalid tag is rejected by Chunk.
    return (bytes([first]) + reader.take(3)).decode("latin-1")


def _damage(data: bytes, start: int) -> FormatError:
    """The error to raise for a file whose checksum is wrong."""
    reader = Reader(data, start, len(data))
    try:
        _pass_body(reader)
        end = reader.position
        whole = reader.u32() == zlib.crc32(memoryview(data)[:end])
    except TruncatedError as error:
        return error
    except FormatError:
        whole = False
    if whole:
        return TrailingBytesError(f"{len(data) - reader.position} bytes after the end of the picture")
    return BadChecksumError("the file is damaged: its checksum does not match its content")


def _truncated(size: int) -> TruncatedError:
    return TruncatedError(f"the file is truncated or damaged: it has only {size} bytes")
