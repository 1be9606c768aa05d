"""Pictures to bytes and back, with the kept tiny model: of any size and mode, with all that belongs to them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tiny import photo, picture, symbols_of

from dcacodec.codec.codec import Codec
from dcacodec.format.reader import parse
from dcacodec.images.picture import Picture


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    error = np.square(one.astype(np.float64) - other).mean()
    return 10 * math.log10(255**2 / error) if error else math.inf


def assert_round_trip(codec: Codec, source: Picture, quality: int) -> Picture:
    """What is decoded is, to the last bit, what the encoder's symbols stand for. Returns it."""
    data = codec.encode(source, quality=quality, lossless=False, keep_hidden=True)
    container = parse(data)
    header = container.header
    expected = (source.width, source.height, "L" if source.gray else "RGB", quality)
    assert (header.width, header.height, header.mode, header.quality) == expected
    symbols = symbols_of(codec, source.pixels, quality)
    found = codec.at(container.header.quality).read_slice(container, 0)
    assert torch.equal(found.latent, symbols.latent)
    decoded = codec.decode(data)
    pixels = codec.at(quality).point.pixels_of(symbols.latent)[: source.height, : source.width]
    if source.gray:
        pixels = np.repeat((pixels.astype(int).sum(-1, keepdims=True) * 2 + 3) // 6, 3, -1).astype(np.uint8)
    np.testing.assert_array_equal(decoded.pixels, pixels)
    assert (decoded.gray, decoded.icc, decoded.exif) == (source.gray, source.icc, source.exif)
    if source.alpha is None:
        assert decoded.alpha is None
    else:
        np.testing.assert_array_equal(decoded.alpha, source.alpha)
    return decoded


@settings(max_examples=25)
@given(
    st.integers(1, 150),
    st.integers(1, 150),
    st.integers(1, 100),
    st.sampled_from(["RGB", "L", "RGBA"]),
    st.integers(0, 5),
)
def test_round_trip_of_any_size(codec: Codec, height: int, width: int, quality: int, mode: str, seed: int) -> None:
    assert_round_trip(codec, picture(height, width, seed, mode), quality)


@pytest.mark.parametrize("size", [(1, 1), (1, 150), (150, 1), (63, 65), (64, 64), (65, 64), (128, 129)])
def test_round_trip_at_the_borders_of_the_padding(codec: Codec, size: tuple[int, int]) -> None:
    assert_round_trip(codec, picture(*size, seed=7), 75)


@pytest.mark.parametrize("value", [0, 255])
def test_round_trip_of_flat_pictures(codec: Codec, value: int) -> None:
    source = Picture(np.full((40, 50, 3), value, np.uint8), False, None, None, None)
    assert_round_trip(codec, source, 100)


def test_round_trip_of_noise(codec: Codec) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    assert_round_trip(codec, Picture(noise, False, None, None, None), 100)


def test_metadata_travel_along(codec: Codec) -> None:
    source = replace(picture(20, 30, mode="RGBA"), icc=b"a profile", exif=b"II*\0 and so on", xmp=b"<x/>")
    decoded = codec.decode(codec.encode(source, quality=30))
    assert (decoded.icc, decoded.exif, decoded.xmp) == (source.icc, source.exif, source.xmp)
    assert codec.encode(source.stripped(), quality=30) == codec.encode(picture(20, 30, mode="RGBA"), quality=30)


def test_decoded_picture_is_the_picture(codec: Codec) -> None:
    """The tiny model is a poor codec, but it is one: its error is that of its few coefficients, and it aims at its own
    picture, not at another's.
    """
    for seed in range(3):
        source = picture(130, 150, seed)
        decoded = codec.decode(codec.encode(source, quality=90, lossless=False)).pixels
        assert psnr(decoded, source.pixels) > 20
        assert psnr(decoded, photo(130, 150, seed + 1)) < 15


def test_decoded_picture_fills_its_canvas(codec: Codec) -> None:
    """The padding of the last cells is cut off on the right side, not on the left."""
    source = picture(70, 130, seed=2)
    decoded = codec.decode(codec.encode(source, quality=90, lossless=False)).pixels
    shifted = codec.at(90).point.pixels_of(symbols_of(codec, source.pixels, 90).latent)[-70:, -130:]
    assert decoded.shape == source.pixels.shape
    assert psnr(decoded, source.pixels) > psnr(shifted, source.pixels) + 3
