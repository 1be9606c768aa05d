"""Where slices are lossless: where that is better than the code of the network.

::

    slice of the network -- suspicious? --no--> kept                    (photographs end here)
                                '--yes-- decoded: bits + lambda * squared error --+--> the cheaper one
                                         lossless block: bits --------------------'

The squared error is that of all tunings: its lambda is in units of it. SSIMULACRA 2 rises steeply from an error of 0,
so by it every photograph of a high quality would be lossless, at three times the size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from dcacodec.codec.lossless import lossless_container
from dcacodec.format.container import ALPHA_CHUNK, Chunk, Container, Header
from dcacodec.format.vp8l import MAX_BLOCK_SIDE
from dcacodec.format.writer import packed_size
from dcacodec.images.picture import Picture, Pixels
from dcacodec.images.texture import roughness
from dcacodec.images.webp_lossless import encode_block

LEAST_PSNR: Final = 20.5
"""dB. From `FAITHFUL_QUALITY` on, a slice that the network makes worse than this is lossless. Half a decibel above what
is promised, because the pixels at its borders change once its neighbours are known."""
FAITHFUL_QUALITY: Final = 50

_SMALL: Final = 1 << 14
"""Pixels. Smaller slices are always decoded, and estimated better: it takes a few milliseconds."""

# How larger slices are recognised that are not photographs. `benchmarks/lossless_choice.py` prints what these limits
# are compared with, for the pictures of a folder.
_SHARE: Final = 16
_LEAST_SAMPLE: Final = 1 << 13
"""The estimate compresses a sixteenth of the rows, in strips, but at least so many pixels."""
_QUICK_EXCESS: Final = 5.0
"""The quick method takes no more than so many times the bytes of the other: little more for photographs, most for
repeated and computed patterns."""
_DISTINCT: Final = 0.9
"""A photograph has no fewer different rows than this part of all. The estimate of other pictures is a better one."""
_OFFSET: Final = 0.5
_RATIO: Final = 2.5
_DENSE: Final = 3.5
_DENSE_RATIO: Final = 1.4
"""The lossless form is worth trying if its estimate is below `_RATIO` times the bits of the network and `_OFFSET` bits
per pixel. From `_DENSE` bits per pixel on the estimate is good, and `_DENSE_RATIO` is enough."""
_ROUGH: Final = 1000
_NOISY: Final = 14.5
"""Slices of a higher roughness, or with more bits per pixel in their lossless form, are patterns or noise."""
_UNDERESTIMATE: Final = 0.25
"""A lossless block is not expected to be smaller than this part of the estimate."""
_WINDOW: Final = 1 << 20
"""Pixels. The encoder of WebP finds no repetitions at a larger distance (at efforts up to 75 at smaller ones only)."""


def better_block(
    shown: Pixels, plain: Pixels, bits: int, decoded: Callable[[], Pixels], quality: float, trade_off: float
) -> bytes | None:
    """The lossless block of a slice where it is better than the code of the network, else None.

    Args:
        shown: the pixels (H, W, 3) that the network was given.
        plain: the pixels that the block would hold: they differ from ``shown`` only where alpha is 0.
        bits: of the streams.
        decoded: returns what the network makes of these (H, W, 3); called if the slice is suspicious.
        quality: 1..100.
        trade_off: lambda.
    """
    count = shown.shape[0] * shown.shape[1]
    if max(shown.shape) > MAX_BLOCK_SIDE:
        return None
    estimate = lossless_estimate(plain, bits / count)
    likely = _is_likely(estimate, bits / count)
    if not (likely or count <= _SMALL or estimate > _NOISY or roughness(shown) > _ROUGH):
        return None
    error = float(np.mean(np.square(decoded().astype(np.float32) - shown)))
    poor = quality >= FAITHFUL_QUALITY and error > 255**2 / 10 ** (LEAST_PSNR / 10)
    cost = bits + trade_off * count * error
    if not (poor or likely) and _UNDERESTIMATE * estimate * count > cost:
        return None
    block = encode_block(plain)
    return block if poor or 8 * len(block) < cost else None


def _is_likely(estimate: float, bits: float) -> bool:
    """Whether the lossless form may take fewer bits per pixel than these."""
    return estimate < (_RATIO if estimate < _DENSE else _DENSE_RATIO) * bits + _OFFSET


def lossless_estimate(pixels: Pixels, bits: float) -> float:
    """Bits per pixel that samples (H, W, 3) take losslessly: about right, or too many, if columns are alike.

    Rows that are equal to one not far above are left out: they take next to nothing. Where the lossless form is far
    from taking as few as ``bits``, this is the estimate of a quick method, as good for photographs.
    """
    height, width, _ = pixels.shape
    rows = different_rows(pixels)
    sample = pixels[_some_of(rows, width)][:MAX_BLOCK_SIDE, :MAX_BLOCK_SIDE]
    effort = 76 if height * width <= _SMALL or len(rows) < _DISTINCT * height else 0
    scale = 8 / (sample.shape[0] * sample.shape[1]) * len(rows) / height
    quick = 0.0 if effort else scale * len(encode_block(sample, effort=0, method=0))
    if not _is_likely(quick / _QUICK_EXCESS, bits):
        return quick
    return scale * len(encode_block(sample, effort=effort, method=1))


def different_rows(pixels: Pixels) -> list[int]:
    """The indices of the rows of pixels (H, W, 3) without those that are equal to an earlier one within `_WINDOW`."""
    latest: dict[int, int] = {}
    different = []
    for index, row in enumerate(pixels):
        same = latest.get(key := hash(row.tobytes()))
        if same is None or (index - same) * pixels.shape[1] >= _WINDOW:
            different.append(index)
        latest[key] = index
    return different


def _some_of(rows: Sequence[int], width: int) -> list[int]:
    """Some of the rows of so many pixels, in strips that do not keep step with regular patterns."""
    height = len(rows)
    share = min(_SHARE, max(1, height * width // _LEAST_SAMPLE))
    strip = min(8, max(1, height // 128))
    starts = [strip * (share * index + 5 * index % share) for index in range(-(-height // (strip * share)))]
    return [row for start in starts for row in rows[start : start + strip]]


def smallest(container: Container, header: Header, picture: Picture, side: Sequence[Chunk]) -> Container:
    """The container, or a lossless one of the whole picture if that is smaller.

    It may be where a slice is lossless or rows are repeated, as a block of the whole picture has no borders, and where
    there is an alpha plane with bytes, which may take less in the block than in its own chunk.

    Args:
        container: of the picture.
        header: of the lossless file.
        picture: as the lossless file would hold it.
        side: its alpha plane and metadata.
    """
    if max(header.slice_size(0)) > MAX_BLOCK_SIDE:
        return container
    if not container.chunk(ALPHA_CHUNK) and (
        container.lossless_picture is not None or not _is_suspicious(container, picture)
    ):
        return container
    bits = 8 * packed_size(container) / (header.width * header.height)
    if not _is_likely(lossless_estimate(picture.pixels, bits), bits):  # alpha adds to it
        return container
    return min(container, lossless_container(header, picture, side), key=packed_size)


def _is_suspicious(container: Container, picture: Picture) -> bool:
    """Whether a picture without alpha may be no photograph as a whole, although the choice was made for each slice."""
    if container.lossless_count:
        return True
    several = container.header.slice_count > 1
    return several and len(different_rows(picture.pixels)) < _DISTINCT * picture.height
