"""The command `dcacodec bench`. Nothing heavy is imported before it runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from dcacodec.cli.console import is_quiet, print_result
from dcacodec.cli.options import DEVICE, PRESET, QUIET, cores, parse_names

if TYPE_CHECKING:
    from dcacodec.bench.codec import BenchCodec, CodecOptions
    from dcacodec.bench.datasets import Dataset
    from dcacodec.bench.results import Anchor

QUICK_PICTURES: Final = 2
QUICK_SETTINGS: Final = 3


def parse_qualities(text: str) -> tuple[int, ...]:
    """``"1-100"``, ``"5,20,35"`` or both mixed, as sorted qualities.

    Raises:
        ValueError: it says something else, or a quality outside 1..100.
    """
    qualities: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        qualities.update(range(int(first), int(last if dash else first) + 1))
    if not qualities or min(qualities) < 1 or max(qualities) > 100:
        raise ValueError(f"{text!r} are not qualities from 1 to 100")
    return tuple(sorted(qualities))


def _qualities(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        return parse_qualities(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} are not qualities from 1 to 100.") from error


def _window(context: click.Context, parameter: click.Parameter, value: Any) -> tuple[float, float] | None:
    if value is not None and not 0 < value[0] < value[1]:
        raise click.BadParameter("the first rate must be above 0 and below the second.")
    return value  # type: ignore[no-any-return]


def _tell(line: str) -> None:
    from tqdm import tqdm

    if not is_quiet():
        tqdm.write(f"dcacodec: notice: {' '.join(line.split())}", file=sys.stderr)


@click.command(
    context_settings={"show_default": True},
    epilog="""\b
Codecs:
  dcacodec            at --qualities
  dcacodec:EFFORT     the same with encode's --effort
  jpeg, jpeg-444      Pillow, 4:2:0 and 4:4:4
  jpeg2000            Pillow with OpenJPEG
  webp                Pillow with libwebp
  avif                Pillow with libavif, tuned as it is by default
  avif-psnr, avif-iq  the same with tune=psnr and tune=iq
  jxl                 the package pillow-jxl-plugin
  jpegli              the package pyjpegli
  compressai:MODEL    the package compressai, as compressai:mbt2018-mean

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
    help="A dataset by name (kodak), by a manifest, or a folder; instead of PICTURES.  [default: kodak]",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Where datasets are looked for, and published curves. Also: the environment variable DCACODEC_DATA.",
)
@click.option(
    "--codecs",
    metavar="LIST",
    callback=parse_names,
    help="What to measure, with commas; the first one is compared with the others.  "
    "[default: all that are here but CompressAI's]",
)
@click.option(
    "--qualities",
    metavar="LIST",
    default="5,20,35,50,65,80,95",
    callback=_qualities,
    help="Of dcacodec: a list, a range like 1-100, or both.",
)
@PRESET
@click.option(
    "--weights",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A weights file of dcacodec instead.",
)
@DEVICE
@click.option(
    "--anchor",
    "anchors",
    metavar="NAME|FILE|none",
    multiple=True,
    help="A published curve to compare with, by name or from a file of CompressAI's format; "
    "can be given several times.  [default for kodak: jpeg, webp, bpg and vtm, as far as they are not "
    "measured and can be had]",
)
@click.option(
    "--metrics",
    metavar="LIST",
    callback=parse_names,
    help="psnr, ms-ssim, ssimulacra2, butteraugli (with the program butteraugli_main), cvvdp (with the package), with "
    "commas.  [default: all that are installed]",
)
@click.option(
    "--method", type=click.Choice(["akima", "pchip"]), default="akima", help="How curves are interpolated for BD-rates."
)
@click.option(
    "--window",
    type=(float, float),
    metavar="LOW HIGH",
    default=None,
    callback=_window,
    help="Take BD-rates between these bits per pixel only: points outside are dropped, and where a curve "
    "goes on beyond an end, a point interpolated at this end is put in.",
)
@click.option("--repeat", type=click.IntRange(1), default=3, help="How often coding is timed; the median counts.")
@click.option(
    "--showcase",
    type=click.IntRange(0),
    default=2,
    help="How many pictures the page shows side by side, at matched bytes: those where the first codec is furthest "
    "behind.",
)
@click.option("--jobs", type=click.IntRange(1), default=1, help="Processes. More than one disturb each other's times.")
@click.option("--threads", type=click.IntRange(1), help="Threads of each.  [default: all cores, shared out]")
@click.option(
    "--quick",
    is_flag=True,
    help=f"For a minute's look: {QUICK_PICTURES} of the pictures, {QUICK_SETTINGS} settings of each codec, "
    "each timed once, one picture to look at, PSNR and SSIMULACRA 2 only, no published curves.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("bench"),
    help="Folder for the results. What an earlier run with the same options has measured there is not measured again.",
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

    PICTURES are files and folders. Prints the results, and writes them to a folder: report.txt, index.html (the page to
    look at), plots, curves (JSON in CompressAI's format), samples.csv (every picture), bd-rate.json, results.json (all
    of it). Exits with 1 if a codec failed on a picture, after all that worked was measured and written.
    """
    if dataset is not None and pictures:
        raise click.UsageError("--dataset and PICTURES exclude each other.")
    if quick and set(anchors) - {"none"}:
        raise click.UsageError("--quick measures a few of the pictures, and a published curve is about all of them.")
    _check_packages()

    from dcacodec.bench.codec import CodecOptions
    from dcacodec.bench.report import write_report
    from dcacodec.bench.run import BenchPlan, run, spaced
    from dcacodec.bench.run import showcase as show
    from dcacodec.bench.store import Journal

    chosen_metrics = _metrics(metrics or (("psnr", "ssimulacra2") if quick else None))
    options = CodecOptions(preset, weights, device, threads or max(1, cores() // jobs), tuple(map(float, qualities)))
    opened = _codecs(codecs, options)
    settings = {codec.name: codec.settings for codec in opened}
    if quick:
        settings = {name: tuple(each[i] for i in spaced(len(each), QUICK_SETTINGS)) for name, each in settings.items()}
        repeat, showcase = 1, min(showcase, 1)
    for codec in opened:  # what is missing is to be known before any work
        for setting in settings[codec.name]:
            codec.prepare(setting)
    folders = [folder for folder in (data_dir, os.environ.get("DCACODEC_DATA")) if folder]
    data_folders = [Path(folder) for folder in folders]
    quiet = is_quiet()
    measured = _dataset(pictures, dataset, data_folders, quiet)
    if quick:
        chosen = tuple(measured.pictures[i] for i in spaced(len(measured.pictures), QUICK_PICTURES))
        measured = type(measured)(measured.name, chosen)
        anchors = ("none",)
    published = _anchors(anchors, measured.name, [codec.name for codec in opened], data_folders)
    out.mkdir(parents=True, exist_ok=True)

    plan = BenchPlan(measured, opened, settings, options, published, chosen_metrics, repeat, jobs, quiet)
    results = run(plan, Journal(out / "journal.jsonl"), _tell)
    exhibits = show(plan, results, showcase, _tell) if showcase else ()
    print_result(write_report(results, exhibits, out, method, window).removesuffix("\n"))
    if results.failures:
        raise click.exceptions.Exit(1)


def _check_packages() -> None:
    from importlib.util import find_spec

    from dcacodec.errors import BenchError

    if missing := [name for name in ("bjontegaard", "jinja2", "matplotlib", "pooch") if find_spec(name) is None]:
        raise BenchError(f"not installed: {', '.join(missing)}; the extra brings them: pip install 'dcacodec[bench]'")


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
    return named_dataset(name or "kodak", data_folders, _tell, quiet)


def _anchors(names: tuple[str, ...], dataset: str, codecs: list[str], data_folders: list[Path]) -> tuple[Anchor, ...]:
    """The published curves. One that nobody asked for may be missing; one that was measured here is not needed."""
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
            _tell(f"without the published curve {name}: {error}")
    return tuple(found)
