"""Peak signal-to-noise ratio of 8-bit pictures, in exact arithmetic. No torch here."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from dcacodec.images.picture import Pixels

_ROWS: Final = 64
"""Rows per block when squares are summed."""


def psnr(original: Pixels, decoded: Pixels) -> float:
    """Peak signal-to-noise ratio in dB of two 8-bit arrays of the same shape; infinite if they are equal.

    Raises:
        ValueError: the arrays are not uint8, empty, or differ in shape.
    """
    check_pair(original, decoded)
    squares = 0
    for start in range(0, len(original), _ROWS):  # in blocks: differences take 16 times the memory of the samples
        rows = slice(start, start + _ROWS)
        difference = original[rows].astype(np.int64) - decoded[rows]
        squares += int((difference * difference).sum())
    return 10 * math.log10(255**2 * original.size / squares) if squares else math.inf


def check_pair(original: Pixels, decoded: Pixels) -> None:
    """Check that two arrays can be compared.

    Raises:
        ValueError: they cannot.
    """
    if original.dtype != np.uint8 or decoded.dtype != np.uint8:
        raise ValueError(f"samples must be uint8, not {original.dtype} and {decoded.dtype}")
    if original.shape != decoded.shape or not original.size:
        raise ValueError(f"shapes must be the same and not empty, not {original.shape} and {decoded.shape}")
