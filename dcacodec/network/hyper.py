"""The three hyper latents: analysis l_a, r_a, g_a and synthesis l_s, r_s, g_s (paper section 3.1).

::

    y (B, H, W, M) --+-- r_a: Swin, merge, Swin, merge ----> z_r (B, H/4, W/4, 96) -- r_s --> phi_r (B, H, W, C)
                     +-- l_a: 1x1, shifted-window Swin ----> z_l (B, H, W, 8) ------- l_s --> phi_l (B, H, W, C)
                     '-- g_a: learned queries read all ----> z_g (B, 8, 128) -------- g_s --> phi_g (B, 8, C)

The analysis side is ordinary floating point. The synthesis side belongs to the entropy model: it also runs in fixed
point.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from dcacodec.network.config import DCAConfig
from dcacodec.network.layers import (
    CrossAttention,
    GatedLinear,
    Linear,
    PatchExpand,
    PatchMerge,
    RMSNorm,
    swin_pair,
)

INITIAL_OUTPUT_SCALE = 0.05
"""Factor on the last layer of every hyper analysis, so that the latents have almost no rate when training starts."""


def _scaled_down(layer: Linear) -> Linear:
    with torch.no_grad():
        layer.weight.mul_(INITIAL_OUTPUT_SCALE)
        layer.bias.zero_()
    return layer


class RegionalAnalysis(nn.Module):
    """r_a: (B, H, W, M) -> z_r (B, H/4, W/4, regional), unquantised."""

    def __init__(self, config: DCAConfig) -> None:
        super().__init__()
        c = config.context
        self.reduce = Linear(config.latent, c)
        self.swin1 = swin_pair(c, config.window)
        self.merge1 = PatchMerge(c, c)
        self.swin2 = swin_pair(c, config.window)
        self.merge2 = PatchMerge(c, config.regional)
        _scaled_down(self.merge2.linear)

    def forward(self, y: Tensor) -> Tensor:
        x = self.merge1(self.swin1(self.reduce(y)))
        return self.merge2(self.swin2(x))


class RegionalSynthesis(nn.Module):
    """r_s: z_r (B, H/4, W/4, regional) -> phi_r (B, H, W, C).

    It mirrors r_a, but without the Swin blocks at the resolution of y, which would slow down decoding.
    """

    def __init__(self, config: DCAConfig) -> None:
        super().__init__()
        c = config.context
        self.expand1 = PatchExpand(config.regional, c)
        self.swin = swin_pair(c, config.window)
        self.expand2 = PatchExpand(c, c)

    def forward(self, z: Tensor) -> Tensor:
        return self.expand2(self.swin(self.expand1(z)))


class FeaturesOfZeros:
    """phi_r where all of z_r is 0, as it mostly is in coding: made once, of a few elements that repeat.

    They are kept, at most 25 small tensors. So they are made in float64, which gives the same numbers in fixed point,
    whatever precision of float32 products a program sets meanwhile (see :mod:`dcacodec.network.precision`).

    Args:
        synthesis: r_s with limits, on a CPU. Its parameters must not change.
    """

    def __init__(self, synthesis: RegionalSynthesis) -> None:
        self._synthesis = synthesis
        self._kept: dict[tuple[int, int], Tensor] = {}

    def __call__(self, z: Tensor) -> Tensor:
        """phi_r of zeros of the shape of z (B, H/4, W/4, regional)."""
        rows, columns = map(repeated, z.shape[1:3])
        shape = max(rows) + 1, max(columns) + 1
        if shape not in self._kept:
            zeros = z.new_zeros(1, *shape, z.shape[-1], dtype=torch.float64)
            self._kept[shape] = copy.deepcopy(self._synthesis).double()(zeros).to(z.dtype)
        few = self._kept[shape]
        ratio = few.shape[1] // shape[0]
        down, across = ([ratio * at + i for at in each for i in range(ratio)] for each in (rows, columns))
        return few[:, down][:, :, across].expand(z.shape[0], -1, -1, -1)


def repeated(side: int) -> list[int]:
    """For each row (or column) of a z_r of zeros: the row of a smaller z_r of zeros that has the same features.

    The smaller one has 5 rows at most. Where z_r is 0, features depend only on the place in the windows and on the
    border: r_s joins 2x2 elements in a window, then the 2x2 around each of its corners, and what is missing at the
    border is masked. With ``|`` between the windows of the second kind, these are an even and an odd number of rows::

        0|1 2|1 2|..|1 2|3
        0|1 2|1 2|..|1 2|3 4

    Smaller windows (see `DCAConfig.window`) tell fewer elements apart.
    """
    last = 4 + side % 2
    if side <= last:
        return list(range(side))
    return [0, *(1 + row % 2 for row in range(side - last + 2)), *range(3, last)]


class LocalAnalysis(nn.Module):
    """l_a: (B, H, W, M) -> z_l (B, H, W, local), unquantised; one vector per 16x16 pixels."""

    def __init__(self, config: DCAConfig) -> None:
        super().__init__()
        self.reduce = Linear(config.latent, config.local_width)
        self.swin = swin_pair(config.local_width, config.window)
        self.out = _scaled_down(Linear(config.local_width, config.local))

    def forward(self, y: Tensor) -> Tensor:
        return self.out(self.swin(self.reduce(y)))


class LocalSynthesis(nn.Module):
    """l_s: z_l (B, H, W, local) -> phi_l (B, H, W, C)."""

    def __init__(self, config: DCAConfig) -> None:
        super().__init__()
        self.expand = Linear(config.local, config.local_width)
        self.swin = swin_pair(config.local_width, config.window)
        self.out = Linear(config.local_width, config.context)

    def forward(self, z: Tensor) -> Tensor:
        return self.out(self.swin(self.expand(z)))


class GlobalAnalysis(nn.Module):
    """g_a: learned queries read the whole latent by cross-attention: (B, H, W, M) -> z_g (B, tokens, width).

    The cost is linear in the size of the picture. (After Informer, Kim et al. 2022, the global hyperprior of the same
    authors.)
    """

    def __init__(self, config: DCAConfig) -> None:
        super().__init__()
        c = config.token_width
        self.queries = nn.Parameter(torch.randn(config.tokens, c, device="cpu") * c**-0.5)
        self.reduce = Linear(config.latent, c)
        self.norm = RMSNorm(c)
        self.read = CrossAttention(c, c, max(1, c // 32))
        # This layer has no residual connection, so it must not be initialised to zero.
        nn.init.xavier_uniform_(self.read.out.weight)
        self.feed = GatedLinear(c, c)
        self.out = _scaled_down(Linear(c, c))

    def forward(self, y: Tensor) -> Tensor:
        source = self.norm(self.reduce(y)).flatten(1, 2)
        x = self.queries.expand(y.shape[0], -1, -1).to(source.dtype)
        x = self.read(x, self.read.pair(source), x)
        return self.out(self.feed(x, x))


class GlobalSynthesis(nn.Module):
    """g_s: z_g (B, tokens, width) -> phi_g (B, tokens, C), which the contextualisation reads by cross-attention."""

    def __init__(self, config: DCAConfig) -> None:
        super().__init__()
        self.linear = Linear(config.token_width, config.context)

    def forward(self, z: Tensor) -> Tensor:
        return self.linear(z)


ANALYSES: dict[str, type[nn.Module]] = {"R": RegionalAnalysis, "G": GlobalAnalysis, "L": LocalAnalysis}
SYNTHESES: dict[str, type[nn.Module]] = {"R": RegionalSynthesis, "G": GlobalSynthesis, "L": LocalSynthesis}
