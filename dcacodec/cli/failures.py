"""Errors that end a command: one line on standard error and an exit code."""

from __future__ import annotations

from typing import Any, Final

import click

from dcacodec.cli.console import print_error
from dcacodec.errors import DcaError, reason

EXIT_BAD_INPUT: Final = 1
EXIT_INTERNAL: Final = 3
EXIT_INTERRUPTED: Final = 130


class Failure(click.ClickException):
    """Ends the command with one line on standard error."""

    def __init__(self, message: str, exit_code: int = EXIT_BAD_INPUT) -> None:
        super().__init__(" ".join(message.split()))
        vars(self)["exit_code"] = exit_code  # some versions of Click declare it as a class variable

    def show(self, file: Any = None) -> None:
        """Print the line."""
        print_error(self.message)


def failure_of(error: Exception | KeyboardInterrupt) -> Failure:
    """The failure that reports an exception."""
    if isinstance(error, KeyboardInterrupt):
        return Failure("interrupted", EXIT_INTERRUPTED)
    if isinstance(error, ImportError) and "failed to map segment" in str(error):
        return Failure(f"{error}: there is not enough memory, or nothing may be executed on its file system")
    if isinstance(error, MemoryError | DcaError | OSError):
        return Failure(reason(error))
    return Failure(f"{reason(error)} ('dcacodec --debug ...' shows the traceback)", EXIT_INTERNAL)
