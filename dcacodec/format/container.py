"""The contents of a `.dca` file: header, slices and chunks (docs/reference/format.md is the specification).

Nothing here depends on how streams are coded or on the network, and nothing needs torch or NumPy, so that inspecting a
file is fast.

The constructors of the classes below check their values, so every instance is valid: `pack` cannot write a malformed
file, and a file that `parse` accepts is packed to the same bytes again.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from dcacodec.errors import (
    BadBlockError,
    BadChunkTagError,
    BadDimensionsError,
    BadModeError,
    BadQualityError,
    BadSliceCountError,
    BadSliceSizeError,
    DuplicateChunkError,
    TooLargeError,
    TooManyChunksError,
    UnknownChunkError,
)
from dcacodec.format.quality import HIGHEST, LOWEST, nearest_quality
from dcacodec.format.varint import MAX_U32
from dcacodec.format.vp8l import block_header, check_block, join_blocks, mask_bits, mask_bytes, split_blocks

MAGIC: Final = b"\x89DCA"
VERSION: Final = 1
STREAMS: Final = ("z_r", "z_g", "z_l", "y_1", "y_2", "y_3", "y_4")
"""Names of the streams of a slice, in the order of the file."""
MODES: Final = ("RGB", "L")
"""Colour modes; the file stores the index."""
FINGERPRINT_BYTES: Final = 4
FRACTIONAL: Final = 0x80
"""Bit of the quality byte: another byte with the tenths follows."""
MAX_SIDE: Final = 1 << 20
"""The largest width and height of a picture in this format, in pixels."""
DEFAULT_MAX_PIXELS: Final = 178_956_970
"""The default limit for the number of pixels of a picture, equal to Pillow's."""
SLICE_LOG2_CODES: Final = (0, *range(8, 12))
"""Allowed values of `Header.slice_log2`."""
LARGEST_SLICE: Final = 1 << 22
"""Pixels of the largest slice, sides rounded up by `padded`. It bounds the memory of a decoder."""
MAX_CHUNKS: Final = 1000
"""Maximum number of chunks in a file. It bounds the number of objects that a malicious file can create."""
ALPHA_CHUNK: Final = "ALPH"
FULL_CHUNK: Final = "FULL"
PREVIEW_CHUNK: Final = "prVW"
LOSSLESS_SLICES_CHUNK: Final = "WEBS"
LOSSLESS_PICTURE_CHUNK: Final = "WEBP"
_CRITICAL_CHUNKS: Final = frozenset({ALPHA_CHUNK, FULL_CHUNK, LOSSLESS_SLICES_CHUNK, LOSSLESS_PICTURE_CHUNK})

U32: Final = struct.Struct("<I")
END_OF_CHUNKS: Final = 0


@dataclass(frozen=True)
class Header:
    """The header of a file.

    Attributes:
        fingerprint: four bytes that identify the weights that the streams were coded with.
        width, height: of the picture in pixels, 1..2^20 each.
        mode: "RGB" or "L" (gray). An alpha plane is not part of the mode, but stored in the chunk "ALPH".
        quality: 1..100, a multiple of 0.1, as chosen for encoding; the decoder needs it to invert the gains of the
            latents.
        slice_log2: 0 if the whole picture is one slice of up to `LARGEST_SLICE` pixels; else 8..11 for square slices
            with sides of 2^slice_log2 pixels.

    Raises:
        BadDimensionsError, BadModeError, BadQualityError, BadSliceSizeError: a field that is read from files is out of
            range.
        ValueError: the fingerprint is not four bytes long.
    """

    fingerprint: bytes
    width: int
    height: int
    mode: str
    quality: float
    slice_log2: int = 0

    def __post_init__(self) -> None:
        if len(self.fingerprint) != FINGERPRINT_BYTES:
            raise ValueError(f"a fingerprint has {FINGERPRINT_BYTES} bytes, not {len(self.fingerprint)}")
        _check_dimensions(self.width, self.height)
        if self.mode not in MODES:
            raise BadModeError(f"colour mode {self.mode} is not one of {', '.join(MODES)}")
        if not LOWEST <= self.quality <= HIGHEST:
            raise BadQualityError(f"quality {self.quality} is not in 1 to 100")
        if self.quality != nearest_quality(self.quality):
            raise BadQualityError(f"quality {self.quality} is not a multiple of 0.1")
        if self.slice_log2 not in SLICE_LOG2_CODES:
            raise BadSliceSizeError(f"slice size code {self.slice_log2} is neither 0 nor in 8 to 11")
        if self.slice_log2 == 0 and padded(self.width) * padded(self.height) > LARGEST_SLICE:
            raise BadSliceSizeError(f"a picture of {self.width}x{self.height} pixels is too large for a single slice")

    @property
    def slice_grid(self) -> tuple[int, int]:
        """(columns, rows) of slices. Those in the last column and row may be smaller than the others."""
        if self.slice_log2 == 0:
            return 1, 1
        return -(-self.width >> self.slice_log2), -(-self.height >> self.slice_log2)

    @property
    def slice_count(self) -> int:
        """The number of slices."""
        columns, rows = self.slice_grid
        return columns * rows

    def slice_size(self, index: int) -> tuple[int, int]:
        """(width, height) of a slice in pixels of the picture, which the last column and row of slices end with."""
        row, column = divmod(index, self.slice_grid[0])
        side = 1 << self.slice_log2 if self.slice_log2 else MAX_SIDE
        return min(side, self.width - column * side), min(side, self.height - row * side)


@dataclass(frozen=True)
class Slice:
    """A coded part of a picture that can be decoded independently.

    Attributes:
        streams: the seven coded streams, in the order of `STREAMS`; any of them may be empty. All are if the slice is
            lossless: its samples are in a chunk.
        latent_crc: CRC-32 of the decoded latents, or of the samples of a lossless slice, 0..2^32-1.

    Raises:
        ValueError: not seven streams, or a checksum out of range.
    """

    streams: tuple[bytes, ...]
    latent_crc: int

    def __post_init__(self) -> None:
        if len(self.streams) != len(STREAMS):
            raise ValueError(f"a slice has {len(STREAMS)} streams, not {len(self.streams)}")
        if not 0 <= self.latent_crc <= MAX_U32:
            raise ValueError(f"a CRC-32 is in 0 to {MAX_U32}, not {self.latent_crc}")


@dataclass(frozen=True)
class Chunk:
    """Additional data of the picture: alpha plane, ICC profile, EXIF data, XMP packet, or extensions of later releases.

    Attributes:
        tag: four ASCII letters. An upper-case first letter makes the chunk critical: a decoder that does not know it
            must refuse the file. Other unknown chunks may be skipped.
        data: the content.

    Raises:
        BadChunkTagError: the tag is not four ASCII letters.
    """

    tag: str
    data: bytes

    def __post_init__(self) -> None:
        if not (len(self.tag) == 4 and self.tag.isascii() and self.tag.isalpha()):
            raise BadChunkTagError(f"chunk tag {self.tag!a} is not four ASCII letters")

    @property
    def critical(self) -> bool:
        """Whether a decoder that does not know this chunk must refuse the file."""
        return self.tag[0].isupper()


@dataclass(frozen=True)
class Container:
    """The contents of a `.dca` file.

    Attributes:
        header: see `Header`.
        slices: in raster order, `header.slice_count` of them.
        chunks: in the order of the file, with different tags. Unknown chunks that are not critical are preserved.

    Raises:
        BadSliceCountError: the number of slices does not match the header.
        TooManyChunksError: more than `MAX_CHUNKS`.
        UnknownChunkError: this release does not know a critical chunk.
        DuplicateChunkError: two chunks have the same tag.
        BadSliceBitsError: the chunk "FULL" or "WEBS" does not have one bit per slice, at least one of them set, padded
            with zeros to whole bytes.
        BadBlockError: a lossless block is not WebP lossless data of the dimensions of its slice, or what it codes is
            coded a second time.
    """

    header: Header
    slices: tuple[Slice, ...]
    chunks: tuple[Chunk, ...] = ()

    def __post_init__(self) -> None:
        check_slice_count(self.header, len(self.slices))
        check_chunk_count(len(self.chunks))
        tags = set()
        for chunk in self.chunks:
            if chunk.critical and chunk.tag not in _CRITICAL_CHUNKS:
                raise UnknownChunkError(f"the picture needs chunk {chunk.tag}, which this release does not know")
            if chunk.tag in tags:
                raise DuplicateChunkError(f"chunk {chunk.tag} is there twice")
            tags.add(chunk.tag)
        self._check_lossless()

    def _check_lossless(self) -> None:
        """Check the chunks that say how slices are coded."""
        header, picture = self.header, self.lossless_picture
        if picture is not None:
            check_block(picture, header.width, header.height, may_have_alpha=self.chunk(ALPHA_CHUNK) is None)
            if self._blocks:
                raise BadBlockError(f"chunks {LOSSLESS_PICTURE_CHUNK} and {LOSSLESS_SLICES_CHUNK} exclude each other")
        for index, block in self._blocks.items():
            check_block(block, *header.slice_size(index))
        full = self._full
        for index in self._blocks if picture is None else range(len(self.slices)):
            if any(self.slices[index].streams):
                raise BadBlockError(f"slice {index} is lossless, and has streams")
        if full and (picture is not None or full & self._lossless):
            raise BadBlockError("a slice is lossless, and is marked as full")

    def chunk(self, tag: str) -> bytes | None:
        """Data of the chunk with this tag, None if there is none."""
        return next((chunk.data for chunk in self.chunks if chunk.tag == tag), None)

    def is_full(self, index: int) -> bool:
        """Whether all elements of y of a slice are coded; if not, those of small predicted scale are skipped."""
        return bool(self._full >> index & 1)

    @property
    def has_alpha(self) -> bool:
        """Whether the picture has an alpha plane, in its own chunk or in the lossless block of the picture."""
        picture = self.lossless_picture
        return self.chunk(ALPHA_CHUNK) is not None or (picture is not None and block_header(picture)[2])

    @property
    def lossless_picture(self) -> bytes | None:
        """The lossless block of the whole picture, None if there is none."""
        return self.chunk(LOSSLESS_PICTURE_CHUNK)

    def lossless_block(self, index: int) -> bytes | None:
        """The lossless block of a slice, None if there is none."""
        return self._blocks.get(index)

    def is_lossless(self, index: int) -> bool:
        """Whether the samples of a slice are coded losslessly, in its own block or in that of the picture."""
        return index in self._blocks or self.lossless_picture is not None

    @property
    def lossless_count(self) -> int:
        """The number of lossless slices."""
        return len(self._blocks) if self.lossless_picture is None else len(self.slices)

    @cached_property
    def _full(self) -> int:
        """A bit for each slice, starting with the least significant."""
        data = self.chunk(FULL_CHUNK)
        return 0 if data is None else mask_bits(data, len(self.slices), FULL_CHUNK)

    @cached_property
    def _lossless(self) -> int:
        """A bit for each slice that has a block, starting with the least significant."""
        count = -(-len(self.slices) // 8)
        return int.from_bytes((self.chunk(LOSSLESS_SLICES_CHUNK) or b"")[:count], "little")

    @cached_property
    def _blocks(self) -> dict[int, bytes]:
        """The lossless blocks of slices."""
        data = self.chunk(LOSSLESS_SLICES_CHUNK)
        return {} if data is None else split_blocks(data, len(self.slices), LOSSLESS_SLICES_CHUNK)


def full_chunk(full: Sequence[bool]) -> Chunk:
    """The chunk "FULL" with a bit for each slice, see `Container.is_full`; at least one slice must be full."""
    return Chunk(FULL_CHUNK, mask_bytes(full))


def lossless_slices_chunk(blocks: Sequence[bytes | None]) -> Chunk:
    """The chunk "WEBS" with the blocks of lossless slices, None for other slices; at least one must be lossless."""
    return Chunk(LOSSLESS_SLICES_CHUNK, join_blocks(blocks))


def describe(container: Container, file_size: int) -> dict[str, Any]:
    """The values of `dcacodec info --json`, ready for `json.dumps`.

    Args:
        container: a parsed file.
        file_size: its size in bytes.

    Returns:
        version; fingerprint (hexadecimal); width, height (pixels); mode; alpha (whether there is an alpha plane);
        quality (requested; without effect on lossless slices); lossless (whether all slices are); slices (their
        number); slice_size (side in pixels, 0 if the picture is one slice); lossless_slices (how many are lossless);
        streams (bytes of each stream, summed over slices); chunks (tag and bytes of each, in the
        order of the file); overhead_bytes (everything but streams and chunk data); file_bytes; bpp (bits of the file
        per pixel).
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
        "alpha": container.has_alpha,
        "quality": header.quality,
        "lossless": container.lossless_count == header.slice_count,
        "slices": header.slice_count,
        "slice_size": 1 << header.slice_log2 if header.slice_log2 else 0,
        "lossless_slices": container.lossless_count,
        "streams": streams,
        "chunks": chunks,
        "overhead_bytes": file_size - payload,
        "file_bytes": file_size,
        "bpp": file_size * 8 / (header.width * header.height),
    }


def check_pixels(width: int, height: int, max_pixels: int | None) -> None:
    """Check the size of a picture, before memory is taken for it.

    Args:
        width, height: in pixels.
        max_pixels: the largest number of pixels; None for no limit but that of the format.

    Raises:
        BadDimensionsError: the format cannot hold the picture.
        TooLargeError: the picture has more pixels than that.
    """
    _check_dimensions(width, height)
    if max_pixels is not None and width * height > max_pixels:
        raise TooLargeError(f"a picture of {width}x{height} pixels is above the limit of {max_pixels} pixels")


def _check_dimensions(width: int, height: int) -> None:
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise BadDimensionsError(f"a picture of {width}x{height} pixels: each side must be 1 to {MAX_SIDE}")


def check_chunk_count(count: int) -> None:
    """Check that a file does not have too many chunks."""
    if count > MAX_CHUNKS:
        raise TooManyChunksError(f"more than {MAX_CHUNKS} chunks")


def check_slice_count(header: Header, count: int) -> None:
    """Check that the number of slices matches the header."""
    if count != header.slice_count:
        columns, rows = header.slice_grid
        raise BadSliceCountError(f"{count} slices where the picture has {columns}x{rows}")


def padded(side: int) -> int:
    """A side of a picture or slice rounded up to a multiple of 64 pixels, which the network requires."""
    return -(-side // 64) * 64
