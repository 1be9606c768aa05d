"""Lossless slices: where they are better than the code of the network, and files that hold nothing else.

::

    slice of the network -- suspicious? --no--> kept                    (photographs end here)
                                '--yes-- decoded: bits + lambda * squared error --+--> the cheaper one
                                         lossless block: bits --------------------'

The squared error is that of all tunings: its lambda is in units of it. SSIMULACRA 2 rises steeply from an error of 0,
so by it every photograph of a high quality would be lossless, at three times the size.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from dcacodec.errors import SymbolMismatchError
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
from dcacodec.format.lossless import MAX_BLOCK_SIDE
from dcacodec.format.writer import packed_size
from dcacodec.images.lossless import decode_block, encode_block
from dcacodec.images.picture import Picture, Pixels, Plane
from dcacodec.tiling.grid import Grid

LEAST_PSNR: Final = 20.5
"""dB. From `FAITHFUL_QUALITY` on, a slice that the network makes worse than this is lossless. Half a decibel above what
is promised, because the pixels at its borders change once its neighbours are known."""
FAITHFUL_QUALITY: Final = 50

_SMALL: Final = 1 << 14
"""Pixels. Smaller slices are always decoded: it takes a few milliseconds."""
# The signs that a larger one is no photograph. None of the 24 photographs of Kodak shows one at any quality.
_WHOLE_SAMPLE: Final = 1 << 15
_STRIP, _PITCH = 8, 64
_OFFSET: Final = 0.5
_RATIO: Final = 2.5
_DENSE: Final = 4.0
_DENSE_RATIO: Final = 1.7
"""The estimate of the lossless form is below `_RATIO` times the bits of the network and `_OFFSET` bits per pixel. From
`_DENSE` bits per pixel on the estimate is good, and `_DENSE_RATIO` is enough. Photographs have 1.9 times (gray) and 3
times (colour) at quality 100, 8 times at 50."""
_ROUGH: Final = 1000
"""Variance around the means of 4x4 pixels: photographs have 44 to 820, patterns of single pixels 10,000."""
_NOISY: Final = 14.5
"""Bits per pixel, lossless: photographs have 9 to 13."""
MIXED_SLICE_LOG2: Final = 8
_ROW_PITCH: Final = 15
_MIXED_PARTS: Final = 8
"""A picture is mixed if at least this part of it is drawn, and this part photographic."""
_DRAWN_FLAT, _PHOTOGRAPHIC_FLAT, _DRAWN_ROUGH = 0.45, 0.3, 1000
"""The share of pixels that equal the one to their left: text and drawings have 0.45 to 0.95, photographs up to 0.35 in
256x256 pixels. A white sky has many, too, but less variance."""
_UNDERESTIMATE: Final = 0.5
"""A lossless block is not expected to be smaller than this part of the estimate."""
_LARGEST_WHOLE_BLOCK: Final = 1 << 26
"""Pixels. A larger picture is not tried as a single block, which takes 30 bytes of memory per pixel."""


def better_block(
    shown: Pixels, plain: Pixels, bits: int, decoded: Callable[[], Pixels], quality: float, trade_off: float
) -> bytes | None:
    """The lossless block of a slice where it is better than the code of the network, else None.

    Args:
        shown: the pixels (H, W, 3) that the network was given.
        plain: the pixels that the block would hold: others where it does not matter.
        bits: of the streams.
        decoded: returns what the network makes of these (H, W, 3); called if the slice is suspicious.
        quality: 1..100.
        trade_off: lambda.
    """
    count = shown.shape[0] * shown.shape[1]
    if max(shown.shape) > MAX_BLOCK_SIDE:
        return None
    sample = _sample(plain)
    estimate = 8 * len(encode_block(sample, effort=0, method=0)) / (sample.shape[0] * sample.shape[1])
    likely = estimate < (_RATIO if estimate < _DENSE else _DENSE_RATIO) * bits / count + _OFFSET
    if not (likely or count <= _SMALL or estimate > _NOISY or _roughness(_sample(shown)) > _ROUGH):
        return None
    error = float(np.mean(np.square(decoded().astype(np.float32) - shown)))
    poor = quality >= FAITHFUL_QUALITY and error > 255**2 / 10 ** (LEAST_PSNR / 10)
    cost = bits + trade_off * count * error
    if not (poor or likely) and _UNDERESTIMATE * estimate * count > cost:
        return None
    block = encode_block(plain)
    return block if poor or 8 * len(block) < cost else None


def is_mixed(pixels: Pixels) -> bool:
    """Whether a picture (H, W, 3) has text or drawings in some places, and photographs in others.

    Such a picture is better coded in slices of `MIXED_SLICE_LOG2`: with text and photographs on a page of 1240x1754
    pixels, quality 50 took 370,702 bytes for 31.9 dB in slices of 1024x1024, 331,715 for 33.3 dB in slices of 512x512,
    and 274,368 for 34.7 dB in slices of 256x256.
    """
    drawn = photographic = total = 0
    for top in range(0, pixels.shape[0], 1 << MIXED_SLICE_LOG2):
        for left in range(0, pixels.shape[1], 1 << MIXED_SLICE_LOG2):
            part = pixels[top : top + (1 << MIXED_SLICE_LOG2), left : left + (1 << MIXED_SLICE_LOG2)]
            rows = part[::_ROW_PITCH]
            flat = float((rows[:, 1:] == rows[:, :-1]).all(-1).mean()) if part.shape[1] > 1 else 0.0
            drawn += flat > _DRAWN_FLAT and _roughness(_sample(part)) > _DRAWN_ROUGH
            photographic += flat < _PHOTOGRAPHIC_FLAT
            total += 1
    return total > 1 and min(drawn, photographic) * _MIXED_PARTS >= total


def _sample(pixels: Pixels) -> Pixels:
    """An eighth of the rows of a slice, in strips that do not keep step with regular patterns."""
    height, width, _ = pixels.shape
    if height * width <= _WHOLE_SAMPLE:
        return pixels
    starts = [_PITCH * strip + _STRIP * (5 * strip % 8) for strip in range(-(-height // _PITCH))]
    return np.concatenate([pixels[start : start + _STRIP] for start in starts])


def _roughness(pixels: Pixels) -> float:
    """The mean squared distance of pixels from the mean of their 4x4 pixels; 0 without any such block."""
    height, width = (side // 4 for side in pixels.shape[:2])
    if not height * width:
        return 0.0
    blocks = pixels[: 4 * height, : 4 * width].astype(np.float32).reshape(height, 4, width, 4, 3)
    return float(np.var(blocks, axis=(1, 3)).mean())


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
        header: of a file whose slices have sides up to `MAX_BLOCK_SIDE`.
        picture: the picture.
        side: its alpha plane and metadata.
    """
    grid = Grid(header)
    parts = [picture.pixels[grid.shown(index)] for index in range(header.slice_count)]
    slices = tuple(map(lossless_slice, parts))
    whole = _whole(header, slices, picture, side)
    if whole is not None and len(parts) == 1 and len(whole.chunks) == len(side) + 1:
        return whole
    sliced = Container(header, slices, (lossless_chunk(list(map(encode_block, parts))), *side))
    return sliced if whole is None else min(sliced, whole, key=packed_size)


def smallest(container: Container, picture: Picture, side: Sequence[Chunk]) -> Container:
    """The container, or the lossless file of the whole picture if that is smaller.

    This is tried where half of the picture is lossless anyway, or the alpha plane takes a quarter of the file: in the
    block of the whole picture, it takes less than in its own chunk.
    """
    header = container.header
    alpha = container.chunk(ALPHA_CHUNK)
    mostly_lossless = header.slice_count > 1 and 2 * container.lossless_count >= header.slice_count
    if not mostly_lossless and (alpha is None or 4 * len(alpha) < packed_size(container)):
        return container
    grid = Grid(header)
    slices = tuple(lossless_slice(picture.pixels[grid.shown(index)]) for index in range(header.slice_count))
    whole = _whole(header, slices, picture, side)
    return container if whole is None else min(container, whole, key=packed_size)


def _whole(header: Header, slices: tuple[Slice, ...], picture: Picture, side: Sequence[Chunk]) -> Container | None:
    """The file with a single block; None if the picture is too large for one."""
    if max(header.width, header.height) > MAX_BLOCK_SIDE or header.width * header.height > _LARGEST_WHOLE_BLOCK:
        return None
    alpha = picture.alpha
    if alpha is not None and alpha.min() == 255:
        alpha = None  # WebP drops an opaque plane: it stays in its own chunk
    block = Chunk(LOSSLESS_PICTURE_CHUNK, encode_block(picture.pixels, alpha))
    return Container(header, slices, (block, *(each for each in side if alpha is None or each.tag != ALPHA_CHUNK)))


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
