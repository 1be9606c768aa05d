"""Values that tables, plots and the page have in common: conventions, BD-rates, speeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Final, Literal

import numpy as np

from dcacodec.bench.metrics import METRICS
from dcacodec.bench.results import Results, Sample
from dcacodec.metrics.curves import METHODS, BdRate, Curve, Method, bd_rate

CONVENTIONS: Final = (
    "Rate: the bytes of the file on disk, times 8, over the pixels of the picture.",
    "A point of a curve: the means of the pictures' own values, at one setting (CompressAI's convention).",
    (
        "BD-rate (bjontegaard): the logarithm of the rate is interpolated over the quality; the mean difference is "
        "taken over the qualities that both curves have. Negative: fewer bits."
    ),
    "Times: wall time with the codec loaded, the median of the repetitions.",
    "Peak memory: of a fresh process that codes and decodes one picture, less what it held before.",
)
"""The conventions of all figures except qualities, a sentence each."""


def conventions(results: Results) -> list[str]:
    """The conventions of all figures of these results, a sentence each."""
    return [*CONVENTIONS, *(f"{METRICS[name].title}: {METRICS[name].convention}." for name in results.metrics)]


Direction = Literal["encode", "decode"]
DIRECTIONS: Final[tuple[Direction, ...]] = ("encode", "decode")


def speed(samples: Sequence[Sample], direction: Direction) -> float:
    """Megapixels per second over all of these samples, at least one; infinite where they took no time."""
    pixels = sum(sample.width * sample.height for sample in samples)
    time: float = sum(getattr(sample, direction) for sample in samples)
    return pixels / 1e6 / time if time else math.inf


@dataclass(frozen=True)
class Comparison:
    """The first codec of the results against another curve, by one metric.

    Attributes:
        rates: BD-rates by method of interpolation; empty where there is none.
        reason: why there is none.
    """

    rates: Mapping[Method, BdRate]
    reason: str = ""


@dataclass(frozen=True)
class Opponent:
    """What the first codec of the results is compared with.

    Attributes:
        name: of the codec or published curve.
        label: its description.
        source: of a published curve; None for a codec measured here.
        by_metric: the comparison by name of the metric; published curves are compared by PSNR only.
    """

    name: str
    label: str
    source: str | None
    by_metric: Mapping[str, Comparison]


def opponents(results: Results, window: tuple[float, float] | None = None) -> list[Opponent]:
    """Every other codec and every anchor, compared with the first codec by each metric.

    Args:
        window: bits per pixel from and to; curves are cut to it first, see `Curve.within`.
    """
    if not results.codecs:
        return []
    first, *others = results.codecs

    def compared(metric: str, other: Callable[[], Curve]) -> Comparison:
        try:
            anchor, test = other(), results.curve(first.name, metric)
            return Comparison({method: bd_rate(anchor, test, method, window) for method in METHODS})
        except ValueError as error:
            return Comparison({}, str(error))

    def with_codec(name: str) -> dict[str, Comparison]:
        return {metric: compared(metric, partial(results.curve, name, metric)) for metric in results.metrics}

    def with_anchor(curve: Curve) -> dict[str, Comparison]:
        return {metric: compared(metric, lambda: curve) for metric in results.metrics if metric == "psnr"}

    return [Opponent(codec.name, codec.label, None, with_codec(codec.name)) for codec in others] + [
        Opponent(anchor.curve.name, anchor.curve.name, anchor.source, with_anchor(anchor.curve))
        for anchor in results.anchors
    ]


@dataclass(frozen=True)
class Deficit:
    """How far the first codec is behind on a picture.

    Attributes:
        picture: its name.
        codec: label of the codec that is ahead the most.
        value: by how much the quality of that codec's files is above that of files of equal size of the first; negative
            where the first codec is ahead of all others.
    """

    picture: str
    codec: str
    value: float

    @property
    def text(self) -> str:
        """The difference as seen from the first codec: "3.2 lower" or "1.5 higher"."""
        return f"{abs(self.value):.1f} {'lower' if self.value > 0 else 'higher'}"


def judged_by(results: Results) -> str:
    """The metric for single pictures and for sentences: SSIMULACRA 2 where it was measured, else the first that was."""
    return "ssimulacra2" if "ssimulacra2" in results.metrics else next(iter(results.metrics), "")


def deficits(results: Results) -> tuple[str, list[Deficit]]:
    """The metric that pictures are judged by (`judged_by`), and where the first codec loses, the worst first.

    The qualities of the other codecs are interpolated linearly over the logarithm of the bytes, at those sizes of the
    first codec's files that lie within their own range. Pictures without such a size are left out.
    """
    metric = judged_by(results)
    if len(results.codecs) < 2 or not metric:
        return "", []
    first, *others = results.codecs
    points: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for sample in results.samples:
        value = sample.quality[metric]
        if value is not None and math.isfinite(rising := METRICS[metric].rising(value)):
            points.setdefault((sample.picture, sample.codec), []).append((math.log(sample.size), rising))
    found = []
    for picture in results.pictures:
        ours = points.get((picture, first.name), [])
        behind = []
        for other in others:
            sizes, values = np.array(sorted(points.get((picture, other.name), []))).reshape(-1, 2).T
            common = [(size, value) for size, value in ours if len(sizes) and sizes[0] <= size <= sizes[-1]]
            if gaps := [float(np.interp(size, sizes, values)) - value for size, value in common]:
                behind.append(Deficit(picture, other.label, fmean(gaps)))
        if behind:
            found.append(max(behind, key=lambda deficit: deficit.value))
    return metric, sorted(found, key=lambda deficit: -deficit.value)
