"""Training: checkpoints in parts."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import TINY
from told import assert_fails
from training_runs import ONE_STEP, QUICK, call, read_parts, same, state_of

from dcacodec.network.dca import DCA
from dcacodec.training.checkpoint import newest_checkpoint, opened_checkpoint, write_checkpoint
from dcacodec.training.loop import train

pytestmark = pytest.mark.usefixtures("one_thread", "_tiny_on_the_processor", "_usual_signals")


@pytest.mark.slow
def test_a_checkpoint_in_parts(uninterrupted: dict[str, Any], pictures: Path, tmp_path: Path) -> None:
    part_size = 30_000
    train([str(pictures)], tmp_path, replace(QUICK, part_size=part_size), quiet=True)
    state = read_parts(tmp_path)
    for part in set(state) - {"seconds", "options"}:
        assert same(state[part], uninterrupted[part]), part
    index = json.loads((tmp_path / "checkpoint.pt.json").read_text("utf-8"))
    contents = [(tmp_path / part["file"]).read_bytes() for part in index["parts"]]
    assert len(contents) > 5
    digest = hashlib.sha256(b"".join(contents)).hexdigest()
    assert (index["bytes"], index["sha256"]) == (sum(map(len, contents)), digest)
    for number, (part, content) in enumerate(zip(index["parts"], contents, strict=True)):
        assert part == {
            "file": f"checkpoint.pt.{digest[:8]}.{number:03}",
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    assert {len(content) for content in contents[:-1]} == {part_size}
    assert 0 < len(contents[-1]) <= part_size

    # To one file and back again; a finished run does no step.
    train([str(pictures)], tmp_path, QUICK, quiet=True)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["checkpoint.pt", "log.jsonl"]
    assert same(state_of(tmp_path)["model"], state["model"])
    train([str(pictures)], tmp_path, replace(QUICK, part_size=part_size), quiet=True)
    assert same(read_parts(tmp_path)["model"], state["model"])

    # Both commands that read one take the index for it.
    arguments = ("--preset", "tiny", "--steps", 6, "--crop", 64, "--batch", 2, "--quiet")
    index_path = tmp_path / "checkpoint.pt.json"
    assert call("train", pictures, "--run", tmp_path / "run", *arguments, "--resume", index_path).exit_code == 0
    assert call("publish", index_path, "--models", tmp_path / "models", "--check", pictures).exit_code == 0


def _no_index(folder: Path, names: list[str]) -> str:
    (folder / "checkpoint.pt.json").write_bytes(b"[1]")
    return ""


def _lost(folder: Path, names: list[str]) -> str:
    (folder / names[1]).unlink()
    return names[1]


def _short(folder: Path, names: list[str]) -> str:
    path = folder / names[2]
    path.write_bytes(path.read_bytes()[:-1])
    return names[2]


def _changed(folder: Path, names: list[str]) -> str:
    path = folder / names[0]
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    return names[0]


def _left_out(folder: Path, names: list[str]) -> str:
    path = folder / "checkpoint.pt.json"
    index = json.loads(path.read_text("utf-8"))
    del index["parts"][-1]
    path.write_text(json.dumps(index), "utf-8")
    return "SHA-256"


def _elsewhere(folder: Path, names: list[str]) -> str:
    path = folder / "checkpoint.pt.json"
    path.write_text(path.read_text("utf-8").replace(names[0], f"../{names[0]}"), "utf-8")
    return f"'../{names[0]}'"


@pytest.mark.parametrize("damage", [_no_index, _lost, _short, _changed, _left_out, _elsewhere])
def test_damaged_parts_are_one_line(
    damage: Callable[[Path, list[str]], str], uninterrupted: dict[str, Any], pictures: Path, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path / "checkpoint.pt", uninterrupted, 50_000)
    names = [part["file"] for part in json.loads((tmp_path / "checkpoint.pt.json").read_text("utf-8"))["parts"]]
    index = tmp_path / "checkpoint.pt.json"
    named = damage(tmp_path, names)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    assert_fails(call("train", pictures, "--run", tmp_path, *ONE_STEP), index, named)
    assert_fails(call("publish", index, "--models", tmp_path / "models", "--check", pictures), index, named)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_parts_of_a_size_that_makes_too_many(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\b1000\b"):
        write_checkpoint(tmp_path / "checkpoint.pt", {"step": 1, "noise": torch.zeros(1000)}, 1)
    assert not list(tmp_path.iterdir())


def test_as_many_parts_as_there_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, state = tmp_path / "checkpoint.pt", {"step": 1, "noise": torch.zeros(1000)}
    size = write_checkpoint(path, state).stat().st_size
    monkeypatch.setattr("dcacodec.training.checkpoint.MOST_PARTS", 1)
    with pytest.raises(ValueError):
        write_checkpoint(path, state, size - 1)
    write_checkpoint(path, state, size)


def step_of(folder: Path) -> int:
    """The step of the checkpoint in a folder, whose weights belong to it."""
    found = newest_checkpoint(folder / "checkpoint.pt")
    assert found is not None
    with opened_checkpoint(found) as state:
        assert torch.equal(state["weights"], torch.arange(900.0) * state["step"])
        return int(state["step"])


@pytest.mark.parametrize("part_size", [1000, 0])
def test_wherever_the_writing_of_parts_ends_a_whole_checkpoint_is_left(
    part_size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full, or the process is killed, at each file in turn; the checkpoint before is in parts or is not."""
    failing, watching, folder = 0, False, tmp_path
    old, new = ({"step": step, "weights": torch.arange(900.0) * step} for step in (1, 2))
    copies: list[Path] = []
    honest = os.fsync

    def full(descriptor: int) -> None:
        # What a copy holds is what a process would leave that is killed here.
        copies.append(Path(shutil.copytree(folder, tmp_path / f"killed-{failing}-{len(copies)}")))
        if len(copies) > failing:
            raise OSError(28, "No space left on device")
        honest(descriptor)

    monkeypatch.setattr(os, "fsync", lambda descriptor: full(descriptor) if watching else honest(descriptor))
    for failing in range(20):
        watching = False
        folder = tmp_path / f"run-{failing}"
        folder.mkdir()
        write_checkpoint(folder / "checkpoint.pt", old, part_size)
        before = {each.name: each.read_bytes() for each in folder.iterdir()}
        watching, done = True, False
        copies.clear()
        try:
            write_checkpoint(folder / "checkpoint.pt", new, 1000)
            done = True
        except OSError as error:
            assert error.errno == 28
            assert {each.name: each.read_bytes() for each in folder.iterdir()} == before
        watching = False
        assert {step_of(copy) for copy in copies} == {1}
        write_checkpoint(folder / "checkpoint.pt", new, 1000)
        assert step_of(folder) == 2
        if done:
            assert failing == len(copies) > 4  # all the files were written
            return
    raise AssertionError("there are more files than were thought of")


def test_where_a_file_and_parts_are_left_the_newer_ones_count(tmp_path: Path) -> None:
    """The process was killed while it changed from one to the other."""
    path, state = tmp_path / "checkpoint.pt", {"step": 1, "weights": torch.zeros(900)}
    whole = write_checkpoint(path, state).read_bytes()
    index = write_checkpoint(path, state, 500)
    path.write_bytes(whole)
    for older, newer in ((path, index), (index, path)):
        os.utime(older, (1, 1))
        os.utime(newer, (2, 2))
        assert newest_checkpoint(path) == newer


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    (tmp_path / "checkpoint.pt.0123abcd.007").write_bytes(b"of a checkpoint that was never finished")
    (tmp_path / "checkpoint.pt.notes").write_bytes(b"somebody's")
    for part_size in (500, 0):
        write_checkpoint(path, {"step": 1, "weights": torch.zeros(900)}, part_size)
        names = {each.name for each in tmp_path.iterdir()}
        assert not names & {"checkpoint.pt.0123abcd.007"}
        assert "checkpoint.pt.notes" in names
    assert names == {"checkpoint.pt", "checkpoint.pt.notes"}


def test_too_many_parts_are_refused_before_training(pictures: Path, tmp_path: Path) -> None:
    result = call("train", pictures, "--run", tmp_path / "run", *ONE_STEP, "--part-size", "10")
    expected = 16 * sum(parameter.numel() for parameter in DCA(TINY).parameters())
    assert_fails(result, expected, 1000)
    assert not (tmp_path / "run").exists()
