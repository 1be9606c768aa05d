"""How a command ends that cannot do its work: one line on standard error and an exit code."""

from __future__ import annotations

from typing import Any, Final

import click

from dcacodec.cli.console import tell
from dcacodec.errors import DcaError, reason

EXIT_BAD_INPUT: Final = 1
EXIT_INTERNAL: Final = 3
EXIT_INTERRUPTED: Final = 130


class Failure(click.ClickException):
    """Ends the command with one line on stderr."""

    def __init__(self, message: str, exit_code: int = EXIT_BAD_INPUT) -> None:
        super().__init__(" ".join(message.split()))
        vars(self)["exit_code"] = exit_code  # some versions of Click declare it for the class alone

    def show(self, file: Any = None) -> None:
        """Print the line."""
        tell(f"dcacodec: error: {self.message}")


def failure_of(error: Exception | KeyboardInterrupt) -> Failure:
    """The one line for an exception."""
    if isinstance(error, KeyboardInterrupt):
        return Failure("interrupted", EXIT_INTERRUPTED)
    if isinstance(error, MemoryError | DcaError | OSError):
        return Failure(reason(error))
    return Failure(f"{reason(error)} ('dcacodec --debug ...' shows where)", EXIT_INTERNAL)
