"""Work in processes of its own: what is done, what crashes, what is left."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from dcacodec.bench.measure import start_worker
from dcacodec.bench.workers import Crash, each

start = partial(start_worker, 1)


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before = set(multiprocessing.active_children())
    yield
    assert set(multiprocessing.active_children()) == before


def square(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def crash_on(number: int, bad: int) -> int:
    if number == bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def crash_once(number: int, marker: Path) -> int:
    if number == 1 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def wait_long(marker: Path) -> None:
    marker.touch()
    time.sleep(600)


def raise_error() -> None:
    raise LookupError("a mistake")


def describe_process() -> tuple[str, bool]:
    return os.environ["OMP_NUM_THREADS"], signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_all_is_done_elsewhere() -> None:
    results = dict(each(square, [(number,) for number in range(7)], 2, start))
    assert {index: value for index, (value, _) in results.items()} == {number: number**2 for number in range(7)}
    assert os.getpid() not in {process for _, process in results.values()}


def test_a_crash_costs_its_own_task_alone() -> None:
    results = dict(each(crash_on, [(number, 2) for number in range(6)], 1, start))
    crash = results.pop(2)
    assert isinstance(crash, Crash)
    assert str(crash) == "its process crashed, or was killed for taking too much memory"
    assert results == {0: 0, 1: 1, 3: 3, 4: 4, 5: 5}


def test_what_crashes_once_is_done_again(tmp_path: Path) -> None:
    tasks = [(number, tmp_path / "marker") for number in range(3)]
    assert dict(each(crash_once, tasks, 2, start)) == {0: 0, 1: 1, 2: 2}


def test_an_error_of_the_work_ends_it() -> None:
    with pytest.raises(LookupError, match="a mistake"):
        list(each(raise_error, [()], 1, start))


def test_whoever_stops_does_not_wait(tmp_path: Path) -> None:
    work = each(wait_long, [(tmp_path / "marker",)], 1, start)

    def interrupt() -> None:
        while not (tmp_path / "marker").exists():
            time.sleep(0.01)
        raise KeyboardInterrupt

    # As Ctrl-C does it: while the results are waited for.
    old = signal.signal(signal.SIGALRM, lambda number, frame: interrupt())
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(KeyboardInterrupt):
            list(work)
    finally:
        signal.signal(signal.SIGALRM, old)


def test_processes_leave_ctrl_c_to_their_parent() -> None:
    assert list(each(describe_process, [()], 1, partial(start_worker, 3))) == [(0, ("3", True))]
