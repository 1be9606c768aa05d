"""Rate-distortion curves and BD-rates.

Conventions, which are CompressAI's: the rate of a picture is the size of its file in bits per pixel; its PSNR comes
from the mean squared error over all RGB samples of the decoded 8-bit picture; a point of a curve is the mean of both
over the pictures, at one setting.
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
"""How curves are interpolated: Akima's splines or PCHIP, both piecewise cubic."""


def falls(values: Sequence[float]) -> list[int]:
    """The positions i at which ``values[i + 1]`` is not above ``values[i]``; none for values that rise."""
    return [i for i in range(len(values) - 1) if not values[i + 1] > values[i]]


@dataclass(frozen=True)
class Curve:
    """A rate-distortion curve: at least two points, rising strictly in both.

    Attributes:
        name: of the codec.
        bpp: bits per pixel, above 0.
        psnr: dB.

    Raises:
        ValueError: too few points, numbers that are no rates or PSNRs, or a curve that does not rise. (A BD-rate
            needs the rate as a function of the PSNR.)
    """

    name: str
    bpp: tuple[float, ...]
    psnr: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.bpp) != len(self.psnr) or len(self.bpp) < 2:
            raise ValueError(f"{self.name}: a curve needs two points or more, not {len(self.bpp)} and {len(self.psnr)}")
        if not all(map(math.isfinite, (*self.bpp, *self.psnr))) or min(self.bpp) <= 0:
            raise ValueError(f"{self.name}: rates must be above 0, and all numbers finite")
        for what, values in (("rate", self.bpp), ("PSNR", self.psnr)):
            if where := falls(values):
                raise ValueError(f"{self.name}: the {what} does not rise after point {where[0] + 1}")

    def within(self, low: float, high: float, method: Method) -> Curve:
        """The part of the curve with rates from ``low`` to ``high`` bits per pixel.

        Points outside are dropped. Where the curve goes on beyond an end of the window, a point at exactly this end is
        put in, its PSNR interpolated over the logarithm of the rate on the whole curve. Nothing is extrapolated.

        Raises:
            ValueError: fewer than two points would be left.
        """
        inside = [(bpp, value) for bpp, value in zip(self.bpp, self.psnr, strict=True) if low < bpp < high]
        ends = [end for end in (low, high) if self.bpp[0] <= end <= self.bpp[-1]]
        if ends:
            curve = _bjontegaard().bd_psnr(
                self.bpp, self.psnr, self.bpp, self.psnr, method=method, interpolators=True, min_overlap=0
            )[1]
            inside += [(end, float(curve(math.log10(end)))) for end in ends]
        bpp, values = zip(*sorted(inside), strict=True) if inside else ((), ())
        return Curve(f"{self.name} in {low:g}-{high:g} bpp", bpp, values)


def load_anchor(path: str | Path) -> Curve:
    """A curve from a file of CompressAI's results format, ``{"name": ..., "results": {"bpp": [...], "psnr": [...]}}``.

    Raises:
        ValueError: the file has another form, or its curve does not rise (see `Curve`).
        OSError: it cannot be read.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text("utf-8"))
        results = content["results"]
        points = sorted((float(bpp), float(value)) for bpp, value in zip(results["bpp"], results["psnr"], strict=True))
        name = str(content["name"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path.name} is not a file of results: {error!r}") from error
    return Curve(name, tuple(bpp for bpp, _ in points), tuple(value for _, value in points))


@dataclass(frozen=True)
class BdRate:
    """A BD-rate and what it was taken over.

    Attributes:
        percent: mean difference in rate at equal PSNR; negative where the tested codec needs fewer bits.
        method: of interpolation.
        psnr: lowest and highest PSNR in dB that both curves have.
        anchor_bpp, test_bpp: lowest and highest rate of each curve, cut to the window if there is one.
    """

    percent: float
    method: Method
    psnr: tuple[float, float]
    anchor_bpp: tuple[float, float]
    test_bpp: tuple[float, float]


def bd_rate(anchor: Curve, test: Curve, method: Method = "akima", window: tuple[float, float] | None = None) -> BdRate:
    """The Bjontegaard delta rate of ``test`` against ``anchor`` (with the package `bjontegaard`).

    The logarithm of the rate is interpolated over the PSNR; its mean difference is taken over the PSNRs that both
    curves have.

    Args:
        method: of interpolation.
        window: bits per pixel from and to; both curves are cut to it first, see `Curve.within`.

    Raises:
        ValueError: the curves have no PSNR in common.
    """
    if window is not None:
        anchor, test = (curve.within(*window, method) for curve in (anchor, test))
    low, high = max(anchor.psnr[0], test.psnr[0]), min(anchor.psnr[-1], test.psnr[-1])
    if low >= high:
        raise ValueError(f"{anchor.name} and {test.name} have no PSNR in common")
    percent = _bjontegaard().bd_rate(
        anchor.bpp, anchor.psnr, test.bpp, test.psnr, method=method, require_matching_points=False, min_overlap=0
    )
    return BdRate(float(percent), method, (low, high), (anchor.bpp[0], anchor.bpp[-1]), (test.bpp[0], test.bpp[-1]))


def _bjontegaard() -> Any:
    """The package. It has no types, and takes a second to import because it brings Matplotlib with it."""
    import bjontegaard  # type: ignore[import-untyped]

    return bjontegaard
