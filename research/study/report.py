"""Tables and figures of the study, with the results of the paper for comparison."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain, cycle, repeat
from pathlib import Path
from typing import Any

from dcacodec.files.atomic import write_atomically
from dcacodec.format.container import STREAMS
from dcacodec.metrics.curves import Curve, bd_rate
from dcacodec.plotting.plot import Plot, save
from research.study.records import STEP_NAMES, SURPRISES, Record, write_json
from research.study.variants import BASELINE, PROPOSED


def curve_of(record: Record) -> Curve:
    """Estimated bits per pixel and PSNR of a record."""
    rows = record["qualities"]
    return Curve(record["name"], tuple(row["bpp"] for row in rows), tuple(row["psnr"] for row in rows))


def compare(record: Record, base: Record) -> dict[str, Any]:
    """Compare the bits of a record with those of another.

    Returns:
        "bd_rate": in percent, at equal PSNR, None if a curve does not rise; "bits": the geometric mean over qualities
        of the bits at equal quality, in percent; "by_quality": the bits at each quality, in percent.
    """
    qualities = [str(row["quality"]) for row in record["qualities"]]
    try:
        percent = bd_rate(curve_of(base), curve_of(record)).percent
    except ValueError:
        percent = None
    ratios = [a["bpp"] / b["bpp"] for a, b in zip(record["qualities"], base["qualities"], strict=True)]
    return {
        "bd_rate": percent,
        "bits": 100 * math.exp(math.fsum(map(math.log, ratios)) / len(ratios)) - 100,
        "by_quality": {quality: 100 * ratio - 100 for quality, ratio in zip(qualities, ratios, strict=True)},
    }


def baseline_of(record: Record, records: Sequence[Record]) -> Record | None:
    """The baseline with the same seed, else that with seed 0; None if there is none."""
    bases = {each["seed"]: each for each in records if each.get("label") == BASELINE}
    return bases.get(record.get("seed", 0), bases.get(0))


def summarise(records: Sequence[Record]) -> Record:
    """The values of tables and figures, as plain data by name.

    These are `compare` with the baseline of the same seed, means over the qualities of bits by stream and of surprise
    by step, parameters and times.
    """
    rows: Record = {}
    for record in records:
        base = baseline_of(record, records)
        qualities = record["qualities"]

        def mean(name: str, qualities: list[Record] = qualities) -> float:
            return math.fsum(row[name] for row in qualities) / len(qualities)

        rows[record["name"]] = {
            "against_baseline": compare(record, base) if base else None,
            "streams": {name: mean(name) for name in STREAMS if name in qualities[0]},
            "surprise": [mean(name) for name in SURPRISES],
            "parameters": record["parameters"],
            "training": {name: record["training"][name] for name in ("steps", "seconds", "cpu_seconds")}
            if "training" in record
            else None,
            "decode_ms": record.get("decode_ms"),
        }
    return rows


def write_report(records: Sequence[Record], folder: Path) -> list[Path]:
    """Write report.json, report.md and the figures.

    Raises:
        OSError: a file cannot be written.
    """
    summary = summarise(records)
    write_json(folder / "report.json", {"summary": summary, "records": list(records)})
    text = "\n\n".join("\n".join(table) for table in tables(records, summary)) + "\n"
    write_atomically(folder / "report.md", lambda file: file.write(text.encode()))
    return [folder / "report.json", folder / "report.md", *save(draw(records, summary), folder)]


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def tables(records: Sequence[Record], summary: Record) -> list[list[str]]:
    """The report's tables in Markdown, as lines."""
    names = [record["name"] for record in records]
    qualities = [str(row["quality"]) for row in records[0]["qualities"]]
    streams = [name for name in STREAMS if any(name in row["streams"] for row in summary.values())]
    compared = [name for name in names if summary[name]["against_baseline"]]
    rate = _table(
        ["entropy model", "BD-rate, %", "bits at equal quality, %", *(f"q{quality}" for quality in qualities)],
        [
            [
                name,
                *(_signed(summary[name]["against_baseline"][each]) for each in ("bd_rate", "bits")),
                *(_signed(summary[name]["against_baseline"]["by_quality"][quality]) for quality in qualities),
            ]
            for name in compared
        ],
    )
    where = _table(
        ["entropy model", *streams, *(f"surprise {i + 1}" for i in range(len(STEP_NAMES)))],
        [
            [
                name,
                *(f"{row['streams'][each]:.4f}" if each in row["streams"] else "" for each in streams),
                *(f"{value:.3f}" for value in row["surprise"]),
            ]
            for name, row in summary.items()
        ],
    )
    sides = next((list(row["decode_ms"]) for row in summary.values() if row["decode_ms"]), [])
    cost = _table(
        [
            "entropy model",
            "decoder's parameters",
            "hyper analysis",
            "priors",
            "steps",
            "minutes",
            "processor minutes",
            *(f"decode {side}x{side}, ms" for side in sides),
        ],
        [
            [
                name,
                *(f"{row['parameters'][part]:,}" for part in ("entropy", "hyper_analysis", "priors")),
                *(
                    [
                        f"{row['training']['steps']:,}",
                        f"{row['training']['seconds'] / 60:.1f}",
                        f"{row['training']['cpu_seconds'] / 60:.1f}",
                    ]
                    if row["training"]
                    else [""] * 3
                ),
                *(f"{row['decode_ms'][side]:.0f}" if row["decode_ms"] else "" for side in sides),
            ]
            for name, row in summary.items()
        ],
    )
    return [rate, where, cost]


def _dashes() -> Iterator[str]:
    """Line styles that distinguish any number of lines: each is used with all of Matplotlib's ten colours."""
    return chain.from_iterable(repeat(dashes, 10) for dashes in cycle(("-", "--", ":")))


def draw(records: Sequence[Record], summary: Record) -> list[Plot]:
    """Draw the figures: bits against the baseline by quality; their BD-rates as bars; surprise by step; training."""
    from matplotlib.figure import Figure

    variants = [record for record in records if "seed" in record]
    compared = [record for record in variants if summary[record["name"]]["against_baseline"]]
    plots = []

    def figure(title: str, xlabel: str, ylabel: str) -> tuple[Figure, Any]:
        made = Figure((6.4, 4.4), layout="constrained")
        axes = made.add_subplot()
        axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
        axes.grid(alpha=0.3)
        return made, axes

    if compared:
        rate, axes = figure("Bits against the baseline, by quality", "quality", "bits at equal quality, %")
        for record, dashes in zip(compared, _dashes(), strict=False):
            by_quality = summary[record["name"]]["against_baseline"]["by_quality"]
            axes.plot(
                [int(quality) for quality in by_quality],
                list(by_quality.values()),
                marker="o",
                markersize=3,
                linestyle=dashes,
                label=record["name"],
                gid=record["name"],
            )
        rate.legend(loc="outside right upper", fontsize=8)
        plots.append(Plot("bits", "Bits by quality", "Below 0: fewer bits than the baseline of the same seed.", rate))

        bars, axes = figure("BD-rate against the baseline", "BD-rate, %", "")
        rates = {record["name"]: summary[record["name"]]["against_baseline"]["bd_rate"] for record in compared}
        known = {name: percent for name, percent in rates.items() if percent is not None}
        axes.barh(list(known), list(known.values()), height=0.6)
        axes.invert_yaxis()
        plots.append(Plot("bd-rate", "BD-rate", "Negative: fewer bits at equal PSNR than the baseline.", bars))

    surprise, axes = figure("How badly each step is predicted", "step", "mean of |y - mean| / sigma")
    for record in variants:
        if record["label"] in (BASELINE, PROPOSED):
            values = summary[record["name"]]["surprise"]
            axes.plot(range(1, len(values) + 1), values, marker="o", label=record["name"], gid=record["name"])
    axes.set_xticks(range(1, len(STEP_NAMES) + 1))
    surprise.legend(loc="outside right upper", fontsize=8)
    plots.append(Plot("surprise", "Surprise by step", "The paper's diagnostic: lower is better.", surprise))

    learning, axes = figure("Training", "steps", "loss (rate, weighted over qualities)")
    for record, dashes in zip(variants, _dashes(), strict=False):
        steps, losses = zip(*record["training"]["curve"], strict=True)
        axes.plot(steps, losses, linestyle=dashes, label=record["name"], gid=record["name"])
    axes.set_yscale("log")
    learning.legend(loc="outside right upper", fontsize=8)
    plots.append(Plot("training", "Training", "Loss over steps, means of a twentieth of the schedule.", learning))
    return plots
