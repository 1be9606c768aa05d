"""Training: what a step lowers, moves and rounds."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import TINY, drawn_model, photo
from torch.overrides import TorchFunctionMode
from training_runs import CPU, QUICK

from dcacodec.network.dca import DCA
from dcacodec.network.precision import transform_precision
from dcacodec.training.data import CropSampler
from dcacodec.training.loss import draw_positions, loss_terms, rate_distortion_loss
from dcacodec.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread", "_tiny_on_the_processor", "_usual_signals")


@pytest.mark.slow
def test_training_lowers_the_loss(tmp_path: Path) -> None:
    """Everything from a fixed seed, and measured without noise: at every quality fewer bits and a better picture."""
    goal = photo(64, 64, 3)
    options = replace(QUICK, steps=80, batch=4, warm_up=10, learning_rate=5e-3, ema=0.9)
    trainer = Trainer(options, tmp_path, TINY, CPU)
    trainer.start([photo(96, 128, number) for number in range(10, 16)])
    before = [trainer.validate([goal], quality) for quality in (5, 50, 95)]
    sampler = CropSampler([goal], (64,), CPU, trainer.random)
    for step in range(80):
        position = torch.from_numpy(draw_positions(TINY, 4, trainer.random))
        trainer.train_step(sampler.batch(4, 64), position, options.learning_rate_at(step, 0))
    for old, quality in zip(before, (5, 50, 95), strict=True):
        new = trainer.validate([goal], quality)
        assert new["loss"] < 0.8 * old["loss"]
        assert new["bpp"] < 0.85 * old["bpp"]
        assert new["psnr"] > old["psnr"] + 0.5


@pytest.mark.usefixtures("_no_noise")
def test_what_a_step_lowers_and_how(tmp_path: Path) -> None:
    options = replace(QUICK, transform_share=0.25, clip=0.5)
    trainer = Trainer(options, tmp_path, TINY, CPU)
    trainer.start([photo(96, 128)])
    picture = torch.stack([torch.from_numpy(photo(64, 64, n)) for n in range(2)]).float() / 255
    position = torch.tensor([0.4, 2.6])
    estimate = trainer.model(picture, position)
    bpp, error = loss_terms(estimate, picture, options.distortion, full_token_cost=False)
    loss = rate_distortion_loss(bpp, error, TINY.trade_off_at(position))
    slopes = torch.autograd.grad(loss, list(trainer.model.parameters()), allow_unused=True)
    norm = torch.cat([slope.flatten() for slope in slopes if slope is not None]).norm().item()
    assert norm > 1
    logged = trainer.train_step(picture, position, 0.01)
    assert logged == pytest.approx({"loss": loss.item(), "bpp": bpp.mean().item(), "norm": norm}, rel=1e-5)
    grads = [p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None]
    assert torch.cat(grads).norm().item() == pytest.approx(0.5, rel=1e-4)
    assert [group["lr"] for group in trainer.optimiser.param_groups] == [0.0025, 0.01]


@pytest.mark.parametrize("shape", [(400, 2, 3, 5), (400, 3, 5)])
def test_hyper_latents_are_read_rounded_or_with_noise(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = DCA(TINY)
    z = (3 * torch.randn(shape)).requires_grad_()
    noisy = model.train()._for_rate(z)
    assert ((noisy - z).abs() <= 0.5).all()
    read = model._as_read(z, noisy)
    with_noise, rounded = ((read == other).flatten(1) for other in (noisy, z.round()))
    # Samples are one or the other as a whole; 400 draws are within 5 deviations of the half.
    assert (with_noise.all(1) ^ rounded.all(1)).all()
    assert not (with_noise.any(1) & rounded.any(1)).any()
    assert 150 < with_noise.all(1).sum() < 250
    (gradient,) = torch.autograd.grad(read.sum(), z)
    assert torch.equal(gradient, torch.ones(shape))
    assert torch.equal(model.eval()._as_read(z, noisy), z.round())


@pytest.mark.slow
def test_what_a_step_does_to_the_moving_average_and_the_rates(tmp_path: Path) -> None:
    options = replace(QUICK, ema=0.5, transform_share=0.0)
    trainer = Trainer(options, tmp_path, TINY, CPU)
    trainer.start([photo(96, 128)])
    picture = torch.from_numpy(photo(64, 64)).float()[None] / 255
    for step, decay in enumerate([1 / 10, 2 / 11, 3 / 12]):  # these first, to `ema` in the end
        old = {name: value.clone() for name, value in trainer.average.state_dict().items()}
        start = {name: value.clone() for name, value in trainer.model.state_dict().items()}
        logged = trainer.train_step(picture, torch.ones(1), 0.01)
        assert set(logged) == {"loss", "bpp", "norm"}
        moved = set()
        for name, value in trainer.model.state_dict().items():
            expected = decay * old[name] + (1 - decay) * value
            assert torch.allclose(trainer.average.state_dict()[name], expected, atol=1e-6), name
            if not torch.equal(value, start[name]):
                moved.add(name.split(".")[0])
        # With a share of 0 the transforms stay; they are these three.
        assert moved == {"hyper_analysis", "priors", "entropy", "spread"}
        assert trainer.step == step + 1


class Products(TorchFunctionMode):
    """Notes the kinds of the weights that are multiplied."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: set[torch.dtype] = set()

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        if function is torch.nn.functional.linear:
            self.kinds.add(arguments[1].dtype)
        return function(*arguments, **(keywords or {}))


def test_products_in_bfloat16_and_the_skeleton_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def one_step(precision: str) -> tuple[Trainer, dict[str, float], set[torch.dtype]]:
        trainer = Trainer(replace(QUICK, precision=precision), tmp_path, TINY, CPU)
        trainer.start([photo(96, 128)])
        found: dict[str, torch.dtype] = {}
        for name in ["analysis.down", "synthesis.up"]:
            trainer.model.get_submodule(name).register_forward_hook(
                lambda module, arguments, output, name=name: found.update({name: output.dtype})
            )
        picture = torch.from_numpy(photo(64, 64)).float()[None] / 255
        with Products() as products:
            values = trainer.train_step(picture, torch.ones(1), 0.01)
        assert set(found.values()) == {torch.float32}
        return trainer, values, products.kinds

    full, exact, kinds = one_step("float32")
    assert kinds == {torch.float32}
    half, rough, kinds = one_step("bfloat16")
    assert kinds == {torch.float32, torch.bfloat16}
    assert (full.autocast, half.autocast) == (False, True)
    assert {value.dtype for value in half.model.state_dict().values()} == {torch.float32}
    assert rough["loss"] != exact["loss"]
    assert rough["loss"] == pytest.approx(exact["loss"], rel=0.01)
    for fast in (False, True):
        monkeypatch.setattr("dcacodec.training.trainer.fast_bfloat16", lambda device, fast=fast: fast)
        assert Trainer(replace(QUICK, precision="auto"), tmp_path, TINY, CPU).autocast == fast


def test_gains_and_spreads_are_not_rounded_to_bfloat16() -> None:
    """They stand in exponents, and a decoder has them from tables or computes them in another precision."""
    model, position = drawn_model(TINY, 5), torch.tensor([0.3, 2.0, 1.7])
    with torch.no_grad():
        expected = (model.gain(position), *model.scales(position))
        with transform_precision(CPU, True):
            found = (model.gain(position), *model.scales(position))
    assert all(map(torch.equal, found, expected))
