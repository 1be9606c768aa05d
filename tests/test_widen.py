"""scripts/widen.py: a wider latent for a network that is trained already."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from tiny import TINY, drawn_model, photo
from torch import Tensor

from dcacodec.network.context import take_step
from dcacodec.network.dca import DCA
from dcacodec.training.data import CropSampler
from dcacodec.training.klt import initialise
from dcacodec.training.options import TrainingOptions
from dcacodec.training.trainer import Trainer

OLD = TINY
NEW = replace(TINY, latent=28, latent_linear=12)
KEPT = [7 * group + at for group in range(4) for at in range(4)]
ADDED = [7 * group + at for group in range(4) for at in range(4, 7)]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def widen() -> ModuleType:
    path = Path(__file__).parent.parent / "scripts" / "widen.py"
    spec = importlib.util.spec_from_file_location("widen", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["widen"] = module
    spec.loader.exec_module(module)
    return module


def sampler(widen: ModuleType) -> CropSampler:
    return CropSampler([photo(256, 320, seed) for seed in range(4)], (widen.CROP,), CPU, np.random.default_rng(0))


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """After two steps of the old network, so that its optimiser has a state."""
    options = TrainingOptions(steps=4, batch=2, crop=64, precision="float32")
    trainer = Trainer(options, tmp_path_factory.mktemp("old"), OLD, CPU)
    trainer.model.load_state_dict(drawn_model(OLD, 3).state_dict())
    trainer.average.load_state_dict(trainer.model.state_dict())
    step(trainer)
    step(trainer)
    return trainer


def step(trainer: Trainer) -> None:
    pictures = [torch.from_numpy(photo(64, 64, 2 * trainer.step + i)).float() / 255 for i in range(2)]
    trainer.train_step(torch.stack(pictures), torch.tensor([0.5, 2.5]), 1e-3)


@pytest.fixture
def grown(widen: ModuleType, trainer: Trainer, tmp_path: Path) -> Trainer:
    trainer.save()
    state = torch.load(trainer.checkpoint, weights_only=True)
    torch.save(widen.widened_state(state, NEW, sampler(widen), batches=3), tmp_path / "checkpoint.pt")
    found = Trainer(trainer.options, tmp_path, NEW, CPU)
    found.load(tmp_path / "checkpoint.pt")
    return found


def elements(model: DCA, picture: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """y, the bits of each element of the hyper latents and of y's channels, and the picture."""
    position = torch.tensor([1.3])
    with torch.no_grad():
        y, hyper = model.eval().analyse(picture, position)
        rate = model.estimate_rate(y, hyper, position)
        return y, rate.elements, model.synthesise(rate.y_hat, position)


def test_what_the_old_channels_do_stays_as_it_was(trainer: Trainer, grown: Trainer) -> None:
    """Latent, hyper latents, bits of every element; and the picture, but for what the new channels add."""
    picture = torch.from_numpy(photo(64, 128, seed=9))[None].float() / 255
    for old, new in ((trainer.model, grown.model), (trainer.average, grown.average)):
        assert new.synthesis.linear.weight.abs().amin(0).max() > 0
        new.synthesis.linear.weight.data.zero_()
        before, after = elements(old, picture), elements(new, picture)
        torch.testing.assert_close(after[0][..., KEPT], before[0])
        kept = torch.isin(torch.arange(28), torch.tensor(KEPT)).expand(1, 4, 8, 28)
        for name, bits in after[1].items():
            if name.startswith("y"):
                bits = bits[take_step(kept, int(name[-1]) - 1).transpose(0, 1)].view_as(before[1][name])
            torch.testing.assert_close(bits, before[1][name])
        torch.testing.assert_close(after[2], before[2])


def test_optimiser_goes_on_where_it_was(trainer: Trainer, grown: Trainer) -> None:
    """Its moments of every old number are kept, those of new numbers are zero; and it does go on."""
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    new = dict(grown.model.named_parameters())
    wider = set()
    for parameter, kept in trainer.optimiser.state.items():
        name = names[id(parameter)]
        found = grown.optimiser.state[new[name]]
        assert found["step"] == kept["step"] == 2
        axis = next((i for i, side in enumerate(parameter.shape) if side != found["exp_avg"].shape[i]), None)
        for key in ("exp_avg", "exp_avg_sq"):
            value = found[key]
            assert value.shape == new[name].shape
            if axis is not None:
                wider.add(name)
                copies = parameter.shape[axis] // 16  # two in the head: of means and of scales
                at = torch.tensor([28 * copy + channel for copy in range(copies) for channel in KEPT])
                rest = torch.tensor([i for i in range(28 * copies) if i not in at])
                assert not value.index_select(axis, rest).any()
                value = value.index_select(axis, at)
            assert torch.equal(value, kept[key])
    reads = {f"hyper_analysis.{letter}.reduce.weight" for letter in "RGL"}
    starts = {f"entropy.starts.{i}.weight" for i in range(1, 4)}  # the first one reads nothing
    ends = {"entropy.head.weight", "entropy.head.bias", "analysis.down.weight", "analysis.down.bias"}
    assert wider - {"entropy.starts.0.weight"} == {"gain.values", "spread.values"} | reads | starts | ends
    assert new["synthesis.linear.weight"] not in grown.optimiser.state
    before = grown.model.synthesis.linear.weight.clone()
    step(grown)
    assert grown.optimiser.state[new["synthesis.linear.weight"]]["step"] == 1
    assert (grown.model.synthesis.linear.weight != before).any(0).all()


def test_new_channels_bring_back_what_is_missing(widen: ModuleType) -> None:
    """As much as a start from the Karhunen-Loeve transform would with as many channels; and their scales are known."""
    pictures = [photo(256, 320, seed) for seed in range(4)]
    old = DCA(replace(TINY, width=40, latent=24)).eval()
    initialise(old, pictures)
    new = DCA(replace(old.config, latent=64, latent_linear=40)).eval()
    grown = {name: widen.widened(name, value, old.config, new.config) for name, value in old.state_dict().items()}
    new.load_state_dict(grown, strict=False)
    crops, random = sampler(widen), np.random.default_rng(1)

    def draw() -> tuple[Tensor, Tensor]:
        return crops.batch(1, widen.CROP), torch.full((1,), 3 * random.random())

    widen.put_transforms(new, widen.transforms_of_new(old, 40, draw, 12))
    unseen = torch.stack([torch.from_numpy(photo(128, 128, seed=50 + i)) for i in range(4)]).float() / 255
    top = torch.tensor([TINY.anchors - 1.0])
    best = DCA(new.config).eval()
    initialise(best, pictures)
    with torch.no_grad():
        errors = [(model(unseen, top).picture - unseen).square().mean().item() for model in (old, new, best)]
    assert errors[0] > 1.25 * errors[2] and errors[1] < 1.05 * errors[2]

    # Asked for the very picture that they were fitted to, the scales have no error on average, and some of them less.
    widen.put_scales(new, lambda: (unseen, top), 1)
    y, hyper = new.analyse(unseen, top)
    levels: list[tuple[Tensor, Tensor]] = []

    def look(at: int, mean: Tensor, level: Tensor) -> Tensor:
        found = take_step(y, at)
        added = take_step(torch.isin(torch.arange(64), torch.tensor(WIDE_ADDED)).expand_as(y), at)
        levels.append((level[added], found[added]))
        return found.round()

    with torch.no_grad():
        new.entropy({letter: z.round() for letter, z in hyper.items()}, (8, 8), new.scales(top), look)
    level, value = (torch.cat(part) for part in zip(*levels, strict=True))
    size = value.abs().clamp(min=widen.SMALLEST).log()
    guess = (0.11 * torch.exp(level / 16)).log() + widen.LOG_OF_NORMAL
    assert (size - guess).mean().item() == pytest.approx(0.0, abs=0.01)
    assert (size - guess).square().mean() < size.var() - 0.05  # of which 1.23 is the logarithm's own, of any normal one


WIDE_ADDED = [16 * group + at for group in range(4) for at in range(6, 16)]
