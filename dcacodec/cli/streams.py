"""IN and OUT of a command, which may be files or standard streams; its progress bar and its JSON line."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NoReturn

import click

from dcacodec.cli.console import is_quiet, is_verbose, note, print_result, standard_output, tell
from dcacodec.errors import DcaError, UnknownModelError
from dcacodec.format.container import Container
from dcacodec.format.reader import read_container
from dcacodec.weights.registry import Published, by_fingerprint

if TYPE_CHECKING:
    from dcacodec.codec.codec import Codec
from dcacodec.cli.failures import Failure


@contextmanager
def about(name: str, stream: str = "standard input") -> Iterator[None]:
    """Put the name of the file, or of the stream that '-' stands for, in front of an error that is about it."""
    try:
        yield
    except DcaError as error:
        raise Failure(f"{shown(name, stream)}: {error}") from error


def shown(name: str, stream: str) -> str:
    """How messages call a file, or a standard stream."""
    return stream if name == "-" else name


# That a file cannot be read is told when it is opened: as an error about it, not about the command line.
IN: Final = click.argument("source", metavar="IN", type=click.Path(allow_dash=True, readable=False))
OUT: Final = click.argument("target", metavar="OUT", type=click.Path(allow_dash=True, readable=False))


JSON: Final = click.option(
    "--json", "as_json", is_flag=True, help="Print what was done as one JSON object on standard output."
)


def introduce(codec: Codec) -> None:
    """With --verbose: what codes."""
    if is_verbose():
        published = published_weights(codec.weights.fingerprint.hex())
        tell(f"weights {published and published.path.name}, device {codec.device}, entropy coder {codec.coder.name}")


def published_weights(fingerprint: str) -> Published | None:
    """The weights file of this fingerprint (8 hex digits), None where this installation has none."""
    try:
        return by_fingerprint(fingerprint)
    except UnknownModelError:
        return None


def check_files(source: str, target: str) -> None:
    """Refuse before any work what would fail, or do harm, after it."""
    from dcacodec.files.atomic import is_same_file

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


def check_json(as_json: bool, target: str) -> None:
    """Refuse to write a picture and an object to the same place."""
    if as_json and target == "-":
        raise click.UsageError("with --json, OUT cannot be '-': standard output takes the object.")


def print_json(source: str, target: str, size: tuple[int, int], seconds: float, **facts: object) -> None:
    """What was done, as an object on a line."""
    row = {"source": source, "target": target, "width": size[0], "height": size[1], **facts, "seconds": seconds}
    print_result(json.dumps(row))


@contextmanager
def opened(source: str) -> Iterator[BinaryIO]:
    """A file, or standard input, to read from."""
    if source == "-":
        if sys.stdin is None:
            raise Failure("standard input is closed")
        yield sys.stdin.buffer
    else:
        with open(source, "rb") as file:
            yield file


def read_file(source: str, max_pixels: int | None) -> Container:
    """What a `.dca` file holds."""
    with about(source), opened(source) as file:
        return read_container(file, max_pixels)


def write_file(target: str, write: Callable[[BinaryIO], object]) -> None:
    """Write a file, or to standard output, whole or not at all."""
    from dcacodec.files.atomic import write_atomically

    if target != "-":
        write_atomically(target, write)
        return
    with standard_output() as file:
        write(file)


@contextmanager
def progress_bar(unit: str = "slice") -> Iterator[Callable[[int, int], None]]:
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


def say(source: str, target: str, facts: str) -> None:
    """Print a line about what was made of what."""
    note(f"{shown(source, 'stdin')} -> {shown(target, 'stdout')} {facts}")
