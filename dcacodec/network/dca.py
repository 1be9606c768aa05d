"""The complete DCA network.

::

    picture -- f_a --(* gain)--> y --(/ scale)--> r_a, g_a, l_a --> round --> z_r, z_g, z_l      (factorised priors)
                                 |                                             |
                                 |                                      entropy model: 4 steps (Gaussian: mean, scale)
                                 '------------ y - mean, round, + mean <-------'
                                                     |
                                                   y_hat --(/ gain)--> f_s --> picture
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dcacodec.network.config import DCAConfig
from dcacodec.network.context import EntropyModel, Scales, join_steps, split_steps
from dcacodec.network.hyper import ANALYSES
from dcacodec.network.priors import LEVELS_PER_E, SCALE_MIN, FactorizedPrior, gaussian_bits, noisy_gaussian_bits
from dcacodec.network.transforms import NO_MARGINS, Analysis, Margins, QualityTable, Synthesis, prepared

INPUT_NOISE = 0.3
"""Added to the variance of a channel (in squared quantisation steps) before the division by it, so that channels of
small variance are not amplified."""

NOISY_SHARE = 0.5
"""Share of the training samples for which a hyper latent is read with noise instead of rounded. A small latent that is
rounded to 0 carries no information and learns little; with noise alone, it stays so small that rounding removes it."""


@dataclass(frozen=True)
class Rate:
    """The estimated rate of a latent.

    Attributes:
        y_hat: the quantised latent (B, H/16, W/16, M).
        elements: bits of each element by stream, (B, ...).
        surprise: as in `Estimate`.
    """

    y_hat: Tensor
    elements: dict[str, Tensor]
    surprise: Tensor

    @property
    def bits(self) -> dict[str, Tensor]:
        """As in `Estimate`."""
        return {name: each.sum(tuple(range(1, each.dim()))) for name, each in self.elements.items()}


@dataclass(frozen=True)
class Estimate:
    """The estimates of one pass through the network.

    Attributes:
        picture: reconstruction (B, H, W, 3), about 0..1.
        bits: by existing stream ("z_r", "z_g", "z_l", "y_1".."y_4"), each (B,).
        surprise: mean of |y - mean| / sigma per step (4,), detached: the paper's diagnostic.
    """

    picture: Tensor
    bits: dict[str, Tensor]
    surprise: Tensor


def round_through(x: Tensor) -> Tensor:
    """Rounding with a straight-through gradient: that of the identity."""
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
        self.priors = nn.ModuleDict(
            {letter: FactorizedPrior(config.anchors, config.hyper_channels[letter]) for letter in config.order}
        )
        self.entropy = EntropyModel(config)
        self.synthesis = Synthesis(config)

    def prepared(self, dtype: torch.dtype) -> DCA:
        """A copy for inference that shares the parameters: the transforms' residual branches compute in a dtype.

        The weights of these are made here: they do not follow if parameters change, or move to another device.
        """
        network = copy.deepcopy(self, memo={id(each): each for each in (*self.parameters(), *self.buffers())})
        for transform in (network.analysis, network.synthesis):
            transform.blocks = prepared(transform.blocks, dtype)
            transform.latent_blocks = prepared(transform.latent_blocks, dtype)
        return network

    def scales(self, position: Tensor) -> Scales:
        """The entropy model's per-quality scales for anchor positions (B,), in floating point."""
        spread = self.spread(position)
        inward = torch.rsqrt(torch.exp(2 * spread) + INPUT_NOISE)
        level = (spread - math.log(SCALE_MIN)) * LEVELS_PER_E
        return Scales(inward, torch.exp(spread), level)

    def analyse(self, picture: Tensor, position: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Analyse a picture (B, H, W, 3) in 0..1, H and W multiples of 64.

        Returns:
            y (B, H/16, W/16, M) and the unquantised hyper latents.
        """
        y = self.latent(picture, position)
        return y, self.hyper_latents(y, position)

    def latent(self, picture: Tensor, position: Tensor, margins: Margins = NO_MARGINS) -> Tensor:
        """y (B, H/16, W/16, M) without its margins.

        Of a picture (B, H, W, 3) in 0..1, or uint8, H and W multiples of 16.
        """
        return self.analysis(picture, position, margins) * self.gain(position).exp()

    def hyper_latents(self, y: Tensor, position: Tensor, without: Collection[str] = frozenset()) -> dict[str, Tensor]:
        """The unquantised hyper latents of y (B, H/16, W/16, M). Those of the letters `without` are not computed."""
        normalised, device = y * self.scales(position).inward, y.device.type
        if torch.is_autocast_enabled(device):
            normalised = normalised.to(torch.get_autocast_dtype(device))  # once for all
        return {
            letter: transform(normalised) for letter, transform in self.hyper_analysis.items() if letter not in without
        }

    def synthesise(self, y_hat: Tensor, position: Tensor) -> Tensor:
        """y_hat (B, H/16, W/16, M) -> picture (B, H, W, 3), about 0..1, not clipped."""
        return self.synthesis(y_hat * torch.exp(-self.gain(position)), position)

    def pixels(self, y_hat: Tensor, position: Tensor, shrink: int = 1, margins: Margins = NO_MARGINS) -> Tensor:
        """The picture of `synthesise` as samples 0..255 in uint8, see `Synthesis.pixels`."""
        return self.synthesis.pixels(y_hat * torch.exp(-self.gain(position)), position, shrink, margins)

    def forward(self, picture: Tensor, position: Tensor) -> Estimate:
        """Estimate rate and reconstruction.

        Args:
            picture: (B, H, W, 3) in 0..1; H and W multiples of 64.
            position: (B,) anchor positions, 0..anchors-1.
        """
        y, hyper = self.analyse(picture, position)
        rate = self.estimate_rate(y, hyper, position)
        return Estimate(self.synthesise(rate.y_hat, position), rate.bits, rate.surprise)

    def estimate_rate(self, y: Tensor, hyper: Mapping[str, Tensor], position: Tensor) -> Rate:
        """Estimate the rate of y and its hyper latents, and quantise y.

        Rates are estimated at ``value + U(-1/2, 1/2)`` in training (for y see `noisy_gaussian_bits`) and at rounded
        values in evaluation; the inputs of contexts and synthesis are rounded (Minnen and Singh, 2020), except for the
        hyper latents of `NOISY_SHARE` of the samples in training.

        Args:
            y: (B, H/16, W/16, M), sides multiples of 4.
            hyper: unquantised hyper latents by letter.
            position: (B,) anchor positions, 0..anchors-1.
        """
        y = y.float()
        anchor = position.round().long()
        elements: dict[str, Tensor] = {}
        latents: dict[str, Tensor] = {}
        for letter, z in hyper.items():
            z = z.float()
            noisy = self._for_rate(z)
            latents[letter] = self._as_read(z, noisy)
            elements[f"z_{letter.lower()}"] = self.priors[letter].bits(noisy, anchor)  # type: ignore[operator]

        surprise: list[Tensor] = []
        parts = split_steps(y)

        def code(step: int, mean: Tensor, level: Tensor) -> Tensor:
            level = level.float()
            residual = parts[step] - mean.float()
            bits = noisy_gaussian_bits(residual, level) if self.training else gaussian_bits(residual.round(), level)
            elements[f"y_{step + 1}"] = bits.transpose(0, 1)
            with torch.no_grad():
                sigma = torch.exp(level / LEVELS_PER_E) * SCALE_MIN
                surprise.append((residual / sigma).abs().mean())
            return round_through(residual) + mean

        steps = self.entropy(latents, (y.shape[1], y.shape[2]), self.scales(position), code)
        return Rate(join_steps(steps), elements, torch.stack(surprise))

    def _as_read(self, z: Tensor, noisy: Tensor) -> Tensor:
        """The value that the network reads of an unquantised hyper latent, given the same with noise."""
        if not self.training:
            return z.round()
        chosen = torch.rand((z.shape[0], *(1,) * (z.dim() - 1)), dtype=torch.float32, device=z.device) < NOISY_SHARE
        return torch.where(chosen, noisy, round_through(z))

    def _for_rate(self, value: Tensor) -> Tensor:
        if not self.training:
            return value.round()
        return value + torch.empty_like(value).uniform_(-0.5, 0.5)
