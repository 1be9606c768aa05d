"""The figures of a benchmark: rate and distortion, rate and speed, and where the bits of each file go.

Each series is a group whose gid is that of its `Series`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from dcacodec.bench.metrics import METRICS
from dcacodec.bench.results import Results
from dcacodec.bench.summary import DIRECTIONS, speed
from dcacodec.metrics.curves import Curve, bd_rate
from dcacodec.plotting.plot import MUTED, PAPER, STYLE, Plot, save

_COLOURS: Final = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c8c8c")
"""The palette of Okabe and Ito, which is suitable for colour-blind readers, without black and yellow."""
_MARKERS: Final = "os^Dvph<>X"
_DASHES: Final = ((0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
_BITS: Final = ("#332288", "#6699cc", "#88ccee", "#117733", "#44aa99", "#999933", "#ddcc77", "#cc6677", "#aa4499")
"""Paul Tol's "muted", for parts that are stacked: neighbours differ in lightness."""

_WIDTH: Final = 6.4
"""Inches."""


@dataclass(frozen=True)
class Series:
    """The style of a codec or an anchor, the same in every plot.

    Attributes:
        gid: identifier, "codec-NAME" or "anchor-NAME", with "_" for characters that are unusual in identifiers.
        label: for the legend.
        style: arguments of Matplotlib's `plot`.
    """

    gid: str
    label: str
    style: dict[str, Any]


def write_plots(results: Results, folder: Path, window: tuple[float, float] | None = None) -> list[Path]:
    """Draw all plots that the results have values for, as PNG and as SVG, and return the paths of the files.

    Args:
        window: bits per pixel from and to, which BD-rates are limited to.

    Raises:
        OSError: a file cannot be written.
    """
    return save(draw(results, window), folder)


def draw(results: Results, window: tuple[float, float] | None = None) -> list[Plot]:
    """The plots that the results have values for; none if no picture was coded."""
    with rc_context(STYLE):
        plots = [
            *(_rate_distortion(results, metric) for metric in results.metrics),
            _rate_speed(results, window),
            _streams(results),
        ]
    return [plot for plot in plots if plot is not None]


def codec_series(results: Results) -> list[Series]:
    """The styles of measured codecs: solid lines with markers, the first one the heaviest."""
    return [
        Series(
            _identifier("codec", codec.name),
            codec.label,
            {
                "color": _COLOURS[i and 1 + (i - 1) % (len(_COLOURS) - 1)],  # the first is for one alone
                "marker": _MARKERS[i % len(_MARKERS)],
                "linewidth": 1.6 if i else 2.6,
                "markersize": 5 if i else 6.5,
                "markeredgecolor": PAPER,
                "markeredgewidth": 0.7,
                "zorder": 3 if i else 5,
            },
        )
        for i, codec in enumerate(results.codecs)
    ]


def anchor_series(results: Results) -> list[Series]:
    """The styles of published curves: dashed lines without markers."""
    return [
        Series(
            _identifier("anchor", anchor.curve.name),
            anchor.curve.name,
            {
                "color": _COLOURS[1 + i % (len(_COLOURS) - 1)],  # the first is for the codec that this is all about
                "linestyle": _DASHES[(i + i // (len(_COLOURS) - 1)) % len(_DASHES)],
                "linewidth": 1.4,
                "zorder": 2,
            },
        )
        for i, anchor in enumerate(results.anchors)
    ]


def reference(results: Results) -> Curve | None:
    """The reference codec of BD-rates in plots: JPEG if measured, else another one than the first."""
    for codec in sorted(results.codecs, key=lambda codec: (codec.name != "jpeg", codec == results.codecs[0])):
        try:
            return results.curve(codec.name)
        except ValueError:
            continue
    return None


def _rate_distortion(results: Results, metric: str) -> Plot | None:
    """Quality over bits per pixel. Anchors are published in PSNR only."""
    measure, with_anchors = METRICS[metric], metric == "psnr" and bool(results.anchors)
    lines: list[tuple[Series, Sequence[float], Sequence[float]]] = []
    for codec, series in zip(results.codecs, codec_series(results), strict=True):
        points = [(mean.bpp, mean.quality[metric]) for mean in results.whole(codec.name)]
        rising = [(bpp, measure.rising(value)) for bpp, value in points if value is not None]
        known = [(bpp, y) for bpp, y in rising if math.isfinite(y)]
        if known:
            lines.append((series, [bpp for bpp, _ in known], [y for _, y in known]))
    if not lines:
        return None
    # Up to the largest rate of the first codec, which is the range of comparison.
    right = max(lines[0][1]) * 1.12
    if with_anchors:
        lines += [
            (series, anchor.curve.bpp, anchor.curve.quality)
            for anchor, series in zip(results.anchors, anchor_series(results), strict=True)
        ]
    figure, (axes,) = _figure(1, [series.label for series, _, _ in lines])
    for series, xs, ys in lines:
        axes.plot(xs, ys, label=series.label, gid=series.gid, **series.style)
    shown = [y for _, xs, ys in lines for x, y in zip(xs, ys, strict=True) if x <= right]
    margin = 0.04 * (max(shown) - min(shown)) or 1.0
    axes.set(xlim=(0, right), ylim=(min(shown) - margin, max(shown) + margin))
    unit = ", ".join(filter(None, (measure.title, measure.scale)))
    axes.set(title=f"{measure.title} over rate, {_plain(results.dataset)}", xlabel="bits per pixel", ylabel=unit)
    _legend(figure, axes)
    caption = (
        f"Means of the pictures' {measure.title} and bits per pixel at each setting; further up and left is better. "
        f"Shown up to the largest rate of {lines[0][0].label}."
    )
    if with_anchors:
        caption += " Dashed: published curves."
        axes.annotate("dashed: published", (1, 0), (-6, 6), "axes fraction", "offset points",
                      horizontalalignment="right", color=MUTED, fontsize=9)  # fmt: skip
    return Plot(f"rate-{metric}", f"{measure.title} over rate", caption + _left_out(results), figure)


def _rate_speed(results: Results, window: tuple[float, float] | None) -> Plot | None:
    """BD-rate against the reference over speed, a point for each measured codec."""
    base = reference(results)
    if base is None:
        return None
    label = next(codec.label for codec in results.codecs if codec.name == base.name)
    rates: list[tuple[Series, str, float]] = []
    missing = []
    for codec, series in zip(results.codecs, codec_series(results), strict=True):
        try:
            # By definition, where interpolation would give nearly 0.
            same = codec.name == base.name
            curve = results.curve(codec.name)
            rates.append((series, codec.name, 0.0 if same else bd_rate(base, curve, window=window).percent))
        except ValueError:
            missing.append(codec.label)
    if len(rates) < 2:
        return None
    figure, panels = _figure(2, [series.label for series, _, _ in rates], sharey=True)
    for axes, task in zip(panels, DIRECTIONS, strict=True):
        seen: list[float] = []
        for series, name, percent in rates:
            settings = {mean.setting for mean in results.whole(name)}
            samples = [sample for sample in results.samples if sample.codec == name and sample.setting in settings]
            each = [speed([one for one in samples if one.setting == setting], task) for setting in settings]
            seen += each
            style = {**series.style, "linewidth": 0, "markersize": series.style["markersize"] + 3}
            colour = series.style["color"]
            axes.plot([min(each), max(each)], [percent, percent], color=colour, linewidth=2, alpha=0.45, zorder=2)
            axes.plot([speed(samples, task)], [percent], label=series.label, gid=f"{task}-{series.gid}", **style)
        axes.set_xscale("log")
        axes.set(title=f"Speed to {task}", xlabel="megapixels per second")
        # Speeds that are close together may have one power of ten between them, or none.
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(seen) < 100 * min(seen) else (1,)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.axhline(0, color=MUTED, linewidth=0.8, zorder=1)
        axes.yaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(FuncFormatter(_signed))
        axes.margins(x=0.12, y=0.12)  # points are few and large: none is cut by the frame
    panels[0].set_ylabel(f"BD-rate against\n{_plain(label, 28)}, %")
    _legend(figure, panels[0])
    caption = (
        f"BD-rate (Akima) against {label}; further down means fewer bits at equal PSNR, further right means faster. "
        "A point is a codec, the line through it runs from its slowest setting to its fastest. "
        "Wall time with the codec loaded; the machine is named on this page."
    )
    if window:
        caption += f" Between {window[0]:g} and {window[1]:g} bits per pixel."
    if missing:
        caption += f" Without a curve that can be compared: {', '.join(missing)}."
    return Plot("rate-speed", "Rate against speed", caption, figure)


def _streams(results: Results) -> Plot | None:
    """Bits by stream over the settings, absolute and as shares of the file, for each codec that reports streams."""
    rows = [
        (codec, means)
        for codec in results.codecs
        if (means := results.whole(codec.name)) and all(mean.streams for mean in means)
    ]
    if not rows:
        return None
    names = list(dict.fromkeys(stream for _, means in rows for mean in means for stream in mean.streams))
    figure, panels = _figure(2, names, rows=len(rows))
    for (codec, means), absolute, share in zip(rows, panels[0::2], panels[1::2], strict=True):
        for axes in (absolute, share):
            places = range(len(means))
            base = [0.0] * len(means)
            for i, name in enumerate(names):
                bits = [mean.streams.get(name, 0.0) for mean in means]
                if axes is share:
                    bits = [100 * part / sum(mean.streams.values()) for part, mean in zip(bits, means, strict=True)]
                bars = axes.bar(places, bits, 0.86, base, color=_BITS[i % len(_BITS)], label=name, linewidth=0)
                for bar, mean in zip(bars, means, strict=True):
                    kind = "share" if axes is share else "bits"
                    bar.set_gid(_identifier(kind, codec.name, name, f"{mean.setting:g}"))
                base = [below + part for below, part in zip(base, bits, strict=True)]
            step = math.ceil(len(means) / 10)
            axes.set_xticks(list(places)[::step], [f"{mean.setting:g}" for mean in means][::step])
            axes.grid(visible=False, axis="x")
            axes.set_xlabel("setting")
        absolute.set(title=_plain(codec.label), ylabel="bits per pixel")
        share.set(ylabel="% of the file", ylim=(0, 100))
    _legend(figure, panels[0])
    caption = "Mean bits per pixel of each stream of the file, bottom to top in the order of the legend."
    return Plot("streams", "Where the bits go", caption + _left_out(results), figure)


def _left_out(results: Results) -> str:
    """The remark on settings at which a picture failed."""
    return " Settings at which a picture failed are left out." if results.failures else ""


def _signed(value: float, _: object) -> str:
    """Percents with their sign, as a tick's label."""
    return f"{value:+g}".replace("-", "\N{MINUS SIGN}") if value else "0"


def _plain(label: str, length: int = 44) -> str:
    """The label with only printable characters, which fonts and XML accept, truncated to this many."""
    plain = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in label)
    return plain if len(plain) <= length else plain[: length - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def _identifier(*parts: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", "-".join(parts))


def _columns(labels: Sequence[str]) -> int:
    """The number of columns of a legend that fit the width of a figure, at about 5.4 points a character."""
    widest = max(len(_plain(label)) for label in labels)
    return max(1, min(4, len(labels), int(_WIDTH * 72 / (5.4 * widest + 48))))


def _figure(columns: int, labels: Sequence[str], rows: int = 1, sharey: bool = False) -> tuple[Figure, list[Axes]]:
    """A figure of panels with space for a legend of these labels below, and its axes row by row."""
    height = 3.7 * rows if columns == 1 else 2.9 * rows
    figure = Figure((_WIDTH, height + 0.19 * math.ceil(len(labels) / _columns(labels)) + 0.1), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False, sharey=sharey).flat)


def _legend(figure: Figure, axes: Axes) -> None:
    """The series of these axes, below the figure."""
    handles, labels = axes.get_legend_handles_labels()
    plain = list(map(_plain, labels))
    figure.legend(
        handles, plain, loc="outside lower center", ncols=_columns(labels), handlelength=2.4, columnspacing=1.2
    )
