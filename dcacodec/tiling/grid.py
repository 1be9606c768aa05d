"""Where the slices of a picture lie, and which of them a part of it needs: integers only, no torch.

::

    +-----------+-----------+----+
    | slice 0   | slice 1   | 2  |      the canvas: the picture, its sides rounded up to multiples of 64
    |       +---------------+    |
    |       |   +-------+   |    |      a part of the picture, and its halo: the pixels around it that the
    +-------|---+-------+---|----+      convolutions read, no further than the canvas goes
    | 3     | 4 |       |   | 5  |
    |       +---------------+    |
    +-----------+-----------+----+
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dcacodec.errors import BadRegionError
from dcacodec.format.container import Header, padded
from dcacodec.tiling.boxes import Box

USUAL_SLICE_LOG2: Final = 10
"""Of the slices that an encoder makes, where it makes any: 1024x1024 pixels."""
LARGEST_WHOLE: Final = 1 << 21
"""Pixels of the largest canvas that an encoder codes in one slice."""
SCALES: Final = (1, 2, 4, 8)
"""By which a picture can be decoded smaller."""


@dataclass(frozen=True)
class Grid:
    """The slices of a picture, numbered as in the file."""

    header: Header

    @property
    def picture(self) -> Box:
        """All pixels."""
        return Box(0, 0, self.header.width, self.header.height)

    @property
    def canvas(self) -> Box:
        """The picture with its sides rounded up to what the network works on."""
        return Box(0, 0, padded(self.header.width), padded(self.header.height))

    @property
    def side(self) -> int:
        """Pixels a side of a slice that no border cuts off."""
        canvas = self.canvas
        return 1 << self.header.slice_log2 if self.header.slice_log2 else max(canvas.width, canvas.height)

    def area(self, index: int) -> Box:
        """The part of the canvas that a slice covers."""
        columns, _ = self.header.slice_grid
        row, column = divmod(index, columns)
        square = Box(column, row, column + 1, row + 1).times(self.side)
        return square.common(self.canvas)

    def touching(self, box: Box) -> list[int]:
        """The slices that have a pixel in common with a box, which may reach beyond the canvas."""
        columns, _ = self.header.slice_grid
        squares = box.common(self.canvas).reduced(self.side)
        return [
            row * columns + column
            for row in range(squares.top, squares.bottom)
            for column in range(squares.left, squares.right)
        ]

    def seams(self, box: Box, room: int) -> tuple[list[int], list[int]]:
        """Where slices meet in a box, `room` or more from its ends: columns and rows, counted from the box's first."""
        columns, rows = (
            [at - first for at in range(0, last, self.side) if first + room <= at <= last - room]
            for first, last in ((box.left, box.right), (box.top, box.bottom))
        )
        return columns, rows

    def region(self, left: int, top: int, width: int, height: int) -> Box:
        """A part of the picture.

        Raises:
            BadRegionError: it is empty, or not all of it is in the picture.
        """
        box = Box(left, top, left + width, top + height)
        if width < 1 or height < 1 or box.common(self.picture) != box:
            raise BadRegionError(
                f"the region {left},{top},{width},{height} does not lie in a picture of "
                f"{self.header.width}x{self.header.height} pixels"
            )
        return box


def suitable_slice_log2(width: int, height: int) -> int:
    """The slice size code that an encoder takes for a picture."""
    return 0 if padded(width) * padded(height) <= LARGEST_WHOLE else USUAL_SLICE_LOG2


@dataclass(frozen=True)
class Tile:
    """A part of the picture that f_s makes at once: the area of a slice and a halo around it.

    Attributes:
        box: what f_s makes.
        source: where the latents that this takes lie.
        part: what is wanted of it.
        slices: those whose latents reach what is wanted.
        finished: those of them that no later tile takes.
    """

    box: Box
    source: Box
    part: Box
    slices: tuple[int, ...]
    finished: tuple[int, ...]


def tiles_for(grid: Grid, wanted: Box, halo: int, further: int = 0) -> list[Tile]:
    """The tiles that cover a box of the canvas. Their boxes and sources are the same whatever is wanted.

    They stand in an order in which neighbours are as near as can be: along the shorter side of the picture.

    Args:
        grid: of the picture.
        wanted: the box.
        halo: how many pixels to each side f_s reads.
        further: how many more what goes before it reads.
    """
    columns, rows = grid.header.slice_grid
    order = grid.touching(wanted)
    if columns > rows:
        order.sort(key=lambda index: (index % columns, index))
    found: list[Tile] = []
    later: set[int] = set()
    for area in map(grid.area, reversed(order)):
        part = area.common(wanted)
        needed = tuple(grid.touching(part.grown(halo + further)))
        finished = tuple(index for index in needed if index not in later)
        box, source = (area.grown(margin).common(grid.canvas) for margin in (halo, halo + further))
        found.append(Tile(box, source, part, needed, finished))
        later.update(needed)
    return found[::-1]
