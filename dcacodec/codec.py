"""Pictures to bytes and back: the network, the coder and the container brought together.

::

    Picture -- pad to 64 -- DCA -- integers: z_r, z_g, z_l, y_1..y_4 -- seven streams -- Container -- bytes
    Picture <- crop, round <- f_s <- y_hat <-- entropy model, step by step <--'
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dcacodec.coding import VALUE_LIMIT, Coder, best_coder, decode_values, encode_values
from dcacodec.container import DEFAULT_MAX_PIXELS, Chunk, Container, Header, Slice, pack, parse
from dcacodec.errors import DcaError, SlicedPicture, StreamError, SymbolMismatch, UnknownModel
from dcacodec.fixedpoint import ACTIVATION_BITS
from dcacodec.images import Picture, decode_alpha, encode_alpha
from dcacodec.network.config import LATENT_STRIDE, REGIONAL_STRIDE
from dcacodec.network.context import StepCoder, from_phases, take_step, to_phases
from dcacodec.network.precision import fast_bfloat16, transform_precision
from dcacodec.network.priors import SKIP_BELOW
from dcacodec.weights import Weights, read_weights
from dcacodec.zoo import Published, by_fingerprint, by_preset

Integers = NDArray[np.int32]

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
    """

    hyper: dict[str, Integers]
    steps: list[Integers]
    rows: list[NDArray[np.int64]]
    latent: Tensor

    def checksum(self) -> int:
        """CRC-32 over the hyper latents and y_hat in units of 2**-9, all as little-endian int32."""
        crc = 0
        for letter in HYPER_ORDER:
            if letter in self.hyper:
                crc = zlib.crc32(self.hyper[letter].astype("<i4").tobytes(), crc)
        units = (self.latent * 2.0**ACTIVATION_BITS).cpu().numpy().astype("<i4")
        return zlib.crc32(units.tobytes(), crc)


def _raster(packed: Tensor) -> Tensor:
    """A step's elements by position (4, 1, H/2, W/2, Q) -> (H, W, Q)."""
    return from_phases(packed)[0]


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Torch says "out of memory" by errors of its own; say it as Python does."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            raise MemoryError(str(error)) from error
        raise


@dataclass(frozen=True, eq=False)
class Codec:
    """Weights on a device, ready for any number of calls from any number of threads."""

    weights: Weights
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    coder: Coder = field(default_factory=best_coder)

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", self.weights.on(self.device))

    @classmethod
    def load(cls, preset: str = "small", device: str = "auto") -> Codec:
        """The codec of a preset.

        Args:
            preset: "small" or "base".
            device: "cpu", "cuda", or "auto" for a GPU if there is one.

        Raises:
            WeightsError: the preset's weights are missing or damaged.
            DcaError: "cuda" is asked for and not there.
        """
        return cls.from_published(by_preset(preset), device)

    @classmethod
    def load_for(cls, data: bytes, device: str = "auto") -> Codec:
        """The codec that a `.dca` file was made with.

        Raises:
            FormatError: ``data`` is no sound `.dca` file.
            UnknownModel: this installation does not have its weights.
        """
        return cls.from_published(by_fingerprint(parse(data, None).header.fingerprint.hex()), device)

    @classmethod
    def from_published(cls, published: Published, device: str = "auto") -> Codec:
        """The codec of a weights file."""
        return cls(read_weights(published.path, published.digest), choose_device(device))

    # Pictures and files

    @_memory_errors()
    def encode(self, picture: Picture, quality: int = 50) -> bytes:
        """A picture as the bytes of a `.dca` file.

        Args:
            picture: of any size from 1x1 up.
            quality: 1 (smallest) to 100 (best).

        Raises:
            ValueError: the quality is out of range.
            MemoryError: the picture is too large for the memory there is.
        """
        if not 1 <= quality <= 100:
            raise ValueError(f"quality must be 1 to 100, not {quality}")
        mode = "L" if picture.gray else "RGB"
        header = Header(self.weights.fingerprint, picture.width, picture.height, mode, quality)
        symbols = self.symbols_of(self._to_tensor(picture.pixels), quality)
        coded = Slice(self.streams_of(symbols, quality), symbols.checksum())
        chunks = []
        if picture.alpha is not None:
            chunks.append(Chunk("ALPH", encode_alpha(picture.alpha)))
        chunks += [Chunk(tag, data) for tag, data in (("icCP", picture.icc), ("exIF", picture.exif)) if data]
        return pack(Container(header, (coded,), tuple(chunks)))

    @_memory_errors()
    def decode(self, data: bytes, max_pixels: int | None = DEFAULT_MAX_PIXELS) -> Picture:
        """The picture of a `.dca` file.

        Raises:
            FormatError: the file is malformed; TooLarge: it has more than ``max_pixels`` pixels.
            UnknownModel: it was made with other weights.
            StreamError, SymbolMismatch: its streams do not belong together.
        """
        container = parse(data, max_pixels)
        header = container.header
        if header.fingerprint != self.weights.fingerprint:
            raise UnknownModel(
                f"the file needs weights {header.fingerprint.hex()}, this codec has {self.weights.fingerprint.hex()}"
            )
        if header.slice_log2:
            raise SlicedPicture("the picture is coded in slices, which this version cannot put together yet")
        alpha = container.chunk("ALPH")
        plane = None if alpha is None else decode_alpha(alpha, header.width, header.height)
        coded = container.slices[0]
        symbols = self.read_streams(coded.streams, header.width, header.height, header.quality)
        if symbols.checksum() != coded.latent_crc:
            raise SymbolMismatch("the decoded latents are not those that were encoded: the file is damaged")
        pixels = self.pixels_of(symbols.latent, header.quality)[: header.height, : header.width]
        gray = header.mode == "L"
        if gray:
            mean = pixels.mean(-1, keepdims=True).round().astype(np.uint8)
            pixels = np.repeat(mean, 3, -1)
        return Picture(np.ascontiguousarray(pixels), gray, plane, container.chunk("icCP"), container.chunk("exIF"))

    # Pictures and symbols

    def _to_tensor(self, pixels: NDArray[np.uint8]) -> Tensor:
        """(H, W, 3) -> (1, H', W', 3) float32 in 0..1, sides padded to multiples of 64 with the last row and column."""
        down, right = (-side % REGIONAL_STRIDE for side in pixels.shape[:2])
        padded = np.pad(pixels, ((0, down), (0, right), (0, 0)), mode="edge")
        return torch.from_numpy(padded).to(self.device)[None].float() / 255

    def _position(self, quality: int) -> Tensor:
        return torch.tensor([self.weights.config.anchor_position(quality)], device=self.device)

    @torch.inference_mode()
    def symbols_of(self, picture: Tensor, quality: int) -> Symbols:
        """Analyse and quantise: (1, H, W, 3) in 0..1, sides multiples of 64 -> symbols."""
        with transform_precision(self.device, fast_bfloat16(self.device)):
            y, hyper = self.weights.network.analyse(picture, self._position(quality))
        y = y.double()
        latents = {letter: z.double().round().clamp(-VALUE_LIMIT, VALUE_LIMIT) for letter, z in hyper.items()}

        steps: list[Integers] = []
        rows: list[NDArray[np.int64]] = []

        def code(step: int, mean: Tensor, levels: Tensor) -> Tensor:
            skipped = levels < SKIP_BELOW
            residual = (take_step(y, step) - mean).round().clamp(-VALUE_LIMIT, VALUE_LIMIT).masked_fill(skipped, 0.0)
            coded = ~_raster(skipped)
            steps.append(_raster(residual)[coded].cpu().numpy().astype(np.int32))
            rows.append(_raster(levels)[coded].cpu().numpy())
            return residual + mean

        latent = self._run_steps(latents, (y.shape[1], y.shape[2]), quality, code)
        integers = {letter: z[0].cpu().numpy().astype(np.int32) for letter, z in latents.items()}
        return Symbols(integers, steps, rows, latent)

    @torch.inference_mode()
    def pixels_of(self, latent: Tensor, quality: int) -> NDArray[np.uint8]:
        """y_hat (1, H/16, W/16, M) -> (H, W, 3) uint8."""
        with transform_precision(self.device, fast_bfloat16(self.device)):
            picture = self.weights.network.synthesise(latent.float(), self._position(quality))
        return (picture[0] * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()

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

    @torch.inference_mode()
    def read_streams(self, streams: Sequence[bytes], width: int, height: int, quality: int) -> Symbols:
        """The symbols of a slice of ``width`` x ``height`` pixels.

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
        latents = {letter: torch.from_numpy(z).to(self.device).double()[None] for letter, z in hyper.items()}
        coded_steps = streams[len(HYPER_ORDER) :]
        steps: list[Integers] = []
        rows_of: list[NDArray[np.int64]] = []

        def code(step: int, mean: Tensor, levels: Tensor) -> Tensor:
            raster = _raster(levels)
            coded = raster >= SKIP_BELOW
            rows_of.append(raster[coded].cpu().numpy())
            steps.append(decode_values(coded_steps[step], rows_of[-1], self.weights.y_table, self.coder))
            residual = torch.zeros_like(raster, dtype=torch.float64)
            residual[coded] = torch.from_numpy(steps[-1]).to(self.device).double()
            return to_phases(residual[None]) + mean

        latent = self._run_steps(latents, size, quality, code)
        return Symbols(hyper, steps, rows_of, latent)


def choose_device(name: str) -> torch.device:
    """The device that "auto", "cpu" or "cuda" stands for.

    Raises:
        DcaError: "cuda" is asked for and there is none.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise DcaError("no CUDA device was found; use --device cpu or auto")
    return torch.device("cuda" if available and name != "cpu" else "cpu")
