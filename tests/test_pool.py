"""The pool of processes: what is done, what is done again, what is lost, and what is left when it ends."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import pytest
from told import one_line
from waiting import wait_for

from dcacodec.errors import DcaError, WorkerError
from dcacodec.processes import pool
from dcacodec.processes.pool import Lost, run


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before = set(multiprocessing.active_children())
    yield
    assert set(multiprocessing.active_children()) == before


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


# What makes the functions that do jobs, in the other processes.


def squares() -> Callable[[int], tuple[int, int]]:
    return lambda number: (number * number, os.getpid())


def kills_itself(bad: int, marker: Path | None = None) -> Callable[[int], int]:
    """At the job `bad`: always, or until there is a marker."""

    def work(number: int) -> int:
        if number == bad and not (marker and marker.exists()):
            if marker:
                marker.touch()
            kill()
        return number

    return work


def exits() -> Callable[[int], None]:
    return os._exit


def sleeps() -> Callable[[float], float]:
    def work(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    return work


def fails(error: Exception) -> Callable[[object], None]:
    def work(job: object) -> None:
        raise error

    return work


class OddError(Exception):
    """Cannot be made again from its text, as pickle would."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} {other}")


def fails_oddly() -> Callable[[object], None]:
    return fails(OddError(1, 2))


def cannot_be_sent() -> Callable[[object], object]:
    return lambda job: threading.Lock()


def writes() -> Callable[[Path], None]:
    """Writes a file endlessly, and removes it when it must end."""

    def work(path: Path) -> None:
        try:
            path.write_text(str(os.getpid()))
            time.sleep(600)
        finally:
            path.unlink()

    return work


def no_worker() -> Callable[[object], None]:
    raise DcaError("there are\nno weights")


def dies_at_once() -> Callable[[object], None]:
    kill()
    raise AssertionError


def masks() -> Callable[[object], set[signal.Signals]]:
    return lambda job: set(signal.pthread_sigmask(signal.SIG_BLOCK, ()))  # type: ignore[arg-type]


@pytest.mark.parametrize(("count", "processes"), [(7, 2), (1, 3), (5, 1), (0, 2)])
def test_every_job_has_one_outcome(count: int, processes: int) -> None:
    outcomes = list(run(range(count), squares, processes))
    assert sorted((job, outcome[0]) for job, outcome in outcomes if not isinstance(outcome, Lost)) == [
        (number, number * number) for number in range(count)
    ]
    workers = {outcome[1] for _, outcome in outcomes if not isinstance(outcome, Lost)}
    assert len(workers) <= processes and os.getpid() not in workers


def test_jobs_are_taken_when_they_are_needed() -> None:
    taken: list[int] = []

    def jobs() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    with closing(run(jobs(), squares, 2)) as outcomes:
        next(outcomes)
        assert len(taken) <= 4


def test_a_job_that_no_process_survives_is_lost_alone() -> None:
    outcomes = dict(run(range(6), partial(kills_itself, 2), 1))
    assert outcomes.pop(2) == Lost(2, -signal.SIGKILL)
    assert outcomes == {number: number for number in (0, 1, 3, 4, 5)}
    assert "2" in str(Lost(2, -9)) and "signal 9" in str(Lost(2, -9))


def test_an_exit_code_is_reported() -> None:
    assert dict(run([7], exits, 1)) == {7: Lost(2, 7)}
    assert dict(run([7], exits, 1, attempts=1)) == {7: Lost(1, 7)}
    assert "exit code 7" in str(Lost(1, 7))


@pytest.mark.parametrize("processes", [1, 2])
def test_a_job_whose_process_dies_once_is_done_again(processes: int, tmp_path: Path) -> None:
    make = partial(kills_itself, 1, tmp_path / "marker")
    assert dict(run(range(3), make, processes)) == {0: 0, 1: 1, 2: 2}
    (tmp_path / "marker").unlink()
    assert dict(run(range(3), make, processes, attempts=1)) == {0: 0, 1: Lost(1, -signal.SIGKILL), 2: 2}


@pytest.mark.slow
def test_a_job_that_takes_too_long_is_lost() -> None:
    outcomes = dict(run([0.0, 300.0, 0.01], sleeps, 2, timeout=3, attempts=1))
    assert set(outcomes) == {0.0, 300.0, 0.01}
    assert outcomes[300.0] == Lost(1, -signal.SIGKILL, 3)
    assert "3 s" in str(outcomes[300.0])


def test_a_result_that_arrives_just_before_the_kill_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the killed process gets no further job."""
    waits = 0

    def wait_late(connections: list[Connection], timeout: float | None) -> list[Any]:
        nonlocal waits
        waits += 1
        ready = wait(connections)
        if waits == 2:  # the first process was ready, and has now sent its result: overlooked, until it is too late
            time.sleep(0.1)
            return []
        return ready

    monkeypatch.setattr(pool, "wait", wait_late)
    outcomes = dict(run([2, 3, 4], squares, 1, timeout=0.05, attempts=1))
    assert not any(isinstance(outcome, Lost) for outcome in outcomes.values())
    assert {job: outcome[0] for job, outcome in outcomes.items()} == {2: 4, 3: 9, 4: 16}  # type: ignore[index]
    assert outcomes[2][1] != outcomes[3][1] == outcomes[4][1]  # type: ignore[index]


def test_an_error_of_the_work_ends_it() -> None:
    with pytest.raises(LookupError, match="a mistake"):
        list(run([1], partial(fails, LookupError("a mistake")), 1))
    with pytest.raises(RuntimeError, match=r"\bOddError\b.*\b1 2\b"):
        list(run([1], fails_oddly, 1))
    with pytest.raises(TypeError, match=r"_thread\.lock"):
        list(run([1], cannot_be_sent, 1))


@pytest.mark.parametrize(("make", "named"), [(no_worker, "no weights"), (dies_at_once, "process")])
def test_processes_that_cannot_start(make: Callable[[], Callable[[int], None]], named: str) -> None:
    with pytest.raises(WorkerError) as caught:
        list(run([1, 2], make, 2))
    assert named in one_line(caught)


def test_an_interrupt_ends_the_processes_and_lets_them_clean_up(tmp_path: Path) -> None:
    outcomes = run([tmp_path / "file"], writes, 1)

    def interrupt() -> None:
        wait_for((tmp_path / "file").exists)
        os.kill(os.getpid(), signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        next(outcomes)
    interrupter.join()
    assert list(tmp_path.iterdir()) == []


def test_no_wait_is_without_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that comes just before a wait does not end it, and its handler runs only after it."""
    limits = []

    def noted(connections: list[Any], limit: float | None) -> list[Any]:
        limits.append(limit)
        return wait(connections, limit)

    monkeypatch.setattr("dcacodec.processes.pool.wait", noted)
    for timeout in (None, 60.0):
        assert len(list(run([None, None], masks, 1, timeout=timeout))) == 2
    assert limits and all(limit is not None and limit <= 2 for limit in limits)


def test_ctrl_c_is_left_to_the_parent() -> None:
    ((_, blocked),) = run([None], masks, 1)
    assert blocked == {signal.SIGINT}
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_process_that_is_terminated_twice_ends_silently() -> None:
    """As when a whole group of processes is terminated, and its parent then terminates it, too."""
    code = """
import atexit, multiprocessing, os, signal
from dcacodec.processes.pool import _serve

def terminated():
    os.kill(os.getpid(), signal.SIGTERM)

atexit.register(terminated)
_serve(multiprocessing.Pipe()[1], terminated)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGTERM, b"", b"")


def test_a_retry_is_reported(tmp_path: Path) -> None:
    told: list[tuple[int, str]] = []
    make = partial(kills_itself, 1, tmp_path / "marker")
    assert dict(run(range(3), make, 1, retried=lambda job, how: told.append((job, how)))) == {0: 0, 1: 1, 2: 2}
    assert told == [(1, "killed by signal 9")]
    (tmp_path / "marker").unlink()
    list(run(range(3), make, 1, attempts=1, retried=lambda job, how: told.append((job, how))))
    assert len(told) == 1  # a job that is lost has an outcome
