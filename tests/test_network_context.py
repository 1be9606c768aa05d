"""The entropy model's context: the steps of the quadtree, space and depth, and what each step depends on."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import TINY, drawn_latents, drawn_model, photo, published, run_entropy
from torch import Tensor

from dcacodec.network.context import STEP_XOR, from_phases, join_steps, split_steps, to_phases
from dcacodec.network.layers import depth_to_space, space_to_depth
from dcacodec.weights.reader import Weights

CPU = torch.device("cpu")

DCVC_DC_MASKS = ((0, 1, 2, 3), (3, 2, 1, 0), (2, 3, 0, 1), (1, 0, 3, 2))
"""Which 2x2 mask the channel groups 0..3 have in each step, as in the four-part model of DCVC-DC: m0 is the top left
position of a cell, m1 the top right, m2 the bottom left and m3 the bottom right one.
"""


def numbered(batch: int, height: int, width: int, channels: int) -> Tensor:
    """Every element another number."""
    return torch.arange(batch * height * width * channels).view(batch, height, width, channels)


shapes = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3)).map(
    lambda s: (s[0], 2 * s[1], 2 * s[2], 4 * s[3])
)


@given(shapes)
def test_steps_and_phases_are_joined_to_what_they_were_taken_from(shape: tuple[int, int, int, int]) -> None:
    y = numbered(*shape)
    assert torch.equal(from_phases(to_phases(y)), y)
    assert torch.equal(join_steps(split_steps(y)), y)


@given(shapes)
def test_each_element_is_coded_once(shape: tuple[int, int, int, int]) -> None:
    y = numbered(*shape)
    steps = split_steps(y)
    assert {step.shape for step in steps} == {(4, shape[0], shape[1] // 2, shape[2] // 2, shape[3] // 4)}
    assert torch.equal(torch.stack(steps).flatten().sort().values, y.flatten())


@given(shapes)
def test_steps_are_those_of_dcvc_dc(shape: tuple[int, int, int, int]) -> None:
    """Element by element, and the rule that the table comes from."""
    y, quarter = numbered(*shape), shape[3] // 4
    for step, masks in enumerate(DCVC_DC_MASKS):
        assert masks == tuple(group ^ STEP_XOR[step] for group in range(4))
        taken = split_steps(y)[step]
        for group, position in enumerate(masks):
            row, column = divmod(position, 2)
            part = y[:, row::2, column::2, group * quarter : (group + 1) * quarter]
            assert torch.equal(taken[position], part)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 5), st.sampled_from([1, 2, 8]))
def test_space_and_depth(height: int, width: int, channels: int, side: int) -> None:
    x = numbered(2, height * side, width * side, channels)
    deep = space_to_depth(x, side)
    assert torch.equal(depth_to_space(deep, side), x)
    row, column = height - 1, width // 2
    cell = x[1, row * side : (row + 1) * side, column * side : (column + 1) * side]
    assert torch.equal(deep[1, row, column], cell.flatten())  # row, column, channel
    x = x.double().requires_grad_()
    weight = torch.randn_like(x)
    (gradient,) = torch.autograd.grad((depth_to_space(space_to_depth(x, side), side) * weight).sum(), [x])
    assert torch.equal(gradient, weight)


@pytest.mark.parametrize("side", [2, 8])
def test_space_and_depth_of_bytes(side: int) -> None:
    """Whole or cut out of a larger tensor."""
    whole = torch.from_numpy(photo(96, 104))[None]
    for x in (whole, whole[:, 3:67, 5:69], whole[:, 16:80, :64], whole[..., :1]):
        found = space_to_depth(x, side)
        assert torch.equal(found, space_to_depth(x.float(), side).to(torch.uint8))
        assert torch.equal(depth_to_space(found, side), x)
        wide = torch.cat([found, found], -1)[..., : found.shape[-1]]
        assert torch.equal(depth_to_space(wide, side), x)


@pytest.fixture(scope="module", params=[True, False], ids=["adaptive", "merged"])
def variant(request: pytest.FixtureRequest, weights: Weights) -> Weights:
    return weights if request.param else published(drawn_model(replace(TINY, adaptive=False), 21))


@pytest.mark.parametrize("step", range(4))
def test_a_step_depends_on_those_before_it_only(step: int, variant: Weights) -> None:
    """y changed where a step codes it: what is predicted for this step and before stays, for later steps changes."""
    hyper, y = drawn_latents(variant.config, (2, 2), seed=step, size=10.0)
    parts = split_steps(y)
    parts[step] = parts[step] + torch.from_numpy(np.random.default_rng(step).normal(0, 20, parts[step].shape))
    scales = variant.scales(60, CPU)
    before = run_entropy(variant.network.entropy, hyper, y, scales)
    after = run_entropy(variant.network.entropy, hyper, join_steps(parts), scales)
    for name in ("mean", "level"):
        one, other = split_steps(getattr(before, name)), split_steps(getattr(after, name))
        same = [torch.equal(a, b) for a, b in zip(one, other, strict=True)]
        assert same == [index <= step for index in range(4)]
    assert [torch.equal(a, b) for a, b in zip(split_steps(before.latent), split_steps(after.latent), strict=True)] == [
        index < step for index in range(4)
    ]


@pytest.mark.parametrize("letter", "RGL")
def test_every_hyper_latent_reaches_every_step(letter: str, variant: Weights) -> None:
    hyper, y = drawn_latents(variant.config, (1, 2), seed=4, size=10.0)
    scales = variant.scales(60, CPU)
    before = run_entropy(variant.network.entropy, hyper, y, scales)
    hyper[letter] = -hyper[letter]
    after = run_entropy(variant.network.entropy, hyper, y, scales)
    for a, b in zip(split_steps(before.mean), split_steps(after.mean), strict=True):
        assert (a != b).float().mean() > 0.5


def test_global_tokens_reach_every_position(weights: Weights) -> None:
    """One number of one token: every position of the picture hears of it."""
    hyper, y = drawn_latents(weights.config, (2, 3), seed=4, size=10.0)
    scales = weights.scales(60, CPU)
    before = run_entropy(weights.network.entropy, hyper, y, scales)
    hyper["G"][0, 1, 2] += 9
    after = run_entropy(weights.network.entropy, hyper, y, scales)
    assert (before.mean != after.mean).any(-1).all()
