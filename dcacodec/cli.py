"""The command `dcacodec`: thin, over `images`, `codec` and `container`.

Nothing heavy (torch, NumPy, Pillow) is imported before a command needs it, so that `--help` and `info` are instant.
"""

import errno
import importlib
import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO, Final, NoReturn

import click

from dcacodec._version import __version__
from dcacodec.container import DEFAULT_MAX_PIXELS, MAGIC, describe, parse
from dcacodec.errors import DcaError

EXIT_BAD_INPUT: Final = 1
EXIT_INTERNAL: Final = 3
EXIT_INTERRUPTED: Final = 130

# Commands that are imported when they are called: name -> ("module:attribute", line in the list of commands).
_LAZY_COMMANDS: Final = {
    "train": ("dcacodec.training.cli:train", "Train a model on a folder of pictures."),
    "publish": ("dcacodec.training.cli:publish", "Turn a training checkpoint into a weights file."),
}

_EPILOG: Final = """\b
Examples:
  dcacodec encode photo.png photo.dca
  dcacodec decode photo.dca back.png
  dcacodec info photo.dca

\b
Exit codes:
  0    done
  1    a file or picture is bad, or cannot be read or written
  2    the command line is wrong
  3    internal error: please report it
  130  interrupted (143: terminated); no part of a file is left behind
"""


class Failure(click.ClickException):
    """Ends the command with one line on stderr."""

    def __init__(self, message: str, exit_code: int = EXIT_BAD_INPUT) -> None:
        super().__init__(" ".join(message.split()))
        vars(self)["exit_code"] = exit_code  # some versions of Click declare it for the class alone

    def show(self, file: Any = None) -> None:
        """Print the line."""
        click.echo(f"dcacodec: error: {self.message}", err=True)


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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, command.get_short_help_str(limit=100)) for name, command in self.commands.items()]
        rows += [(name, help_line) for name, (_, help_line) in _LAZY_COMMANDS.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

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
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, BrokenPipeError):
            raise  # Click ends these well: a pipe that nobody reads any more is no news
        except (Exception, KeyboardInterrupt) as error:
            if ctx.params["debug"]:
                raise
            raise _failure(error) from error


def _failure(error: Exception | KeyboardInterrupt) -> Failure:
    """The one line for an exception."""
    if isinstance(error, KeyboardInterrupt):
        return Failure("interrupted", EXIT_INTERRUPTED)
    if isinstance(error, MemoryError):
        return Failure("not enough memory")
    if isinstance(error, DcaError):
        return Failure(str(error))
    if isinstance(error, OSError) and error.filename is not None:
        return Failure(f"{os.fsdecode(error.filename)}: {error.strerror}")
    if isinstance(error, OSError):
        return Failure(error.strerror or str(error))
    return Failure(
        f"internal error: {type(error).__name__}: {error} ('dcacodec --debug ...' shows where)", EXIT_INTERNAL
    )


@contextmanager
def _notices_on_stderr(everything: bool) -> Iterator[None]:
    """Print the package's own warnings as one line each; those of other packages only where `everything` is wanted."""

    def show(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
    ) -> None:
        if everything or category.__module__.startswith("dcacodec."):
            _tell(f"dcacodec: notice: {message}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


@contextmanager
def _about(name: str) -> Iterator[None]:
    """Put the name of the file in front of an error that is about it."""
    try:
        yield
    except DcaError as error:
        raise Failure(f"{_shown(name, 'standard input')}: {error}") from error


def _shown(name: str, stream: str) -> str:
    return stream if name == "-" else name


_IN: Final = click.argument("source", metavar="IN", type=click.Path(allow_dash=True))
_OUT: Final = click.argument("target", metavar="OUT", type=click.Path(allow_dash=True))
_DEVICE: Final = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where the network runs; auto takes a GPU where there is one. Any device decodes what any other encoded.",
)
_MAX_PIXELS: Final = click.option(
    "--max-pixels",
    type=click.IntRange(min=0),
    metavar="N",
    default=DEFAULT_MAX_PIXELS,
    show_default=True,
    help="Refuse pictures of more pixels; 0 for no limit.",
)


@click.group(cls=_Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="dcacodec %(version)s")
@click.option("--debug", is_flag=True, help="Show all warnings, and where an error came from.")
def cli(debug: bool) -> None:
    """Compress pictures with a learned codec, and get them back.

    IN and OUT are files, or '-' for standard input and output. An OUT that exists is replaced once the new content is
    complete. Results go to standard output, all else to standard error.
    """


@cli.command(
    epilog="""\b
Examples:
  dcacodec encode photo.png photo.dca
  dcacodec encode --quality 80 scan.tif scan.dca
  dcacodec encode - - < photo.jpg > photo.dca
"""
)
@_IN
@_OUT
@click.option(
    "-q",
    "--quality",
    type=click.IntRange(1, 100),
    default=50,
    show_default=True,
    help="1 for the smallest file, 100 for the best picture.",
)
@click.option(
    "--preset", type=click.Choice(["small", "base"]), default="small", show_default=True, help="Which model codes."
)
@_DEVICE
@_MAX_PIXELS
def encode(source: str, target: str, quality: int, preset: str, device: str, max_pixels: int) -> None:
    """Compress the picture IN to the .dca file OUT.

    Transparency is kept without loss, and so are the ICC profile and the EXIF data. The picture is turned upright.
    """
    _check_files(source, target)
    from PIL import Image

    from dcacodec.images import read_picture

    # Pillow has a limit of its own, for programs that set none. Here --max-pixels holds.
    Image.MAX_IMAGE_PIXELS = None
    with _about(source), _opened(source) as file:
        picture = read_picture(file, max_pixels or None)

    from dcacodec.codec import Codec

    codec = Codec.load(preset, device)
    start = time.perf_counter()
    data = codec.encode(picture, quality)
    seconds = time.perf_counter() - start
    _write(target, lambda file: file.write(data))
    bpp = len(data) * 8 / (picture.width * picture.height)
    _say(source, target, f"{len(data)} bytes {bpp:.3f} bpp {seconds:.2f} s")


@cli.command(
    epilog="""\b
Examples:
  dcacodec decode photo.dca photo.png
  dcacodec decode photo.dca - --format ppm | display
"""
)
@_IN
@_OUT
@click.option(
    "--format",
    "format_name",
    metavar="NAME",
    help="png, tiff, webp (lossless), ppm, pgm or bmp.  [default: by the suffix of OUT; png for '-']",
)
@_DEVICE
@_MAX_PIXELS
def decode(source: str, target: str, format_name: str | None, device: str, max_pixels: int) -> None:
    """Turn the .dca file IN back into a picture, OUT."""
    _check_files(source, target)
    from dcacodec.images import FORMATS, format_for, write_picture

    with _about(target):
        chosen = format_name or ("png" if target == "-" else format_for(target))
    if chosen not in FORMATS:
        raise click.BadParameter(f"{chosen} is not one of {', '.join(FORMATS)}.", param_hint="'--format'")
    data = _read(source)
    limit = max_pixels or None
    with _about(source):
        # A bad file is told before torch is loaded.
        parse(data, limit)

        from dcacodec.codec import Codec

        codec = Codec.load_for(data, device)
        start = time.perf_counter()
        picture = codec.decode(data, limit)
        seconds = time.perf_counter() - start
    with _about(target):
        _write(target, lambda file: write_picture(picture, file, chosen))
    _say(source, target, f"{picture.width}x{picture.height} pixels {seconds:.2f} s")


@cli.command(
    epilog="""\b
Examples:
  dcacodec info photo.dca
  dcacodec info --json photo.dca
"""
)
@click.argument("source", metavar="FILE", type=click.Path(allow_dash=True))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(source: str, as_json: bool) -> None:
    """Tell what is in a .dca file, without decoding it."""
    data = _read(source)
    with _about(source):
        facts = describe(parse(data, max_pixels=None), len(data))
    facts["weights"] = _weights_name(facts["fingerprint"])
    if as_json:
        click.echo(json.dumps(facts))
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
        click.echo(f"{name:<12}{value}")


def _weights_name(fingerprint: str) -> str | None:
    """The name of the weights file of this fingerprint (8 hex digits), None where this installation has none."""
    from dcacodec.zoo import by_fingerprint

    try:
        return by_fingerprint(fingerprint).path.name
    except DcaError:
        return None


def _check_files(source: str, target: str) -> None:
    """Refuse before any work what would fail, or do harm, after it."""
    if target == "-":
        if sys.stdout is None:
            raise Failure("standard output is closed")
        if sys.stdout.isatty():
            raise click.UsageError("OUT is '-', but standard output is a terminal.")
        return
    folder = Path(target).parent
    if not folder.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
    if source != "-" and os.path.exists(source) and os.path.exists(target) and os.path.samefile(source, target):
        raise click.UsageError("IN and OUT are the same file.")


@contextmanager
def _opened(source: str) -> Iterator[BinaryIO]:
    if source == "-":
        if sys.stdin is None:
            raise Failure("standard input is closed")
        yield sys.stdin.buffer
    else:
        with open(source, "rb") as file:
            yield file


def _read(source: str) -> bytes:
    """The bytes of a `.dca` file. What is none, however large, is read no further than to see that."""
    with _opened(source) as file:
        start = file.read(len(MAGIC))
        return start + file.read() if start == MAGIC else start


def _write(target: str, write: Callable[[BinaryIO], object]) -> None:
    from dcacodec.images import write_atomically

    try:
        if target == "-":
            stdout = sys.stdout.buffer
            write(stdout)
            stdout.flush()
        else:
            write_atomically(target, write)
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, _shown(target, "standard output")) from error


def _say(source: str, target: str, facts: str) -> None:
    _tell(f"{_shown(source, 'stdin')} -> {_shown(target, 'stdout')} {facts}")


def _tell(text: str) -> None:
    """Print one line on stderr. That it cannot be printed spoils nothing: the work is done all the same."""
    with suppress(OSError):
        click.echo(" ".join(text.splitlines()), err=True)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def main() -> None:
    """Entry point of the command. A request to end the process becomes an exception, so that files are cleaned up."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _terminate)
    # Threads that wait by spinning slow each other down tenfold on a machine that is busy with something else.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    cli.main(prog_name="dcacodec")
