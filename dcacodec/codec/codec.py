"""Encoding of pictures to the bytes of `.dca` files, and decoding: combines network, entropy coder and container.

::

    Picture -- padded to 64 -- f_a -- slices -- DCA -- integers: z_r, z_g, z_l, y_1..y_4 -- seven streams -- Container
    Picture <- crop, round <- f_s <- tiles of y_hat <-- entropy model, step by step, <--'                        |
                                     and halos         slice by slice                                         bytes

A picture of up to about 2 megapixels is one slice. A larger one is split into slices that are coded independently, but
without visible seams: f_a reads a halo of pixels around each slice, and f_s a halo of latents.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch

from dcacodec.codec import defaults
from dcacodec.codec.decoder import DecodedSlices, decode_view, decoded_slices
from dcacodec.codec.encoder import EncodedSlice, SliceEncoder, assemble
from dcacodec.codec.lossless import lossless_container, read_lossless_picture
from dcacodec.codec.lossless_choice import smallest
from dcacodec.codec.mixed import MIXED_SLICE_LOG2
from dcacodec.codec.operating_point import OperatingPoint
from dcacodec.codec.parallel import OrderedMap, take_thread_count, workers
from dcacodec.codec.preview import with_preview
from dcacodec.codec.progress import Progress, ProgressReporter
from dcacodec.codec.slice_coder import SliceCoder
from dcacodec.codec.source import Source
from dcacodec.coding import Coder, best_coder
from dcacodec.errors import UnknownModelError
from dcacodec.format.container import (
    ALPHA_CHUNK,
    DEFAULT_MAX_PIXELS,
    LARGEST_SLICE,
    Container,
    Header,
)
from dcacodec.format.metadata import metadata_of
from dcacodec.format.quality import nearest_quality
from dcacodec.format.reader import parse
from dcacodec.format.writer import pack
from dcacodec.images.alpha import decode_alpha
from dcacodec.images.picture import Picture, Pixels
from dcacodec.images.webp_lossless import shrink_samples
from dcacodec.network.config import Tuning
from dcacodec.network.device import check_process, choose_device, keep_freed_memory, memory_errors
from dcacodec.tiling.boxes import Box
from dcacodec.tiling.grid import SCALES, Grid, suitable_slice_log2
from dcacodec.weights.reader import Weights, read_weights
from dcacodec.weights.registry import Published, by_fingerprint, by_preset


@dataclass(frozen=True, eq=False)
class Codec:
    """An encoder and decoder with certain weights, on a device. May be used from several threads at once."""

    weights: Weights
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    coder: Coder = field(default_factory=best_coder)

    def __post_init__(self) -> None:
        with memory_errors():
            weights = self.weights.on(self.device)
        object.__setattr__(self, "weights", weights)
        keep_freed_memory()
        # With the index of the GPU: each thread has its own current one.
        object.__setattr__(self, "device", next(weights.network.parameters()).device)

    def __repr__(self) -> str:
        return f"<Codec: weights {self.weights.fingerprint.hex()}, {self.device}, entropy coder {self.coder.name}>"

    @classmethod
    def load(
        cls, preset: str = defaults.PRESET, *, tune: Tuning | None = None, device: str | torch.device = "auto"
    ) -> Codec:
        """The codec of a preset.

        Args:
            preset: name of published weights, such as "small".
            tune: "visual" or "psnr", the distortion that the weights were trained for; None for the first of these that
                is published.
            device: "auto" for a GPU if there is a working one, "cpu", "cuda", "cuda:1" and so on, or a `torch.device`.

        Raises:
            WeightsError: the weights are missing or damaged.
            DcaError: a GPU is requested and cannot be used.
            ValueError: `device` is not a device.
            MemoryError: the GPU has not enough memory.
        """
        return cls.from_published(by_preset(preset, tune), device=device)

    @classmethod
    def for_container(cls, container: Container, *, device: str | torch.device = "auto") -> Codec:
        """The codec with the weights that a `.dca` file was encoded with.

        Raises:
            UnknownModelError: these weights are not installed.
        """
        return cls.from_published(by_fingerprint(container.header.fingerprint.hex()), device=device)

    @classmethod
    def from_published(cls, published: Published, *, device: str | torch.device = "auto") -> Codec:
        """The codec of a weights file."""
        take_thread_count()  # before anything is computed
        return cls(read_weights(published.path, published.digest), choose_device(device))

    @memory_errors()
    def encode(
        self,
        picture: Picture,
        *,
        quality: float = defaults.QUALITY,
        effort: int = defaults.EFFORT,
        lossless: bool | None = None,
        keep_hidden: bool = False,
        slice_log2: int | None = None,
        progress: Progress | None = None,
    ) -> bytes:
        """Encode a picture to the bytes of a `.dca` file.

        Args:
            picture: of any size from 1x1 up.
            quality: 1 (smallest) to 100 (best), rounded to tenths.
            effort: number of refinement iterations (`dcacodec.codec.refinement`). They give a better picture at
                about the same size, and take time and memory.
            lossless: None to code slices losslessly that the network codes badly, such as text and patterns of single
                pixels (`dcacodec.codec.lossless`). True for all of the picture, hidden pixels too: quality and
                effort have no effect. False for none.
            keep_hidden: code the colours of fully transparent pixels; else they are replaced by others that take fewer
                bytes.
            slice_log2: the size of the slices as in `Header`; None chooses one by the picture.
            progress: called after every slice, and after every refinement iteration if the picture is one slice.

        Raises:
            ValueError: the quality is out of range, or the effort is negative.
            TypeError: the quality is not a number, the effort is not an integer, or `picture` is not a `Picture`.
            BadDimensionsError: the picture is too wide or too high for the format.
            BadSliceSizeError: it is too large for a single slice, or too long for a lossless one, as was asked for.
            MemoryError: there is not enough memory for the picture.
        """
        lossless = None if lossless is None else bool(lossless)  # NumPy's have other identities
        container = self.container_of(
            Source(picture, keep_hidden or lossless is True),
            quality=quality,
            effort=effort,
            lossless=lossless,
            slice_log2=slice_log2,
            progress=progress,
        )
        return pack(container)

    @memory_errors()
    def decode(
        self,
        data: bytes | Container,
        *,
        region: tuple[int, int, int, int] | None = None,
        scale: int = 1,
        max_pixels: int | None = DEFAULT_MAX_PIXELS,
        progress: Progress | None = None,
    ) -> Picture:
        """Decode a `.dca` file, or a region of its picture.

        Args:
            data: the whole file, or its parsed container.
            region: (left, top, width, height) in pixels of the picture: only this part is decoded, from the slices that
                it needs. Its pixels are exactly those of the whole picture.
            scale: 2, 4 or 8 to reduce the picture by that factor, its sides rounded up: each pixel is the mean of
                scale x scale pixels (before these are rounded to 8 bits). With a region: all such pixels that it
                touches.
            max_pixels: refuse pictures with more pixels; None for no limit but that of the format. Ignored if `data` is
                a `Container`.
            progress: called after every tile, which is a part of the picture as large as a slice.

        Raises:
            FormatError: the file is malformed; TooLargeError: it has more than ``max_pixels`` pixels.
            UnknownModelError: it was encoded with other weights.
            BadRegionError: the region is not inside the picture.
            StreamError, SymbolMismatchError: its streams are inconsistent.
            ValueError: the scale is none of 1, 2, 4, 8, or the region is not four numbers.
            TypeError: the scale or the numbers of the region are not integers, or `data` is neither bytes nor a
                container.
        """
        region = None if region is None else _checked_region(region)
        scale = _whole("scale", scale)
        if scale not in SCALES:
            raise ValueError(f"scale must be 1, 2, 4 or 8, not {scale}")
        container = data if isinstance(data, Container) else parse(data, max_pixels)
        header, grid = container.header, Grid(container.header)
        if header.fingerprint != self.weights.fingerprint:
            raise UnknownModelError(
                f"the file needs weights {header.fingerprint.hex()}, this codec has {self.weights.fingerprint.hex()}"
            )
        view = (grid.picture if region is None else grid.region(*region)).reduced(scale)
        metadata, alpha = metadata_of(container), container.chunk(ALPHA_CHUNK)
        plane = None if alpha is None else decode_alpha(alpha, header.width, header.height)
        shown = view.times(scale).common(grid.picture)
        if container.lossless_picture is not None:
            reporter = ProgressReporter(progress, 1)
            samples, own_plane = read_lossless_picture(container, grid.touching(shown))
            plane = own_plane if plane is None else plane
            pixels = shrink_samples(np.ascontiguousarray(samples[shown.within(grid.picture)]), scale)
            reporter.tick()
        else:
            coder = self.at(header.quality)
            slices = decoded_slices(coder, container)
            pixels = self.pixels_of(coder.point, grid, slices, view, scale=scale, progress=progress)
        if plane is not None:
            plane = shrink_samples(np.ascontiguousarray(plane[shown.within(grid.picture)]), scale)
        return Picture(pixels, header.mode == "L", plane, *metadata)

    # The steps of encoding and decoding, for rate control, tests and tools

    def at(self, quality: float) -> SliceCoder:
        """The coder of slices at a quality, 1..100.

        Raises:
            DcaError: this process cannot use the GPU, as it was forked from one that does.
        """
        take_thread_count()
        check_process(self.device)
        return SliceCoder(OperatingPoint.of(self.weights, self.device, quality), self.coder)

    def encoder_at(self, quality: float, *, effort: int = defaults.EFFORT) -> SliceEncoder:
        """The encoder of slices at a quality, 1..100, with ``effort`` refinement iterations."""
        return SliceEncoder(self.at(quality), effort)

    def container_of(
        self,
        source: Source,
        *,
        quality: float = defaults.QUALITY,
        effort: int = defaults.EFFORT,
        lossless: bool | None = None,
        slice_log2: int | None = None,
        progress: Progress | None = None,
        seen: Callable[[int, EncodedSlice], object] = lambda index, encoded: None,
    ) -> Container:
        """Encode a picture to a container. What all qualities share is made once for a `Source`.

        Args:
            source: the picture. It says whether hidden colours are kept, also if `lossless`.
            quality, effort, lossless, slice_log2, progress: as in `encode`.
            seen: called with the index and the code of every slice, in order, but not if `lossless`.

        Raises:
            As `encode`.
        """
        header = self.header_for(source, quality=quality, lossless=lossless, slice_log2=slice_log2)
        effort = _checked_effort(effort)  # also where it has no effect
        if lossless:
            reporter = ProgressReporter(progress, 1)
            container = lossless_container(header, source.plain, source.side)
            reporter.tick()
            return with_preview(container, source.previews)

        def slices() -> Iterator[EncodedSlice]:
            plain = None if lossless is False else source.plain
            encoded = self.encode_slices(source.filled, header, plain=plain, effort=effort, progress=progress)
            for index, each in enumerate(encoded):
                seen(index, each)
                yield each

        container = assemble(header, slices(), source.side)
        if lossless is None:
            whole = self.header_for(source, quality=quality, lossless=True, slice_log2=slice_log2)
            container = smallest(container, whole, source.plain, source.side)
        return with_preview(container, source.previews)

    def header_for(
        self,
        source: Source,
        *,
        quality: float = defaults.QUALITY,
        lossless: bool | None = None,
        slice_log2: int | None = None,
    ) -> Header:
        """The header of the file for a picture.

        Raises:
            As `encode`, except for errors about the effort.
        """
        quality, picture = nearest_quality(quality), source.picture
        if slice_log2 is None:
            mixed = lossless is None and source.is_mixed
            slice_log2 = MIXED_SLICE_LOG2 if mixed else suitable_slice_log2(picture.width, picture.height)
        mode = "L" if picture.gray else "RGB"
        slice_log2 = _whole("slice_log2", slice_log2)
        return Header(self.weights.fingerprint, picture.width, picture.height, mode, quality, slice_log2)

    def encode_slices(
        self,
        picture: Picture,
        header: Header,
        *,
        plain: Picture | None = None,
        effort: int = defaults.EFFORT,
        progress: Progress | None = None,
    ) -> Iterator[EncodedSlice]:
        """Encode the slices of a picture, and yield them in the order of the file.

        Args:
            picture: for the network.
            header: of the file.
            plain: for lossless slices: the same picture, except for hidden pixels; None for no lossless slices.
            effort, progress: as in `encode`.

        Raises:
            ValueError: the effort is negative; TypeError: it is not an integer.
        """
        effort = _checked_effort(effort)
        grid, encoder = Grid(header), self.encoder_at(header.quality, effort=effort)
        reporter = ProgressReporter(progress, header.slice_count, effort + 1)

        def encode(index: int) -> EncodedSlice:
            encoded = encoder.encode(picture.pixels, grid, index, reporter.tick)
            if plain is None:
                return encoded
            place = grid.shown(index)
            return encoder.lossless_if_better(encoded, picture.pixels[place], plain.pixels[place])

        with self._parallel_map(header) as ordered_map:
            yield from reporter.all(ordered_map(encode, range(header.slice_count)))

    def pixels_of(
        self,
        point: OperatingPoint,
        grid: Grid,
        slices: DecodedSlices,
        view: Box,
        *,
        scale: int = 1,
        progress: Progress | None = None,
    ) -> Pixels:
        """The pixels of a part of a picture from its slices, see `decode_view`."""
        with self._parallel_map(grid.header) as ordered_map:
            return decode_view(point, grid, view, scale, slices, ordered_map, progress)

    def _parallel_map(self, header: Header) -> AbstractContextManager[OrderedMap]:
        """The `map` for the slices of a picture.

        A single slice uses all of PyTorch's threads (`torch.set_num_threads`). Several slices are coded in parallel on
        as many threads, but on no more than take the memory of the largest slice of the format.
        """
        if header.slice_count == 1:
            return nullcontext(map)
        affordable = LARGEST_SLICE >> 2 * header.slice_log2
        return workers(min(affordable, torch.get_num_threads()) if self.device.type == "cpu" else 1)


def _whole(name: str, value: int) -> int:
    """An argument as an integer of Python's, also one of NumPy's."""
    try:
        return operator.index(value)
    except TypeError as error:
        raise TypeError(f"{name} must be a whole number, not {value!r}") from error


def _checked_effort(effort: int) -> int:
    effort = _whole("effort", effort)
    if effort < 0:
        raise ValueError(f"effort must be 0 or more, not {effort}")
    return effort


def _checked_region(region: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    try:
        left, top, width, height = map(operator.index, region)
    except (TypeError, ValueError) as error:
        message = f"a region is (left, top, width, height) in whole numbers, not {region!r}"
        raise type(error)(message) from error
    return left, top, width, height
