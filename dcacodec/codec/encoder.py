"""Encoding of slices: analysis, refinement, and the choice of the cheapest candidate.

::

    pixels -- f_a --> y -+----------------------> candidates --+--> the cheapest, by bits + lambda * distortion
                         '-- refine (--effort) -> candidates --'
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from torch import Tensor

from dcacodec.codec.lossless import lossless_chunk, lossless_slice
from dcacodec.codec.lossless_choice import better_block
from dcacodec.codec.refinement import refine
from dcacodec.codec.slice_coder import SliceCoder, Symbols
from dcacodec.format.container import Chunk, Container, Header, Slice, full_chunk
from dcacodec.images.picture import Pixels
from dcacodec.network.config import LATENT_STRIDE
from dcacodec.network.device import to_device
from dcacodec.network.transforms import synthesis_halo
from dcacodec.tiling.grid import Grid
from dcacodec.tiling.seams import SKIPPED


@dataclass(frozen=True, eq=False)
class EncodedSlice:
    """A slice as written to the file.

    Attributes:
        symbols: the integers that the network codes.
        coded: their streams; empty if the slice is lossless.
        samples, block: of a lossless slice: its pixels (H, W, 3), and the block that codes them.
    """

    symbols: Symbols
    coded: Slice
    samples: Pixels | None = None
    block: bytes | None = None


@dataclass(frozen=True, eq=False)
class SliceEncoder:
    """Encodes the slices of pictures at an operating point.

    Attributes:
        coder: of the operating point.
        effort: number of refinement iterations.
    """

    coder: SliceCoder
    effort: int = 0

    def encode(self, pixels: Pixels, grid: Grid, index: int, tick: Callable[[], object] = lambda: None) -> EncodedSlice:
        """Encode a slice of a picture (H, W, 3); `tick` is called after each refinement iteration."""
        return self._best(self._candidates(pixels, grid, index, tick), pixels[grid.shown(index)])

    def lossless_if_better(self, encoded: EncodedSlice, shown: Pixels, plain: Pixels) -> EncodedSlice:
        """The slice, or the lossless one where that is better.

        Args:
            encoded: the slice.
            shown: its pixels (H, W, 3).
            plain: the pixels that a lossless slice would have: they differ from ``shown`` only where alpha is 0.
        """
        point, bits = self.coder.point, 8 * sum(map(len, encoded.coded.streams))

        def decoded() -> Pixels:
            return point.pixels_of(encoded.symbols.latent)[: shown.shape[0], : shown.shape[1]]

        block = better_block(shown, plain, bits, decoded, point.quality, point.trade_off)
        return encoded if block is None else replace(encoded, coded=lossless_slice(plain), samples=plain, block=block)

    def _candidates(self, pixels: Pixels, grid: Grid, index: int, tick: Callable[[], object]) -> Sequence[Symbols]:
        point, area = self.coder.point, grid.area(index)
        if not self.effort:
            y = point.latent_of_box(pixels, grid, area)
            return self.candidates(y, point.hyper_of(y))
        # f_s synthesises the pixels of this slice and of its halo.
        box = area.grown(synthesis_halo(point.weights.config)).common(grid.canvas)
        whole = point.latent_of_box(pixels, grid, box)
        inside = area.reduced(LATENT_STRIDE).within(box.reduced(LATENT_STRIDE))
        y = whole[:, inside[0], inside[1]].contiguous()
        picture = point.tensor_of(pixels, box)[:, : grid.picture.bottom - box.top, : grid.picture.right - box.left]
        picture = picture.float() / 255
        hyper = point.hyper_of(y)
        refined = refine(point, whole, inside, hyper, picture, self.effort, tick)
        return list(chain.from_iterable(self.candidates(latent, hyper) for latent in (y, refined)))

    def candidates(self, y: Tensor, hyper: dict[str, Tensor]) -> list[Symbols]:
        """The symbols that a latent may be coded as.

        Skipped elements have no residual. If the error of one of them is large, a second candidate codes all elements.

        Args:
            y: (1, H/16, W/16, M), H and W multiples of 64.
            hyper: its hyper latents, rounded.
        """
        symbols, error = self.coder.quantise(y, hyper, full=False)
        return [symbols] if error <= SKIPPED else [symbols, self.coder.quantise(y, hyper, full=True)[0]]

    def _best(self, candidates: Sequence[Symbols], shown: Pixels) -> EncodedSlice:
        """The candidate of the least rate-distortion cost for the pixels (H, W, 3) of a slice."""
        streams = [self.coder.streams_of(symbols) for symbols in candidates]
        if len(candidates) == 1:
            best = 0
        else:
            costs = [self._cost(*each, shown) for each in zip(candidates, streams, strict=True)]
            best = costs.index(min(costs))
        symbols = candidates[best]
        return EncodedSlice(symbols, Slice(streams[best], symbols.checksum()))

    def _cost(self, symbols: Symbols, streams: Sequence[bytes], shown: Pixels) -> float:
        """Bits + lambda * distortion, summed over all pixels."""
        height, width, _ = shown.shape
        point = self.coder.point
        made = point.pixels_of(symbols.latent)[:height, :width]
        pair = (to_device(each, point.device)[None].float() / 255 for each in (shown.copy(), made))
        distortion = point.weights.provenance.distortion(*pair).item()
        return 8 * sum(map(len, streams)) + point.trade_off * height * width * distortion


def assemble(header: Header, slices: Iterable[EncodedSlice], side: Sequence[Chunk]) -> Container:
    """The container of slices and side chunks. The slices' symbols are released as they arrive."""
    coded, full, blocks = zip(
        *((each.coded, each.symbols.full and each.block is None, each.block) for each in slices), strict=True
    )
    chunks = [full_chunk(full)] if any(full) else []
    if any(block is not None for block in blocks):
        chunks.append(lossless_chunk(blocks))
    return Container(header, coded, (*chunks, *side))
