"""Arguments of a codec: qualities, regions, limits and pictures, and what it says of itself."""

import io
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import picture
from told import one_line

from dcacodec.codec.codec import Codec
from dcacodec.errors import TooLargeError
from dcacodec.format.reader import parse


def test_too_many_pixels(codec: Codec, sound: bytes) -> None:
    codec.decode(sound, max_pixels=70 * 80)
    with pytest.raises(TooLargeError):
        codec.decode(sound, max_pixels=70 * 80 - 1)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_bytes_of_any_kind(kind: Any, codec: Codec, sound: bytes) -> None:
    assert np.array_equal(codec.decode(kind(sound)).pixels, codec.decode(sound).pixels)


@pytest.mark.parametrize("file", ["photo.dca", Path("photo.dca"), io.BytesIO(b"\x89DCA"), None])
def test_a_file_is_no_bytes(file: Any, codec: Codec) -> None:
    """`dcacodec.decode` takes these. A path is not a damaged file."""
    with pytest.raises(TypeError) as error:
        codec.decode(file)
    assert type(file).__name__ in one_line(error)


@pytest.mark.parametrize("quality", [0, 101, -1])
def test_quality_out_of_range(codec: Codec, quality: int) -> None:
    with pytest.raises(ValueError) as error:
        codec.encode(picture(8, 8), quality=quality)
    assert str(quality) in one_line(error)


@pytest.mark.parametrize("quality", [65.5, np.float32(65.5), 65.54, Fraction(131, 2)])
def test_a_quality_in_tenths(quality: Any, codec: Codec) -> None:
    file = codec.encode(picture(40, 40), quality=quality)
    assert parse(file).header.quality == 65.5
    assert codec.decode(file).pixels.shape == (40, 40, 3)
    below, point, above = (codec.at(each).point for each in (65, parse(file).header.quality, 66))
    assert below.trade_off < point.trade_off < above.trade_off
    assert below.position < point.position < above.position
    for first, between, last in zip(below.scales, point.scales, above.scales, strict=True):
        assert ((first + last) / 2 - between).abs().max() <= 2**-9


@pytest.mark.parametrize("quality", [float("nan"), 0.99, 100.01])
def test_fractions_out_of_range(quality: float, codec: Codec) -> None:
    with pytest.raises(ValueError, match=rf"\b{re.escape(str(quality))}\b"):
        codec.encode(picture(4, 4), quality=quality)


@pytest.mark.parametrize("value", ["50", None, 1j])
def test_a_quality_that_is_no_number(value: Any, codec: Codec) -> None:
    with pytest.raises(TypeError) as error:
        codec.encode(picture(4, 4), quality=value)
    assert repr(value) in one_line(error)


@pytest.mark.parametrize("value", [50.5, 50.0, "50", None])
def test_what_is_no_whole_number(value: Any, codec: Codec) -> None:
    with pytest.raises(TypeError) as error:
        codec.encode(picture(4, 4), effort=value)
    assert repr(value) in one_line(error)


@pytest.mark.parametrize(
    ("region", "kind"),
    [
        ((0, 0), ValueError),
        ((0, 0, 1, 1, 1), ValueError),
        ((0.5, 1, 20, 20), TypeError),
        ((0, 1, 20.0, 20), TypeError),
        ("1234", TypeError),
        (7, TypeError),
    ],
)
def test_a_region_that_is_not_four_whole_numbers(
    region: Any, kind: type[Exception], codec: Codec, sound: bytes
) -> None:
    with pytest.raises(kind) as error:
        codec.decode(sound, region=region)
    assert repr(region) in one_line(error)


def test_a_region_in_integers_of_numpy(codec: Codec, sound: bytes) -> None:
    region: Any = np.array([1, 2, 20, 10])
    assert np.array_equal(codec.decode(sound, region=region).pixels, codec.decode(sound).pixels[2:12, 1:21])


def test_other_whole_numbers_of_numpy(codec: Codec, sound: bytes) -> None:
    """Whose own arithmetic overflows."""
    two: Any = np.uint8(2)
    assert np.array_equal(codec.decode(sound, scale=two).pixels, codec.decode(sound, scale=2).pixels)
    source, eight = picture(40, 300), np.uint8(8)
    assert codec.encode(source, slice_log2=eight) == codec.encode(source, slice_log2=8)  # type: ignore[arg-type]
    wrong: Any
    for wrong in (2.0, "2"):
        with pytest.raises(TypeError, match="scale"):
            codec.decode(sound, scale=wrong)
        with pytest.raises(TypeError, match="slice_log2"):
            codec.encode(source, slice_log2=wrong)


def test_what_a_codec_says_of_itself(codec: Codec) -> None:
    assert repr(codec) == f"<Codec: weights {codec.weights.fingerprint.hex()}, cpu, entropy coder python>"


@pytest.mark.parametrize("image", [np.zeros((8, 8, 3), np.uint8), "photo.png", None])
def test_a_codec_takes_pictures_alone(codec: Codec, image: Any) -> None:
    with pytest.raises(TypeError) as error:
        codec.encode(image)
    assert type(image).__name__ in one_line(error)
