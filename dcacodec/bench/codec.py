"""What a codec is to a benchmark: an array of pixels to the bytes of a file, and back, at a setting."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

OUR_QUALITIES: Final = (5.0, 20.0, 35.0, 50.0, 65.0, 80.0, 95.0)


@dataclass(frozen=True)
class CodecOptions:
    """How codecs are to run. Plain values: they are sent to other processes.

    Attributes:
        preset: of dcacodec.
        weights: a weights file to take instead.
        device: where networks run: "auto", "cpu" or "cuda".
        threads: processor threads of a codec, for those that let themselves be told.
        qualities: of dcacodec.
    """

    preset: str = "small"
    weights: Path | None = None
    device: str = "auto"
    threads: int = 1
    qualities: tuple[float, ...] = OUR_QUALITIES


class BenchCodec(ABC):
    """A codec at any of its settings.

    Attributes:
        name: short and unique.
        label: for people, with the version and what was chosen.
        settings: to measure, from the smallest files to the largest.
        scale: all there are, from the smallest files to the largest: where a file of a given size is searched.
        network: whether it runs one, on the device of the options.
    """

    name: str
    label: str
    network: bool = False
    settings: tuple[float, ...]
    scale: tuple[float, ...]

    @abstractmethod
    def identity(self, setting: float) -> str:
        """All that decides what the bytes at a setting are, and how fast they are made."""

    def import_packages(self) -> None:  # noqa: B027 (not every codec has any)
        """Import what coding needs, but load no model."""

    def prepare(self, setting: float) -> None:  # noqa: B027 (not every codec has a model)
        """Load what coding at a setting needs, so that it is not counted as coding.

        Raises:
            DcaError: it cannot be had.
        """

    @abstractmethod
    def encode(self, pixels: Pixels, setting: float) -> bytes:
        """(height, width, 3) -> the bytes of a file."""

    @abstractmethod
    def decode(self, data: bytes) -> Pixels:
        """The inverse."""

    def streams(self, data: bytes) -> Mapping[str, int]:
        """The bytes of a file by stream, "header" for all that is in none; empty for codecs that do not tell."""
        return {}
