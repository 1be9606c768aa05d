"""Where the encoder chooses lossless slices: no file is larger than the lossless one, and no slice is poor."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from drawings import dithered, gray, psnr, synthetic, text
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage import data as photographs
from tiny import photo

from dcacodec.codec.codec import Codec
from dcacodec.codec.lossless_choice import lossless_estimate
from dcacodec.codec.mixed import is_mixed
from dcacodec.format.reader import parse
from dcacodec.format.vp8l import MAX_BLOCK_SIDE
from dcacodec.images.hidden import clear_hidden
from dcacodec.images.picture import Picture
from dcacodec.ratecontrol import MaxBytes, MinPsnr, encode_to
from dcacodec.tiling.grid import Grid

Pixels = NDArray[np.uint8]


def check_promises(codec: Codec, source: Picture, quality: float, slice_log2: int | None = None) -> None:
    data = codec.encode(source, quality=quality, slice_log2=slice_log2)
    assert len(data) <= len(codec.encode(clear_hidden(source), lossless=True, slice_log2=slice_log2))
    exact = codec.encode(source, lossless=True, slice_log2=slice_log2)
    assert np.array_equal(codec.decode(exact).pixels, source.pixels)
    if quality >= 50:
        found = codec.decode(data).pixels
        if source.alpha is not None:
            found = np.where(source.alpha[..., np.newaxis] > 0, found, source.pixels)
        grid = Grid(parse(data).header)
        for place in map(grid.shown, range(grid.header.slice_count)):
            assert psnr(found[place], source.pixels[place]) >= 20


@settings(max_examples=40)
@given(synthetic(), st.integers(1, 100))
def test_no_file_is_larger_than_the_lossless_one_or_poor(codec: Codec, source: Picture, quality: int) -> None:
    check_promises(codec, source, quality)


LARGER: dict[str, Callable[[], Pixels]] = {
    "a line": lambda: gray(np.arange(776)[np.newaxis] * 255 // 776),
    "a pattern along few rows": lambda: gray(np.arange(1000) ^ np.arange(20)[:, np.newaxis]),
    "a smooth pattern": lambda: gray(np.arange(300) ^ np.arange(200)[:, np.newaxis]),
    "a pattern of one colour": lambda: (
        gray(np.arange(300) ^ np.arange(200)[:, np.newaxis]) * np.array([1, 0, 0], np.uint8)
    ),
    "repeated rows": lambda: np.tile(np.random.default_rng(3).integers(0, 256, (60, 150, 3), np.uint8), (4, 1, 1)),
    "coloured squares": lambda: np.kron(
        np.random.default_rng(4).integers(0, 256, (36, 110, 3), np.uint8), np.ones((4, 4, 1), np.uint8)
    ),
    "noise above text": lambda: np.concatenate(
        (np.random.default_rng(5).integers(0, 256, (8, 286, 3), np.uint8), text(127, 286, "#0000ff", "#ff0000"))
    ),
}
"""Pictures of which a fast encoder of WebP, or some of the rows, says little."""


@pytest.mark.parametrize("kind", LARGER)
@pytest.mark.parametrize("quality", [5, 100])
def test_the_promises_of_larger_pictures(codec: Codec, kind: str, quality: int) -> None:
    check_promises(codec, Picture(LARGER[kind]()), quality)


def test_the_promises_of_rows_that_are_repeated_in_several_slices(codec: Codec) -> None:
    noise = np.random.default_rng(6).normal(128, 20, (100, 256, 3)).clip(0, 255).astype(np.uint8)
    check_promises(codec, Picture(np.tile(noise, (6, 1, 1))), 50, 8)


def test_the_promises_of_columns_that_are_repeated_in_several_slices(codec: Codec) -> None:
    columns = np.random.default_rng(9).integers(0, 256, (100, 100, 3), np.uint8)
    check_promises(codec, Picture(np.tile(columns, (1, 6, 1))), 50, 8)


def test_the_promises_of_repeated_rows_longer_than_those_of_a_block(codec: Codec) -> None:
    rows = np.random.default_rng(7).integers(0, 256, (4, MAX_BLOCK_SIDE + 100, 3), np.uint8)
    check_promises(codec, Picture(np.tile(rows, (9, 1, 1))), 50)


def test_rows_count_as_repeated_where_the_encoder_of_webp_finds_them() -> None:
    """A lossless form is not tried for what is expected to be too large: it takes as long as all else."""
    rows = np.random.default_rng(8).integers(0, 256, (1100, 1000, 3), np.uint8)
    near, far = np.concatenate((rows[:1000], rows[:50])), np.concatenate((rows, rows[:50]))
    for pixels, different in ((near, 1000), (far, 1150)):
        assert lossless_estimate(pixels, 24) == pytest.approx(
            lossless_estimate(rows[:1000], 24) * different / len(pixels), rel=0.02
        )


def test_the_promises_of_pictures_with_alpha(codec: Codec) -> None:
    """Where hidden pixels are like the others, black ones in their place take more. They are black all the same."""
    rows = gray(np.arange(60)[:, np.newaxis] // 2 % 2 * 255 + np.zeros((1, 200)))
    for slice_log2 in (None, 8):
        check_promises(codec, Picture(rows, alpha=255 - text(60, 200)[..., 0]), 60, slice_log2)


@pytest.mark.parametrize("quality", [50, 100])
def test_no_slice_of_several_is_poor(codec: Codec, quality: int) -> None:
    y, x = np.mgrid[:300, :300]
    pixels = photo(300, 300)
    pixels[:, 256:] = gray((x + y) % 2 * 255)[:, 256:]
    pixels[256:, :256] = dithered(44, 256)
    data = codec.encode(Picture(pixels), quality=quality, slice_log2=8)
    found = codec.decode(data).pixels
    for rows in (slice(256), slice(256, None)):
        for columns in (slice(256), slice(256, None)):
            assert psnr(found[rows, columns], pixels[rows, columns]) >= 20
    assert all(parse(data).is_lossless(index) for index in (1, 2, 3))


def test_pages_with_text_and_photographs_have_small_slices(codec: Codec) -> None:
    page = text(512, 512).copy()
    assert not is_mixed(page)
    portrait = photographs.astronaut()
    assert not is_mixed(portrait)
    page[:256, :256] = portrait[256:, :256]
    assert is_mixed(page) and not is_mixed(page[128:384, 128:384])
    screen = np.full((800, 1280, 3), 250, np.uint8)
    screen[100:700, 100:700] = text(600, 600)
    assert not is_mixed(screen)
    screen[200:467, 800:1200] = portrait[:267, :400]
    assert is_mixed(screen)
    data = codec.encode(Picture(page), quality=10)
    container = parse(data)
    assert (container.header.slice_log2, container.header.slice_count) == (8, 4)
    assert [container.is_lossless(index) for index in range(4)] == [False, True, True, True]
    assert np.array_equal(codec.decode(data).pixels[256:], page[256:])
    assert parse(codec.encode(Picture(page), lossless=False, quality=10)).header.slice_log2 == 0


def test_photographs_are_left_to_the_network(published: None) -> None:
    """With the published weights, whatever they are: a photograph takes a small part of its lossless size."""
    source = Picture(np.ascontiguousarray(photographs.astronaut()[64:320, 64:320]))
    codec = Codec.load("small", device="cpu")
    for quality in (10, 50, 100):
        container = parse(codec.encode(source, quality=quality))
        assert container.lossless_count == 0
    stripes = Picture(gray(np.arange(128 * 128).reshape(128, 128) // 128 % 2 * 255))
    assert parse(codec.encode(stripes, quality=50)).lossless_count == 1


def test_targets_find_lossless_slices(codec: Codec) -> None:
    source = Picture(text(100, 140))
    exact = codec.encode(source, lossless=True)
    found = encode_to(codec, source, MaxBytes(len(exact)))
    assert found.target_met and np.array_equal(codec.decode(found.data).pixels, source.pixels)
    assert encode_to(codec, source, MinPsnr(90)).reached == math.inf
