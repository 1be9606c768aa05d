"""Where pictures are read from, damaged and truncated files, and the limits of pixels."""

import io
import subprocess
from pathlib import Path

import pytest
from picture_files import COLOUR, assert_same, noise, png, read_silently, saved
from PIL import Image
from told import one_line

from dcacodec.errors import ImageError, TooLargeError
from dcacodec.images.picture import Picture
from dcacodec.images.reading import read_picture


def test_a_path_and_a_stream_that_cannot_seek(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(saved(COLOUR, "PNG").getvalue())
    assert_same(read_silently(path), Picture(COLOUR))
    assert_same(read_silently(str(path)), Picture(COLOUR))
    with subprocess.Popen(["cat", str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert_same(read_silently(process.stdout), Picture(COLOUR))  # type: ignore[arg-type]


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_picture(tmp_path / "missing.png")


@pytest.mark.parametrize("data", [b"", b"text", b"\x89PNG\r\n\x1a\n", b"P6 0 0 255\n", b"GIF89a" + bytes(20)])
def test_what_is_not_a_picture(data: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        read_picture(io.BytesIO(data))
    assert "PNG, JPEG, TIFF, WEBP, AVIF, PPM, BMP, GIF, QOI" in one_line(caught)


@pytest.mark.parametrize("format", ["EPS", "ICO", "PCX", "SGI", "TGA"])
def test_other_formats_of_pillow_are_not_opened(format: str) -> None:
    """EPS would run a program."""
    with pytest.raises(ImageError) as caught:
        read_picture(saved(COLOUR, format))
    assert "not a picture in one of the formats" in one_line(caught)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF", "PPM", "BMP", "GIF", "QOI"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about the missing end
def test_a_truncated_picture_is_an_error(format: str) -> None:
    data = saved(noise(40, 50, 3), format).getvalue()
    for length in range(0, len(data) * 9 // 10, max(1, len(data) // 40)):
        with pytest.raises(ImageError):
            read_picture(io.BytesIO(data[:length]))


def test_a_damaged_png_is_an_error_of_one_line() -> None:
    data = bytearray(saved(noise(40, 50, 3), "PNG").getvalue())
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(ImageError) as caught:
        read_picture(io.BytesIO(data))
    assert "damaged" in one_line(caught)


def test_every_damaged_bit_of_the_samples_of_a_png_is_found() -> None:
    data = saved(noise(8, 9, 3), "PNG").getvalue()
    start = data.index(b"IDAT")
    for place in range(8 * start, 8 * (start + 4 + int.from_bytes(data[start - 4 : start], "big") + 4)):
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << place % 8
        with pytest.raises(ImageError):
            read_picture(io.BytesIO(damaged))


def test_damage_that_only_the_checksum_of_a_png_tells() -> None:
    data = bytearray(saved(COLOUR, "PNG", compress_level=0).getvalue())  # samples as they are
    data[data.index(COLOUR[2].tobytes()[1:])] ^= 1
    with pytest.raises(ImageError) as caught:
        read_picture(io.BytesIO(data))
    assert "checksum" in one_line(caught)


def test_an_error_that_says_nothing_gives_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(ImageError) as caught:
        read_picture(io.BytesIO(b"data"))
    assert "AssertionError" in one_line(caught)


def test_the_limit_of_pixels() -> None:
    file = saved(COLOUR, "PNG")
    assert_same(read_picture(file, max_pixels=35), Picture(COLOUR))
    with pytest.raises(TooLargeError) as caught:
        read_picture(file, max_pixels=34)
    assert "7x5" in one_line(caught)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_limit_holds_before_anything_is_unpacked() -> None:
    with pytest.raises(TooLargeError) as caught:
        read_picture(png((10000, 10000, 8, 2), b""), max_pixels=10**8 - 1)
    assert "10000x10000" in one_line(caught)


def test_pillows_limit_is_named_too() -> None:
    with pytest.raises(TooLargeError) as caught:
        read_picture(png((20000, 20000, 8, 2), b""))
    assert "400000000" in one_line(caught)
