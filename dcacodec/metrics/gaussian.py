"""The window of the structural metrics: a Gaussian of eleven taps with sigma 1.5."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

RADIUS: Final = 5
_SIGMA: Final = 1.5
_BLOCK: Final = 128
"""Rows per matrix product: small enough that the band matrix has few zeros, large enough to be fast."""


def blurred(x: Tensor) -> Tensor:
    """Blur the last two dimensions with a Gaussian, borders replicated, by products with banded matrices."""
    return _blurred_rows(_blurred_rows(x).mT).mT


def _blurred_rows(x: Tensor) -> Tensor:
    """Blur the second to last dimension, with the first and last rows replicated outwards."""
    rows = x.shape[-2]
    blocks = []
    for top in range(0, rows, _BLOCK):
        bottom = min(top + _BLOCK, rows)
        first, last = max(0, top - RADIUS), min(rows, bottom + RADIUS)
        blocks.append(_band(top, bottom, first, last, rows, x.device) @ x[..., first:last, :])
    return torch.cat(blocks, -2) if len(blocks) > 1 else blocks[0]


def _band(top: int, bottom: int, first: int, last: int, rows: int, device: torch.device) -> Tensor:
    """The matrix (bottom - top, last - first) that maps rows first..last of `rows` rows to blurred rows top..bottom."""
    offsets = torch.arange(-RADIUS, RADIUS + 1, device=device)
    taps = torch.exp(-(offsets.float() ** 2) / (2 * _SIGMA**2))
    taps = taps / taps.sum()
    targets = torch.arange(top, bottom, device=device)[:, None] + offsets
    sources = targets.clamp(0, rows - 1) - first
    band = torch.zeros(bottom - top, last - first, dtype=torch.float32, device=device)
    return band.scatter_add_(1, sources, taps.expand_as(sources).contiguous())
