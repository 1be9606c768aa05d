"""What the network estimates in training: shapes, bits under noise, and gradients that reach every parameter."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import TINY, drawn_model

from dcacodec.network.dca import DCA
from dcacodec.network.priors import gaussian_bits, noisy_gaussian_bits


def test_every_parameter_learns() -> None:
    """Of the rate and the picture, and the transforms of the picture alone."""
    model = drawn_model(TINY, 3).train()
    names, parameters = zip(*model.named_parameters(), strict=True)
    estimate = model(torch.rand(2, 64, 64, 3), torch.tensor([0.4, 1.6]))
    rate, picture = (
        torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        for loss in (torch.stack(list(estimate.bits.values())).sum(), estimate.picture.square().sum())
    )
    silent = {name for name, *both in zip(names, rate, picture, strict=True) if both == [None, None]}
    assert silent == {"entropy.starts.0.weight"}  # of the first step, which has no input
    reached = {name for name, gradient in zip(names, picture, strict=True) if gradient is not None}
    assert reached >= {name for name in names if name.startswith(("analysis.", "synthesis.", "gain."))}


@settings(max_examples=20)
@given(st.integers(1, 2), st.integers(1, 2), st.floats(0, 3))
def test_shapes(down: int, across: int, position: float) -> None:
    model = DCA(TINY).eval()
    x = torch.rand(2, 64 * down, 64 * across, 3)
    with torch.no_grad():
        estimate = model(x, torch.tensor([position, 0.0]))
        y, hyper = model.analyse(x, torch.tensor([position, 0.0]))
    assert estimate.picture.shape == x.shape
    assert estimate.surprise.shape == (4,)
    assert y.shape == (2, 4 * down, 4 * across, TINY.latent)
    assert hyper["R"].shape == (2, down, across, TINY.regional)
    assert hyper["G"].shape == (2, TINY.tokens, TINY.token_width)
    assert hyper["L"].shape == (2, 4 * down, 4 * across, TINY.local)
    assert all(bits.shape == (2,) for bits in estimate.bits.values())


def test_noisy_bits_are_the_mean_over_the_noise_and_their_slope_is_exact() -> None:
    torch.manual_seed(0)
    residual = torch.tensor([0.0, 0.2, -0.45, 0.5, 1.3, -7.0], dtype=torch.float64, requires_grad=True)
    level = torch.tensor([0.0, 5.0, 12.0, 20.0, 31.5, 50.0], dtype=torch.float64, requires_grad=True)
    noise = torch.linspace(-0.5, 0.5, 20001, dtype=torch.float64)[:, None]
    expected = gaussian_bits(residual.detach() + noise, level).mean(0)
    (by_level,) = torch.autograd.grad(expected.sum(), [level])

    many = noisy_gaussian_bits(residual.expand(20000, -1), level.expand(20000, -1))
    assert torch.allclose(many.mean(0), expected.detach(), rtol=0.02, atol=1e-3)
    (found,) = torch.autograd.grad(many.mean(0).sum(), [level])
    assert torch.allclose(found, by_level, rtol=0.05, atol=1e-3)

    once = noisy_gaussian_bits(residual, level)
    (slope,) = torch.autograd.grad(once.sum(), [residual])
    ends = [gaussian_bits(residual.detach() + side, level.detach()) for side in (0.5, -0.5)]
    assert torch.equal(slope, ends[0] - ends[1])
    step = 1e-4
    above, below = (gaussian_bits(residual.detach() + noise + side, level.detach()).mean(0) for side in (step, -step))
    assert torch.allclose(slope, (above - below) / (2 * step), rtol=0.02, atol=0.02)
