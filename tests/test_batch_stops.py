"""Batches: full disks and interrupts, and that the next run does the rest."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from batch_runs import call, fill, ledger, picture_tree
from batch_worker import Capitals
from waiting import wait_for

from dcacodec.batch.plan import make_plan
from dcacodec.cli.batch import NO_SPACE
from dcacodec.format.reader import parse
from dcacodec.images.formats import picture_suffixes


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return picture_tree(tmp_path_factory.mktemp("batch"))


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_full_disk_is_reported_in_a_line_and_the_next_run_does_the_rest(
    jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two workers, one of which never finishes."""
    monkeypatch.setattr("dcacodec.cli.batch.Encoding", lambda **settings: Capitals(tmp_path))
    fill(tmp_path, "in/a.png", "in/full.png", "in/full.webp", "in/later.png", *(["in/endless.png"] if jobs > 1 else []))
    command = ("--json", "--keep-suffix", "--jobs", str(jobs), tmp_path / "in", tmp_path / "out")
    result = call(*command)
    facts = json.loads(result.stdout)
    *errors, summary, stop = result.stderr.splitlines()
    whys = [f"{tmp_path}/out/full.{suffix}.dca: No space left on device" for suffix in ("png", "webp")]
    names = [f"{tmp_path}/in/full.{suffix}" for suffix in ("png", "webp")]
    assert errors == [f"dcacodec: error: {name}: {why}" for name, why in zip(names, whys, strict=True)]
    assert summary.startswith(f"1 of {3 + jobs} files coded, 2 failed, {jobs} not yet coded; ")
    assert stop == f"dcacodec: error: {NO_SPACE}"
    assert (result.exit_code, facts["done"], facts["failed"], facts["waiting"]) == (1, 1, 2, jobs)
    assert facts["failures"] == [{"source": name, "error": why} for name, why in zip(names, whys, strict=True)]
    assert "a.png.dca" in ledger(tmp_path) and "full.png.dca" not in ledger(tmp_path)

    (tmp_path / "room").touch()
    (tmp_path / "in" / "endless.png").unlink(missing_ok=True)
    facts = json.loads(call(*command).stdout)
    assert (facts["done"] + facts["skipped"], facts["failed"], facts["waiting"]) == (4, 0, 0)
    assert ledger(tmp_path) == ["a.png.dca", "full.png.dca", "full.webp.dca", "later.png.dca"]


def test_files_that_are_too_large_for_a_disk_do_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcacodec.cli.batch.Encoding", lambda **settings: Capitals(tmp_path))
    fill(tmp_path, "in/a/full.png", "in/b.png", "in/c/full.png", "in/d.png", "in/e/full.png")
    result = call("--json", "--jobs", "1", tmp_path / "in", tmp_path / "out")
    facts = json.loads(result.stdout)
    assert (result.exit_code, facts["done"], facts["failed"], facts["waiting"]) == (1, 2, 3, 0)
    assert NO_SPACE not in result.stderr


@pytest.mark.slow
def test_ctrl_c_leaves_whole_files_only_and_the_next_run_does_the_rest(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    names = [f"{number:03}.png" for number in range(200)]
    for name in names:
        shutil.copy(pictures / "in" / "a.png", tmp_path / "in" / name)
    command = [sys.executable, "-m", "dcacodec", "batch", "--jobs", "1", "--device", "cpu", "--json"]
    with subprocess.Popen(
        [*command, str(tmp_path / "in"), str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        cwd=Path(__file__).parent.parent,
    ) as process:
        wait_for((tmp_path / "out" / names[0].replace("png", "dca")).exists)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers are in the group too
        out, error = process.communicate(timeout=60)
    assert process.returncode == 130
    summary, last = error.decode().splitlines()
    assert re.match(r"\d+ of 200 files coded, \d+ not yet coded; ", summary)
    assert last == "dcacodec: error: interrupted"
    facts = json.loads(out)
    written = sorted((tmp_path / "out").iterdir())
    assert 0 < len(written) < 200
    # One may be in its place that the worker could not tell about.
    assert len(written) - facts["done"] in (0, 1)
    assert facts["done"] + facts["waiting"] == 200
    assert [path.name for path in written] == [name.replace("png", "dca") for name in names[: len(written)]]
    assert {path.read_bytes() for path in written} == {written[0].read_bytes()}
    assert parse(written[0].read_bytes(), None).header.width == 56

    plan = make_plan([str(tmp_path / "in")], tmp_path / "out", picture_suffixes(), ".dca")
    assert [job.source.name for job in plan.jobs] == names[len(written) :]
    assert [job.target for job in plan.skipped] == written
