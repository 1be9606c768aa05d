"""Work spread over processes of its own, which may fail, hang up or be killed without taking the others with them."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from typing import Any


class Crash(Exception):
    """The process that did a piece of work ended before the work did."""


def each(
    work: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], jobs: int, initialise: Callable[[], object]
) -> Iterator[tuple[int, Any]]:
    """Do the work for each task, and give the number of the task and the result as they come.

    Where a process crashes, all that was under way is done again, each in a process of its own. What crashes there as
    well has a `Crash` for a result. Where the caller stops, or is interrupted, the processes are ended at once.

    Args:
        work: a function of a module. An exception that it raises ends all of the work.
        tasks: its arguments.
        jobs: how many processes.
        initialise: called first in every process.
    """
    waiting = deque(range(len(tasks)))
    while waiting:
        under_way: list[int] = []
        try:
            yield from _until_crash(work, tasks, waiting, under_way, jobs, initialise)
        except BrokenExecutor:
            for index in list(under_way):
                yield index, _alone(work, tasks[index], initialise)


def _until_crash(
    work: Callable[..., Any],
    tasks: Sequence[tuple[Any, ...]],
    waiting: deque[int],
    under_way: list[int],
    jobs: int,
    initialise: Callable[[], object],
) -> Iterator[tuple[int, Any]]:
    """Do what is waiting. Of a crash, `under_way` tells what was given out and had no result yet."""
    futures: dict[Future[Any], int] = {}
    with _pool(jobs, initialise) as pool:
        while waiting or futures:
            while waiting and len(futures) < 2 * jobs:  # the next one is there before the last one is done
                under_way.append(waiting.popleft())
                futures[_submit(pool, work, tasks[under_way[-1]])] = under_way[-1]
            for future in wait(futures, return_when=FIRST_COMPLETED).done:
                result = future.result()
                index = futures.pop(future)
                under_way.remove(index)
                yield index, result


def _alone(work: Callable[..., Any], task: tuple[Any, ...], initialise: Callable[[], object]) -> Any:
    try:
        with _pool(1, initialise) as pool:
            return _submit(pool, work, task).result()
    except BrokenExecutor:
        return Crash("its process crashed, or was killed for taking too much memory")


@contextmanager
def _pool(jobs: int, initialise: Callable[[], object]) -> Iterator[ProcessPoolExecutor]:
    """Processes that are started anew and not forked, as threads do not survive a fork."""
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initialise)
    try:
        yield pool
    except BaseException:
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, work: Callable[..., Any], task: tuple[Any, ...]) -> Future[Any]:
    """A process that is started here has Ctrl-C blocked from its first moment: only we are to act on that."""
    if not hasattr(signal, "pthread_sigmask"):
        return pool.submit(work, *task)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(work, *task)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
