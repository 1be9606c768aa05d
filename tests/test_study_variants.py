"""The study: its variants, and how they are trained and measured."""

import math
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
import torch
from study_runs import CPU, OPTIONS, VALID
from tiny import TINY, photo
from told import one_line
from torch import Tensor

from dcacodec.errors import TrainingError
from dcacodec.network.config import DCAConfig
from dcacodec.network.dca import DCA
from dcacodec.training.loop import VALIDATION_QUALITIES
from dcacodec.training.trainer import Trainer
from research.study.latents import CACHED_CROP, Latents
from research.study.variants import FROZEN, TRAINED, VARIANTS, Variant, fresh_model, measure, sizes, train_variant

pytestmark = pytest.mark.usefixtures("one_thread", "_on_the_processor")


def test_the_variants_are_those_of_the_paper() -> None:
    labels = [variant.label for variant in VARIANTS]
    assert {"R", "RL", "RG", "GL", "RGL", "RGL merged"} <= set(labels)
    assert {"".join(order) for order in permutations("RGL")} <= set(labels)
    names = [variant.name for variant in VARIANTS]
    assert len(set(names)) == len(names) == 13
    assert [variant.name for variant in VARIANTS if variant.seed] == ["R-1", "RGL-1"]
    assert Variant("RGL", False, 2).name == "RGL-merged-2"


def test_the_config_of_a_variant_differs_in_nothing_else(frozen: DCA) -> None:
    config: DCAConfig = fresh_model(frozen, Variant("LGR", adaptive=False)).config
    assert config == replace(TINY, order="LGR", adaptive=False)


@pytest.mark.slow
@pytest.mark.parametrize("variant", [Variant("R"), Variant("GL"), Variant("LGR"), Variant("RGL", adaptive=False)])
def test_training_changes_the_entropy_model_and_nothing_else(frozen: DCA, latents: Latents, variant: Variant) -> None:
    start = fresh_model(frozen, variant)
    assert (start.config.order, start.config.adaptive) == (variant.order, variant.adaptive)
    trained, facts = train_variant(frozen, variant, latents, OPTIONS, CPU, quiet=True)
    before, after = start.state_dict(), trained.state_dict()
    assert before.keys() == after.keys()
    for name, value in after.items():
        part = name.split(".")[0]
        assert part in FROZEN + TRAINED
        if part in FROZEN:
            assert torch.equal(value, frozen.state_dict()[name])
            assert torch.equal(before[name], value)
    for part in TRAINED:
        assert any(not torch.equal(before[name], after[name]) for name in after if name.startswith(part))
    assert (facts["steps"], facts["pixels"]) == (4, 4 * 2 * 64 * 64)
    assert [step for step, _ in facts["curve"]] == [1, 2, 3, 4]
    assert sizes(trained) == {
        part: sum(value.numel() for name, value in after.items() if name.startswith(f"{part}.")) for part in TRAINED
    }


@pytest.mark.slow
def test_training_follows_from_the_seed_and_shows_all_variants_the_same(
    frozen: DCA, latents: Latents, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    honest = DCA.hyper_latents

    def watched(self: DCA, y: Tensor, position: Tensor) -> dict[str, Tensor]:
        seen.append(torch.cat([y.flatten(), position]))
        return honest(self, y, position)

    monkeypatch.setattr(DCA, "hyper_latents", watched)

    def trained(variant: Variant) -> tuple[dict[str, Tensor], Tensor]:
        seen.clear()
        model = train_variant(frozen, variant, latents, OPTIONS, CPU, quiet=True)[0]
        return model.state_dict(), torch.stack(seen)

    (first, crops), (again, _), (_, of_other), (_, of_seed) = map(
        trained, (Variant("R"), Variant("R"), Variant("GL"), Variant("R", seed=1))
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert torch.equal(crops, of_other)
    assert crops.shape == of_seed.shape and not torch.equal(crops, of_seed)
    # Every crop is one of a cached latent, at a place of the 2x2 grid.
    windows = {
        tuple(latents.train[n, top : top + 4, left : left + 4].flatten().tolist())
        for n in range(5)
        for top in range(0, 13, 2)
        for left in range(0, 13, 2)
    }
    size = 4 * 4 * TINY.latent
    assert all(tuple(row[n * size : (n + 1) * size].tolist()) in windows for row in crops for n in range(2))


@pytest.mark.slow
def test_training_lowers_the_rate(frozen: DCA, latents: Latents) -> None:
    """On the one latent that it sees."""
    quality = 1 + 99 * latents.position[0].item() / (TINY.anchors - 1)
    one = Latents(latents.train[:1], latents.position[:1], {quality: [latents.train[0]]})  # type: ignore[dict-item]

    def rate(model: DCA) -> float:
        (row,) = measure(model, one, [photo(CACHED_CROP, CACHED_CROP)], CPU, quiet=True)
        return row["bpp"]

    options = replace(OPTIONS, steps=100, crop=128, learning_rate=5e-3, warm_up=5)
    trained, facts = train_variant(frozen, Variant("RL"), one, options, CPU, quiet=True)
    assert [step for step, _ in facts["curve"]] == list(range(5, 101, 5))
    assert rate(trained) < 0.9 * rate(fresh_model(frozen, Variant("RL")))


def test_a_loss_that_is_not_finite_ends_the_training(frozen: DCA, latents: Latents) -> None:
    bad = replace(latents, train=torch.full_like(latents.train, math.nan))
    with pytest.raises(TrainingError) as caught:
        train_variant(frozen, Variant("R"), bad, OPTIONS, CPU, quiet=True)
    text = one_line(caught)
    assert "R-0" in text and "step 0" in text


@pytest.mark.slow
def test_measures_are_those_of_a_validation(frozen: DCA, latents: Latents, tmp_path: Path) -> None:
    """The same by another way: from pictures, in training's validation, but for the rounding of latents to half."""
    trainer = Trainer(OPTIONS, tmp_path, TINY, CPU)
    trainer.average.load_state_dict(frozen.state_dict())
    rows = measure(frozen, latents, VALID, CPU, quiet=True)
    assert [row["quality"] for row in rows] == list(VALIDATION_QUALITIES)
    for row in rows:
        expected = trainer.validate(VALID, int(row["quality"]))
        assert row.keys() == expected.keys() - {"loss"}
        for name, value in row.items():
            # SSIMULACRA 2 of what an untrained network decodes is far below 0, where small differences count much.
            slack = 2.0 if name == "ssimulacra2" else 0.002
            assert value == pytest.approx(expected[name], rel=0.02, abs=slack), name
