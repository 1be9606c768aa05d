"""What tells text and drawings from photographs at once: flatness and roughness."""

from __future__ import annotations

from typing import Final

import numpy as np

from dcacodec.images.picture import Pixels

_ROW_PITCH: Final = 15
_BLOCK_PITCH: Final = 7
"""From one block to the next. It does not keep step with squares of 4 or 8 pixels."""
_MANY_BLOCKS: Final = 1 << 10
"""Of more blocks than these a ninth is enough."""


def flatness(pixels: Pixels) -> float:
    """The share of pixels (H, W, 3) that equal the one to their left, in some rows; 0 for a single column.

    Text and drawings have 0.45 to 0.95, photographs up to 0.35.
    """
    rows = pixels[::_ROW_PITCH]
    return float((rows[:, 1:] == rows[:, :-1]).all(-1).mean()) if rows.shape[1] > 1 else 0.0


def roughness(pixels: Pixels) -> float:
    """The mean squared distance of pixels (H, W, 3) from the mean of their 4x4 block, in some blocks; 0 without any.

    Photographs have 65 to 880, patterns of single pixels 10,000.
    """
    height, width = (side // _BLOCK_PITCH for side in pixels.shape[:2])
    if not height * width:
        return 0.0
    whole = pixels[: _BLOCK_PITCH * height, : _BLOCK_PITCH * width]
    blocks = whole.reshape(height, _BLOCK_PITCH, width, _BLOCK_PITCH, 3)[:, :4, :, :4]
    if height * width > _MANY_BLOCKS:
        blocks = blocks[::3, :, ::3]
    samples = blocks.transpose(1, 3, 0, 2, 4).reshape(16, -1)  # contiguous: a quarter of the time
    return float(np.var(samples.astype(np.float32), axis=0).mean())
