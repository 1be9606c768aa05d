"""Forked processes: of the threads of the parent only one is left in a child, and locks stay as they were.

PyTorch's threads (OpenMP) are among those that are missing: the first computation of a child that wants several of them
would wait for ever. So a child whose parent has loaded PyTorch computes on one thread.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from threading import Event, Lock
from typing import Final


def after_fork(function: Callable[[], object]) -> None:
    """Call a function in every process that is forked from this one."""
    if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
        os.register_at_fork(after_in_child=function)


class ForkSafeLock:
    """A lock that is free in a forked child, where the thread that held it does not exist."""

    def __init__(self) -> None:
        self._renew()
        after_fork(self._renew)

    def _renew(self) -> None:
        self._lock = Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


_LACKS_THREADS: Final = Event()
"""Set in a child of a process that had loaded PyTorch."""


def _note_fork() -> None:
    if "torch" in sys.modules:
        _LACKS_THREADS.set()


after_fork(_note_fork)


def limit_threads() -> None:
    """Let PyTorch use a single thread if this process is such a child; call it before anything is computed."""
    if _LACKS_THREADS.is_set():
        import torch

        torch.set_num_threads(1)
