"""The command `dcacodec`: the group of its subcommands, exit codes, warnings and signals.

Heavy packages (torch, NumPy, Pillow) are imported only when a command needs them, so that `--help` and `info` are fast.
"""

from __future__ import annotations

import importlib
import io
import os
import re
import signal
import sys
import warnings
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, NoReturn, TextIO

import click
from click.shell_completion import CompletionItem

from dcacodec._version import __version__
from dcacodec.cli.console import print_warning
from dcacodec.cli.failures import failure_of
from dcacodec.cli.options import QUIET, VERBOSE
from dcacodec.errors import CoderWarning, DeviceWarning, ImageWarning, escaped

_COMMANDS: Final = {
    "encode": ("dcacodec.cli.encode:encode", "Compress the picture IN to the .dca file OUT."),
    "decode": ("dcacodec.cli.decode:decode", "Decode the .dca file IN to the picture OUT."),
    "info": ("dcacodec.cli.info:info", "Show what a .dca file contains, without decoding it."),
    "completion": (
        "dcacodec.cli.completion:completion",
        "Print a completion script for SHELL.",
    ),
    "batch": ("dcacodec.cli.batch:batch", "Encode or decode many pictures."),
    "train": ("dcacodec.cli.train:train", "Train a model on a folder of pictures."),
    "publish": ("dcacodec.cli.publish:publish", "Convert a training checkpoint to a weights file."),
    "bench": ("dcacodec.cli.bench:bench", "Compare rate, distortion, speed and memory with other codecs."),
    "selftest": ("dcacodec.cli.selftest:selftest", "Verify bit-exact decoding on this machine."),
    "doctor": ("dcacodec.cli.doctor:doctor", "Describe this installation, for a bug report."),
}
"""Name -> ("module:attribute", summary in the list of commands). A module is imported when its command is called."""

_EPILOG: Final = """\b
Examples:
  dcacodec encode photo.png photo.dca
  dcacodec decode photo.dca back.png
  dcacodec info photo.dca
  dcacodec batch photos/ compressed/

\b
Exit codes:
  0    done
  1    a file or picture is invalid, or cannot be read or written
  2    invalid command line
  3    internal error: please report it
  130  interrupted (129: hung up, 143: terminated); no partial file is left behind
"""


class _Commands(click.Group):
    """A group that imports commands on demand, and reports every failure as one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, attribute = _COMMANDS[cmd_name][0].split(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the names of commands and options, without importing the commands for their help."""
        names = [
            CompletionItem(name, help=line) for name, (_, line) in _COMMANDS.items() if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        try:
            with _escaped_usage_errors():
                return super().make_context(*arguments, **options)
        except BrokenPipeError:
            raise  # as below
        except OSError as error:  # --help or --version, written to a full disk
            raise failure_of(error) from error

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _warnings_on_stderr(everything=ctx.params["debug"]), _escaped_usage_errors():
                result = super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, BrokenPipeError):
            raise  # Click handles these; a closed pipe is not reported
        except (Exception, KeyboardInterrupt) as error:
            if ctx.params["debug"]:
                raise
            _exit_if_signalled(ctx)
            raise failure_of(error) from error
        _exit_if_signalled(ctx)
        return result


@contextmanager
def _escaped_usage_errors() -> Iterator[None]:
    """Messages of Click about the command line, without the control characters of its arguments."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise  # it is the help
    except click.UsageError as error:
        message = error.format_message()
        # Click puts the choices of a missing argument on lines of their own.
        line = escaped(re.sub(r":\s*\n\t", ": ", message).replace(",\n\t", ", "))
        if line == message:
            raise
        raise click.UsageError(line, error.ctx) from error


def _exit_if_signalled(context: click.Context) -> None:
    """Exit where a signal has come whose exception was lost."""
    handler = context.find_object(_SignalHandler)
    if handler is not None and handler.number:
        raise SystemExit(128 + handler.number)


@contextmanager
def _warnings_on_stderr(everything: bool) -> Iterator[None]:
    """Print the package's own warnings as one line each, and with `everything` those of other packages too."""

    def show(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
    ) -> None:
        if everything or category.__module__.startswith("dcacodec."):
            print_warning(str(message))

    with warnings.catch_warnings():
        # Whatever PYTHONWARNINGS says: as an error, a warning would end the command.
        warnings.simplefilter("default" if everything else "ignore")
        for category in (CoderWarning, DeviceWarning, ImageWarning):
            warnings.simplefilter("default", category)
        warnings.showwarning = show
        yield


@click.group(cls=_Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="dcacodec %(version)s")
@click.option("--debug", is_flag=True, help="Show all warnings, and the traceback of an error.")
@QUIET
@VERBOSE
def cli(debug: bool) -> None:
    """Encode and decode pictures with a learned codec.

    IN and OUT are files, or '-' for standard input and output. An existing OUT is replaced once the new content is
    complete. Results go to standard output, everything else to standard error. --quiet and --verbose can be given
    before the command, or after it where the command has them.
    """


class _SignalHandler:
    """Turns a terminating signal into `SystemExit`, so that temporary files are removed.

    Attributes:
        number: of the signal, 0 before one has come. It is kept because the exception can be lost: some libraries catch
            every exception while they are imported.
    """

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, number: int, frame: FrameType | None) -> NoReturn:
        self.number = number
        raise SystemExit(128 + number)


def let_threads_sleep(environment: MutableMapping[str, str]) -> None:
    """Set how PyTorch's threads wait, unless the user did.

    Threads that spin slow each other down tenfold on a busy machine. Those that sleep at once are not faster than a
    single one: with GNU's OpenMP they spin for a tenth of a millisecond or less first.
    """
    if "OMP_WAIT_POLICY" not in environment:
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
        environment.setdefault("GOMP_SPINCOUNT", "2000")


def _keep_output_for_results() -> None:
    """Let what libraries print go to standard error: oneDNN and MKL use descriptor 1 if the environment asks them to.

    Standard output, where it is open, gets another descriptor. Both streams lose their buffers: what these could not
    write, Python would try to write again at the end of the process.
    """
    if sys.stderr is None:  # closed: what libraries write to it must not reach a file that got its descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        while nowhere < 2:  # standard input or output are closed, too
            nowhere = os.dup(nowhere)
        os.dup2(nowhere, 2)
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    sys.stderr = _unbuffered(sys.stderr, sys.stderr.fileno())
    if sys.stdout is not None:
        sys.stdout = _unbuffered(sys.stdout, os.dup(sys.stdout.fileno()))
    os.dup2(sys.stderr.fileno(), 1)


def _unbuffered(stream: TextIO, descriptor: int) -> TextIO:
    """A stream like another one, to a descriptor, without a buffer."""
    raw = open(descriptor, "wb", buffering=0, closefd=False)  # noqa: SIM115
    return io.TextIOWrapper(raw, stream.encoding, stream.errors, write_through=True)


def main() -> None:
    """Entry point of the command."""
    handler = _SignalHandler()
    handled = [signal.SIGINT]
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, handler)
            handled.append(number)
    _keep_output_for_results()
    let_threads_sleep(os.environ)
    try:
        cli.main(prog_name="dcacodec", obj=handler)
    finally:  # All is written and removed: a further signal ends the process without an exception that is reported.
        for number in handled:
            signal.signal(number, lambda number, _frame: os._exit(128 + number))
