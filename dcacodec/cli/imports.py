"""Importing PyTorch without the garbage collector, which takes a third of the time of a short command."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def lasting_imports() -> Iterator[None]:
    """Import PyTorch in the block, to stay until the process ends.

    It comes with hundreds of thousands of objects. The garbage collector would visit all of them several times while
    they are imported, now and then later, and at the end of the process; in the block it does not run, and what exists
    by then it never visits. Where PyTorch is imported already, nothing changes.
    """
    if "torch" in sys.modules:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
