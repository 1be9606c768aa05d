"""The grid of slices of a picture, and the slices that a part of it needs. Integers only, no torch.

::

    +-----------+-----------+----+
    | slice 0   | slice 1   | 2  |      the canvas: the picture, its sides rounded up to multiples of 64
    |       +---------------+    |
    |       |   +-------+   |    |      a part of the picture, and its halo: the surrounding pixels that the
    +-------|---+-------+---|----+      convolutions read, within the canvas
    | 3     | 4 |       |   | 5  |
    |       +---------------+    |
    +-----------+-----------+----+
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dcacodec.errors import BadRegionError
from dcacodec.format.container import Header, padded
from dcacodec.format.vp8l import MAX_BLOCK_SIDE
from dcacodec.tiling.boxes import Box

USUAL_SLICE_LOG2: Final = 10
"""Slice size of the encoder for pictures of several slices: 1024x1024 pixels."""
LARGEST_WHOLE: Final = 1 << 21
"""Pixels of the largest canvas that the encoder codes as one slice."""
SCALES: Final = (1, 2, 4, 8)
"""Factors by which a picture can be reduced in decoding."""


@dataclass(frozen=True)
class Grid:
    """The slices of a picture, numbered in the order of the file."""

    header: Header

    @property
    def picture(self) -> Box:
        """The box of the whole picture."""
        return Box(0, 0, self.header.width, self.header.height)

    @property
    def canvas(self) -> Box:
        """The picture with its sides rounded up to multiples of 64."""
        return Box(0, 0, padded(self.header.width), padded(self.header.height))

    @property
    def side(self) -> int:
        """Side in pixels of a slice that is not cut off at a border."""
        canvas = self.canvas
        return 1 << self.header.slice_log2 if self.header.slice_log2 else max(canvas.width, canvas.height)

    def area(self, index: int) -> Box:
        """The part of the canvas that a slice covers."""
        columns, _ = self.header.slice_grid
        row, column = divmod(index, columns)
        square = Box(column, row, column + 1, row + 1).times(self.side)
        return square.common(self.canvas)

    def shown(self, index: int) -> tuple[slice, slice]:
        """The rows and columns of the picture that a slice covers."""
        return self.area(index).common(self.picture).within(self.picture)

    def touching(self, box: Box) -> list[int]:
        """The slices that intersect a box, which may extend beyond the canvas."""
        columns, _ = self.header.slice_grid
        squares = box.common(self.canvas).reduced(self.side)
        return [
            row * columns + column
            for row in range(squares.top, squares.bottom)
            for column in range(squares.left, squares.right)
        ]

    def seams(self, box: Box, room: int) -> tuple[list[int], list[int]]:
        """Columns and rows, relative to the box, where slices meet, at least `room` away from its ends."""
        columns, rows = (
            [at - first for at in range(0, last, self.side) if first + room <= at <= last - room]
            for first, last in ((box.left, box.right), (box.top, box.bottom))
        )
        return columns, rows

    def region(self, left: int, top: int, width: int, height: int) -> Box:
        """The box of a region of the picture.

        Raises:
            BadRegionError: it is empty, or not entirely inside the picture.
        """
        box = Box(left, top, left + width, top + height)
        if width < 1 or height < 1 or box.common(self.picture) != box:
            raise BadRegionError(
                f"the region {left},{top},{width},{height} is not inside the picture of "
                f"{self.header.width}x{self.header.height} pixels"
            )
        return box


def suitable_slice_log2(width: int, height: int) -> int:
    """The slice size code that the encoder uses for a picture."""
    whole = padded(width) * padded(height) <= LARGEST_WHOLE and max(width, height) <= MAX_BLOCK_SIDE
    return 0 if whole else USUAL_SLICE_LOG2


@dataclass(frozen=True)
class Tile:
    """A part of the picture that f_s synthesises at once: the area of a slice and its halo.

    Attributes:
        index: of the slice.
        box: the pixels that f_s synthesises.
        source: the area of the latents that this needs.
        part: the wanted part of the box.
        slices: those that affect the wanted part: a lossless slice has only itself.
        finished: those of them that no later tile needs.
    """

    index: int
    box: Box
    source: Box
    part: Box
    slices: tuple[int, ...]
    finished: tuple[int, ...]


def tiles_for(
    grid: Grid,
    wanted: Box,
    halo: int,
    further: int = 0,
    is_lossless: Callable[[int], bool] = lambda index: False,
) -> list[Tile]:
    """The tiles that cover a box of the canvas. Their boxes and sources do not depend on the wanted box.

    They are ordered along the shorter side of the picture, so that slices are needed for the shortest time.

    Args:
        grid: of the picture.
        wanted: the box.
        halo: number of pixels that f_s reads beyond its output, on each side.
        further: additional pixels on each side that the smoothing of seams reads.
        is_lossless: whether a slice is lossless, by index.
    """
    columns, rows = grid.header.slice_grid
    order = grid.touching(wanted)
    if columns > rows:
        order.sort(key=lambda index: (index % columns, index))
    found: list[Tile] = []
    later: set[int] = set()
    for index in reversed(order):
        area = grid.area(index)
        part = area.common(wanted)
        needed = (index,) if is_lossless(index) else tuple(grid.touching(part.grown(halo + further)))
        finished = tuple(each for each in needed if each not in later)
        box, source = (area.grown(margin).common(grid.canvas) for margin in (halo, halo + further))
        found.append(Tile(index, box, source, part, needed, finished))
        later.update(needed)
    return found[::-1]
