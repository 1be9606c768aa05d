"""Batches: workers in several processes, and that nothing is lost when they are killed."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from batch_runs import fill, ledger, planned, target_folders
from batch_worker import Capitals, no_start, no_weights
from waiting import wait_for

from dcacodec.batch.local import run_in_processes
from dcacodec.batch.work import MakeWorker
from dcacodec.errors import BatchError
from dcacodec.files.temporary import remove_leftovers


def do(root: Path, make: MakeWorker, processes: int = 2) -> dict[str, str | None]:
    """All of the folder `in`: error by name."""
    jobs = planned(root, "in", force=True).jobs
    outcomes = list(run_in_processes(jobs, make, processes=processes, threads=1))
    assert sorted(outcome.job.source for outcome in outcomes) == sorted(job.source for job in jobs)
    return {outcome.job.source.stem: outcome.error for outcome in outcomes}


def test_a_killed_worker_loses_nothing_and_does_nothing_twice(tmp_path: Path) -> None:
    names = ["a", "b", "c", "half", "whole"]
    fill(tmp_path, *(f"in/{name}.txt" for name in names), "out/whole.dca")
    assert do(tmp_path, Capitals(tmp_path)) == dict.fromkeys(names)
    assert sorted(path.name for path in tmp_path.glob("died-*")) == ["died-half.txt", "died-whole.txt"]
    assert ledger(tmp_path) == [f"{name}.dca" for name in names]
    for name in names:
        assert (tmp_path / "out" / f"{name}.dca").read_text() == f"TEXT OF {name.upper()}"
    # The one that was killed while it wrote could not clean up. Where a file has a name before it is whole, a later
    # run does.
    left = list((tmp_path / "out").glob(".dcacodec-*.tmp"))
    assert [path.read_text() for path in left] == ([] if sys.platform.startswith("linux") else ["TEX"])
    assert remove_leftovers(target_folders(planned(tmp_path, "in", force=True)), now=time.time() + 3700) == len(left)


def test_a_source_that_changes_while_it_is_coded_is_left_to_the_next_run(tmp_path: Path) -> None:
    """Its target would be newer than the new source, and up to date from then on."""
    fill(tmp_path, "in/changing.txt")
    expected = {"changing": "it was changed while it was coded: run the same command again"}
    assert do(tmp_path, Capitals(tmp_path)) == expected
    assert not list(tmp_path.glob("out/*"))
    assert do(tmp_path, Capitals(tmp_path)) == {"changing": None}
    assert (tmp_path / "out" / "changing.dca").read_text() == "ANOTHER TEXT"


def test_what_no_worker_survives_is_a_failure(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.txt", "in/bad.txt", "in/deadly.txt", "in/odd.txt", "in/z.txt")
    assert do(tmp_path, Capitals(tmp_path), processes=1) == {
        "a": None,
        "bad": "no capitals for it",
        "deadly": "its worker process ended 2 times (killed by signal 9); is there enough memory?",
        "odd": "internal error: RuntimeError: who would have thought",
        "z": None,
    }
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.dca", "z.dca"]


@pytest.mark.parametrize(
    ("make", "message"),
    [(no_weights, "there are no weights"), (no_start, "a worker process ended before its first job")],
)
def test_workers_that_cannot_start(make: MakeWorker, message: str, tmp_path: Path) -> None:
    fill(tmp_path, "in/a.txt", "in/b.txt")
    with pytest.raises(BatchError) as caught:
        do(tmp_path, make)
    assert str(caught.value) == message


def test_stopping_ends_the_workers_and_leaves_no_half_file(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.txt", "in/endless.txt", "in/later.txt")
    outcomes = run_in_processes(planned(tmp_path, "in").jobs, Capitals(tmp_path), processes=1, threads=1)
    assert next(outcomes).job.target.name == "a.dca"
    wait_for((tmp_path / "writing").exists)
    (worker,) = {int(line.split()[1]) for line in (tmp_path / "ledger").read_text().splitlines()}
    outcomes.close()
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.dca"]


def test_a_folder_for_which_there_is_no_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **options: bool) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), str(path))

    fill(tmp_path, "in/a.txt", "in/bad.txt")
    monkeypatch.setattr(Path, "mkdir", refuse)
    full, bad = map(Capitals(tmp_path)(), planned(tmp_path, "in").jobs)
    assert (full.error, full.disk_full) == (f"{tmp_path}/out: {os.strerror(errno.EDQUOT)}", True)
    assert (bad.error, bad.disk_full) == ("no capitals for it", False)


SCRIPT = """
import sys
from pathlib import Path
from batch_worker import Capitals
from dcacodec.batch.plan import make_plan
from dcacodec.batch.local import run_in_processes

if __name__ == "__main__":
    root = Path(sys.argv[1])
    plan = make_plan([str(root / "in")], root / "out", {".txt"}, ".dca")
    for outcome in run_in_processes(plan.jobs, Capitals(root), processes=1, threads=1):
        print(outcome.job.target.name, flush=True)
"""


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    fill(tmp_path, *(f"in/{number:03}.txt" for number in range(400)))
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"000.dca\n"
        process.kill()
    worker = int((tmp_path / "ledger").read_text().split()[1])
    for _ in range(3000):
        try:
            state = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            break
        if state == "Z":  # it has ended, and nobody asks
            break
        time.sleep(0.01)
    else:
        raise AssertionError("the worker continues")
    assert ledger(tmp_path)[-1] < "399.dca"
    assert all((tmp_path / "out" / name).read_text().startswith("TEXT OF") for name in ledger(tmp_path))
