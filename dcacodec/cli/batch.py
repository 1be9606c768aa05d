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

from dcacodec.batch.existing import count_larger, count_other_quality, count_other_weights
from dcacodec.batch.plan import DCA_SUFFIX, Job, Plan, make_plan
from dcacodec.batch.report import Report
from dcacodec.batch.work import Decoding, Encoding, MakeWorker, Outcome, Outcomes
from dcacodec.cli.console import (
    is_quiet,
    is_verbose,
    print_error,
    print_line,
    print_note,
    print_result,
    print_warning,
)
from dcacodec.cli.options import (
    ALLOW_HDR,
    DEVICE,
    EFFORT,
    KEEP_HIDDEN,
    LOSSLESS,
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
    format_option,
    wanted_target,
)
from dcacodec.errors import BatchError
from dcacodec.files.temporary import remove_leftovers
from dcacodec.network.config import Tuning
from dcacodec.weights.registry import by_preset

_ENCODING_ONLY: Final = (
    "effort",
    "target_bpp",
    "target_size",
    "target_psnr",
    "target_ssimulacra2",
    "lossless",
    "keep_hidden",
    "tune",
    "preset",
    "strip",
    "allow_hdr",
    "keep_suffix",
)
NO_SPACE: Final = "stopped: no space left on the device; run the same command again to resume"
_MAX_DISK_FULL: Final = 2
"""Files in a row that fail for lack of space before the batch is stopped. A single one may just be large."""
_MAX_JOBS: Final = 8
"""Default limit of --jobs: encoding takes 350 MB a job at 0.4 megapixels, 650 MB at 1 and 900 MB at 12."""
_MAX_JOBS_REFINING: Final = 2
"""The same with --effort, where each job may take 3 GB."""
_GPU_DEVICE_FILES: Final = ("/dev/nvidiactl", "/dev/nvhost-ctrl", "/dev/dxg", "/dev/kfd")
"""Linux has one of these wherever PyTorch can have a GPU."""


def _not_empty(
    _context: click.Context, argument: click.Parameter, value: str | tuple[str, ...]
) -> str | tuple[str, ...]:
    """Refuse empty names: they would mean the current folder, and come from unset variables of a script."""
    if not all([value] if isinstance(value, str) else value):
        raise click.BadParameter(f"{argument.make_metavar(_context)} is empty.")
    return value


@click.command(
    epilog="""\b
Examples:
  dcacodec batch photos/ compressed/
  dcacodec batch --quality 70 --jobs 4 'photos/**/*.tif' scans/ compressed/
  dcacodec batch --target-size 200KB photos/ compressed/
  dcacodec batch --decode compressed/ pictures/
  dcacodec batch --decode --format jpeg --quality 90 compressed/ pictures/
  dcacodec batch --json photos/ compressed/ | jq .saved_percent
  dcacodec batch --ray auto photos/ compressed/

\b
Exit codes:
  0    all files are done, by this run or an earlier one
  1    some files failed, each with a line on standard error, or --decode left
       older pictures alone; all others are done, unless no space was left:
       then run the same command to resume
  2    invalid command line
  130  interrupted (143: terminated): run the same command to resume
"""
)
@click.argument(
    "sources", metavar="SRC...", nargs=-1, required=True, type=click.Path(readable=False), callback=_not_empty
)
@click.argument("folder", metavar="DST", type=click.Path(readable=False), callback=_not_empty)
@click.option("--decode", "decoding", is_flag=True, help="Decode .dca files to pictures.")
@QUALITY
@EFFORT
@TARGET_BPP
@TARGET_SIZE
@TARGET_PSNR
@TARGET_SSIMULACRA2
@LOSSLESS
@KEEP_HIDDEN
@TUNE
@PRESET
@STRIP
@ALLOW_HDR
@click.option(
    "--keep-suffix",
    is_flag=True,
    help="Append .dca to names instead of replacing the suffix: a.png becomes a.png.dca.",
)
@format_option(
    "With --decode: png, tiff, webp (lossless), ppm, pgm, bmp, or the lossy jpeg and avif, whose quality is a whole "
    "--quality, 75 by default.  [default: png]"
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Number of worker processes. [default: the number of processors, at most {_MAX_JOBS}, "
    f"{_MAX_JOBS_REFINING} with --effort; 1 on a GPU]",
)
@click.option(
    "--force",
    is_flag=True,
    help="Overwrite all targets: those that are up to date, for example for another quality or target, and with "
    "--decode also older pictures, even if they are the originals.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as a JSON object on standard output.")
@click.option(
    "--ray",
    "address",
    metavar="ADDRESS",
    help="Run on a Ray cluster: HOST:PORT, auto for the cluster of this machine, or local to start one here. All its "
    "machines must have SRC and DST under the same paths. Requires: pip install 'dcacodec[ray]'.",
)
@DEVICE
@MAX_PIXELS
@QUIET
@VERBOSE
@click.pass_context
def batch(
    context: click.Context,
    sources: tuple[str, ...],
    folder: str,
    decoding: bool,
    quality: float,
    effort: int,
    target_bpp: float | None,
    target_size: int | None,
    target_psnr: float | None,
    target_ssimulacra2: float | None,
    lossless: bool,
    keep_hidden: bool,
    tune: Tuning | None,
    preset: str,
    strip: tuple[str, ...],
    allow_hdr: bool,
    keep_suffix: bool,
    format_name: str | None,
    jobs: int | None,
    force: bool,
    as_json: bool,
    address: str | None,
    device: str,
    max_pixels: int,
) -> None:
    """Compress all pictures in SRC... into the folder DST, or decode them with --decode.

    A SRC is a folder, a file, or a quoted pattern (*, ?, [...], and ** for any number of folders). Folders are searched
    recursively for the suffixes of picture formats, and their tree is mirrored in DST: SRC/a/b.png becomes DST/a/b.dca.
    The tree of a pattern starts at the last folder before its first wildcard. Hidden files are ignored.

    Targets that exist and are not older than their sources are skipped. So the same command resumes an interrupted
    batch, and later encodes only what is new. Files are written atomically. If two pictures would have the same
    target, such as a.png and a.jpg without --keep-suffix, the batch is refused before anything is written.

    --decode leaves pictures alone that are older than their .dca files, as they may be the originals.

    With a target option, the quality of each picture is found by a search, which takes several encodings. If no quality
    meets the target, the nearest file is written, with a warning. If no space is left for two files in a row, the batch
    stops.
    """
    from tqdm import tqdm

    from dcacodec.images.formats import OUTPUT_FORMATS, picture_suffixes
    from dcacodec.images.writing import lossy_warning

    for name, other in (*((name, decoding) for name in _ENCODING_ONLY), ("format_name", not decoding)):
        if other and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = name.removesuffix("_name").replace("_", "-")
            raise click.UsageError(f"--{option} {'cannot be combined with' if decoding else 'requires'} --decode.")
    check_targets(context)
    chosen = format_name or "png"
    picture_quality = None
    if decoding and context.get_parameter_source("quality") is ParameterSource.COMMANDLINE:
        if not OUTPUT_FORMATS[chosen].lossy:
            raise click.UsageError(f"--quality is for lossy formats, and {chosen} is lossless.")
        if quality != (picture_quality := int(quality)):
            raise click.BadParameter(f"{quality} is not a whole number.", param_hint="'--quality'")
    start = time.perf_counter()
    limit = max_pixels or None
    suffixes = {DCA_SUFFIX} if decoding else picture_suffixes()
    new_suffix = OUTPUT_FORMATS[chosen].suffixes[0] if decoding else DCA_SUFFIX
    plan = make_plan(sources, Path(folder), suffixes, new_suffix, force=force, keep_suffix=keep_suffix)
    _report_plan(plan)
    report = Report(
        len(plan.skipped),
        kept=len(plan.kept),
        left_out=len(plan.left_out),
        failures=list(plan.failures),
        waiting=len(plan.jobs),
        decoding=decoding,
    )
    aim = wanted_target(target_bpp, target_size, target_psnr, target_ssimulacra2)
    existing = [job.target for job in plan.skipped]
    if not decoding:
        report.other_weights = count_other_weights(existing, by_preset(preset, tune).fingerprint)
    if aim is not None:
        from dcacodec.codec.targets import QualityTarget, byte_limit

        if not isinstance(aim, QualityTarget):  # their quality would have to be measured
            report.above_target = count_larger(existing, partial(byte_limit, aim))
    elif not decoding:
        report.other_quality = count_other_quality(existing, None if lossless else quality)
    for count, what in (
        (report.other_weights, "made with other weights (--tune, --preset)"),
        (report.above_target, "larger than the target"),
        (report.other_quality, "not lossless" if lossless else f"of another quality than {quality}"),
    ):
        if count:
            verb, them = ("is", "it") if count == 1 else ("are", "them")
            print_warning(f"{count} of the skipped files {verb} {what}; --force encodes {them} again")
    if removed := remove_leftovers({job.target.parent for job in plan.jobs}):
        files = "1 unfinished file" if removed == 1 else f"{removed} unfinished files"
        print_warning(f"removed {files} of earlier runs that were killed")
    said = lossy_warning(chosen, picture_quality) if decoding and OUTPUT_FORMATS[chosen].lossy and plan.jobs else ""
    if said:
        print_warning(said)

    def outcomes() -> Outcomes:
        # Each worker of a cluster resolves "auto" for itself.
        resolved = _resolved(device) if plan.jobs and address is None else device
        make: MakeWorker = (
            Decoding(format=chosen, quality=picture_quality, device=resolved, max_pixels=limit)
            if decoding
            else Encoding(
                quality=quality,
                effort=effort,
                lossless=lossless or None,
                keep_hidden=keep_hidden,
                tune=tune,
                preset=preset,
                device=resolved,
                max_pixels=limit,
                strip=strip,
                target=aim,
                allow_hdr=allow_hdr,
            )
        )
        if address is not None:
            from dcacodec.batch.cluster import run_on_ray

            return run_on_ray(plan.jobs, make, address, workers=jobs, gpus=1 if resolved == "cuda" else 0)
        from dcacodec.batch.local import run_in_processes
        from dcacodec.coding import best_coder

        if plan.jobs:
            best_coder()  # compiled, or missed with a warning, once for all workers
        most = _MAX_JOBS_REFINING if effort else _MAX_JOBS
        processes = min(jobs or (1 if resolved == "cuda" else min(cores(), most)), len(plan.jobs))
        threads = max(1, cores() // max(1, processes))
        return run_in_processes(plan.jobs, make, processes=processes, threads=threads, retried=_report_retry)

    try:
        with (
            closing(outcomes()) as done,
            tqdm(total=len(plan.jobs), unit="file", disable=is_quiet() or None) as bar,
        ):
            disk_full = 0
            for outcome in done:
                report.add(outcome)
                bar.update()
                if lines := _lines(outcome, said):
                    with tqdm.external_write_mode(file=sys.stderr):
                        for line in lines:
                            print_line(line)
                disk_full = disk_full + 1 if outcome.disk_full else 0
                if disk_full == _MAX_DISK_FULL and report.waiting:
                    raise BatchError(NO_SPACE)
    finally:  # also where the batch is stopped
        report.seconds = time.perf_counter() - start
        print_note(report.line())
        if as_json:
            print_result(json.dumps(report.facts()))
    if report.failures or report.kept:
        context.exit(1)


def _resolved(device: str) -> str:
    """The device that "auto" stands for. PyTorch, which takes a second to import, is asked only if a driver exists."""
    if device != "auto" or (sys.platform == "linux" and not any(map(os.path.exists, _GPU_DEVICE_FILES))):
        return device
    from dcacodec.network.device import choose_device

    return choose_device(device).type


def _report_plan(plan: Plan) -> None:
    """Print which sources will not be coded, and why."""
    for text in plan.warnings:
        print_warning(text)
    for path, why in plan.failures:
        print_error(f"{path}: {why}")
    if plan.kept:
        more = f" (and {len(plan.kept) - 1} more)" if len(plan.kept) > 1 else ""
        print_error(
            f"{plan.kept[0].target}{more}: older than the .dca file and left alone: it may be the original, or decoded "
            "before the .dca file was made again; --force replaces such files"
        )
    if len(plan.left_out) == 1:
        print_warning("1 file is ignored: its suffix is not that of a picture format")
    elif plan.left_out:
        print_warning(f"{len(plan.left_out)} files are ignored: their suffixes are not those of picture formats")
    from dcacodec.images.optional import EXTRA, unread_formats

    unread, formats = unread_formats(plan.left_out)
    if unread:
        files = "1 of them is a picture" if unread == 1 else f"{unread} of them are pictures"
        print_warning(f"{files} ({', '.join(formats)}) that can be read after {EXTRA}")
    if is_verbose():
        for path in plan.left_out:
            print_line(f"{path} ignored")
        for job in plan.skipped:
            print_line(f"{job.source} skipped: {job.target} is up to date")
        for job in plan.kept:
            print_line(f"{job.source} not decoded: {job.target} is older")


def _report_retry(job: Job, how: str) -> None:
    """Print, with --verbose, that a worker has died and its file is tried again."""
    if is_verbose():
        from tqdm import tqdm

        with tqdm.external_write_mode(file=sys.stderr):
            print_line(f"{job.source}: its worker process ended ({how}); another one tries again")


def _lines(outcome: Outcome, said: str) -> list[str]:
    """The lines to print about a file: its warnings except for `said`, and its error or, with --verbose, its size."""
    job = outcome.job
    messages = outcome.warnings if outcome.target_met else (*outcome.warnings, outcome.search)
    lines = [] if is_quiet() else [f"dcacodec: warning: {job.source}: {text}" for text in messages if text != said]
    if outcome.error is not None:
        lines.append(f"dcacodec: error: {job.source}: {outcome.error}")
    elif is_verbose():
        search = f"; {outcome.search}" if outcome.search and outcome.target_met else ""
        lines.append(f"{job.source} -> {job.target} {outcome.bytes_out} bytes{search}")
    return lines
