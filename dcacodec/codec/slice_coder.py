"""Entropy coding of the latents of a slice to its seven streams, and decoding.

::

    y, z -- quantise --> Symbols -- streams_of --> z_r, z_g, z_l, y_1..y_4
                         Symbols <- read_streams <-------'
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dcacodec.codec.operating_point import OperatingPoint
from dcacodec.coding import VALUE_LIMIT, Coder, decode_values, encode_values
from dcacodec.errors import StreamError, SymbolMismatchError
from dcacodec.format.container import Container, padded
from dcacodec.network.config import LATENT_STRIDE, STEPS
from dcacodec.network.context import from_phases, join_steps, split_steps, to_phases
from dcacodec.network.device import to_device, to_host
from dcacodec.network.fixed_point import LATENT_BITS
from dcacodec.network.priors import SKIP_BELOW

HYPER_ORDER: Final = "RGL"
"""Order of the hyper latents in the file, whatever the order of contextualisation."""


@dataclass(frozen=True, eq=False)
class Symbols:
    """The integers that a slice's streams carry.

    Attributes:
        hyper: by letter, int32: R (H/4, W/4, C), G (tokens, C), L (H, W, C).
        steps: four arrays int32 (N,): the coded residuals of y, without skipped elements, in the order row, column,
            channel within the group.
        rows: four arrays int64 (N,): the scale level of each.
        units: y_hat in units of 2**-9, int32 (1, H, W, M).
        coded: mask of the coded elements of y, bool (1, H, W, M).
        full: whether all elements are coded; if not, those of a level below `SKIP_BELOW` are skipped.
    """

    hyper: dict[str, NDArray[np.int32]]
    steps: list[NDArray[np.int32]]
    rows: list[NDArray[np.int64]]
    units: Tensor
    coded: Tensor
    full: bool

    @property
    def latent(self) -> Tensor:
        """y_hat, float32 (1, H, W, M)."""
        return self.units.float().mul_(2.0**-LATENT_BITS)

    def checksum(self) -> int:
        """CRC-32 of the hyper latents and of y_hat in units of 2**-9, all as little-endian int32."""
        crc = 0
        for letter in HYPER_ORDER:
            if letter in self.hyper:
                crc = zlib.crc32(np.ascontiguousarray(self.hyper[letter], "<i4").data, crc)
        (units,) = to_host(self.units)
        return zlib.crc32(np.ascontiguousarray(units, "<i4").data, crc)


@dataclass(frozen=True, eq=False)
class SliceCoder:
    """Codes slices at an operating point with an entropy coder."""

    point: OperatingPoint
    coder: Coder

    @torch.inference_mode()
    def quantise(self, y: Tensor, latents: dict[str, Tensor], full: bool) -> tuple[Symbols, float]:
        """Quantise a latent to symbols.

        Args:
            y: (1, H/16, W/16, M), H and W multiples of 64.
            latents: its hyper latents, rounded.
            full: code all elements, skip none.

        Returns:
            The symbols, and the largest error of an element of y_hat, in quantisation steps: that of a skipped element,
            if it is above 1/2. (Or that of a residual beyond `VALUE_LIMIT`.)
        """
        first_coded, parts = _first_coded(full), split_steps(y)
        residuals: list[Tensor] = []
        rows: list[Tensor] = []
        errors: list[Tensor] = []
        coded: list[Tensor] = []

        def code(step: int, mean: Tensor, levels: Tensor) -> Tensor:
            kept = _at_least(first_coded, levels)  # 1 or 0
            distance = parts[step] - mean.float()
            residual = distance.round().clamp_(-VALUE_LIMIT, VALUE_LIMIT).mul_(kept.float())
            errors.append(distance.sub_(residual).abs_().max())
            residuals.append(_raster(residual.int()))
            rows.append(_raster(levels))
            coded.append(kept.view(torch.bool))
            return residual.to(mean.dtype).add_(mean)

        units = self.point.run_steps(latents, (y.shape[1], y.shape[2]), code)
        # One transfer for all arrays, here: until now the CPU has not waited for a GPU.
        integers = [z[0].int() for z in latents.values()]
        (error, *arrays) = to_host(torch.stack(errors).max(), *integers, *residuals, *rows)
        hyper = dict(zip(latents, arrays, strict=False))
        coded_steps: list[NDArray[np.int32]] = []
        coded_rows: list[NDArray[np.int64]] = []
        for residual, row in zip(arrays[-2 * STEPS : -STEPS], arrays[-STEPS:], strict=True):
            chosen = np.flatnonzero(row >= first_coded)  # with indices NumPy is several times as fast as with masks
            coded_steps.append(residual.reshape(-1)[chosen])
            coded_rows.append(row.reshape(-1)[chosen].astype(np.int64))
        return Symbols(hyper, coded_steps, coded_rows, units, join_steps(coded), full), float(error)

    def streams_of(self, symbols: Symbols) -> tuple[bytes, ...]:
        """Encode symbols to the seven streams of a slice; that of a hyper latent that the model lacks is empty."""
        weights, streams = self.point.weights, []
        for letter in HYPER_ORDER:
            if letter in symbols.hyper:
                values = symbols.hyper[letter]
                rows = self.point.prior_rows(values.shape)
                streams.append(encode_values(values.reshape(-1), rows, weights.z_tables[letter], self.coder))
            else:
                streams.append(b"")
        for values, rows in zip(symbols.steps, symbols.rows, strict=True):
            streams.append(encode_values(values, rows, weights.y_table, self.coder))
        return tuple(streams)

    def read_slice(self, container: Container, index: int) -> Symbols:
        """Decode the symbols of a slice of a file that has the quality of this operating point.

        Raises:
            StreamError: a stream is not one that an encoder makes for the dimensions of the slice.
            SymbolMismatchError: the latents do not match their checksum in the file.
        """
        coded = container.slices[index]
        symbols = self.read_streams(coded.streams, *container.header.slice_size(index), container.is_full(index))
        if symbols.checksum() != coded.latent_crc:
            raise SymbolMismatchError("the decoded latents are not those that were encoded: the file is damaged")
        return symbols

    @torch.inference_mode()
    def read_streams(self, streams: Sequence[bytes], width: int, height: int, full: bool = False) -> Symbols:
        """Decode the symbols of a slice of ``width`` x ``height`` pixels. For ``full`` see `Symbols`.

        Raises:
            StreamError: a stream is not one that an encoder makes for these dimensions.
        """
        weights, device = self.point.weights, self.point.device
        config, first_coded = weights.config, _first_coded(full)
        size = (padded(height) // LATENT_STRIDE, padded(width) // LATENT_STRIDE)
        hyper: dict[str, NDArray[np.int32]] = {}
        for letter, stream in zip(HYPER_ORDER, streams[: len(HYPER_ORDER)], strict=True):
            if letter in config.order:
                shape = config.hyper_shape(letter, *size)
                values = decode_values(stream, self.point.prior_rows(shape), weights.z_tables[letter], self.coder)
                hyper[letter] = values.reshape(shape)
            elif stream:
                raise StreamError(f"the file has a stream for the hyper latent {letter}, which its model does not have")
        latents = {letter: to_device(z, device).double()[None] for letter, z in hyper.items()}
        coded_steps = streams[len(HYPER_ORDER) :]
        steps: list[NDArray[np.int32]] = []
        rows_of: list[NDArray[np.int64]] = []
        coded: list[Tensor] = []

        def code(step: int, mean: Tensor, levels: Tensor) -> Tensor:
            coded.append(_at_least(first_coded, levels).view(torch.bool))
            (row,) = to_host(_raster(levels))
            chosen = np.flatnonzero(row >= first_coded)
            rows_of.append(row.reshape(-1)[chosen].astype(np.int64))
            steps.append(decode_values(coded_steps[step], rows_of[-1], weights.y_table, self.coder))
            residual = np.zeros(row.shape, np.int32)
            residual.reshape(-1)[chosen] = steps[-1]
            return to_phases(to_device(residual, device)[None]).to(mean.dtype).add_(mean)

        units = self.point.run_steps(latents, size, code)
        return Symbols(hyper, steps, rows_of, units, join_steps(coded), full)


def _raster(packed: Tensor) -> Tensor:
    """A step's elements by position (4, 1, H/2, W/2, Q) -> (H, W, Q)."""
    return from_phases(packed)[0]


def _at_least(first: int, levels: Tensor) -> Tensor:
    """1 where levels are `first` or higher, 0 elsewhere, in their dtype.

    PyTorch takes ten times as long to compare numbers of 8 bits with one number where the result is of type bool.
    """
    return torch.ge(levels, first, out=torch.empty_like(levels))


def _first_coded(full: bool) -> int:
    """The lowest scale level whose elements are coded."""
    return 0 if full else SKIP_BELOW
