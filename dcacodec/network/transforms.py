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
from torch import Tensor, nn

from dcacodec.network.config import DCAConfig
from dcacodec.network.layers import DepthConvBlock, depth_to_space, space_to_depth

CELL = 8
"""Pixels per element at the transforms' working resolution."""


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
    """f_s: y_hat divided by the gain (B, h, w, M) -> picture (B, 16h, 16w, 3), about 0..1, not clipped."""

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

    def forward(self, latent: Tensor, position: Tensor) -> Tensor:
        x = latent * (1 + self.latent_scale(position)).to(latent.dtype)
        x = self.latent_blocks(x)
        with torch.autocast(latent.device.type, enabled=False):
            x = depth_to_space(self.up(x), 2)
            x = x * (1 + self.scale(position)).to(x.dtype) + self.shift(position).to(x.dtype)
        x = self.blocks(x)
        with torch.autocast(latent.device.type, enabled=False):
            return depth_to_space(self.patch(x), CELL) + 0.5
