"""Rate-distortion curves and BD-rates.

The conventions are CompressAI's: the rate of a picture is the size of its file in bits per pixel; a point of a curve is
the mean rate and the mean quality of the pictures at one setting.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

Method = Literal["akima", "pchip"]
METHODS: Final[tuple[Method, ...]] = ("akima", "pchip")
"""Methods of interpolation: Akima splines or PCHIP, both piecewise cubic."""


def ms_ssim_decibels(value: float) -> float:
    """The MS-SSIM of curves: -10 log10(1 - value), in dB, of a value in 0..1; infinite for 1."""
    return -10 * math.log10(1 - value) if value < 1 else math.inf


def falls(values: Sequence[float]) -> list[int]:
    """The positions i at which ``values[i + 1]`` is not above ``values[i]``; none if the values rise strictly."""
    return [i for i in range(len(values) - 1) if not values[i + 1] > values[i]]


@dataclass(frozen=True)
class Curve:
    """A rate-distortion curve: at least two points, with strictly rising rate and quality.

    Attributes:
        name: of the codec.
        bpp: bits per pixel, above 0.
        quality: on any scale on which higher is better.
        metric: name of the quality metric, such as "PSNR".

    Raises:
        ValueError: too few points, rates that are not above 0, values that are not finite, or a curve that does not
            rise. (A BD-rate needs the rate as a function of the quality.)
    """

    name: str
    bpp: tuple[float, ...]
    quality: tuple[float, ...]
    metric: str = "PSNR"

    def __post_init__(self) -> None:
        counts = len(self.bpp), len(self.quality)
        if counts[0] != counts[1] or counts[0] < 2:
            raise ValueError(f"{self.name}: a curve needs two points or more, not {counts[0]} and {counts[1]}")
        if not all(map(math.isfinite, (*self.bpp, *self.quality))) or min(self.bpp) <= 0:
            raise ValueError(
                f"{self.name}: rates must be above 0, and all values finite (of lossless pictures they may not be)"
            )
        for what, values in (("rate", self.bpp), (self.metric, self.quality)):
            if where := falls(values):
                raise ValueError(f"{self.name}: the {what} does not rise after point {where[0] + 1}")

    def within(self, low: float, high: float, method: Method) -> Curve:
        """The part of the curve with rates from ``low`` to ``high`` bits per pixel.

        Points outside are dropped. At each end of the window that the curve extends beyond, a point is interpolated,
        over the logarithm of the rate on the whole curve. Nothing is extrapolated.

        Raises:
            ValueError: fewer than two points remain.
        """
        inside = [(bpp, value) for bpp, value in zip(self.bpp, self.quality, strict=True) if low < bpp < high]
        ends = [end for end in (low, high) if self.bpp[0] <= end <= self.bpp[-1]]
        if ends:
            curve = _bjontegaard().bd_psnr(
                self.bpp, self.quality, self.bpp, self.quality, method=method, interpolators=True, min_overlap=0
            )[1]
            inside += [(end, float(curve(math.log10(end)))) for end in ends]
        bpp, values = zip(*sorted(inside), strict=True) if inside else ((), ())
        return Curve(f"{self.name} in {low:g}-{high:g} bpp", bpp, values, self.metric)


def load_anchor(path: str | Path) -> Curve:
    """Read a PSNR curve in CompressAI's results format.

    The format is ``{"name": ..., "results": {"bpp": [...], "psnr": [...]}}``.

    Raises:
        ValueError: the file has another format, or its curve does not rise (see `Curve`).
        OSError: it cannot be read.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text("utf-8"))
        results = content["results"]
        # A lossless picture has no finite PSNR, and so no place on a curve.
        pairs = zip(results["bpp"], results["psnr"], strict=True)
        points = sorted((float(bpp), float(value)) for bpp, value in pairs if value is not None)
        name = str(content["name"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path.name} is not a results file: {error!r}") from error
    return Curve(name, tuple(bpp for bpp, _ in points), tuple(value for _, value in points))


@dataclass(frozen=True)
class BdRate:
    """A BD-rate and the ranges it was computed over.

    Attributes:
        percent: mean difference in rate at equal quality; negative if the tested codec needs fewer bits.
        method: of interpolation.
        quality: lowest and highest quality that both curves cover.
        anchor_bpp, test_bpp: lowest and highest rate of each curve, cut to the window if there is one.
    """

    percent: float
    method: Method
    quality: tuple[float, float]
    anchor_bpp: tuple[float, float]
    test_bpp: tuple[float, float]


def bd_rate(anchor: Curve, test: Curve, method: Method = "akima", window: tuple[float, float] | None = None) -> BdRate:
    """The Bjontegaard delta rate of ``test`` against ``anchor`` (with the package `bjontegaard`).

    The logarithm of the rate is interpolated over the quality; the result is its mean difference over the qualities
    that both curves cover.

    Args:
        method: of interpolation.
        window: lowest and highest rate in bits per pixel; both curves are cut to it first, see `Curve.within`.

    Raises:
        ValueError: the curves have different metrics, or no quality in common.
    """
    if anchor.metric != test.metric:
        raise ValueError(f"{anchor.name} is measured in {anchor.metric}, {test.name} in {test.metric}")
    if window is not None:
        anchor, test = (curve.within(*window, method) for curve in (anchor, test))
    low, high = max(anchor.quality[0], test.quality[0]), min(anchor.quality[-1], test.quality[-1])
    if low >= high:
        raise ValueError(f"{anchor.name} and {test.name} have no {anchor.metric} in common")
    percent = _bjontegaard().bd_rate(
        anchor.bpp, anchor.quality, test.bpp, test.quality, method=method, require_matching_points=False, min_overlap=0
    )
    return BdRate(float(percent), method, (low, high), (anchor.bpp[0], anchor.bpp[-1]), (test.bpp[0], test.bpp[-1]))


def _bjontegaard() -> Any:
    """The package `bjontegaard`. It has no types, and its import takes a second because it imports Matplotlib."""
    import bjontegaard  # type: ignore[import-untyped]

    return bjontegaard
