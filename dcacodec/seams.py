"""No lines where slices meet.

Slices are coded alone, so at its borders a slice predicts y from one side only. In smooth parts of a picture, where
prediction from all sides is all but exact, the elements along a border are then wrong by up to half a quantisation step
more than their neighbours, and differently on its two sides: a faint line. As both sides are known once they are
decoded, such elements can be told from what surrounds them, and moved within the step that they were rounded by::

    slice A  |  slice B            guess of a0 and b0: the straight line from a1 to b1, in each channel
    a2 a1 a0 | b0 b1 b2            doubt: how far a1 and b1 are off the lines from a2 to b1 and from a1 to b2

This belongs to the synthesis: it is ordinary floating point, and no symbol depends on it.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor

REACH = 4
"""Elements: how far from an element lie those that its smoothed value depends on, on either axis."""
ROOM = 3
"""Elements on each side of a border that smoothing it takes."""

_ROUNDING = 1 / 12
"""Mean square of what rounding to integers leaves."""


def smooth(latent: Tensor, columns: Iterable[int], rows: Iterable[int]) -> Tensor:
    """y_hat (H, W, M) with the elements at borders moved to where their surroundings have them, by half a step at most.

    Args:
        latent: in quantisation steps.
        columns, rows: the first of the second slice at each border; `ROOM` or more from each other and from the ends.
    """
    return _smooth_rows(_smooth_rows(latent.transpose(0, 1), columns).transpose(0, 1), rows)


def _smooth_rows(latent: Tensor, borders: Iterable[int]) -> Tensor:
    smoothed = latent.clone()
    for border in borders:
        a2, a1, a0, b0, b1, b2 = latent[border - ROOM : border + ROOM]
        squares = ((a1 - (3 * a2 + b1) / 4).square() + (b1 - (a1 + 3 * b2) / 4).square()) / 2
        doubt = F.avg_pool1d(squares.T, 3, stride=1, padding=1, count_include_pad=False).T
        weight = _ROUNDING / (_ROUNDING + doubt)
        for place, value, guess in ((border - 1, a0, (2 * a1 + b1) / 3), (border, b0, (a1 + 2 * b1) / 3)):
            step = guess - value
            # A guess that is further away than rounding explains is a wrong one: there is an edge, or a detail.
            trust = (2 - 2 * step.abs()).clamp(0, 1)
            smoothed[place] = value + weight * trust * step.clamp(-0.5, 0.5)
    return smoothed
