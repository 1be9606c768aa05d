"""Progress of training: loss and BD-rate on the validation pictures over the pixels seen.

    python benchmarks/campaign.py held-out/ runs/first/log.jsonl runs/second/log.jsonl

The first argument is the `--validation` of `dcacodec train`; the logs are those of successive runs, each resumed from
the one before. Prints a line for each validation: pixels seen in total, loss, and the BD-rates of the estimated bits
against real JPEG and WebP files of the same pictures (the first eight, cropped to multiples of 64 pixels).

``--before FILE`` prepends the validations of earlier runs from a file written by ``--out FILE``, so that their logs are
not needed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dcacodec.bench.codec import CodecOptions
from dcacodec.bench.codecs import open_codec
from dcacodec.bench.store import write_text
from dcacodec.errors import BenchError, DcaError, TrainingError, reason
from dcacodec.metrics.curves import Curve, bd_rate
from dcacodec.metrics.psnr import psnr
from dcacodec.training.data import load_pictures, require_blocks, whole_blocks
from dcacodec.training.log import read_log, reject_constant

PEERS: Final = ("jpeg", "webp")


@dataclass(frozen=True)
class Point:
    """One validation of a run.

    Attributes:
        run: name of the run's folder.
        minutes: of the run.
        pixels: total number of pixels seen.
        loss: mean over pictures and qualities.
        bd_rate: in percent, by peer.
    """

    run: str
    minutes: float
    pixels: int
    loss: float
    bd_rate: dict[str, float]


def peer_curve(name: str, pictures: Sequence[NDArray[np.uint8]], quiet: bool) -> Curve:
    """Means of rate and PSNR of a peer's real files, at the settings of `dcacodec bench`."""
    codec = open_codec(name, CodecOptions())
    points = []
    for setting in tqdm(codec.settings, desc=name, leave=False, disable=quiet or None):
        rates, values = [], []
        for pixels in pictures:
            data = codec.encode(pixels, setting)
            rates.append(8 * len(data) / (pixels.shape[0] * pixels.shape[1]))
            values.append(psnr(pixels, codec.decode(data)))
        points.append((float(np.mean(rates)), float(np.mean(values))))
    rates_, values_ = zip(*sorted(points), strict=True)
    return Curve(codec.label, rates_, values_)


def points_of(log: Path, peers: dict[str, Curve]) -> list[Point]:
    """The validations of a log, in order."""
    found = []
    for line in read_log(log):
        if line["kind"] == "validation":
            try:
                rows: list[dict[str, Any]] = line["qualities"]
                bpp, values = (tuple(float(row[name]) for row in rows) for name in ("bpp", "psnr"))
                minutes, pixels, loss = float(line["minutes"]), int(line["pixels"]), float(line["loss"])
            except (LookupError, TypeError, ValueError, ArithmeticError) as error:
                raise TrainingError(f"{log}: a validation is incomplete") from error
            try:
                curve = Curve(log.parent.name, bpp, values)
                rates = {name: round(bd_rate(peer, curve).percent, 2) for name, peer in peers.items()}
            except ValueError as error:
                raise TrainingError(f"{log}: {error}") from error
            found.append(Point(log.parent.name, minutes, pixels, loss, rates))
    return found


def is_same(one: Curve, other: Curve) -> bool:
    """Whether two curves are of the same files; the last bits of a mean may differ between processors."""
    pairs = zip((*one.bpp, *one.quality), (*other.bpp, *other.quality), strict=False)
    same_shape = (one.name, len(one.bpp)) == (other.name, len(other.bpp))
    return same_shape and all(math.isclose(*pair, rel_tol=1e-9) for pair in pairs)


def earlier_points(path: Path, peers: dict[str, Curve]) -> list[Point]:
    """The validations that `--out` wrote.

    Raises:
        TrainingError: the file is not one of these, or one of other pictures than the peers' files.
    """
    try:
        figures = json.loads(path.read_text("utf-8"), parse_constant=reject_constant)
        if not all(is_same(peers[name], Curve(**figures["peers"][name])) for name in PEERS):
            raise TrainingError(f"{path}: of other pictures, or of other versions of JPEG and WebP")
        points = figures["points"]
        if not isinstance(points, list):
            raise TypeError(f"the points are a {type(points).__name__}")
        return [
            Point(
                str(point["run"]),
                float(point["minutes"]),
                int(point["pixels"]),
                float(point["loss"]),
                {name: float(point["bd_rate"][name]) for name in PEERS},
            )
            for point in points
        ]
    except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError) as error:
        raise TrainingError(f"{path}: not the figures of a campaign") from error


def plot(points: Sequence[Point], path: Path) -> None:
    """Draw loss and BD-rates over the pixels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    loss, rates = figure.subplots(1, 2)
    pixels = [point.pixels / 1e9 for point in points]
    loss.plot(pixels, [point.loss for point in points], "o-", markersize=3, linewidth=0.8)
    loss.set_ylabel("validation loss")
    for name in PEERS:
        rates.plot(pixels, [point.bd_rate[name] for point in points], "o-", markersize=3, linewidth=0.8, label=name)
    rates.set_ylabel("BD-rate, %")
    rates.legend()
    for axes in (loss, rates):
        axes.set_xscale("log")
        axes.set_xlabel("thousand million pixels seen")
        axes.grid(linewidth=0.3, which="both")
    try:
        figure.savefig(path, dpi=100, metadata={"Software": None})
    except ValueError as error:  # a suffix that Matplotlib does not know
        raise BenchError(f"{path}: {error}") from error


@click.command()
@click.argument("pictures", type=click.Path(exists=True))
@click.argument("logs", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--before",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File of earlier runs, written by --out.",
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="File to write the figures to, as JSON.")
@click.option("--plot", "plot_path", type=click.Path(dir_okay=False, path_type=Path), help="Plot of them (PNG).")
@click.option("--quiet", is_flag=True, help="No progress bars.")
def main(
    pictures: str, logs: tuple[Path, ...], before: Path | None, out: Path | None, plot_path: Path | None, quiet: bool
) -> None:
    """Print what the LOGS' validations on PICTURES say, as a table."""
    try:
        _campaign(pictures, logs, before, out, plot_path, quiet)
    except (DcaError, OSError) as error:
        raise click.ClickException(reason(error)) from error


def _campaign(
    pictures: str, logs: tuple[Path, ...], before: Path | None, out: Path | None, plot_path: Path | None, quiet: bool
) -> None:
    held_out = load_pictures([pictures], quiet)[:8]
    require_blocks(held_out)
    held_out = [whole_blocks(picture) for picture in held_out]
    peers = {name: peer_curve(name, held_out, quiet) for name in PEERS}
    points = [] if before is None else earlier_points(before, peers)
    known = {(point.run, point.pixels) for point in points}  # figures may have been written in the middle of a run
    points += [point for log in logs for point in points_of(log, peers) if (point.run, point.pixels) not in known]
    click.echo("| pixels seen, millions | run, minutes | validation loss | BD-rate against JPEG, WebP |")
    click.echo("|---|---|---|---|")
    for point in points:
        rates = ", ".join(f"{point.bd_rate[name]:+.1f} %" for name in PEERS)
        click.echo(f"| {point.pixels / 1e6:,.0f} | {point.run}, {point.minutes:.0f} | {point.loss:.3f} | {rates} |")
    if plot_path is not None:
        plot(points, plot_path)
    if out is not None:
        figures = {"peers": {name: asdict(peer) for name, peer in peers.items()}, "points": list(map(asdict, points))}
        write_text(out, json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
