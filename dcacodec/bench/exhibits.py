"""Decoded pictures for the report, side by side at equal size. No torch and no Matplotlib here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Side:
    """A picture decoded by one codec.

    Attributes:
        label: description of the codec.
        setting: of the codec.
        size: bytes of the file.
        quality: by name of the metric, see `METRICS` in :mod:`dcacodec.bench.metrics`.
        pixels: decoded, uint8, (height, width, 3).
    """

    label: str
    setting: float
    size: int
    quality: Mapping[str, float | None]
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Exhibit:
    """A picture at equal size: one file of each codec, all of about the same size.

    Attributes:
        picture: its name.
        original: uint8, (height, width, 3).
        target: target size of the files in bytes.
        sides: one for each codec.

    Raises:
        ValueError: arrays that are no 8-bit RGB pictures of one size.
    """

    picture: str
    original: NDArray[np.uint8]
    target: int
    sides: tuple[Side, ...]

    def __post_init__(self) -> None:
        shape = self.original.shape
        if len(shape) != 3 or shape[2] != 3 or not self.original.size:
            raise ValueError(f"{self.picture}: pixels must be (height, width, 3), not {shape}")
        for pixels in (self.original, *(side.pixels for side in self.sides)):
            if pixels.dtype != np.uint8 or pixels.shape != shape:
                raise ValueError(f"{self.picture}: expected uint8 {shape}, got {pixels.dtype} {pixels.shape}")
