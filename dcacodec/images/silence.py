"""Keeps what C libraries print by themselves off standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def silent_libraries(unless: bool = False) -> Iterator[None]:
    """Keep the lines that libraries in C (libtiff) write to standard error by themselves off it.

    Ours take another way there meanwhile.
    """
    theirs = sys.stderr
    try:
        shared = theirs.fileno() == 2
    except (AttributeError, OSError, ValueError):
        shared = False
    if not shared or unless:
        yield
        return
    ours = os.fdopen(os.dup(2), "w", 1, theirs.encoding, theirs.errors)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    sys.stderr = ours
    try:
        yield
    finally:
        sys.stderr = theirs
        os.dup2(ours.fileno(), 2)
        with suppress(OSError):
            ours.close()
