"""Smoothing of the seams between slices.

Slices are coded independently, so at a border y is predicted from one side only. In smooth parts of a picture, where
prediction from all sides is nearly exact, the elements along a border then have errors of up to half a quantisation
step, unlike their neighbours, and different ones on its two sides: a faint line. Skipped elements can have larger
errors. After decoding, both sides are known, so the elements at a border can be estimated from their surroundings, and
moved towards the estimate within the range of their possible error::

    slice A  |  slice B            estimates of a0 and b0: the line of least squares through a2, a1, b1, b2, by channel
    a2 a1 a0 | b0 b1 b2            doubt: the variance of these four around the line

This is part of the synthesis, in ordinary floating point; no symbol depends on it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

REACH = 4
"""Elements. A smoothed value depends on elements up to this distance, on each axis."""
ROOM = 3
"""Elements on each side of a border that smoothing uses."""

ROUNDED = 0.5
"""Quantisation steps. The largest error of a coded element."""
SKIPPED = 2.0
"""Quantisation steps. The largest correction of a skipped element. If its error is larger, the encoder considers coding
the slice in full."""

_ROUNDING = 1 / 12
"""Mean squared error of rounding to integers."""


def smooth(latent: Tensor, coded: Tensor, columns: Sequence[int], rows: Sequence[int]) -> Tensor:
    """Smooth y_hat (H, W, M) at the borders of slices, by at most `ROUNDED` or `SKIPPED`.

    Args:
        latent: in quantisation steps.
        coded: mask of the coded elements, bool (H, W, M). The others are skipped.
        columns, rows: the first column or row after each border; at least `ROOM` from each other and from the ends.

    Returns:
        A new tensor, or without any border `latent` itself.
    """
    if not (columns or rows):
        return latent
    turned = _smooth_rows(latent.transpose(0, 1), coded.transpose(0, 1), columns)
    return _smooth_rows(turned.transpose(0, 1), coded, rows)


def _smooth_rows(latent: Tensor, coded: Tensor, borders: Sequence[int]) -> Tensor:
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
            most = torch.where(coded[place], latent.new_tensor(ROUNDED), latent.new_tensor(SKIPPED))
            step = guess - latent[place]
            # An estimate outside the possible range is wrong: there is an edge or a detail.
            trust = (2 - step.abs() / most).clamp(0, 1)
            smoothed[place] += weight * trust * step.clamp(-most, most)
    return smoothed
