"""Rate and distortion of dcacodec on a folder of pictures, from real files, and BD-rates against other codecs.

Every picture is coded at every quality into a file, whose size counts, and decoded from that file, whose pixels count.
The metrics and their conventions are those of :mod:`dcacodec.bench.metrics`: bits per pixel of the whole file, PSNR
over all RGB samples of the 8-bit picture, and a point of the curve is the mean of both over the pictures. Anchors are
files of CompressAI's results format; what this writes with --out is one, too. Needs the extra `bench`::

    python benchmarks/kodak.py kodak/ --qualities 5,20,35,50,65,80,95 --anchor vtm.json --anchor jpeg.json

Exits with 1 where quality does not do what it should: bytes and PSNR, means over the pictures, must rise with it.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

from dcacodec.bench.metrics import METHODS, Curve, bd_rate, falls, load_anchor, psnr
from dcacodec.container import STREAMS, parse
from dcacodec.errors import DcaError
from dcacodec.images import Picture, read_picture

if TYPE_CHECKING:
    from dcacodec.codec import Codec


@dataclass(frozen=True)
class Measurement:
    """One picture at one quality, or the mean of several.

    Attributes:
        bpp: bits per pixel of the whole file.
        psnr: dB.
        encode, decode: seconds of wall time, without reading and writing files.
        streams: bits per pixel of each of the seven streams.
    """

    bpp: float
    psnr: float
    encode: float
    decode: float
    streams: tuple[float, ...]

    @property
    def overhead(self) -> float:
        """Bits per pixel that are in no stream."""
        return self.bpp - sum(self.streams)

    @staticmethod
    def mean(parts: Sequence[Measurement]) -> Measurement:
        """The mean, field by field."""
        streams = tuple(fmean(values) for values in zip(*(part.streams for part in parts), strict=True))
        plain = [field.name for field in fields(Measurement) if field.name != "streams"]
        return Measurement(**{name: fmean(getattr(part, name) for part in parts) for name in plain}, streams=streams)


@dataclass(frozen=True)
class Setting:
    """What codes, and where its files go while they are measured. Plain values: it is sent to the worker processes."""

    preset: str
    weights: Path | None
    device: str
    threads: int
    folder: Path


@lru_cache(maxsize=1)
def _codec(setting: Setting) -> Codec:
    """The codec of a process."""
    import torch

    from dcacodec.codec import Codec, choose_device
    from dcacodec.weights import read_weights

    torch.set_num_threads(setting.threads)
    if setting.weights is None:
        return Codec.load(setting.preset, setting.device)
    return Codec(read_weights(setting.weights), choose_device(setting.device))


def measure(setting: Setting, path: Path, quality: int) -> Measurement:
    """Code a picture to a file and back."""
    codec = _codec(setting)
    original = read_picture(path)
    plain = Picture(original.pixels, original.gray)  # no alpha plane, no metadata: they are not what is measured
    coded = setting.folder / f"{path.stem}-{quality}.dca"
    begin = time.perf_counter()
    data = codec.encode(plain, quality)
    encoded = time.perf_counter()
    coded.write_bytes(data)
    size, data = coded.stat().st_size, coded.read_bytes()
    coded.unlink()
    ready = time.perf_counter()
    decoded = codec.decode(data, None).pixels
    end = time.perf_counter()
    bits = 8 / (plain.width * plain.height)
    streams = tuple(len(stream) * bits for stream in parse(data, None).slices[0].streams)
    return Measurement(size * bits, psnr(plain.pixels, decoded), encoded - begin, end - ready, streams)


def _work(task: tuple[Setting, Path, int]) -> tuple[Path, int, Measurement]:
    return (*task[1:], measure(*task))


def parse_qualities(text: str) -> list[int]:
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
    return sorted(qualities)


def _qualities(context: click.Context, parameter: click.Parameter, value: str) -> list[int]:
    try:
        return parse_qualities(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command(context_settings={"show_default": True})
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--qualities", default="5,20,35,50,65,80,95", callback=_qualities,
              help="A list, a range like 1-100, or both.")
@click.option("--preset", default="small", help="Which published weights.")
@click.option("--weights", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A weights file instead.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="Where the network runs.")
@click.option("--pictures", default="*.png", metavar="PATTERN", help="Which files of FOLDER.")
@click.option("--anchor", "anchors", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Results of a codec to compare with; can be given several times.")
@click.option("--window", type=(float, float), metavar="LOW HIGH",
              help="Take BD-rates between these bits per pixel only: points outside are dropped, and where a curve "
                   "goes on beyond an end, a point interpolated at this end is put in.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the results here, as JSON.")
@click.option("--name", default="dcacodec", help="Name of the curve in that file.")
@click.option("--jobs", type=click.IntRange(1), default=1, help="Processes.")
@click.option("--threads", type=click.IntRange(1), default=1, help="Threads of each.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def main(folder: Path, qualities: list[int], preset: str, weights: Path | None, device: str, pictures: str,
         anchors: tuple[Path, ...], window: tuple[float, float] | None, out: Path | None, name: str, jobs: int,
         threads: int, quiet: bool) -> None:
    """Code the pictures of FOLDER, and print rate, PSNR and BD-rates."""
    paths = sorted(folder.glob(pictures))
    if not paths:
        raise click.UsageError(f"no file of {folder} is named like {pictures}")
    try:
        curves = [load_anchor(anchor) for anchor in anchors]
    except ValueError as error:
        raise click.ClickException(str(error)) from error

    found: dict[int, dict[Path, Measurement]] = {quality: {} for quality in qualities}
    with tempfile.TemporaryDirectory(prefix="dcacodec-bench-") as scratch:
        setting = Setting(preset, weights, device, threads, Path(scratch))
        tasks = [(setting, path, quality) for path in paths for quality in qualities]
        # The processes are started anew and not forked: torch's threads do not survive a fork.
        with (
            multiprocessing.get_context("spawn").Pool(jobs) as pool,
            tqdm(total=len(tasks), unit="file", disable=quiet) as bar,
        ):
            try:
                for path, quality, measurement in pool.imap_unordered(_work, tasks):
                    found[quality][path] = measurement
                    bar.update()
            except DcaError as error:
                raise click.ClickException(str(error)) from error

    means = [Measurement.mean([found[quality][path] for path in paths]) for quality in qualities]
    click.echo(f"{len(paths)} pictures of {folder.name}, {weights.name if weights else preset}, "
               f"{jobs} x {threads} threads; means of bits per pixel of the files, PSNR in dB and times in s\n")
    click.echo("quality     bpp    PSNR  encode  decode " + "".join(f"{stream:>7}" for stream in (*STREAMS, "rest")))
    for quality, mean in zip(qualities, means, strict=True):
        parts = "".join(f"{value:7.4f}" for value in (*mean.streams, mean.overhead))
        click.echo(f"{quality:7} {mean.bpp:7.4f} {mean.psnr:7.3f} {mean.encode:7.2f} {mean.decode:7.2f} {parts}")
    if out:
        out.write_text(json.dumps(as_results(name, qualities, means, len(paths)), indent=1) + "\n", "utf-8")
    rises = _report_order(qualities, means, [[found[quality][path] for quality in qualities] for path in paths])
    if curves:
        _report_bd_rates(name, means, curves, window)
    if not rises:
        sys.exit(1)


def as_results(name: str, qualities: Sequence[int], means: Sequence[Measurement], pictures: int) -> dict[str, Any]:
    """The curve in CompressAI's results format."""
    return {
        "name": name,
        "description": f"Means over {pictures} pictures; bpp of whole files, psnr over RGB samples of 8-bit pictures.",
        "results": {
            "quality": list(qualities),
            "bpp": [mean.bpp for mean in means],
            "psnr": [mean.psnr for mean in means],
            "encoding_time": [mean.encode for mean in means],
            "decoding_time": [mean.decode for mean in means],
            **{f"bpp_{stream}": [mean.streams[i] for mean in means] for i, stream in enumerate(STREAMS)},
        },
    }


def _report_order(
    qualities: Sequence[int], means: Sequence[Measurement], each: Sequence[Sequence[Measurement]]
) -> bool:
    """Say whether rate and PSNR rise with the quality; whether the means do is the result."""
    click.echo()
    steps = len(each) * (len(means) - 1)
    good = True
    for what, attribute in (("bytes", "bpp"), ("PSNR", "psnr")):
        where = falls([getattr(mean, attribute) for mean in means])
        single = sum(len(falls([getattr(one, attribute) for one in row])) for row in each)
        places = ", ".join(f"{qualities[i]} to {qualities[i + 1]}" for i in where)
        verdict = f"DO NOT RISE from {places}" if where else "rise at every step"
        click.echo(f"{what}: the means {verdict}; of single pictures, {single} of {steps} steps do not rise")
        good &= not where
    return good


def _report_bd_rates(
    name: str, means: Sequence[Measurement], anchors: Sequence[Curve], window: tuple[float, float] | None
) -> None:
    """Print a row for each anchor: BD-rate with either interpolation, and what it was taken over."""
    limits = f"within {window[0]:g} to {window[1]:g} bpp" if window else "over the whole of both curves"
    click.echo(f"\nBD-rate of {name} (PSNR, log rate, {limits}; negative = fewer bits than the anchor)")
    click.echo("anchor                       Akima %  PCHIP %  PSNR in common    bpp of anchor   bpp of test")
    try:
        curve = Curve(name, tuple(mean.bpp for mean in means), tuple(mean.psnr for mean in means))
    except ValueError as error:
        click.echo(f"none: {error}")
        return
    for anchor in anchors:
        try:
            akima, pchip = (bd_rate(anchor, curve, method, window) for method in METHODS)
        except ValueError as error:
            click.echo(f"{anchor.name:<28} none: {error}")
            continue
        ranges = "  ".join(f"{low:6.3f}-{high:<6.3f}" for low, high in (akima.psnr, akima.anchor_bpp, akima.test_bpp))
        click.echo(f"{anchor.name:<28} {akima.percent:7.2f}  {pchip.percent:7.2f}  {ranges}")


if __name__ == "__main__":
    main()
