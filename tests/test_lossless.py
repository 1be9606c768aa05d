"""Lossless slices: the chunks that hold them, what is decoded from them, and where the encoder chooses them."""

import io
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from forge import Forged, ForgedChunk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from skimage import data as photographs
from tiny import photo
from told import assert_fails, one_line

import dcacodec
import dcacodec.pillow_plugin
from dcacodec.cli.app import cli
from dcacodec.codec.codec import Codec
from dcacodec.codec.lossless_choice import lossless_estimate
from dcacodec.codec.mixed import is_mixed
from dcacodec.errors import (
    BadBlockError,
    BadSliceBitsError,
    BadVarintError,
    FormatError,
    StreamError,
    SymbolMismatchError,
)
from dcacodec.format.container import Container, describe, lossless_slices_chunk
from dcacodec.format.reader import parse
from dcacodec.format.vp8l import MAX_BLOCK_SIDE, block_header, join_blocks, split_blocks
from dcacodec.format.writer import pack
from dcacodec.images.hidden import clear_hidden, fill_hidden
from dcacodec.images.picture import Picture
from dcacodec.images.webp_lossless import decode_block, encode_block
from dcacodec.ratecontrol import MaxBytes, MinPsnr, encode_to
from dcacodec.tiling.grid import Grid

Pixels = NDArray[np.uint8]


def psnr(one: Pixels, other: Pixels) -> float:
    error = np.square(one.astype(np.float64) - other).mean()
    return 10 * math.log10(255**2 / error) if error else math.inf


def webp(image: Image.Image) -> int:
    """Bytes of Pillow's lossless WebP file."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=True, exact=True)
    return len(buffer.getvalue())


def gray(plane: NDArray[np.generic]) -> Pixels:
    return np.repeat(plane.astype(np.uint8)[..., np.newaxis], 3, -1)


def text(height: int, width: int, ink: str = "black", paper: str = "white") -> Pixels:
    image = Image.new("RGB", (width, height), paper)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=13)
    for row in range(0, height, 16):
        draw.text((3 - row % 7, row), "Sphinx of black quartz, judge my vow. 0123456789 " * 4, fill=ink, font=font)
    return np.array(image)


def mixed(height: int = 300, width: int = 530) -> Picture:
    """Text in the slices of the left half, a smooth picture in the others."""
    y, x = np.mgrid[:height, :width] / 60
    waves = (np.sin(x + y), np.cos(y - x / 2), np.sin(x / 3) * np.cos(y))
    noise = np.random.default_rng(0).normal(0, 6, (height, width, 3))
    pixels = (128 + 80 * np.stack(waves, -1) + noise).clip(0, 255).astype(np.uint8)
    pixels[:, :256] = text(height, 256)
    return Picture(pixels)


def run(arguments: list[str]) -> Result:
    return CliRunner().invoke(cli, arguments, prog_name="dcacodec")


# ----------------------------------------------------------------------------------------------------------- the blocks


@given(st.integers(1, 40), st.integers(1, 40), st.booleans(), st.integers(0, 9))
def test_a_block_holds_all_samples(height: int, width: int, with_alpha: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    alpha = random.choice(np.array([0, 0, 1, 254, 255], np.uint8), (height, width))
    alpha[0, 0] = 0
    block = encode_block(pixels, alpha if with_alpha else None)
    assert block_header(block) == (width, height, with_alpha)
    found, plane = decode_block(block, gray=False)
    assert np.array_equal(found, pixels)
    assert np.array_equal(plane, alpha) if plane is not None else not with_alpha


def test_the_header_of_a_block_says_how_large_it_is() -> None:
    for sides in ((1, MAX_BLOCK_SIDE), (MAX_BLOCK_SIDE, 1), (3, 5)):
        assert block_header(encode_block(np.zeros((*sides, 3), np.uint8)))[:2] == sides[::-1]
    lossy = io.BytesIO()
    Image.new("RGB", (9, 9)).save(lossy, "WEBP")
    for bad in (b"", b"\x2f", lossy.getvalue(), lossy.getvalue()[20:], b"\x2f\x08\x00\x02\x20\x00"):
        with pytest.raises(BadBlockError) as caught:
            block_header(bad)
        one_line(caught)


@given(st.lists(st.none() | st.binary(max_size=300), min_size=1, max_size=20).filter(any))
def test_blocks_are_split_as_they_were_joined(blocks: list[bytes | None]) -> None:
    found = split_blocks(join_blocks(blocks), len(blocks), "WEBS")
    assert found == {index: block for index, block in enumerate(blocks) if block is not None}


# ------------------------------------------------------------------------------------------------- files that are wrong


def forged(codec: Codec) -> Forged:
    """A sound file of two slices: text, lossless, and a smooth picture."""
    data = codec.encode(mixed(100, 300), quality=50, slice_log2=8)
    assert [parse(data).is_lossless(index) for index in (0, 1)] == [True, False]
    file = Forged.of(data)
    assert file.written() == data
    file.chunks = [chunk for chunk in file.chunks if chunk.tag == b"WEBS"]
    return file


def _rechunked(change: Callable[[bytes], bytes]) -> Callable[[Forged], None]:
    def apply(file: Forged) -> None:
        file.chunks[0].data = change(file.chunks[0].data)

    return apply


def _streams(file: Forged) -> None:
    file.slices[0].streams[3] = b"\0"


def _full(file: Forged) -> None:
    file.chunks.append(ForgedChunk(b"FULL", b"\1"))


def _picture_too(file: Forged) -> None:
    file.chunks.append(ForgedChunk(b"WEBP", encode_block(np.zeros((100, 300, 3), np.uint8))))
    file.slices[1].streams = [b""] * 7


def _other_block(height: int, width: int, alpha: bool = False) -> bytes:
    return encode_block(np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint8) if alpha else None)


@pytest.mark.parametrize(
    ("error", "change"),
    [
        (BadSliceBitsError, _rechunked(lambda data: b"")),
        (BadSliceBitsError, _rechunked(lambda data: b"\0")),
        (BadSliceBitsError, _rechunked(lambda data: b"\5" + data[1:])),
        (BadBlockError, _rechunked(lambda data: data[:1])),
        (BadBlockError, _rechunked(lambda data: data[:-1])),
        (BadBlockError, _rechunked(lambda data: data + b"\0")),
        (BadBlockError, _rechunked(lambda data: b"\3" + data[1:])),
        (BadVarintError, _rechunked(lambda data: b"\1\x80\0")),
        (BadBlockError, _rechunked(lambda data: join_blocks([b"", None]))),
        (BadBlockError, _rechunked(lambda data: join_blocks([_other_block(100, 255), None]))),
        (BadBlockError, _rechunked(lambda data: join_blocks([_other_block(16383, 16383 // 8), None]))),
        (BadBlockError, _rechunked(lambda data: join_blocks([_other_block(100, 256, alpha=True), None]))),
        (BadBlockError, _streams),
        (BadBlockError, _full),
        (BadBlockError, _picture_too),
    ],
)
def test_malformed_blocks_have_a_named_error(
    codec: Codec, error: type[FormatError], change: Callable[[Forged], None]
) -> None:
    file = forged(codec)
    change(file)
    with pytest.raises(error) as caught:
        parse(file.written())
    one_line(caught)
    assert type(caught.value) is error


def test_a_picture_has_one_alpha_plane(codec: Codec) -> None:
    source = Picture(text(40, 60), alpha=text(40, 60)[..., 0].copy())
    file = Forged.of(codec.encode(source, lossless=True))
    assert [chunk.tag for chunk in file.chunks] == [b"WEBP"]
    file.chunks.append(ForgedChunk(b"ALPH", b""))
    with pytest.raises(BadBlockError):
        parse(file.written())


@settings(max_examples=60)
@given(st.data())
def test_damaged_blocks_never_make_a_wrong_picture(codec: Codec, data: st.DataObject) -> None:
    """Damaged under a right checksum of the file, that is: on purpose."""
    source = Picture(text(60, 90))
    file = Forged.of(codec.encode(source, lossless=True))
    block = bytearray(file.chunks[0].data)
    for _ in range(data.draw(st.integers(1, 3))):
        block[data.draw(st.integers(0, len(block) - 1))] ^= data.draw(st.integers(1, 255))
    file.chunks[0].data = bytes(block[: data.draw(st.just(len(block)) | st.integers(0, len(block)))])
    try:
        found = codec.decode(file.written())
    except (BadBlockError, StreamError, SymbolMismatchError):
        return
    assert np.array_equal(found.pixels, source.pixels) and found.alpha is None


def test_colours_in_a_gray_picture_are_an_error(codec: Codec) -> None:
    file = Forged.of(codec.encode(Picture(gray(np.eye(30) * 200), gray=True), lossless=True))
    file.chunks[0].data = encode_block(photo(30, 30))
    with pytest.raises(StreamError):
        codec.decode(file.written())


# ------------------------------------------------------------------------------------------------------------- decoding


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


@pytest.mark.slow
@settings(max_examples=12)
@given(st.data())
def test_regions_and_scales_of_lossless_slices(codec: Codec, data: st.DataObject) -> None:
    source = mixed()
    kind = data.draw(st.sampled_from([None, True]))
    encoded = _encoded_once(codec, kind)
    whole = _decoded_once(codec, kind)
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


_FILES: dict[bool | None, tuple[bytes, Pixels]] = {}


def _encoded_once(codec: Codec, lossless: bool | None) -> bytes:
    if lossless not in _FILES:
        data = codec.encode(mixed(), quality=60, slice_log2=8, lossless=lossless)
        _FILES[lossless] = data, codec.decode(data).pixels
    return _FILES[lossless][0]


def _decoded_once(codec: Codec, lossless: bool | None) -> Pixels:
    return _FILES[lossless][1]


# ----------------------------------------------------------------------------------------------------- what is promised


def dithered(height: int, width: int) -> Pixels:
    order = np.tile(np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) * 16 + 8, (75, 75))
    return gray((np.arange(width) * 256 // width > order[:height, :width]) * 255)


@st.composite
def synthetic(draw: st.DrawFn) -> Picture:
    """Pictures that no network trained on photographs codes well, some with a part of a photograph in them."""
    height, width = draw(st.integers(1, 140)), draw(st.integers(1, 140))
    y, x = np.mgrid[:height, :width]
    random = np.random.default_rng(draw(st.integers(0, 99)))
    step = draw(st.integers(1, 4))
    low, high = draw(st.sampled_from([(0, 255), (255, 0), (90, 160)]))
    colours = [random.choice([0, 255], 3) for _ in range(2)]
    kinds: dict[str, Callable[[], Pixels]] = {
        "rows": lambda: gray(np.where(y // step % 2, low, high)),
        "columns": lambda: gray(np.where(x // step % 2, low, high)),
        "checkers": lambda: gray(np.where((x // step + y // step) % 2, low, high)),
        "hatching": lambda: gray(np.where((x + y) % (2 * step + 1), high, low)),
        "saturated": lambda: np.where(((x // step + y) % 3 == 0)[..., None], *colours).astype(np.uint8),
        "dither": lambda: dithered(height, width),
        "text": lambda: text(height, width),
        "blue on red": lambda: text(height, width, "#0000ff", "#ff0000"),
        "noise": lambda: random.integers(0, 256, (height, width, 3), dtype=np.uint8),
        "gray noise": lambda: gray(random.integers(0, 256, (height, width))),
        "two levels": lambda: gray(random.integers(0, 2, (height, width)) * 255),
        "mild noise": lambda: random.normal(128, 31, (height, width, 3)).clip(0, 255).astype(np.uint8),
        "flat": lambda: gray(np.full((height, width), low)),
        "ramp": lambda: gray(x * 255 // width),
        "exclusive or": lambda: gray(x ^ y),
        "repeated": lambda: np.tile(random.integers(0, 256, (height // 3 + 1, width, 3), dtype=np.uint8), (3, 1, 1)),
    }
    pixels = kinds[draw(st.sampled_from(sorted(kinds)))]()[:height]
    if draw(st.booleans()):
        pixels = pixels.copy()
        pixels[height // 2 :] = photo(height, width)[height // 2 :]
    planes: dict[str, NDArray[np.generic]] = {
        "opaque": np.full((height, width), 255),
        "disc": (np.hypot(x - width / 2, y - height / 2) < height / 2) * 255,
        "text": 255 - text(height, width)[..., 0],
        "ramp": x * 255 // width,
        "noise": random.integers(0, 256, (height, width)),
    }
    plane = planes.get(draw(st.sampled_from(["none", *planes])))
    is_gray = bool((pixels == pixels[..., :1]).all()) and draw(st.booleans())
    return Picture(pixels, is_gray, None if plane is None else plane.astype(np.uint8))


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
    assert is_mixed(page)
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


# ------------------------------------------------------------------------------------------------------------ lossless=


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("opaque", [False, True])
def test_lossless_is_exact_and_as_small_as_webp(codec: Codec, mode: str, opaque: bool) -> None:
    image = Image.fromarray(photographs.astronaut()[100:250, 150:330]).convert(mode)
    if mode.endswith("A"):
        plane = np.zeros((150, 180), np.uint8) if not opaque else np.full((150, 180), 255, np.uint8)
        plane[20:120, 30:140] = 255
        plane[20:120, 30] = 77
        if opaque:
            plane[:] = 255
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


# ------------------------------------------------------------------------------------------------------- hidden pixels


def sticker(seed: int = 0) -> Picture:
    """A photograph in a disc, and noise that nobody sees."""
    y, x = np.mgrid[:150, :150]
    alpha = np.clip(70 - np.hypot(x - 75, y - 75), 0, 1) * 255
    noise = np.random.default_rng(seed).integers(0, 256, (150, 150, 3), dtype=np.uint8)
    return Picture(np.where(alpha[..., None] > 0, photo(150, 150), noise), alpha=alpha.astype(np.uint8))


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


@pytest.mark.parametrize("true", [True, 1, np.True_])
def test_lossless_is_any_true_value(codec: Codec, true: Any) -> None:
    source = sticker()
    assert np.array_equal(codec.decode(codec.encode(source, lossless=true)).pixels, source.pixels)
    assert codec.encode(source, lossless=not true) == codec.encode(source, lossless=False)


def test_targets_do_not_count_hidden_pixels(codec: Codec) -> None:
    source = sticker()
    result = encode_to(codec, source, MinPsnr(24))
    found = codec.decode(result.data).pixels
    assert source.alpha is not None and result.target_met and result.reached is not None
    hidden = source.alpha == 0
    smooth = fill_hidden(source).pixels
    assert psnr(np.where(hidden[..., None], smooth, found), smooth) == pytest.approx(result.reached)


def test_targets_find_lossless_slices(codec: Codec) -> None:
    source = Picture(text(100, 140))
    exact = codec.encode(source, lossless=True)
    found = encode_to(codec, source, MaxBytes(len(exact)))
    assert found.target_met and np.array_equal(codec.decode(found.data).pixels, source.pixels)
    assert encode_to(codec, source, MinPsnr(90)).reached == math.inf


# --------------------------------------------------------------------------------------------- command line and Pillow


@pytest.fixture
def drawing(tmp_path: Path) -> Path:
    path = tmp_path / "drawing.png"
    Image.fromarray(text(90, 130)).save(path)
    return path


def test_commands_report_lossless_slices(drawing: Path) -> None:
    target = drawing.with_suffix(".dca")
    for options in ([], ["--lossless"]):
        told = run(["--verbose", "encode", *options, "--json", str(drawing), str(target)])
        assert told.exit_code == 0, told.stderr
        facts = json.loads(told.stdout)
        assert (facts["slices"], facts["lossless_slices"], facts["lossless"]) == (1, 1, True)
        assert "lossless slices: 1 of 1" in told.stderr
        back = drawing.with_name("back.png")
        assert run(["decode", str(target), str(back)]).exit_code == 0
        assert np.array_equal(np.array(Image.open(back)), np.array(Image.open(drawing)))
    shown = run(["info", str(target)])
    assert "1 of 1 slices" in shown.stdout
    facts = json.loads(run(["info", "--json", str(target)]).stdout)
    assert (facts["lossless_slices"], facts["lossless"]) == (1, True)


@pytest.mark.parametrize(
    "other", [["--quality", "60"], ["--effort", "3"], ["--target-psnr", "30"], ["--target-size", "2KB"]]
)
def test_lossless_excludes_other_aims(drawing: Path, other: list[str]) -> None:
    for command, target in (("encode", drawing.with_suffix(".dca")), ("batch", drawing.with_name("out"))):
        told = run([command, "--lossless", *other, str(drawing), str(target)])
        assert told.exit_code == 2 and not target.exists()
        assert "--lossless" in told.stderr and other[0] in told.stderr and "Traceback" not in told.stderr


def test_lossless_ignores_quality_and_effort_in_their_ranges(codec: Codec) -> None:
    source = Picture(text(40, 50))
    plain = codec.encode(source, lossless=True)
    assert codec.encode(source, lossless=True, effort=5) == plain
    exact = codec.decode(codec.encode(source, lossless=True, quality=30))
    assert np.array_equal(exact.pixels, source.pixels)
    for quality, effort in ((101, 0), (60, -1)):
        with pytest.raises(ValueError):
            codec.encode(source, lossless=True, quality=quality, effort=effort)


def test_damaged_blocks_on_the_command_line(codec: Codec, drawing: Path) -> None:
    file = Forged.of(codec.encode(Picture(text(90, 130)), lossless=True))
    file.chunks[0].data = file.chunks[0].data[:-40]
    target = drawing.with_suffix(".dca")
    target.write_bytes(file.written())
    assert_fails(run(["decode", str(target), str(drawing.with_name("new.png"))]), target)
    assert not drawing.with_name("new.png").exists()


@pytest.mark.slow
def test_batch_is_lossless_on_request(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pixels = photo(60, 70)
    Image.fromarray(pixels).save(tmp_path / "in" / "a.png")
    told = run(["batch", "--jobs", "1", "--lossless", str(tmp_path / "in"), str(tmp_path / "out")])
    assert told.exit_code == 0, told.stderr
    assert np.array_equal(dcacodec.decode_array(tmp_path / "out" / "a.dca"), pixels)


def test_pillow_saves_and_opens_lossless_files() -> None:
    source = sticker()
    assert source.alpha is not None
    image = Image.fromarray(np.dstack((source.pixels, source.alpha)))
    buffer = io.BytesIO()
    image.save(buffer, "DCA", lossless=True)
    with Image.open(buffer) as opened:
        assert opened.mode == "RGBA"
        assert opened.tobytes() == image.tobytes()


def test_files_of_arrays_are_exact(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (33, 44, 4), dtype=np.uint8)
    Image.fromarray(array).save(tmp_path / "a.png")
    dcacodec.encode_file(tmp_path / "a.png", tmp_path / "a.dca", lossless=True)
    assert np.array_equal(dcacodec.decode_array(tmp_path / "a.dca"), array)
