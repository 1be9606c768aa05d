"""Grids of slices, and the pictures and boxes that the tests of slices put into them."""

import numpy as np
from hypothesis import strategies as st
from tiny import photo

from dcacodec.format.container import Header
from dcacodec.images.picture import Picture
from dcacodec.tiling.boxes import Box
from dcacodec.tiling.grid import Grid


def grid_of(width: int, height: int, slice_log2: int = 8) -> Grid:
    return Grid(Header(bytes(4), width, height, "RGB", 50, slice_log2))


def picture(height: int, width: int, mode: str = "RGB", seed: int = 0) -> Picture:
    pixels = photo(height, width, seed)
    if mode == "L":
        pixels = np.repeat(pixels[:, :, :1], 3, -1)
    alpha = photo(height, width, seed + 1)[:, :, 1].copy() if mode == "RGBA" else None
    return Picture(pixels, mode == "L", alpha)


def boxes_in(canvas: Box) -> st.SearchStrategy[Box]:
    def ordered(ends: list[int]) -> list[int]:
        return sorted(ends)

    across = st.lists(st.integers(0, canvas.width), min_size=2, max_size=2, unique=True).map(ordered)
    down = st.lists(st.integers(0, canvas.height), min_size=2, max_size=2, unique=True).map(ordered)
    return st.builds(lambda x, y: Box(x[0], y[0], x[1], y[1]), across, down)
