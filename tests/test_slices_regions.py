"""Regions and previews of pictures in slices, and which slices these take."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sliced_pictures import boxes_in, picture
from told import one_line

from dcacodec.codec.codec import Codec
from dcacodec.errors import BadRegionError, SymbolMismatchError
from dcacodec.format.reader import parse
from dcacodec.format.writer import pack
from dcacodec.images.picture import Picture
from dcacodec.tiling.boxes import Box


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
