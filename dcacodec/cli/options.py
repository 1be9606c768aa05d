"""Options that several commands share. Nothing heavy is imported here."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.core import ParameterSource

from dcacodec.cli.console import QUIET_KEY, VERBOSE_KEY
from dcacodec.codec import defaults
from dcacodec.errors import DcaError
from dcacodec.format.container import DEFAULT_MAX_PIXELS
from dcacodec.format.metadata import METADATA_KINDS
from dcacodec.format.quality import HIGHEST, LOWEST, nearest_quality
from dcacodec.network.config import TUNINGS
from dcacodec.weights.registry import presets

if TYPE_CHECKING:
    from dcacodec.codec.targets import Target

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _remember(context: click.Context, option: click.Parameter, chosen: bool) -> bool:
    """Store --quiet or --verbose in `meta`, which all contexts of a call share: it works before and after a command."""
    if chosen:
        context.meta[f"dcacodec.{option.name}"] = True
        if context.meta.get(QUIET_KEY) and context.meta.get(VERBOSE_KEY):
            raise click.UsageError("--quiet and --verbose exclude each other.", context)
    return chosen


def _flag(name: str, text: str) -> Callable[[_Command], _Command]:
    return click.option(name, is_flag=True, expose_value=False, callback=_remember, help=text)


QUIET: Final = _flag("--quiet", "Print only errors on standard error.")
VERBOSE: Final = _flag(
    "--verbose", "Print more on standard error: weights, device and entropy coder, or a line for each file of a batch."
)


def _quality(context: click.Context, option: click.Parameter, value: float) -> float:
    """The nearest quality that a file can have."""
    try:
        return nearest_quality(value)
    except ValueError as error:  # NaN
        raise click.BadParameter(f"{error}.") from error


QUALITY: Final = click.option(
    "-q",
    "--quality",
    type=click.FloatRange(LOWEST, HIGHEST),
    default=defaults.QUALITY,
    show_default=True,
    callback=_quality,
    help="Quality, from 1 (smallest file) to 100 (best picture), rounded to tenths (65.5).",
)
EFFORT: Final = click.option(
    "--effort",
    type=click.IntRange(min=0),
    metavar="N",
    default=defaults.EFFORT,
    show_default=True,
    help="Number of refinement iterations: they give a better picture at about the same size. Each takes about twice "
    "as long as an encoding without them. Refinement needs 1.5 GB of memory per megapixel; decoding is as fast as "
    "without it.",
)


def one_of(names: Callable[[], Iterable[str]]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """A completion callback for the names that `names` returns when it is called."""

    def complete(context: click.Context, option: click.Parameter, incomplete: str) -> list[str]:
        with suppress(DcaError):  # the command itself reports it
            return [name for name in names() if name.startswith(incomplete)]
        return []

    return complete


def written_formats() -> tuple[str, ...]:
    """The names of the formats that pictures can be written in."""
    from dcacodec.images.formats import OUTPUT_FORMATS

    return tuple(OUTPUT_FORMATS)


def _written_format(context: click.Context, option: click.Parameter, name: str | None) -> str | None:
    """The output format that --format names as such or by a suffix, in any case."""
    if name is None:
        return None
    from dcacodec.images.formats import format_of_suffix

    found = format_of_suffix(f".{name}")  # each name is a suffix, too
    if found is None:
        raise click.BadParameter(f"{name} is not one of {', '.join(written_formats())}.")
    return found


def format_option(text: str) -> Callable[[_Command], _Command]:
    """The option --format with this help."""
    return click.option(
        "--format",
        "format_name",
        metavar="NAME",
        callback=_written_format,
        shell_complete=one_of(written_formats),
        help=text,
    )


def _published(context: click.Context, option: click.Parameter, preset: str) -> str:
    """Refuse a preset without published weights."""
    known = presets()
    if preset not in known:
        raise click.BadParameter(f"no weights are published for {preset!r}, only for {', '.join(known)}.")
    return preset


ALL_KINDS: Final = "all"


def _stripped_kinds(context: click.Context, option: click.Parameter, text: str | None) -> tuple[str, ...]:
    """The kinds of metadata that --strip names."""
    names = parse_names(context, option, text) or ()
    for name in names:
        if name not in (ALL_KINDS, *METADATA_KINDS):
            raise click.BadParameter(f"{name!r} is none of {ALL_KINDS}, {', '.join(METADATA_KINDS)}.")
    return METADATA_KINDS if ALL_KINDS in names else names


PRESET: Final = click.option(
    "--preset",
    default=defaults.PRESET,
    show_default=True,
    callback=_published,
    shell_complete=one_of(presets),
    help="Published model to encode with.",
)
TUNE: Final = click.option(
    "--tune",
    type=click.Choice(TUNINGS),
    help="Tuning of the model: visual for perceived quality, psnr for the least squared error.  [default: visual]",
)
STRIP: Final = click.option(
    "--strip",
    metavar="KINDS",
    callback=_stripped_kinds,
    shell_complete=one_of(lambda: (ALL_KINDS, *METADATA_KINDS)),
    help="Metadata to drop: all, or one or several of exif, xmp and icc, separated by commas. Without its ICC profile "
    "a picture may show other colours.",
)
LOSSLESS: Final = click.option(
    "--lossless",
    is_flag=True,
    help="Instead of --quality and --effort: keep every sample exactly, also those that a transparent alpha hides.",
)
KEEP_HIDDEN: Final = click.option(
    "--keep-hidden",
    is_flag=True,
    help="Keep the colours of fully transparent pixels like all others. Without it they are replaced by colours that "
    "take fewer bytes.",
)
DEVICE: Final = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Device that runs the network; auto is a GPU if there is one. Files are decodable on any device.",
)
MAX_PIXELS: Final = click.option(
    "--max-pixels",
    type=click.IntRange(min=0),
    metavar="N",
    default=DEFAULT_MAX_PIXELS,
    show_default=True,
    help="Refuse pictures with more pixels; 0 for no limit.",
)


ALLOW_HDR: Final = click.option(
    "--allow-hdr",
    is_flag=True,
    help="Encode pictures in HDR (PQ or HLG), which are refused otherwise: 8 bits are too few for them.",
)
_UNITS: Final = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def parse_size(context: click.Context, option: click.Parameter, text: str | None) -> int | None:
    """A size such as 200KB in bytes, None where the option is not given."""
    if text is None:
        return None
    parts = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,15})?) ?([a-z]*)", text.lower())
    if parts is None or parts[2] not in _UNITS or not (count := int(Decimal(parts[1]) * _UNITS[parts[2]])):
        raise click.BadParameter(f"{text!r} is not a size such as 200KB, 1.5MB, 180KiB or 200000.")
    return count


def _positive(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    """Refuse numbers that are not positive and finite."""
    if value is not None and not 0 < value < math.inf:
        raise click.BadParameter(f"{value} is not a number above 0.")
    return value


def _finite(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number.")
    return value


TARGET_BPP: Final = click.option(
    "--target-bpp",
    type=float,
    metavar="BITS",
    callback=_positive,
    help="Instead of --quality: the largest file of at most BITS bits per pixel.",
)
TARGET_SIZE: Final = click.option(
    "--target-size",
    metavar="SIZE",
    callback=parse_size,
    help="Instead of --quality: the largest file of at most SIZE, such as 200KB (of 1000 bytes), 180KiB or 200000.",
)
TARGET_SSIMULACRA2: Final = click.option(
    "--target-ssimulacra2",
    type=click.FloatRange(max=100),
    metavar="SCORE",
    callback=_finite,
    help="Instead of --quality: the smallest file with at least this SSIMULACRA 2 score: 90 is hard to tell from the "
    "original, 70 is good, 50 fair. Measuring it takes 200 bytes of memory per pixel.",
)
TARGET_PSNR: Final = click.option(
    "--target-psnr",
    type=float,
    metavar="DB",
    callback=_positive,
    help="Instead of --quality: the smallest file with at least this PSNR, in dB.",
)


def check_targets(context: click.Context) -> None:
    """Refuse more than one of --quality, --lossless and the target options, and --effort with --lossless."""
    given = {
        parameter.name: parameter.opts[-1]
        for parameter in context.command.params
        if parameter.name and context.get_parameter_source(parameter.name) is not ParameterSource.DEFAULT
    }
    aims = ("quality", "lossless", "target_bpp", "target_size", "target_psnr", "target_ssimulacra2")
    for exclusive in (aims, ("effort", "lossless")):
        names = [option for name, option in given.items() if name in exclusive]
        if len(names) > 1:
            raise click.UsageError(f"{' and '.join(names)} exclude each other.", context)


def wanted_target(bpp: float | None, size: int | None, psnr: float | None, ssimulacra2: float | None) -> Target | None:
    """The target of the one option of the four that was given; None if none was."""
    if bpp is None and size is None and psnr is None and ssimulacra2 is None:
        return None
    from dcacodec.codec.targets import MaxBpp, MaxBytes, MinPsnr, MinSsimulacra2

    if bpp is not None:
        return MaxBpp(bpp)
    if size is not None:
        return MaxBytes(size)
    if psnr is not None:
        return MinPsnr(psnr)
    assert ssimulacra2 is not None
    return MinSsimulacra2(ssimulacra2)


def parse_names(context: click.Context, option: click.Parameter, text: str | None) -> tuple[str, ...] | None:
    """The names in a comma-separated list, without duplicates; None where the option is not given."""
    if text is None:
        return None
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if not all(names):
        raise click.BadParameter("the list contains an empty name.")
    return names


def cores() -> int:
    """The number of processors that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
