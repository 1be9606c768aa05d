"""What comes out of `decode` and its like: every kind of picture, parts of it, and errors of bad files."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from api_pictures import ALPHA, PIXELS, Pipe, torch_of
from PIL import Image

from dcacodec import Codec, Picture, decode, decode_array, decode_file, decode_tensor, encode, encode_file
from dcacodec.errors import BadMagicError, BadRegionError, TooLargeError, TruncatedError, UnknownModelError
from dcacodec.format.reader import parse
from dcacodec.images.pillow import to_pillow


@pytest.fixture(scope="module")
def files(codec: Codec) -> dict[str, bytes]:
    gray = np.dstack((ALPHA, ALPHA, ALPHA))
    pictures = {
        "RGB": Picture(PIXELS, icc=b"a profile", exif=b"II*\0 and so on"),
        "RGBA": Picture(PIXELS, alpha=ALPHA),
        "L": Picture(gray, True),
        "LA": Picture(gray, True, ALPHA),
    }
    return {mode: codec.encode(picture, quality=70) for mode, picture in pictures.items()}


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
def test_a_file_comes_back_in_any_shape(codec: Codec, files: dict[str, bytes], mode: str, tmp_path: Path) -> None:
    data = files[mode]
    expected = codec.decode(data)
    image = decode(data, codec=codec)
    assert (image.mode, image.size) == (mode, (33, 20))
    assert image.tobytes() == to_pillow(expected).tobytes()
    assert image.info == ({"icc_profile": b"a profile", "exif": b"Exif\0\0II*\0 and so on"} if mode == "RGB" else {})

    array = decode_array(data, codec=codec)
    assert array.dtype == np.uint8
    whole = np.dstack((expected.pixels, ALPHA)) if "A" in mode else expected.pixels
    assert np.array_equal(array, whole[..., 0] if mode == "L" else whole)

    tensor = decode_tensor(data, codec=codec)
    assert (tensor.dtype, tensor.shape, tensor.is_contiguous()) == (torch.float32, (3, 20, 33), True)
    assert torch.equal((tensor * 255).round().byte(), torch_of(expected.pixels))

    path = tmp_path / "file.dca"
    path.write_bytes(data)
    for source in (path, str(path), bytearray(data), memoryview(data), io.BytesIO(data), Pipe(data)):
        assert decode(source, codec=codec).tobytes() == image.tobytes()


def test_a_raw_pipe_may_give_fewer_bytes_than_are_asked_for(codec: Codec, files: dict[str, bytes]) -> None:
    class Slow(Pipe):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size, 3) if size and size > 0 else size)

    assert decode(Slow(files["RGB"]), codec=codec).size == (33, 20)
    with pytest.raises(BadMagicError):
        decode(Slow(b"no such file"), codec=codec)


def test_parts_and_previews(codec: Codec, files: dict[str, bytes]) -> None:
    data, whole = files["RGBA"], decode_array(files["RGBA"], codec=codec)
    assert np.array_equal(decode_array(data, region=(7, 3, 20, 9), codec=codec), whole[3:12, 7:27])
    small = codec.decode(data, scale=4)
    assert (small.width, small.height) == (9, 5)
    assert decode(data, scale=4, codec=codec).tobytes() == to_pillow(small).tobytes()
    assert torch.equal((decode_tensor(data, scale=4, codec=codec) * 255).round().byte(), torch_of(small.pixels))
    with pytest.raises(BadRegionError):
        decode(data, region=(7, 3, 27, 9), codec=codec)
    with pytest.raises(ValueError, match=r"scale.*3"):
        decode(data, scale=3, codec=codec)


def test_bad_files_are_reported_by_name(published: None, codec: Codec, files: dict[str, bytes], tmp_path: Path) -> None:
    data = files["RGB"]
    for given in (codec, None):
        with pytest.raises(BadMagicError):
            decode(b"text", codec=given)
        with pytest.raises(TruncatedError):
            decode(data[:-5], codec=given)
        with pytest.raises(TooLargeError):
            decode_array(data, max_pixels=659, codec=given)
    with pytest.raises(UnknownModelError, match=parse(data).header.fingerprint.hex()):
        decode_tensor(data)
    with pytest.raises(FileNotFoundError):
        decode(tmp_path / "missing.dca", codec=codec)


def test_what_is_no_file_of_ours_is_not_read_on() -> None:
    class Endless(io.RawIOBase):
        count = 0

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            assert 0 <= size <= 1000
            self.count += size
            return bytes(size)

    file = Endless()
    with pytest.raises(BadMagicError):
        decode(file)  # type: ignore[arg-type]
    assert file.count == 4


@pytest.mark.parametrize("options", [{}, {"region": (7, 3, 20, 9)}, {"scale": 4}])
def test_a_part_of_a_file_as_a_file(codec: Codec, desk: Path, options: dict[str, Any]) -> None:
    decode_file("photo.dca", "back.png", codec=codec, **options)
    with Image.open("back.png") as image:
        assert np.array_equal(np.array(image), decode_array("photo.dca", codec=codec, **options))


def to_file(source: str, **options: Any) -> None:
    decode_file(source, "back.png", **options)


@pytest.mark.parametrize("use", [decode, decode_array, decode_tensor, to_file])
def test_the_limit_of_pixels_holds_for_files(use: Callable[..., object], desk: Path) -> None:
    with pytest.raises(TooLargeError):
        use("photo.dca", max_pixels=70 * 90 - 1)
    assert not (desk / "back.png").exists()
    use("photo.dca", max_pixels=70 * 90)


@pytest.mark.parametrize(
    "work",
    [
        lambda **options: encode("photo.png", **options),
        lambda **options: encode_file("photo.png", "new.dca", **options),
        lambda **options: decode("photo.dca", **options),
        lambda **options: decode_array("photo.dca", **options),
        lambda **options: decode_tensor("photo.dca", **options),
        lambda **options: decode_file("photo.dca", "back.png", **options),
    ],
    ids=["encode", "encode_file", "decode", "decode_array", "decode_tensor", "decode_file"],
)
def test_progress_is_told(work: Callable[..., object], codec: Codec, desk: Path) -> None:
    steps: list[tuple[int, int]] = []
    work(progress=lambda *each: steps.append(each), codec=codec)
    assert steps == [(0, 1), (1, 1)]
