"""Pictures in slices: where they lie, tiles without seams, regions and previews, and several slices at a time."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from skimage import data as photographs
from tiny import TINY, WEIGHTS, drawn_model, photo
from told import one_line

from dcacodec.codec.codec import Codec
from dcacodec.codec.parallel import workers
from dcacodec.coding import PythonCoder
from dcacodec.errors import BadDimensionsError, BadRegionError, SymbolMismatchError
from dcacodec.format.container import Container, Header, padded
from dcacodec.format.reader import parse
from dcacodec.format.writer import pack
from dcacodec.images.picture import Picture
from dcacodec.network.config import PRESETS, REGIONAL_STRIDE, DCAConfig
from dcacodec.network.transforms import Analysis, Synthesis, analysis_halo, synthesis_halo, without
from dcacodec.tiling.boxes import Box
from dcacodec.tiling.grid import Grid, suitable_slice_log2, tiles_for
from dcacodec.tiling.seams import REACH, ROOM, smooth
from dcacodec.weights.reader import read_weights

Pixels = NDArray[np.uint8]


def grid_of(width: int, height: int, slice_log2: int = 8) -> Grid:
    return Grid(Header(bytes(4), width, height, "RGB", 50, slice_log2))


def marked(box: Box, canvas: Box) -> NDArray[np.bool_]:
    """The pixels of a canvas that a box covers."""
    plane = np.zeros((canvas.height, canvas.width), np.bool_)
    plane[box.common(canvas).within(canvas)] = True
    return plane


def picture(height: int, width: int, mode: str = "RGB", seed: int = 0) -> Picture:
    pixels = photo(height, width, seed)
    if mode == "L":
        pixels = np.repeat(pixels[:, :, :1], 3, -1)
    alpha = photo(height, width, seed + 1)[:, :, 1].copy() if mode == "RGBA" else None
    return Picture(pixels, mode == "L", alpha)


# ------------------------------------------------------------------------------------------------------------- geometry


sizes = st.integers(1, 900)
grids = st.builds(grid_of, sizes, sizes, st.sampled_from([0, 8, 9]))


def boxes_in(canvas: Box) -> st.SearchStrategy[Box]:
    def ordered(ends: list[int]) -> list[int]:
        return sorted(ends)

    across = st.lists(st.integers(0, canvas.width), min_size=2, max_size=2, unique=True).map(ordered)
    down = st.lists(st.integers(0, canvas.height), min_size=2, max_size=2, unique=True).map(ordered)
    return st.builds(lambda x, y: Box(x[0], y[0], x[1], y[1]), across, down)


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


# ----------------------------------------------------------------------------------------------------- receptive fields


DEEP = replace(TINY, latent=24, latent_linear=8, analysis_blocks=3, synthesis_blocks=4, latent_blocks=2)
WIDE = replace(TINY, analysis_blocks=2, synthesis_blocks=3)


def transforms(config: DCAConfig) -> tuple[Analysis, Synthesis]:
    model = drawn_model(config, seed=3)
    return model.analysis, model.synthesis


def ends(values: torch.Tensor) -> list[tuple[int, int]]:
    """Of the rows and of the columns of (H, W): the first and last that is not all zero."""
    found = [torch.nonzero(values.abs().sum(axis))[:, 0] for axis in (1, 0)]
    return [(int(places[0]), int(places[-1])) for places in found]


@pytest.mark.parametrize("config", [TINY, WIDE, DEEP], ids=["tiny", "wide", "deep"])
def test_analysis_reads_no_further_than_its_halo(config: DCAConfig) -> None:
    side, at = 384, 12
    image = torch.from_numpy(photo(side, side))[None].float().div(255).requires_grad_()
    y = transforms(config)[0](image, torch.tensor([1.0]))
    y[0, at, at].sum().backward()
    assert image.grad is not None
    halo = analysis_halo(config)
    assert halo % 16 == 0
    for first, last in ends(image.grad[0].sum(-1)):
        assert 16 * at - halo <= first < 16 * at - halo + 16
        assert 16 * at + 15 + halo - 16 < last <= 16 * at + 15 + halo


@pytest.mark.parametrize("config", [TINY, WIDE, DEEP], ids=["tiny", "wide", "deep"])
def test_synthesis_reads_no_further_than_its_halo(config: DCAConfig) -> None:
    side, at = 24, 12
    latent = torch.from_numpy(np.random.default_rng(0).normal(0, 3, (1, side, side, config.latent))).float()
    picture = transforms(config)[1](latent.requires_grad_(), torch.tensor([1.0]))
    picture[0, 16 * at : 16 * at + 16, 16 * at : 16 * at + 16].sum().backward()
    assert latent.grad is not None
    halo = synthesis_halo(config) // 16
    assert 16 * halo == synthesis_halo(config)
    for first, last in ends(latent.grad[0].sum(-1)):
        assert (first, last) == (at - halo, at + halo)


def test_halos_of_the_preset() -> None:
    assert (analysis_halo(PRESETS["small"]), synthesis_halo(PRESETS["small"])) == (48, 64)


@pytest.mark.parametrize("part", [576, 50])
@pytest.mark.parametrize("config", [WIDE, DEEP], ids=["wide", "deep"])
def test_transforms_without_margins_make_what_the_whole_has_there(
    config: DCAConfig, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ready for inference, so in place, in one part or in many."""
    monkeypatch.setattr("dcacodec.network.layers._PART", part)
    model = drawn_model(config, seed=3).prepared(torch.float32)
    analysis, synthesis = model.analysis, model.synthesis
    y, at = torch.randn(1, 9, 10, config.latent, generator=torch.Generator().manual_seed(0)), torch.tensor([1.0])
    image = torch.from_numpy(photo(16 * 9, 16 * 10))[None]
    with torch.inference_mode():
        pixels, latent = synthesis.pixels(y, at), analysis(image, at)
        for top, bottom, left, right in ((0, 1, 2, 5), (5, 3, 1, 0), (4, 4, 4, 4)):
            found = synthesis.pixels(y, at, margins=(top, bottom, left, right))
            expected = without(pixels, (16 * top, 16 * bottom, 16 * left, 16 * right))
            torch.testing.assert_close(found, expected, atol=1, rtol=0)
            found = analysis(image, at, (top, bottom, left, right))
            torch.testing.assert_close(found, without(latent, (top, bottom, left, right)), atol=1e-3, rtol=1e-3)


# ------------------------------------------------------------------------------------------------------ tiles and seams


def latents_of(codec: Codec, data: bytes) -> tuple[torch.Tensor, torch.Tensor]:
    """y_hat of the whole picture, put together from all slices, and which elements of it are coded."""
    container = parse(data)
    grid = Grid(container.header)
    canvas = grid.canvas.reduced(16)
    whole = torch.zeros(canvas.height, canvas.width, codec.weights.config.latent)
    coded = torch.zeros_like(whole, dtype=torch.bool)
    for index in range(len(container.slices)):
        symbols = codec.at(container.header.quality).read_slice(container, index)
        place = grid.area(index).reduced(16).within(canvas)
        whole[place], coded[place] = symbols.latent[0].float(), symbols.coded[0]
    return whole, coded


def whole_decoded(codec: Codec, data: bytes) -> Pixels:
    """What `decode` gives, without tiles: the synthesis of the whole picture at once."""
    header = parse(data).header
    grid = Grid(header)
    columns, rows = grid.seams(grid.canvas, 1)
    latent = smooth(*latents_of(codec, data), [at // 16 for at in columns], [at // 16 for at in rows])
    return codec.at(header.quality).point.pixels_of(latent[None].contiguous())[grid.picture.within(grid.canvas)]


@pytest.mark.parametrize(("width", "height"), [(300, 270), (513, 40), (40, 513), (260, 520)])
def test_y_of_slices_is_that_of_the_whole_picture(codec: Codec, width: int, height: int) -> None:
    source = photo(height, width, seed=4)
    whole = codec.at(60).point.latent_of(codec.at(50).point.tensor_of(source))[0]
    grid = grid_of(width, height)
    for index in range(grid.header.slice_count):
        y = codec.at(60).point.latent_of_box(source, grid, grid.area(index))[0]
        part = whole[grid.area(index).reduced(16).within(grid.canvas.reduced(16))]
        assert y.shape == part.shape
        assert (y - part).abs().max() < 1e-3 * whole.abs().max()


@settings(max_examples=8)
@given(st.integers(1, 560), st.integers(1, 560), st.integers(1, 100), st.sampled_from(["RGB", "L", "RGBA"]))
def test_tiles_make_the_picture_that_the_whole_makes(
    codec: Codec, width: int, height: int, quality: int, mode: str
) -> None:
    source = picture(height, width, mode)
    data = codec.encode(source, quality=quality, slice_log2=8, lossless=False)
    decoded, expected = codec.decode(data), whole_decoded(codec, data)
    if mode == "L":
        expected = expected.mean(-1, keepdims=True).round().astype(np.uint8).repeat(3, -1)
    difference = np.abs(decoded.pixels.astype(int) - expected)
    assert difference.max() <= 1 and difference.mean() < 0.001
    assert (decoded.gray, decoded.alpha is None) == (source.gray, source.alpha is None)
    if source.alpha is not None:
        np.testing.assert_array_equal(decoded.alpha, source.alpha)


def test_one_large_slice_decodes_as_without_slices(codec: Codec) -> None:
    """The same symbols under another slice size code make the same picture."""
    source = picture(200, 250)
    whole, sliced = (codec.encode(source, quality=70, slice_log2=log2, lossless=False) for log2 in (0, 8))
    assert parse(whole).slices == parse(sliced).slices
    np.testing.assert_array_equal(codec.decode(whole).pixels, codec.decode(sliced).pixels)


def test_smoothing_moves_border_elements_to_the_line_around_them() -> None:
    slope = torch.arange(12.0)[:, None, None].expand(12, 9, 3) * 0.25
    rounded = slope.clone()
    rounded[5] += 0.4
    rounded[6] -= 0.3
    coded = torch.ones(12, 9, 3, dtype=torch.bool)
    smoothed = smooth(rounded, coded, [], [6])
    torch.testing.assert_close(smoothed, slope, atol=1e-6, rtol=0)
    turned = smooth(rounded.transpose(0, 1), coded.transpose(0, 1), [6], [])
    torch.testing.assert_close(turned, slope.transpose(0, 1), atol=1e-6, rtol=0)


def test_smoothing_moves_elements_as_far_as_they_can_be_wrong() -> None:
    """Half a step where they are coded, two where they are skipped; half of it at one and a half times the distance."""
    flat = torch.zeros(12, 2, 5)
    flat[5] = torch.tensor([0.5, 0.75, 1.0, 2.0, 4.0])
    coded = torch.ones(12, 2, 5, dtype=torch.bool)
    assert smooth(flat, coded, [], [6])[5, 0].tolist() == [0.0, 0.5, 1.0, 2.0, 4.0]
    coded[5] = False
    assert smooth(flat, coded, [], [6])[5, 0].tolist() == [0.0, 0.0, 0.0, 0.0, 4.0]
    flat[5] = 3.0
    assert smooth(flat, coded, [], [6])[5, 0].tolist() == [2.0] * 5


def test_smoothing_leaves_details_and_all_else_alone() -> None:
    detail = torch.zeros(12, 9, 3)
    detail[5, 4] = 1.0  # more than rounding explains
    coded = torch.ones(12, 9, 3, dtype=torch.bool)
    assert torch.equal(smooth(detail, coded, [], [6]), detail)
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 20, (12, 9, 3))).float()
    smoothed = smooth(noise, coded, [], [6])
    assert torch.equal(smoothed[[0, 1, 2, 3, 4, 7, 8, 9, 10, 11]], noise[[0, 1, 2, 3, 4, 7, 8, 9, 10, 11]])
    assert (smoothed - noise).abs().max() < 0.5 and (smoothed - noise).abs().mean() < 0.01


def test_reach_of_smoothing() -> None:
    latent = torch.from_numpy(np.random.default_rng(0).normal(0, 0.2, (30, 30, 1))).float()
    coded = torch.rand(30, 30, 1, generator=torch.Generator().manual_seed(0)) < 0.5
    before = smooth(latent, coded, [15], [15])
    for row, column in ((14, 14), (15, 15), (14, 20)):
        outside = torch.ones(30, 30, dtype=torch.bool)
        outside[row - REACH : row + REACH + 1, column - REACH : column + REACH + 1] = False
        after = smooth(torch.where(outside[..., None], latent + 1, latent), coded ^ outside[..., None], [15], [15])
        assert torch.equal(after[row, column], before[row, column])
    assert ROOM <= REACH


# ---------------------------------------------------------------------------------------------------- regions, previews


@pytest.fixture(scope="module")
def sliced(codec: Codec) -> bytes:
    """Nine slices, those of the last column and row cut off."""
    return codec.encode(picture(540, 600, "RGBA", seed=2), quality=60, slice_log2=8, lossless=False)


@pytest.fixture(scope="module")
def whole(codec: Codec, sliced: bytes) -> Picture:
    return codec.decode(sliced)


@settings(max_examples=12)
@given(st.data())
def test_a_region_is_that_part_of_the_whole(codec: Codec, sliced: bytes, whole: Picture, data: st.DataObject) -> None:
    box = data.draw(boxes_in(Box(0, 0, 600, 540)))
    part = codec.decode(sliced, region=(box.left, box.top, box.width, box.height))
    assert whole.alpha is not None
    np.testing.assert_array_equal(part.pixels, whole.pixels[box.top : box.bottom, box.left : box.right])
    np.testing.assert_array_equal(part.alpha, whole.alpha[box.top : box.bottom, box.left : box.right])


def test_a_region_of_a_single_slice_and_of_gray(codec: Codec) -> None:
    for slice_log2 in (0, 8):
        data = codec.encode(picture(300, 330, "L"), quality=40, slice_log2=slice_log2, lossless=False)
        part, whole = codec.decode(data, region=(200, 130, 77, 150)), codec.decode(data)
        assert part.gray
        np.testing.assert_array_equal(part.pixels, whole.pixels[130:280, 200:277])


def with_damaged_slice(data: bytes, index: int) -> bytes:
    """A file that is valid except for the content of a slice."""
    container = parse(data)
    slices = list(container.slices)
    slices[index] = replace(slices[index], latent_crc=slices[index].latent_crc ^ 1)
    return pack(replace(container, slices=tuple(slices)))


@pytest.mark.parametrize(
    ("region", "count"),
    [
        ((100, 100, 50, 50), 1),  # further than halo and reach of the smoothing, 32 + 64 pixels, from every border
        ((96, 96, 64, 64), 1),
        ((96, 96, 65, 64), 2),
        ((95, 100, 1, 1), 1),
        ((95, 160, 1, 1), 2),
        ((300, 300, 1, 1), 4),
        ((0, 0, 256, 1), 2),
        ((599, 539, 1, 1), 4),
        ((0, 0, 600, 540), 9),
    ],
)
def test_a_region_takes_no_more_slices_than_it_needs(
    codec: Codec, sliced: bytes, region: tuple[int, int, int, int], count: int
) -> None:
    """Damage to the others is not seen."""

    def fails(index: int) -> bool:
        try:
            codec.decode(with_damaged_slice(sliced, index), region=region)
        except SymbolMismatchError:
            return True
        return False

    assert sum(map(fails, range(9))) == count


@pytest.mark.parametrize("index", range(9))
def test_a_slice_that_is_not_touched_does_not_matter(codec: Codec, sliced: bytes, whole: Picture, index: int) -> None:
    damaged = with_damaged_slice(sliced, index)
    with pytest.raises(SymbolMismatchError):
        codec.decode(damaged)
    row, column = divmod(index, 3)
    for left, top in ((10, 10), (560, 10), (10, 500), (560, 500)):
        near = abs(left - 256 * column - 128) < 256 and abs(top - 256 * row - 128) < 256
        if not near:
            part = codec.decode(damaged, region=(left, top, 20, 20))
            np.testing.assert_array_equal(part.pixels, whole.pixels[top : top + 20, left : left + 20])


@pytest.mark.parametrize(
    "region", [(0, 0, 0, 5), (0, 0, 5, 0), (-1, 0, 5, 5), (0, 536, 5, 5), (596, 0, 5, 5), (0, 0, 601, 540)]
)
def test_a_region_outside_of_the_picture(codec: Codec, sliced: bytes, region: tuple[int, int, int, int]) -> None:
    with pytest.raises(BadRegionError) as error:
        codec.decode(sliced, region=region)
    numbers = ",".join(map(str, region))
    assert numbers in one_line(error)


@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_previews_are_the_mean_of_their_pixels(codec: Codec, scale: int, mode: str) -> None:
    width, height = 301, 279
    source = picture(height, width, mode)
    source = replace(source, pixels=source.pixels // 2 + 64)  # so that nothing of it is clipped
    data = codec.encode(source, quality=90, slice_log2=8, lossless=False)
    small, large = codec.decode(data, scale=scale), codec.decode(data)
    assert (small.width, small.height) == (-(-width // scale), -(-height // scale))
    assert small.gray == source.gray
    assert large.pixels.min() > 0 and large.pixels.max() < 255
    down, across = height // scale, width // scale
    cells = large.pixels[: down * scale, : across * scale].reshape(down, scale, across, scale, 3)
    difference = np.abs(small.pixels[:down, :across] - cells.mean((1, 3)))
    # Each is rounded once, and gray twice: the samples of three channels, and their mean.
    assert difference.max() <= (2.0 if source.gray else 1.0) and difference.mean() < 0.35
    if source.alpha is None:
        assert small.alpha is None
    else:
        np.testing.assert_array_equal(small.alpha, np.asarray(Image.fromarray(source.alpha).reduce(scale)))


@pytest.fixture(scope="module")
def previews(codec: Codec, sliced: bytes) -> dict[int, Picture]:
    return {scale: codec.decode(sliced, scale=scale) for scale in (2, 4, 8)}


@settings(max_examples=8)
@given(st.data(), st.sampled_from([2, 4, 8]))
def test_a_region_of_a_preview_is_that_part_of_the_preview(
    codec: Codec, sliced: bytes, previews: dict[int, Picture], data: st.DataObject, scale: int
) -> None:
    box = data.draw(boxes_in(Box(0, 0, 600, 540)))
    part = codec.decode(sliced, region=(box.left, box.top, box.width, box.height), scale=scale)
    whole, cells = previews[scale], box.reduced(scale)
    rows, columns = slice(cells.top, cells.bottom), slice(cells.left, cells.right)
    assert whole.alpha is not None
    np.testing.assert_array_equal(part.pixels, whole.pixels[rows, columns])
    np.testing.assert_array_equal(part.alpha, whole.alpha[rows, columns])


def test_a_scale_that_there_is_not(codec: Codec, sliced: bytes) -> None:
    for scale in (0, 3, 16):
        with pytest.raises(ValueError) as error:
            codec.decode(sliced, scale=scale)
        assert str(scale) in one_line(error)


# -------------------------------------------------------------------------------------------------- several at a time


@pytest.fixture
def set_threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.slow
def test_the_number_of_threads_changes_nothing(codec: Codec, set_threads: Callable[[int], None]) -> None:
    source = picture(300, 530, "RGBA", seed=6)
    results = []
    for threads in (1, 2, 5):
        set_threads(threads)
        data = codec.encode(source, quality=70, slice_log2=8, lossless=False)
        results.append((data, codec.decode(data).pixels.tobytes()))
        assert torch.get_num_threads() == threads
    assert results[0] == results[1] == results[2]


@pytest.mark.slow
def test_two_codecs_at_once(codec: Codec, set_threads: Callable[[int], None]) -> None:
    """Each has its own workers for slices: the bytes are those of one codec, and the number of threads is restored."""
    set_threads(2)
    sources = [picture(300, 520, seed=seed) for seed in range(2)]
    codecs = [codec, Codec(codec.weights, coder=codec.coder)]
    alone = [own.encode(source, quality=60, slice_log2=8) for own, source in zip(codecs, sources, strict=True)]
    start = threading.Barrier(2)

    def work(index: int) -> tuple[list[bytes], int]:
        start.wait(timeout=30)
        files = [codecs[index].encode(sources[index], quality=60, slice_log2=8) for _ in range(3)]
        return files, torch.get_num_threads()

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(work, range(2)))
    assert [set(files) for files, _ in found] == [{data} for data in alone]
    assert [count for _, count in found] == [2, 2] and torch.get_num_threads() == 2


def test_workers_that_start_at_once_leave_the_count_of_threads_alone() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    counts: list[int] = []

    def start() -> None:
        with workers(2) as in_order:
            counts.append(sum(in_order(lambda task: task, range(3))))

    for _ in range(20):
        crowd = [threading.Thread(target=start) for _ in range(3)]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join()
    fresh = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
    fresh.start()
    fresh.join()
    assert (counts, torch.get_num_threads()) == ([3] * 61, 3)
    torch.set_num_threads(before)


def test_workers_run_at_the_same_time_and_give_back_in_order() -> None:
    together = threading.Barrier(3)

    def work(task: int) -> tuple[int, int]:
        together.wait(timeout=30)  # passes only where three are at work
        return task, torch.get_num_threads()

    with workers(3) as in_order:
        assert list(in_order(work, range(6))) == [(task, 1) for task in range(6)]
    names = [thread.name for thread in threading.enumerate()]
    assert not any(name.startswith("dcacodec") for name in names)


def test_workers_do_not_run_far_ahead() -> None:
    taken: list[int] = []

    def tasks() -> Iterator[int]:
        for task in range(100):
            taken.append(task)
            yield task

    with workers(2) as in_order:
        for expected, result in enumerate(in_order(int, tasks())):
            assert result == expected
            assert taken[-1] <= expected + 3


def test_tasks_may_wait_for_results_of_the_same_workers() -> None:
    with workers(1) as in_order:
        assert list(in_order(str, in_order(abs, range(-5, 0)))) == ["5", "4", "3", "2", "1"]


def test_an_error_of_a_worker_is_passed_on_and_ends_the_rest() -> None:
    done: list[int] = []

    def work(task: int) -> int:
        if task == 1:
            raise SymbolMismatchError("one")
        done.append(task)
        return task

    with pytest.raises(SymbolMismatchError), workers(1) as in_order:
        list(in_order(work, range(1000)))
    assert done in ([0], [0, 2])


def test_new_threads_of_the_caller_keep_their_number(set_threads: Callable[[int], None]) -> None:
    set_threads(3)
    found: list[int] = []
    with workers(2):
        thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        thread.start()
        thread.join()
    assert found == [3]


@pytest.mark.parametrize(("slice_log2", "slices"), [(0, 1), (8, 6)])
def test_progress(codec: Codec, slice_log2: int, slices: int) -> None:
    steps: list[tuple[int, int]] = []
    data = codec.encode(picture(300, 530), quality=30, progress=lambda *each: steps.append(each), slice_log2=slice_log2)
    assert steps == [(done, slices) for done in range(slices + 1)]
    steps.clear()
    codec.decode(data, progress=lambda *each: steps.append(each))
    assert steps == [(done, slices) for done in range(slices + 1)]
    steps.clear()
    codec.decode(data, region=(0, 0, 20, 20), progress=lambda *each: steps.append(each))
    assert steps == [(0, 1), (1, 1)]


# ---------------------------------------------------------------------------------------- what is skipped, and what not


def photograph(height: int, width: int) -> Pixels:
    return np.asarray(Image.fromarray(photographs.astronaut()).resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.slow
def test_what_the_network_is_wrongly_sure_of_is_coded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a network that was drawn and never trained, which is sure of much and wrong about it."""
    drawn = Codec(read_weights(WEIGHTS), coder=PythonCoder())
    source, quality = photograph(300, 270), 50
    grid = Grid(Header(drawn.weights.fingerprint, 270, 300, "RGB", quality, 8))
    latents = [drawn.at(quality).point.latent_of_box(source, grid, grid.area(index)) for index in range(4)]

    def encoded(limit: float, trade_off: float) -> Container:
        monkeypatch.setattr("dcacodec.codec.encoder.SKIPPED", limit)
        monkeypatch.setattr(DCAConfig, "trade_off", lambda self, quality: trade_off)
        data = drawn.encode(Picture(source), quality=quality, slice_log2=8, lossless=False)
        assert pack(parse(data)) == data
        return parse(data)

    def worst(container: Container, index: int) -> float:
        return float(
            (drawn.at(container.header.quality).read_slice(container, index).latent - latents[index]).abs().max()
        )

    # Errors that cost nothing, and a limit below all: never and always.
    never, best = encoded(float("inf"), 1e9), encoded(-1.0, 1e9)
    assert encoded(-1.0, 0.0) == never and never.chunk("FULL") is None
    misses = [worst(never, index) for index in range(4)]
    assert min(misses) > 2
    full = [index for index in range(4) if best.is_full(index)]
    assert full
    for index in full:
        symbols = drawn.at(best.header.quality).read_slice(best, index)
        assert sum(map(len, symbols.steps)) == symbols.latent.numel() == latents[index].numel()
        assert worst(best, index) <= 0.5
    for index in range(4):
        assert best.slices[index] == never.slices[index] or best.is_full(index)

    # The choice is the smaller of bits + trade-off * error, by hand.
    grid_pixels = [source[grid.area(i).common(grid.picture).within(grid.picture)] for i in range(4)]
    monkeypatch.undo()
    all_full = [
        drawn.at(quality).quantise(latents[i], drawn.at(quality).point.hyper_of(latents[i]), full=True)[0]
        for i in range(4)
    ]
    for trade_off in (0.001, 0.02, 0.4):
        costs = []
        for i in range(4):
            sound = drawn.at(never.header.quality).read_slice(never, i)
            pair = []
            for symbols in (sound, all_full[i]):
                shown = drawn.at(quality).point.pixels_of(symbols.latent)[
                    : grid_pixels[i].shape[0], : grid_pixels[i].shape[1]
                ]
                error = np.square(shown.astype(np.int64) - grid_pixels[i]).sum() / 3
                pair.append(8 * sum(map(len, drawn.at(quality).streams_of(symbols))) + trade_off * error)
            costs.append(pair)
        chosen = encoded(-1.0, trade_off)
        assert [chosen.is_full(i) for i in range(4)] == [cost[1] < cost[0] for cost in costs]
