"""HEIC and JPEG XL: read where a package for Pillow is installed, named where it is not."""

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from picture_files import profile
from PIL import Image
from told import one_line

import dcacodec.images.optional
from dcacodec.cli.app import cli
from dcacodec.errors import ImageError, TooLargeError
from dcacodec.images.formats import picture_suffixes
from dcacodec.images.isobmff import main_picture
from dcacodec.images.jxl import JxlHeader, jxl_header
from dcacodec.images.optional import optional_suffixes, unread_formats
from dcacodec.images.picture import Picture
from dcacodec.images.pillow import from_pillow
from dcacodec.images.reading import read_picture

PIXELS = np.random.default_rng(1).integers(0, 256, (48, 80, 3), dtype=np.uint8)
SMOOTH = np.repeat(np.linspace(0, 255, 80, dtype=np.uint8)[np.newaxis, :, np.newaxis], 48, 0).repeat(3, 2)
JXL_START = b"\xff\x0a"
DEEP_GRAY_AND_ALPHA = bytes.fromhex(
    "ff0a1030fc087e008a160108101000fc004b188b15c23188bb374a26bbc0010006e002c4aa6255b1aa5855ac2a5615ab8a55"
    "c5aa6255b12a391dfc15e32c03face79ce739ef39cf7ad6a006c00580e00"
)
"""4x3 samples of 16 bits, lossless: 128, 2859, 5590, ... As the next, made with imagecodecs: the plugin cannot."""
DEEP_COLOUR = bytes.fromhex(
    "ff0a1030fc00142d02080401002c014b188b15c23128b77b41f6768160001e80a84a5425aa125589aa4455a22a5195a84a54"
    "25aae28fd7cbcdfcc6277c43344cc3344cc334c3f1c835c24f3d4992649af94695aabaa8aa63aa00"
)
"""128, 1948, 3768, ..."""
ANIMATION = bytes.fromhex("ff0a10304113008809080401001c004b188b15820300080405003c004b188b15c249411e80fe0000000000")
"""A black and a white frame of 4x3 pixels."""
HEIC_START = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def saved(array: Any, format: str, **options: Any) -> io.BytesIO:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format, **options)
    return buffer


def read_silently(file: io.BytesIO, **options: Any) -> Picture:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_picture(file, **options)


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    caches = (optional_suffixes, picture_suffixes)
    monkeypatch.setattr(dcacodec.images.optional, "find_spec", lambda name: None)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def test_heic() -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    exif = Image.Exif()
    exif[274], exif[271] = 6, "Maker"
    picture = read_silently(saved(SMOOTH, "HEIF", quality=95, exif=exif.tobytes(), icc_profile=profile()))
    assert picture.pixels.shape == (80, 48, 3)
    assert np.abs(np.rot90(picture.pixels).astype(int) - SMOOTH).max() < 12
    assert picture.exif is not None and b"Maker" in picture.exif
    assert ".heic" in picture_suffixes()


def test_a_deep_heic_is_rounded() -> None:
    heif = pytest.importorskip("pillow_heif")
    samples = np.repeat((np.arange(80) * 800).astype(np.uint16)[np.newaxis, :, np.newaxis], 48, 0).repeat(3, 2)
    buffer = io.BytesIO()
    heif.from_bytes(mode="RGB;16", size=(80, 48), data=samples.tobytes()).save(buffer, quality=-1, chroma=444)
    assert main_picture(buffer.getvalue()).bits == 10
    with pytest.warns(match="10 bits are rounded"):
        picture = read_picture(buffer)
    assert abs((picture.pixels - samples / 257).mean()) < 0.1


def test_jpeg_xl() -> None:
    pytest.importorskip("pillow_jxl")
    for array in (PIXELS, PIXELS[..., 0], np.dstack((PIXELS, PIXELS[..., 0]))):
        file = saved(array, "JXL", lossless=True)
        picture = read_silently(file)
        assert picture.gray == (array.ndim == 2)
        expected = array[..., np.newaxis] if array.ndim == 2 else array[..., :3]
        assert (picture.pixels == expected).all()
        with pytest.raises(TooLargeError):
            read_picture(file, max_pixels=48 * 80 - 1)


def test_a_deep_jpeg_xl() -> None:
    """Of colour the plugin keeps the upper bytes; gray and alpha it takes for twice as many samples of 8 bits."""
    pytest.importorskip("pillow_jxl")
    gray = (np.arange(24).reshape(3, 4, 2) * 2731 + 128) / 257
    with pytest.warns(match="16 bits are rounded"):
        picture = read_picture(io.BytesIO(DEEP_GRAY_AND_ALPHA))
    assert picture.gray and picture.alpha is not None
    assert np.array_equal(np.dstack((picture.pixels[..., 0], picture.alpha)), np.rint(gray))
    with Image.open(io.BytesIO(DEEP_GRAY_AND_ALPHA)) as image, pytest.warns(match="16 bits are rounded"):
        again = from_pillow(image)
    assert again.alpha is not None
    assert np.array_equal(np.dstack((again.pixels[..., 0], again.alpha)), np.rint(gray))
    colour = (np.arange(36).reshape(3, 4, 3) * 1820 + 128) / 257
    with pytest.warns(match="16 bits are reduced"):
        picture = read_picture(io.BytesIO(DEEP_COLOUR))
    assert np.abs(picture.pixels - colour).max() < 1


def test_an_animated_jpeg_xl_is_refused() -> None:
    """The plugin gives the last frame, and says that there is one."""
    pytest.importorskip("pillow_jxl")
    with pytest.raises(ImageError) as caught:
        read_picture(io.BytesIO(ANIMATION))
    assert "animated" in one_line(caught)


def test_the_orientation_in_exif_data_of_a_jpeg_xl_does_not_count() -> None:
    """ISO/IEC 18181-2: that of the codestream does, and the decoder applies it."""
    pytest.importorskip("pillow_jxl")
    exif = Image.Exif()
    exif[274], exif[271] = 6, "Maker"
    picture = read_silently(saved(PIXELS, "JXL", lossless=True, exif=exif.tobytes()))
    assert np.array_equal(picture.pixels, PIXELS)
    assert picture.exif is not None
    kept = Image.Exif()
    kept.load(b"Exif\0\0" + picture.exif)
    assert (kept[271], kept[274]) == ("Maker", 1)


@pytest.mark.parametrize("side", [1, 8, 48, 256, 257, 600, pytest.param(5000, marks=pytest.mark.slow)])
def test_the_header_of_a_jpeg_xl(side: int) -> None:
    pytest.importorskip("pillow_jxl")
    for width in (side, 2 * side, side + 1, side * 3 // 2 or 1):
        data = saved(np.zeros((side, width), np.uint8), "JXL", effort=1).getvalue()
        assert jxl_header(data) == JxlHeader(width, side)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("ff0a103030004a0810100040004b188b1592382ef00310000000000100", "premultiplied"),
        ("ff0a1030300a40020810100040004b188b1592382ef00310000000000100", "CMYK"),
    ],
)
def test_channels_of_a_jpeg_xl_that_its_plugin_ignores_are_refused(data: str, told: str) -> None:
    """4x3 samples of 7, whose header was changed: what was straight alpha is premultiplied, or black."""
    pytest.importorskip("pillow_jxl")
    straight = io.BytesIO(bytes.fromhex("ff0a1030b0120810100040004b188b1592382ef00310000000000100"))
    assert read_silently(straight).alpha is not None
    with pytest.raises(ImageError) as caught:
        read_picture(io.BytesIO(bytes.fromhex(data)))
    assert told in one_line(caught)


@pytest.mark.parametrize("data", [b"", b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0b", b"\0\0\0\x09jxlcx"])
def test_no_header_of_a_jpeg_xl(data: bytes) -> None:
    assert jxl_header(data) is None


@pytest.mark.parametrize(("start", "package"), [(JXL_START, "pillow-jxl-plugin"), (HEIC_START, "pillow-heif")])
@pytest.mark.usefixtures("nothing_installed")
def test_a_missing_package_is_named(start: bytes, package: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_picture(io.BytesIO(start + bytes(100)))
    assert package in one_line(caught) and "dcacodec[formats]" in one_line(caught)


@pytest.mark.usefixtures("nothing_installed")
def test_a_batch_counts_what_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.heic", "b.HEIC", "c.jxl", "d.txt"):
        (tmp_path / "in" / name).write_bytes(b"")
    Image.new("RGB", (8, 8)).save(tmp_path / "in" / "e.png")
    arguments = ["batch", "--device", "cpu", "-j", "1", str(tmp_path / "in"), str(tmp_path / "out")]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0
    (line,) = [line for line in result.stderr.splitlines() if "dcacodec[formats]" in line]
    assert "3 of them" in line and "HEIC, JPEG XL" in line
    assert unread_formats([Path("x.txt"), Path("y.png")]) == (0, [])
