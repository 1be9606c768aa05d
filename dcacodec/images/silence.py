"""Suppression of messages that libraries print on standard error."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def silent_libraries(unless: bool = False) -> Iterator[None]:
    """Suppress what C libraries (libtiff) write to file descriptor 2 in the block, and what Pillow and tifffile log.

    `sys.stderr` is redirected to a copy of the descriptor, so that our own messages still appear.
    """
    if unless:
        yield
        return
    with _without_last_resort(), _without_descriptor():
        yield


@contextmanager
def _without_last_resort() -> Iterator[None]:
    """Keep `logging` from printing records that nobody handles."""
    handler = logging.NullHandler()
    loggers = [logging.getLogger(name) for name in ("PIL", "tifffile")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


@contextmanager
def _without_descriptor() -> Iterator[None]:
    theirs = sys.stderr
    try:
        shared = theirs.fileno() == 2
    except (AttributeError, OSError, ValueError):
        shared = False
    if not shared:
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
