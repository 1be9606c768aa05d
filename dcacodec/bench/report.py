"""What a benchmark prints, and the files that it writes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dcacodec.bench.page import Exhibit, write_page
from dcacodec.bench.plots import write_plots
from dcacodec.bench.results import Codec, Results
from dcacodec.bench.store import as_compressai, as_csv, save_results, write_text
from dcacodec.bench.summary import CONVENTIONS, Comparison, comparisons
from dcacodec.metrics.curves import Method, falls

Window = tuple[float, float]
"""Bits per pixel from and to."""


def write_report(
    results: Results, exhibits: Sequence[Exhibit], folder: Path, method: Method, window: Window | None
) -> str:
    """Write all files of a report into a folder, and give its text.

    Raises:
        OSError: a file cannot be written.
    """
    compared = comparisons(results, window)
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
    write_page(results, exhibits, folder / "index.html", window)
    return text


def file_stem(name: str) -> str:
    """The name of a codec as that of a file."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)


def as_json(results: Results, compared: Sequence[Comparison], window: Window | None) -> dict[str, Any]:
    """The BD-rates, with all that they were taken over."""
    return {
        "codec": results.codecs[0].name,
        "dataset": results.dataset,
        "window_bpp": window,
        "against": [
            {
                "name": name,
                "label": other.label,
                "source": other.source,
                "percent": {method: rate.percent for method, rate in other.rates.items()},
                **(
                    {"psnr": rate.psnr, "bpp_of_it": rate.anchor_bpp, "bpp_of_codec": rate.test_bpp}
                    if (rate := next(iter(other.rates.values()), None))
                    else {"none": other.reason}
                ),
            }
            for name, other in zip(_names(results), compared, strict=True)
        ],
    }


def _names(results: Results) -> list[str]:
    """Of what the first codec is compared with, in order."""
    return [codec.name for codec in results.codecs[1:]] + [anchor.curve.name for anchor in results.anchors]


# --------------------------------------------------------------------------------------------------------------- text


def as_text(results: Results, compared: Sequence[Comparison], method: Method, window: Window | None) -> str:
    """The report for a terminal."""
    parts = [
        f"{results.dataset}: {len(results.pictures)} pictures",
        "\n".join(f"{name}: {value}" for name, value in results.machine.items()),
        "\n".join(CONVENTIONS),
        *(_codec(results, codec) for codec in results.codecs),
    ]
    if compared:
        parts.append(_bd_rates(results, compared, method, window))
    if sources := [f"{anchor.curve.name}: {anchor.source}" for anchor in results.anchors]:
        parts.append("\n".join(["Published curves:", *sources]))
    if results.failures:
        parts.append("\n".join(["Failed:", *(
            f"{failure.codec} at {failure.setting:g} on {failure.picture}: {failure.reason}"
            for failure in results.failures
        )]))  # fmt: skip
    return ("\n\n".join(parts) + "\n").encode("utf-8", "replace").decode("utf-8")  # names may be no text at all


def _codec(results: Results, codec: Codec) -> str:
    """The table of a codec."""
    means = results.means(codec.name)
    memory = "not measured" if codec.memory is None else f"{codec.memory / 2**20:.0f} MiB"
    title = f"{codec.name}: {codec.label}, peak memory {memory}"
    if not means:
        return f"{title}\nnothing worked"
    streams = list(dict.fromkeys(stream for mean in means for stream in mean.streams))
    fewer = any(mean.pictures < len(results.pictures) for mean in means)
    columns = [
        ("setting", [f"{mean.setting:g}" for mean in means]),
        *([("pictures", [str(mean.pictures) for mean in means])] if fewer else []),
        ("bpp", [f"{mean.bpp:.4f}" for mean in means]),
        ("PSNR", [f"{mean.psnr:.3f}" for mean in means]),
        ("MS-SSIM", [_optional(mean.ms_ssim, 5) for mean in means]),
        ("SSIMULACRA2", [_optional(mean.ssimulacra2, 2) for mean in means]),
        ("encode s", [f"{mean.encode:.3f}" for mean in means]),
        ("decode s", [f"{mean.decode:.3f}" for mean in means]),
        *((stream, [f"{mean.streams.get(stream, 0):.4f}" for mean in means]) for stream in streams),
    ]
    lines = [title, *_table([(name, cells) for name, cells in columns if any(cells)])]
    if streams:
        lines.append("(z_r and what follows: bits per pixel)")
    if len(results.whole(codec.name)) > 1:
        lines += _order(results, codec)
    return "\n".join(lines)


def _optional(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _table(columns: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """Lines of right-aligned columns."""
    padded = [[cell.rjust(max(map(len, (name, *cells)))) for cell in (name, *cells)] for name, cells in columns]
    return ["  ".join(row) for row in zip(*padded, strict=True)]


def _order(results: Results, codec: Codec) -> list[str]:
    """Whether bytes and PSNR rise with the setting."""
    means = results.whole(codec.name)
    settings = [mean.setting for mean in means]
    found = {(sample.picture, sample.setting): sample for sample in results.samples if sample.codec == codec.name}
    steps = len(results.pictures) * (len(means) - 1)
    lines = []
    for what, attribute in (("bytes", "bpp"), ("PSNR", "psnr")):
        where = falls([getattr(mean, attribute) for mean in means])
        single = sum(
            len(falls([getattr(found[picture, setting], attribute) for setting in settings]))
            for picture in results.pictures
        )
        places = ", ".join(f"{settings[i]:g} to {settings[i + 1]:g}" for i in where)
        verdict = f"DO NOT RISE from {places}" if where else "rise at every step"
        lines.append(f"{what}: the means {verdict}; of single pictures, {single} of {steps} steps do not rise")
    return lines


def _bd_rates(results: Results, compared: Sequence[Comparison], method: Method, window: Window | None) -> str:
    codec = results.codecs[0]
    limits = f"within {window[0]:g} to {window[1]:g} bpp" if window else "over the PSNRs that both curves have"
    lines = [
        f"BD-rate of {codec.label} (PSNR, logarithm of the rate, interpolated by {method}, {limits};",
        "negative: fewer bits than the other at the same PSNR)",
    ]
    named = list(zip(_names(results), compared, strict=True))
    names = [f"{name} (published)" if other.source is not None else name for name, other in named if other.rates]
    rates = [other.rates[method] for _, other in named if other.rates]
    lines += _table([
        ("against", names),
        ("BD-rate %", [f"{rate.percent:+.2f}" for rate in rates]),
        ("PSNR in common", [_range(rate.psnr, 2) for rate in rates]),
        ("bpp of the other", [_range(rate.anchor_bpp, 3) for rate in rates]),
        (f"bpp of {codec.name}", [_range(rate.test_bpp, 3) for rate in rates]),
    ])  # fmt: skip
    lines += [f"{name}: none, as {other.reason}" for name, other in named if not other.rates]
    return "\n".join(lines)


def _range(ends: tuple[float, float], digits: int) -> str:
    return f"{ends[0]:.{digits}f} to {ends[1]:.{digits}f}"
