"""Targets that are up to date but differ from what is requested now. Only their first bytes are read. No torch here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from dcacodec.errors import FormatError
from dcacodec.format.container import Header
from dcacodec.format.reader import MAX_HEADER_BYTES, is_lossless, parse_header


def count_other_quality(files: Iterable[Path], quality: float | None) -> int:
    """The number of `.dca` files with another quality; other and unreadable files are not counted.

    Args:
        files: where to look.
        quality: 1 to 100, compared with that in the header; None for lossless, which differs from that of every file
            with a slice that is not. Whether lossless slices were requested is not in a file.
    """
    if quality is None:
        return sum(_read(files, lambda file: not is_lossless(file)))
    return sum(_read(files, lambda file: _header(file).quality != quality))


def count_other_weights(files: Iterable[Path], fingerprint: str) -> int:
    """The number of `.dca` files made with other weights; other and unreadable files are not counted."""
    return sum(_read(files, lambda file: _header(file).fingerprint.hex() != fingerprint))


def count_larger(files: Iterable[Path], limit: Callable[[Header], int]) -> int:
    """The number of `.dca` files with more bytes than their `limit`; other and unreadable files are not counted."""
    return sum(_read(files, lambda file: os.fstat(file.fileno()).st_size > limit(_header(file))))


def _header(file: BinaryIO) -> Header:
    return parse_header(file.read(MAX_HEADER_BYTES))


def _read(files: Iterable[Path], question: Callable[[BinaryIO], bool]) -> Iterator[bool]:
    """The answers to a question about each of the `.dca` files that can be read."""
    for path in files:
        try:
            with path.open("rb") as file:
                answer = question(file)
        except (OSError, FormatError):
            continue
        yield answer
