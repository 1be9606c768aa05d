"""The command `dcacodec`: the group of all commands, how it fails, and how signals end it.

Nothing heavy (torch, NumPy, Pillow) is imported before a command needs it, so that `--help` and `info` are instant.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, NoReturn

import click
from click.shell_completion import CompletionItem

from dcacodec._version import __version__
from dcacodec.cli.console import note
from dcacodec.cli.failures import failure_of
from dcacodec.cli.options import (
    QUIET,
    VERBOSE,
)

_COMMANDS: Final = {
    "encode": ("dcacodec.cli.encode:encode", "Compress the picture IN to the .dca file OUT."),
    "decode": ("dcacodec.cli.decode:decode", "Turn the .dca file IN back into a picture, OUT."),
    "info": ("dcacodec.cli.info:info", "Tell what is in a .dca file, without decoding it."),
    "completion": (
        "dcacodec.cli.completion:completion",
        "Print the script that makes SHELL complete commands, options and the names of files.",
    ),
    "batch": ("dcacodec.cli.batch:batch", "Compress many pictures, or get them back."),
    "train": ("dcacodec.cli.train:train", "Train a model on a folder of pictures."),
    "publish": ("dcacodec.cli.publish:publish", "Turn a training checkpoint into a weights file."),
    "bench": ("dcacodec.cli.bench:bench", "Measure rate, distortion, speed and memory beside other codecs."),
    "selftest": ("dcacodec.cli.selftest:selftest", "Check that this machine decodes as every other does."),
}
"""Name -> ("module:attribute", line in the list of commands). A module is imported when its command is called."""

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


class _Commands(click.Group):
    """A group that imports a command when it is called, and turns every failure into a line and an exit code."""

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
        """Names of commands and options, without importing commands for their help."""
        names = [
            CompletionItem(name, help=line) for name, (_, line) in _COMMANDS.items() if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        try:
            return super().make_context(*arguments, **options)
        except BrokenPipeError:
            raise  # as below
        except OSError as error:  # help or version, to a disk that is full
            raise failure_of(error) from error

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
            raise failure_of(error) from error
        _end_if_told(ctx)
        return result


def _end_if_told(context: click.Context) -> None:
    """End the process where a signal wants that, and its exception was lost."""
    ending = context.find_object(_Ending)
    if ending is not None and ending.number:
        raise SystemExit(128 + ending.number)


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
