"""The command `dcacodec`: thin, over `images`, `codec` and `container`.

Nothing heavy (torch, NumPy, Pillow) is imported before a command needs it, so that `--help` and `info` are instant.
"""

import errno
import importlib
import json
import math
import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NoReturn

import click
from click.shell_completion import CompletionItem, get_completion_class

from dcacodec._version import __version__
from dcacodec.bounded import read_container
from dcacodec.container import describe, parse
from dcacodec.errors import DcaError, UnknownModel, reason
from dcacodec.shell import (
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
    VERBOSE,
    check_targets,
    is_quiet,
    is_verbose,
    note,
    one_of,
    print_result,
    silent_libraries,
    standard_output,
    tell,
    wanted_target,
    written_formats,
)

if TYPE_CHECKING:
    from dcacodec.codec import Codec

EXIT_BAD_INPUT: Final = 1
EXIT_INTERNAL: Final = 3
EXIT_INTERRUPTED: Final = 130

# Commands that are imported when they are called: name -> ("module:attribute", line in the list of commands).
_LAZY_COMMANDS: Final = {
    "batch": ("dcacodec.batch.cli:batch", "Compress many pictures, or get them back."),
    "train": ("dcacodec.training.cli:train", "Train a model on a folder of pictures."),
    "study": ("dcacodec.study.cli:study", "Compare entropy models on frozen transforms, as the paper does."),
    "publish": ("dcacodec.training.cli:publish", "Turn a training checkpoint into a weights file."),
    "bench": ("dcacodec.bench.cli:bench", "Measure rate, distortion, speed and memory beside other codecs."),
    "selftest": ("dcacodec.selftest:selftest", "Check that this machine decodes as every other does."),
}

_EPILOG: Final = """\b
Examples:
  dcacodec encode photo.png photo.dca
  dcacodec decode photo.dca back.png
  dcacodec info photo.dca
  dcacodec batch photos/ compressed/

\b
Exit codes:
  0    done
  1    a file or picture is bad, or cannot be read or written
  2    the command line is wrong
  3    internal error: please report it
  130  interrupted (129: hung up, 143: terminated); no part of a file is left behind
"""


class Failure(click.ClickException):
    """Ends the command with one line on stderr."""

    def __init__(self, message: str, exit_code: int = EXIT_BAD_INPUT) -> None:
        super().__init__(" ".join(message.split()))
        vars(self)["exit_code"] = exit_code  # some versions of Click declare it for the class alone

    def show(self, file: Any = None) -> None:
        """Print the line."""
        tell(f"dcacodec: error: {self.message}")


class _Commands(click.Group):
    """A group that imports its lazy commands on call, and turns every failure into a line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.commands, *_LAZY_COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _LAZY_COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, attribute = _LAZY_COMMANDS[cmd_name][0].split(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def _rows(self) -> list[tuple[str, str]]:
        """The commands and what is said of them in a line."""
        rows = [(name, command.get_short_help_str(limit=100)) for name, command in self.commands.items()]
        return rows + [(name, help_line) for name, (_, help_line) in _LAZY_COMMANDS.items()]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(self._rows())

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names of commands and options, without importing the lazy ones for their help."""
        rows = self._rows()
        names = [CompletionItem(name, help=help_line) for name, help_line in rows if name.startswith(incomplete)]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        try:
            return super().make_context(*arguments, **options)
        except BrokenPipeError:
            raise  # as below
        except OSError as error:  # help or version, to a disk that is full
            raise _failure(error) from error

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _notices_on_stderr(everything=ctx.params["debug"]):
                result = super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, BrokenPipeError):
            raise  # Click ends these well: a pipe that nobody reads any more is no news
        except (Exception, KeyboardInterrupt) as error:
            if ctx.params["debug"]:
                raise
            _end_if_told(ctx)
            raise _failure(error) from error
        _end_if_told(ctx)
        return result


def _end_if_told(context: click.Context) -> None:
    """End the process where a signal wants that, and its exception was lost."""
    ending = context.find_object(_Ending)
    if ending is not None and ending.number:
        raise SystemExit(128 + ending.number)


def _failure(error: Exception | KeyboardInterrupt) -> Failure:
    """The one line for an exception."""
    if isinstance(error, KeyboardInterrupt):
        return Failure("interrupted", EXIT_INTERRUPTED)
    if isinstance(error, MemoryError | DcaError | OSError):
        return Failure(reason(error))
    return Failure(f"{reason(error)} ('dcacodec --debug ...' shows where)", EXIT_INTERNAL)


@contextmanager
def _notices_on_stderr(everything: bool) -> Iterator[None]:
    """Print the package's own warnings as one line each; those of other packages only where `everything` is wanted."""

    def show(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
    ) -> None:
        if everything or category.__module__.startswith("dcacodec."):
            note(f"dcacodec: notice: {message}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


@contextmanager
def _about(name: str, stream: str = "standard input") -> Iterator[None]:
    """Put the name of the file, or of the stream that '-' stands for, in front of an error that is about it."""
    try:
        yield
    except DcaError as error:
        raise Failure(f"{_shown(name, stream)}: {error}") from error


def _shown(name: str, stream: str) -> str:
    return stream if name == "-" else name


# That a file cannot be read is told when it is opened: as an error about it, not about the command line.
_IN: Final = click.argument("source", metavar="IN", type=click.Path(allow_dash=True, readable=False))
_OUT: Final = click.argument("target", metavar="OUT", type=click.Path(allow_dash=True, readable=False))


def _region(context: click.Context, option: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """The four numbers of --region."""
    if text is None:
        return None
    numbers = text.split(",")
    if len(numbers) != 4 or not all(re.fullmatch("[0-9]{1,9}", number) for number in numbers):
        raise click.BadParameter(f"{text!r} is not four whole numbers X,Y,W,H from 0 on.")
    return tuple(map(int, numbers))


_JSON: Final = click.option(
    "--json", "as_json", is_flag=True, help="Print what was done as one JSON object on standard output."
)
_SCALES: Final = {"1": 1, "1/2": 2, "1/4": 4, "1/8": 8}


@click.group(cls=_Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="dcacodec %(version)s")
@click.option("--debug", is_flag=True, help="Show all warnings, and where an error came from.")
@QUIET
@VERBOSE
def cli(debug: bool) -> None:
    """Compress pictures with a learned codec, and get them back.

    IN and OUT are files, or '-' for standard input and output. An OUT that exists is replaced once the new content is
    complete. Results go to standard output, all else to standard error. --quiet and --verbose may stand before the
    command, and after it where it has them as well.
    """


@cli.command(
    epilog="""\b
Examples:
  dcacodec encode photo.png photo.dca
  dcacodec encode --quality 80 scan.tif scan.dca
  dcacodec encode --effort 20 photo.png photo.dca
  dcacodec encode --target-size 200KB photo.png photo.dca
  dcacodec encode --strip - - < photo.jpg > photo.dca
  dcacodec encode --json photo.png photo.dca | jq .bpp
"""
)
@_IN
@_OUT
@QUALITY
@EFFORT
@TARGET_BPP
@TARGET_SIZE
@TARGET_PSNR
@STRIP
@_JSON
@PRESET
@DEVICE
@MAX_PIXELS
@QUIET
@VERBOSE
@click.pass_context
def encode(
    context: click.Context,
    source: str,
    target: str,
    quality: int,
    effort: int,
    target_bpp: float | None,
    target_size: int | None,
    target_psnr: float | None,
    strip: bool,
    as_json: bool,
    preset: str,
    device: str,
    max_pixels: int,
) -> None:
    """Compress the picture IN to the .dca file OUT.

    Transparency is kept without loss, and so are the ICC profile, EXIF and XMP data, unless --strip. The picture is
    turned upright. An OUT with the name of a picture, such as b.png, is refused.

    With a target, several qualities are tried, seven to nine, and standard error tells which was taken. Where none
    keeps to the target, the file that comes nearest is written all the same.

    --json, for which OUT must be a file, has the keys source, target, width, height, quality, bytes, bpp and seconds
    (of encoding); with a target also kept, whether it is kept to, tries, and for --target-psnr psnr.
    """
    _check_files(source, target)
    _check_json(as_json, target)
    check_targets(context)
    from PIL import Image

    from dcacodec.images import has_picture_suffix, read_picture

    if target != "-" and has_picture_suffix(Path(target)):
        raise click.UsageError(f"OUT, {target}, has the name of a picture; what is written is a .dca file.")
    # Pillow has a limit of its own, for programs that set none. Here --max-pixels holds.
    Image.MAX_IMAGE_PIXELS = None
    with _about(source), _opened(source) as file, silent_libraries(unless=context.find_root().params["debug"]):
        picture = read_picture(file, max_pixels or None)
    if strip:
        picture = picture.stripped()

    from dcacodec.codec import Codec
    from dcacodec.ratecontrol import encode_to, outcome

    aim = wanted_target(target_bpp, target_size, target_psnr)
    codec = Codec.load(preset, device)
    _introduce(codec)
    start = time.perf_counter()
    if aim is None:
        with _progress("round" if effort else "slice") as progress:
            data = codec.encode(picture, quality, progress, effort=effort)
    else:
        with _progress("try") as progress:
            result = encode_to(codec, picture, aim, progress, effort=effort)
        data = result.data
    seconds = time.perf_counter() - start
    _write(target, lambda file: file.write(data))
    if aim is not None:
        note(f"quality {result.quality}: {outcome(aim, result, picture)}")
    size, bpp = (picture.width, picture.height), len(data) * 8 / (picture.width * picture.height)
    if as_json:
        taken = quality if aim is None else result.quality
        search: dict[str, object] = {} if aim is None else {"kept": result.kept, "tries": result.tries}
        if aim is not None and result.psnr is not None:
            search["psnr"] = result.psnr if math.isfinite(result.psnr) else None
        _print_json(source, target, size, seconds, quality=taken, bytes=len(data), bpp=bpp, **search)
    _say(source, target, f"{len(data)} bytes {bpp:.3f} bpp {seconds:.2f} s")


@cli.command(
    epilog="""\b
Examples:
  dcacodec decode photo.dca photo.png
  dcacodec decode photo.dca - --format ppm | display
  dcacodec decode --region 2000,1500,640,480 huge.dca part.png
  dcacodec decode --scale 1/8 huge.dca preview.png
"""
)
@_IN
@_OUT
@click.option(
    "--format",
    "format_name",
    metavar="NAME",
    shell_complete=one_of(written_formats),
    help="png, tiff, webp (lossless), ppm, pgm or bmp.  [default: by the suffix of OUT; png for '-']",
)
@click.option(
    "--region",
    metavar="X,Y,W,H",
    callback=_region,
    help="Decode only the rectangle of W x H pixels whose left upper pixel is X, Y. Takes as long as what it touches.",
)
@click.option(
    "--scale",
    type=click.Choice(list(_SCALES)),
    default="1",
    show_default=True,
    help="Make the picture that much smaller, its sides rounded up.",
)
@_JSON
@DEVICE
@MAX_PIXELS
@QUIET
@VERBOSE
def decode(
    source: str,
    target: str,
    format_name: str | None,
    region: tuple[int, int, int, int] | None,
    scale: str,
    as_json: bool,
    device: str,
    max_pixels: int,
) -> None:
    """Turn the .dca file IN back into a picture, OUT.

    The suffix of OUT tells the format; none of them loses anything. A file that is damaged, cut off, or made with
    weights that this installation does not have is an error, and OUT stays as it was.

    --json, for which OUT must be a file, has the keys source, target, width, height (of OUT), format and seconds (of
    decoding).
    """
    _check_files(source, target)
    _check_json(as_json, target)
    from dcacodec.images import FORMATS, format_for, write_picture
    from dcacodec.slices import Grid

    try:
        chosen = format_name or ("png" if target == "-" else format_for(target))
    except DcaError as error:
        raise click.UsageError(f"{target}: {error}") from error
    if chosen not in FORMATS:
        raise click.BadParameter(f"{chosen} is not one of {', '.join(FORMATS)}.", param_hint="'--format'")
    limit = max_pixels or None
    data = _read(source, limit)
    with _about(source):
        # A bad file is told before torch is loaded.
        header = parse(data, limit).header
        if region is not None:
            Grid(header).region(*region)

        from dcacodec.codec import Codec

        codec = Codec.load_for(data, device, limit)
        _introduce(codec)
        start = time.perf_counter()
        with _progress() as progress:
            picture = codec.decode(data, limit, region=region, scale=_SCALES[scale], progress=progress)
        seconds = time.perf_counter() - start
    with _about(target, "standard output"):
        _write(target, lambda file: write_picture(picture, file, chosen))
    if as_json:
        _print_json(source, target, (picture.width, picture.height), seconds, format=chosen)
    _say(source, target, f"{picture.width}x{picture.height} pixels {seconds:.2f} s")


@cli.command(
    epilog="""\b
Examples:
  dcacodec info photo.dca
  dcacodec info --json photo.dca
"""
)
@click.argument("source", metavar="FILE", type=click.Path(allow_dash=True, readable=False))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@MAX_PIXELS
def info(source: str, as_json: bool, max_pixels: int) -> None:
    """Tell what is in a .dca file, without decoding it.

    That is: version, weights, size, colour mode, quality, slices, and the bytes of each part. --json has the same
    under the keys version, fingerprint, weights (null where they are not installed), width, height, mode, alpha,
    quality, slices, slice_size, streams, chunks, overhead_bytes, file_bytes and bpp.
    """
    limit = max_pixels or None
    data = _read(source, limit)
    with _about(source):
        facts = describe(parse(data, limit), len(data))
    facts["weights"] = _weights_name(facts["fingerprint"])
    if as_json:
        print_result(json.dumps(facts))
        return
    alpha = " with alpha" if facts["alpha"] else ""
    size = facts["slice_size"]
    slices = f"{facts['slices']} of up to {size}x{size} pixels" if size else "1, the whole picture"
    rows = [
        ("format", f"version {facts['version']}"),
        ("weights", f"{facts['fingerprint']}, {facts['weights'] or 'which this installation does not have'}"),
        ("picture", f"{facts['width']}x{facts['height']} {facts['mode']}{alpha}, quality {facts['quality']}"),
        ("file", f"{facts['file_bytes']} bytes, {facts['bpp']:.3f} bpp"),
        ("slices", slices),
        *((f"stream {name}", f"{count} bytes") for name, count in facts["streams"].items()),
        *((f"chunk {chunk['tag']}", f"{chunk['bytes']} bytes") for chunk in facts["chunks"]),
        ("overhead", f"{facts['overhead_bytes']} bytes"),
    ]
    for name, value in rows:
        print_result(f"{name:<12}{value}")


@cli.command(
    epilog="""\b
Examples:
  eval "$(dcacodec completion bash)"                               for this shell, or as a line of ~/.bashrc
  eval "$(dcacodec completion zsh)"                                or of ~/.zshrc, after compinit
  dcacodec completion fish > ~/.config/fish/completions/dcacodec.fish
"""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that makes SHELL complete commands, options and the names of files."""
    kind = get_completion_class(shell)
    assert kind is not None  # Click has these three
    print_result(kind(cli, {}, "dcacodec", "_DCACODEC_COMPLETE").source())


def _introduce(codec: "Codec") -> None:
    """With --verbose: what codes."""
    if is_verbose():
        name = _weights_name(codec.weights.fingerprint.hex())
        tell(f"weights {name}, device {codec.device}, entropy coder {codec.coder.name}")


def _weights_name(fingerprint: str) -> str | None:
    """The name of the weights file of this fingerprint (8 hex digits), None where this installation has none."""
    from dcacodec.zoo import by_fingerprint

    try:
        return by_fingerprint(fingerprint).path.name
    except UnknownModel:
        return None


def _check_files(source: str, target: str) -> None:
    """Refuse before any work what would fail, or do harm, after it."""
    from dcacodec.files import is_same_file

    if target == "-":
        if sys.stdout is None:
            raise Failure("standard output is closed")
        if sys.stdout.isatty():
            raise click.UsageError("OUT is '-', but standard output is a terminal.")
        return
    folder = Path(target).parent
    if not folder.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
    if os.path.isdir(target) or target.endswith(("/", os.sep)):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
    if source != "-" and is_same_file(source, target):
        raise click.UsageError("IN and OUT are the same file.")


def _check_json(as_json: bool, target: str) -> None:
    """Refuse to write a picture and an object to the same place."""
    if as_json and target == "-":
        raise click.UsageError("with --json, OUT cannot be '-': standard output takes the object.")


def _print_json(source: str, target: str, size: tuple[int, int], seconds: float, **facts: object) -> None:
    """What was done, as an object on a line."""
    row = {"source": source, "target": target, "width": size[0], "height": size[1], **facts, "seconds": seconds}
    print_result(json.dumps(row))


@contextmanager
def _opened(source: str) -> Iterator[BinaryIO]:
    if source == "-":
        if sys.stdin is None:
            raise Failure("standard input is closed")
        yield sys.stdin.buffer
    else:
        with open(source, "rb") as file:
            yield file


def _read(source: str, max_pixels: int | None) -> bytes:
    """The bytes of a `.dca` file."""
    with _about(source), _opened(source) as file:
        return read_container(file, max_pixels)


def _write(target: str, write: Callable[[BinaryIO], object]) -> None:
    from dcacodec.files import write_atomically

    if target != "-":
        write_atomically(target, write)
        return
    with standard_output() as file:
        write(file)


@contextmanager
def _progress(unit: str = "slice") -> Iterator[Callable[[int, int], None]]:
    """Shows how far work of several steps has come, where standard error is a terminal."""
    from tqdm import tqdm

    with ExitStack() as stack:
        bars: list[tqdm[NoReturn]] = []

        def show(done: int, total: int) -> None:
            if total > 1 and not bars:
                bar = tqdm(total=total, unit=unit, leave=False, disable=is_quiet() or None)
                bars.append(stack.enter_context(bar))
            for bar in bars:
                bar.update(done - bar.n)

        yield show


def _say(source: str, target: str, facts: str) -> None:
    note(f"{_shown(source, 'stdin')} -> {_shown(target, 'stdout')} {facts}")


class _Ending:
    """What a signal that ends the process calls: it becomes an exception, so that files are cleaned up.

    Attributes:
        number: of the signal, once it has come. The exception may have been lost: while a library is loaded, some of
            its code catches all there is.
    """

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, number: int, frame: FrameType | None) -> NoReturn:
        self.number = number
        raise SystemExit(128 + number)


def main() -> None:
    """Entry point of the command."""
    ending = _Ending()
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, ending)
    if sys.stderr is None:  # closed; what others write to it must reach neither standard output nor a file
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    # Threads that wait by spinning slow each other down tenfold on a machine that is busy with something else.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    cli.main(prog_name="dcacodec", obj=ending)
