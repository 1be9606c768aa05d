"""What the table, the plots and the page all say of results: conventions, BD-rates, speeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from dcacodec.bench.results import Results, Sample
from dcacodec.metrics.curves import METHODS, BdRate, Curve, Method, bd_rate

CONVENTIONS: Final = (
    "Rate: the bytes of the file on disk, times 8, over the pixels of the picture.",
    "PSNR: of one picture, from the mean squared error over all RGB samples of the decoded 8-bit picture.",
    "MS-SSIM (pytorch-msssim): over RGB; in dB it is -10 log10(1 - MS-SSIM) of the mean.",
    "SSIMULACRA 2: as the package ssimulacra2 computes it.",
    "A point of a curve: the means of the pictures' own values, at one setting (CompressAI's convention).",
    "BD-rate (bjontegaard): the logarithm of the rate is interpolated over the PSNR; the mean difference is taken over "
    "the PSNRs that both curves have. Negative: fewer bits.",
    "Times: wall time with the codec loaded, the median of the repetitions.",
    "Peak memory: of a fresh process that codes and decodes one picture, less what it held before.",
)
"""How all figures are taken, a sentence each."""

Task = Literal["encode", "decode"]
TASKS: Final[tuple[Task, ...]] = ("encode", "decode")


def ms_ssim_db(value: float) -> float:
    """An MS-SSIM of 0..1 in dB: -10 log10(1 - value); infinite for 1."""
    return -10 * math.log10(1 - value) if value < 1 else math.inf


def speed(samples: Sequence[Sample], task: Task) -> float:
    """Megapixels per second over all of these samples, at least one; infinite where they took no time."""
    pixels = sum(sample.width * sample.height for sample in samples)
    time: float = sum(getattr(sample, task) for sample in samples)
    return pixels / 1e6 / time if time else math.inf


@dataclass(frozen=True)
class Comparison:
    """The first codec of the results against another curve.

    Attributes:
        label: of the other, for people.
        source: of a published curve; None for one measured here.
        rates: BD-rates by method of interpolation; empty where there is none.
        reason: why there is none.
    """

    label: str
    source: str | None
    rates: Mapping[Method, BdRate]
    reason: str = ""


def comparisons(results: Results, window: tuple[float, float] | None = None) -> list[Comparison]:
    """The first codec against every other codec and every anchor, by PSNR.

    Args:
        window: bits per pixel from and to; curves are cut to it first, see `Curve.within`.
    """
    if not results.codecs:
        return []
    first, *others = results.codecs
    return [_against(results, first.name, codec.label, None, codec.name, window) for codec in others] + [
        _against(results, first.name, anchor.curve.name, anchor.source, anchor.curve, window)
        for anchor in results.anchors
    ]


def _against(
    results: Results,
    tested: str,
    label: str,
    source: str | None,
    other: str | Curve,
    window: tuple[float, float] | None,
) -> Comparison:
    try:
        anchor = other if isinstance(other, Curve) else results.curve(other)
        test = results.curve(tested)
        return Comparison(label, source, {method: bd_rate(anchor, test, method, window) for method in METHODS})
    except ValueError as error:
        return Comparison(label, source, {}, str(error))
