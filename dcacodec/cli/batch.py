"""The command `dcacodec batch`."""

import json
import os
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource

from dcacodec.batch.plan import DCA_SUFFIX, Plan, larger_than, make_plan, of_other_quality, remove_leftovers
from dcacodec.batch.report import Report
from dcacodec.batch.work import Decoding, Encoding, MakeWorker, Outcome, Outcomes
from dcacodec.cli.console import is_quiet, is_verbose, note, print_result, tell
from dcacodec.cli.options import (
    DEVICE,
    EFFORT,
    MAX_PIXELS,
    PRESET,
    QUALITY,
    QUIET,
    STRIP,
    TARGET_BPP,
    TARGET_PSNR,
    TARGET_SIZE,
    TARGET_SSIMULACRA2,
    TUNE,
    VERBOSE,
    check_targets,
    cores,
    one_of,
    wanted_target,
    written_formats,
)
from dcacodec.errors import BatchError
from dcacodec.network.config import Tuning

_ENCODING_ONLY: Final = (
    "quality",
    "effort",
    "target_bpp",
    "target_size",
    "target_psnr",
    "target_ssimulacra2",
    "tune",
    "preset",
    "strip",
    "keep_suffix",
)
NO_SPACE: Final = "stopped, as no space is left; the same command does the rest once there is some"
_MOST_FULL: Final = 2
"""So many files in a row for which there is no space end a batch. A single one may just be large."""
_MOST_JOBS: Final = 8
"""Without --jobs: each takes some 350 MB, and more for large pictures."""
_DRIVERS: Final = ("/dev/nvidiactl", "/dev/nvhost-ctrl", "/dev/dxg", "/dev/kfd")
"""Of these one is there where Linux can have a GPU for PyTorch."""
_MOST_REFINING: Final = 2
"""With --effort: each may take 3 GB."""


@click.command(
    epilog="""\b
Examples:
  dcacodec batch photos/ compressed/
  dcacodec batch --quality 70 --jobs 4 'photos/**/*.tif' scans/ compressed/
  dcacodec batch --target-size 200KB photos/ compressed/
  dcacodec batch --decode compressed/ pictures/
  dcacodec batch --json photos/ compressed/ | jq .saved_percent
  dcacodec batch --ray auto photos/ compressed/

\b
Exit codes:
  0    all files are done, now or before
  1    some failed, a line for each; all others are done, but where no space is
       left: then the same command does the rest
  2    the command line is wrong
  130  interrupted (143: terminated): the same command does the rest
"""
)
@click.argument("sources", metavar="SRC...", nargs=-1, required=True, type=click.Path())
@click.argument("folder", metavar="DST", type=click.Path(path_type=Path))
@click.option("--decode", "decoding", is_flag=True, help="From .dca files to pictures.")
@QUALITY
@EFFORT
@TARGET_BPP
@TARGET_SIZE
@TARGET_PSNR
@TARGET_SSIMULACRA2
@TUNE
@PRESET
@STRIP
@click.option("--keep-suffix", is_flag=True, help="a.png becomes a.png.dca, beside the a.jpg.dca of a.jpg.")
@click.option(
    "--format",
    "format_name",
    metavar="NAME",
    shell_complete=one_of(written_formats),
    help="With --decode: png, tiff, webp (lossless), ppm, pgm or bmp.  [default: png]",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"How many processes code at a time. [default: the processors, {_MOST_JOBS} at most, "
    f"{_MOST_REFINING} with --effort; 1 on a GPU]",
)
@click.option("--force", is_flag=True, help="Code anew what is there already, for another quality or target, say.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as a JSON object on standard output.")
@click.option(
    "--ray",
    "address",
    metavar="ADDRESS",
    help="Let a Ray cluster do it: HOST:PORT, auto for the one that this machine is in, or local to start one here. "
    "All its machines must have SRC and DST under the same names. Needs: pip install 'dcacodec[ray]'.",
)
@DEVICE
@MAX_PIXELS
@QUIET
@VERBOSE
@click.pass_context
def batch(
    context: click.Context,
    sources: tuple[str, ...],
    folder: Path,
    decoding: bool,
    quality: int,
    effort: int,
    target_bpp: float | None,
    target_size: int | None,
    target_psnr: float | None,
    target_ssimulacra2: float | None,
    tune: Tuning | None,
    preset: str,
    strip: bool,
    keep_suffix: bool,
    format_name: str | None,
    jobs: int | None,
    force: bool,
    as_json: bool,
    address: str | None,
    device: str,
    max_pixels: int,
) -> None:
    """Compress all pictures of SRC... into the folder DST, or with --decode get them back.

    A SRC is a folder, a file, or a pattern in quotes (*, ?, [...], and ** for any number of folders). What lies in a
    folder is looked for by the suffix of its name, in all folders below too, and the tree is mirrored in DST:
    SRC/a/b.png becomes DST/a/b.dca. Of a pattern, what comes before the first * is the SRC. Hidden files are left out.

    What is there already and not older than its source is skipped, so that the same command goes on after a stop and
    does what is new later. Files are written whole or not at all. Two pictures that would become one file, such as
    a.png and a.jpg without --keep-suffix, are refused before anything is done.

    With a target, each picture gets a quality of its own, found in seven to nine tries. Where none keeps to the target,
    the file that comes nearest is written all the same, and told. Two files in a row for which no space is left stop
    the batch.
    """
    from tqdm import tqdm

    from dcacodec.images.formats import OUTPUT_FORMATS, picture_suffixes

    for name, other in (*((name, decoding) for name in _ENCODING_ONLY), ("format_name", not decoding)):
        if other and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = name.removesuffix("_name").replace("_", "-")
            raise click.UsageError(f"--{option} goes {'without' if decoding else 'with'} --decode.")
    check_targets(context)
    chosen = format_name or "png"
    if chosen not in OUTPUT_FORMATS:
        raise click.BadParameter(f"{chosen} is not one of {', '.join(OUTPUT_FORMATS)}.", param_hint="'--format'")
    start = time.perf_counter()
    limit = max_pixels or None
    suffixes = {DCA_SUFFIX} if decoding else picture_suffixes()
    new_suffix = OUTPUT_FORMATS[chosen].suffixes[0] if decoding else DCA_SUFFIX
    plan = make_plan(sources, folder, suffixes, new_suffix, force, keep_suffix)
    _tell_about(plan)
    report = Report(
        len(plan.skipped), left_out=len(plan.left_out), failures=list(plan.failures), waiting=len(plan.jobs)
    )
    aim = wanted_target(target_bpp, target_size, target_psnr, target_ssimulacra2)
    already = (job.target for job in plan.skipped)
    if aim is not None:
        from dcacodec.codec.targets import QualityTarget, byte_limit

        if not isinstance(aim, QualityTarget):  # it would have to be measured
            report.above_target = larger_than(already, partial(byte_limit, aim))
    elif not decoding:
        report.other_quality = of_other_quality(already, quality)
    for count, what in (
        (report.above_target, "larger than the target"),
        (report.other_quality, f"of another quality than {quality}"),
    ):
        if count:
            note(f"dcacodec: notice: {count} of the files that are skipped are {what}; --force codes them anew")
    if removed := remove_leftovers(plan.jobs):
        note(f"dcacodec: notice: {removed} unfinished files of runs that were killed are removed")

    def outcomes() -> Outcomes:
        # Each worker of a cluster finds out for itself.
        place = _resolved(device) if plan.jobs and address is None else device
        make: MakeWorker = (
            Decoding(chosen, place, limit)
            if decoding
            else Encoding(quality, effort, tune, preset, place, limit, strip, aim)
        )
        if address is not None:
            from dcacodec.batch.cluster import run_on_ray

            return run_on_ray(plan.jobs, make, address, jobs, gpus=1 if place == "cuda" else 0)
        from dcacodec.batch.local import run_in_processes

        most = _MOST_REFINING if effort else _MOST_JOBS
        processes = min(jobs or (1 if place == "cuda" else min(cores(), most)), len(plan.jobs))
        return run_in_processes(plan.jobs, make, processes, threads=max(1, cores() // max(1, processes)))

    try:
        with (
            closing(outcomes()) as done,
            tqdm(total=len(plan.jobs), unit="file", disable=is_quiet() or None) as bar,
        ):
            full = 0
            for outcome in done:
                report.add(outcome)
                bar.update()
                if lines := _lines(outcome):
                    with tqdm.external_write_mode(file=sys.stderr):
                        for line in lines:
                            tell(line)
                full = full + 1 if outcome.full else 0
                if full == _MOST_FULL and report.waiting:
                    raise BatchError(NO_SPACE)
    finally:  # after a stop too
        report.seconds = time.perf_counter() - start
        note(report.line())
        if as_json:
            print_result(json.dumps(report.facts()))
    if report.failures:
        context.exit(1)


def _resolved(device: str) -> str:
    """What "auto" stands for. PyTorch, which takes a second to load, is asked only where a driver is."""
    if device != "auto" or (sys.platform == "linux" and not any(map(os.path.exists, _DRIVERS))):
        return device
    from dcacodec.network.device import choose_device

    return choose_device(device).type


def _tell_about(plan: Plan) -> None:
    """What there is to say of what is not done, before the rest is."""
    for text in plan.notices:
        note(f"dcacodec: notice: {text}")
    for path, why in plan.failures:
        tell(f"dcacodec: error: {path}: {why}")
    if len(plan.left_out) == 1:
        note("dcacodec: notice: 1 file is left out, as its name does not end like that of a picture")
    elif plan.left_out:
        note(
            f"dcacodec: notice: {len(plan.left_out)} files are left out, as their names do not end like those of "
            "pictures"
        )
    if is_verbose():
        for path in plan.left_out:
            tell(f"{path} left out")
        for job in plan.skipped:
            tell(f"{job.source} skipped: {job.target} is up to date")


def _lines(outcome: Outcome) -> list[str]:
    """What there is to say about a file."""
    job = outcome.job
    notices = outcome.notices if outcome.kept else (*outcome.notices, outcome.taken)
    lines = [] if is_quiet() else [f"dcacodec: notice: {job.source}: {text}" for text in notices]
    if outcome.error is not None:
        lines.append(f"dcacodec: error: {job.source}: {outcome.error}")
    elif is_verbose():
        taken = f"; {outcome.taken}" if outcome.taken and outcome.kept else ""
        lines.append(f"{job.source} -> {job.target} {outcome.bytes_out} bytes{taken}")
    return lines
