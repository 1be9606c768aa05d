"""Lossless blocks: pixels as the VP8L bitstream of WebP (RFC 9649, section 3), without the RIFF container around it.

Only the first bytes of a block are read here, so that the memory of its decoder is known before it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dcacodec.errors import BadBlockError, BadSliceBitsError
from dcacodec.format.varint import read_varint, varint

MAX_BLOCK_SIDE: Final = (1 << 14) - 1
"""The largest width and height of a block that an encoder writes, in pixels: libwebp's limit."""
_SIGNATURE: Final = 0x2F
_HEADER_BYTES: Final = 5
_SIDE_BITS: Final = 14


def block_header(block: bytes) -> tuple[int, int, bool]:
    """Width and height in pixels of a lossless block, and whether it has an alpha channel.

    Raises:
        BadBlockError: it does not start like a VP8L bitstream.
    """
    if len(block) <= _HEADER_BYTES or block[0] != _SIGNATURE:
        raise BadBlockError("a lossless block is not a WebP lossless bitstream")
    fields = int.from_bytes(block[1:_HEADER_BYTES], "little")
    width, height = ((fields >> place & (1 << _SIDE_BITS) - 1) + 1 for place in (0, _SIDE_BITS))
    alpha, version = fields >> 2 * _SIDE_BITS & 1, fields >> 2 * _SIDE_BITS + 1
    if version:
        raise BadBlockError(f"a lossless block has version {version} of the WebP lossless bitstream, not 0")
    return width, height, bool(alpha)


def check_block(block: bytes, width: int, height: int, may_have_alpha: bool = False) -> None:
    """Check that a block has certain dimensions.

    Raises:
        BadBlockError: it has not, or has an alpha channel where it may not.
    """
    *size, alpha = block_header(block)
    if size != [width, height]:
        raise BadBlockError(f"a lossless block has {size[0]}x{size[1]} pixels, not {width}x{height}")
    if alpha and not may_have_alpha:
        raise BadBlockError("a lossless block has an alpha channel that does not belong there")


def mask_bytes(mask: Sequence[bool]) -> bytes:
    """A bit for each slice, the least significant of a byte first."""
    bits = sum(each << index for index, each in enumerate(mask))
    return bits.to_bytes(-(-len(mask) // 8), "little")


def mask_bits(data: bytes, count: int, tag: str) -> int:
    """The bits of `mask_bytes` as a number.

    Raises:
        BadSliceBitsError: not one bit for each of `count` slices, at least one of them set, padded with zeros to whole
            bytes.
    """
    bits = int.from_bytes(data, "little")
    if len(data) != -(-count // 8) or not 0 < bits < 1 << count:
        raise BadSliceBitsError(f"chunk {tag} is not one bit for each of {count} slices, with one that is set")
    return bits


def join_blocks(blocks: Sequence[bytes | None]) -> bytes:
    """The data of the chunk of lossless slices: their mask, then the length and bytes of each block.

    Args:
        blocks: of all slices; None for those that are not lossless.
    """
    data = [mask_bytes([block is not None for block in blocks])]
    for block in blocks:
        if block is not None:
            data += [varint(len(block)), block]
    return b"".join(data)


def split_blocks(data: bytes, count: int, tag: str) -> dict[int, bytes]:
    """The blocks in the data of `join_blocks`, by slice.

    Raises:
        BadSliceBitsError: as `mask_bits`.
        BadVarintError: a length is malformed.
        BadBlockError: the data end before a block does, or continue after the last one.
    """
    position = -(-count // 8)
    mask_bits(data[:position], count, tag)

    def next_byte() -> int:
        nonlocal position
        if position >= len(data):
            raise BadBlockError(f"chunk {tag} ends before its last block")
        position += 1
        return data[position - 1]

    blocks: dict[int, bytes] = {}
    for index in range(count):
        if data[index >> 3] >> (index & 7) & 1:
            end = read_varint(next_byte) + position
            if end > len(data):
                raise BadBlockError(f"chunk {tag} ends before its last block")
            blocks[index], position = data[position:end], end
    if position != len(data):
        raise BadBlockError(f"chunk {tag} has {len(data) - position} bytes after its last block")
    return blocks
