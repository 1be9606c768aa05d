"""Layers for channels-last tensors (B, H, W, C), in training and in fixed point.

The transforms use them in ``float32`` or ``bfloat16``; the entropy model also in ``float64``, where every result is a
fixed-point number (see :mod:`dcacodec.network.fixed_point`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcacodec.network.fixed_point import attend, hard_sigmoid, hard_swish, is_exact, rms_normalise, snap


class Linear(nn.Linear):
    """A 1x1 convolution in channels-last: (..., in) -> (..., out), snapped.

    Formats: weight X.12, bias X.12, input and output X.9.
    """

    def forward(self, x: Tensor) -> Tensor:
        return snap(F.linear(x, self.weight, self.bias))

    def zero(self) -> Linear:
        """Set weight and bias to zero, as in the last layer of a residual branch; returns itself."""
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        return self


class DepthwiseConv(nn.Module):
    """3x3 depthwise convolution with zero padding: (B, H, W, C) -> the same, snapped.

    Formats: weight X.12 (C, 3, 3), bias X.12 (C), input and output X.9.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, 3, 3).uniform_(-1 / 3, 1 / 3))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        if not is_exact(x):
            weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
            y = F.conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=1, groups=x.shape[-1])
            return y.permute(0, 2, 3, 1)
        # In double precision, nine shifted products are faster than the library's grouped convolution.
        _, height, width, _ = x.shape
        padded = F.pad(x, (0, 0, 1, 1, 1, 1))
        total = self.bias.expand_as(x).clone()
        for row in range(3):
            for column in range(3):
                window = padded[:, row : row + height, column : column + width]
                total.addcmul_(window, self.weight[:, 0, row, column])
        return snap(total)


class GatedLinear(nn.Module):
    """Feed-forward layer ``out(a * hard_sigmoid(b))`` with (a, b) = expand(x); zero when initialised.

    (..., C) -> (..., C), with `hidden` channels inside.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.expand = Linear(channels, 2 * hidden)
        self.out = Linear(hidden, channels).zero()

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.expand(x).chunk(2, -1)
        return self.out(snap(a * hard_sigmoid(b)))


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
        x = snap(x + self.merge(self.depthwise(hard_swish(self.mix(x)))))
        return snap(x + self.feed(x))


class RMSNorm(nn.Module):
    """Root-mean-square normalisation with a gain per channel, over the last dimension. Gain X.12."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return snap(rms_normalise(x) * self.gain)


class CrossAttention(nn.Module):
    """Multi-head cross-attention: queries (B, Q, C), source (B, K, C') -> (B, Q, C). Zero when initialised."""

    def __init__(self, channels: int, source: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = Linear(channels, channels)
        self.pair = Linear(source, 2 * channels)
        self.out = Linear(channels, channels).zero()

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(-2, -3)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        key, value = self.pair(source).chunk(2, -1)
        read = attend(self._split(self.query(x)), self._split(key), self._split(value))
        return self.out(read.transpose(-2, -3).flatten(-2))


class WindowAttention(nn.Module):
    """Self-attention inside square windows with a learned relative-position bias (Swin, Liu et al. 2021).

    (B, H, W, C) -> the same. Sides that are not multiples of the window are padded; padding is masked. With `shifted`
    the windows are displaced by half their side, so that neighbours across window borders interact: the picture is
    padded by half a window in front, instead of being rolled with a wrap-around mask.
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

    def forward(self, x: Tensor) -> Tensor:
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
        read = attend(q, k, v, self._bias().to(q.dtype), mask)
        read = read.transpose(-2, -3).flatten(-2).unflatten(3, (w, w)).transpose(2, 3)
        read = read.reshape(batch, rows * w, columns * w, channels)
        return self.out(read[:, front : front + height, front : front + width])


class SwinBlock(nn.Module):
    """Pre-normalised window attention and gated feed-forward, both residual; the identity when initialised."""

    def __init__(self, channels: int, window: int, shifted: bool) -> None:
        super().__init__()
        self.norm1 = RMSNorm(channels)
        self.attention = WindowAttention(channels, window, max(1, channels // 32), shifted)
        self.norm2 = RMSNorm(channels)
        self.feed = GatedLinear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = snap(x + self.attention(self.norm1(x)))
        return snap(x + self.feed(self.norm2(x)))


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
    x = x.reshape(batch, height // side, side, width // side, side, channels)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(batch, height // side, width // side, side * side * channels)


def depth_to_space(x: Tensor, side: int) -> Tensor:
    """The inverse of `space_to_depth`."""
    batch, height, width, depth = x.shape
    x = x.reshape(batch, height, width, side, side, depth // (side * side)).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, height * side, width * side, depth // (side * side))
