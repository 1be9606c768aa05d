"""Rectangles of pixels: integers only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels: columns left..right-1 of rows top..bottom-1."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Pixels a row."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    def common(self, other: Box) -> Box:
        """What both cover; of no width or height, or of a negative one, where that is nothing."""
        return Box(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        )

    def grown(self, halo: int) -> Box:
        """With `halo` more pixels on each side."""
        return Box(self.left - halo, self.top - halo, self.right + halo, self.bottom + halo)

    def reduced(self, side: int) -> Box:
        """In units of `side` pixels; what is covered in part counts."""
        return Box(self.left // side, self.top // side, -(-self.right // side), -(-self.bottom // side))

    def times(self, side: int) -> Box:
        """The inverse: in pixels where this is in units of `side` pixels."""
        return Box(self.left * side, self.top * side, self.right * side, self.bottom * side)

    def within(self, other: Box) -> tuple[slice, slice]:
        """Where it lies in an array (rows, columns, ...) that covers `other`."""
        return (
            slice(self.top - other.top, self.bottom - other.top),
            slice(self.left - other.left, self.right - other.left),
        )
