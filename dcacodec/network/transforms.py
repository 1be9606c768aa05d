"""The analysis and synthesis transforms f_a and f_s, and what quality does to them.

::

    picture (B, H, W, 3) in 0..1
       | cells of 8x8 pixels -> linear            N channels at 1/8
       | * (1 + scale(q)), depth-conv blocks
       | cells of 2x2 -> linear                   M channels at 1/16
       | depth-conv blocks
       v * gain(q)
       y (B, H/16, W/16, M)                       f_s mirrors it, dividing by the gain first

The linear skeleton starts as a Karhunen-Loeve transform (see :mod:`dcacodec.training.klt`), the blocks as identities.
Ordinary floating point: nothing here takes part in entropy decoding. Only convolutions: the receptive field is finite.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcacodec.network.config import LATENT_STRIDE, DCAConfig
from dcacodec.network.layers import DepthConvBlock, depth_to_space, space_to_depth

CELL = 8
"""Pixels per element at the transforms' working resolution."""


def analysis_rim(config: DCAConfig) -> int:
    """How far from the 16x16 pixels of an element of y f_a reads, in pixels, rounded up to a multiple of 16."""
    return _rim(config.analysis_blocks, config.latent_blocks)


def synthesis_rim(config: DCAConfig) -> int:
    """How far from a pixel f_s reads, in pixels of y's grid: a multiple of 16."""
    return _rim(config.synthesis_blocks, config.latent_blocks)


def _rim(cell_blocks: int, latent_blocks: int) -> int:
    # Each depth-conv block reads one element further.
    reach = cell_blocks * CELL + latent_blocks * LATENT_STRIDE
    return -(-reach // LATENT_STRIDE) * LATENT_STRIDE


class QualityTable(nn.Module):
    """A vector per quality anchor, linearly interpolated in between.

    ``forward(position)``: (B,) anchor positions in 0..anchors-1 -> (B, 1, 1, C).
    """

    def __init__(self, anchors: int, channels: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.zeros(anchors, channels))

    def forward(self, position: Tensor) -> Tensor:
        grid = torch.arange(self.values.shape[0], device=position.device)
        hat = (1 - (position[:, None] - grid).abs()).clamp(min=0)
        return (hat @ self.values.float())[:, None, None]


class Analysis(nn.Module):
    """f_a: (B, H, W, 3) in 0..1, H and W multiples of 16 -> y (B, H/16, W/16, M) before the gain."""

    def __init__(self, config: DCAConfig) -> None:
        super().__init__()
        n, m = config.width, config.latent
        self.patch = nn.Linear(3 * CELL * CELL, n)
        self.scale = QualityTable(config.anchors, n)
        self.blocks = nn.Sequential(*(DepthConvBlock(n, 2 * n) for _ in range(config.analysis_blocks)))
        self.down = nn.Linear(4 * n, m)
        self.latent_blocks = nn.Sequential(*(DepthConvBlock(m, 2 * m) for _ in range(config.latent_blocks)))

    def forward(self, picture: Tensor, position: Tensor) -> Tensor:
        # The skeleton stays out of bfloat16: its rounding would be the noise floor of the high qualities.
        with torch.autocast(picture.device.type, enabled=False):
            x = self.patch(space_to_depth(picture - 0.5, CELL))
            x = x * (1 + self.scale(position)).to(x.dtype)
        x = self.blocks(x)
        with torch.autocast(picture.device.type, enabled=False):
            x = self.down(space_to_depth(x, 2))
        return self.latent_blocks(x)


class Synthesis(nn.Module):
    """f_s: y_hat divided by the gain (B, h, w, M) -> picture (B, 16h, 16w, 3), about 0..1, not clipped.

    With `shrink` 2, 4 or 8 the picture is (B, 16h/shrink, 16w/shrink, 3), the mean of each shrink x shrink pixels. That
    is linear, and so is the last layer: it is averaged instead of the picture.
    """

    def __init__(self, config: DCAConfig) -> None:
        super().__init__()
        n, m = config.width, config.latent
        self.latent_scale = QualityTable(config.anchors, m)
        self.latent_blocks = nn.Sequential(*(DepthConvBlock(m, 2 * m) for _ in range(config.latent_blocks)))
        self.up = nn.Linear(m, 4 * n)
        self.shift = QualityTable(config.anchors, n)
        self.scale = QualityTable(config.anchors, n)
        self.blocks = nn.Sequential(*(DepthConvBlock(n, 2 * n) for _ in range(config.synthesis_blocks)))
        self.patch = nn.Linear(n, 3 * CELL * CELL)

    def forward(self, latent: Tensor, position: Tensor, shrink: int = 1) -> Tensor:
        x = latent * (1 + self.latent_scale(position)).to(latent.dtype)
        x = self.latent_blocks(x)
        with torch.autocast(latent.device.type, enabled=False):
            x = depth_to_space(self.up(x), 2)
            x = x * (1 + self.scale(position)).to(x.dtype) + self.shift(position).to(x.dtype)
        x = self.blocks(x)
        with torch.autocast(latent.device.type, enabled=False):
            if shrink == 1:
                return depth_to_space(self.patch(x), CELL) + 0.5
            weight, bias = (_averaged(parameter, shrink) for parameter in (self.patch.weight, self.patch.bias))
            return depth_to_space(F.linear(x, weight, bias), CELL // shrink) + 0.5


def _averaged(rows: Tensor, shrink: int) -> Tensor:
    """(8 * 8 * 3, ...), by row, column, channel of a cell -> their means over shrink x shrink pixels, in this order."""
    side = CELL // shrink
    return rows.unflatten(0, (side, shrink, side, shrink, -1)).mean((1, 3)).flatten(0, 2)
