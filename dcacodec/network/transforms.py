"""The analysis and synthesis transforms f_a and f_s, and their dependence on the quality.

::

    picture (B, H, W, 3) in 0..1
       | cells of 8x8 pixels -> linear            N channels at 1/8
       | * (1 + scale(q)), depth-conv blocks
       | cells of 2x2 -> linear                   M channels at 1/16
       +-----------------------.
       | depth-conv blocks     | the last L of them ("linear")
       v * gain(q)             v * gain(q)
       y (B, H/16, W/16, M)                       f_s mirrors it, dividing by the gain first, but for the L channels:
                                                  of these a linear layer makes 16x16 pixels, which are added

The linear layers are initialised to a Karhunen-Loeve transform (see :mod:`dcacodec.training.klt`), the blocks to the
identity. The transforms run in ordinary floating point, as entropy decoding does not depend on them. They consist of
convolutions only, so their receptive fields are finite.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcacodec.network.config import LATENT_STRIDE, STEPS, DCAConfig
from dcacodec.network.layers import DepthConvBlock, depth_to_space, space_to_depth

CELL = 8
"""Pixels per element at the transforms' working resolution."""


def analysis_halo(config: DCAConfig) -> int:
    """The distance in pixels up to which f_a reads around the 16x16 pixels of an element of y; a multiple of 16."""
    return _halo(config.analysis_blocks, config.latent_blocks)


def synthesis_halo(config: DCAConfig) -> int:
    """The distance in pixels up to which f_s reads y around a pixel; a multiple of 16."""
    return _halo(config.synthesis_blocks, config.latent_blocks)


def _halo(cell_blocks: int, latent_blocks: int) -> int:
    # Each depth-conv block extends the receptive field by one element.
    reach = cell_blocks * CELL + latent_blocks * LATENT_STRIDE
    return -(-reach // LATENT_STRIDE) * LATENT_STRIDE


def split_channels(y: Tensor, config: DCAConfig) -> tuple[Tensor, Tensor]:
    """y (..., M) -> its non-linear channels (..., M - L) and its linear ones (..., L), each by quadtree group."""
    shares = (config.latent_curved // STEPS, config.latent_linear // STEPS)
    curved, linear = y.unflatten(-1, (STEPS, -1)).split(shares, -1)
    return curved.flatten(-2), linear.flatten(-2)


def join_channels(curved: Tensor, linear: Tensor) -> Tensor:
    """The inverse of `split_channels`."""
    return torch.cat([part.unflatten(-1, (STEPS, -1)) for part in (curved, linear)], -1).flatten(-2)


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
        # Gains are exponentials of these: in bfloat16 they would have errors of up to 2 %, different on every device.
        with torch.autocast(position.device.type, enabled=False):
            return (hat @ self.values.float())[:, None, None]


class Analysis(nn.Module):
    """f_a: (B, H, W, 3), H and W multiples of 16 -> y (B, H/16, W/16, M) before the gain.

    Samples are 0..1, or 0..255 in uint8.
    """

    def __init__(self, config: DCAConfig) -> None:
        super().__init__()
        self.config = config
        n, m = config.width, config.latent_curved
        self.patch = nn.Linear(3 * CELL * CELL, n)
        self.scale = QualityTable(config.anchors, n)
        self.blocks = nn.Sequential(*(DepthConvBlock(n, 2 * n) for _ in range(config.analysis_blocks)))
        self.down = nn.Linear(4 * n, config.latent)
        self.latent_blocks = nn.Sequential(*(DepthConvBlock(m, 2 * m) for _ in range(config.latent_blocks)))

    def forward(self, picture: Tensor, position: Tensor) -> Tensor:
        # The linear layers do not use bfloat16, whose rounding errors would limit high qualities.
        with torch.autocast(picture.device.type, enabled=False):
            # Samples are centred and scaled by the layer, and rearranged while they are small.
            weight, bias = self.patch.weight, self.patch.bias - 0.5 * self.patch.weight.sum(1)
            if picture.dtype == torch.uint8:
                weight = weight / 255
            x = F.linear(space_to_depth(picture, CELL).to(weight.dtype), weight, bias)
            x = x * (1 + self.scale(position)).to(x.dtype)
        x = self.blocks(x)
        with torch.autocast(picture.device.type, enabled=False):
            x = self.down(space_to_depth(x, 2))
        curved, linear = split_channels(x, self.config)
        return join_channels(self.latent_blocks(curved), linear)


class Synthesis(nn.Module):
    """f_s: y_hat divided by the gain (B, h, w, M) -> picture (B, 16h, 16w, 3), about 0..1, not clipped.

    With `shrink` 2, 4 or 8 the picture is (B, 16h/shrink, 16w/shrink, 3), the mean of each shrink x shrink pixels. As
    the last layer is linear, its weights are averaged instead of the picture.
    """

    def __init__(self, config: DCAConfig) -> None:
        super().__init__()
        self.config = config
        n, m = config.width, config.latent_curved
        self.latent_scale = QualityTable(config.anchors, m)
        self.latent_blocks = nn.Sequential(*(DepthConvBlock(m, 2 * m) for _ in range(config.latent_blocks)))
        self.up = nn.Linear(m, 4 * n)
        self.shift = QualityTable(config.anchors, n)
        self.scale = QualityTable(config.anchors, n)
        self.blocks = nn.Sequential(*(DepthConvBlock(n, 2 * n) for _ in range(config.synthesis_blocks)))
        self.patch = nn.Linear(n, 3 * CELL * CELL)
        if config.latent_linear:
            self.linear = nn.Linear(config.latent_linear, 3 * LATENT_STRIDE * LATENT_STRIDE, bias=False)

    def forward(self, latent: Tensor, position: Tensor, shrink: int = 1) -> Tensor:
        return depth_to_space(self._cells(latent, position, shrink), CELL // shrink)

    def pixels(self, latent: Tensor, position: Tensor, shrink: int = 1) -> Tensor:
        """The picture as samples 0..255 in uint8."""
        cells = self._cells(latent, position, shrink).mul_(255).round_().clamp_(0, 255)
        return depth_to_space(cells.to(torch.uint8), CELL // shrink)

    def _cells(self, latent: Tensor, position: Tensor, shrink: int) -> Tensor:
        """The picture as vectors of CELL/shrink x CELL/shrink x 3 samples: (B, 2h, 2w, ...)."""
        curved, linear = split_channels(latent, self.config)
        x = curved * (1 + self.latent_scale(position)).to(latent.dtype)
        x = self.latent_blocks(x)
        with torch.autocast(latent.device.type, enabled=False):
            x = depth_to_space(self.up(x), 2)
            x = x * (1 + self.scale(position)).to(x.dtype) + self.shift(position).to(x.dtype)
        x = self.blocks(x)
        with torch.autocast(latent.device.type, enabled=False):
            patches = (_averaged(each, CELL, shrink) for each in (self.patch.weight, self.patch.bias + 0.5))
            cells = F.linear(x, *patches)
            if self.config.latent_linear:
                # Of 16x16 pixels, as four cells.
                side = CELL // shrink
                weight = _averaged(self.linear.weight, LATENT_STRIDE, shrink).unflatten(0, (2, side, 2, side, 3))
                cells += depth_to_space(F.linear(linear, weight.transpose(1, 2).flatten(0, 4)), 2)
            return cells


def _averaged(rows: Tensor, side: int, shrink: int) -> Tensor:
    """Average (side * side * 3, ...), in the order row, column, channel of a cell, over shrink x shrink pixels."""
    if shrink == 1:
        return rows
    return rows.unflatten(0, (side // shrink, shrink, side // shrink, shrink, -1)).mean((1, 3)).flatten(0, 2)
