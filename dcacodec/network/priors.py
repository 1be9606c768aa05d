"""Probability models: the learned factorised priors of the hyper latents, and the Gaussian of y.

In floating point, for training and for making integer tables when weights are published; decoding does not use this.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

SCALE_LEVELS = 128
LEVELS_PER_E = 16
"""A scale level is 1/16 in ln(sigma): this quantisation of sigma costs 0.03 % of the rate."""
SCALE_MIN = 0.11
"""Sigma of level 0; level 127 is 308."""
SKIP_BELOW = 6
"""Elements with a lower level (sigma < 0.16) are not coded: the residual is 0 by rule."""

COMPONENTS = 3
LIKELIHOOD_FLOOR = 2.0**-24


def bits_of(likelihood: Tensor) -> Tensor:
    """Bits of elements of given likelihoods, which are floored at 2**-24 so that the gradient stays finite."""
    return -torch.log2(likelihood.clamp(min=LIKELIHOOD_FLOOR))


def gaussian_bits(residual: Tensor, level: Tensor) -> Tensor:
    """Bits of ``residual`` (element minus mean, any shape) under a Gaussian integrated over unit bins.

    ``level`` is the scale level, real-valued: sigma = SCALE_MIN * exp(level / LEVELS_PER_E).
    """
    inverse = torch.exp(-level / LEVELS_PER_E) * (math.sqrt(0.5) / SCALE_MIN)
    # By symmetry, upper tails are used, because the difference of two values near 1 would cancel.
    distance = residual.abs()
    likelihood = 0.5 * (torch.erfc((distance - 0.5) * inverse) - torch.erfc((distance + 0.5) * inverse))
    return bits_of(likelihood)


def noisy_gaussian_bits(residual: Tensor, level: Tensor) -> Tensor:
    """An estimate, for training, of the mean of `gaussian_bits` of ``residual + U(-1/2, 1/2)`` over the noise.

    The gradient with respect to the residual is the exact gradient of that mean, f(residual + 1/2) - f(residual - 1/2).
    The value, and the gradient with respect to the level, are averages of two samples, half a bin apart.
    """
    fixed = residual.detach()
    with torch.no_grad():
        slope = gaussian_bits(fixed + 0.5, level) - gaussian_bits(fixed - 0.5, level)
    sample = fixed + torch.empty_like(fixed).uniform_(-0.5, 0.0)
    mean = 0.5 * (gaussian_bits(sample, level) + gaussian_bits(sample + 0.5, level))
    return mean + (residual - fixed) * slope


class FactorizedPrior(nn.Module):
    """One learned density per channel and quality anchor: a mixture of three logistics.

    (The paper's "learned factorised model", whose form it does not specify.) The anchor nearest to the quality of the
    picture is used. The initial density is narrow, so that a latent without information costs little.
    """

    def __init__(self, anchors: int, channels: int) -> None:
        super().__init__()
        shape = (anchors, channels, COMPONENTS)
        self.weight = nn.Parameter(torch.zeros(shape))
        self.centre = nn.Parameter(torch.tensor([-0.3, 0.0, 0.3], device="cpu").expand(shape).clone())
        self.log_scale = nn.Parameter(torch.tensor([-1.5, -2.0, -1.5], device="cpu").expand(shape).clone())

    def cumulative(self, x: Tensor, anchor: Tensor) -> Tensor:
        """P(z < x) for x (B, ..., channels) and anchor indices (B,)."""

        def pick(table: Tensor) -> Tensor:
            chosen = table[anchor]
            return chosen.view(chosen.shape[0], *(1,) * (x.dim() - 2), *chosen.shape[1:])

        scaled = (x[..., None] - pick(self.centre)) * torch.exp(-pick(self.log_scale).clamp(min=-3.0))
        return (pick(self.weight).softmax(-1) * torch.sigmoid(scaled)).sum(-1)

    def bits(self, z: Tensor, anchor: Tensor) -> Tensor:
        """Bits of each element of z (B, ..., channels)."""
        return bits_of(self.cumulative(z + 0.5, anchor) - self.cumulative(z - 0.5, anchor))
