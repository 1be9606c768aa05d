"""What goes into `encode`: every kind of picture that it takes, and those that are refused."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from api_pictures import ALPHA, PIXELS, Pipe, same, torch_of
from drawings import text
from PIL import Image
from told import one_line

from dcacodec import Codec, Picture, decode, encode, encode_file
from dcacodec.errors import ImageError, TooLargeError, WeightsError
from dcacodec.images.any_image import picture_of

COLOUR: dict[str, Callable[[Path], Any]] = {
    "str": str,
    "path": lambda path: path,
    "bytes": lambda path: path.read_bytes(),
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "file": lambda path: io.BytesIO(path.read_bytes()),
    "pipe": lambda path: Pipe(path.read_bytes()),
    "opened image": Image.open,
    "image": lambda path: Image.fromarray(PIXELS),
    "array": lambda path: PIXELS,
    "array with strides": lambda path: np.ascontiguousarray(PIXELS[::-1, ::-1])[::-1, ::-1],
    "uint8 tensor": lambda path: torch_of(PIXELS),
    "batch of one": lambda path: torch_of(PIXELS)[None],
    "float tensor": lambda path: torch_of(PIXELS).float() / 255,
    "double tensor": lambda path: torch_of(PIXELS).double() / 255,
    "half precision batch": lambda path: (torch_of(PIXELS).float() / 255)[None].half(),
    "tensor with gradient": lambda path: (torch_of(PIXELS).float() / 255).requires_grad_(),
    "picture": lambda path: Picture(PIXELS),
}


@pytest.mark.parametrize("make", COLOUR.values(), ids=COLOUR.keys())
def test_a_picture_in_any_shape_makes_the_same_file(codec: Codec, make: Callable[[Path], Any], tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(PIXELS).save(path)
    assert encode(make(path), quality=60, codec=codec) == codec.encode(Picture(PIXELS), quality=60)


def test_floats_are_rounded_to_the_nearest_level() -> None:
    values = (torch.arange(255 * 3).reshape(3, 15, 17) % 255 + 0.49) / 255
    expected = (np.arange(255 * 3).reshape(3, 15, 17) % 255).transpose(1, 2, 0)
    assert np.array_equal(picture_of(values).pixels, expected)
    assert np.array_equal(picture_of(values + 0.02 / 255).pixels, expected + 1)


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_gray_and_alpha_of_arrays() -> None:
    gray = PIXELS[..., 0]
    assert same(picture_of(gray), Picture(np.dstack((gray, gray, gray)), gray=True))
    assert same(picture_of(np.dstack((PIXELS, ALPHA))), Picture(PIXELS, alpha=ALPHA))
    assert same(picture_of(np.asmatrix(gray)), picture_of(gray))  # which has two dimensions whatever is done to it
    assert same(picture_of(np.ma.masked_array(PIXELS)), Picture(PIXELS))
    assert picture_of(PIXELS).gray is False


def test_what_is_given_is_not_changed() -> None:
    array, tensor = PIXELS.copy(), torch_of(PIXELS).float() / 255
    before = tensor.clone()
    gray = PIXELS[..., 0].copy()
    for image in (array, tensor, gray):
        picture_of(image)
    assert np.array_equal(array, PIXELS)
    assert np.array_equal(gray, PIXELS[..., 0])
    assert torch.equal(tensor, before)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (PIXELS.astype(np.float32) / 255, "float32 (20, 33, 3)"),
        (PIXELS.astype(np.uint16), "uint16 (20, 33, 3)"),
        (PIXELS[..., :2], "uint8 (20, 33, 2)"),
        (PIXELS[None], "uint8 (1, 20, 33, 3)"),
        (PIXELS[:, :, :1], "uint8 (20, 33, 1)"),
        (PIXELS[0, 0], "uint8 (3,)"),
        (PIXELS[:0], "33x0"),
        (np.ma.masked_equal(PIXELS, PIXELS[3, 5, 1]), "masked"),
        (PIXELS[:, :0, 0], "0x20"),
        (torch.zeros(1, 8, 8), "float32 (1, 8, 8)"),
        (torch.zeros(4, 8, 8), "float32 (4, 8, 8)"),
        (torch.zeros(2, 3, 8, 8), "float32 (2, 3, 8, 8)"),
        (torch.zeros(8, 8, 3), "float32 (8, 8, 3)"),
        (torch.zeros(8, 8), "float32 (8, 8)"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), "int64 (3, 8, 8)"),
        (torch.zeros(3, 8, 8, dtype=torch.bool), "bool (3, 8, 8)"),
        (torch.zeros(3, 8, 8, dtype=torch.complex64), "complex64 (3, 8, 8)"),
        (torch.zeros(3, 0, 8), "8x0"),
        (torch.full((3, 8, 8), 1.001), "0 to 1"),
        (torch.full((3, 8, 8), -0.001), "0 to 1"),
        (torch.full((3, 8, 8), torch.nan), "0 to 1"),
        (Image.new("F", (4, 4)), "mode F"),
        (Image.new("HSV", (4, 4)), "mode HSV"),
        (Image.new("RGB", (0, 4)), "0x4"),
        (b"text", "PNG"),
    ],
    ids=lambda each: each if isinstance(each, str) else type(each).__name__,
)
def test_other_pictures_are_refused_by_name(image: Any, expected: str) -> None:
    with pytest.raises(ImageError) as caught:
        picture_of(image)
    assert expected in one_line(caught)


@pytest.mark.parametrize("image", [None, 3, [[1, 2], [3, 4]], object()], ids=lambda image: type(image).__name__)
def test_what_is_no_picture_is_a_type_error(image: Any) -> None:
    for code in (encode, decode):
        with pytest.raises(TypeError) as caught:
            code(image)
        assert type(image).__name__ in one_line(caught)


def test_the_quality_is_checked(codec: Codec) -> None:
    for quality in (0, 101):
        with pytest.raises(ValueError) as caught:
            encode(PIXELS, quality=quality, codec=codec)
        assert f"not {quality}" in one_line(caught)


@pytest.mark.parametrize("options", [{"quality": 20}, {"lossless": True}, {"lossless": False}, {"keep_hidden": True}])
def test_options_are_those_of_the_codec(codec: Codec, options: dict[str, Any], tmp_path: Path) -> None:
    shown = np.full((60, 70), 255, np.uint8)
    shown[:, 40:] = 0
    source = Picture(text(60, 70), alpha=shown)
    Image.fromarray(np.dstack((source.pixels, shown))).save(tmp_path / "a.png")
    expected = codec.encode(source, **options)
    assert expected != codec.encode(source)
    assert encode(tmp_path / "a.png", codec=codec, **options) == expected
    encode_file(tmp_path / "a.png", tmp_path / "a.dca", codec=codec, **options)
    assert (tmp_path / "a.dca").read_bytes() == expected


def test_a_tuning_is_chosen_or_a_codec(
    codec: Codec, desk: Path, tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests' weights are for PSNR."""
    monkeypatch.setattr("dcacodec.weights.registry.models_dir", lambda: tiny_models)
    assert encode(PIXELS, tune="psnr") == encode(PIXELS)
    encode_file("photo.png", "new.dca", tune="psnr")
    (desk / "new.dca").unlink()
    for image, options, error in (
        ("photo.png", {"tune": "visual"}, WeightsError),
        ("photo.png", {"tune": "psnr", "codec": codec}, ValueError),
        ("photo.png", {"max_pixels": 70 * 90 - 1}, TooLargeError),
    ):
        with pytest.raises(error):
            encode(image, **options)
        with pytest.raises(error):
            encode_file(image, "new.dca", **options)
    assert not (desk / "new.dca").exists()
