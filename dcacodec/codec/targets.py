"""What a file is to keep to, a size, a rate or a PSNR, and how near it came. No torch here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, TypeAlias

from dcacodec.errors import ImageError
from dcacodec.format.container import Header
from dcacodec.images.picture import Picture, Pixels

LOWEST: Final = 1
HIGHEST: Final = 100


@dataclass(frozen=True)
class MaxBytes:
    """A file of at most so many bytes, all that travels along included. The largest such file is wanted.

    Raises:
        ValueError: not a positive number.
    """

    count: int

    def __post_init__(self) -> None:
        if not self.count > 0:
            raise ValueError(f"a target size must be above 0 bytes, not {self.count}")


@dataclass(frozen=True)
class MaxBpp:
    """A file of at most so many bits per pixel. The largest such file is wanted.

    Raises:
        ValueError: not a positive number.
    """

    bits: float

    def __post_init__(self) -> None:
        if not 0 < self.bits < math.inf:
            raise ValueError(f"a target rate must be above 0 bits per pixel, not {self.bits}")


@dataclass(frozen=True)
class MinPsnr:
    """A picture of at least this PSNR in dB, over the 8-bit RGB samples. The smallest such file is wanted.

    Raises:
        ValueError: not a positive number.
    """

    decibels: float

    def __post_init__(self) -> None:
        if not 0 < self.decibels < math.inf:
            raise ValueError(f"a target PSNR must be above 0 dB, not {self.decibels}")

    @property
    def least(self) -> float:
        """What `measure` is to reach."""
        return self.decibels

    def measure(self, original: Pixels, decoded: Pixels) -> float:
        """The PSNR of a decoded picture (H, W, 3), infinite where nothing was lost."""
        from dcacodec.metrics.psnr import psnr

        return psnr(original, decoded)

    def text(self, reached: float) -> str:
        """What was reached and what was wanted."""
        return f"{reached:.2f} dB for a target of {self.decibels:g} dB"


@dataclass(frozen=True)
class MinSsimulacra2:
    """A picture of at least this SSIMULACRA 2, 100 at most. The smallest such file is wanted.

    Raises:
        ValueError: not a finite number, or above 100.
    """

    score: float

    def __post_init__(self) -> None:
        if not -math.inf < self.score <= 100:
            raise ValueError(f"a target SSIMULACRA 2 must be a number up to 100, not {self.score}")

    @property
    def least(self) -> float:
        """What `measure` is to reach."""
        return self.score

    def measure(self, original: Pixels, decoded: Pixels) -> float:
        """The SSIMULACRA 2 of a decoded picture (H, W, 3).

        Raises:
            ImageError: the picture is too small for it.
        """
        import torch

        from dcacodec.metrics.ssimulacra2 import SMALLEST_SIDE, ssimulacra2

        if min(original.shape[:2]) < SMALLEST_SIDE:
            raise ImageError(f"SSIMULACRA 2 needs {SMALLEST_SIDE} pixels at least to each side")
        pair = (torch.from_numpy(pixels)[None].float() / 255 for pixels in (original, decoded))
        with torch.inference_mode():
            return ssimulacra2(*pair).item()

    def text(self, reached: float) -> str:
        """What was reached and what was wanted."""
        return f"SSIMULACRA 2 {reached:.2f} for a target of {self.score:g}"


QualityTarget: TypeAlias = MinPsnr | MinSsimulacra2
Target: TypeAlias = MaxBytes | MaxBpp | QualityTarget


@dataclass(frozen=True)
class TargetedFile:
    """The file that was chosen.

    Attributes:
        data: of the `.dca` file.
        quality: that it has.
        reached: what the target measures of its picture (dB of PSNR, infinite where nothing was lost; SSIMULACRA 2);
            None where it is a size or a rate.
        kept: whether it keeps to the target; if not, no quality was found that does, and this is the nearest.
        tries: how often the picture was encoded.
    """

    data: bytes
    quality: int
    reached: float | None
    kept: bool
    tries: int = 1


def outcome(target: Target, result: TargetedFile, picture: Picture) -> str:
    """How near a result came to its target, in half a line for people."""
    if isinstance(target, QualityTarget):
        assert result.reached is not None
        text = target.text(result.reached)
        excess = "no quality that was tried gives as much"
    else:
        count, limit = len(result.data), byte_limit(target, picture)
        text = f"{count} bytes for a target of {limit}"
        if limit:
            text += f" ({100 * count / limit:.1f} %)"
        excess = "no quality that was tried gives as little"
        beside = sum(len(each or b"") for each in picture.metadata)
        if beside > limit / 2:
            excess += f", as {beside} bytes are ICC profile, EXIF and XMP data (--strip)"
    return f"{text}, {result.tries} tries" + ("" if result.kept else f"; {excess}")


def byte_limit(target: MaxBytes | MaxBpp, picture: Picture | Header) -> int:
    """The largest file that keeps to a target, in bytes; of the picture only width and height count."""
    if isinstance(target, MaxBytes):
        return target.count
    return math.floor(min(target.bits * picture.width * picture.height / 8, 2.0**63))  # no file is as large
