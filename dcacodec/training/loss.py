"""The training loss ``R + lambda * D`` and the draw of lambda per sample."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dcacodec.network.config import DCAConfig
from dcacodec.network.dca import Estimate

BALANCE = 0.4
"""The loss of a sample is divided by lambda**0.4, so that no end of the quality range drowns the other."""

TOKEN_AREA = 768 * 512
"""Pixels that the global latent's rate is shared by: it is a fixed cost of a slice, and a crop is only part of one."""

DRAWN = (0.0, 0.07, 0.86, 1.0)
DRAWN_AT = (0.0, 0.1, 0.76, 1.0)
"""Share of the draws (first row) that falls below this share of the quality range (second row): the middle, where
pictures are mostly coded, is drawn more often than the ends."""


def draw_positions(config: DCAConfig, count: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Anchor positions for a batch, stratified so that every batch covers the range."""
    shares = (random.permutation(count) + random.random(count)) / count
    return (np.interp(shares, DRAWN, DRAWN_AT) * (config.anchors - 1)).astype(np.float32)


def trade_offs(config: DCAConfig, position: Tensor) -> Tensor:
    """Lambda of anchor positions (B,)."""
    span = math.log(config.lambda_max / config.lambda_min)
    return config.lambda_min * torch.exp(position * (span / (config.anchors - 1)))


def loss_terms(estimate: Estimate, picture: Tensor, full_token_cost: bool) -> tuple[Tensor, Tensor]:
    """Bits per pixel (B,) and mean squared error on the 0..1 scale (B,).

    Args:
        full_token_cost: count z_g's bits as they are (validation) or shared by `TOKEN_AREA` pixels (training crops).
    """
    pixels = picture.shape[1] * picture.shape[2]
    token_share = 1.0 if full_token_cost else min(1.0, pixels / TOKEN_AREA)
    bits = sum(b * (token_share if name == "z_g" else 1.0) for name, b in estimate.bits.items())
    error = (estimate.picture.float() - picture).square().flatten(1).mean(1)
    assert isinstance(bits, Tensor)
    return bits / pixels, error


def rate_distortion_loss(bpp: Tensor, error: Tensor, trade_off: Tensor) -> Tensor:
    """``(bpp + lambda * 255**2 * MSE) / lambda**0.4``, mean over the batch."""
    return ((bpp + trade_off * 255**2 * error) / trade_off**BALANCE).mean()
