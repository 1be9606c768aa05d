"""Files that are damaged, put together wrongly or of other weights: refused, and never decoded to another picture."""

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import TINY, drawn_model, picture, published
from told import one_line

from dcacodec.codec.codec import Codec
from dcacodec.coding import PythonCoder
from dcacodec.errors import BadChecksumError, DcaError, StreamError, SymbolMismatchError, UnknownModelError
from dcacodec.format.reader import parse
from dcacodec.format.writer import pack


def altered(data: bytes, **changes: Any) -> bytes:
    """A well-formed file whose slice has other contents."""
    container = parse(data)
    return pack(replace(container, slices=(replace(container.slices[0], **changes),)))


def test_wrong_latent_checksum(codec: Codec, sound: bytes) -> None:
    crc = parse(sound).slices[0].latent_crc
    assert altered(sound, latent_crc=crc) == sound
    for bit in (0, 31):
        with pytest.raises(SymbolMismatchError) as error:
            codec.decode(altered(sound, latent_crc=crc ^ 1 << bit))
        one_line(error)


@pytest.mark.parametrize(("one", "other"), list(combinations(range(7), 2)))
def test_swapped_streams(codec: Codec, sound: bytes, one: int, other: int) -> None:
    streams = list(parse(sound).slices[0].streams)
    streams[one], streams[other] = streams[other], streams[one]
    with pytest.raises((StreamError, SymbolMismatchError)):
        codec.decode(altered(sound, streams=tuple(streams)))


def test_streams_of_another_picture(codec: Codec, sound: bytes) -> None:
    """Sound streams of a picture of the same size under this file's checksum."""
    other = codec.encode(picture(70, 80, seed=4), quality=60, lossless=False)
    with pytest.raises(SymbolMismatchError):
        codec.decode(altered(other, latent_crc=parse(sound).slices[0].latent_crc))


def assert_no_other_picture(codec: Codec, data: bytes, sound: bytes) -> None:
    """The data are refused, or hold the very integers of the sound file: the change is one that nothing reads."""
    try:
        found = codec.at(60).read_slice(parse(data), 0)
    except (StreamError, SymbolMismatchError) as error:
        assert "\n" not in str(error)
        return
    expected = codec.at(60).read_slice(parse(sound), 0)
    assert torch.equal(found.units, expected.units) and found.checksum() == expected.checksum()


@pytest.mark.parametrize("index", range(7))
def test_cut_streams(codec: Codec, sound: bytes, index: int) -> None:
    streams = list(parse(sound).slices[0].streams)
    streams[index] = streams[index][:-1]
    assert_no_other_picture(codec, altered(sound, streams=tuple(streams)), sound)


@pytest.mark.parametrize("index", range(7))
def test_streams_with_a_byte_too_many(codec: Codec, sound: bytes, index: int) -> None:
    streams = list(parse(sound).slices[0].streams)
    streams[index] += b"\0"
    assert_no_other_picture(codec, altered(sound, streams=tuple(streams)), sound)


@settings(max_examples=40)
@given(st.data())
def test_damaged_streams_never_make_a_picture(codec: Codec, sound: bytes, data: st.DataObject) -> None:
    """Bytes of a stream changed, under a right checksum of the file."""
    streams = [bytearray(stream) for stream in parse(sound).slices[0].streams]
    index = data.draw(st.integers(0, 6))
    place = data.draw(st.integers(0, len(streams[index]) - 1))
    streams[index][place] ^= data.draw(st.integers(1, 255))
    assert_no_other_picture(codec, altered(sound, streams=tuple(map(bytes, streams))), sound)


@settings(max_examples=40)
@given(st.data())
def test_a_file_with_any_flipped_byte_is_refused(codec: Codec, sound: bytes, data: st.DataObject) -> None:
    """By its checksum, also where nothing reads the byte."""
    place = data.draw(st.integers(0, len(sound) - 1))
    damaged = bytearray(sound)
    damaged[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DcaError):
        codec.decode(bytes(damaged))


@pytest.mark.parametrize("quality", [1, 59, 61, 100])
def test_another_quality(codec: Codec, sound: bytes, quality: int) -> None:
    """The quality of the header belongs to the probabilities: another one makes other symbols of the streams."""
    container = parse(sound)
    with pytest.raises((StreamError, SymbolMismatchError)):
        codec.decode(pack(replace(container, header=replace(container.header, quality=quality))))


@pytest.mark.parametrize(("width", "height"), [(80, 140), (140, 70), (1, 1), (70, 64)])
def test_other_dimensions(codec: Codec, sound: bytes, width: int, height: int) -> None:
    container = parse(sound)
    with pytest.raises((StreamError, SymbolMismatchError)):
        codec.decode(pack(replace(container, header=replace(container.header, width=width, height=height))))


def test_damaged_file(codec: Codec, sound: bytes) -> None:
    damaged = bytearray(sound)
    damaged[len(sound) // 2] ^= 1
    with pytest.raises(BadChecksumError):
        codec.decode(bytes(damaged))


@pytest.fixture(scope="module")
def other_codec() -> Codec:
    return Codec(published(drawn_model(TINY, seed=5)), coder=PythonCoder())


def test_weights_of_another_model(codec: Codec, other_codec: Codec, sound: bytes) -> None:
    names = [each.weights.fingerprint.hex() for each in (codec, other_codec)]
    with pytest.raises(UnknownModelError) as error:
        other_codec.decode(sound)
    assert all(name in one_line(error) for name in names)


def test_weights_of_another_model_under_the_right_name(codec: Codec, other_codec: Codec, sound: bytes) -> None:
    """Should a fingerprint ever lie: no picture of noise."""
    with pytest.raises((StreamError, SymbolMismatchError)):
        Codec(replace(other_codec.weights, fingerprint=codec.weights.fingerprint), coder=PythonCoder()).decode(sound)
