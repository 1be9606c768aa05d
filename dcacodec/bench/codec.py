"""The interface of codecs in a benchmark: encoding of pixels to the bytes of a file at a setting, and decoding."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dcacodec.images.picture import Pixels

OUR_QUALITIES: Final = (5.0, 20.0, 35.0, 50.0, 65.0, 80.0, 95.0)


@dataclass(frozen=True)
class CodecOptions:
    """Options of codecs, as plain values that can be sent to other processes.

    Attributes:
        preset: of dcacodec.
        weights: a weights file to take instead.
        device: where networks run: "auto", "cpu" or "cuda".
        threads: processor threads of a codec, if it has such an option.
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
        label: description with version and options.
        settings: the settings to measure, from the smallest files to the largest.
        scale: all settings, from the smallest files to the largest, for the search for a file of a given size.
        network: whether it runs a network, on the device of the options.
    """

    name: str
    label: str
    network: bool = False
    settings: tuple[float, ...]
    scale: tuple[float, ...]

    @abstractmethod
    def identity(self, setting: float) -> str:
        """A text with everything that determines the bytes at a setting, and the coding speed."""

    def import_packages(self) -> None:  # noqa: B027 (not every codec has any)
        """Import the packages for coding, without loading a model."""

    def prepare(self, setting: float) -> None:  # noqa: B027 (not every codec has a model)
        """Load the model for a setting, so that loading is not measured as coding.

        Raises:
            DcaError: it is not available.
        """

    @abstractmethod
    def encode(self, pixels: Pixels, setting: float) -> bytes:
        """Encode pixels (height, width, 3) to the bytes of a file."""

    @abstractmethod
    def decode(self, data: bytes) -> Pixels:
        """Decode the bytes of a file to pixels (height, width, 3)."""

    def streams(self, data: bytes) -> Mapping[str, int]:
        """The bytes of a file by stream, with "header" for the rest; empty if the codec does not report streams."""
        return {}
