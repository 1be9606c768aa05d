"""Where slices, seams and tiles lie, and how large slices are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sliced_pictures import boxes_in, grid_of, picture

from dcacodec.codec.codec import Codec
from dcacodec.errors import BadDimensionsError
from dcacodec.format.container import padded
from dcacodec.format.reader import parse
from dcacodec.images.picture import Picture
from dcacodec.network.config import REGIONAL_STRIDE
from dcacodec.tiling.boxes import Box
from dcacodec.tiling.grid import Grid, suitable_slice_log2, tiles_for


def marked(box: Box, canvas: Box) -> NDArray[np.bool_]:
    """The pixels of a canvas that a box covers."""
    plane = np.zeros((canvas.height, canvas.width), np.bool_)
    plane[box.common(canvas).within(canvas)] = True
    return plane


sizes = st.integers(1, 900)
grids = st.builds(grid_of, sizes, sizes, st.sampled_from([0, 8, 9]))


def test_the_unit_of_padding_is_that_of_the_network() -> None:
    assert padded(1) == REGIONAL_STRIDE


@given(grids)
def test_slices_cover_the_canvas_once(grid: Grid) -> None:
    canvas = grid.canvas
    assert (canvas.width % 64, canvas.height % 64) == (0, 0)
    assert 0 <= canvas.width - grid.header.width < 64 and 0 <= canvas.height - grid.header.height < 64
    areas = [grid.area(index) for index in range(grid.header.slice_count)]
    assert sum(marked(area, canvas).astype(int) for area in areas).min() == 1  # type: ignore[union-attr]
    assert sum(area.width * area.height for area in areas) == canvas.width * canvas.height
    assert areas == sorted(areas, key=lambda area: (area.top, area.left))
    for area in areas:
        inside = area.common(grid.picture)
        assert inside.width > 0 and inside.height > 0
        assert (padded(inside.width), padded(inside.height)) == (area.width, area.height)


@given(grids, st.data())
def test_touching_slices(grid: Grid, data: st.DataObject) -> None:
    box = data.draw(boxes_in(grid.canvas)).grown(data.draw(st.integers(0, 70)))
    plane = marked(box, grid.canvas)
    areas = [marked(grid.area(index), grid.canvas) for index in range(grid.header.slice_count)]
    assert grid.touching(box) == [index for index, area in enumerate(areas) if (plane & area).any()]


@given(grids, st.data())
def test_seams_lie_where_slices_meet(grid: Grid, data: st.DataObject) -> None:
    box, room = data.draw(boxes_in(grid.canvas)), data.draw(st.integers(1, 60))
    number = np.zeros((grid.canvas.height, grid.canvas.width), np.int64)
    for index in range(grid.header.slice_count):
        number[grid.area(index).within(grid.canvas)] = index
    part = number[box.within(grid.canvas)]
    columns = np.flatnonzero(np.diff(part, axis=1).any(0)) + 1
    rows = np.flatnonzero(np.diff(part, axis=0).any(1)) + 1
    lines = (columns, box.width), (rows, box.height)
    assert list(grid.seams(box, room)) == [[at for at in line if room <= at <= end - room] for line, end in lines]


def test_a_seam_counts_where_there_is_just_room_for_it() -> None:
    grid = grid_of(600, 600, 8)
    for left, right, expected in ((246, 266, [10]), (247, 266, []), (246, 265, [])):
        assert grid.seams(Box(left, 0, right, 600), 10) == (expected, [256, 512])


@given(grids, st.data())
def test_tiles(grid: Grid, data: st.DataObject) -> None:
    wanted = data.draw(boxes_in(grid.canvas))
    halo, further = data.draw(st.integers(0, 150)), data.draw(st.integers(0, 60))
    tiles = tiles_for(grid, wanted, halo, further)
    whole = {tile.box: tile.source for tile in tiles_for(grid, grid.picture, halo, further)}
    covered = np.zeros((grid.canvas.height, grid.canvas.width), int)
    for tile in tiles:
        covered += marked(tile.part, grid.canvas)
        # The very tile that the whole picture has there.
        assert whole[tile.box] == tile.source
        reached = tile.part.grown(halo).common(grid.canvas)
        assert reached.common(tile.box) == reached
        assert tile.slices == tuple(grid.touching(tile.part.grown(halo + further)))
    np.testing.assert_array_equal(covered, marked(wanted, grid.canvas))
    for number, tile in enumerate(tiles):
        later = {index for other in tiles[number + 1 :] for index in other.slices}
        assert set(tile.finished) == set(tile.slices) - later


@pytest.mark.parametrize(("width", "height"), [(256 * 40, 256 * 3), (256 * 3, 256 * 40), (256 * 12, 256 * 12)])
def test_few_slices_are_kept_at_a_time(width: int, height: int) -> None:
    """Two rows along the shorter side and a few more, not the picture."""
    grid = grid_of(width, height)
    known: set[int] = set()
    most = 0
    for tile in tiles_for(grid, grid.picture, 64, 64):
        known.update(tile.slices)
        most = max(most, len(known))
        known.difference_update(tile.finished)
    assert not known
    assert most <= 2 * min(grid.header.slice_grid) + 3


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(1, 1, 0), (2048, 1024, 0), (1920, 1080, 0), (2049, 1024, 10), (2048, 1025, 10), (1, 16383, 0), (1, 16384, 10)],
)
def test_size_of_slices(width: int, height: int, expected: int) -> None:
    assert suitable_slice_log2(width, height) == expected


@pytest.mark.slow
def test_a_picture_above_two_megapixels_is_coded_in_slices(codec: Codec) -> None:
    source = picture(32800, 50)
    data = codec.encode(source, quality=20, lossless=False)
    container = parse(data)
    assert (container.header.slice_log2, container.header.slice_grid, len(container.slices)) == (10, (1, 33), 33)
    decoded = codec.decode(data).pixels
    assert decoded.shape == source.pixels.shape
    error = np.square(decoded.astype(float) - source.pixels)[: 32 * 1024].reshape(32, -1).mean(1)
    assert error.max() < 500 < np.square(source.pixels[1024:2048].astype(float) - source.pixels[:1024]).mean()


def test_a_picture_too_wide_for_the_format(codec: Codec) -> None:
    with pytest.raises(BadDimensionsError):
        codec.encode(Picture(np.zeros((1, 2**20 + 1, 3), np.uint8)), quality=20)
