"""Synthesis of pixels from the latents of slices, tile by tile, without visible seams between slices.

::

    slice 0 -- y_hat --.
    slice 1 -- y_hat --+--> y_hat of a tile and its halo -- seams smoothed -- f_s --> its part of the picture
    ...              --'
    lossless slice --------------------------------------------------------------> its part of the picture
          '-- f_a --> y, in place of y_hat in the halos of other slices
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from dcacodec.codec.lossless import read_lossless_slice
from dcacodec.codec.operating_point import OperatingPoint
from dcacodec.codec.parallel import OrderedMap
from dcacodec.codec.progress import Progress, ProgressReporter
from dcacodec.codec.slice_coder import SliceCoder
from dcacodec.format.container import Container
from dcacodec.images.picture import Pixels
from dcacodec.images.webp_lossless import shrink_samples
from dcacodec.network.config import LATENT_STRIDE
from dcacodec.network.transforms import synthesis_halo
from dcacodec.tiling.boxes import Box
from dcacodec.tiling.grid import Grid, Tile, tiles_for
from dcacodec.tiling.seams import REACH, ROOM, smooth

SliceLatent: TypeAlias = "tuple[Tensor, Tensor]"
"""y_hat of a slice, float32 (H, W, M), and the mask of coded elements, bool (H, W, M)."""


@dataclass(frozen=True)
class DecodedSlices:
    """The slices of a picture, for the synthesis.

    Attributes:
        latent_of: returns the latent of a slice that is not lossless; called once for each that is needed.
        is_lossless: whether a slice is lossless.
        samples_of: returns the samples (H, W, 3) of a slice that is.
    """

    latent_of: Callable[[int], SliceLatent]
    is_lossless: Callable[[int], bool]
    samples_of: Callable[[int], Pixels]


def decoded_slices(coder: SliceCoder, container: Container) -> DecodedSlices:
    """The slices of a file that has the quality of the coder's operating point, decoded when they are needed."""

    def latent_of(index: int) -> SliceLatent:
        symbols = coder.read_slice(container, index)
        return symbols.latent[0], symbols.coded[0]

    def samples_of(index: int) -> Pixels:
        return read_lossless_slice(container, index)

    return DecodedSlices(latent_of, container.is_lossless, samples_of)


def decode_view(
    point: OperatingPoint,
    grid: Grid,
    view: Box,
    scale: int,
    slices: DecodedSlices,
    ordered_map: OrderedMap,
    progress: Progress | None = None,
) -> Pixels:
    """The pixels (H, W, 3) of a part of a picture.

    Args:
        point: the operating point that the picture was coded at.
        grid: of the picture.
        view: the part, in pixels of the picture at 1/scale of its size.
        scale: 1, 2, 4 or 8.
        slices: of the picture.
        ordered_map: a `map` that may work in parallel, for slices and for tiles.
        progress: called after every tile.
    """
    halo, further = synthesis_halo(point.weights.config), REACH * LATENT_STRIDE
    tiles = tiles_for(grid, view.times(scale), halo, further, slices.is_lossless)

    def make(job: tuple[Tile, Tensor | None]) -> tuple[Box, Pixels]:
        tile, latent = job
        part, area = tile.part.reduced(scale), grid.area(tile.index)
        if latent is None:
            samples = shrink_samples(slices.samples_of(tile.index), scale)
            return part, samples[part.within(area.reduced(scale))]
        margins = tile.box.reduced(LATENT_STRIDE).margins(area.reduced(LATENT_STRIDE))
        pixels = point.pixels_of(latent, scale, margins)[part.within(area.reduced(scale))]
        return part, _grayed(pixels) if grid.header.mode == "L" else pixels

    whole = np.empty((view.height, view.width, 3), np.uint8)
    made = ordered_map(make, _tile_latents(point, grid, tiles, slices, ordered_map))
    for part, pixels in ProgressReporter(progress, len(tiles)).all(made):
        whole[part.within(view)] = pixels
    return whole


def _tile_latents(
    point: OperatingPoint,
    grid: Grid,
    tiles: Sequence[Tile],
    slices: DecodedSlices,
    ordered_map: OrderedMap,
) -> Iterator[tuple[Tile, Tensor | None]]:
    """Each tile with its y_hat, float32 (1, H/16, W/16, M); None for a lossless slice.

    A slice is read when the first tile needs it, and released after the last. Areas of slices that a tile does not need
    are zero.
    """

    def read(index: int) -> tuple[int, SliceLatent]:
        if not slices.is_lossless(index):
            return index, slices.latent_of(index)
        latent = point.latent_of(point.tensor_of(slices.samples_of(index)))[0]
        return index, (latent, torch.ones_like(latent, dtype=torch.bool))

    synthesised = [tile.slices for tile in tiles if not slices.is_lossless(tile.index)]
    arriving = ordered_map(read, dict.fromkeys(chain.from_iterable(synthesised)))
    known: dict[int, SliceLatent] = {}
    for tile in tiles:
        if slices.is_lossless(tile.index):
            yield tile, None
            for index in tile.finished:
                known.pop(index, None)
            continue
        while not known.keys() >= set(tile.slices):
            known.update([next(arriving)])
        box, source = (place.reduced(LATENT_STRIDE) for place in (tile.box, tile.source))
        latent, coded = _joined(
            {grid.area(index).reduced(LATENT_STRIDE): known[index] for index in tile.slices}, source
        )
        seams = [[at // LATENT_STRIDE for at in line] for line in grid.seams(tile.source, ROOM * LATENT_STRIDE)]
        yield tile, smooth(latent, coded, *seams)[box.within(source)][None].contiguous()
        for index in tile.finished:
            del known[index]


def _joined(slices: Mapping[Box, SliceLatent], source: Box) -> SliceLatent:
    """The latents of several slices as that of an area; of a single one that covers it, the same tensors.

    Boxes are in elements; what no slice covers is zero.
    """
    if list(slices) == [source]:
        return slices[source]
    first, _ = next(iter(slices.values()))
    latent = first.new_zeros((source.height, source.width, first.shape[-1]))
    coded = torch.zeros_like(latent, dtype=torch.bool)
    for area, parts in slices.items():
        common = area.common(source)
        for whole, part in zip((latent, coded), parts, strict=True):
            whole[common.within(source)] = part[common.within(area)]
    return latent, coded


def _grayed(pixels: Pixels) -> Pixels:
    """Pixels (H, W, 3) with all three samples set to their rounded mean."""
    mean = pixels.mean(-1, keepdims=True).round().astype(np.uint8)
    return np.repeat(mean, 3, -1)
