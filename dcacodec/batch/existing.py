"""Targets that are up to date but differ from what is requested now. Only their headers are read. No torch here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from dcacodec.errors import FormatError
from dcacodec.format.container import Header
from dcacodec.format.reader import MAX_HEADER_BYTES, parse_header


def count_other_quality(files: Iterable[Path], quality: float) -> int:
    """The number of `.dca` files with another quality; other and unreadable files are not counted."""
    return sum(header.quality != quality for header, _ in _headers(files))


def count_other_weights(files: Iterable[Path], fingerprint: str) -> int:
    """The number of `.dca` files made with other weights; other and unreadable files are not counted."""
    return sum(header.fingerprint.hex() != fingerprint for header, _ in _headers(files))


def count_larger(files: Iterable[Path], limit: Callable[[Header], int]) -> int:
    """The number of `.dca` files with more bytes than their `limit`; other and unreadable files are not counted."""
    return sum(size > limit(header) for header, size in _headers(files))


def _headers(files: Iterable[Path]) -> Iterator[tuple[Header, int]]:
    """Header and size of each readable `.dca` file."""
    for path in files:
        try:
            with path.open("rb") as file:
                header, size = parse_header(file.read(MAX_HEADER_BYTES)), os.fstat(file.fileno()).st_size
        except (OSError, FormatError):
            continue
        yield header, size
