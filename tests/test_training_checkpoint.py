"""Training: what no checkpoint is read from, and what spares the one that is there."""

import io
import math
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import TINY, photo
from told import assert_fails
from torch import Tensor
from training_runs import CPU, ONE_STEP, QUICK, call, same, state_of
from training_worker import tensors as all_tensors

from dcacodec.errors import TrainingError
from dcacodec.training.data import CropSampler
from dcacodec.training.loop import train
from dcacodec.training.trainer import Trainer
from dcacodec.training.workers import Workers

pytestmark = pytest.mark.usefixtures("one_thread", "_tiny_on_the_processor", "_usual_signals")


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.slow
def test_a_file_that_is_no_checkpoint(uninterrupted: dict[str, Any], pictures: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    whole = io.BytesIO()
    torch.save(uninterrupted, whole)
    partial = {name: value for name, value in uninterrupted.items() if name != "average"}
    other = uninterrupted | {"average": uninterrupted["average"] | {"analysis.patch.weight": torch.zeros(3, 5)}}
    unknown = uninterrupted | {"config": uninterrupted["config"] | {"depth": 5}}
    contents = [b"", b"text", whole.getvalue()[:-5000], pickle.dumps(Trap(tmp_path / "trap"))]
    for content in (*contents, [], {}, partial, other, unknown):
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        before = path.read_bytes()
        for result in (
            call("train", pictures, "--run", tmp_path / "run", *ONE_STEP, "--resume", path),
            call("publish", path, "--models", tmp_path / "models", "--check", pictures),
        ):
            assert_fails(result, path)
        assert path.read_bytes() == before
        assert [each.name for each in tmp_path.iterdir()] == ["other.pt"]


@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: list[str | Path] = ["train", pictures, "--run", tmp_path, *ONE_STEP]
    assert call(*arguments, "--steps", 2).exit_code == 0
    old = (tmp_path / "checkpoint.pt").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert_fails(call(*arguments, "--steps", 4), tmp_path / "checkpoint.pt")
    assert (tmp_path / "checkpoint.pt").read_bytes() == old
    assert sorted(each.name for each in tmp_path.iterdir()) == ["checkpoint.pt", "log.jsonl"]
    assert call(*arguments, "--steps", 4).exit_code == 0
    assert state_of(tmp_path)["step"] == 4


@pytest.mark.slow
def test_a_process_killed_while_it_saves_leaves_the_old_checkpoint(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    train([str(pictures)], folder, replace(QUICK, steps=2), quiet=True)
    old = (folder / "checkpoint.pt").read_bytes()
    copies: list[Path] = []

    def copied_before(do: Callable[..., object]) -> Callable[..., object]:
        """What a copy of the folder holds is what the process would have left behind, had it been killed here."""

        def watched(*arguments: Any, **options: Any) -> object:
            copies.append(Path(shutil.copytree(folder, tmp_path / f"killed-{len(copies)}")))
            return do(*arguments, **options)

        return watched

    with monkeypatch.context() as patch:
        for name in ("fsync", "replace"):
            patch.setattr(os, name, copied_before(getattr(os, name)))
        train([str(pictures)], folder, replace(QUICK, steps=4), quiet=True)
    assert state_of(folder)["step"] == 4
    assert len(copies) == 2
    # With what there was of the new one, if it had a name.
    linux = sys.platform.startswith("linux")
    assert [len(list(copy.iterdir())) for copy in copies] == [2 if linux else 3, 3]
    for copy in copies:
        assert (copy / "checkpoint.pt").read_bytes() == old
        train([str(pictures)], copy, replace(QUICK, steps=3), quiet=True)
        assert state_of(copy)["step"] == 3


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_the_run_and_spares_the_checkpoint(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = CropSampler.batch
    batches: list[Tensor] = []

    def poisoned(self: CropSampler, count: int, size: int) -> Tensor:
        batches.append(honest(self, count, size))
        return batches[-1] * (math.nan if len(batches) == 4 else 1)

    monkeypatch.setattr(CropSampler, "batch", poisoned)
    result = call("train", pictures, "--run", tmp_path, *ONE_STEP, "--steps", 9, "--save-every", 0)
    assert_fails(result, "step 3")
    state = state_of(tmp_path)
    assert state["step"] == 3
    assert all(value.isfinite().all() for part in ("model", "average") for value in state[part].values())


def test_weights_that_are_not_finite_spare_the_checkpoint(pictures: Path, tmp_path: Path) -> None:
    """A finite gradient, but a step that is too large for float32."""
    train([str(pictures)], tmp_path, replace(QUICK, steps=2), quiet=True)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(TrainingError, match="step 3"):
        train([str(pictures)], tmp_path, replace(QUICK, steps=3, learning_rate=1e300, warm_up=1), quiet=True)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_every_process_finds_weights_that_are_not_finite(tmp_path: Path) -> None:
    """The others would wait for the first one's part of the next step."""
    for rank in (0, 1):
        trainer = Trainer(QUICK, tmp_path, TINY, CPU, Workers(rank, 2))
        next(trainer.average.parameters()).data.fill_(math.nan)
        with pytest.raises(TrainingError, match="step 0"):
            trainer.save()
    assert not [*tmp_path.iterdir()]


def test_a_step_that_fails_changes_no_weight(tmp_path: Path) -> None:
    trainer = Trainer(QUICK, tmp_path, TINY, CPU)
    trainer.start([photo(96, 128)])
    before = {name: value.clone() for name, value in all_tensors(trainer).items()}
    with pytest.raises(TrainingError):
        trainer.train_step(torch.full((1, 64, 64, 3), math.inf), torch.ones(1), 0.1)
    assert trainer.step == 0
    assert same(before, {name: value for name, value in all_tensors(trainer).items() if name in before})
