"""Workers as processes on this machine."""

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial

from dcacodec.batch.plan import Job
from dcacodec.batch.work import MakeWorker, Outcome, Outcomes, Worker
from dcacodec.errors import BatchError, WorkerError
from dcacodec.processes import pool


def run_in_processes(
    jobs: Sequence[Job],
    make: MakeWorker,
    *,
    processes: int,
    threads: int,
    retried: Callable[[Job, str], object] = lambda job, how: None,
) -> Outcomes:
    """Do all jobs; outcomes are yielded as they become ready.

    A worker that dies is replaced, and its job is retried once. When the iterator is closed, or an exception is raised
    in it (Ctrl-C), the workers end and remove the files they were writing.

    Args:
        jobs: what to do.
        make: makes a worker; it is pickled.
        processes: maximum number of workers, 1 or more.
        threads: of torch in each worker; the environment variable OMP_NUM_THREADS takes precedence.
        retried: called with a job whose worker has died and that is tried again, and how the worker ended.

    Raises:
        BatchError: a worker cannot be made, or dies before its first job.
    """
    try:
        with closing(pool.run(jobs, partial(_made, make, threads), processes, retried=retried)) as results:
            for job, outcome in results:
                yield Outcome(job, error=str(outcome)) if isinstance(outcome, pool.Lost) else outcome
    except WorkerError as error:
        raise BatchError(str(error)) from error


def _made(make: MakeWorker, threads: int) -> Worker:
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    return make()
