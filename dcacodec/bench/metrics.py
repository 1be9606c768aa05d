"""PSNR, MS-SSIM, SSIMULACRA 2, rate-distortion curves and BD-rate. No torch before MS-SSIM is asked for.

Conventions, which are CompressAI's: the rate of a picture is the size of its file in bits per pixel; its PSNR comes
from the mean squared error over all RGB samples of the decoded 8-bit picture; a point of a curve is the mean of both
over the pictures, at one setting.
"""

from __future__ import annotations

import importlib.util
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

Metric = Literal["psnr", "ms-ssim", "ssimulacra2"]
METRICS: Final[Mapping[Metric, str | None]] = {"psnr": None, "ms-ssim": "pytorch-msssim", "ssimulacra2": "ssimulacra2"}
"""How likeness is measured, and the package from PyPI that does it."""

Method = Literal["akima", "pchip"]
METHODS: Final[tuple[Method, ...]] = ("akima", "pchip")
"""How curves are interpolated: Akima's splines or PCHIP, both piecewise cubic."""


def metric_is_there(metric: Metric) -> bool:
    """Whether the package that a metric needs is installed."""
    package = METRICS[metric]
    return package is None or importlib.util.find_spec(package.replace("-", "_")) is not None


_ROWS: Final = 64
"""Taken together when squares are summed."""


def psnr(original: Pixels, decoded: Pixels) -> float:
    """Peak signal-to-noise ratio in dB of two 8-bit arrays of one shape; infinite where they are equal.

    Raises:
        ValueError: the arrays are not uint8, empty, or differ in shape.
    """
    _check_pair(original, decoded)
    squares = 0
    for start in range(0, len(original), _ROWS):  # of the whole at once, the differences would take 16 times its bytes
        rows = slice(start, start + _ROWS)
        difference = original[rows].astype(np.int64) - decoded[rows]
        squares += int((difference * difference).sum())
    return 10 * math.log10(255**2 * original.size / squares) if squares else math.inf


_MS_SSIM_SIDE: Final = 10 * 2**4
"""A window of 11 pixels, four halvings: the package wants sides longer than this."""


def ms_ssim(original: Pixels, decoded: Pixels) -> float | None:
    """Multi-scale structural similarity of two (height, width, 3) pictures, 1 where they are equal (`pytorch-msssim`).

    None for a picture of which a side has 160 pixels or fewer: it has not enough scales.

    Raises:
        ValueError: as for `psnr`.
    """
    _check_pair(original, decoded)
    if min(original.shape[:2]) <= _MS_SSIM_SIDE:
        return None
    import torch
    from pytorch_msssim import ms_ssim as compute

    planes = (torch.from_numpy(pixels).permute(2, 0, 1)[None].float() for pixels in (original, decoded))
    with torch.inference_mode():
        return float(compute(*planes, data_range=255))


_SSIMULACRA2_SIDE: Final = 8


def ssimulacra2(original: Pixels, decoded: Pixels) -> float | None:
    """SSIMULACRA 2 of two (height, width, 3) sRGB pictures, 100 where they are equal, as the package computes it.

    None for a picture of which a side has fewer than 8 pixels.

    Raises:
        ValueError: as for `psnr`.
    """
    _check_pair(original, decoded)
    if min(original.shape[:2]) < _SSIMULACRA2_SIDE:
        return None
    from PIL import Image
    from ssimulacra2 import compute_ssimulacra2

    files = io.BytesIO(), io.BytesIO()  # it reads files
    for pixels, file in zip((original, decoded), files, strict=True):
        Image.fromarray(pixels).save(file, "PPM")
    return float(compute_ssimulacra2(*files))


def _check_pair(original: Pixels, decoded: Pixels) -> None:
    if original.dtype != np.uint8 or decoded.dtype != np.uint8:
        raise ValueError(f"samples must be uint8, not {original.dtype} and {decoded.dtype}")
    if original.shape != decoded.shape or not original.size:
        raise ValueError(f"shapes must be the same and not empty, not {original.shape} and {decoded.shape}")


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


def bd_rate(
    anchor: Curve, test: Curve, method: Method = "akima", window: tuple[float, float] | None = None
) -> BdRate:
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
    return BdRate(
        float(percent), method, (low, high), (anchor.bpp[0], anchor.bpp[-1]), (test.bpp[0], test.bpp[-1])
    )


def _bjontegaard() -> Any:
    """The package. It has no types, and takes a second to import because it brings Matplotlib with it."""
    import bjontegaard  # type: ignore[import-untyped]

    return bjontegaard
