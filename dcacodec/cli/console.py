"""Lines on standard error, results on standard output. Nothing heavy is imported here."""

from __future__ import annotations

import errno
import io
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import BinaryIO, Final
from unicodedata import category

import click

QUIET_KEY: Final = "dcacodec.quiet"
VERBOSE_KEY: Final = "dcacodec.verbose"


def is_quiet() -> bool:
    """Whether the running command was told --quiet."""
    return _is_set(QUIET_KEY)


def is_verbose() -> bool:
    """Whether the running command was told --verbose."""
    return _is_set(VERBOSE_KEY)


def _is_set(key: str) -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(key))


def _reopened(stream: BinaryIO) -> AbstractContextManager[BinaryIO]:
    """The same file with a buffer of its own; itself where it is not one of the system's."""
    try:
        return open(stream.fileno(), "wb", closefd=False)
    except io.UnsupportedOperation:
        return nullcontext(stream)


@contextmanager
def standard_output() -> Iterator[BinaryIO]:
    """Standard output as a binary file, to which all is written by the end of the block.

    Raises:
        BrokenPipeError: nobody reads it any more.
        OSError: it is closed or full.
    """
    if sys.stdout is None:
        raise OSError(errno.EBADF, "closed", "standard output")
    try:
        sys.stdout.flush()
        # With PYTHONUNBUFFERED, that of `sys` would take a part of what is written where there is no room for all. And
        # what it could not write it would try to write again at the end of the process.
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
    r"""Print what was asked for on standard output. What its encoding lacks is escaped, as ``\xfc``.

    Raises:
        OSError: see `standard_output`.
    """
    with standard_output() as file:
        errors = "backslashreplace" if sys.stdout.errors in (None, "strict") else sys.stdout.errors
        file.write(f"{text}\n".encode(sys.stdout.encoding, errors))


def tell(text: str) -> None:
    """Print one line on standard error, whatever --quiet says: errors are told so.

    That it cannot be printed spoils nothing: the work is done all the same.
    """
    with suppress(OSError):
        # A name can hold anything; a terminal obeys what comes after an escape character.
        line = "".join(_escaped(each) if category(each) == "Cc" else each for each in " ".join(text.splitlines()))
        click.echo(line, file=sys.stderr)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def note(text: str) -> None:
    """Print one line on standard error, unless --quiet."""
    if not is_quiet():
        tell(text)
