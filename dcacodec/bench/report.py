"""The report of a benchmark: its text and its files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from dcacodec.bench.exhibits import Exhibit
from dcacodec.bench.metrics import METRICS
from dcacodec.bench.page import write_page
from dcacodec.bench.plots import write_plots
from dcacodec.bench.results import Mean, MeasuredCodec, Results, Sample
from dcacodec.bench.store import as_compressai, as_csv, counted, save_results, write_text
from dcacodec.bench.summary import Comparison, Opponent, conventions, deficits, judged_by, opponents
from dcacodec.errors import escaped
from dcacodec.metrics.curves import Method, falls

Window = tuple[float, float]
"""Bits per pixel from and to."""


def write_report(
    results: Results, exhibits: Sequence[Exhibit], folder: Path, method: Method, window: Window | None
) -> str:
    """Write all files of a report to a folder, and return its text.

    Raises:
        OSError: a file cannot be written.
    """
    compared = opponents(results, window)
    text = as_text(results, compared, method, window)
    save_results(results, folder / "results.json")
    (folder / "curves").mkdir(exist_ok=True)
    for codec in results.codecs:
        content = json.dumps(as_compressai(results, codec), indent=1, allow_nan=False) + "\n"
        write_text(folder / "curves" / f"{file_stem(codec.name)}.json", content)
    write_text(folder / "bd-rate.json", json.dumps(as_json(results, compared, window), indent=1) + "\n")
    write_text(folder / "samples.csv", as_csv(results))
    write_text(folder / "report.txt", text)
    (folder / "plots").mkdir(exist_ok=True)
    write_plots(results, folder / "plots", window)
    write_page(results, exhibits, folder / "index.html", window, method)
    return text


def file_stem(name: str) -> str:
    """The name of a codec as a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)


def as_json(results: Results, compared: Sequence[Opponent], window: Window | None) -> dict[str, Any]:
    """The BD-rates, with the ranges that they were computed over."""
    return {
        "codec": results.codecs[0].name,
        "dataset": results.dataset,
        "window_bpp": window,
        "against": [
            {
                "name": other.name,
                "label": other.label,
                "source": other.source,
                "metrics": {metric: _rates_as_json(comparison) for metric, comparison in other.by_metric.items()},
            }
            for other in compared
        ],
    }


def _rates_as_json(comparison: Comparison) -> dict[str, Any]:
    rate = next(iter(comparison.rates.values()), None)
    if rate is None:
        return {"percent": {}, "none": comparison.reason}
    return {
        "percent": {method: each.percent for method, each in comparison.rates.items()},
        "quality": rate.quality,
        "bpp_of_it": rate.anchor_bpp,
        "bpp_of_codec": rate.test_bpp,
    }


# --------------------------------------------------------------------------------------------------------------- text


def as_text(results: Results, compared: Sequence[Opponent], method: Method, window: Window | None) -> str:
    """The report for a terminal."""
    parts = [
        _lines([f"{results.dataset}: {counted(len(results.pictures))}"]),
        _lines(f"{name}: {value}" for name, value in results.machine.items()),
        _lines(conventions(results)),
        *(_codec(results, codec) for codec in results.codecs),
    ]
    if compared:
        parts.append(_bd_rates(results, compared, method, window))
    if worst := _deficits(results):
        parts.append(worst)
    if sources := [f"{anchor.curve.name}: {anchor.source}" for anchor in results.anchors]:
        parts.append(_lines(["Published curves:", *sources]))
    if results.failures:
        parts.append(_lines(["Failed:", *(
            f"{failure.codec} at {failure.setting:g} on {failure.picture}: {failure.reason}"
            for failure in results.failures
        )]))  # fmt: skip
    return ("\n\n".join(parts) + "\n").encode("utf-8", "replace").decode("utf-8")  # names may be no text at all


def _lines(lines: Iterable[str]) -> str:
    """Lines as one text, without the control characters that names can hold."""
    return "\n".join(map(escaped, lines))


def _codec(results: Results, codec: MeasuredCodec) -> str:
    """The table of a codec."""
    means = results.means(codec.name)
    memory = "not measured" if codec.memory is None else f"{codec.memory / 2**20:.0f} MiB"
    title = f"{codec.name}: {codec.label}, peak memory {memory}"
    if not means:
        return _lines([title, "nothing worked"])
    streams = list(dict.fromkeys(stream for mean in means for stream in mean.streams))
    fewer = any(mean.pictures < len(results.pictures) for mean in means)
    columns = [
        ("setting", [f"{mean.setting:g}" for mean in means]),
        *([("pictures", [str(mean.pictures) for mean in means])] if fewer else []),
        ("bpp", [f"{mean.bpp:.4f}" for mean in means]),
        *(
            (METRICS[name].title, [_optional(mean.quality[name], METRICS[name].digits) for mean in means])
            for name in results.metrics
        ),
        ("encode s", [f"{mean.encode:.3f}" for mean in means]),
        ("decode s", [f"{mean.decode:.3f}" for mean in means]),
        *((stream, [f"{mean.streams.get(stream, 0):.4f}" for mean in means]) for stream in streams),
    ]
    lines = [title, *_table([(name, cells) for name, cells in columns if any(cells)])]
    if streams:
        lines.append("(z_r and what follows: bits per pixel)")
    if len(results.whole(codec.name)) > 1:
        lines += _order(results, codec)
    return _lines(lines)


def _optional(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _table(columns: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """Lines of right-aligned columns."""
    padded = [[cell.rjust(max(map(len, (name, *cells)))) for cell in (name, *cells)] for name, cells in columns]
    return ["  ".join(row) for row in zip(*padded, strict=True)]


def _order(results: Results, codec: MeasuredCodec) -> list[str]:
    """Lines that say whether bytes and quality rise with the setting."""
    means = results.whole(codec.name)
    settings = [mean.setting for mean in means]
    found = {(sample.picture, sample.setting): sample for sample in results.samples if sample.codec == codec.name}
    steps = len(results.pictures) * (len(means) - 1)
    lines = []
    rising: list[tuple[str, Callable[[Sample | Mean], float]]] = [("bytes", lambda each: each.bpp)]
    known = [name for name in results.metrics if all(mean.quality[name] is not None for mean in means)]
    rising += [(METRICS[name].title, partial(_rising, name)) for name in known]
    for what, value in rising:
        where = falls([value(mean) for mean in means])
        single = steps - sum(
            len(falls([value(found[picture, setting]) for setting in settings])) for picture in results.pictures
        )
        places = ", ".join(f"{settings[i]:g} to {settings[i + 1]:g}" for i in where)
        verdict = f"DO NOT RISE from {places}" if where else "rise at every step"
        lines.append(f"{what}: the means {verdict}; the values of single pictures rise at {single} of {steps} steps")
    return lines


def _rising(metric: str, each: Sample | Mean) -> float:
    value = each.quality[metric]
    assert value is not None  # only metrics that all pictures have are asked for
    return METRICS[metric].rising(value)


def _bd_rates(results: Results, compared: Sequence[Opponent], method: Method, window: Window | None) -> str:
    codec = results.codecs[0]
    limits = f"within {window[0]:g} to {window[1]:g} bpp" if window else "over the qualities that both curves have"
    lines = [
        f"BD-rate of {codec.label} in % (logarithm of the rate, interpolated by {method}, {limits};",
        "negative: fewer bits than the other at the same quality)",
    ]
    names = [f"{other.name} (published)" if other.source is not None else other.name for other in compared]
    columns = [("against", names)]
    for metric in results.metrics:
        found = [other.by_metric.get(metric) for other in compared]
        rates = [each.rates.get(method) if each else None for each in found]
        columns.append((METRICS[metric].title, [f"{rate.percent:+.2f}" if rate else "" for rate in rates]))
        if metric == "psnr":
            columns += [
                ("PSNR in common", [_range(rate.quality, 2) if rate else "" for rate in rates]),
                ("bpp of the other", [_range(rate.anchor_bpp, 3) if rate else "" for rate in rates]),
                (f"bpp of {codec.name}", [_range(rate.test_bpp, 3) if rate else "" for rate in rates]),
            ]
    lines += _table(columns)
    lines += [
        f"{other.name} by {METRICS[metric].title}: none, as {comparison.reason}"
        for other in compared
        for metric, comparison in other.by_metric.items()
        if not comparison.rates
    ]
    main = judged_by(results)
    lines += [
        f"{codec.name} needs {_more_or_fewer(judged.rates[method].percent)} bytes than {other.label} "
        f"for the same {METRICS[main].title}"
        for other in compared
        if (judged := other.by_metric.get(main)) is not None and judged.rates
    ]
    return _lines(lines)


_WORST: Final = 5
"""Pictures that the text names."""


def _deficits(results: Results) -> str:
    metric, found = deficits(results)
    if not found:
        return ""
    title, name = METRICS[metric].title, results.codecs[0].name
    lines = [f"{title} of {name} at equal bytes, compared with the best other codec; the worst pictures first"]
    lines += _table([
        ("picture", [each.picture for each in found[:_WORST]]),
        (name, [each.text for each in found[:_WORST]]),
        ("than", [each.codec for each in found[:_WORST]]),
    ])  # fmt: skip
    return _lines(lines)


def _more_or_fewer(percent: float) -> str:
    return f"{abs(percent):.1f} % {'fewer' if percent < 0 else 'more'}"


def _range(ends: tuple[float, float], digits: int) -> str:
    return f"{ends[0]:.{digits}f} to {ends[1]:.{digits}f}"
