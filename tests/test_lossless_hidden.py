"""Hidden pixels, those that alpha makes invisible: not coded, except on request."""

from dataclasses import replace

import numpy as np
import pytest
from drawings import psnr, sticker, synthetic
from hypothesis import given, settings
from hypothesis import strategies as st

from dcacodec.codec.codec import Codec
from dcacodec.images.hidden import clear_hidden, fill_hidden
from dcacodec.images.picture import Picture
from dcacodec.ratecontrol import MinPsnr, encode_to


@pytest.mark.parametrize("quality", [20, 90])
def test_hidden_pixels_take_no_bytes(codec: Codec, quality: int) -> None:
    source = sticker()
    assert source.alpha is not None
    black = clear_hidden(source)
    sizes = [len(codec.encode(each, quality=quality)) for each in (source, sticker(1), black)]
    assert sizes[0] == sizes[1] <= len(codec.encode(black, quality=quality, keep_hidden=True))
    visible = source.alpha > 0
    found = codec.decode(codec.encode(source, quality=quality))
    assert np.array_equal(found.alpha, source.alpha)  # type: ignore[arg-type]
    assert psnr(found.pixels[visible], source.pixels[visible]) > 20


@settings(max_examples=25)
@given(synthetic(), st.sampled_from([20, 50, 95]), st.integers(0, 2**32 - 1))
def test_nothing_hidden_is_in_a_file(codec: Codec, source: Picture, quality: int, seed: int) -> None:
    """Who covers a part of a picture by alpha does not publish it."""
    random = np.random.default_rng(seed)
    shape = source.pixels.shape
    alpha = random.choice(np.array([0, 128, 255], np.uint8), shape[:2], p=[0.4, 0.1, 0.5])
    others = random.integers(0, 256, (*shape[:2], 1), np.uint8).repeat(3, -1)
    pixels = np.where(alpha[..., np.newaxis] > 0, source.pixels, others)
    first, second = (replace(source, pixels=each, alpha=alpha) for each in (source.pixels, pixels))
    assert codec.encode(first, quality=quality) == codec.encode(second, quality=quality)


def test_filling_changes_nothing_that_is_visible() -> None:
    source = sticker()
    assert source.alpha is not None
    for change in (fill_hidden, clear_hidden):
        made = change(source)
        assert np.array_equal(made.pixels[source.alpha > 0], source.pixels[source.alpha > 0])
        assert np.array_equal(change(sticker(1)).pixels, made.pixels)
    smooth = fill_hidden(source).pixels.astype(int)
    assert np.abs(np.diff(smooth[:10], axis=1)).max() < 40
    nothing = Picture(source.pixels, alpha=np.zeros((150, 150), np.uint8))
    assert np.ptp(fill_hidden(nothing).pixels.reshape(-1, 3), axis=0).max() == 0
    opaque = Picture(source.pixels)
    assert fill_hidden(opaque) is opaque is clear_hidden(opaque)


def test_hidden_pixels_are_kept_on_request(codec: Codec) -> None:
    source = sticker()
    exact = codec.decode(codec.encode(source, lossless=True))
    assert np.array_equal(exact.pixels, source.pixels) and np.array_equal(exact.alpha, source.alpha)  # type: ignore[arg-type]
    kept = codec.decode(codec.encode(source, quality=95, keep_hidden=True)).pixels
    changed = codec.decode(codec.encode(source, quality=95)).pixels
    assert psnr(kept, source.pixels) > 20 > psnr(changed, source.pixels)


def test_targets_do_not_count_hidden_pixels(codec: Codec) -> None:
    source = sticker()
    result = encode_to(codec, source, MinPsnr(24))
    found = codec.decode(result.data).pixels
    assert source.alpha is not None and result.target_met and result.reached is not None
    visible = source.alpha != 0
    assert psnr(source.pixels[visible][None], found[visible][None]) == pytest.approx(result.reached)
