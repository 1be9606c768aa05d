"""DCA, put together.

::

    picture -- f_a --(* gain)--> y --(/ scale)--> r_a, g_a, l_a --> round --> z_r, z_g, z_l      (factorised priors)
                                 |                                             |
                                 |                                      entropy model: 4 steps (Gaussian: mean, scale)
                                 '------------ y - mean, round, + mean <-------'
                                                     |
                                                   y_hat --(/ gain)--> f_s --> picture
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dcacodec.network.config import DCAConfig
from dcacodec.network.context import EntropyModel, Scales, take_step
from dcacodec.network.hyper import ANALYSES
from dcacodec.network.priors import LEVELS_PER_E, SCALE_MIN, FactorizedPrior, gaussian_bits
from dcacodec.network.transforms import Analysis, QualityTable, Synthesis

INPUT_NOISE = 0.3
"""Added to a channel's variance (in quantisation steps squared) before dividing by it: silent channels stay small."""


@dataclass(frozen=True)
class Estimate:
    """What one pass through the network estimates.

    Attributes:
        picture: reconstruction (B, H, W, 3), about 0..1.
        bits: by stream ("z_r", "z_g", "z_l", "y_1".."y_4"), each (B,), as far as the stream exists.
        surprise: mean of |y - mean| / sigma per step (4,), detached: the paper's diagnostic.
    """

    picture: Tensor
    bits: dict[str, Tensor]
    surprise: Tensor


def round_through(x: Tensor) -> Tensor:
    """Rounding whose gradient is the identity."""
    return x + (x.detach().round() - x.detach())


class DCA(nn.Module):
    """The whole network of one preset, all qualities."""

    def __init__(self, config: DCAConfig) -> None:
        super().__init__()
        self.config = config
        self.analysis = Analysis(config)
        self.gain = QualityTable(config.anchors, config.latent)  # ln
        self.spread = QualityTable(config.anchors, config.latent)  # ln of each channel's size in quantisation steps
        self.hyper_analysis = nn.ModuleDict({letter: ANALYSES[letter](config) for letter in config.order})
        widths = {"R": config.regional, "G": config.token_width, "L": config.local}
        self.priors = nn.ModuleDict(
            {letter: FactorizedPrior(config.anchors, widths[letter]) for letter in config.order}
        )
        self.entropy = EntropyModel(config)
        self.synthesis = Synthesis(config)

    def scales(self, position: Tensor) -> Scales:
        """The entropy model's per-quality scales for anchor positions (B,), in floating point."""
        spread = self.spread(position)
        inward = torch.rsqrt(torch.exp(2 * spread) + INPUT_NOISE)
        level = (spread - math.log(SCALE_MIN)) * LEVELS_PER_E
        return Scales(inward, torch.exp(spread), level)

    def analyse(self, picture: Tensor, position: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """y (B, H/16, W/16, M) and the unquantised hyper latents of a picture.

        The picture is (B, H, W, 3) in 0..1, H and W multiples of 64.
        """
        y = self.analysis(picture, position) * self.gain(position).exp()
        normalised = y * self.scales(position).inward
        return y, {letter: transform(normalised) for letter, transform in self.hyper_analysis.items()}

    def synthesise(self, y_hat: Tensor, position: Tensor) -> Tensor:
        """y_hat (B, H/16, W/16, M) -> picture (B, H, W, 3), about 0..1, not clipped."""
        return self.synthesis(y_hat * torch.exp(-self.gain(position)), position)

    def forward(self, picture: Tensor, position: Tensor) -> Estimate:
        """Estimate rate and reconstruction.

        Rates are taken at ``value + U(-1/2, 1/2)`` in training and at rounded values in evaluation; what the
        network itself reads (contexts, synthesis) is always rounded (Minnen and Singh, 2020).

        Args:
            picture: (B, H, W, 3) in 0..1; H and W multiples of 64.
            position: (B,) anchor positions, 0..anchors-1.
        """
        y, hyper = self.analyse(picture, position)
        y = y.float()
        anchor = position.round().long()
        bits: dict[str, Tensor] = {}
        latents: dict[str, Tensor] = {}
        for letter, z in hyper.items():
            z = z.float()
            latents[letter] = round_through(z)
            each = self.priors[letter].bits(self._for_rate(z), anchor)  # type: ignore[operator]
            bits[f"z_{letter.lower()}"] = each.flatten(1).sum(1)

        surprise: list[Tensor] = []

        def code(step: int, mean: Tensor, level: Tensor) -> Tensor:
            residual = take_step(y, step) - mean.float()
            bits[f"y_{step + 1}"] = gaussian_bits(self._for_rate(residual), level.float()).sum((0, 2, 3, 4))
            with torch.no_grad():
                sigma = torch.exp(level / LEVELS_PER_E) * SCALE_MIN
                surprise.append((residual / sigma).abs().mean())
            return round_through(residual) + mean

        y_hat = self.entropy(latents, (y.shape[1], y.shape[2]), self.scales(position), code)
        return Estimate(self.synthesise(y_hat, position), bits, torch.stack(surprise))

    def _for_rate(self, value: Tensor) -> Tensor:
        if not self.training:
            return value.round()
        return value + torch.empty_like(value).uniform_(-0.5, 0.5)
