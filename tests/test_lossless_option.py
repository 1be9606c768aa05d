"""`lossless=True`: exact to the sample, and as small as WebP."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from drawings import gray, mixed, sticker, text
from PIL import Image
from skimage import data as photographs
from told import one_line

import dcacodec
from dcacodec.codec.codec import Codec
from dcacodec.errors import BadSliceSizeError
from dcacodec.format.container import Container, describe, lossless_slices_chunk
from dcacodec.format.reader import parse
from dcacodec.format.writer import pack
from dcacodec.images.picture import Picture
from dcacodec.images.webp_lossless import encode_block


def webp(image: Image.Image) -> int:
    """Bytes of Pillow's lossless WebP file."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=True, exact=True)
    return len(buffer.getvalue())


@pytest.mark.parametrize(
    ("mode", "opaque"), [("L", True), ("LA", False), ("LA", True), ("RGB", True), ("RGBA", False), ("RGBA", True)]
)
def test_lossless_is_exact_and_as_small_as_webp(codec: Codec, mode: str, opaque: bool) -> None:
    image = Image.fromarray(photographs.astronaut()[100:250, 150:330]).convert(mode)
    if mode.endswith("A"):
        plane = np.full((150, 180), 255 if opaque else 0, np.uint8)
        if not opaque:
            plane[20:120, 30:140] = 255
            plane[20:120, 30] = 77
        image.putalpha(Image.fromarray(plane))
    data = dcacodec.encode(image, lossless=True, codec=codec)
    found = dcacodec.decode(data, codec=codec)
    if opaque and mode.endswith("A"):  # the plane is kept, and takes no more than an empty chunk
        assert len(data) <= len(dcacodec.encode(image.convert(mode.removesuffix("A")), lossless=True, codec=codec)) + 16
    assert found.mode == image.mode and found.tobytes() == image.tobytes()
    assert len(data) <= 1.02 * webp(image) + 16
    part = dcacodec.decode(data, region=(7, 9, 40, 30), codec=codec)
    assert part.tobytes() == image.crop((7, 9, 47, 39)).tobytes()
    assert dcacodec.decode(data, scale=4, codec=codec).size == (45, 38)


def test_progress_of_lossless_files(codec: Codec) -> None:
    steps: list[tuple[int, int]] = []
    data = codec.encode(Picture(text(40, 50)), lossless=True, progress=lambda *each: steps.append(each))
    assert parse(data).lossless_picture is not None
    assert steps == [(0, 1), (1, 1)]
    steps.clear()
    codec.decode(data, progress=lambda *each: steps.append(each))
    assert steps == [(0, 1), (1, 1)]


def test_lossless_takes_blocks_of_slices_where_one_is_not_smaller(codec: Codec) -> None:
    source = mixed()
    data = codec.encode(source, lossless=True, slice_log2=8)
    container = parse(data)
    assert container.lossless_count == container.header.slice_count == 6
    assert describe(container, len(data))["lossless"]
    assert len(data) <= 1.02 * webp(Image.fromarray(source.pixels)) + 100
    sliced = replace(container, chunks=())
    blocks = [encode_block(source.pixels[rows, columns]) for rows, columns in _places()]
    other = Container(sliced.header, sliced.slices, (lossless_slices_chunk(blocks),))
    assert np.array_equal(codec.decode(pack(other)).pixels, source.pixels)
    assert len(data) <= len(pack(other))


def test_slices_are_tried_where_there_are_two(codec: Codec) -> None:
    one, two = (codec.encode(mixed(100, 300), lossless=True, slice_log2=slice_log2) for slice_log2 in (0, 8))
    assert parse(two).lossless_picture is None and len(two) < len(one)


def _places() -> list[tuple[slice, slice]]:
    return [
        (slice(y, min(y + 256, 300)), slice(x, min(x + 256, 530)))
        for y in range(0, 300, 256)
        for x in range(0, 530, 256)
    ]


def test_a_picture_too_long_for_a_block_has_slices(codec: Codec) -> None:
    source = Picture(gray(np.arange(2 * 16384).reshape(2, 16384) // 7 % 251))
    data = codec.encode(source, lossless=True)
    assert parse(data).header.slice_log2 and np.array_equal(codec.decode(data).pixels, source.pixels)


def test_a_slice_too_long_for_a_block_is_left_to_the_network(codec: Codec) -> None:
    bars = np.arange(16384) // 2 % 2 * np.ones((4, 1)) * 255
    for source in (Picture(gray(bars)), Picture(gray(bars), alpha=bars.astype(np.uint8))):
        data = codec.encode(source, slice_log2=0)
        assert parse(data).header.slice_count == 1 and not parse(data).lossless_count
        assert codec.decode(data).pixels.shape == source.pixels.shape
        with pytest.raises(BadSliceSizeError) as caught:
            codec.encode(source, slice_log2=0, lossless=True)
        assert "16384x4" in one_line(caught)


def test_nothing_is_lossless_on_request(codec: Codec) -> None:
    """Not even where the network takes twice the bytes."""
    for source, slice_log2 in ((Picture(text(60, 90), alpha=text(60, 90)[..., 0].copy()), None), (mixed(100, 300), 8)):
        chosen, never = (codec.encode(source, lossless=each, slice_log2=slice_log2) for each in (None, False))
        assert 2 * len(chosen) < len(never) and parse(chosen).lossless_count
        assert not parse(never).lossless_count


@pytest.mark.parametrize("true", [True, 1, np.True_])
def test_lossless_is_any_true_value(codec: Codec, true: Any) -> None:
    source = sticker()
    assert np.array_equal(codec.decode(codec.encode(source, lossless=true)).pixels, source.pixels)
    assert codec.encode(source, lossless=not true) == codec.encode(source, lossless=False)


def test_lossless_ignores_quality_and_effort_in_their_ranges(codec: Codec) -> None:
    source = Picture(text(40, 50))
    plain = codec.encode(source, lossless=True)
    assert codec.encode(source, lossless=True, effort=5) == plain
    exact = codec.decode(codec.encode(source, lossless=True, quality=30))
    assert np.array_equal(exact.pixels, source.pixels)
    for quality, effort in ((101, 0), (60, -1)):
        with pytest.raises(ValueError):
            codec.encode(source, lossless=True, quality=quality, effort=effort)
