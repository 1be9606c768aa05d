"""Targets that are up to date but differ from what is requested now. Only their first bytes are read. No torch here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dcacodec.errors import FormatError
from dcacodec.format.container import Header
from dcacodec.format.reader import read_start


def count_other_quality(files: Iterable[Path], quality: float | None) -> int:
    """The number of `.dca` files with another quality; other and unreadable files are not counted.

    Args:
        files: where to look.
        quality: 1 to 100, compared with that in the header; None for lossless, which differs from that of every file
            with a slice that is not. Whether lossless slices were requested is not in a file.
    """
    if quality is None:
        return sum(not each.lossless for each in _existing(files))
    return sum(each.header.quality != quality for each in _existing(files))


def count_other_weights(files: Iterable[Path], fingerprint: str) -> int:
    """The number of `.dca` files made with other weights; other and unreadable files are not counted."""
    return sum(each.header.fingerprint.hex() != fingerprint for each in _existing(files))


def count_larger(files: Iterable[Path], limit: Callable[[Header], int]) -> int:
    """The number of `.dca` files with more bytes than their `limit`; other and unreadable files are not counted."""
    return sum(each.size > limit(each.header) for each in _existing(files))


@dataclass(frozen=True)
class _Existing:
    """A `.dca` file: its header, its size in bytes, and whether all its slices are lossless."""

    header: Header
    size: int
    lossless: bool


def _existing(files: Iterable[Path]) -> Iterator[_Existing]:
    """The readable `.dca` files."""
    for path in files:
        try:
            with path.open("rb") as file:
                header, lossless = read_start(file)
                size = os.fstat(file.fileno()).st_size
        except (OSError, FormatError):
            continue
        yield _Existing(header, size, lossless)
