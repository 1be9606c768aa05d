"""Lossless slices in files, and files that hold nothing else."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final

import numpy as np

from dcacodec.errors import BadSliceSizeError, SymbolMismatchError
from dcacodec.format.container import (
    ALPHA_CHUNK,
    LOSSLESS_PICTURE_CHUNK,
    STREAMS,
    Chunk,
    Container,
    Header,
    Slice,
    lossless_slices_chunk,
)
from dcacodec.format.vp8l import MAX_BLOCK_SIDE
from dcacodec.format.writer import packed_size
from dcacodec.images.picture import Picture, Pixels, Plane
from dcacodec.images.webp_lossless import decode_block, encode_block
from dcacodec.tiling.grid import Grid

_LARGEST_WHOLE_BLOCK: Final = 1 << 26
"""Pixels. A larger picture is not tried as a single block, which takes 30 bytes of memory per pixel."""


def lossless_slice(samples: Pixels) -> Slice:
    """The entry of a lossless slice (H, W, 3) in the table of slices."""
    return Slice((b"",) * len(STREAMS), _checksum(samples))


def lossless_chunk(blocks: Sequence[bytes | None]) -> Chunk:
    """The chunk of the blocks of all slices, None for those of the network."""
    (first, *others) = blocks
    if first is not None and not others:
        return Chunk(LOSSLESS_PICTURE_CHUNK, first)
    return lossless_slices_chunk(blocks)


def lossless_container(header: Header, picture: Picture, side: Sequence[Chunk]) -> Container:
    """The smallest lossless file of a picture.

    Args:
        header: of the file.
        picture: the picture.
        side: its alpha plane and metadata.

    Raises:
        BadSliceSizeError: a slice has a side above `MAX_BLOCK_SIDE`.
    """
    width, height = header.slice_size(0)
    if max(width, height) > MAX_BLOCK_SIDE:
        raise BadSliceSizeError(f"a lossless slice has sides up to {MAX_BLOCK_SIDE}, not {width}x{height}")
    whole = _whole(header, picture, side)
    if whole is not None and header.slice_count == 1 and len(whole.chunks) == len(side) + 1:
        return whole
    parts = _parts(header, picture)
    sliced = Container(
        header, tuple(map(lossless_slice, parts)), (lossless_chunk(list(map(encode_block, parts))), *side)
    )
    return sliced if whole is None else min(sliced, whole, key=packed_size)


def _whole(header: Header, picture: Picture, side: Sequence[Chunk]) -> Container | None:
    """The file with a single block; None if the picture is too large for one."""
    if max(header.width, header.height) > MAX_BLOCK_SIDE or header.width * header.height > _LARGEST_WHOLE_BLOCK:
        return None
    alpha = picture.alpha
    if alpha is not None and alpha.min() == 255:
        alpha = None  # WebP drops an opaque plane: it stays in its own chunk
    block = Chunk(LOSSLESS_PICTURE_CHUNK, encode_block(picture.pixels, alpha))
    others = (chunk for chunk in side if alpha is None or chunk.tag != ALPHA_CHUNK)
    return Container(header, tuple(map(lossless_slice, _parts(header, picture))), (block, *others))


def _parts(header: Header, picture: Picture) -> list[Pixels]:
    """The pixels of the slices."""
    grid = Grid(header)
    return [picture.pixels[grid.shown(index)] for index in range(header.slice_count)]


def read_lossless_slice(container: Container, index: int) -> Pixels:
    """Decode the samples (H, W, 3) of a slice that has a lossless block.

    Raises:
        StreamError: the block is damaged.
        SymbolMismatchError: the samples do not match their checksum in the file.
    """
    block = container.lossless_block(index)
    assert block is not None
    samples, _ = decode_block(block, container.header.mode == "L")
    _check(samples, container, index)
    return samples


def read_lossless_picture(container: Container, needed: Sequence[int]) -> tuple[Pixels, Plane | None]:
    """Decode a picture that is a single lossless block: its samples (H, W, 3), and the alpha plane in it.

    Args:
        container: of the file.
        needed: the slices whose samples are wanted; only those are checked.

    Raises:
        As `read_lossless_slice`.
    """
    block, grid = container.lossless_picture, Grid(container.header)
    assert block is not None
    samples, alpha = decode_block(block, container.header.mode == "L")
    for index in needed:
        _check(samples[grid.shown(index)], container, index)
    return samples, alpha


def _check(samples: Pixels, container: Container, index: int) -> None:
    if _checksum(samples) != container.slices[index].latent_crc:
        raise SymbolMismatchError("the decoded samples are not those that were encoded: the file is damaged")


def _checksum(samples: Pixels) -> int:
    return zlib.crc32(np.ascontiguousarray(samples).data)
