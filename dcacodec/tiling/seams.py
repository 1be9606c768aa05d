"""No lines where slices meet.

Slices are coded alone, so at its borders a slice predicts y from one side only. In smooth parts of a picture, where
prediction from all sides is all but exact, the elements along a border are then wrong by up to half a quantisation step
more than their neighbours, and differently on its two sides: a faint line. Those that are skipped, as the network is
sure of them, can be wrong by more. As both sides are known once they are decoded, such elements can be told from what
surrounds them, and moved as far as they can be wrong::

    slice A  |  slice B            guess of a0 and b0: the straight line that fits a2, a1, b1, b2 best, in each channel
    a2 a1 a0 | b0 b1 b2            doubt: how far those four are off it

This belongs to the synthesis: it is ordinary floating point, and no symbol depends on it.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

REACH = 4
"""Elements: how far from an element lie those that its smoothed value depends on, on either axis."""
ROOM = 3
"""Elements on each side of a border that smoothing it takes."""

ROUNDED = 0.5
"""Quantisation steps. No coded element is further off."""
SKIPPED = 2.0
"""Quantisation steps. Where a skipped element is further off, an encoder codes the slice in full if that pays."""

_ROUNDING = 1 / 12
"""Mean square of what rounding to integers leaves."""


def smooth(latent: Tensor, coded: Tensor, columns: Iterable[int], rows: Iterable[int]) -> Tensor:
    """y_hat (H, W, M) with the elements at borders moved to where their surroundings have them.

    They are moved by `ROUNDED` or `SKIPPED` at most.

    Args:
        latent: in quantisation steps.
        coded: bool (H, W, M): which elements are. The others are skipped.
        columns, rows: the first of the second slice at each border; `ROOM` or more from each other and from the ends.
    """
    turned = _smooth_rows(latent.transpose(0, 1), coded.transpose(0, 1), columns)
    return _smooth_rows(turned.transpose(0, 1), coded, rows)


def _smooth_rows(latent: Tensor, coded: Tensor, borders: Iterable[int]) -> Tensor:
    smoothed = latent.clone()
    for border in borders:
        a2, a1, _, _, b1, b2 = latent[border - ROOM : border + ROOM]
        middle = (a2 + a1 + b1 + b2) / 4
        slope = (5 * (b2 - a2) + 3 * (b1 - a1)) / 34
        offsets = ((-2.5, a2), (-1.5, a1), (1.5, b1), (2.5, b2))
        squares = sum((middle + at * slope - value).square() for at, value in offsets) / 2  # of 4 values, 2 are free
        doubt = F.avg_pool1d(squares.T, 3, stride=1, padding=1, count_include_pad=False).T
        weight = _ROUNDING / (_ROUNDING + doubt)
        for place, guess in ((border - 1, middle - slope / 2), (border, middle + slope / 2)):
            most = torch.where(coded[place], ROUNDED, SKIPPED)
            step = guess - latent[place]
            # A guess that is further away than can be is a wrong one: there is an edge, or a detail.
            trust = (2 - step.abs() / most).clamp(0, 1)
            smoothed[place] += weight * trust * step.clamp(-most, most)
    return smoothed
