"""The network's structure: quadtree, causality, attention, the Karhunen-Loeve start, and what the config allows."""

import math
import pickle
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tiny import TINY, drawn_latents, drawn_model, photo, published, run_entropy
from told import one_line
from torch import Tensor
from torch.overrides import TorchFunctionMode

from dcacodec.codec.codec import Codec
from dcacodec.coding import CdfTable, PythonCoder
from dcacodec.coding.tables import TOTAL
from dcacodec.errors import StreamError
from dcacodec.format.container import Slice
from dcacodec.format.reader import parse
from dcacodec.format.writer import pack
from dcacodec.images.picture import Picture
from dcacodec.network.config import PRESETS, DCAConfig
from dcacodec.network.context import STEP_XOR, from_phases, join_steps, split_steps, to_phases
from dcacodec.network.dca import DCA
from dcacodec.network.fixed_point import Snap
from dcacodec.network.hyper import FeaturesOfZeros, RegionalSynthesis
from dcacodec.network.layers import (
    CrossAttention,
    DepthConvBlock,
    SwinBlock,
    TokenAttention,
    WindowAttention,
    depth_to_space,
    space_to_depth,
)
from dcacodec.network.precision import float32_is_exact, has_fused_products
from dcacodec.network.priors import gaussian_bits, noisy_gaussian_bits
from dcacodec.network.transforms import Margins, TransformBlock, join_channels, prepared, split_channels
from dcacodec.training.klt import GAIN, initialise
from dcacodec.weights.reader import Weights

CPU = torch.device("cpu")

# ------------------------------------------------------------------------------------------------------------- quadtree

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


# ------------------------------------------------------------------------------------------------------------ causality


@pytest.fixture(scope="module", params=[True, False], ids=["adaptive", "merged"])
def variant(request: pytest.FixtureRequest, weights: Weights) -> Weights:
    return weights if request.param else published(drawn_model(replace(TINY, adaptive=False), 21))


def by_step(x: Tensor) -> list[Tensor]:
    return split_steps(x)


@pytest.mark.parametrize("step", range(4))
def test_a_step_depends_on_those_before_it_only(step: int, variant: Weights) -> None:
    """y changed where a step codes it: what is predicted for this step and before stays, for later steps changes."""
    hyper, y = drawn_latents(variant.config, (2, 2), seed=step, size=10.0)
    parts = by_step(y)
    parts[step] = parts[step] + torch.from_numpy(np.random.default_rng(step).normal(0, 20, parts[step].shape))
    scales = variant.scales(60, CPU)
    before = run_entropy(variant.network.entropy, hyper, y, scales)
    after = run_entropy(variant.network.entropy, hyper, join_steps(parts), scales)
    for name in ("mean", "level"):
        one, other = by_step(getattr(before, name)), by_step(getattr(after, name))
        same = [torch.equal(a, b) for a, b in zip(one, other, strict=True)]
        assert same == [index <= step for index in range(4)]
    assert [torch.equal(a, b) for a, b in zip(by_step(before.latent), by_step(after.latent), strict=True)] == [
        index < step for index in range(4)
    ]


@pytest.mark.parametrize("letter", "RGL")
def test_every_hyper_latent_reaches_every_step(letter: str, variant: Weights) -> None:
    hyper, y = drawn_latents(variant.config, (1, 2), seed=4, size=10.0)
    scales = variant.scales(60, CPU)
    before = run_entropy(variant.network.entropy, hyper, y, scales)
    hyper[letter] = -hyper[letter]
    after = run_entropy(variant.network.entropy, hyper, y, scales)
    for a, b in zip(by_step(before.mean), by_step(after.mean), strict=True):
        assert (a != b).float().mean() > 0.5


def test_global_tokens_reach_every_position(weights: Weights) -> None:
    """One number of one token: every position of the picture hears of it."""
    hyper, y = drawn_latents(weights.config, (2, 3), seed=4, size=10.0)
    scales = weights.scales(60, CPU)
    before = run_entropy(weights.network.entropy, hyper, y, scales)
    hyper["G"][0, 1, 2] += 9
    after = run_entropy(weights.network.entropy, hyper, y, scales)
    assert (before.mean != after.mean).any(-1).all()


# ------------------------------------------------------------------------------------------------------------ attention


def naive_window_attention(layer: WindowAttention, x: Tensor) -> Tensor:
    """Query by query, over the keys of its window."""
    batch, height, width, channels = x.shape
    side, heads = layer.window, layer.heads
    triple = F.linear(x, layer.triple.weight, layer.triple.bias).unflatten(-1, (3, heads, -1))
    read = torch.zeros(batch, height, width, heads, channels // heads)

    def window(row: int, column: int) -> tuple[int, int]:
        return (row + layer.offset) // side, (column + layer.offset) // side

    places = [(row, column) for row in range(height) for column in range(width)]
    for row, column in places:
        seen = [place for place in places if window(*place) == window(row, column)]
        keys = torch.stack([triple[:, r, c, 1] for r, c in seen], 1)  # (B, K, heads, D)
        values = torch.stack([triple[:, r, c, 2] for r, c in seen], 1)
        at = [(row - r + side - 1) * (2 * side - 1) + column - c + side - 1 for r, c in seen]
        scale = 2.0 ** -math.ceil(math.log2(channels // heads) / 2)
        logits = (triple[:, row, column, 0][:, None] * keys).sum(-1)  # (B, K, heads)
        logits = logits * scale + layer.position[:, at].T
        read[:, row, column] = (logits.softmax(1)[..., None] * values).sum(1)
    return F.linear(read.flatten(-2), layer.out.weight, layer.out.bias)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(("height", "width"), [(4, 4), (8, 12), (2, 2), (6, 10), (1, 5)])
@pytest.mark.parametrize(("window", "channels"), [(4, 64), (2, 12)])
def test_window_attention(window: int, channels: int, height: int, width: int, shifted: bool) -> None:
    """Against the definition; sides need not be multiples of the window."""
    torch.manual_seed(window + height)
    layer = WindowAttention(channels, window, max(1, channels // 32), shifted)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    x = torch.randn(2, height, width, channels)
    with torch.no_grad():
        expected = naive_window_attention(layer, x)
        torch.testing.assert_close(layer(x, torch.zeros_like(x)), expected, atol=1e-3, rtol=1e-4)
    assert expected.std() > 0.5


@torch.no_grad()
def test_attention_to_tokens_is_cross_attention() -> None:
    """With the products of the matrices of a query and a key, and of a value and what is read, as parameters."""
    channels, heads, width = 64, 2, 32
    torch.manual_seed(3)
    plain, ours = CrossAttention(channels, channels, heads), TokenAttention(channels, heads)
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    query, key, value = (
        (layer.view(heads, width, channels), bias.view(heads, width))
        for layer, bias in zip(
            (plain.query.weight, *plain.pair.weight.chunk(2)),
            (plain.query.bias, *plain.pair.bias.chunk(2)),
            strict=True,
        )
    )
    out = plain.out.weight.view(channels, heads, width)
    ours.keys.weight.copy_(torch.einsum("hdx,hdt->hxt", query[0], key[0]).flatten(0, 1))
    ours.keys.bias.copy_(torch.einsum("hdx,hd->hx", query[0], key[1]).flatten())
    ours.biases.weight.copy_(torch.einsum("hd,hdt->ht", query[1], key[0]) * ours.scale)
    ours.biases.bias.copy_(torch.einsum("hd,hd->h", query[1], key[1]) * ours.scale)
    ours.values.weight.copy_(torch.einsum("xhd,hdt->hxt", out, value[0]).flatten(0, 1))
    ours.values.bias.copy_((torch.einsum("xhd,hd->hx", out, value[1]) + plain.out.bias / heads).flatten())
    x, tokens, residual = torch.randn(2, 7, channels), torch.randn(2, 5, channels), torch.randn(2, 7, channels)
    expected = plain(x, plain.pair(tokens), residual)
    torch.testing.assert_close(ours(x, ours.prepare(tokens), residual), expected, atol=1e-4, rtol=1e-4)
    assert (expected - residual).std() > 0.1 and (plain.pair(tokens)[:, 1:] - plain.pair(tokens)[:, :1]).std() > 1
    # What is the same everywhere may be given once.
    once = ours(x[:1, :1], ours.prepare(tokens), residual[:1, :1])
    torch.testing.assert_close(once[:1], ours(x, ours.prepare(tokens), residual)[:1, :1])


def test_shifted_windows_see_across_the_borders_of_the_others() -> None:
    """Which positions an output reads: its window, and with the shifted block behind it those of all it touches."""
    torch.manual_seed(0)
    blocks = [SwinBlock(8, 4, shifted) for shifted in (False, True)]
    for block in blocks:
        for parameter in block.parameters():
            torch.nn.init.normal_(parameter, std=0.5)

    def reads(layer: torch.nn.Module) -> NDArray[np.bool_]:
        x = torch.randn(1, 12, 12, 8, requires_grad=True)
        layer(x)[0, 5, 5].sum().backward()
        assert x.grad is not None
        return (x.grad[0] != 0).any(-1).numpy()

    def square(first: int, last: int) -> NDArray[np.bool_]:
        inside = np.zeros((12, 12), bool)
        inside[first:last, first:last] = True
        return inside

    np.testing.assert_array_equal(reads(blocks[0]), square(4, 8))
    np.testing.assert_array_equal(reads(blocks[1]), square(2, 6))
    np.testing.assert_array_equal(reads(torch.nn.Sequential(*blocks)), square(0, 8))


@torch.no_grad()
def test_fresh_blocks_are_identities() -> None:
    """In training and in fixed point; and no argument is overwritten."""
    x = torch.randn(2, 8, 8, 64)
    for block in (DepthConvBlock(64, 96), SwinBlock(64, 4, True)):
        assert torch.equal(block(x), x)
        for snap in (module for module in block.modules() if isinstance(module, Snap)):
            snap.set_limit(torch.full((snap.channels,), 7.0))
        exact = (x * 64).round() / 64
        kept = exact.clone()
        assert torch.equal(block(exact), kept) and torch.equal(exact, kept)


# --------------------------------------------------------------------------------------------- the Karhunen-Loeve start


def cells(x: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """(h * side, w * side, c) -> (h, w, side * side * c)."""
    height, width = x.shape[0] // side, x.shape[1] // side
    parts = [x[row::side, column::side] for row in range(side) for column in range(side)]
    return np.concatenate(parts, -1).reshape(height, width, -1)


def second_moment(samples: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    flat = np.concatenate([grid.reshape(-1, grid.shape[-1]) for grid in samples])
    moment: NDArray[np.float64] = flat.T @ flat / len(flat)
    return moment


@pytest.fixture(scope="module")
def fresh() -> tuple[DCA, list[NDArray[np.uint8]]]:
    pictures = [photo(96, 128, seed) for seed in range(4)]
    model = DCA(replace(TINY, width=40, latent=64, latent_linear=24))
    initialise(model, pictures)
    return model.eval(), pictures


def reconstruct(model: DCA, picture: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """The picture, and what comes back from its unquantised latent."""
    position = torch.tensor([1.3])
    x = torch.from_numpy(picture).float()[None] / 255
    with torch.no_grad():
        y = model.analysis(x, position) * model.gain(position).exp()
        return x, model.synthesise(y, position)


def test_karhunen_loeve_start_loses_what_it_leaves_out(fresh: tuple[DCA, list[NDArray[np.uint8]]]) -> None:
    """Without quantisation, the error is the variance of the components that were dropped, by their eigenvalues."""
    model, pictures = fresh
    n, m = model.config.width, model.config.latent
    grids = [cells(picture / 255 - 0.5, 8) for picture in pictures]
    values, vectors = np.linalg.eigh(second_moment(grids))
    kept = vectors[:, ::-1][:, :n]
    pairs = np.linalg.eigvalsh(second_moment([cells(grid @ kept, 2) for grid in grids]))
    lost = 4 * values[::-1][n:].sum() + pairs[::-1][m:].sum()  # of the 768 samples of 16x16 pixels
    errors = [(a - b).square().mean().item() for a, b in (reconstruct(model, picture) for picture in pictures)]
    assert np.mean(errors) == pytest.approx(lost / 768, rel=1e-4)
    assert 25 < -10 * math.log10(lost / 768) < 45


def test_karhunen_loeve_start_is_a_projection(fresh: tuple[DCA, list[NDArray[np.uint8]]]) -> None:
    """On pictures it has not seen, too: orthonormal, so projecting twice is projecting once."""
    model, _ = fresh
    for layer in (model.analysis.patch, model.analysis.down):
        torch.testing.assert_close(layer.weight @ layer.weight.T, torch.eye(len(layer.weight)), atol=1e-5, rtol=0)
    first = model.analysis.patch.weight.detach().numpy().astype(np.float64)
    second = model.analysis.down.weight.detach().numpy().astype(np.float64)
    unseen = photo(64, 64, seed=99)
    _, once = reconstruct(model, unseen)
    grid = cells(unseen / 255 - 0.5, 8) @ first.T
    projected = cells(grid, 2) @ second.T @ second  # (h, w, 4 * n)
    halves = np.zeros_like(grid)
    for index, (row, column) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        halves[row::2, column::2] = projected[..., index * first.shape[0] : (index + 1) * first.shape[0]]
    expected = cells(once[0].numpy() - 0.5, 8)
    np.testing.assert_allclose(halves @ first, expected, atol=1e-5)


def test_karhunen_loeve_start_codes_at_the_rate_of_the_loss(fresh: tuple[DCA, list[NDArray[np.uint8]]]) -> None:
    """The gain of each anchor is 50 sqrt(lambda); the spreads are the channels' sizes in quantisation steps."""
    model, pictures = fresh
    config = model.config
    for anchor in range(config.anchors):
        position = torch.tensor([float(anchor)])
        trade_off = config.trade_off(1 + 99 * anchor / (config.anchors - 1))
        gains = model.gain(position)[0, 0, 0].exp().tolist()
        assert gains == pytest.approx([GAIN * math.sqrt(trade_off)] * config.latent, rel=1e-5)
        batch = torch.stack([torch.from_numpy(picture).float() / 255 for picture in pictures])
        with torch.no_grad():
            y = model.analysis(batch, position) * model.gain(position).exp()
        size = y.square().mean((0, 1, 2)).sqrt() + 0.05
        torch.testing.assert_close(model.spread(position)[0, 0, 0].exp(), size, rtol=2e-3, atol=0)


def test_channels_are_spread_over_the_groups(fresh: tuple[DCA, list[NDArray[np.uint8]]]) -> None:
    """Each quadtree group gets its share of strong channels: the ranking goes round the groups."""
    model, _ = fresh
    ranking = model.spread.values[0].argsort(descending=True)
    assert [int(channel) // (model.config.latent // 4) for channel in ranking] == [0, 1, 2, 3] * 16


LINEAR = replace(TINY, latent=40, latent_linear=16, latent_blocks=2)


def test_last_channels_of_each_group_are_the_linear_ones() -> None:
    y = torch.arange(40.0).expand(1, 2, 2, 40)
    nonlinear, linear = split_channels(y, LINEAR)
    assert nonlinear[0, 0, 0].tolist() == [*range(6), *range(10, 16), *range(20, 26), *range(30, 36)]
    assert linear[0, 0, 0].tolist() == [*range(6, 10), *range(16, 20), *range(26, 30), *range(36, 40)]
    assert torch.equal(join_channels(nonlinear, linear), y)


def test_linear_channels_add_what_they_stand_for() -> None:
    """To the picture that the others make: each its own 16x16 pixels, whatever the others are."""
    model = drawn_model(LINEAR, 5)
    position = torch.tensor([1.7])
    y = 5 * torch.randn(1, 4, 8, 40)
    others, linear = split_channels(y, LINEAR)
    with torch.no_grad():
        whole = model.synthesis(y, position)
        without = model.synthesis(join_channels(others, torch.zeros_like(linear)), position)
        cells = (linear.double() @ model.synthesis.linear.weight.double().T).unflatten(-1, (16, 16, 3))
    added = cells.permute(0, 1, 3, 2, 4, 5).reshape(whole.shape)  # (1, 4, 8, 16, 16, 3)
    assert added.std() > 0.1
    torch.testing.assert_close(whole - without, added.float(), atol=2e-5, rtol=0)


@pytest.mark.parametrize("shrink", [1, 2, 4, 8])
def test_a_reduced_picture_is_the_mean_of_the_pixels_before_they_are_rounded(shrink: int) -> None:
    model = drawn_model(LINEAR, 5)
    position, y = torch.tensor([1.7]), torch.randn(1, 4, 8, 40, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole, reduced = model.synthesis(y, position), model.synthesis.pixels(y, position, shrink)
    mean = whole.double().unflatten(2, (-1, shrink)).unflatten(1, (-1, shrink)).mean((2, 4))
    assert 20 < reduced.double().std() < 200
    assert ((reduced - 255 * mean.clamp(0, 1)).abs() <= 0.5 + 1e-2).all()


def _without_margins(blocks: torch.nn.Sequential, x: Tensor, margins: Margins) -> Tensor:
    """The result of blocks without its margins, of which each block but the last leaves out one element."""
    top, bottom, left, right = margins
    *others, last = blocks.children()
    for block in others:
        cut = (min(1, top), min(1, bottom), min(1, left), min(1, right))
        x = block(x, cut)
        top, bottom, left, right = top - cut[0], bottom - cut[1], left - cut[2], right - cut[3]
    result: Tensor = last(x, (top, bottom, left, right))
    return result


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
@pytest.mark.parametrize("count", [1, 3])
def test_blocks_of_the_transforms_compute_what_depth_conv_blocks_do(
    count: int, dtype: torch.dtype, error: float
) -> None:
    blocks, plain = (
        torch.nn.Sequential(*(kind(16, 24) for _ in range(count))) for kind in (TransformBlock, DepthConvBlock)
    )
    for parameter in plain.parameters():
        torch.nn.init.uniform_(parameter, -0.3, 0.3)
    blocks.load_state_dict(plain.state_dict())
    x = 2 * torch.randn(1, 40, 48, 16)  # more elements than are processed at once
    reference = plain(x).detach()
    cut = (count, 2 + count, 0, 3 + count)  # what is left does not read what each block leaves out
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        with_gradients = blocks(x)
        cut_out = _without_margins(blocks, x, cut)
    with torch.inference_mode():
        ready, without = prepared(blocks, dtype), x.clone()
        assert ready(without).data_ptr() == without.data_ptr()
        pair = torch.cat([x, -x])
        both = _without_margins(ready, pair.clone(), cut)
    for found in (with_gradients, without):
        assert (found - reference).abs().max() <= error * reference.abs().max()
    expected = torch.cat([plain(each) for each in (x, -x)]).detach()[:, count : -2 - count, : -3 - count]
    for found, wanted in ((cut_out, expected[:1]), (both, expected)):
        assert (found - wanted).abs().max() <= error * reference.abs().max()
    assert (reference - x).abs().max() > 0.1 * reference.abs().max()


def test_blocks_of_the_analysis_leave_linear_channels_alone() -> None:
    """They are a linear layer's of what is at 1/8, and the others come out as they would without them."""
    model = drawn_model(LINEAR, 5)
    picture, position = torch.rand(1, 64, 64, 3), torch.tensor([1.7])
    before: list[Tensor] = []
    model.analysis.down.register_forward_hook(lambda module, arguments, output: before.append(output))
    with torch.no_grad():
        y = model.analysis(picture, position)
        nonlinear, linear = split_channels(before[0], LINEAR)
        found = split_channels(y, LINEAR)
        assert torch.equal(found[1], linear)
        assert torch.equal(found[0], model.analysis.latent_blocks(nonlinear.clone()))
        assert not torch.equal(found[0], nonlinear)


# -------------------------------------------------------------------------------------------------- config and variants


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"latent": 18}, ["latent", "18"]),
        ({"latent": 20, "latent_linear": 6}, ["latent", "20", "6"]),
        ({"latent": 20, "latent_linear": 20}, ["linear", "20"]),
        ({"latent_linear": -4}, ["linear", "-4"]),
        ({"order": ""}, ["order", "''"]),
        ({"order": "RR"}, ["order", "'RR'"]),
        ({"order": "RX"}, ["order", "'RX'"]),
        ({"window": 3}, ["window", "3"]),
        ({"window": 8}, ["window", "8"]),
        ({"anchors": 1}, ["anchors", "1"]),
    ],
)
def test_config_errors(change: dict[str, Any], expected: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        DCAConfig(**change)
    assert all(part in one_line(error) for part in expected)


@pytest.mark.parametrize("config", [*PRESETS.values(), TINY], ids=lambda config: config.name)
def test_quality_and_lambda(config: DCAConfig) -> None:
    assert config.trade_off(1) == config.lambda_min
    assert config.trade_off(100) == pytest.approx(config.lambda_max, rel=1e-12)
    assert (config.anchor_position(1), config.anchor_position(100)) == (0, config.anchors - 1)
    for quality in (1, 17, 50, 99.5):  # both are linear: in the logarithm, and as it is
        share = math.log(config.trade_off(quality) / config.lambda_min) / math.log(
            config.lambda_max / config.lambda_min
        )
        assert config.anchor_position(quality) == pytest.approx(share * (config.anchors - 1))
    assert DCAConfig(**config.to_dict()) == config


STREAM_OF = {"R": "z_r", "G": "z_g", "L": "z_l"}


@pytest.mark.parametrize("adaptive", [True, False], ids=["adaptive", "merged"])
@pytest.mark.parametrize("order", ["R", "G", "L", "RG", "LGR", "RGL"])
def test_variants_have_the_streams_of_their_hyper_latents(order: str, adaptive: bool) -> None:
    """Estimated and in the file; and a stream that the model has no latent for is refused."""
    model = drawn_model(replace(TINY, order=order, adaptive=adaptive), 31)
    picture = photo(64, 64, seed=1)
    with torch.no_grad():
        estimate = model(torch.from_numpy(picture)[None].float() / 255, torch.tensor([1.0]))
    assert set(estimate.bits) == {*(STREAM_OF[letter] for letter in order), "y_1", "y_2", "y_3", "y_4"}
    assert all((bits > 0).all() for bits in estimate.bits.values())

    codec = Codec(published(model), coder=PythonCoder())
    data = codec.encode(Picture(picture, False, None, None, None), quality=50, lossless=False)
    container = parse(data)
    streams = container.slices[0].streams
    assert [bool(stream) for stream in streams] == [*(letter in order for letter in "RGL"), True, True, True, True]
    codec.decode(data)
    for index, letter in enumerate("RGL"):
        if letter not in order:
            extra = Slice((*streams[:index], b"\0", *streams[index + 1 :]), container.slices[0].latent_crc)
            with pytest.raises(StreamError) as error:
                codec.decode(pack(replace(container, slices=(extra,))))
            assert f"hyper latent {letter}" in one_line(error)


@pytest.mark.parametrize("adaptive", [True, False], ids=["adaptive", "merged"])
@pytest.mark.parametrize("order", ["RGL", "LGR"])
def test_fixed_point_is_the_network_that_was_trained(order: str, adaptive: bool) -> None:
    """Up to the grids: means to a few hundredths of a channel's size, levels to a part of one."""
    model = drawn_model(replace(TINY, order=order, adaptive=adaptive), 32)
    weights = published(model)
    for quality in (10, 60, 100):
        hyper, y = drawn_latents(model.config, (2, 2), seed=quality, size=10.0)
        with torch.no_grad():
            scales = model.scales(torch.tensor([model.config.anchor_position(quality)]))
        floats = run_entropy(model.entropy, {letter: z.float() for letter, z in hyper.items()}, y.float(), scales)
        exact = run_entropy(weights.network.entropy, hyper, y, weights.scales(quality, CPU))
        means = ((floats.mean - exact.mean) / scales.outward).abs().flatten()
        levels = (floats.level - exact.level).abs().flatten()
        assert means.quantile(0.5) < 0.05 and means.quantile(0.9) < 0.2
        assert levels.quantile(0.5) < 0.8 and levels.quantile(0.9) < 3
        assert exact.level.std() > 10


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


# ----------------------------------------------------------------------------------------------------- half precision


def almost_always_zero(rows: int) -> CdfTable:
    cdf = np.tile([0, 1, TOTAL - 1, TOTAL], (rows, 1))
    return CdfTable(cdf, np.full(rows, -1), np.zeros(rows, np.int64))


@pytest.mark.parametrize("letter", "RGL")
def test_inactive_hyper_latents_are_zero_without_being_computed(letter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = published(drawn_model(TINY, 31))
    assert not weights.inactive
    tables = {**weights.z_tables, letter: almost_always_zero(weights.z_tables[letter].rows)}
    active, codec = Codec(weights, coder=PythonCoder()).at(50), Codec(replace(weights, z_tables=tables))
    assert codec.weights.inactive == {letter}
    pixels = photo(128, 192, seed=3)
    y = active.point.latent_of(active.point.tensor_of(pixels))
    all_of_them = active.point.hyper_of(y)
    assert all_of_them[letter].any()

    point = codec.at(50).point
    with point._transforms() as network:
        monkeypatch.setattr(network.hyper_analysis[letter], "forward", None)
    found = point.hyper_of(y)
    assert list(found) == list("RGL")
    for each, value in found.items():
        expected = torch.zeros_like(all_of_them[each]) if each == letter else all_of_them[each]
        assert value.dtype == expected.dtype and torch.equal(value, expected)
    picture = Picture(pixels, False, None, None, None)
    data = codec.encode(picture, quality=50, lossless=False)
    assert codec.decode(data).pixels.shape == pixels.shape


@pytest.mark.parametrize("window", [1, 2, 4])
def test_features_of_zeros_are_made_once_of_few_elements(window: int) -> None:
    """Of every size they are those that r_s makes of all elements."""
    config = replace(TINY, window=window)
    synthesis = published(drawn_model(config, 7)).network.entropy.synthesis["R"]
    assert isinstance(synthesis, RegionalSynthesis)
    shapes: list[torch.Size] = []
    known = FeaturesOfZeros(synthesis)
    for height, width in [(1, 1), (2, 9), (3, 8), (8, 3), (7, 6), (10, 11), (11, 14), (12, 12), (13, 9), (13, 9)]:
        zeros = torch.zeros(2, height, width, config.regional)
        with torch.inference_mode():
            expected = synthesis(zeros)
            with synthesis.expand1.register_forward_pre_hook(lambda module, given: shapes.append(given[0].shape)):
                assert torch.equal(known(zeros), expected)
    assert max(side for shape in shapes for side in shape[:3]) <= 5
    assert len(shapes) == len(set(shapes)) == 8


def test_zeros_are_told_from_a_single_element() -> None:
    """Encoder and decoder know z_r, and use the features of zeros for zeros alone."""
    entropy = published(drawn_model(TINY, 7)).network.entropy
    assert TINY.order[0] == "R"
    constants = entropy.constants()
    latents = {letter: torch.zeros(1, *TINY.hyper_shape(letter, 16, 24)) for letter in TINY.order}
    features: list[Tensor] = []
    for value in (0, 1):
        latents["R"][0, 3, 5, 2] = value
        with torch.inference_mode():
            found = entropy.prepare(latents, (1, 16, 24), constants.zero_features)
            expected = entropy.prepare(latents, (1, 16, 24), None)
        _, ours = found[0]
        _, theirs = expected[0]
        assert isinstance(ours, Tensor) and isinstance(theirs, Tensor) and torch.equal(ours, theirs)
        features.append(ours)
    assert not torch.equal(*features)


def test_kept_features_do_not_suffer_from_a_precision_set_meanwhile() -> None:
    """Which the next slice would be coded without, see `float32_is_exact`."""
    synthesis = published(drawn_model(TINY, 7)).network.entropy.synthesis["R"]
    assert isinstance(synthesis, RegionalSynthesis)
    known, zeros = FeaturesOfZeros(synthesis), torch.zeros(1, 9, 6, TINY.regional)
    with torch.inference_mode():
        expected = synthesis(zeros)
        try:
            torch.set_float32_matmul_precision("medium")
            assert torch.equal(known(zeros), expected)
        finally:
            torch.set_float32_matmul_precision("highest")
        assert torch.equal(pickle.loads(pickle.dumps(known))(zeros), expected)


def test_fused_products_are_those_of_separate_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the rounding of bfloat16, and no less exact: both beside float32."""
    model = drawn_model(TINY, seed=5).analysis.blocks
    x = torch.randn(1, 12, 9, TINY.width, generator=torch.Generator().manual_seed(0))
    blocks = {}
    for fused in (True, False):
        monkeypatch.setattr("dcacodec.network.transforms.has_fused_products", lambda *_, fused=fused: fused)
        blocks[fused] = prepared(model, torch.bfloat16)
    with torch.inference_mode():
        exact, separate = prepared(model, torch.float32)(x.clone()), blocks[False](x.clone())
        try:
            made = {True: blocks[True](x.clone()), False: separate}
        except RuntimeError:
            assert not has_fused_products(torch.bfloat16, CPU)
            pytest.skip("oneDNN has no such products on this processor")
    errors = {fused: (each - exact).square().mean().item() for fused, each in made.items()}
    assert not torch.equal(made[True], x)
    assert 0 < errors[True] < 1.2 * errors[False] < 1e-3 * exact.square().mean().item()


@pytest.mark.parametrize("fault", [AttributeError, RuntimeError, TypeError, "another activation"])
def test_other_private_operations_are_not_used(fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Changed:
        def __call__(self, x: Tensor, *_: Any) -> Tensor:
            if isinstance(fault, str):
                return x
            raise fault("it has other arguments now")

        def binary(self, x: Tensor, *_: Any) -> Tensor:
            return x

    monkeypatch.setattr("dcacodec.network.precision.fast_bfloat16", lambda device: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", Changed())
    assert not has_fused_products.__wrapped__(torch.bfloat16, CPU)


class Products(TorchFunctionMode):
    """Counts the products of matrices, and convolutions, by the type of their results."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[torch.dtype] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in (F.linear, F.conv2d, torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, torch.baddbmm):
            self.found[result.dtype] += 1
        return result


@pytest.mark.parametrize("fast", [True, False])
def test_half_precision_is_for_the_transforms_alone(fast: bool, codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcacodec.codec.operating_point.fast_bfloat16", lambda device: fast)
    coder, pixels = codec.at(60), photo(128, 192, seed=3)
    with torch.inference_mode(), Products() as transforms:
        y = coder.point.latent_of(coder.point.tensor_of(pixels))
        hyper = coder.point.hyper_of(y)
    assert transforms.found.keys() == ({torch.bfloat16, torch.float32} if fast else {torch.float32})
    assert not fast or transforms.found[torch.bfloat16] > transforms.found[torch.float32]
    assert float32_is_exact(CPU)  # and its float64 products are made
    with Products() as entropy:
        symbols, _ = coder.quantise(y, hyper, False)
    assert entropy.found.keys() == {torch.float32}
    with Products() as synthesis:
        coder.point.pixels_of(symbols.latent)
    assert synthesis.found.keys() == transforms.found.keys()
