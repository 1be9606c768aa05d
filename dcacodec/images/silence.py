"""Suppression of messages that C libraries print on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def silent_libraries(unless: bool = False) -> Iterator[None]:
    """Suppress what C libraries (libtiff) write to file descriptor 2 in the block.

    `sys.stderr` is redirected to a copy of the descriptor, so that our own messages still appear.
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
