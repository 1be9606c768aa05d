"""The distortion that a tuning minimises, in training and in refinement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from dcacodec.metrics.ssimulacra2 import SMALLEST_SIDE, Reference, distance
from dcacodec.network.config import Tuning

VISUAL_SCALE: Final = 10.0
"""Scales the SSIMULACRA 2 distance like ``255**2 * MSE``, so that lambda keeps its meaning: along the rate-distortion
curve of weights trained for squared error, its slope is -1/(12 lambda) to -1/(7.5 lambda)."""
_EPSILON: Final = 1e-8


@dataclass(frozen=True)
class Distortion:
    """``w * 255**2 * MSE + (1 - w) * 10 * S`` of pictures, where S is the SSIMULACRA 2 distance.

    For pictures that are too small for S it is ``255**2 * MSE``.

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
            squared = 255**2 * (picture.float() - reference).square().flatten(1).mean(1)
            if known is None:
                return squared
            return self.mse_share * squared + (1 - self.mse_share) * VISUAL_SCALE * distance(known, picture, _EPSILON)

        return measure


DISTORTIONS: Final[Mapping[Tuning, Distortion]] = {"visual": Distortion(mse_share=0.25), "psnr": Distortion()}
"""The default distortion of each tuning in training."""
