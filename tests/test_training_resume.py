"""Training: runs that are resumed, and those that go on from another run or from published weights."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import TINY, drawn_model, photo
from told import assert_fails
from torch import Tensor
from training_runs import CPU, ONE_STEP, QUICK, call, interrupt, log_of, read_parts, same, state_of, stop_at

from dcacodec.training import loop
from dcacodec.training.data import load_pictures
from dcacodec.training.loop import train
from dcacodec.training.options import TrainingOptions
from dcacodec.training.signals import Interrupted
from dcacodec.training.trainer import Trainer
from dcacodec.training.workers import Workers
from dcacodec.weights.export import export
from dcacodec.weights.reader import Provenance, read_weights

pytestmark = pytest.mark.usefixtures("one_thread", "_tiny_on_the_processor", "_usual_signals")


def crash() -> None:
    raise RuntimeError("the power failed")


@pytest.mark.slow
@pytest.mark.parametrize(("stop", "error"), [(interrupt, Interrupted), (crash, RuntimeError)])
def test_a_resumed_run_ends_just_as_one_in_one_go(
    stop: Callable[[], None],
    error: type[BaseException],
    uninterrupted: dict[str, Any],
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = replace(QUICK, save_every=0.0)
    with monkeypatch.context() as patch:
        stop_at(3, stop, patch)
        with pytest.raises(error):
            train([str(pictures)], tmp_path, options, [str(pictures)], quiet=True)
    half = state_of(tmp_path)
    assert half["step"] == (4 if error is Interrupted else 3)
    assert not same(half["model"], uninterrupted["model"])

    train([str(pictures)], tmp_path, options, quiet=True)
    whole = state_of(tmp_path)
    assert whole.keys() == uninterrupted.keys()
    for part in set(whole) - {"seconds", "options"}:
        assert same(whole[part], uninterrupted[part]), part
    assert whole["step"] == 6
    assert whole["pixels"] == 6 * 2 * 64 * 64
    steps = [(line["kind"], line["step"]) for line in log_of(tmp_path) if line["kind"] in ("start", "end")]
    assert steps == [("start", 0), ("start", half["step"]), ("end", 6)]


@pytest.mark.slow
@pytest.mark.parametrize("stop", [3, 6])
def test_a_run_whose_crops_grow_is_resumed_just_so(
    stop: int, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted before the crops grow (at step 6 of 8) and after; with checkpoints in parts."""
    larger = [photo(150, 130, 7)]
    monkeypatch.setattr(loop, "load_pictures", lambda sources, quiet: [*load_pictures(sources, quiet), *larger])
    options = replace(QUICK, steps=8, batch=4, final_crop=128, final_share=0.3, part_size=20_000)
    seen: list[tuple[int, ...]] = []
    honest = Trainer.train_step

    def watched(self: Trainer, picture: Tensor, position: Tensor, learning_rate: float) -> dict[str, float]:
        seen.append(tuple(picture.shape))
        assert position.shape == (len(picture),)
        return honest(self, picture, position, learning_rate)

    monkeypatch.setattr(Trainer, "train_step", watched)
    train([str(pictures)], tmp_path / "one", options, quiet=True)
    shapes = [(4, 64, 64, 3)] * 6 + [(1, 128, 128, 3)] * 2
    assert seen == shapes
    seen.clear()
    with monkeypatch.context() as patch:
        stop_at(stop, interrupt, patch)
        with pytest.raises(Interrupted):
            train([str(pictures)], tmp_path / "two", options, quiet=True)
    assert seen == shapes[: stop + 1]
    train([str(pictures)], tmp_path / "two", options, quiet=True)
    assert seen == shapes
    one, two = (read_parts(tmp_path / name) for name in ("one", "two"))
    for part in set(one) - {"seconds"}:
        assert same(one[part], two[part]), part


def test_shares_of_the_rate_are_those_asked_for_now(tmp_path: Path) -> None:
    def trainer(share: float) -> Trainer:
        return Trainer(TrainingOptions(steps=1, transform_share=share), tmp_path, TINY, torch.device("cpu"))

    trainer(0.4).save()
    resumed = trainer(0.01)
    resumed.load(tmp_path / "checkpoint.pt")
    resumed.train_step(torch.rand(1, 64, 64, 3), torch.tensor([1.0]), 0.5)
    assert [group["lr"] for group in resumed.optimiser.param_groups] == [0.005, 0.5]


@pytest.mark.slow
def test_a_checkpoint_without_the_state_of_the_draw_is_gone_on_from(
    uninterrupted: dict[str, Any], pictures: Path, tmp_path: Path
) -> None:
    """As they were before they held it. It also shows that the test above would tell if the draw were not restored."""
    train([str(pictures)], tmp_path, replace(QUICK, steps=3), quiet=True)
    state = state_of(tmp_path)
    del state["numpy_random"]
    torch.save(state, tmp_path / "checkpoint.pt")
    train([str(pictures)], tmp_path, QUICK, quiet=True)
    assert state_of(tmp_path)["step"] == 6
    assert not same(state_of(tmp_path)["model"], uninterrupted["model"])


@pytest.mark.slow
def test_another_runs_checkpoint_starts_a_fresh_schedule(
    uninterrupted: dict[str, Any], pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(uninterrupted, tmp_path / "other.pt")
    first: dict[str, Any] = {}
    honest = Trainer.train_step

    def watched(self: Trainer, picture: Tensor, position: Tensor, learning_rate: float) -> dict[str, float]:
        model = {name: value.clone() for name, value in self.model.state_dict().items()}
        first.setdefault("seen", (self.step, self.seconds, self.pixels, learning_rate, model))
        return honest(self, picture, position, learning_rate)

    monkeypatch.setattr(Trainer, "train_step", watched)
    train([str(pictures)], tmp_path / "run", QUICK, resume=tmp_path / "other.pt", quiet=True)
    assert first["seen"][:4] == (0, 0.0, uninterrupted["pixels"], QUICK.learning_rate / 2)
    assert same(first["seen"][4], uninterrupted["model"])
    whole = state_of(tmp_path / "run")
    assert (whole["step"], whole["pixels"]) == (6, 2 * 6 * 2 * 64 * 64)
    assert not same(whole["model"], uninterrupted["model"])
    # The run's own checkpoint takes precedence, which is reported.
    run = tmp_path / "run"
    result = call("train", pictures, "--run", run, *ONE_STEP[:-1], "--resume", tmp_path / "other.pt")
    assert result.exit_code == 0
    (line,) = (line for line in result.stderr.splitlines() if str(tmp_path / "other.pt") in line)
    assert str(run / "checkpoint.pt") in line
    assert same(state_of(run)["model"], whole["model"])


@pytest.mark.slow
def test_published_weights_are_gone_on_from(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network begins as the codec runs it, with no steps behind it; what training has shown it is counted on."""
    path = tmp_path / "weights.safetensors"
    path.write_bytes(export(drawn_model(TINY, seed=5), provenance=Provenance(123_456)))
    network = read_weights(path).floating_point()
    first: dict[str, Any] = {}
    honest = Trainer.train_step

    def watched(self: Trainer, picture: Tensor, position: Tensor, learning_rate: float) -> dict[str, float]:
        model, average = (
            {name: value.clone() for name, value in each.state_dict().items()} for each in (self.model, self.average)
        )
        first.setdefault("seen", (self.step, self.pixels, len(self.optimiser.state), model, average))
        return honest(self, picture, position, learning_rate)

    monkeypatch.setattr(Trainer, "train_step", watched)
    train([str(pictures)], tmp_path / "run", QUICK, resume=path, quiet=True)
    step, pixels, moments, model, average = first["seen"]
    assert (step, pixels, moments) == (0, 123_456, 0)
    expected = {name: value.float() for name, value in network.state_dict().items()}
    assert same(model, expected) and same(average, expected)
    whole = state_of(tmp_path / "run")
    assert (whole["step"], whole["pixels"]) == (6, 123_456 + 6 * 2 * 64 * 64)
    assert not same(whole["model"], expected)

    result = call("publish", tmp_path / "run" / "checkpoint.pt", "--models", tmp_path / "models", "--check", pictures)
    assert result.exit_code == 0, result.output
    assert read_weights(Path(result.stdout.splitlines()[0])).provenance.pixels == whole["pixels"]


@pytest.mark.slow
def test_a_follow_on_run_sees_other_crops(uninterrupted: dict[str, Any], pictures: Path, tmp_path: Path) -> None:
    """Though its seed is the same: the crops that it begins with depend on how much was seen before."""
    draws = []
    seen = uninterrupted["pixels"]
    for pixels, workers in ((seen, Workers()), (seen, Workers()), (seen + 1, Workers()), (seen, Workers(1, 2))):
        torch.save(uninterrupted | {"pixels": pixels}, tmp_path / "other.pt")
        trainer = Trainer(QUICK, tmp_path, TINY, CPU, workers)
        draws.append(trainer.random.bit_generator.state)
        trainer.start_from(tmp_path / "other.pt")
        draws.append(trainer.random.bit_generator.state)
    fresh, first, also_fresh, again, _, later, other_fresh, other = draws
    assert (also_fresh, again) == (fresh, first)
    assert all(one != two for one, two in itertools.combinations((fresh, first, later, other_fresh, other), 2))


@pytest.mark.slow
def test_weights_that_training_cannot_start_from(pictures: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"text")
    result = call("train", pictures, "--run", tmp_path / "run", *ONE_STEP, "--resume", path)
    assert_fails(result, "weights.safetensors")
    path.write_bytes(export(drawn_model(replace(TINY, order="LGR"), seed=5)))
    result = call("train", pictures, "--run", tmp_path / "run", *ONE_STEP, "--resume", path)
    assert_fails(result, path, "'tiny'")
    untold: Any = SimpleNamespace(metadata={"pixels": "-1"})
    path.write_bytes(export(drawn_model(TINY, seed=5), provenance=untold))
    result = call("train", pictures, "--run", tmp_path / "run", *ONE_STEP, "--resume", path)
    assert_fails(result, "weights.safetensors", "-1")
    assert not (tmp_path / "run").exists()


def test_a_finished_run_stays_as_it_is(uninterrupted: dict[str, Any], pictures: Path, tmp_path: Path) -> None:
    torch.save(uninterrupted, tmp_path / "checkpoint.pt")
    train([str(pictures)], tmp_path, QUICK, quiet=True)
    assert same(state_of(tmp_path), uninterrupted)


def test_a_checkpoint_of_another_preset(uninterrupted: dict[str, Any], pictures: Path, tmp_path: Path) -> None:
    """Also one that differs in nothing that a tensor's shape shows."""
    config = replace(TINY, order="LGR")
    torch.save(uninterrupted | {"config": config.to_dict()}, tmp_path / "checkpoint.pt")
    result = call("train", pictures, "--run", tmp_path, *ONE_STEP)
    assert_fails(result, tmp_path / "checkpoint.pt", "'tiny'")


def test_a_checkpoint_of_other_lambdas(uninterrupted: dict[str, Any], pictures: Path, tmp_path: Path) -> None:
    """A run cannot go on with other lambdas, but a new one can start from it."""
    (tmp_path / "old").mkdir()
    path = tmp_path / "old" / "checkpoint.pt"
    torch.save(uninterrupted | {"config": replace(TINY, lambda_max=TINY.lambda_max / 2).to_dict()}, path)
    assert_fails(call("train", pictures, "--run", tmp_path / "old", *ONE_STEP), path, "'tiny'")
    result = call("train", pictures, "--run", tmp_path / "new", *ONE_STEP, "--resume", path)
    assert result.exit_code == 0, result.output
    assert state_of(tmp_path / "new")["config"] == TINY.to_dict()


@pytest.mark.slow
def test_a_checkpoint_of_another_tuning_is_not_relabelled(pictures: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert call("train", pictures, "--run", run, *ONE_STEP).exit_code == 0
    before = (run / "checkpoint.pt").read_bytes()
    refused = call("train", pictures, "--run", run, *ONE_STEP, "--tune", "visual")
    saved = run / "checkpoint.pt"
    assert_fails(refused, saved, "--resume")
    assert (run / "checkpoint.pt").read_bytes() == before
    other = tmp_path / "other"
    resumed = call("train", pictures, "--run", other, *ONE_STEP, "--tune", "visual", "--resume", run / "checkpoint.pt")
    assert resumed.exit_code == 0
