"""A pool of processes that survives the death of any of them.

Each process gets one job at a time, so that the job of a dead process is known. (`concurrent.futures` gives up all
waiting jobs when a process dies, and does not report what it was working on.) Processes are spawned, not forked,
because threads do not survive a fork, and locks that they hold stay locked.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from types import FrameType
from typing import Any, Final, Generic, NoReturn, TypeVar

from dcacodec.errors import WorkerError, reason

J = TypeVar("J")
R = TypeVar("R")

ATTEMPTS: Final = 2
"""Number of processes that may die with a job. One may be killed by accident; a second one means it is the job."""

_LONGEST_WAIT: Final = 1.0
"""Seconds. A signal that comes between Python's last look for one and the system call that waits does not end the
wait: its handler runs afterwards."""

_GRACE_SECONDS: Final = 10.0
"""Time that a terminated process may take to leave a computation and remove the file it was writing."""


@dataclass(frozen=True)
class Lost:
    """The outcome of a job that no process survived.

    Attributes:
        attempts: number of processes that died with it.
        code: exit code of the last one, or the negative number of the signal that killed it.
        seconds: the time limit, if the job exceeded it.
    """

    attempts: int
    code: int
    seconds: float | None = None

    def __str__(self) -> str:
        if self.seconds is not None:
            return f"it took longer than {self.seconds:g} s"
        times = "once" if self.attempts == 1 else f"{self.attempts} times"
        return f"its worker process ended {times} ({_ending(self.code)}); is there enough memory?"


def _ending(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


@dataclass
class _Task(Generic[J]):
    """A job, and the number of processes that have died with it."""

    job: J
    deaths: int = 0


@dataclass
class _Member(Generic[J]):
    """A process, its task, when that started (monotonic seconds), and whether it was killed at the time limit."""

    process: BaseProcess
    task: _Task[J] | None = None
    since: float = 0.0
    late: bool = False


@dataclass(frozen=True)
class _Ready:
    """A process's first message."""


@dataclass(frozen=True)
class _Result(Generic[R]):
    """The result of a job."""

    value: R


@dataclass(frozen=True)
class _Raised:
    """An error that ends the work of all processes."""

    error: Exception


def run(
    jobs: Iterable[J],
    make: Callable[[], Callable[[J], R]],
    processes: int,
    *,
    timeout: float | None = None,
    attempts: int = ATTEMPTS,
    retried: Callable[[J, str], object] = lambda job, how: None,
) -> Generator[tuple[J, R | Lost], None, None]:
    """Do all jobs; yields each job with its outcome, in the order in which they finish.

    A process that dies is replaced, and its job is retried. When the generator is closed, or an exception is raised in
    it (Ctrl-C), the processes get SIGTERM, which raises `SystemExit` in them, so that they can clean up. They do not
    get SIGINT. When this process is killed, they end after their current job.

    Args:
        jobs: to do; an iterable that is consumed on demand.
        make: runs once in each process, and returns the function that does jobs there. It is pickled, as are jobs and
            outcomes.
        processes: maximum number of processes, 1 or more.
        timeout: seconds after which the process of a job is killed. None for no limit.
        attempts: number of processes that may die with a job before it is `Lost`.
        retried: called with a job that is retried, and how its process ended.

    Raises:
        WorkerError: `make` raised an exception, or a process died before its first job.
        Exception: any exception of the function, or of pickling its result.
    """
    source = map(_Task, jobs)
    waiting: deque[_Task[J]] = deque(islice(source, processes))
    members: dict[Connection, _Member[J]] = {}
    ending: list[BaseProcess] = []
    try:
        for _ in range(len(waiting)):
            _start(members, make)
        while members:
            for connection in _readable(members, timeout):
                member = members[connection]
                done = member.task
                message = _received(connection)
                if isinstance(message, _Raised):
                    raise message.error
                if message is None or member.late:  # it may have been killed just after it had sent a result
                    del members[connection]
                    connection.close()
                    _end(member.process)
                if message is None:
                    if done is None:
                        raise WorkerError("a worker process ended before its first job")
                    done.deaths += 1
                    code = member.process.exitcode or 0
                    if done.deaths < attempts:
                        waiting.appendleft(done)
                        retried(done.job, _ending(code))
                    else:
                        message = _Result(Lost(done.deaths, code, timeout if member.late else None))
                waiting.extend(islice(source, 0 if waiting else 1))
                if connection not in members:
                    if waiting:
                        _start(members, make)
                elif waiting:
                    member.task, member.since = waiting.popleft(), time.monotonic()
                    with suppress(OSError):  # the process has died, which is detected below
                        connection.send(member.task.job)
                else:
                    del members[connection]
                    connection.close()  # at which it ends
                    ending.append(member.process)
                if isinstance(message, _Result):
                    assert done is not None
                    yield done.job, message.value
    finally:
        for connection, member in members.items():
            member.process.terminate()
            connection.close()
            ending.append(member.process)
        for process in ending:
            _end(process)


def _readable(members: dict[Connection, _Member[Any]], timeout: float | None) -> Iterator[Connection]:
    """Wait for processes to send a message or die, for up to `_LONGEST_WAIT`, and yield these.

    Processes that exceed the time limit are killed.
    """
    longest = _LONGEST_WAIT
    if timeout is not None:
        now = time.monotonic()
        remaining = min((m.since + timeout - now for m in members.values() if m.task), default=timeout)
        longest = max(0.0, min(longest, remaining))
    ready = wait(list(members), longest)
    if not ready and timeout is not None:
        for member in members.values():
            if member.task and time.monotonic() - member.since >= timeout:
                member.late = True
                member.process.kill()
    for connection in ready:
        assert isinstance(connection, Connection)
        yield connection


def _received(connection: Connection) -> Any:
    """The message of a process; None if it has died."""
    try:
        return connection.recv()
    except (EOFError, OSError):
        return None


def _start(members: dict[Connection, _Member[J]], make: Callable[[], Callable[[J], R]]) -> None:
    """Start a process, in which SIGINT is blocked from the beginning: the parent handles it and ends the others."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, make), name="dcacodec-worker", daemon=True)
    resource_tracker.ensure_running()  # it changes the signal mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
        members[ours] = _Member(process)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()


def _end(process: BaseProcess) -> None:
    """Wait for the end of a terminated process."""
    process.join(_GRACE_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()


def _serve(connection: Connection, make: Callable[[], Callable[[J], R]]) -> None:
    """The main function of a process: reports that it is ready, then does jobs until the connection is closed."""
    signal.signal(signal.SIGTERM, _leave)
    warnings.simplefilter("ignore")  # also where PYTHONWARNINGS makes them errors; jobs catch those that they report
    try:
        with suppress(EOFError, OSError):  # the parent has closed the connection, or is gone
            try:
                work = make()
            except Exception as error:
                connection.send(_Raised(WorkerError(reason(error))))
                return
            connection.send(_Ready())
            while True:
                connection.send_bytes(_outcome(work, connection.recv()))
    finally:  # a second signal (a process group may get two) must not interrupt the end
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _outcome(work: Callable[[J], R], job: J) -> memoryview:
    """The pickled `_Result` of a job, or the pickled `_Raised` of an error, also of one in pickling the result."""
    try:
        return ForkingPickler.dumps(_Result(work(job)))
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # it cannot be sent
            return ForkingPickler.dumps(_Raised(RuntimeError(f"{type(error).__name__}: {error}")))
        return ForkingPickler.dumps(_Raised(error))


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
