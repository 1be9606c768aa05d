"""Locks between processes."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform != "win32":
    import fcntl


@contextmanager
def locked(path: Path, seconds: float) -> Iterator[bool]:
    """Hold a lock in the block, after waiting for other processes. Locks end with their process, so none is ever stale.

    Args:
        path: the file of the lock, which is created.
        seconds: the time limit for waiting.

    Yields:
        Whether the lock is held. It is not if the system has no such locks, or after the time limit.

    Raises:
        OSError: the file cannot be created.
    """
    with open(path, "ab") as file:
        yield _acquired(file.fileno(), time.monotonic() + seconds)


def _acquired(file: int, deadline: float) -> bool:
    if sys.platform != "win32":
        while time.monotonic() < deadline:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                time.sleep(0.2)
            except OSError:  # a file system without locks
                return False
    return False
