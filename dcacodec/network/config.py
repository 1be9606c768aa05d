"""The configuration of a network. No torch here, so that the command line starts fast."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

QUALITIES = range(1, 101)
LATENT_STRIDE = 16
"""Pixels per element of y, in each direction."""
REGIONAL_STRIDE = 64
"""Pixels per element of z_r; pictures are padded to a multiple of it."""
STEPS = 4
"""Quadtree steps (paper section 3.2)."""

Number = TypeVar("Number", float, "Tensor")


@dataclass(frozen=True)
class DCAConfig:
    """Sizes and variants of a DCA network.

    Attributes:
        name: the preset's name.
        width: N, channels of the transforms at 1/8 resolution.
        latent: M, channels of y at 1/16 resolution; a multiple of 4 (quadtree groups).
        latent_linear: L, number of them (the last ones of each group) that bypass the blocks of the transforms: they
            are coefficients of a linear transform of 16x16 pixels, which improves high qualities and detailed pictures.
            A multiple of 4.
        context: C, channels of the features and of the contextualisation network.
        context_hidden: hidden channels of the feed-forward layers of its blocks. These run four times, and take most of
            the coding time.
        analysis_blocks, synthesis_blocks: depth-conv blocks at 1/8 resolution.
        latent_blocks: depth-conv blocks at 1/16 resolution, in the analysis and in the synthesis transform each.
        regional: channels of z_r at 1/64 resolution.
        local, local_width: channels of z_l at 1/16 resolution, and of the Swin blocks before and after it.
        tokens, token_width: z_g is `tokens` vectors of `token_width` channels per slice; more than 16 cannot be
            published.
        window: side of the attention windows of the Swin blocks; a divisor of 4, so that windows divide any padded
            picture.
        order: the hyper latents (R regional, G global, L local), in the order in which their features enter the
            contextualisation. The paper's is "RGL"; its baseline is "R" (section 3.1, ablations).
        adaptive: whether the features enter again at every step (the paper's step-adaptive contextualisation); if False
            they are merged once for all steps (the ablation).
        anchors: number of quality anchors, 2 or more; gains between them are interpolated in the log domain.
        lambda_min, lambda_max: trade-off at quality 1 and 100, loss ``bpp + lambda * 255**2 * MSE``.
    """

    name: str = "small"
    width: int = 128
    latent: int = 320
    latent_linear: int = 0
    context: int = 128
    context_hidden: int = 128
    analysis_blocks: int = 4
    synthesis_blocks: int = 5
    latent_blocks: int = 1
    regional: int = 96
    local: int = 8
    local_width: int = 64
    tokens: int = 8
    token_width: int = 128
    window: int = 4
    order: str = "RGL"
    adaptive: bool = True
    anchors: int = 8
    lambda_min: float = 0.0008
    lambda_max: float = 0.7

    def __post_init__(self) -> None:
        if not re.fullmatch("[a-z0-9-]+", self.name):
            raise ValueError(f"a name must consist of lower-case letters, digits and hyphens, not {self.name!r}")
        if not 0 < self.lambda_min < self.lambda_max < math.inf:
            raise ValueError(f"lambda must rise from above 0, not from {self.lambda_min} to {self.lambda_max}")
        if self.latent % STEPS or self.latent_linear % STEPS:
            raise ValueError(f"latent channels must be multiples of {STEPS}, not {self.latent}, {self.latent_linear}")
        if not 0 <= self.latent_linear < self.latent:
            raise ValueError(f"of {self.latent} latent channels {self.latent_linear} cannot be linear")
        if not self.order or set(self.order) - set("RGL") or len(set(self.order)) != len(self.order):
            raise ValueError(f"order must name each of R, G, L at most once and one at least, not {self.order!r}")
        if self.anchors < 2:
            raise ValueError(f"anchors must be 2 or more, not {self.anchors}")
        if (REGIONAL_STRIDE // LATENT_STRIDE) % self.window:
            raise ValueError(f"window must divide {REGIONAL_STRIDE // LATENT_STRIDE}, not {self.window}")

    @property
    def latent_nonlinear(self) -> int:
        """The number of channels of y that pass through the blocks of the transforms, which are nonlinear."""
        return self.latent - self.latent_linear

    @property
    def hyper_channels(self) -> dict[str, int]:
        """The channels of each hyper latent that a network can have, by letter."""
        return {"R": self.regional, "G": self.token_width, "L": self.local}

    def hyper_shape(self, letter: str, height: int, width: int) -> tuple[int, ...]:
        """The shape of a hyper latent, without the batch dimension, for y (B, height, width, M)."""
        ratio = REGIONAL_STRIDE // LATENT_STRIDE
        sides = {"R": (height // ratio, width // ratio), "G": (self.tokens,), "L": (height, width)}
        return (*sides[letter], self.hyper_channels[letter])

    def trade_off(self, quality: float) -> float:
        """Lambda of a quality in 1..100: log-linear from `lambda_min` to `lambda_max`."""
        return self._trade_off_of((quality - 1) / 99)

    def trade_off_at(self, position: Number) -> Number:
        """Lambda of a position between the anchors, 0..anchors-1; element by element of a tensor."""
        return self._trade_off_of(position / (self.anchors - 1))

    def _trade_off_of(self, share: Number) -> Number:
        """Lambda of a share 0..1 of the range of qualities."""
        trade_off: Number = self.lambda_min * (self.lambda_max / self.lambda_min) ** share
        return trade_off

    def anchor_position(self, quality: float) -> float:
        """The position of a quality in 1..100 between the anchors, 0..anchors-1."""
        return (quality - 1) / 99 * (self.anchors - 1)

    def nearest_anchor(self, quality: float) -> int:
        """The anchor nearest to a quality in 1..100, in tenths; of two that are equally near, the higher one."""
        span = 990  # of qualities in tenths
        # floor(anchor_position + 1/2) in integers, without rounding errors.
        return (2 * (round(10 * quality) - 10) * (self.anchors - 1) + span) // (2 * span)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


Tuning = Literal["visual", "psnr"]
TUNINGS: Final[tuple[Tuning, ...]] = ("visual", "psnr")
"""Names of the distortions that weights are trained for; the first is the default of encoding."""

PRESETS: dict[str, DCAConfig] = {"small": DCAConfig(latent=512, latent_linear=192)}
"""The networks with published weights, by the name of the configuration."""
