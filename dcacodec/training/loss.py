"""The training loss ``R + lambda * D``, the sampling of lambda, and the metrics of validation."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dcacodec.metrics.distortion import Distortion
from dcacodec.metrics.ms_ssim import SMALLEST_SIDE, ms_ssim
from dcacodec.metrics.ssimulacra2 import ssimulacra2
from dcacodec.network.config import DCAConfig
from dcacodec.network.dca import Estimate

BALANCE = 0.4
"""The loss of a sample is divided by lambda**0.4, so that no end of the quality range dominates."""

TOKEN_AREA = 768 * 512
"""Pixels over which the rate of the global latent is spread: it is a fixed cost of a slice, and crops are smaller."""

DRAWN = (0.0, 0.07, 0.86, 1.0)
DRAWN_AT = (0.0, 0.1, 0.76, 1.0)
"""The cumulative distribution of training qualities: the share of samples (first row) below a share of the quality
range (second row). The middle of the range, which is used most, is drawn more often than the ends."""


def draw_positions(config: DCAConfig, count: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Random anchor positions (count,) for a batch, stratified so that every batch covers the range."""
    shares = (random.permutation(count) + random.random(count)) / count
    return (np.interp(shares, DRAWN, DRAWN_AT) * (config.anchors - 1)).astype(np.float32)


def loss_terms(
    estimate: Estimate, picture: Tensor, distortion: Distortion, full_token_cost: bool
) -> tuple[Tensor, Tensor]:
    """Bits per pixel (B,) and distortion (B,), on the scale of ``255**2 * MSE``.

    Args:
        full_token_cost: count all bits of z_g (validation), or the picture's share by `TOKEN_AREA` (training crops).
    """
    bpp = bits_per_pixel(estimate.bits, picture.shape[1] * picture.shape[2], full_token_cost)
    return bpp, distortion(picture, estimate.picture)


def bits_per_pixel(bits: Mapping[str, Tensor], pixels: int, full_token_cost: bool) -> Tensor:
    """The sum over streams of bits (B,), per pixel; for ``full_token_cost`` see `loss_terms`."""
    token_share = 1.0 if full_token_cost else min(1.0, pixels / TOKEN_AREA)
    total = sum(each * (token_share if name == "z_g" else 1.0) for name, each in bits.items())
    assert isinstance(total, Tensor)
    return total / pixels


def rate_distortion_loss(bpp: Tensor, distortion: Tensor, trade_off: Tensor) -> Tensor:
    """``(bpp + lambda * distortion) / lambda**0.4``, mean over the batch."""
    return ((bpp + trade_off * distortion) / trade_off**BALANCE).mean()


def picture_values(estimate: Estimate, picture: Tensor) -> dict[str, float]:
    """The validation metrics of an estimate (in evaluation mode) for a picture (1, H, W, 3) in 0..1.

    Returns:
        Bits per pixel by stream ("z_r", .., "y_4") and in total ("bpp"); of the 8-bit picture, "psnr" in dB over RGB,
        "ssimulacra2" and, if it is large enough, "ms_ssim"; "surprise_1" to "surprise_4", the mean of |y - mean| /
        sigma of each step.
    """
    area = picture.shape[1] * picture.shape[2]
    values = {name: bits.item() / area for name, bits in estimate.bits.items()}
    rounded = (estimate.picture.clamp(0, 1) * 255).round() / 255
    psnr = -10 * math.log10(max(1e-10, (rounded - picture).square().mean().item()))
    surprise = {f"surprise_{i + 1}": value for i, value in enumerate(estimate.surprise.tolist())}
    quality = {"psnr": psnr, "ssimulacra2": ssimulacra2(picture, rounded).item()}
    if min(picture.shape[1:3]) >= SMALLEST_SIDE:
        quality["ms_ssim"] = ms_ssim(picture, rounded).item()
    return {**values, **quality, "bpp": sum(values.values()), **surprise}
