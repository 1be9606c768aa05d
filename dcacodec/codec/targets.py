"""Targets of rate control: file size, rate, PSNR or SSIMULACRA 2. No torch here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from dcacodec.errors import ImageError
from dcacodec.format.container import Header
from dcacodec.format.metadata import metadata_chunks
from dcacodec.format.quality import HIGHEST
from dcacodec.images.picture import Picture, Pixels

Mask: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class MaxBytes:
    """The largest file of at most ``count`` bytes, alpha plane and metadata included.

    Raises:
        ValueError: not a positive number.
    """

    count: int

    def __post_init__(self) -> None:
        if not self.count > 0:
            raise ValueError(f"a target size must be above 0 bytes, not {self.count}")


@dataclass(frozen=True)
class MaxBpp:
    """The largest file of at most ``bits`` bits per pixel.

    Raises:
        ValueError: not a positive number.
    """

    bits: float

    def __post_init__(self) -> None:
        if not 0 < self.bits < math.inf:
            raise ValueError(f"a target rate must be above 0 bits per pixel, not {self.bits}")


@dataclass(frozen=True)
class MinPsnr:
    """The smallest file whose picture has at least this PSNR in dB, over the 8-bit RGB samples.

    Raises:
        ValueError: not a positive number.
    """

    decibels: float

    def __post_init__(self) -> None:
        if not 0 < self.decibels < math.inf:
            raise ValueError(f"a target PSNR must be above 0 dB, not {self.decibels}")

    @property
    def least(self) -> float:
        """The least value of `measure` that meets the target."""
        return self.decibels

    def measure(self, original: Pixels, decoded: Pixels, hidden: Mask | None = None) -> float:
        """The PSNR of a decoded picture (H, W, 3) without hidden pixels (H, W), infinite if it equals the original."""
        from dcacodec.metrics.psnr import psnr

        if hidden is None:
            return psnr(original, decoded)
        visible = 1.0 - float(hidden.mean())
        # Of all pixels, where those that are hidden have no error, which makes the mean smaller by their share.
        among_all = psnr(original, _without_hidden(original, decoded, hidden))
        return among_all + 10 * math.log10(visible) if visible else math.inf

    def text(self, reached: float) -> str:
        """The value that was reached, and the target, as text."""
        return f"{reached:.2f} dB for a target of {self.decibels:g} dB"


@dataclass(frozen=True)
class MinSsimulacra2:
    """The smallest file whose picture has at least this SSIMULACRA 2 score, which is at most 100.

    Raises:
        ValueError: not a finite number, or above 100.
    """

    score: float

    def __post_init__(self) -> None:
        if not -math.inf < self.score <= 100:
            raise ValueError(f"a target SSIMULACRA 2 must be a number up to 100, not {self.score}")

    @property
    def least(self) -> float:
        """The least value of `measure` that meets the target."""
        return self.score

    def measure(self, original: Pixels, decoded: Pixels, hidden: Mask | None = None) -> float:
        """The SSIMULACRA 2 of a decoded picture (H, W, 3), where hidden pixels (H, W) count as those of the original.

        Raises:
            ImageError: the picture is too small for the metric.
        """
        from dcacodec.metrics.arrays import of_arrays

        value = of_arrays("ssimulacra2", original, _without_hidden(original, decoded, hidden))
        if value is None:
            from dcacodec.metrics.ssimulacra2 import SMALLEST_SIDE

            raise ImageError(f"SSIMULACRA 2 needs pictures of at least {SMALLEST_SIDE}x{SMALLEST_SIDE} pixels")
        return value

    def text(self, reached: float) -> str:
        """The value that was reached, and the target, as text."""
        return f"SSIMULACRA 2 {reached:.2f} for a target of {self.score:g}"


def _without_hidden(original: Pixels, decoded: Pixels, hidden: Mask | None) -> Pixels:
    """The decoded picture with hidden pixels as in the original."""
    return decoded if hidden is None else np.where(hidden[..., np.newaxis], original, decoded)


QualityTarget: TypeAlias = MinPsnr | MinSsimulacra2
Target: TypeAlias = MaxBytes | MaxBpp | QualityTarget


@dataclass(frozen=True)
class TargetedFile:
    """The file that a search has chosen.

    Attributes:
        data: bytes of the `.dca` file.
        quality: its quality.
        reached: the value of the target's metric (PSNR in dB, infinite for an exact picture; SSIMULACRA 2); None if the
            target is a size or a rate.
        target_met: whether the file meets the target; if not, it is the nearest that was found.
        tries: number of encodings that the search took.
    """

    data: bytes
    quality: float
    reached: float | None
    target_met: bool
    tries: int = 1


def outcome(target: Target, result: TargetedFile, picture: Picture) -> str:
    """How near a result came to its target, as text."""
    if isinstance(target, QualityTarget):
        assert result.reached is not None
        text = target.text(result.reached)
        shortfall = "no quality that was tried reaches it (--lossless keeps the picture exactly)"
    else:
        count, limit = len(result.data), byte_limit(target, picture)
        text = f"{count} bytes for a target of {limit}"
        if limit:
            text += f" ({100 * count / limit:.1f} %)"
        shortfall = "no quality that was tried gives so small a file"
        metadata = sum(len(chunk.data) for chunk in metadata_chunks(picture.metadata))
        if metadata > limit / 2:
            shortfall += f": {metadata} bytes are ICC profile, EXIF and XMP data (--strip all leaves them out)"
    text += f", {result.tries} tries"
    if not result.target_met:
        text += f"; the target is not met: {shortfall}"
    elif result.quality == HIGHEST and not isinstance(target, QualityTarget):
        text += "; there is no higher quality"
    return text


def byte_limit(target: MaxBytes | MaxBpp, picture: Picture | Header) -> int:
    """The largest file size in bytes that meets a target; it depends on the width and height of the picture only."""
    if isinstance(target, MaxBytes):
        return target.count
    return math.floor(min(target.bits * picture.width * picture.height / 8, 2.0**63))  # no file is as large
