"""Workers as processes of this machine: each is sent one job at a time, so that it is known which one it fell with.

`concurrent.futures` gives up all that is waiting when a process of its pool dies, and cannot tell on what it worked.
"""

import multiprocessing
import os
import signal
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Final, NoReturn

from dcacodec.batch.plan import Job
from dcacodec.batch.work import MakeWorker, Outcome, Outcomes
from dcacodec.errors import BatchError, reason

ATTEMPTS: Final = 2
"""How many workers may fall with a job. One may be killed by accident; a second one says that it is the job."""

_GRACE_SECONDS: Final = 10.0
"""How long a worker that is told to end may take: to leave a computation and remove the file it was writing."""


@dataclass
class _Member:
    """A worker's process, and the job that it has."""

    process: BaseProcess
    job: Job | None = None


def run_in_processes(jobs: Sequence[Job], make: MakeWorker, processes: int, threads: int) -> Outcomes:
    """Do all jobs; outcomes come as they are ready.

    A worker that dies is replaced, and its job done again, once. When the iterator is closed, or an exception is
    raised where it waits (Ctrl-C), the workers end and remove what they were writing.

    Args:
        jobs: what to do.
        make: makes a worker; it is pickled.
        processes: at most so many at a time, 1 or more.
        threads: of torch, for each of them; the environment variable OMP_NUM_THREADS overrules it.

    Raises:
        BatchError: a worker cannot be made, or dies before its first job.
    """
    waiting, falls = deque(jobs), Counter[Job]()
    members: dict[Connection, _Member] = {}
    ending: list[BaseProcess] = []
    try:
        for _ in range(min(processes, len(jobs))):
            _start(members, make, threads)
        while members:
            for connection in wait(list(members)):
                assert isinstance(connection, Connection)
                member = members[connection]
                try:
                    message = connection.recv()
                except (EOFError, OSError):
                    del members[connection]
                    connection.close()
                    _end(member.process)
                    job = member.job
                    if job is None:
                        raise BatchError("a worker process ended before its first picture") from None
                    falls[job] += 1
                    if falls[job] < ATTEMPTS:
                        waiting.appendleft(job)
                    else:
                        yield Outcome(job, error=_died(member.process))
                    if waiting:
                        _start(members, make, threads)
                    continue
                if isinstance(message, BatchError):
                    raise message
                member.job = waiting.popleft() if waiting else None
                if member.job is None:
                    del members[connection]
                    connection.close()  # at which it ends
                    ending.append(member.process)
                else:
                    with suppress(OSError):  # it died meanwhile: the next look at it tells
                        connection.send(member.job)
                if isinstance(message, Outcome):
                    yield message
    finally:
        for connection, member in members.items():
            member.process.terminate()
            connection.close()
            ending.append(member.process)
        for process in ending:
            _end(process)


def _died(process: BaseProcess) -> str:
    code = process.exitcode or 0
    how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    return f"its worker process ended {ATTEMPTS} times ({how}); is there enough memory?"


def _start(members: dict[Connection, _Member], make: MakeWorker, threads: int) -> None:
    """Start a worker. Ctrl-C is for the parent, which ends the workers: they do not get it, from their first moment."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, make, threads), name="dcacodec-worker", daemon=True)
    resource_tracker.ensure_running()  # it sets the mask of signals itself
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
        members[ours] = _Member(process)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()


def _end(process: BaseProcess) -> None:
    """Wait for the end of a worker that was told to end."""
    process.join(_GRACE_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()


def _serve(connection: Connection, make: MakeWorker, threads: int) -> None:
    """The worker's process: tells that it is ready, then does what it is sent until the connection is closed."""
    signal.signal(signal.SIGTERM, _leave)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    try:
        with suppress(EOFError, OSError):  # the parent has closed the connection, or is gone
            try:
                worker = make()
            except Exception as error:
                connection.send(BatchError(reason(error)))
                return
            connection.send(None)
            while True:
                connection.send(worker(connection.recv()))
    finally:  # it ends now: another signal (a group of processes gets two) would only break that off
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
