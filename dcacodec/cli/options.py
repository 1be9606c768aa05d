"""Options that several commands share. Nothing heavy is imported here."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.core import ParameterSource

from dcacodec.codec import defaults
from dcacodec.format.container import DEFAULT_MAX_PIXELS
from dcacodec.network.config import TUNINGS
from dcacodec.weights.registry import presets

if TYPE_CHECKING:
    from dcacodec.codec.targets import Target
from dcacodec.cli.console import QUIET_KEY, VERBOSE_KEY

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _remember(context: click.Context, option: click.Parameter, chosen: bool) -> bool:
    """Keep --quiet or --verbose where all contexts of this call see it: it may stand before or after the command."""
    if chosen:
        context.meta[f"dcacodec.{option.name}"] = True
        if context.meta.get(QUIET_KEY) and context.meta.get(VERBOSE_KEY):
            raise click.UsageError("--quiet and --verbose exclude each other.", context)
    return chosen


def _flag(name: str, text: str) -> Callable[[_Command], _Command]:
    return click.option(name, is_flag=True, expose_value=False, callback=_remember, help=text)


QUIET: Final = _flag("--quiet", "Nothing on standard error but errors.")
VERBOSE: Final = _flag("--verbose", "Tell more on standard error: what codes, or a line for each file of a batch.")
QUALITY: Final = click.option(
    "-q",
    "--quality",
    type=click.IntRange(1, 100),
    default=defaults.QUALITY,
    show_default=True,
    help="1 for the smallest file, 100 for the best picture.",
)

EFFORT: Final = click.option(
    "--effort",
    type=click.IntRange(min=0),
    metavar="N",
    default=defaults.EFFORT,
    show_default=True,
    help="Number of refinement iterations, for a better picture in about as many bytes. Each takes rather longer than "
    "encoding without, and needs 1 GB of memory a megapixel. Decoding takes no longer.",
)


def one_of(names: Callable[[], Iterable[str]]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Completes the names that `names` gives, where they take something to find out."""

    def complete(context: click.Context, option: click.Parameter, incomplete: str) -> list[str]:
        return [name for name in names() if name.startswith(incomplete)]

    return complete


def written_formats() -> tuple[str, ...]:
    """The names of formats that pictures are written in."""
    from dcacodec.images.formats import OUTPUT_FORMATS

    return tuple(OUTPUT_FORMATS)


def _published(context: click.Context, option: click.Parameter, preset: str) -> str:
    """A preset that there are weights for."""
    known = presets()
    if preset not in known:
        raise click.BadParameter(f"no weights are published for {preset!r}, but for {', '.join(known)}.")
    return preset


PRESET: Final = click.option(
    "--preset",
    default=defaults.PRESET,
    show_default=True,
    callback=_published,
    shell_complete=one_of(presets),
    help="Which of the published models codes.",
)
TUNE: Final = click.option(
    "--tune",
    type=click.Choice(TUNINGS),
    help="visual for pictures that look right, psnr for the least squared error.  [default: visual]",
)
STRIP: Final = click.option(
    "--strip",
    is_flag=True,
    help="Leave out the ICC profile, without which colours may look different, EXIF and XMP data.",
)
DEVICE: Final = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where the network runs; auto takes a GPU where there is one. Any device decodes what any other encoded.",
)
MAX_PIXELS: Final = click.option(
    "--max-pixels",
    type=click.IntRange(min=0),
    metavar="N",
    default=DEFAULT_MAX_PIXELS,
    show_default=True,
    help="Refuse pictures of more pixels; 0 for no limit.",
)


_UNITS: Final = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def parse_size(context: click.Context, option: click.Parameter, text: str | None) -> int | None:
    """The bytes that an option asks for."""
    if text is None:
        return None
    parts = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,15})?) ?([a-z]*)", text.lower())
    if parts is None or parts[2] not in _UNITS or not (count := int(Decimal(parts[1]) * _UNITS[parts[2]])):
        raise click.BadParameter(f"{text!r} is not a size such as 200KB, 1.5MB, 180KiB or 200000.")
    return count


def _positive(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    """A number that is finite and above 0."""
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
    help="Instead of --quality: the largest file of at most so many bits per pixel.",
)
TARGET_SIZE: Final = click.option(
    "--target-size",
    metavar="SIZE",
    callback=parse_size,
    help="Instead of --quality: the largest file of at most SIZE, as 200KB (1000 bytes each), 180KiB or 200000.",
)
TARGET_SSIMULACRA2: Final = click.option(
    "--target-ssimulacra2",
    type=click.FloatRange(max=100),
    metavar="SCORE",
    callback=_finite,
    help="Instead of --quality: the smallest file whose picture has at least this SSIMULACRA 2. 90 is hard to tell "
    "from the original, 70 is good, 50 fair.",
)
TARGET_PSNR: Final = click.option(
    "--target-psnr",
    type=float,
    metavar="DB",
    callback=_positive,
    help="Instead of --quality: the smallest file whose picture has at least this PSNR.",
)


def check_targets(context: click.Context) -> None:
    """Refuse more than one way to say how large or good a file is to be."""
    names = [
        parameter.opts[-1]
        for parameter in context.command.params
        if parameter.name in ("quality", "target_bpp", "target_size", "target_psnr", "target_ssimulacra2")
        and context.get_parameter_source(parameter.name) is not ParameterSource.DEFAULT
    ]
    if len(names) > 1:
        raise click.UsageError(f"{' and '.join(names)} exclude each other.", context)


def wanted_target(bpp: float | None, size: int | None, psnr: float | None, ssimulacra2: float | None) -> Target | None:
    """What the option that was given, of the four, asks for; None where none was."""
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
    """A list with commas. What is there twice counts once."""
    if text is None:
        return None
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if not all(names):
        raise click.BadParameter("an empty name in the list.")
    return names


def cores() -> int:
    """How many processors this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
