"""Lossless slices among others: decoded exactly, in regions and at scales, and without harm to their neighbours."""

import numpy as np
import pytest
from drawings import mixed, psnr
from hypothesis import given, settings
from hypothesis import strategies as st

from dcacodec.codec.codec import Codec
from dcacodec.format.container import describe
from dcacodec.format.reader import parse
from dcacodec.format.writer import pack


def test_lossless_slices_are_exact_and_harm_no_neighbour(codec: Codec) -> None:
    source = mixed()
    data = codec.encode(source, quality=60, slice_log2=8)
    container = parse(data)
    assert pack(container) == data
    exact = [index for index in range(6) if container.is_lossless(index)]
    assert exact == [0, 3]
    assert not describe(container, len(data))["lossless"]
    whole = codec.decode(data).pixels
    assert np.array_equal(whole[:, :256], source.pixels[:, :256])
    # The photograph is what it is without lossless slices, except for what is near to them.
    network = codec.decode(codec.encode(source, quality=60, slice_log2=8, lossless=False)).pixels
    assert np.array_equal(whole[:, 400:], network[:, 400:])
    border = slice(256, 320)
    assert psnr(whole[:, border], source.pixels[:, border]) > psnr(network[:, border], source.pixels[:, border]) - 0.2


@pytest.fixture(scope="module")
def files(codec: Codec) -> list[bytes]:
    """A file with lossless slices among others, and one that is lossless as a whole."""
    return [codec.encode(mixed(), quality=60, slice_log2=8, lossless=lossless) for lossless in (None, True)]


@pytest.mark.slow
@settings(max_examples=12)
@given(st.data())
def test_regions_and_scales_of_lossless_slices(codec: Codec, files: list[bytes], data: st.DataObject) -> None:
    source = mixed()
    encoded = data.draw(st.sampled_from(files))
    whole = codec.decode(encoded).pixels
    left, top = data.draw(st.integers(0, 529)), data.draw(st.integers(0, 299))
    width, height = data.draw(st.integers(1, 530 - left)), data.draw(st.integers(1, 300 - top))
    part = codec.decode(encoded, region=(left, top, width, height)).pixels
    assert np.array_equal(part, whole[top : top + height, left : left + width])
    scale = data.draw(st.sampled_from([2, 4, 8]))
    small = codec.decode(encoded, scale=scale).pixels
    assert small.shape == (-(-300 // scale), -(-530 // scale), 3)
    means = source.pixels[: 300 // scale * scale, :256].reshape(300 // scale, scale, 256 // scale, scale, 3)
    assert np.abs(small[: 300 // scale, : 256 // scale] - means.mean((1, 3))).max() <= 0.51
    reduced = codec.decode(encoded, region=(left, top, width, height), scale=scale).pixels
    box = (slice(top // scale, -(-(top + height) // scale)), slice(left // scale, -(-(left + width) // scale)))
    assert np.array_equal(reduced, small[box])
