"""The network's layers: attention in windows and to tokens, and blocks that begin as identities."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dcacodec.network.fixed_point import Snap
from dcacodec.network.layers import CrossAttention, DepthConvBlock, SwinBlock, TokenAttention, WindowAttention


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
    """In training and in fixed point."""
    x = torch.randn(2, 8, 8, 64)
    for block in (DepthConvBlock(64, 96), SwinBlock(64, 4, True)):
        assert torch.equal(block(x), x)
        set_limits(block)
        exact = (x * 64).round() / 64
        assert torch.equal(block(exact.clone()), exact)


@torch.no_grad()
@pytest.mark.parametrize("exact", [False, True])
def test_blocks_leave_their_argument_alone(exact: bool) -> None:
    x = torch.randn(2, 8, 8, 64)
    before = x.clone()
    for block in (DepthConvBlock(64, 96), SwinBlock(64, 4, True)):
        for parameter in block.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        if exact:
            set_limits(block)
        assert (block(x) != before).float().mean() > 0.9
        assert torch.equal(x, before)


def set_limits(block: torch.nn.Module) -> None:
    """Make all layers of a block exact."""
    for snap in (module for module in block.modules() if isinstance(module, Snap)):
        snap.set_limit(torch.full((snap.channels,), 7.0))
