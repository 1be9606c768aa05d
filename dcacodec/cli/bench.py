"""The command `dcacodec bench`. Heavy packages are imported only when it runs."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from dcacodec.cli.console import is_quiet, print_result, print_warning
from dcacodec.cli.options import DEVICE, PRESET, QUIET, cores, parse_names
from dcacodec.metrics.curves import METHODS

if TYPE_CHECKING:
    from dcacodec.bench.codec import BenchCodec, CodecOptions
    from dcacodec.bench.datasets import Dataset
    from dcacodec.bench.results import Anchor

QUICK_PICTURES: Final = 2
QUICK_SETTINGS: Final = 3


def parse_qualities(text: str) -> tuple[int, ...]:
    """The sorted qualities of a list such as ``"1-100"``, ``"5,20,35"`` or ``"5,20-30"``.

    Raises:
        ValueError: the text has another form, or a quality is outside 1..100.
    """
    qualities: set[int] = set()
    for part in text.split(","):
        start, dash, end = part.partition("-")
        first, last = int(start), int(end if dash else start)
        if not 1 <= first <= last <= 100:
            raise ValueError(f"{text!r} is not a list of qualities from 1 to 100")
        qualities.update(range(first, last + 1))
    return tuple(sorted(qualities))


def _qualities(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        return parse_qualities(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a list of qualities from 1 to 100.") from error


def _window(context: click.Context, parameter: click.Parameter, value: Any) -> tuple[float, float] | None:
    if value is not None and not 0 < value[0] < value[1] < math.inf:
        raise click.BadParameter("LOW must be above 0 and below HIGH, and HIGH finite.")
    return value  # type: ignore[no-any-return]


def _warn(line: str) -> None:
    """Print a warning above the progress bars, unless --quiet."""
    from tqdm import tqdm

    with tqdm.external_write_mode(file=sys.stderr):
        print_warning(line)


@click.command(
    context_settings={"show_default": True},
    epilog="""\b
Codecs:
  dcacodec            at --qualities, with the default tuning
  dcacodec-visual     the same with encode's --tune visual
  dcacodec-psnr       the same with encode's --tune psnr
  dcacodec:EFFORT     any of these with encode's --effort, e.g. dcacodec-psnr:40
  jpeg, jpeg-444      Pillow, 4:2:0 and 4:4:4
  jpeg2000            Pillow with OpenJPEG
  webp                Pillow with libwebp
  avif                Pillow with libavif, tuned as it is by default
  avif-psnr, avif-iq  the same with tune=psnr and tune=iq
  jxl                 the package pillow-jxl-plugin
  jpegli              the package pyjpegli
  compressai:MODEL    the package compressai, e.g. compressai:mbt2018-mean

\b
Examples:
  dcacodec bench --dataset kodak --data-dir datasets/
  dcacodec bench --quick photos/
  dcacodec bench --codecs dcacodec,jpeg,webp --qualities 10-90 --jobs 4 a.png b.png
""",
)
@click.argument("pictures", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--dataset",
    metavar="NAME|FILE|FOLDER",
    help="Dataset to measure instead of PICTURES: its name (kodak), a manifest, or a folder.  [default: kodak]",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder that is searched for datasets and published curves, in addition to that of the environment variable "
    "DCACODEC_DATA.",
)
@click.option(
    "--codecs",
    metavar="LIST",
    callback=parse_names,
    help="Comma-separated codecs to measure; the first one is compared with the others.  "
    "[default: all installed ones except CompressAI's]",
)
@click.option(
    "--qualities",
    metavar="LIST",
    default="5,20,35,50,65,80,95",
    callback=_qualities,
    help="Qualities of dcacodec: a comma-separated list of numbers and ranges such as 1-100.",
)
@PRESET
@click.option(
    "--weights",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Weights file of dcacodec, instead of --preset.",
)
@DEVICE
@click.option(
    "--anchor",
    "anchors",
    metavar="NAME|FILE|none",
    multiple=True,
    help="Published curve to compare with: its name, or a file in CompressAI's format; can be given several times.  "
    "[default for kodak: those of jpeg, webp, bpg and vtm that are available and not measured]",
)
@click.option(
    "--metrics",
    metavar="LIST",
    callback=parse_names,
    help="Comma-separated metrics: psnr, ms-ssim, ssimulacra2, butteraugli (needs the program butteraugli_main), cvvdp "
    "(needs the package).  [default: all that are installed]",
)
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default=METHODS[0],
    help="Interpolation of rate-distortion curves for BD-rates.",
)
@click.option(
    "--window",
    type=(float, float),
    metavar="LOW HIGH",
    default=None,
    callback=_window,
    help="Compute BD-rates only between these rates in bits per pixel: points outside are dropped, and a point is "
    "interpolated at each end that a curve extends beyond.",
)
@click.option(
    "--repeat", type=click.IntRange(1), default=3, help="Number of timed runs of each encoding; the median is reported."
)
@click.option(
    "--showcase",
    type=click.IntRange(0),
    default=2,
    help="Number of pictures that the page shows side by side at equal size: those where the first codec is furthest "
    "behind.",
)
@click.option(
    "--jobs", type=click.IntRange(1), default=1, help="Number of processes. With more than one, times are unreliable."
)
@click.option(
    "--threads", type=click.IntRange(1), help="Threads of each process.  [default: the processors, divided by --jobs]"
)
@click.option(
    "--quick",
    is_flag=True,
    help=f"Take minutes, more of them for large pictures: {QUICK_PICTURES} of the pictures, {QUICK_SETTINGS} settings "
    "of each codec, each timed once, one picture shown, only PSNR and SSIMULACRA 2, no published curves.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("bench"),
    help="Folder for the results. Measurements of an earlier run there with the same options are reused.",
)
@QUIET
def bench(
    pictures: tuple[Path, ...],
    dataset: str | None,
    data_dir: Path | None,
    codecs: tuple[str, ...] | None,
    qualities: tuple[int, ...],
    preset: str,
    weights: Path | None,
    device: str,
    anchors: tuple[str, ...],
    metrics: tuple[str, ...] | None,
    method: Any,
    window: tuple[float, float] | None,
    repeat: int,
    showcase: int,
    jobs: int,
    threads: int | None,
    quick: bool,
    out: Path,
) -> None:
    """Measure rate, distortion, speed and memory of dcacodec and other codecs on real files.

    PICTURES are files and folders. The results are printed and written to a folder: report.txt, index.html, plots,
    curves (JSON in CompressAI's format), samples.csv (every picture), bd-rate.json and results.json (everything). The
    exit code is 1 if a codec failed on a picture; all other results are still written.
    """
    if dataset is not None and pictures:
        raise click.UsageError("--dataset and PICTURES exclude each other.")
    if quick and set(anchors) - {"none"}:
        raise click.UsageError("--quick and --anchor exclude each other: a published curve needs all pictures.")
    _check_packages()

    from dcacodec.bench.codec import CodecOptions
    from dcacodec.bench.report import write_report
    from dcacodec.bench.run import BenchPlan, run, spaced
    from dcacodec.bench.run import showcase as show
    from dcacodec.bench.store import Journal
    from dcacodec.errors import UnknownNameError

    chosen_metrics = _metrics(metrics or (("psnr", "ssimulacra2") if quick else None))
    options = CodecOptions(preset, weights, device, threads or max(1, cores() // jobs), tuple(map(float, qualities)))
    folders = [folder for folder in (data_dir, os.environ.get("DCACODEC_DATA")) if folder]
    data_folders = [Path(folder) for folder in folders]
    quiet = is_quiet()
    try:
        opened = _codecs(codecs, options)
        settings = {codec.name: codec.settings for codec in opened}
        if quick:
            spread = {name: spaced(len(each), QUICK_SETTINGS) for name, each in settings.items()}
            settings = {name: tuple(settings[name][i] for i in chosen) for name, chosen in spread.items()}
        measured = _dataset(pictures, dataset, data_folders, quiet)
        published = _anchors(("none",) if quick else anchors, measured.name, list(settings), data_folders)
    except UnknownNameError as error:
        raise click.UsageError(f"{error}.") from error
    if quick:
        repeat, showcase = 1, min(showcase, 1)
        chosen = tuple(measured.pictures[i] for i in spaced(len(measured.pictures), QUICK_PICTURES))
        measured = type(measured)(measured.name, chosen)
    for codec in opened:  # so that missing files are reported before anything is measured
        for setting in settings[codec.name]:
            codec.prepare(setting)
    out.mkdir(parents=True, exist_ok=True)

    plan = BenchPlan(measured, opened, settings, options, published, chosen_metrics, repeat, jobs, quiet)
    results = run(plan, Journal(out / "journal.jsonl"), _warn)
    exhibits = show(plan, results, showcase, _warn) if showcase else ()
    print_result(write_report(results, exhibits, out, method, window).removesuffix("\n"))
    if results.failures:
        raise click.exceptions.Exit(1)


def _check_packages() -> None:
    from importlib.util import find_spec

    from dcacodec.errors import BenchError

    if missing := [name for name in ("bjontegaard", "jinja2", "matplotlib", "pooch") if find_spec(name) is None]:
        raise BenchError(f"not installed: {', '.join(missing)}; install them with: pip install 'dcacodec[bench]'")


def _metrics(names: tuple[str, ...] | None) -> tuple[str, ...]:
    from dcacodec.bench.metrics import METRICS, installed_metrics
    from dcacodec.errors import BenchError

    if names is None:
        return installed_metrics()
    if unknown := [name for name in names if name not in METRICS]:
        raise click.BadParameter(f"{unknown[0]} is not one of {', '.join(METRICS)}.", param_hint="'--metrics'")
    for name in names:
        if missing := METRICS[name].missing():
            raise BenchError(f"{name} needs {missing}")
    return tuple(metric for metric in METRICS if metric in names)


def _codecs(names: tuple[str, ...] | None, options: CodecOptions) -> tuple[BenchCodec, ...]:
    from dcacodec.bench.codecs import available, open_codec

    return tuple(open_codec(name, options) for name in names or available())


def _dataset(pictures: tuple[Path, ...], name: str | None, data_folders: list[Path], quiet: bool) -> Dataset:
    from dcacodec.bench.datasets import files_dataset, named_dataset, packaged

    if pictures:
        title = pictures[0].resolve().name
        return files_dataset(title if len(pictures) == 1 else f"{len(pictures)} sources", pictures, quiet)
    if name is not None and name not in packaged() and Path(name).is_dir():  # such a folder is ./kodak
        return files_dataset(Path(name).resolve().name, [Path(name)], quiet)
    return named_dataset(name or "kodak", data_folders, _warn, quiet)


def _anchors(names: tuple[str, ...], dataset: str, codecs: list[str], data_folders: list[Path]) -> tuple[Anchor, ...]:
    """The published curves that were asked for, or the default ones that are available and not measured here."""
    from dcacodec.bench.anchors import DEFAULTS, find_anchor
    from dcacodec.errors import DcaError

    if names:
        return tuple(find_anchor(name, dataset, data_folders) for name in names if name != "none")
    found = []
    for name in DEFAULTS.get(dataset, ()):
        if name in codecs:
            continue
        try:
            found.append(find_anchor(name, dataset, data_folders))
        except (DcaError, OSError) as error:
            _warn(f"the published curve {name} is not available: {error}")
    return tuple(found)
