"""Lines on standard error, results on standard output. Nothing heavy is imported here."""

from __future__ import annotations

import errno
import io
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import BinaryIO, Final

import click

from dcacodec.errors import escaped

QUIET_KEY: Final = "dcacodec.quiet"
VERBOSE_KEY: Final = "dcacodec.verbose"


def is_quiet() -> bool:
    """Whether the running command was given --quiet."""
    return _is_set(QUIET_KEY)


def is_verbose() -> bool:
    """Whether the running command was given --verbose."""
    return _is_set(VERBOSE_KEY)


def _is_set(key: str) -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(key))


def _reopened(stream: BinaryIO) -> AbstractContextManager[BinaryIO]:
    """The same file with a buffer of its own; the stream itself where it has no file descriptor."""
    try:
        return open(stream.fileno(), "wb", closefd=False)
    except io.UnsupportedOperation:
        return nullcontext(stream)


@contextmanager
def standard_output() -> Iterator[BinaryIO]:
    """Standard output as a binary file, flushed at the end of the block.

    Raises:
        BrokenPipeError: the reader has closed the pipe.
        OSError: standard output is closed or full.
    """
    if sys.stdout is None:
        raise OSError(errno.EBADF, "closed", "standard output")
    try:
        sys.stdout.flush()
        # Not sys.stdout.buffer itself: with PYTHONUNBUFFERED it may write only a part where the disk is full, and what
        # it could not write it would try to write again at the end of the process.
        with _reopened(sys.stdout.buffer) as file:
            yield file
            file.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename is not None or error.errno is None:  # about another file
            raise
        raise OSError(error.errno, error.strerror, "standard output") from error


def print_result(text: str) -> None:
    r"""Print a result on standard output. Characters that its encoding lacks are escaped, as in ``\xfc``.

    Raises:
        OSError: see `standard_output`.
    """
    with standard_output() as file:
        errors = "backslashreplace" if sys.stdout.errors in (None, "strict") else sys.stdout.errors
        file.write(f"{text}\n".encode(sys.stdout.encoding, errors))


def print_line(text: str) -> None:
    """Print one line on standard error, even with --quiet. A failure to print is ignored."""
    with suppress(OSError):
        click.echo(escaped(text), file=sys.stderr)


def print_error(text: str) -> None:
    """Print an error as one line on standard error, even with --quiet."""
    print_line(f"dcacodec: error: {text}")


def print_note(text: str) -> None:
    """Print one line on standard error, unless --quiet."""
    if not is_quiet():
        print_line(text)


def print_warning(text: str) -> None:
    """Print a warning as one line on standard error, unless --quiet."""
    print_note(f"dcacodec: warning: {text}")
