"""MS-SSIM, the multi-scale structural similarity (Wang, Simoncelli and Bovik 2003), over RGB.

The constants are the paper's. Windows lie inside the picture; the next scale has means of 2x2 pixels, after odd sides
are padded with zeros. Values agree with those of the package pytorch-msssim.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from dcacodec.metrics.gaussian import RADIUS, blurred

SMALLEST_SIDE: Final = 2 * RADIUS * 2**4 + 1
"""Pixels. With shorter sides, the last scale would be smaller than a window."""

_EXPONENTS: Final = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales, from the finest to the coarsest."""
_C1: Final = 0.01**2
_C2: Final = 0.03**2


def ms_ssim(reference: Tensor, picture: Tensor) -> Tensor:
    """The similarity (B,) of pictures (B, H, W, 3) in 0..1: 1 for equal pictures, 0 for dissimilar ones.

    Raises:
        ValueError: the shapes differ, or a side is less than `SMALLEST_SIDE`.
    """
    if reference.shape != picture.shape or min(picture.shape[1:3]) < SMALLEST_SIDE:
        raise ValueError(
            f"MS-SSIM needs two pictures of the same size, at least {SMALLEST_SIDE}x{SMALLEST_SIDE}, "
            f"not {tuple(reference.shape)} and {tuple(picture.shape)}"
        )
    with torch.autocast(picture.device.type, enabled=False):
        x, y = (each.float().permute(0, 3, 1, 2).contiguous() for each in (reference, picture))
        total = torch.ones(x.shape[:2], dtype=torch.float32, device=x.device)
        for exponent in _EXPONENTS[:-1]:
            total = total * _power(_structure(x, y)[1], exponent)
            padding = [side % 2 for side in x.shape[2:]]
            x, y = (torch.nn.functional.avg_pool2d(each, 2, padding=padding) for each in (x, y))
        total = total * _power(_structure(x, y)[0], _EXPONENTS[-1])
        return total.mean(1)


def _structure(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Means (B, C) of SSIM and of its contrast-structure term, for planes (B, C, H, W)."""
    mean_x, mean_y, square_x, square_y, product = (_windowed(each) for each in (x, y, x * x, y * y, x * y))
    covariance = product - mean_x * mean_y
    variances = (square_x - mean_x * mean_x) + (square_y - mean_y * mean_y)
    structure = (2 * covariance + _C2) / (variances + _C2)
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x * mean_x + mean_y * mean_y + _C1)
    return (luminance * structure).mean((2, 3)), structure.mean((2, 3))


def _windowed(x: Tensor) -> Tensor:
    """Weighted means over the windows that lie inside the planes."""
    return blurred(x)[..., RADIUS:-RADIUS, RADIUS:-RADIUS]


def _power(x: Tensor, exponent: float) -> Tensor:
    """``x ** exponent`` for x > 0, else 0 with gradient 0."""
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, 1) ** exponent, 0)
