"""Lossless blocks: what they hold, and all that can be wrong with them in a file."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from drawings import gray, mixed, text
from forge import Forged, ForgedChunk
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from told import one_line

from dcacodec.codec.codec import Codec
from dcacodec.errors import (
    BadBlockError,
    BadSliceBitsError,
    BadVarintError,
    FormatError,
    StreamError,
    SymbolMismatchError,
)
from dcacodec.format.reader import parse
from dcacodec.format.vp8l import MAX_BLOCK_SIDE, block_header, join_blocks, split_blocks
from dcacodec.images.picture import Picture
from dcacodec.images.webp_lossless import decode_block, encode_block


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
    for colours in ((0, 1, 2), (1, 0, 0), (0, 1, 0), (0, 0, 1)):
        file.chunks[0].data = encode_block(gray(np.eye(30) * 200) + np.array(colours, np.uint8))
        with pytest.raises(StreamError):
            codec.decode(file.written())


@pytest.mark.parametrize("lossless", [True, None])
def test_blocks_of_another_picture_are_no_picture(codec: Codec, lossless: bool | None) -> None:
    """They are sound, and of the right size: only the checksums of the samples tell."""
    source = mixed(100, 300)
    slice_log2 = None if lossless else 8
    file, other = (
        Forged.of(codec.encode(Picture(pixels), quality=50, lossless=lossless, slice_log2=slice_log2))
        for pixels in (source.pixels, source.pixels[::-1])
    )
    tag = b"WEBP" if lossless else b"WEBS"
    (own,), (theirs,) = ([chunk for chunk in each.chunks if chunk.tag == tag] for each in (file, other))
    own.data = theirs.data
    for region in (None, (0, 0, 9, 9)):
        with pytest.raises(SymbolMismatchError) as caught:
            codec.decode(file.written(), region=region)
        one_line(caught)
