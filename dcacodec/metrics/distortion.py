"""The distortion that a tuning minimises, in training and in refinement."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from dcacodec.metrics.ssimulacra2 import SMALLEST_SIDE, Reference, distance
from dcacodec.network.config import Tuning

VISUAL_SCALE: Final = 10.0
"""Scales the SSIMULACRA 2 distance like ``255**2 * MSE``, so that lambda keeps its meaning: along the rate-distortion
curve of weights trained for squared error, its slope is -1/(12 lambda) to -1/(7.5 lambda)."""
_EPSILON: Final = 1e-8


_SCALE_WEIGHTS: Final = (0.5, 0.25, 0.25)
"""Of the scales 1, 1/2 and 1/4 in `visible_error`."""
_CHROMA_WEIGHT: Final = 0.25
_LUMA: Final = (0.299, 0.587, 0.114)
_CHROMA_SCALES: Final = (0.564, 0.713)
"""Of B - Y and R - Y in Cb and Cr (ITU-R BT.601)."""


def visible_error(error: Tensor) -> Tensor:
    """Squared error weighted by what is seen: (B,) of differences (B, H, W, 3) of sRGB in 0..1.

    Chroma counts a quarter, and the errors of the picture's halves and quarters count, too::

        error --> Y, Cb / 2, Cr / 2 --+--> squares --> mean * 0.5 ------------------------------.
                                      '--> 2x2 means --+--> squares --> mean * 0.25 * 4 --------+--> sum
                                                       '--> 2x2 means --> squares --> mean * 4 -'

    For white noise in luma it is the mean of squares. Errors that spread over 8 pixels or more count up to 5.5 times
    as much, as the eye is more sensitive to them. Sides are cut to even lengths before they are halved.
    """
    red, green, blue = error.unbind(3)
    luma = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue
    chroma = (scale * (each - luma) for scale, each in zip(_CHROMA_SCALES, (blue, red), strict=True))
    planes = torch.stack((luma, *(math.sqrt(_CHROMA_WEIGHT) * each for each in chroma)), 1)
    total = torch.zeros_like(planes[:, 0, 0, 0])
    for scale, weight in enumerate(_SCALE_WEIGHTS):
        if scale:
            planes = F.avg_pool2d(planes, 2)
        total = total + weight * 4**scale * planes.square().sum(1).flatten(1).mean(1)
    return total


@dataclass(frozen=True)
class Distortion:
    """``w * 255**2 * E + (1 - w) * 10 * S`` of pictures, where S is the SSIMULACRA 2 distance, E the `visible_error`.

    With w = 1, and for pictures that are too small for S, it is ``255**2 * MSE``.

    Attributes:
        mse_share: w, 0..1. It should not be 0, because S is hardly sensitive to slow drifts of colour.
    """

    mse_share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.mse_share <= 1:
            raise ValueError(f"the share of squared error must be 0 to 1, not {self.mse_share}")

    def __call__(self, reference: Tensor, picture: Tensor) -> Tensor:
        """(B,) of pictures (B, H, W, 3), sRGB in 0..1; `picture`, the output of a network, may exceed that range."""
        return self.against(reference)(picture)

    def against(self, reference: Tensor) -> Callable[[Tensor], Tensor]:
        """The distortion as a function of the picture. What it needs of the reference is computed once."""
        is_squared = self.mse_share == 1 or min(reference.shape[1:3]) < SMALLEST_SIDE
        known = None if is_squared else Reference.of(reference)

        def measure(picture: Tensor) -> Tensor:
            error = picture.float() - reference
            if known is None:
                return 255**2 * error.square().flatten(1).mean(1)
            visual = VISUAL_SCALE * distance(known, picture, _EPSILON)
            return self.mse_share * 255**2 * visible_error(error) + (1 - self.mse_share) * visual

        return measure


DISTORTIONS: Final[Mapping[Tuning, Distortion]] = {"visual": Distortion(mse_share=0.35), "psnr": Distortion()}
"""The default distortion of each tuning in training."""
