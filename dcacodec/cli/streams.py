"""IN and OUT of a command, which are files or standard streams; its progress bar and JSON output."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NoReturn

import click

from dcacodec.cli.console import is_quiet, is_verbose, print_line, print_note, print_result, standard_output
from dcacodec.cli.failures import Failure
from dcacodec.errors import DcaError, UnknownModelError
from dcacodec.format.container import Container
from dcacodec.format.reader import read_container
from dcacodec.weights.registry import Published, by_fingerprint

if TYPE_CHECKING:
    from dcacodec.codec.codec import Codec


@contextmanager
def about(name: str, stream: str = "standard input") -> Iterator[None]:
    """Prefix errors of the block with the name of the file, or of the stream that '-' stands for."""
    try:
        yield
    except DcaError as error:
        raise Failure(f"{shown(name, stream)}: {error}") from error


def shown(name: str, stream: str = "standard input") -> str:
    """The name of a file or standard stream in messages."""
    return stream if name == "-" else name


_STANDARD_OUTPUT: Final = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


def named_output(context: click.Context, option: click.Parameter, name: str | None) -> str | None:
    """OUT, and '-' for the names of descriptor 1: it is standard error now, where libraries print (see `app`)."""
    return "-" if name is not None and os.path.normpath(name) in _STANDARD_OUTPUT else name


# readable=False: a file that cannot be read is an error of its own (exit code 1), not one of the command line.
IN: Final = click.argument("source", metavar="IN", type=click.Path(allow_dash=True, readable=False))
OUT: Final = click.argument(
    "target", metavar="OUT", type=click.Path(allow_dash=True, readable=False), callback=named_output
)


JSON: Final = click.option(
    "--json", "as_json", is_flag=True, help="Print a summary as one JSON object on standard output."
)


def describe_codec(codec: Codec) -> None:
    """Print weights, device and entropy coder, with --verbose."""
    if is_verbose():
        published = published_weights(codec.weights.fingerprint.hex())
        print_line(
            f"weights {published and published.path.name}, device {codec.device}, entropy coder {codec.coder.name}"
        )


def published_weights(fingerprint: str) -> Published | None:
    """The weights file of this fingerprint (8 hex digits), None if it is not installed."""
    try:
        return by_fingerprint(fingerprint)
    except UnknownModelError:
        return None


def check_files(source: str, target: str) -> None:
    """Check IN and OUT before any work is done.

    Raises:
        Failure: IN is a folder.
        Failure, OSError: OUT cannot be written.
        click.UsageError: OUT is a terminal, or the same file as IN.
    """
    from dcacodec.files.atomic import check_writable, is_same_file

    if source != "-" and os.path.isdir(source):
        raise Failure(f"{source} is a folder; for all pictures in a folder there is 'dcacodec batch'")
    if target == "-":
        if sys.stdout is None:
            raise Failure("standard output is closed")
        if sys.stdout.isatty():
            raise click.UsageError("OUT is '-', but standard output is a terminal.")
        return
    check_writable(target)
    if source != "-" and is_same_file(source, target):
        raise click.UsageError("IN and OUT are the same file.")


def picture_format(target: str, named: str | None = None) -> str:
    """The format of the picture OUT: the named one, else that of the suffix, or PNG for standard output.

    Raises:
        click.UsageError: the suffix contradicts the named format, or is not that of any that is written.
    """
    from dcacodec.images.formats import format_for, is_of_another_kind

    if target == "-":
        return named or "png"
    if named is not None:
        if is_of_another_kind(Path(target), named):
            raise click.UsageError(f"OUT, {target}, has the suffix of another format than --format {named}.")
        return named
    try:
        return format_for(target)
    except DcaError as error:
        raise click.UsageError(f"{target}: {error}") from error


def check_json(as_json: bool, target: str) -> None:
    """Refuse --json where OUT is standard output."""
    if as_json and target == "-":
        raise click.UsageError("--json and OUT '-' exclude each other: both would be standard output.")


def print_json(source: str, target: str, size: tuple[int, int], seconds: float, **facts: object) -> None:
    """Print the summary of a command as one JSON object on one line."""
    row = {"source": source, "target": target, "width": size[0], "height": size[1], **facts, "seconds": seconds}
    print_result(json.dumps(row))


@contextmanager
def opened(source: str) -> Iterator[BinaryIO]:
    """IN, a file or standard input, open for reading. Errors of reading it get its name."""
    if source == "-" and sys.stdin is None:
        raise Failure("standard input is closed")
    with nullcontext(sys.stdin.buffer) if source == "-" else open(source, "rb") as file:
        try:
            yield file
        except OSError as error:
            if error.filename is None and error.errno is not None:
                error.filename = shown(source)
            raise


def read_file(source: str, max_pixels: int | None) -> Container:
    """The container of the `.dca` file IN."""
    with about(source), opened(source) as file:
        return read_container(file, max_pixels)


def write_file(target: str, write: Callable[[BinaryIO], object]) -> None:
    """Write OUT. A file is written atomically: completely or not at all."""
    from dcacodec.files.atomic import write_atomically

    if target != "-":
        write_atomically(target, write)
        return
    with standard_output() as file:
        write(file)


@contextmanager
def progress_bar(unit: str = "slice") -> Iterator[Callable[[int, int], None]]:
    """A `Progress` callback that shows a bar if standard error is a terminal and there are several steps."""
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


def print_summary(source: str, target: str, facts: str) -> None:
    """Print the line about IN and OUT on standard error, unless --quiet."""
    print_note(f"{shown(source, 'stdin')} -> {shown(target, 'stdout')} {facts}")
