"""Batches: what is planned, that workers lose nothing when they are killed, and the command."""

import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from batch_worker import Capitals, no_start, no_weights
from click.testing import CliRunner, Result
from PIL import ExifTags, Image, ImageCms
from pretend_gpu import pretended
from tiny import photo

from dcacodec import Codec, Picture, read_picture, write_picture
from dcacodec.batch.existing import count_larger, count_other_quality, count_other_weights
from dcacodec.batch.local import run_in_processes
from dcacodec.batch.plan import Job, Plan, Stamp, make_plan
from dcacodec.batch.report import Report
from dcacodec.batch.work import Decoding, Encoding, MakeWorker, Outcome, Outcomes
from dcacodec.cli.app import cli
from dcacodec.cli.batch import NO_SPACE, _resolved
from dcacodec.codec.targets import outcome
from dcacodec.errors import BatchError, ImageWarning
from dcacodec.files.temporary import remove_leftovers
from dcacodec.format.container import MAGIC, Container, Header, Slice
from dcacodec.format.reader import parse
from dcacodec.format.writer import pack
from dcacodec.images.formats import picture_suffixes
from dcacodec.ratecontrol import MaxBpp, MaxBytes, MinPsnr, Target, encode_to
from dcacodec.weights.reader import Weights

TEXT = {".txt"}


def fill(folder: Path, *names: str) -> None:
    """Files, each with its own name in it."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"text of {Path(name).stem}")


def pairs(plan: Plan, root: Path) -> list[tuple[str, str]]:
    return [(str(job.source.relative_to(root)), str(job.target.relative_to(root))) for job in plan.jobs]


def planned(root: Path, *sources: str, force: bool = False, keep_suffix: bool = False) -> Plan:
    paths = [str(root / source) for source in sources]
    return make_plan(paths, root / "out", TEXT, ".dca", force=force, keep_suffix=keep_suffix)


def target_folders(plan: Plan) -> set[Path]:
    return {job.target.parent for job in plan.jobs}


# ----------------------------------------------------------------------------------------------------------------- plan


def test_a_tree_is_mirrored(tmp_path: Path) -> None:
    fill(tmp_path, "in/b.txt", "in/a.b.TXT", "in/deep/er/c.txt", "in/note.md", "in/.hidden.txt", "in/.git/d.txt")
    plan = planned(tmp_path, "in")
    assert pairs(plan, tmp_path) == [
        ("in/a.b.TXT", "out/a.b.dca"),
        ("in/b.txt", "out/b.dca"),
        ("in/deep/er/c.txt", "out/deep/er/c.dca"),
    ]
    assert (plan.skipped, plan.failures, plan.warnings) == ((), (), ())
    assert plan.left_out == (tmp_path / "in/note.md",)
    assert not (tmp_path / "out").exists()


def test_files_and_folders_together(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.txt", "else/b.text", "c.txt")
    assert pairs(planned(tmp_path, "in", "else/b.text", "in/a.txt", "c.txt"), tmp_path) == [
        ("in/a.txt", "out/a.dca"),  # once, though named twice
        ("else/b.text", "out/b.dca"),  # a file that is named needs no suffix that is known
        ("c.txt", "out/c.dca"),
    ]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("in/*", ["a", "x/b", "x/y/c", "x2/d"]),  # folders that match are gone through
        ("in/*.txt", ["a"]),
        ("in/x?/*", ["x2/d"]),
        ("in/**/*.txt", ["a", "x/b", "x/y/c", "x2/d"]),
        ("in/**", ["a", "x/b", "x/y/c", "x2/d"]),
        ("in/[!a]/y", ["x/y/c"]),
        ("i*", ["in/a", "in/x/b", "in/x/y/c", "in/x2/d"]),  # what comes before the first sign is mirrored from
    ],
)
def test_patterns(pattern: str, found: list[str], tmp_path: Path) -> None:
    fill(tmp_path, "in/a.txt", "in/x/b.txt", "in/x/y/c.txt", "in/x2/d.txt", "in/.h/e.txt", "in/x/note.md", "in/.f.txt")
    targets = [job.target.relative_to(tmp_path / "out") for job in planned(tmp_path, pattern).jobs]
    assert sorted(map(str, targets)) == [f"{name}.dca" for name in found]


def test_a_name_that_looks_like_a_pattern(tmp_path: Path) -> None:
    fill(tmp_path, "a[1].txt", "a1.txt", "b[1]/c.txt")
    assert pairs(planned(tmp_path, "a[1].txt", "b[1]"), tmp_path) == [
        ("a[1].txt", "out/a[1].dca"),
        ("b[1]/c.txt", "out/c.dca"),
    ]


def test_what_is_not_older_than_its_source_is_skipped(tmp_path: Path) -> None:
    fill(tmp_path, "in/older.txt", "in/same.txt", "in/newer.txt", "in/none.txt", "out/older.dca", "out/same.dca")
    fill(tmp_path, "out/newer.dca")
    for name, seconds in (("older", -1), ("same", 0), ("newer", 1)):
        os.utime(tmp_path / f"in/{name}.txt", (1000, 1000))
        os.utime(tmp_path / f"out/{name}.dca", (1000 + seconds, 1000 + seconds))
    plan = planned(tmp_path, "in")
    assert pairs(plan, tmp_path) == [("in/none.txt", "out/none.dca"), ("in/older.txt", "out/older.dca")]
    assert [(job.source.name, job.target.name) for job in plan.skipped] == [
        ("newer.txt", "newer.dca"),
        ("same.txt", "same.dca"),
    ]
    found = (tmp_path / "out/older.dca").stat()
    assert [job.before for job in plan.jobs] == [None, Stamp(found.st_ino, 999 * 10**9, found.st_size)]
    forced = planned(tmp_path, "in", force=True)
    assert (len(forced.jobs), forced.skipped) == (4, ())


@pytest.mark.parametrize(
    ("names", "sources", "message"),
    [
        (
            ["in/a.txt", "in/a.TXT"],
            ["in"],
            "{0}/in/a.TXT and {0}/in/a.txt would both become {0}/out/a.dca; --keep-suffix keeps them apart",
        ),
        (
            ["in/a.txt", "in/a.TXT", "in/b/c.txt", "in/b/c.Txt", "in/b/c.TXT", "in/d.txt"],
            ["in"],
            (
                "{0}/in/a.TXT and {0}/in/a.txt would both become {0}/out/a.dca (and 2 more); "
                "--keep-suffix keeps them apart"
            ),
        ),
        (["x/a.txt", "y/a.txt"], ["x", "y"], "{0}/x/a.txt and {0}/y/a.txt would both become {0}/out/a.dca"),
        (  # --keep-suffix would not do for all
            ["x/a.txt", "x/a.TXT", "y/a.txt"],
            ["x", "y"],
            "{0}/x/a.TXT and {0}/x/a.txt would both become {0}/out/a.dca (and 1 more)",
        ),
        (["in/a.txt", "out/a.dca/b"], ["in"], "{0}/in/a.txt would become {0}/out/a.dca, which is a folder"),
        (
            ["in/a.txt", "in/a.dca/b.txt"],
            ["in"],
            "{0}/in/a.txt would become {0}/out/a.dca, which {0}/in/a.dca/b.txt needs as a folder",
        ),
        (["out/a.dca"], ["out/a.dca"], "{0}/out/a.dca would become {0}/out/a.dca, which is one of the sources"),
        ([], ["none"], "{0}/none: No such file or directory"),
        ([], ["*.txt"], "{0}/*.txt: no file matches"),
        (["in/note.md"], ["in"], "nothing to do: no file in {0}/in ends in .txt"),
        (["in/note.md"], ["in/*"], "nothing to do: no file in {0}/in/* ends in .txt"),
    ],
)
def test_what_is_refused(names: list[str], sources: list[str], message: str, tmp_path: Path) -> None:
    fill(tmp_path, *names)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BatchError) as caught:
        planned(tmp_path, *sources)
    assert str(caught.value) == message.format(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_suffix_that_is_kept(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.txt", "in/a.TXT", "in/x/b.c.txt", "in/none", "out/x/b.c.txt.dca")
    plan = planned(tmp_path, "in", "in/none", keep_suffix=True)
    assert pairs(plan, tmp_path) == [
        ("in/a.TXT", "out/a.TXT.dca"),
        ("in/a.txt", "out/a.txt.dca"),
        ("in/none", "out/none.dca"),
    ]
    assert [job.target for job in plan.skipped] == [tmp_path / "out/x/b.c.txt.dca"]


@pytest.mark.parametrize(
    ("names", "sources", "message"),
    [
        (["x/a.txt", "y/a.txt"], ["x", "y"], "{0}/x/a.txt and {0}/y/a.txt would both become {0}/out/a.txt.dca"),
        (
            ["in/a.txt", "in/a.txt.dca/b.txt"],
            ["in"],
            "{0}/in/a.txt would become {0}/out/a.txt.dca, which {0}/in/a.txt.dca/b.txt needs as a folder",
        ),
        (["in/a.txt", "out/a.txt.dca/b"], ["in"], "{0}/in/a.txt would become {0}/out/a.txt.dca, which is a folder"),
        (
            ["in/a.txt", "out/a.txt.dca"],
            ["in", "out/a.txt.dca"],
            "{0}/in/a.txt would become {0}/out/a.txt.dca, which is one of the sources",
        ),
    ],
)
def test_what_is_refused_though_the_suffix_is_kept(
    names: list[str], sources: list[str], message: str, tmp_path: Path
) -> None:
    fill(tmp_path, *names)
    with pytest.raises(BatchError) as caught:
        planned(tmp_path, *sources, keep_suffix=True)
    assert str(caught.value) == message.format(tmp_path)


def test_in_decoding_no_suffix_can_be_kept(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.dca", "in/a.DCA")
    with pytest.raises(BatchError) as caught:
        make_plan([str(tmp_path / "in")], tmp_path / "out", {".dca"}, ".png")
    assert str(caught.value) == f"{tmp_path}/in/a.DCA and {tmp_path}/in/a.dca would both become {tmp_path}/out/a.png"


def test_what_does_not_end_like_a_picture_is_left_out(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.txt", "in/x/b.md", "in/x/c", "in/d.text", "in/e.dca", "in/f.DCA", "in/.g.md", "in/.h/i.md")
    fill(tmp_path, "in/out/j.md", "in/k.md")
    (tmp_path / "in" / "link.md").symlink_to("k.md")
    (tmp_path / "in" / "gone.md").symlink_to("nowhere")
    os.mkfifo(tmp_path / "in" / "pipe")

    def left_out(*sources: str, suffixes: set[str] = TEXT, new_suffix: str = ".dca") -> list[str]:
        paths = [str(tmp_path / source) for source in sources]
        plan = make_plan(paths, tmp_path / "in" / "out", suffixes, new_suffix)
        assert (plan.failures, plan.warnings) == ((), ())
        return [str(path.relative_to(tmp_path / "in")) for path in plan.left_out]

    assert left_out("in") == ["d.text", "k.md", "link.md", "x/b.md", "x/c"]
    assert left_out("in/d.text", "in") == left_out("in", "in/d.text") == ["k.md", "link.md", "x/b.md", "x/c"]
    assert left_out("in/*") == left_out("in/**") == left_out("in/**/*") == left_out("in")
    assert left_out("in/*t") == ["d.text"]
    assert left_out("in", suffixes={".dca"}, new_suffix=".png") == []


def test_a_pattern_that_is_none(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.txt")
    try:
        plan = planned(tmp_path, "in/a**b*")  # newer versions of Python take it for a*b*
    except BatchError as error:
        assert str(error).startswith(f"{tmp_path}/in/a**b*: ")
    else:
        raise AssertionError(plan)


def test_a_pipe_is_no_picture(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.txt")
    os.mkfifo(tmp_path / "in" / "pipe.txt")
    assert pairs(planned(tmp_path, "in"), tmp_path) == [("in/a.txt", "out/a.dca")]
    with pytest.raises(BatchError, match=r"pipe.txt: not a file and not a folder$"):
        planned(tmp_path, "in/pipe.txt")


def test_decoding_beside_the_coded_file_is_refused(tmp_path: Path) -> None:
    """The original could be there, and would be lost."""
    fill(tmp_path, "in/x/a.dca")
    (tmp_path / "link").symlink_to("in")
    for folder in ("in", "link", "in/x/.."):
        with pytest.raises(BatchError, match=r"in/x/a\.dca: decode to another folder$"):
            make_plan([str(tmp_path / "in")], tmp_path / folder, {".dca"}, ".png")


def test_in_decoding_what_is_older_is_kept(tmp_path: Path) -> None:
    """It may be the original, which is older than what was made of it."""
    fill(tmp_path, *(f"in/{name}.dca" for name in ("older", "same", "newer", "none")))
    for name, seconds in (("older", -1), ("same", 0), ("newer", 1)):
        fill(tmp_path, f"out/{name}.png")
        os.utime(tmp_path / f"in/{name}.dca", (1000, 1000))
        os.utime(tmp_path / f"out/{name}.png", (1000 + seconds, 1000 + seconds))
    plan, forced = (
        make_plan([str(tmp_path / "in")], tmp_path / "out", {".dca"}, ".png", force=force) for force in (False, True)
    )
    assert [[job.source.stem for job in jobs] for jobs in (plan.jobs, plan.skipped, plan.kept)] == [
        ["none"],
        ["newer", "same"],
        ["older"],
    ]
    assert (len(forced.jobs), forced.skipped, forced.kept) == (4, (), ())


def test_links(tmp_path: Path) -> None:
    fill(tmp_path, "in/x/a.txt", "away/b.txt")
    (tmp_path / "in" / "away").symlink_to(tmp_path / "away")
    (tmp_path / "in" / "file.txt").symlink_to(tmp_path / "away" / "b.txt")
    (tmp_path / "in" / "gone.txt").symlink_to("nowhere")
    (tmp_path / "in" / "x" / "up").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "x" / "self").symlink_to(".")
    plan = planned(tmp_path, "in")
    assert pairs(plan, tmp_path) == [
        ("in/away/b.txt", "out/away/b.dca"),
        ("in/file.txt", "out/file.dca"),
        ("in/x/a.txt", "out/x/a.dca"),
    ]
    inside = "ignored, as it is a link to a folder that contains it"
    assert plan.warnings == (f"{tmp_path}/in/x/self: {inside}", f"{tmp_path}/in/x/up: {inside}")
    assert plan.failures == ((tmp_path / "in/gone.txt", "No such file or directory"),)
    starred = planned(tmp_path, "in/**/*.txt")  # follows no link to a folder
    assert [name for name, _ in pairs(starred, tmp_path)] == ["in/file.txt", "in/x/a.txt"]
    assert pairs(planned(tmp_path, "in/**"), tmp_path) == pairs(plan, tmp_path)


def test_the_target_folder_inside_of_a_source_is_left_out(tmp_path: Path) -> None:
    fill(tmp_path, "a.txt", "out/b.txt", "out/deep/c.txt", "other/d.txt")
    for source in (".", "*", "**"):
        found = [name for name, _ in pairs(planned(tmp_path, source), tmp_path)]
        assert sorted(found) == ["a.txt", "other/d.txt"], source
    inside = make_plan([str(tmp_path)], tmp_path, TEXT, ".dca")  # beside the pictures is a fine place for coded files
    assert len(inside.jobs) == 4


def test_a_file_as_target_folder(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.txt", "out")
    with pytest.raises(NotADirectoryError):
        planned(tmp_path, "in")


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "in/a.txt", "in/locked/b.txt")
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    plan = planned(tmp_path, "in")
    assert pairs(plan, tmp_path) == [("in/a.txt", "out/a.dca")]
    assert plan.failures == ((tmp_path / "in/locked", "Permission denied"),)
    only = planned(tmp_path, "in/locked")
    assert (only.jobs, len(only.failures)) == ((), 1)


def test_a_target_that_cannot_be_looked_at_is_named(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.txt", "file")
    plan = make_plan([str(tmp_path / "in")], tmp_path / "file" / "out", {".txt"}, ".dca")
    assert plan.failures == ((tmp_path / "in/a.txt", f"{tmp_path / 'file/out/a.dca'}: Not a directory"),)


def test_an_endless_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcacodec.files.bounded._BYTES_BESIDES", 1000)
    path = tmp_path / "in.dca"
    path.write_bytes(MAGIC + bytes(1100))
    outcome = Decoding(format="png", device="cpu", max_pixels=10)()(Job(path, tmp_path / "out.png", None))
    assert outcome.error == "more than 1080 bytes, the limit for pictures of 10 pixels"


def test_the_suffixes_of_pictures() -> None:
    found = picture_suffixes()
    assert found >= {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".bmp", ".gif", ".qoi"}
    assert not found & {".dca", ".eps", ".pdf", ".txt", ""}


def test_leftovers_of_killed_runs_are_removed(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.txt", "in/x/b.txt")
    old, new = f".dcacodec-{'0' * 16}.tmp", f".dcacodec-{'f' * 16}.tmp"
    fill(tmp_path, f"out/{old}", f"out/{new}", f"out/x/{old}", "out/.dcacodec-0.tmp", f"out/y/{old}", f"in/{old}")
    (tmp_path / "out" / f".dcacodec-{'1' * 16}.tmp").mkdir()
    now = time.time()
    for path in tmp_path.rglob(".dcacodec-*"):
        os.utime(path, (now - 3601, now - 3601))
    os.utime(tmp_path / "out" / new, (now - 3599, now - 3599))  # somebody may be writing it
    assert remove_leftovers(target_folders(planned(tmp_path, "in")), now=now) == 2
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob(".dcacodec-*"))
    assert left == sorted(
        [f"in/{old}", "out/.dcacodec-0.tmp", f"out/.dcacodec-{'1' * 16}.tmp", f"out/{new}", f"out/y/{old}"]
    )


# ----------------------------------------------------------------------------------------------------------------- pool


def do(root: Path, make: MakeWorker, processes: int = 2) -> dict[str, str | None]:
    """All of the folder `in`: error by name."""
    jobs = planned(root, "in", force=True).jobs
    outcomes = list(run_in_processes(jobs, make, processes=processes, threads=1))
    assert sorted(outcome.job.source for outcome in outcomes) == sorted(job.source for job in jobs)
    return {outcome.job.source.stem: outcome.error for outcome in outcomes}


def ledger(root: Path) -> list[str]:
    """The names that were put into their places, each as often as it was."""
    return sorted((root / "ledger").read_text().split()[::2])


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
    wait_for(tmp_path / "writing")
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


def wait_for(path: Path) -> None:
    for _ in range(3000):
        if path.exists():
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} does not come")


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


# --------------------------------------------------------------------------------------------------------------- report


def test_the_summary() -> None:
    job = Job(Path("a\nb"), Path("c"), None)
    report = Report(skipped=3, kept=2, other_quality=2, above_target=1, left_out=5, waiting=4)
    assert report.line() == (
        "0 of 9 files coded, 3 skipped (up to date), 2 left alone (older pictures), 4 not yet coded; 0.0 s"
    )
    report.add(Outcome(job, 1_000_000, 100_000))
    report.add(Outcome(job, 999, 0, search="quality 1: far from it", target_met=False))
    report.add(Outcome(job, error="bad"))
    report.seconds = 61.26
    assert report.line() == (
        "2 of 9 files coded, 1 of them missed the target, 3 skipped (up to date), 2 left alone (older pictures), "
        "1 failed, 1 not yet coded; "
        "1.0 MB -> 100.0 kB, 90.0 % saved; 61.3 s"
    )
    assert report.facts() == {
        "done": 2,
        "skipped": 3,
        "kept": 2,
        "other_weights": 0,
        "other_quality": 2,
        "above_target": 1,
        "left_out": 5,
        "missed": 1,
        "failed": 1,
        "waiting": 1,
        "bytes_in": 1_000_999,
        "bytes_out": 100_000,
        "saved_percent": 90.01,
        "seconds": 61.26,
        "misses": [{"source": "a\nb", "result": "quality 1: far from it"}],
        "failures": [{"source": "a\nb", "error": "bad"}],
    }
    decoded = Report(done=2, waiting=1, bytes_in=1000, bytes_out=2500, decoding=True)
    assert decoded.line() == "2 of 3 files decoded, 1 not yet decoded; 1.0 kB -> 2.5 kB; 0.0 s"
    assert decoded.facts()["saved_percent"] is None
    larger = Report(done=1, bytes_in=100, bytes_out=950)
    assert larger.line() == "1 of 1 files coded; 100 B -> 950 B, 850.0 % larger; 0.0 s"
    assert Report().facts()["saved_percent"] is None


# -------------------------------------------------------------------------------------------------------------- command


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["batch", *map(str, arguments)], prog_name="dcacodec")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures in a tree, one of them of 16 bits, and one that is none."""
    root = tmp_path_factory.mktemp("batch")
    (root / "in" / "deep").mkdir(parents=True)
    Image.fromarray(photo(40, 56)).save(root / "in" / "a.png")
    Image.fromarray(photo(33, 64, 1)).save(root / "in" / "deep" / "b.tif")
    Image.fromarray(photo(24, 24)[..., 0].astype(np.uint16) * 257).save(root / "in" / "deep" / "wide.png")
    (root / "in" / "bad.png").write_bytes(b"no picture")
    return root


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec.load("small", device="cpu")


@pytest.mark.slow
def test_libraries_do_not_write_to_standard_error_by_themselves(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    buffer = io.BytesIO()
    Image.fromarray(photo(64, 64)).save(buffer, "TIFF", compression="tiff_lzw")
    data = bytearray(buffer.getvalue())
    data[40:400] = bytes(360)  # of this libtiff has something to say
    (tmp_path / "in" / "bad.tif").write_bytes(data)
    folders = (str(tmp_path / "in"), str(tmp_path / "out"))
    command = [sys.executable, "-m", "dcacodec", "batch", "--quiet", "-j", "1", *folders]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"dcacodec: error: {tmp_path}/in/bad.tif: the picture is damaged")


def test_there_and_back(pictures: Path, codec: Codec) -> None:
    root, options = pictures, ("--jobs", "1", "--device", "cpu")
    result = call("--json", "--quality", "30", *options, root / "in", root / "out")
    facts = json.loads(result.stdout)
    assert result.exit_code == 1
    error, warning, summary = result.stderr.splitlines()
    head, why = error.split(f"{root}/in/bad.png: ")  # it names the formats, which depend on what is installed
    assert head == "dcacodec: error: "
    assert warning == f"dcacodec: warning: {root}/in/deep/wide.png: samples of 16 bits are rounded to 8"
    assert summary.startswith("3 of 4 files coded, 1 failed; ")

    done = {"a.png": "a.dca", "deep/b.tif": "deep/b.dca", "deep/wide.png": "deep/wide.dca"}
    for source, target in done.items():
        with pytest.warns(ImageWarning) if "wide" in source else nullcontext():
            expected = codec.encode(read_picture(root / "in" / source), quality=30)
        assert (root / "out" / target).read_bytes() == expected
    written = sorted(path for path in (root / "out").rglob("*") if path.is_file())
    assert written == sorted(root / "out" / target for target in done.values())
    sizes = [sum(path.stat().st_size for path in paths) for paths in ([root / "in" / name for name in done], written)]
    assert facts.pop("seconds") > 0
    assert facts == {
        "done": 3,
        "skipped": 0,
        "kept": 0,
        "other_weights": 0,
        "other_quality": 0,
        "above_target": 0,
        "left_out": 0,
        "missed": 0,
        "failed": 1,
        "waiting": 0,
        "bytes_in": sizes[0],
        "bytes_out": sizes[1],
        "saved_percent": round(100 - 100 * sizes[1] / sizes[0], 2),
        "misses": [],
        "failures": [{"source": f"{root}/in/bad.png", "error": why}],
    }

    result = call("--quiet", "--decode", *options, root / "out", root / "back")
    assert (result.exit_code, result.output) == (0, "")
    for source, target in done.items():
        picture = codec.decode((root / "out" / target).read_bytes())
        back = read_picture((root / "back" / source).with_suffix(".png"))
        assert np.array_equal(back.pixels, picture.pixels)
        assert back.gray == picture.gray

    # What is done is not done again, and no worker is started for it: the weights could be missing.
    before = {path: path.stat().st_mtime_ns for path in written}
    (root / "in" / "bad.png").unlink()
    again = call("--json", "--verbose", "--quality", "90", "--device", "cuda", root / "in", root / "out")
    facts = json.loads(again.stdout)
    assert (again.exit_code, facts["done"], facts["skipped"], facts["other_quality"]) == (0, 0, 3, 3)
    *lines, warning, summary = again.stderr.splitlines()
    assert lines == [
        f"{root}/in/{source} skipped: {root}/out/{target} is up to date" for source, target in done.items()
    ]
    assert warning == (
        "dcacodec: warning: 3 of the skipped files are of another quality than 90; --force encodes them again"
    )
    assert re.fullmatch(r"0 of 3 files coded, 3 skipped \(up to date\); \d+\.\d s", summary)
    assert {path: path.stat().st_mtime_ns for path in written} == before
    again = call("--json", "--decode", root / "out", root / "back")
    facts = json.loads(again.stdout)
    assert (again.exit_code, facts["skipped"], facts["other_quality"], facts["left_out"]) == (0, 3, 0, 0)
    assert len(again.stderr.splitlines()) == 1


def test_decoding_into_the_folder_of_the_originals_keeps_them(tmp_path: Path, codec: Codec) -> None:
    """Also if it is tried again; what has no original is decoded, and --force replaces all."""
    coded, originals = tmp_path / "coded", tmp_path / "originals"
    for folder in (coded, originals):
        folder.mkdir()
    for name in "abc":
        (coded / f"{name}.dca").write_bytes(codec.encode(Picture(photo(24, 24))))
    for name in "ab":
        Image.fromarray(photo(24, 24)).save(originals / f"{name}.png")
        os.utime(originals / f"{name}.png", (1000, 1000))
    before = (originals / "a.png").read_bytes()
    command = ("--decode", "--json", "--jobs", "1", "--device", "cpu", coded, originals)
    for done in (1, 0):
        result = call("--quiet", *command)
        facts = json.loads(result.stdout)
        assert result.exit_code == 1
        assert (facts["done"], facts["skipped"], facts["kept"], facts["failed"]) == (done, 1 - done, 2, 0)
        (line,) = result.stderr.splitlines()
        assert line.startswith(f"dcacodec: error: {originals}/a.png (and 1 more): ") and "--force" in line
        assert (originals / "a.png").read_bytes() == before
    told = call("--verbose", *command).stderr.splitlines()
    assert [line for line in told if f"{coded}/b.dca" in line and f"{originals}/b.png" in line]
    forced = call("--force", *command)
    facts = json.loads(forced.stdout)
    assert (forced.exit_code, facts["done"], facts["kept"]) == (0, 3, 0)
    assert (originals / "a.png").read_bytes() != before


@pytest.mark.parametrize("quality", [None, 90])
def test_lossy_pictures_have_a_quality_and_one_warning(quality: int | None, tmp_path: Path, codec: Codec) -> None:
    picture = Picture(photo(24, 24), xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + b" " * 70_000)
    fill(tmp_path, "in/a.dca", "in/b.dca")
    for path in (tmp_path / "in").iterdir():
        path.write_bytes(codec.encode(picture))
    options = () if quality is None else ("--quality", str(quality))
    result = call(
        "--decode", "--format", "jpeg", *options, "--jobs", "1", "--device", "cpu", tmp_path / "in", tmp_path / "out"
    )
    assert result.exit_code == 0
    lossy, first, second, _ = result.stderr.splitlines()  # each file has a warning about the packet, too
    assert "lossy" in lossy and str(quality or 75) in lossy and str(tmp_path) not in lossy
    assert "a.dca" in first and "b.dca" in second
    expected = io.BytesIO()
    with pytest.warns(ImageWarning):
        write_picture(codec.decode((tmp_path / "in" / "a.dca").read_bytes()), expected, "jpeg", quality)
    assert [(tmp_path / "out" / f"{name}.jpg").read_bytes() for name in "ab"] == [expected.getvalue()] * 2


@pytest.mark.parametrize(
    ("names", "warning"),
    [
        (["note.md"], "1 file is ignored: its suffix is not that of a picture format"),
        (["note.md", "x/b.c"], "2 files are ignored: their suffixes are not those of picture formats"),
    ],
)
def test_what_is_left_out_is_reported(names: list[str], warning: str, tmp_path: Path) -> None:
    fill(tmp_path, "in/a.png", "in/.hidden", "out/a.dca", *(f"in/{name}" for name in names))
    for options, expected in (
        ((), [f"dcacodec: warning: {warning}"]),
        (
            ("--verbose",),
            [
                f"dcacodec: warning: {warning}",
                *(f"{tmp_path}/in/{name} ignored" for name in names),
                f"{tmp_path}/in/a.png skipped: {tmp_path}/out/a.dca is up to date",
            ],
        ),
    ):
        result = call("--json", *options, tmp_path / "in", tmp_path / "out")
        facts = json.loads(result.stdout)
        assert (result.exit_code, facts["skipped"], facts["left_out"]) == (0, 1, len(names))
        *lines, summary = result.stderr.splitlines()
        assert lines == expected
        assert summary.startswith("0 of 1 files coded, 1 skipped (up to date); ")
    assert call("--quiet", tmp_path / "in", tmp_path / "out").output == ""


@pytest.mark.slow
def test_profile_and_exif_data_are_kept_unless_strip_and_so_is_the_suffix_if_asked_for(
    tmp_path: Path, codec: Codec
) -> None:
    (tmp_path / "in").mkdir()
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name in ("a.png", "a.jpg"):
        Image.fromarray(photo(16, 24)).save(tmp_path / "in" / name, exif=exif, icc_profile=icc)
    for options, kept in (((), True), (("--strip", "all"), False)):
        out = tmp_path / f"out{kept}"
        result = call("--quiet", "--keep-suffix", *options, "-j", "1", "--device", "cpu", tmp_path / "in", out)
        assert (result.exit_code, result.output) == (0, "")
        assert sorted(path.name for path in out.iterdir()) == ["a.jpg.dca", "a.png.dca"]
        for name in ("a.png", "a.jpg"):
            picture = read_picture(tmp_path / "in" / name)
            assert picture.icc == icc and picture.exif
            expected = codec.encode(picture if kept else picture.stripped(), quality=50)
            data = (out / f"{name}.dca").read_bytes()
            assert data == expected
            assert (b"somebody" in data) == kept


@pytest.mark.parametrize(
    ("option", "target", "kept"),
    [
        pytest.param(("--target-size", "0.1KB"), MaxBytes(100), [False, False], marks=pytest.mark.slow),
        pytest.param(("--target-bpp", "0.59"), MaxBpp(0.59), [True, False], marks=pytest.mark.slow),
        pytest.param(("--target-psnr", "26"), MinPsnr(26), [True, True], marks=pytest.mark.slow),
        pytest.param(("--target-psnr", "20"), MinPsnr(20), [True, True], marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_every_picture_is_coded_to_the_target(
    option: tuple[str, str],
    target: Target,
    kept: list[bool],
    pictures: Path,
    weights: Weights,
    tmp_path: Path,
) -> None:
    """As `encode` does; files that miss it are written, reported and counted."""
    out, sources = tmp_path / "out", [pictures / "in" / "a.png", pictures / "in" / "deep" / "b.tif"]
    options = ("--json", "--verbose", "--jobs", "1", "--device", "cpu", "--effort", "1")
    result = call(*options, *option, *sources, out)
    facts = json.loads(result.stdout)
    lines, taken = [], {}
    for source in sources:
        picture = read_picture(source)
        best = encode_to(Codec(weights), picture, target, effort=1)
        coded = out / source.with_suffix(".dca").name
        assert coded.read_bytes() == best.data
        line = f"quality {best.quality}: {outcome(target, best, picture)}"
        summary = f"{source} -> {coded} {len(best.data)} bytes"
        if best.target_met:
            lines.append(f"{summary}; {line}")
        else:
            lines += [f"dcacodec: warning: {source}: {line}", summary]
            taken[str(source)] = line
    assert [str(source) not in taken for source in sources] == kept
    *found, last = result.stderr.splitlines()
    assert (result.exit_code, found) == (0, lines)
    missed = len(taken)
    assert last.startswith("2 of 2 files coded" + (f", {missed} of them missed the target; " if missed else "; "))
    assert (facts["done"], facts["missed"], facts["failed"]) == (2, missed, 0)
    assert facts["misses"] == [{"source": source, "result": line} for source, line in taken.items()]

    # What is there is skipped. Whether it keeps to a PSNR cannot be seen, whether it is too large can.
    again = call("--json", *option, *sources, out)
    facts, large = json.loads(again.stdout), 0 if isinstance(target, MinPsnr) else missed
    assert (again.exit_code, facts["skipped"], facts["above_target"], facts["other_quality"]) == (0, 2, large, 0)
    *warnings, last = again.stderr.splitlines()
    assert len(warnings) == bool(large)
    assert all(re.match(rf"dcacodec: warning: {large} .* larger than the target; --force", line) for line in warnings)
    assert last.startswith("0 of 2 files coded, 2 skipped (up to date); ")
    assert call("--quiet", *option, *sources, out).output == ""


@pytest.mark.slow
def test_targets_are_missed_quietly_if_asked(pictures: Path, tmp_path: Path) -> None:
    options = ("--quiet", "--jobs", "1", "--device", "cpu", "--target-size", "1")
    result = call(*options, pictures / "in" / "a.png", tmp_path / "out")
    assert (result.exit_code, result.output) == (0, "")
    assert parse((tmp_path / "out" / "a.dca").read_bytes(), None).header.quality == 1


def test_files_that_are_too_large_are_counted(tmp_path: Path) -> None:
    """By their own sizes and those of their pictures; what is none does not count."""
    files = [tmp_path / name for name in ("8", "16", "no picture", "missing")]
    for path in files[:2]:
        path.write_bytes(pack(Container(Header(bytes(4), int(path.name), 8, "RGB", 50), (Slice((b"",) * 7, 0),))))
    files[2].write_bytes(b"\x89PNG" * 100)
    size = files[0].stat().st_size
    assert files[1].stat().st_size == size
    assert count_larger(files, lambda header: size) == 0
    assert count_larger(files, lambda header: size - header.width // 16) == 1
    assert count_larger(files, lambda header: size - 1) == 2


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
        wait_for(tmp_path / "out" / names[0].replace("png", "dca"))
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


@pytest.mark.parametrize(
    ("options", "works", "processes", "device"),
    [
        ((), True, 1, "cuda"),
        ((), False, 3, "cpu"),
        (("--device", "cpu"), True, 3, "cpu"),
        (("--device", "cuda", "--jobs", "2"), True, 2, "cuda"),
    ],
)
def test_a_gpu_has_one_process_if_no_number_is_asked_for(
    options: tuple[str, ...],
    works: bool,
    processes: int,
    device: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A driver is there; the GPU may be one that PyTorch cannot use."""
    asked: list[tuple[str, int]] = []

    def run(jobs: tuple[Job, ...], make: Encoding, *, processes: int, threads: int, retried: object) -> Outcomes:
        asked.append((make.device, processes))
        return (Outcome(job, bytes_in=1, bytes_out=1) for job in jobs)

    monkeypatch.setattr("dcacodec.batch.local.run_in_processes", run)
    monkeypatch.setattr("dcacodec.cli.batch._GPU_DEVICE_FILES", (str(tmp_path),))
    monkeypatch.setattr("dcacodec.cli.batch.cores", lambda: 3)
    fill(tmp_path, *(f"in/{number}.png" for number in range(5)))
    with pretended():
        monkeypatch.setattr("dcacodec.network.device._device_problem", lambda index: "" if works else "no")
        result = call(*options, tmp_path / "in", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert asked == [(device, processes)]


def test_where_there_is_no_driver_pytorch_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcacodec.cli.batch._GPU_DEVICE_FILES", (str(tmp_path / "none"),))
    monkeypatch.setattr("dcacodec.network.device.choose_device", lambda name: pytest.fail("asked"))
    assert _resolved("auto") == "auto"


def test_files_of_another_quality_are_counted(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("30", "90", "no picture", "empty", "missing")]
    for path in files[:2]:
        slices = (Slice((b"",) * 7, 0),)
        path.write_bytes(pack(Container(Header(bytes(4), 9, 9, "RGB", int(path.name)), slices)))
    files[2].write_bytes(b"\x89PNG")
    files[3].touch()
    assert [count_other_quality(files, quality) for quality in (30, 90, 50)] == [1, 1, 2]
    assert count_other_quality(files, None) == 0  # as they have no streams
    assert [count_other_weights(files, weights) for weights in ("00000000", "00000001")] == [0, 2]


@pytest.mark.parametrize("side", [24, 300])
def test_lossless_is_a_quality(side: int, codec: Codec, tmp_path: Path) -> None:
    """A batch of either kind tells what is of the other, but not what is lossless at the quality that it asks for."""
    picture = Picture(photo(side, side))
    (tmp_path / "out").mkdir()
    for name, lossless in (("lossy", False), ("exact", True)):
        fill(tmp_path, f"in/{name}.png")
        (tmp_path / "out" / f"{name}.dca").write_bytes(codec.encode(picture, lossless=lossless, slice_log2=8))
    for options, other, words in (
        (("--lossless",), 1, "1 of the skipped files is not lossless; --force encodes it again"),
        (("--quality", "50"), 0, ""),
        (("--quality", "70"), 2, "2 of the skipped files are of another quality than 70; --force encodes them again"),
    ):
        result = call("--json", *options, tmp_path / "in", tmp_path / "out")
        facts = json.loads(result.stdout)
        assert (result.exit_code, facts["skipped"], facts["other_quality"]) == (0, 2, other)
        assert words in result.stderr and ("warning" in result.stderr) == bool(other)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["in"], 2, "Missing argument 'SRC...'."),
        (["--format", "png", "in", "out"], 2, "--format requires --decode."),
        (["--decode", "--quality", "50", "in", "out"], 2, "--quality is for lossy formats, and png is lossless."),
        (["--decode", "--format", "jpeg", "--quality", "5.5", "in", "out"], 2, "5.5 is not a whole number"),
        (["--decode", "--preset", "small", "in", "out"], 2, "--preset cannot be combined with --decode."),
        (["--decode", "--keep-suffix", "in", "out"], 2, "--keep-suffix cannot be combined with --decode."),
        (["--decode", "--strip", "all", "in", "out"], 2, "--strip cannot be combined with --decode."),
        (["--decode", "--target-bpp", "1", "in", "out"], 2, "--target-bpp cannot be combined with --decode."),
        (["--decode", "--target-size", "1KB", "in", "out"], 2, "--target-size cannot be combined with --decode."),
        (["--decode", "--target-psnr", "30", "in", "out"], 2, "--target-psnr cannot be combined with --decode."),
        (["-q", "50", "--target-psnr", "30", "in", "out"], 2, "--quality and --target-psnr exclude each other."),
        (
            ["--target-size", "1KB", "--target-bpp", "1", "in", "out"],
            2,
            "--target-bpp and --target-size exclude each other.",
        ),
        (["--target-size", "1XB", "in", "out"], 2, "'1XB' is not a size such as 200KB, 1.5MB, 180KiB or 200000."),
        (["--target-bpp", "0", "in", "out"], 2, "0.0 is not a number above 0."),
        (
            ["--decode", "--format", "gif", "in", "out"],
            2,
            "gif is not one of png, tiff, webp, ppm, pgm, bmp, jpeg, avif.",
        ),
        (["--jobs", "0", "in", "out"], 2, "0 is not in the range x>=1."),
        (["--quiet", "--verbose", "in", "out"], 2, "--quiet and --verbose exclude each other."),
        (["missing", "out"], 1, "missing: No such file or directory"),
        (["empty", "out"], 1, "nothing to do: no file in empty ends in .apng"),
        (["--decode", "in", "out"], 1, "nothing to do: no file in in ends in .dca"),
        (["in", "in/a.png"], 1, "in/a.png: Not a directory"),
    ],
)
def test_one_line_says_what_is_wrong(
    arguments: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"")
    result = call(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr.splitlines()[-1]
    if code == 1:
        assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_names_of_any_bytes(pictures: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"two\nlines \xff")
    (tmp_path / "in").mkdir()
    shutil.copy(pictures / "in" / "a.png", tmp_path / "in" / f"{name}.png")
    (tmp_path / "in" / f"{name}2.png").write_bytes(b"no picture")
    result = call("--json", "--jobs", "1", "--device", "cpu", tmp_path / "in", tmp_path / "out")
    assert result.exit_code == 1
    assert os.listdir(tmp_path / "out") == [f"{name}.dca"]
    (failure,) = json.loads(result.stdout)["failures"]
    assert failure["source"] == f"{tmp_path}/in/{name}2.png"
    error, summary = result.stderr.splitlines()
    assert re.match(r"dcacodec: error: .*/two lines .*2\.png: not a picture in one", error)
    assert summary.startswith("1 of 2 files coded, 1 failed; ")


@pytest.mark.parametrize("names", [("", "out"), ("in", "")])
def test_empty_names_do_not_mean_the_current_folder(
    names: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo(8, 8)).save("photo.png")
    result = call(*names)
    assert (result.exit_code, result.stdout) == (2, "")
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]
