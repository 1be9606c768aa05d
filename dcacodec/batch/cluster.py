"""Workers as Ray actors, on one machine or many: Ray Data schedules jobs, restarts workers and retries lost jobs.

The machines need a common file system with the sources and the targets.
"""

import logging
import os
import pickle
import re
import signal
import socket
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from dcacodec.batch.plan import Job
from dcacodec.batch.work import MakeWorker, Outcome, Outcomes, Worker
from dcacodec.errors import BatchError, reason

_BLOCKS: Final = 1000
"""Maximum number of Ray's units of work. Up to that each holds one job, above it several: a unit costs milliseconds."""

_RETRIES: Final = 2
"""How many times Ray retries a unit whose worker died."""

_CONNECT_SECONDS: Final = 10.0

_STORE_BYTES: Final = 100 << 20
"""Memory of a local cluster's object store, which holds only names and sizes."""


class _Actor:
    """A worker for Ray Data: rows with pickled jobs become rows with pickled outcomes."""

    def __init__(self, make: MakeWorker) -> None:
        self.worker: Worker | None = None
        try:
            self.worker = make()
        except Exception as error:  # Ray would restart it forever
            self.why = reason(error)

    def __call__(self, rows: dict[str, Any]) -> dict[str, list[Any]]:
        if self.worker is None:
            return {"number": [-1], "outcome": [pickle.dumps(BatchError(self.why))]}
        outcomes = [pickle.dumps(self.worker(pickle.loads(job))) for job in rows["job"]]
        return {"number": list(rows["number"]), "outcome": outcomes}


def run_on_ray(
    jobs: Sequence[Job], make: MakeWorker, address: str, *, workers: int | None = None, gpus: float = 0
) -> Outcomes:
    """Do all jobs on a Ray cluster; outcomes are yielded as they become ready.

    Files that a worker had finished before it died are not written again, see `Job.before`.

    Args:
        jobs: what to do.
        make: makes a worker; it is pickled.
        address: of a running cluster as `ray.init` takes it, such as "host:6379" or "auto"; "local" starts one on this
            machine, for the time of the batch. If this process is already connected, that connection is used.
        workers: maximum number; None for as many as the cluster can run. Each takes a processor.
        gpus: number that each worker takes.

    Raises:
        BatchError: Ray is not installed or cannot be reached, or a worker cannot be made.
    """
    # Without these, Ray sends usage statistics and prints internal log messages.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
    except ImportError as error:
        raise BatchError("Ray is not installed: pip install 'dcacodec[ray]'") from error
    ours = not ray.is_initialized()
    try:
        if ours:
            _connect(address, workers)
        kind = "GPU" if gpus else "CPU"
        room = int(ray.cluster_resources().get(kind, 0))
        if not room:
            raise BatchError(f"Ray at {address}: the cluster has no {kind}")
        count = min(workers or room, room)
        left = dict(enumerate(jobs))
        yield from _done(left, make, count, gpus, _BLOCKS)
        if len(jobs) > _BLOCKS:  # jobs that were lost because they shared a unit with a fatal one
            yield from _done(left, make, count, gpus, len(left))
        for job in left.values():
            yield Outcome(job, error=f"its worker process died {1 + _RETRIES} times; is there enough memory?")
    except ray.exceptions.RayError as error:
        raise BatchError(f"Ray: {str(error).strip().splitlines()[0]}") from error
    finally:
        if ours:
            ray.shutdown()


def _connect(address: str, workers: int | None) -> None:
    import ray

    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
    before = signal.getsignal(signal.SIGTERM)
    try:
        if address == "local":
            ray.init(address, num_cpus=workers, object_store_memory=_STORE_BYTES, **quiet)
        else:
            if host := re.fullmatch(r"([^:/]+):(\d+)", address):  # Ray itself would retry for minutes
                socket.create_connection((host[1], int(host[2])), _CONNECT_SECONDS).close()
            ray.init(address, **quiet)
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BatchError(f"Ray at {address}: {' '.join(why.split())}") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # which Ray replaces


def _done(left: dict[int, Job], make: MakeWorker, count: int, gpus: float, blocks: int) -> Outcomes:
    """One pass over the jobs in `left`: each outcome removes its job. Jobs that Ray has given up stay there."""
    import ray.data

    if not left:
        return
    # A worker may run in another working directory.
    rows = [
        {
            "number": number,
            "job": pickle.dumps(replace(job, source=_absolute(job.source), target=_absolute(job.target))),
        }
        for number, job in left.items()
    ]
    with _settings():
        outcomes = ray.data.from_items(rows, override_num_blocks=min(len(rows), blocks)).map_batches(
            _Actor,
            fn_constructor_args=(make,),
            batch_size=None,
            # One at a time, so that only one unit is lost with a worker.
            compute=ray.data.ActorPoolStrategy(size=min(count, len(rows)), max_tasks_in_flight_per_actor=1),
            num_cpus=1,
            num_gpus=gpus or None,
            max_task_retries=_RETRIES,
        )
    for row in outcomes.iter_rows():
        outcome = pickle.loads(row["outcome"])
        if isinstance(outcome, BatchError):
            raise outcome
        if row["number"] in left:
            yield replace(outcome, job=left.pop(row["number"]))


@contextmanager
def _settings() -> Iterator[None]:
    """Ray Data's settings for the data sets that are made in the block."""
    from ray.data import DataContext

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = DataContext.get_current()
    before = context.enable_progress_bars, context.max_errored_blocks
    # The batch has its own progress bar, and a job that kills its workers must not end the others.
    context.enable_progress_bars, context.max_errored_blocks = False, -1
    try:
        with warnings.catch_warnings():
            # The only way to limit retries; Ray 2.64 removes it, hence the upper bound in setup.cfg.
            warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
            yield
    finally:
        context.enable_progress_bars, context.max_errored_blocks = before


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))
