"""`encode` and `decode`: every kind of picture they take and give, and the codec that they keep."""

import doctest
import io
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tiny import WEIGHTS, photo
from told import one_line

import dcacodec
from dcacodec import Codec, Picture, api, decode, decode_array, decode_tensor, encode, read_picture
from dcacodec.api import codec_for, default_codec
from dcacodec.errors import (
    BadMagicError,
    BadRegionError,
    ImageError,
    ImageWarning,
    TooLargeError,
    TruncatedError,
    UnknownModelError,
)
from dcacodec.format.reader import parse
from dcacodec.images.any_image import picture_of
from dcacodec.images.pillow import from_pillow, to_pillow
from dcacodec.images.writing import write_picture
from dcacodec.weights.registry import Published

PIXELS = photo(20, 33)
ALPHA = photo(20, 33, 1)[..., 0].copy()


def png(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def same(one: Picture, other: Picture) -> bool:
    """Whether two pictures are equal in all they hold."""
    planes = [(one.pixels, other.pixels)]
    if one.alpha is not None and other.alpha is not None:
        planes.append((one.alpha, other.alpha))
    return (one.gray, one.icc, one.exif, one.alpha is None) == (
        other.gray,
        other.icc,
        other.exif,
        other.alpha is None,
    ) and all(np.array_equal(mine, yours) for mine, yours in planes)


# ------------------------------------------------------------------------------------------------------- what goes in


class Pipe(io.BytesIO):
    """A file that cannot seek."""

    def seekable(self) -> bool:
        return False


def torch_of(pixels: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)


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


def test_gray_and_alpha_of_arrays() -> None:
    gray = PIXELS[..., 0]
    assert same(picture_of(gray), Picture(np.dstack((gray, gray, gray)), gray=True))
    assert same(picture_of(np.dstack((PIXELS, ALPHA))), Picture(PIXELS, alpha=ALPHA))
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
    ids=str,
)
def test_other_pictures_are_refused_by_name(image: Any, expected: str) -> None:
    with pytest.raises(ImageError) as caught:
        picture_of(image)
    assert expected in one_line(caught)


@pytest.mark.parametrize("image", [None, 3, [[1, 2], [3, 4]], object()], ids=repr)
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


# ------------------------------------------------------------------------------------------------------ Pillow's images


EXIF = b"Exif\0\0II*\0\x08\0\0\0\2\0\x0f\1\2\0\4\0\0\0Me!\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"  # maker, turned right


def keyed(mode: str, key: Any) -> Image.Image:
    image = Image.fromarray(PIXELS).convert(mode)
    image.info["transparency"] = key
    return image


IMAGES = {
    "1": (Image.fromarray(PIXELS).convert("1"), "PNG"),
    "L": (Image.fromarray(PIXELS[..., 1].copy()), "PNG"),
    "L keyed": (keyed("L", int(PIXELS[..., 1][3, 3])), "PNG"),
    "LA": (Image.merge("LA", (Image.fromarray(PIXELS[..., 1].copy()), Image.fromarray(ALPHA))), "PNG"),
    "P": (Image.fromarray(PIXELS).quantize(17), "PNG"),
    "P keyed": (keyed("P", 3), "PNG"),
    "RGB": (Image.fromarray(PIXELS), "PNG"),
    "RGB keyed": (keyed("RGB", tuple(map(int, PIXELS[4, 4]))), "PNG"),
    "RGBA": (Image.fromarray(np.dstack((PIXELS, ALPHA))), "PNG"),
    "CMYK": (Image.fromarray(PIXELS).convert("CMYK"), "TIFF"),
    "YCbCr": (Image.fromarray(PIXELS).convert("YCbCr"), "TIFF"),
    "I;16": (Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257), "PNG"),
}


@pytest.mark.filterwarnings("ignore::dcacodec.errors.ImageWarning")
@pytest.mark.parametrize(("image", "format"), IMAGES.values(), ids=IMAGES.keys())
def test_an_image_is_as_its_file(image: Image.Image, format: str) -> None:
    buffer = io.BytesIO()
    image.save(buffer, format)
    assert same(from_pillow(image), read_picture(buffer))
    buffer.seek(0)
    with Image.open(buffer) as opened:
        assert same(from_pillow(opened), read_picture(buffer))


def tiny_png(depth: int, colour: int, row: bytes, transparent: bytes) -> bytes:
    """A PNG of 4x1 pixels with a transparent colour."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", 4, 1, depth, colour, 0, 0, 0)
    parts = (b"IHDR", header), (b"tRNS", transparent), (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def tiny_tiff(bits: int, photometric: int, samples: bytes) -> bytes:
    """A gray TIFF of 4x1 pixels."""
    tags = {256: 4, 257: 1, 258: bits, 259: 1, 262: photometric, 273: 122, 277: 1, 278: 1, 279: len(samples)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + b"\0\0\0\0" + samples


SIXTEEN = struct.pack("<4H", 0, 10000, 40000, 65535)


@pytest.mark.filterwarnings("ignore::dcacodec.errors.ImageWarning")
@pytest.mark.parametrize(
    ("data", "gray", "alpha"),
    [
        (tiny_png(4, 0, b"\x05\x5f", b"\0\x05"), [0, 85, 85, 255], [255, 0, 0, 255]),
        (tiny_tiff(16, 0, SIXTEEN), [255, 216, 99, 0], None),
        (tiny_tiff(16, 1, SIXTEEN), [0, 39, 156, 255], None),
        (tiny_tiff(12, 1, b"\x00\x03\xe8\x7d\x0f\xff"), [0, 62, 125, 255], None),
        (b"P5 4 1 65535\n" + struct.pack(">4H", 0, 10000, 40000, 65535), [0, 39, 156, 255], None),
        (b"P5 4 1 1000\n" + struct.pack(">4H", 0, 100, 400, 1000), [0, 26, 102, 255], None),
    ],
    ids=["4-bit PNG, transparent", "white is zero", "16-bit TIFF", "12-bit TIFF", "16-bit PGM", "PGM up to 1000"],
)
def test_what_only_the_format_tells_of_samples(data: bytes, gray: list[int], alpha: list[int] | None) -> None:
    expected = read_picture(io.BytesIO(data))
    assert expected.pixels[0, :, 0].tolist() == gray
    assert (None if expected.alpha is None else expected.alpha[0].tolist()) == alpha
    with Image.open(io.BytesIO(data)) as image:
        assert same(from_pillow(image), expected)


def test_a_transparent_colour_of_16_bits_is_refused() -> None:
    data = tiny_png(16, 2, bytes(24), bytes(6))
    with Image.open(io.BytesIO(data)) as image, pytest.raises(ImageError) as caught:
        from_pillow(image)
    assert "transparent" in one_line(caught)


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


def test_losses_are_reported() -> None:
    with pytest.warns(ImageWarning, match="16 bits"):
        picture_of(IMAGES["I;16"][0])
    with pytest.warns(ImageWarning, match="CMYK"):
        picture_of(IMAGES["CMYK"][0])


def test_an_image_is_turned_upright_and_left_as_it_is() -> None:
    data = png(Image.fromarray(PIXELS), exif=EXIF, icc_profile=b"a profile")
    expected = read_picture(io.BytesIO(data))
    assert (expected.width, expected.icc) == (20, b"a profile")
    with Image.open(io.BytesIO(data)) as image:
        assert same(from_pillow(image), expected)
        assert (image.size, image.info["exif"]) == ((33, 20), EXIF)
        assert np.array_equal(np.array(image), PIXELS)


def test_tags_of_a_tiff_file_travel_along() -> None:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "TIFF", tiffinfo={271: "Me!"})
    expected = read_picture(buffer)
    assert expected.exif is not None
    assert b"Me!" in expected.exif
    with Image.open(buffer) as image:
        assert same(from_pillow(image), expected)


def test_the_current_frame_is_taken() -> None:
    buffer = io.BytesIO()
    frames = [Image.new("L", (5, 4), level) for level in (10, 200)]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    with Image.open(buffer) as image:
        image.seek(1)
        assert (from_pillow(image).pixels == 200).all()


def test_a_truncated_image_is_an_image_error() -> None:
    with Image.open(io.BytesIO(png(Image.fromarray(PIXELS))[:-200])) as image, pytest.raises(ImageError, match="trunc"):
        from_pillow(image)


@pytest.mark.parametrize(("gray", "alpha"), [(False, False), (False, True), (True, False), (True, True)])
def test_a_picture_as_an_image_is_as_its_png(gray: bool, alpha: bool) -> None:
    pixels = np.dstack((ALPHA, ALPHA, ALPHA)) if gray else PIXELS
    source = Picture(pixels, gray, ALPHA if alpha else None, b"a profile", EXIF[6:])
    buffer = io.BytesIO()
    write_picture(source, buffer, "png")
    image = to_pillow(source)
    with Image.open(buffer) as opened:
        assert (image.mode, image.size) == (opened.mode, opened.size)
        assert image.tobytes() == opened.tobytes()
        assert {name: image.info[name] for name in ("icc_profile", "exif")} == opened.info


# ------------------------------------------------------------------------------------------------------- what comes out


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


# ---------------------------------------------------------------------------------------------------------- one codec


def test_the_codec_is_loaded_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    loads: list[Published] = []
    from_published = Codec.from_published

    def noted(published: Published, **options: Any) -> Codec:
        loads.append(published)
        return from_published(published, **options)

    monkeypatch.setattr(Codec, "from_published", noted)
    api._load.cache_clear()
    Image.fromarray(PIXELS).save(tmp_path / "photo.png")
    started = threading.Barrier(8)

    def first(number: int) -> bytes:
        started.wait()
        return encode(PIXELS, quality=40)

    with ThreadPoolExecutor(8) as pool:
        files = list(pool.map(first, range(8)))
    dcacodec.encode_file(tmp_path / "photo.png", tmp_path / "photo.dca", quality=40)
    dcacodec.decode_file(tmp_path / "photo.dca", tmp_path / "back.png")
    assert decode(files[0]).tobytes() == Image.open(tmp_path / "back.png").tobytes()
    assert {*files, (tmp_path / "photo.dca").read_bytes()} == {default_codec().encode(Picture(PIXELS), quality=40)}
    assert codec_for(parse(files[0])) is default_codec()
    assert [published.path.name for published in loads] == [WEIGHTS.name]


@pytest.mark.slow
def test_threads_share_a_codec(codec: Codec) -> None:
    """What eight threads make at the same time, is what one makes after the other."""
    jobs = [(photo(40 + 9 * number, 70, number), 10 * number + 5) for number in range(8)] * 2
    expected = [codec.encode(Picture(pixels), quality=quality) for pixels, quality in jobs]
    pictures = [codec.decode(data).pixels for data in expected]
    started = threading.Barrier(8)

    def work(number: int) -> tuple[bytes, NDArray[np.uint8]]:
        if number < 8:
            started.wait()
        data = encode(jobs[number][0], quality=jobs[number][1], codec=codec)
        return data, decode_array(data, codec=codec)

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(work, range(len(jobs))))
    assert [data for data, _ in results] == expected
    assert all(np.array_equal(array, pixels) for (_, array), pixels in zip(results, pictures, strict=True))


def test_what_is_wrong_is_reported_before_torch_is_loaded() -> None:
    code = (
        "import sys, dcacodec\n"
        "from dcacodec import decode, encode\n"
        "for work in (lambda: encode(b'text'), lambda: encode(3), lambda: decode(b'text'), lambda: decode(3)):\n"
        "    try:\n"
        "        work()\n"
        "    except (dcacodec.DcaError, TypeError) as error:\n"
        "        print(type(error).__name__)\n"
        "print('torch' in sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["ImageError", "TypeError", "BadMagicError", "TypeError", "False"]


@pytest.mark.slow
def test_a_first_decode_imports_no_compiler() -> None:
    """PyTorch loads its compiler and SymPy, a second or more, at the first arithmetic on tensors without data."""
    code = (
        "import sys, torch\n"
        "before = set(sys.modules)\n"
        "import dcacodec\n"
        "dcacodec.decode(dcacodec.encode(bytes.fromhex(sys.argv[1])))\n"
        "print(sorted({'torch._dynamo', 'torch._inductor', 'sympy'} & set(sys.modules) - before))\n"
    )
    picture = png(Image.new("RGB", (3, 2))).hex()
    result = subprocess.run([sys.executable, "-c", code, picture], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


# ----------------------------------------------------------------------------------------------------- the examples


EXAMPLES = [test for test in doctest.DocTestFinder().find(api, "api") if test.examples]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_the_examples_of_docstrings_run(example: doctest.DocTest, desk: Path) -> None:
    report: list[str] = []
    result = doctest.DocTestRunner().run(example, out=report.append)
    assert (result.attempted, result.failed, report) == (len(example.examples), 0, [])


def test_the_public_functions_have_examples() -> None:
    documented = {example.name.removeprefix("api.") for example in EXAMPLES}
    assert documented >= {name for name, home in dcacodec._HOMES.items() if home == "dcacodec.api"}
