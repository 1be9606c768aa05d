"""Pictures to bytes and back: the network, the coder and the container brought together.

::

    Picture -- padded to 64 -- f_a -- slices -- DCA -- integers: z_r, z_g, z_l, y_1..y_4 -- seven streams -- Container
    Picture <- crop, round <- f_s <- tiles of y_hat <-- entropy model, step by step, <--'                        |
                                     and halos          slice by slice                                          bytes

A picture of up to about 2 megapixels is one slice. A larger one is cut into slices that are coded alone, but no seam
shows: f_a reads the pixels around a slice, and f_s the latents around it, as far as they reach.
"""

from __future__ import annotations

import copy
import operator
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dcacodec.codec.parallel import InOrder, workers
from dcacodec.codec.refinement import refine
from dcacodec.coding import VALUE_LIMIT, Coder, best_coder, decode_values, encode_values
from dcacodec.errors import StreamError, SymbolMismatchError, UnknownModelError
from dcacodec.format.container import (
    ALPHA_CHUNK,
    DEFAULT_MAX_PIXELS,
    LARGEST_SLICE,
    METADATA_CHUNKS,
    Chunk,
    Container,
    Header,
    Slice,
    full_chunk,
    padded,
)
from dcacodec.format.reader import parse
from dcacodec.format.writer import pack
from dcacodec.images.alpha import decode_alpha, encode_alpha, shrink_alpha
from dcacodec.images.picture import Picture
from dcacodec.network.config import LATENT_STRIDE, REGIONAL_STRIDE, STEPS
from dcacodec.network.context import StepCoder, from_phases, join_steps, take_step, to_phases
from dcacodec.network.dca import DCA
from dcacodec.network.device import choose_device, memory_errors, to_device, to_host
from dcacodec.network.fixed_point import ACTIVATION_BITS
from dcacodec.network.precision import fast_bfloat16, transform_precision
from dcacodec.network.priors import SKIP_BELOW
from dcacodec.network.transforms import analysis_halo, synthesis_halo
from dcacodec.tiling.boxes import Box
from dcacodec.tiling.grid import SCALES, Grid, Tile, suitable_slice_log2, tiles_for
from dcacodec.tiling.seams import REACH, ROOM, SKIPPED, smooth
from dcacodec.weights.reader import Weights, read_weights
from dcacodec.weights.registry import Published, by_fingerprint, by_preset

Integers = NDArray[np.int32]
Pixels = NDArray[np.uint8]
Result = TypeVar("Result")
Progress = Callable[[int, int], object]
"""Called with how much of the work is done, and how much there is: (0, n) first, (n, n) last."""

HYPER_ORDER = "RGL"
"""Order of the hyper latents in the file, whatever the order of contextualisation."""


@dataclass(frozen=True, eq=False)
class Symbols:
    """The integers that a slice's streams carry.

    Attributes:
        hyper: by letter, int32: R (H/4, W/4, C), G (tokens, C), L (H, W, C).
        steps: four times int32 (N,): the residuals of y that are coded, skipped elements left out, in the order
            row, column, channel within the group.
        rows: four times int64 (N,): the scale level of each.
        latent: y_hat, float64 (1, H, W, M), a multiple of 2**-9.
        coded: bool (1, H, W, M), which elements of y are.
        full: whether all are; if not, those of a level below `SKIP_BELOW` are skipped.
    """

    hyper: dict[str, Integers]
    steps: list[Integers]
    rows: list[NDArray[np.int64]]
    latent: Tensor
    coded: Tensor
    full: bool

    def checksum(self) -> int:
        """CRC-32 over the hyper latents and y_hat in units of 2**-9, all as little-endian int32."""
        crc = 0
        for letter in HYPER_ORDER:
            if letter in self.hyper:
                crc = zlib.crc32(self.hyper[letter].astype("<i4").tobytes(), crc)
        (units,) = to_host((self.latent * 2.0**ACTIVATION_BITS).int())
        return zlib.crc32(units.astype("<i4", copy=False).tobytes(), crc)


def _raster(packed: Tensor) -> Tensor:
    """A step's elements by position (4, 1, H/2, W/2, Q) -> (H, W, Q)."""
    return from_phases(packed)[0]


@dataclass(frozen=True, eq=False)
class Codec:
    """Weights on a device, ready for any number of calls from any number of threads."""

    weights: Weights
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    coder: Coder = field(default_factory=best_coder)

    def __post_init__(self) -> None:
        with memory_errors():
            weights = self.weights.on(self.device)
        object.__setattr__(self, "weights", weights)
        # With its number: another thread may have another current GPU.
        object.__setattr__(self, "device", next(weights.network.parameters()).device)

    def __repr__(self) -> str:
        return f"<Codec: weights {self.weights.fingerprint.hex()}, {self.device}, entropy coder {self.coder.name}>"

    @classmethod
    def load(cls, preset: str = "small", device: str | torch.device = "auto") -> Codec:
        """The codec of a preset.

        Args:
            preset: "small" or "base".
            device: "auto" for a GPU if there is one that works, "cpu", "cuda", "cuda:1" and so on, or a device of
                PyTorch's.

        Raises:
            WeightsError: the preset's weights are missing or damaged.
            DcaError: a GPU is asked for and cannot be used.
            ValueError: that is no device.
            MemoryError: the GPU has no memory left for them.
        """
        return cls.from_published(by_preset(preset), device)

    @classmethod
    def load_for(
        cls, data: bytes, device: str | torch.device = "auto", max_pixels: int | None = DEFAULT_MAX_PIXELS
    ) -> Codec:
        """The codec that a `.dca` file was made with.

        Raises:
            FormatError: ``data`` is no sound `.dca` file.
            TooLargeError: its picture has more than ``max_pixels`` pixels.
            UnknownModelError: this installation does not have its weights.
        """
        return cls.from_published(by_fingerprint(parse(data, max_pixels).header.fingerprint.hex()), device)

    @classmethod
    def from_published(cls, published: Published, device: str | torch.device = "auto") -> Codec:
        """The codec of a weights file."""
        return cls(read_weights(published.path, published.digest), choose_device(device))

    # Pictures and files

    @memory_errors()
    def encode(
        self,
        picture: Picture,
        quality: int = 50,
        progress: Progress | None = None,
        slice_log2: int | None = None,
        *,
        effort: int = 0,
    ) -> bytes:
        """A picture as the bytes of a `.dca` file.

        Args:
            picture: of any size from 1x1 up.
            quality: 1 (smallest) to 100 (best).
            progress: is told of every slice, and of every round of refinement where the picture is one.
            slice_log2: the size of the slices as in `Header`; None chooses what suits the size of the picture.
            effort: number of refinement iterations (:mod:`dcacodec.codec.refinement`). They take time, and more memory,
                for a better picture in about as many bytes.

        Raises:
            ValueError: the quality is out of range, or the effort below 0.
            TypeError: one of them is no whole number, or the picture no `Picture`.
            BadDimensionsError: the picture is too wide or too high for the format.
            MemoryError: the picture is too large for the memory there is.
        """
        if not isinstance(picture, Picture):
            kind = type(picture).__name__
            raise TypeError(f"a Picture is needed, not {kind}: dcacodec.encode(..., codec=codec) takes other things")
        quality, effort = _whole("quality", quality), _whole("effort", effort)
        if not 1 <= quality <= 100:
            raise ValueError(f"quality must be 1 to 100, not {quality}")
        if effort < 0:
            raise ValueError(f"effort must be 0 or more, not {effort}")
        if slice_log2 is None:
            slice_log2 = suitable_slice_log2(picture.width, picture.height)
        mode = "L" if picture.gray else "RGB"
        header = Header(self.weights.fingerprint, picture.width, picture.height, mode, quality, slice_log2)
        grid = Grid(header)
        told = ProgressReporter(progress, header.slice_count, effort + 1)

        def code(index: int) -> tuple[Slice, bool]:
            symbols = self.symbols_of_slice(picture.pixels, grid, index, quality, effort, told.tick)
            return Slice(self.streams_of(symbols, quality), symbols.checksum()), symbols.full

        with self._team(header) as each:
            coded = tuple(told.all(each(code, range(header.slice_count))))
        slices, full = tuple(part for part, _ in coded), [each for _, each in coded]
        chunks = [full_chunk(full)] if any(full) else []
        if picture.alpha is not None:
            chunks.append(Chunk(ALPHA_CHUNK, encode_alpha(picture.alpha)))
        chunks += [Chunk(tag, data) for tag, data in zip(METADATA_CHUNKS, picture.metadata, strict=True) if data]
        return pack(Container(header, slices, tuple(chunks)))

    @memory_errors()
    def decode(
        self,
        data: bytes,
        max_pixels: int | None = DEFAULT_MAX_PIXELS,
        *,
        region: tuple[int, int, int, int] | None = None,
        scale: int = 1,
        progress: Progress | None = None,
    ) -> Picture:
        """The picture of a `.dca` file, or a part of it.

        Args:
            data: the whole file.
            max_pixels: refuse pictures of more pixels; None for no limit but that of the format.
            region: (left, top, width, height) in pixels of the picture: only this part is decoded, and of the slices
                only those that it takes. It is exactly what the whole picture has there.
            scale: 2, 4 or 8 for a picture that much smaller, its sides rounded up: each pixel is the mean of
                scale x scale pixels (before they are rounded to 8 bits). Of a region, all such pixels that it touches.
            progress: is told of every tile, which is a part of the picture as large as a slice.

        Raises:
            FormatError: the file is malformed; TooLargeError: it has more than ``max_pixels`` pixels.
            UnknownModelError: it was made with other weights.
            BadRegionError: the region is not in the picture.
            StreamError, SymbolMismatchError: its streams do not belong together.
            ValueError: the scale is none of 1, 2, 4, 8, or the region is not four numbers.
        """
        if region is not None and len(region) != 4:
            raise ValueError(f"a region is (left, top, width, height), not {region!r}")
        if scale not in SCALES:
            raise ValueError(f"scale must be 1, 2, 4 or 8, not {scale}")
        container = parse(data, max_pixels)
        header, grid = container.header, Grid(container.header)
        if header.fingerprint != self.weights.fingerprint:
            raise UnknownModelError(
                f"the file needs weights {header.fingerprint.hex()}, this codec has {self.weights.fingerprint.hex()}"
            )
        view = (grid.picture if region is None else grid.region(*region)).reduced(scale)
        alpha = container.chunk(ALPHA_CHUNK)
        plane = None if alpha is None else decode_alpha(alpha, header.width, header.height)
        if plane is not None:
            part = plane[view.times(scale).common(grid.picture).within(grid.picture)]
            plane = shrink_alpha(np.ascontiguousarray(part), scale)
        pixels = self._pixels(container, view, scale, progress)
        gray = header.mode == "L"
        return Picture(pixels, gray, plane, *map(container.chunk, METADATA_CHUNKS))

    def _team(self, header: Header) -> AbstractContextManager[InOrder]:
        """How the slices of a picture are worked through.

        A single one has all of PyTorch's threads (`torch.set_num_threads`). Of several, as many are coded at a time, as
        long as they do not take more memory than the largest slice of the format would.
        """
        if header.slice_count == 1:
            return nullcontext(map)
        affordable = LARGEST_SLICE >> 2 * header.slice_log2
        return workers(min(affordable, torch.get_num_threads()) if self.device.type == "cpu" else 1)

    def _pixels(self, container: Container, view: Box, scale: int, progress: Progress | None) -> Pixels:
        """The part `view` of the picture at 1/scale of its size, made tile by tile."""
        header, grid = container.header, Grid(container.header)
        tiles = tiles_for(grid, view.times(scale), synthesis_halo(self.weights.config), REACH * LATENT_STRIDE)

        def make(job: tuple[Tile, Tensor]) -> tuple[Box, Pixels]:
            tile, latent = job
            part = tile.part.reduced(scale)
            pixels = self.pixels_of(latent, header.quality, scale)[part.within(tile.box.reduced(scale))]
            return part, _grayed(pixels) if header.mode == "L" else pixels

        whole = np.empty((view.height, view.width, 3), np.uint8)
        with self._team(header) as each:
            for part, pixels in ProgressReporter(progress, len(tiles)).all(
                each(make, self._latents(container, tiles, each))
            ):
                whole[part.within(view)] = pixels
        return whole

    def _latents(self, container: Container, tiles: Sequence[Tile], each: InOrder) -> Iterator[tuple[Tile, Tensor]]:
        """Each tile with its y_hat, float32 (1, H/16, W/16, M).

        Slices are decoded when the first tile needs them, and forgotten after the last. Those that a tile does not need
        are zero in it.
        """
        grid = Grid(container.header)

        def read(index: int) -> tuple[int, tuple[Tensor, Tensor]]:
            symbols = self.read_slice(container, index)
            return index, (symbols.latent[0].float(), symbols.coded[0])

        arriving = each(read, dict.fromkeys(chain.from_iterable(tile.slices for tile in tiles)))
        known: dict[int, tuple[Tensor, Tensor]] = {}
        for tile in tiles:
            while not known.keys() >= set(tile.slices):
                known.update([next(arriving)])
            box, source = (place.reduced(LATENT_STRIDE) for place in (tile.box, tile.source))
            latent = torch.zeros(source.height, source.width, self.weights.config.latent, device=self.device)
            coded = torch.zeros_like(latent, dtype=torch.bool)
            for index in tile.slices:
                area = grid.area(index).reduced(LATENT_STRIDE)
                common = area.common(source)
                for whole, part in zip((latent, coded), known[index], strict=True):
                    whole[common.within(source)] = part[common.within(area)]
            seams = [[at // LATENT_STRIDE for at in line] for line in grid.seams(tile.source, ROOM * LATENT_STRIDE)]
            yield tile, smooth(latent, coded, *seams)[box.within(source)][None].contiguous()
            for index in tile.finished:
                del known[index]

    # Pictures and symbols

    def _to_tensor(self, pixels: Pixels, box: Box | None = None) -> Tensor:
        """(H, W, 3) -> (1, H', W', 3) float32 in 0..1, sides padded to multiples of 64 with the last row and column.

        Of this, the part `box`, which begins inside the picture; all of it if None.
        """
        height, width, _ = pixels.shape
        picture = Box(0, 0, width, height)
        box = box or Box(0, 0, padded(width), padded(height))
        inside = box.common(picture)
        margins = (0, box.bottom - inside.bottom), (0, box.right - inside.right), (0, 0)
        part = np.pad(pixels[inside.within(picture)], margins, mode="edge")
        return to_device(part, self.device)[None].float() / 255

    def _position(self, quality: int) -> Tensor:
        return torch.full((1,), self.weights.config.anchor_position(quality), device=self.device)

    def symbols_of_slice(
        self,
        pixels: Pixels,
        grid: Grid,
        index: int,
        quality: int,
        effort: int = 0,
        tick: Callable[[], object] = lambda: None,
    ) -> Symbols:
        """The symbols of a slice of a picture (H, W, 3), after so many rounds of refinement; `tick` is told of each."""
        area = grid.area(index)
        shown = pixels[area.common(grid.picture).within(grid.picture)]
        if not effort:
            y = self.latent_of_slice(pixels, grid, index, quality)
            return self._best(self._candidates(y, self.hyper_of(y, quality), quality), quality, shown)
        # f_s makes pixels of this slice and of what is around it.
        box = area.grown(synthesis_halo(self.weights.config)).common(grid.canvas)
        whole = self.latent_of_box(pixels, grid, box, quality)
        inside = area.reduced(LATENT_STRIDE).within(box.reduced(LATENT_STRIDE))
        y = whole[:, inside[0], inside[1]].contiguous()
        picture = self._to_tensor(pixels, box)[:, : grid.picture.bottom - box.top, : grid.picture.right - box.left]
        hyper = self.hyper_of(y, quality)
        refined = refine(self._smooth_network, whole, inside, hyper, picture, quality, effort, tick)
        found = [self._candidates(latent, hyper, quality) for latent in (y, refined)]
        return self._best([*chain.from_iterable(found)], quality, shown)

    @cached_property
    def _smooth_network(self) -> DCA:
        """The network without fixed point, which has no slopes."""
        with torch.inference_mode(False):
            network = copy.deepcopy(self.weights.network)
            network.entropy.float()
            return network

    def latent_of_slice(self, pixels: Pixels, grid: Grid, index: int, quality: int) -> Tensor:
        """y of a slice, (1, H/16, W/16, M) float32, as it is in that of the whole picture (H, W, 3), up to rounding."""
        return self.latent_of_box(pixels, grid, grid.area(index), quality)

    def latent_of_box(self, pixels: Pixels, grid: Grid, part: Box, quality: int) -> Tensor:
        """y of a part of the canvas, its sides multiples of 16; see `latent_of_slice`."""
        box = part.grown(analysis_halo(self.weights.config)).common(grid.canvas)
        y = self.latent_of(self._to_tensor(pixels, box), quality)
        rows, columns = part.reduced(LATENT_STRIDE).within(box.reduced(LATENT_STRIDE))
        return y[:, rows, columns].contiguous()

    @torch.inference_mode()
    def hyper_of(self, y: Tensor, quality: int) -> dict[str, Tensor]:
        """The hyper latents of y (1, H/16, W/16, M), rounded, float64."""
        with transform_precision(self.device, fast_bfloat16(self.device)):
            hyper = self.weights.network.hyper_latents(y, self._position(quality))
        return {letter: z.double().round().clamp(-VALUE_LIMIT, VALUE_LIMIT) for letter, z in hyper.items()}

    @torch.inference_mode()
    def latent_of(self, picture: Tensor, quality: int) -> Tensor:
        """Analyse: (1, H, W, 3) in 0..1, sides multiples of 16 -> y (1, H/16, W/16, M) float32."""
        with transform_precision(self.device, fast_bfloat16(self.device)):
            return self.weights.network.latent(picture, self._position(quality))

    def symbols_of(self, pixels: Pixels, quality: int) -> Symbols:
        """Analyse and quantise a picture (H, W, 3) as one slice."""
        y = self.latent_of(self._to_tensor(pixels), quality)
        return self._best(self._candidates(y, self.hyper_of(y, quality), quality), quality, pixels)

    def _candidates(self, y: Tensor, hyper: dict[str, Tensor], quality: int) -> list[Symbols]:
        """The symbols that a slice may have.

        What is skipped cannot be corrected. Where the network was sure of it and wrong, the second has all coded.

        Args:
            y: (1, H/16, W/16, M), H and W multiples of 64.
            hyper: the hyper latents to go with it, rounded.
            quality: 1..100.
        """
        symbols, missed = self._quantised(y, hyper, quality, full=False)
        return [symbols] if missed <= SKIPPED else [symbols, self._quantised(y, hyper, quality, full=True)[0]]

    def _best(self, candidates: Sequence[Symbols], quality: int, pixels: Pixels) -> Symbols:
        """Of a slice that shows `pixels` (H, W, 3): the cheapest by what the network was trained to make small."""
        if len(candidates) == 1:
            return candidates[0]
        return min(candidates, key=lambda each: self._cost(each, quality, pixels))

    def _cost(self, symbols: Symbols, quality: int, pixels: Pixels) -> float:
        """Of a slice: bits + lambda * squared error, the mean of the three samples of each pixel, over all pixels."""
        height, width, samples = pixels.shape
        error = self.pixels_of(symbols.latent, quality)[:height, :width].astype(np.float32) - pixels
        trade_off = self.weights.config.trade_off(quality)
        bits = 8 * sum(map(len, self.streams_of(symbols, quality)))
        return bits + trade_off * float(np.square(error).sum()) / samples

    @torch.inference_mode()
    def _quantised(self, y: Tensor, latents: dict[str, Tensor], quality: int, full: bool) -> tuple[Symbols, float]:
        """Symbols, and how far the worst of the skipped elements is from its mean, in quantisation steps."""
        y = y.double()
        residuals: list[Tensor] = []
        rows: list[Tensor] = []
        missed: list[Tensor] = []
        coded: list[Tensor] = []

        def code(step: int, mean: Tensor, levels: Tensor) -> Tensor:
            coded.append(levels >= _first_coded(full))
            skipped = ~coded[-1]
            distance = take_step(y, step) - mean
            missed.append((distance.abs() * skipped).max())
            residual = distance.round().clamp(-VALUE_LIMIT, VALUE_LIMIT).masked_fill(skipped, 0.0)
            residuals.append(_raster(residual).int())
            rows.append(_raster(levels).to(torch.uint8))
            return residual + mean

        latent = self._run_steps(latents, (y.shape[1], y.shape[2]), quality, code)
        # Only now, and all at once: until here a GPU was not waited for.
        integers = [z[0].int() for z in latents.values()]
        (furthest, *arrays) = to_host(torch.stack(missed).max(), *integers, *residuals, *rows)
        hyper = dict(zip(latents, arrays, strict=False))
        coded_steps: list[Integers] = []
        coded_rows: list[NDArray[np.int64]] = []
        for residual, row in zip(arrays[-2 * STEPS : -STEPS], arrays[-STEPS:], strict=True):
            kept = row >= _first_coded(full)
            coded_steps.append(residual[kept])
            coded_rows.append(row[kept].astype(np.int64))
        return Symbols(hyper, coded_steps, coded_rows, latent, join_steps(coded), full), float(furthest)

    @torch.inference_mode()
    def pixels_of(self, latent: Tensor, quality: int, scale: int = 1) -> Pixels:
        """y_hat (1, H/16, W/16, M) -> (H/scale, W/scale, 3)."""
        with transform_precision(self.device, fast_bfloat16(self.device)):
            picture = self.weights.network.synthesise(latent.float(), self._position(quality), scale)
        (pixels,) = to_host((picture[0] * 255).round().clamp(0, 255).to(torch.uint8))
        return pixels

    def _run_steps(self, latents: dict[str, Tensor], size: tuple[int, int], quality: int, code: StepCoder) -> Tensor:
        """The entropy model in fixed point; `code` gets scale levels as integers."""

        def coded(step: int, mean: Tensor, level: Tensor) -> Tensor:
            return code(step, mean, level.round().long())

        return self.weights.network.entropy(latents, size, self.weights.scales(quality, self.device), coded)

    # Symbols and streams

    def _hyper_rows(self, letter: str, shape: tuple[int, ...], quality: int) -> NDArray[np.int64]:
        """The row of the prior's table for each element of a hyper latent: its channel at the nearest anchor."""
        anchor = round(self.weights.config.anchor_position(quality))
        return np.broadcast_to(anchor * shape[-1] + np.arange(shape[-1]), shape).reshape(-1)

    def streams_of(self, symbols: Symbols, quality: int) -> tuple[bytes, ...]:
        """The seven streams of a slice; a hyper latent that the model does not have makes an empty one."""
        weights, streams = self.weights, []
        for letter in HYPER_ORDER:
            if letter in symbols.hyper:
                values = symbols.hyper[letter]
                rows = self._hyper_rows(letter, values.shape, quality)
                streams.append(encode_values(values.reshape(-1), rows, weights.z_tables[letter], self.coder))
            else:
                streams.append(b"")
        for values, rows in zip(symbols.steps, symbols.rows, strict=True):
            streams.append(encode_values(values, rows, weights.y_table, self.coder))
        return tuple(streams)

    def read_slice(self, container: Container, index: int) -> Symbols:
        """The symbols of a slice of a file.

        Raises:
            StreamError: a stream is not one that an encoder makes for the slice's dimensions.
            SymbolMismatchError: its latents are not those that the file's checksum is of.
        """
        header, coded, grid = container.header, container.slices[index], Grid(container.header)
        area = grid.area(index).common(grid.picture)
        symbols = self.read_streams(coded.streams, area.width, area.height, header.quality, container.is_full(index))
        if symbols.checksum() != coded.latent_crc:
            raise SymbolMismatchError("the decoded latents are not those that were encoded: the file is damaged")
        return symbols

    @torch.inference_mode()
    def read_streams(
        self, streams: Sequence[bytes], width: int, height: int, quality: int, full: bool = False
    ) -> Symbols:
        """The symbols of a slice of ``width`` x ``height`` pixels. For ``full`` see `Symbols`.

        Raises:
            StreamError: a stream is not one that an encoder makes for these dimensions.
        """
        config = self.weights.config
        down, across = (-(-side // REGIONAL_STRIDE) for side in (height, width))
        ratio = REGIONAL_STRIDE // LATENT_STRIDE
        size = (down * ratio, across * ratio)
        shapes = {
            "R": (down, across, config.regional),
            "G": (config.tokens, config.token_width),
            "L": (*size, config.local),
        }
        hyper: dict[str, Integers] = {}
        for letter, stream in zip(HYPER_ORDER, streams[: len(HYPER_ORDER)], strict=True):
            if letter in config.order:
                rows = self._hyper_rows(letter, shapes[letter], quality)
                values = decode_values(stream, rows, self.weights.z_tables[letter], self.coder)
                hyper[letter] = values.reshape(shapes[letter])
            elif stream:
                raise StreamError(f"the file has a stream for the hyper latent {letter}, which its model does not have")
        latents = {letter: to_device(z, self.device).double()[None] for letter, z in hyper.items()}
        coded_steps = streams[len(HYPER_ORDER) :]
        steps: list[Integers] = []
        rows_of: list[NDArray[np.int64]] = []
        coded: list[Tensor] = []

        def code(step: int, mean: Tensor, levels: Tensor) -> Tensor:
            coded.append(levels >= _first_coded(full))
            (row,) = to_host(_raster(levels).to(torch.uint8))
            kept = row >= _first_coded(full)
            rows_of.append(row[kept].astype(np.int64))
            steps.append(decode_values(coded_steps[step], rows_of[-1], self.weights.y_table, self.coder))
            residual = np.zeros(row.shape, np.int32)
            residual[kept] = steps[-1]
            return to_phases(to_device(residual, self.device).double()[None]) + mean

        latent = self._run_steps(latents, size, quality, code)
        return Symbols(hyper, steps, rows_of, latent, join_steps(coded), full)


def _whole(name: str, value: int) -> int:
    try:
        return operator.index(value)
    except TypeError as error:
        raise TypeError(f"{name} must be a whole number, not {value!r}") from error


def _first_coded(full: bool) -> int:
    """The lowest scale level of which elements are coded."""
    return 0 if full else SKIP_BELOW


class ProgressReporter:
    """How far a work has come, told to `progress` in the caller's thread alone.

    Args:
        progress: see `Progress`.
        parts: of the work.
        rounds: of each part. Of a single part, which the caller's thread does, each round is told.
    """

    def __init__(self, progress: Progress | None, parts: int, rounds: int = 1) -> None:
        self._progress, self._parts, self._rounds, self._done = progress, parts, rounds, 0
        self._tell(0)

    def _tell(self, done: int) -> None:
        self._done = done
        if self._progress is not None:
            self._progress(done, self._parts * self._rounds)

    def tick(self) -> None:
        """A round is done."""
        if self._parts == 1:
            self._tell(self._done + 1)

    def all(self, parts: Iterable[Result]) -> Iterator[Result]:
        """The same parts as they are done."""
        for number, each in enumerate(parts, 1):
            self._tell(number * self._rounds)
            yield each


def _grayed(pixels: Pixels) -> Pixels:
    """(H, W, 3), each pixel with the rounded mean of its samples in all three."""
    mean = pixels.mean(-1, keepdims=True).round().astype(np.uint8)
    return np.repeat(mean, 3, -1)
