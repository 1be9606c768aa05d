"""Which pictures mix text or drawings with photographs: they get small slices, each coded as suits its content."""

from __future__ import annotations

from typing import Final

from dcacodec.images.picture import Pixels
from dcacodec.images.texture import flatness, roughness

MIXED_SLICE_LOG2: Final = 8
_KIND_SIDE: Final = 128
"""Pixels. The squares whose kind is judged are smaller than the slices, as few slices hold one kind alone."""
_DRAWN_FLAT, _PHOTOGRAPHIC_FLAT = 0.45, 0.3
"""Flatness of drawn and of photographic squares. A white sky is flat, too, but it is not rough."""
_DRAWN_SHARES: Final = ((300, 0.2), (1000, 0.1))
"""A picture is mixed if one of these shares of its squares is drawn and has this roughness, ..."""
_PHOTOGRAPHIC_SHARE: Final = 0.02
_PHOTOGRAPHIC_ROUGH: Final = 1000
"""... and this share is photographic: not flat, and less rough than this."""


def is_mixed(pixels: Pixels) -> bool:
    """Whether a picture (H, W, 3) has text or drawings in some places, and photographs in others.

    Such a picture is better coded in slices of `MIXED_SLICE_LOG2`: those of one kind are lossless, and smaller for it.
    """
    if max(pixels.shape) <= 1 << MIXED_SLICE_LOG2:
        return False
    squares = [
        pixels[top : top + _KIND_SIDE, left : left + _KIND_SIDE]
        for top in range(0, pixels.shape[0], _KIND_SIDE)
        for left in range(0, pixels.shape[1], _KIND_SIDE)
    ]
    flats = list(map(flatness, squares))
    # Few squares of a photograph get beyond this line.
    drawn = [roughness(square) for square, flat in zip(squares, flats, strict=True) if flat > _DRAWN_FLAT]
    if not any(sum(each > rough for each in drawn) >= share * len(squares) for rough, share in _DRAWN_SHARES):
        return False
    others = (square for square, flat in zip(squares, flats, strict=True) if flat < _PHOTOGRAPHIC_FLAT)
    return sum(roughness(each) < _PHOTOGRAPHIC_ROUGH for each in others) >= _PHOTOGRAPHIC_SHARE * len(squares)
