"""Parallel coding of slices, on threads of this process.

PyTorch releases Python's global lock while it computes, so threads are as fast as processes and share the weights. They
are much faster than one slice at a time on several of PyTorch's own threads, which synchronise many times per slice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, Semaphore
from typing import Protocol, TypeVar

import torch

from dcacodec.processes.fork import ForkSafeLock, limit_threads

Item = TypeVar("Item")
Made = TypeVar("Made")


class OrderedMap(Protocol):
    """The interface of the built-in `map`: the results of a function, in the order of the tasks."""

    def __call__(self, function: Callable[[Item], Made], tasks: Iterable[Item], /) -> Iterator[Made]:
        """Yield the result of the function for each task."""


_STARTING = ForkSafeLock()
"""Held while new threads would start with another count of PyTorch's threads than the caller set.

`torch.set_num_threads` sets two things: the count of the thread that calls it (OpenMP keeps one for each), and the
count that threads begin with. A worker needs the first, 1, and cannot have it without the second. So workers set
theirs, one lock lets only one pool do so at a time, and then the caller's count is set again for all threads to come.
Threads that have their count keep it; a thread takes its own with the first call of a codec, see `take_thread_count`.
"""


def take_thread_count() -> None:
    """Let this thread have its count of PyTorch's threads before a pool that is starting gives it another one.

    In a forked process that is one thread, see :mod:`dcacodec.processes.fork`.
    """
    limit_threads()
    with _STARTING:
        torch.get_num_threads()


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Set PyTorch's number of threads for the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def workers(count: int) -> Iterator[OrderedMap]:
    """A `map` that works `count` tasks ahead, on as many threads, of which each has a single thread of PyTorch.

    So what a task computes does not depend on the count. Tasks may come from an iterator that itself waits for results
    of this `map`. Leaving the context waits for what is being computed, and drops what is not.
    """
    begun, ready = Semaphore(0), Event()

    def begin() -> None:
        torch.get_num_threads()  # a thread takes over the caller's count when it first needs one: let it do so now
        torch.set_num_threads(1)
        begun.release()

    pool = ThreadPoolExecutor(count, "dcacodec", begin)

    def in_order(function: Callable[[Item], Made], tasks: Iterable[Item], /) -> Iterator[Made]:
        pending: deque[Future[Made]] = deque()
        for task in tasks:
            pending.append(pool.submit(function, task))
            if len(pending) > count:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    try:
        with _STARTING:
            before = torch.get_num_threads()
            try:
                for _ in range(count):
                    pool.submit(ready.wait)  # nothing, but it starts a thread, as those before are still at it
                for _ in range(count):
                    begun.acquire()
            finally:
                torch.set_num_threads(before)  # else further threads of the caller would start with what was set last
                ready.set()
        yield in_order
    finally:
        pool.shutdown(cancel_futures=True)
