"""Slices without seams: tiles make what the whole makes, and where slices meet, the latent is smoothed."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sliced_pictures import grid_of, picture
from tiny import photo

from dcacodec.codec.codec import Codec
from dcacodec.format.reader import parse
from dcacodec.tiling.grid import Grid
from dcacodec.tiling.seams import REACH, ROOM, smooth

Pixels = NDArray[np.uint8]


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
