"""The quality of a file: a number from 1 to 100, in tenths."""

from __future__ import annotations

from typing import Final, SupportsFloat

LOWEST: Final = 1
HIGHEST: Final = 100
TENTHS: Final = 10
"""Steps per unit."""


def tenths_of(quality: float) -> int:
    """A quality as a number of tenths, rounded."""
    return round(quality * TENTHS)


def quality_of(tenths: int) -> float:
    """The quality of a number of tenths: 50, an integer, or 50.5."""
    whole, rest = divmod(tenths, TENTHS)
    return tenths / TENTHS if rest else whole


def nearest_quality(quality: float) -> float:
    """The nearest quality that a file can have.

    Raises:
        ValueError: it is not from 1 to 100; TypeError: it is not a number.
    """
    if not isinstance(quality, SupportsFloat):
        raise TypeError(f"quality must be a number, not {quality!r}")
    quality = quality if isinstance(quality, int) else float(quality)
    if not LOWEST <= quality <= HIGHEST:
        raise ValueError(f"quality must be 1 to 100, not {quality}")
    return quality_of(tenths_of(quality))
