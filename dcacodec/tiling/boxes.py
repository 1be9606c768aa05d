"""Rectangles of pixels. Integers only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels: columns left..right-1, rows top..bottom-1."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.bottom - self.top

    def common(self, other: Box) -> Box:
        """The intersection; its width or height is 0 or negative if it is empty."""
        return Box(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        )

    def grown(self, halo: int) -> Box:
        """The box extended by `halo` pixels on each side."""
        return Box(self.left - halo, self.top - halo, self.right + halo, self.bottom + halo)

    def reduced(self, side: int) -> Box:
        """The box in units of `side` pixels, including those that are covered partly."""
        return Box(self.left // side, self.top // side, -(-self.right // side), -(-self.bottom // side))

    def times(self, side: int) -> Box:
        """The box in pixels, if this one is in units of `side` pixels."""
        return Box(self.left * side, self.top * side, self.right * side, self.bottom * side)

    def within(self, other: Box) -> tuple[slice, slice]:
        """The slices (rows, columns) of the box in an array that covers `other`."""
        return (
            slice(self.top - other.top, self.bottom - other.top),
            slice(self.left - other.left, self.right - other.left),
        )

    def margins(self, other: Box) -> tuple[int, int, int, int]:
        """How far this box extends beyond one that is inside: at the top, the bottom, the left and the right."""
        return other.top - self.top, self.bottom - other.bottom, other.left - self.left, self.right - other.right
