"""Layers for channels-last tensors (B, H, W, C), in training and in fixed point.

The transforms use them in ``float32`` or ``bfloat16``. In the entropy model of published weights, where layers have
limits, every result is a fixed-point number (see :mod:`dcacodec.network.fixed_point`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcacodec.network.fixed_point import (
    NORM_LIMIT,
    Snap,
    attend,
    exact_inverse_rms,
    filter3x3,
    gate,
    hard_swish,
    inverse_rms,
    logit_scale,
    softmax_shares,
    to_grid,
)

_PART = 3072
"""Elements that a thread of a CPU processes at once."""


def part_size() -> int:
    """Elements that are processed at once on a CPU: not too many for its caches.

    PyTorch's threads share every operation, and wait for each other after it.
    """
    return _PART * torch.get_num_threads()


def in_parts(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """A function of the elements of tensors (..., C), one by one: their results (..., D).

    On a CPU, without gradients, in parts, so that what it makes on the way stays in the cache.
    """
    elements = tensors[0].shape[:-1]
    if elements.numel() <= (size := part_size()) or tensors[0].device.type != "cpu" or torch.is_grad_enabled():
        return function(*tensors)
    parts = zip(*(each.flatten(0, -2).split(size) for each in tensors), strict=True)
    return torch.cat([function(*each) for each in parts]).unflatten(0, elements)


class Linear(nn.Linear):
    """A 1x1 convolution (..., in) -> (..., out), plus an optional residual, clamped and rounded by `Snap`.

    Formats: weight X.w and bias X.(6 + w), with w of each output channel.
    """

    def __init__(self, channels: int, out: int, bias: bool = True) -> None:
        super().__init__(channels, out, bias)
        self.snap = Snap(out)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        if residual is None:
            return self.snap(F.linear(x, self.weight, self.bias))
        if not self.snap.exact or x.shape[:-1] != residual.shape[:-1]:
            return self.snap(F.linear(x, self.weight, self.bias) + residual)
        # The product is added to the sum of the others, which takes fewer operations. All of them are exact.
        y = (residual + self.bias).contiguous()
        y.view(-1, y.shape[-1]).addmm_(x.reshape(-1, x.shape[-1]), self.weight.T)
        return self.snap(y)

    def zero(self) -> Linear:
        """Set weight and bias to zero, as in the last layer of a residual branch; returns itself."""
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        return self


class DepthwiseConv(nn.Module):
    """3x3 depthwise convolution with zero padding: (B, H, W, C) -> the same, snapped.

    Formats: weight X.w (C, 3, 3) and bias X.(6 + w) (C), with w of each channel.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, 3, 3).uniform_(-1 / 3, 1 / 3))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.snap = Snap(channels)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return self.snap(filter3x3(x, weight, bias, self.snap.exact))


class GatedLinear(nn.Module):
    """Feed-forward layer ``out(a * hard_sigmoid(b))`` with (a, b) = expand(x); zero when initialised.

    (..., C) -> (..., C), with `hidden` channels inside; plus `residual`.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.expand = Linear(channels, 2 * hidden)
        self.out = Linear(hidden, channels).zero()

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        a, b = self.expand(x).chunk(2, -1)
        return self.out(gate(a, b, self.expand.snap.exact), residual)


class DepthConvBlock(nn.Module):
    """Two residual branches; the identity when initialised.

    ::

        x --+-- mix --- hard_swish --- depthwise 3x3 --- merge --(+)--+-- gated feed-forward --(+)--> out
            '----------------------------------------------------'    '-------------------------'

    (B, H, W, C) -> the same, with `hidden` channels in the feed-forward. The receptive field is one element on each
    side. (After the DepthConvBlock of DCVC-DC and DCVC-RT.)
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.mix = Linear(channels, channels)
        self.depthwise = DepthwiseConv(channels)
        self.merge = Linear(channels, channels).zero()
        self.feed = GatedLinear(channels, hidden)

    def forward(self, x: Tensor) -> Tensor:
        inner = in_parts(lambda part: hard_swish(self.mix(part), self.mix.snap.exact), x)
        return in_parts(self._rest, self.depthwise(inner), x)

    def _rest(self, filtered: Tensor, x: Tensor) -> Tensor:
        x = self.merge(filtered, x)
        return self.feed(x, x)


class RMSNorm(nn.Module):
    """Root-mean-square normalisation with a gain per channel, over the last dimension; snapped.

    The input is clamped to `NORM_LIMIT`, and rounded once it is normalised. Gains have 11 significant bits.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))
        self.snap = Snap(channels)

    def forward(self, x: Tensor) -> Tensor:
        if not self.snap.exact:
            return self.snap(x * inverse_rms(x) * self.gain)
        x = x.clamp(-NORM_LIMIT, NORM_LIMIT)
        return self.snap(to_grid(x.mul_(exact_inverse_rms(x))).mul_(self.gain))


class CrossAttention(nn.Module):
    """Multi-head cross-attention: queries (B, Q, C), keys and values (B, K, 2*C) -> (B, Q, C), plus `residual`.

    Without the residual zero when initialised. `pair` makes keys and values of a source (B, K, C'). For the analysis,
    in floating point; see `TokenAttention` for the entropy model.
    """

    def __init__(self, channels: int, source: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = Linear(channels, channels)
        self.pair = Linear(source, 2 * channels)
        self.out = Linear(channels, channels).zero()

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(-2, -3)

    def forward(self, x: Tensor, pair: Tensor, residual: Tensor) -> Tensor:
        key, value = pair.chunk(2, -1)
        read = attend(self._split(self.query(x)), self._split(key), self._split(value), exact=False)
        return self.out(read.transpose(-2, -3).flatten(-2), residual)


class Tokens(NamedTuple):
    """What `TokenAttention` reads of tokens.

    Attributes:
        keys: (B, C, heads*K), with the factor of the logits.
        biases: of the logits, (B, 1, heads*K).
        values: (B, heads*K, C).
    """

    keys: Tensor
    biases: Tensor
    values: Tensor


class TokenAttention(nn.Module):
    """Multi-head cross-attention of many elements to a few tokens; snapped. Initialised to the residual.

    ::

        tokens (B, K, C) --- prepare --- keys, biases, values
                                          |                |
        x (B, Q, C) --- logits (B, Q, heads, K) --- softmax --- (+ residual) ---> (B, Q, C)

    Keys and values have as many channels as the elements, in every head, and there are no projections of queries and
    of what is read. Ordinary attention with queries Q x + q, keys K t + k, values V t and an output O has the logits
    (Q x + q) . (K t + k) = x . (Q' K t + Q' k) + q . (K t + k), and adds O V t: here the products of matrices are the
    parameters. What is computed of tokens is prepared once, and for each element there remain 2 * heads * K * C
    products, less than a quarter for 8 tokens and 4 heads of 32 channels.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.keys = Linear(channels, heads * channels)
        self.biases = Linear(channels, heads)
        self.values = Linear(channels, heads * channels).zero()
        self.snap = Snap(channels)

    @property
    def scale(self) -> float:
        """The factor of the products of elements and keys."""
        return logit_scale(self.snap.channels // self.heads)

    def prepare(self, tokens: Tensor) -> Tokens:
        """What `forward` reads of tokens (B, K, C)."""

        def by_head(x: Tensor) -> Tensor:  # (B, K, heads*D) -> (B, heads*K, D)
            return x.unflatten(-1, (self.heads, -1)).transpose(1, 2).flatten(1, 2)

        keys, biases, values = (by_head(layer(tokens)) for layer in (self.keys, self.biases, self.values))
        return Tokens((keys * self.scale).transpose(1, 2), biases.transpose(1, 2), values)

    def forward(self, x: Tensor, tokens: Tokens, residual: Tensor) -> Tensor:
        logits = (x @ tokens.keys + tokens.biases).unflatten(-1, (self.heads, -1))
        return self.snap(softmax_shares(logits, self.snap.exact).flatten(-2) @ tokens.values + residual)


class WindowAttention(nn.Module):
    """Self-attention inside square windows with a learned relative-position bias (Swin, Liu et al. 2021).

    (B, H, W, C) -> the same, plus `residual`. Sides that are not multiples of the window are padded; padding is masked.
    With `shifted` the windows are displaced by half their side, so that neighbours across window borders interact: the
    picture is padded by half a window in front, instead of being rolled with a wrap-around mask.
    """

    def __init__(self, channels: int, window: int, heads: int, shifted: bool) -> None:
        super().__init__()
        self.window, self.heads = window, heads
        self.offset = window // 2 if shifted else 0
        self.triple = Linear(channels, 3 * channels)
        self.out = Linear(channels, channels).zero()
        self.position = nn.Parameter(torch.zeros(heads, (2 * window - 1) ** 2))

    def _bias(self) -> Tensor:
        """The bias (heads, window**2, window**2): one parameter per displacement."""
        w = self.window
        at = torch.arange(w * w, device=self.position.device)
        dy = at[:, None] // w - at[None] // w + w - 1
        dx = at[:, None] % w - at[None] % w + w - 1
        return self.position[:, dy * (2 * w - 1) + dx]

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        w, front = self.window, self.offset
        down, right = -(height + front) % w, -(width + front) % w
        rows, columns = (height + front + down) // w, (width + front + right) // w

        def windows(t: Tensor) -> Tensor:  # (B, H, W, D) -> (B, rows, columns, w*w, D)
            t = F.pad(t, (0, 0, front, right, front, down))
            t = t.view(t.shape[0], rows, w, columns, w, t.shape[-1]).transpose(2, 3)
            return t.flatten(3, 4)

        q, k, v = (
            windows(part).unflatten(-1, (self.heads, -1)).transpose(-2, -3) for part in self.triple(x).chunk(3, -1)
        )
        mask = None
        if front or down or right:
            inside = windows(torch.ones(1, height, width, 1, dtype=torch.float32, device=x.device))[..., 0]
            # Picture elements must not read padding; queries in the padding may read anything.
            mask = (inside[..., None, :] < inside[..., :, None])[:, :, :, None]
        read = attend(q, k, v, self.triple.snap.exact, self._bias().to(q.dtype), mask)
        read = read.transpose(-2, -3).flatten(-2).unflatten(3, (w, w)).transpose(2, 3)
        read = read.reshape(batch, rows * w, columns * w, channels)
        return self.out(read[:, front : front + height, front : front + width], residual)


class SwinBlock(nn.Module):
    """Pre-normalised window attention and gated feed-forward, both residual; the identity when initialised."""

    def __init__(self, channels: int, window: int, shifted: bool) -> None:
        super().__init__()
        self.norm1 = RMSNorm(channels)
        self.attention = WindowAttention(channels, window, max(1, channels // 32), shifted)
        self.norm2 = RMSNorm(channels)
        self.feed = GatedLinear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.attention(self.norm1(x), x)
        return in_parts(lambda part: self.feed(self.norm2(part), part), x)


def swin_pair(channels: int, window: int) -> nn.Sequential:
    """A regular and a shifted Swin block."""
    return nn.Sequential(SwinBlock(channels, window, shifted=False), SwinBlock(channels, window, shifted=True))


class PatchMerge(nn.Module):
    """Merge 2x2 neighbours to one vector: (B, H, W, C) -> (B, H/2, W/2, D); H and W even."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.linear = Linear(4 * channels, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(space_to_depth(x, 2))


class PatchExpand(nn.Module):
    """Expand each vector to 2x2 neighbours: (B, H, W, C) -> (B, 2H, 2W, D)."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.linear = Linear(channels, 4 * out)

    def forward(self, x: Tensor) -> Tensor:
        return depth_to_space(self.linear(x), 2)


def space_to_depth(x: Tensor, side: int) -> Tensor:
    """(B, H, W, C) -> (B, H/side, W/side, side*side*C), in the order row, column, channel of the cell."""
    batch, height, width, channels = x.shape
    rows = x.reshape(batch, height // side, side, width // side, side * channels)
    return _swapped(rows).view(batch, height // side, width // side, side * side * channels)


def depth_to_space(x: Tensor, side: int) -> Tensor:
    """The inverse of `space_to_depth`."""
    batch, height, width, depth = x.shape
    rows = x.reshape(batch, height, width, side, depth // side)
    return _swapped(rows).view(batch, height * side, width * side, depth // (side * side))


def _swapped(x: Tensor) -> Tensor:
    """(A, B, C, D, E) -> (A, B, D, C, E), contiguous. Bytes are moved as words of 64 bits, where E consists of such."""
    if x.dtype == torch.uint8 and x.shape[-1] % 8 == 0:
        words = x.contiguous()
        if words.storage_offset() % 8 == 0:
            return words.view(torch.int64).transpose(2, 3).contiguous().view(torch.uint8)
    return x.transpose(2, 3).contiguous()
