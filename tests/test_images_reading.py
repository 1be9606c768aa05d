"""What a picture is, and every supported kind of picture file read to the sample."""

import io
import struct
from typing import Any, BinaryIO

import numpy as np
import PIL
import pytest
from cmyk import cmyk_profile
from picture_files import (
    ALPHA,
    COLOUR,
    PALETTE,
    PLANE,
    SRGB,
    assert_same,
    gray,
    noise,
    png,
    read_silently,
    read_with_warning,
    saved,
    with_palette,
)
from PIL import Image
from told import one_line

from dcacodec.errors import ImageError
from dcacodec.images.picture import Picture
from dcacodec.images.reading import read_picture

needs_pillow_13 = pytest.mark.skipif(int(PIL.__version__.split(".")[0]) < 13, reason="older Pillow refuses such TIFFs")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"pixels": np.zeros((2, 3), np.uint8)}, "uint8 (2, 3)"),
        ({"pixels": np.zeros((2, 3, 4), np.uint8)}, "uint8 (2, 3, 4)"),
        ({"pixels": np.zeros((2, 3, 3))}, "float64 (2, 3, 3)"),
        ({"pixels": np.zeros((0, 3, 3), np.uint8)}, "3x0"),
        ({"pixels": np.zeros((2, 3, 3), np.uint8), "alpha": np.zeros((3, 2), np.uint8)}, "uint8 (3, 2)"),
        ({"pixels": noise(2, 3, 3), "gray": True}, "gray"),
    ],
)
def test_a_picture_is_checked_when_it_is_made(fields: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError) as caught:
        Picture(**fields)
    assert expected in one_line(caught)


BITS = PLANE > 127


def test_rgb() -> None:
    for format in ("PNG", "TIFF", "PPM", "BMP", "QOI"):
        assert_same(read_silently(saved(COLOUR, format)), Picture(COLOUR))
    assert_same(read_silently(saved(COLOUR, "WEBP", lossless=True)), Picture(COLOUR))


def test_jpeg_is_read_as_pillow_reads_it() -> None:
    file = saved(COLOUR, "JPEG")
    assert_same(read_silently(file), Picture(np.array(Image.open(file))))
    file = saved(PLANE, "JPEG")
    assert_same(read_silently(file), Picture(gray(np.array(Image.open(file))), gray=True))


def test_gray() -> None:
    for format in ("PNG", "TIFF", "PPM", "BMP"):
        assert_same(read_silently(saved(PLANE, format)), Picture(gray(PLANE), gray=True))


def test_one_bit() -> None:
    for format in ("PNG", "TIFF", "PPM", "BMP"):
        expected = Picture(gray(np.where(BITS, 255, 0).astype(np.uint8)), gray=True)
        assert_same(read_silently(saved(Image.fromarray(BITS), format)), expected)


def test_alpha_is_kept() -> None:
    for format in ("PNG", "TIFF"):
        assert_same(read_silently(saved(np.dstack((COLOUR, ALPHA)), format)), Picture(COLOUR, alpha=ALPHA))
        assert_same(read_silently(saved(np.dstack((PLANE, ALPHA)), format)), Picture(gray(PLANE), True, ALPHA))
    webp = saved(np.dstack((COLOUR, ALPHA)), "WEBP", lossless=True, exact=True)
    assert_same(read_silently(webp), Picture(COLOUR, alpha=ALPHA))


def test_an_opaque_alpha_plane_is_kept_too() -> None:
    opaque = np.full((5, 7), 255, np.uint8)
    assert_same(read_silently(saved(np.dstack((COLOUR, opaque)), "PNG")), Picture(COLOUR, alpha=opaque))


@needs_pillow_13
def test_premultiplied_gray() -> None:
    file = saved(np.dstack((np.full((5, 7), 60, np.uint8), np.full((5, 7), 128, np.uint8))), "TIFF")
    data = bytearray(file.getvalue())
    extra = data.index(struct.pack("<HHI", 338, 3, 1)) + 8
    assert data[extra] == 2  # unassociated
    data[extra] = 1
    expected = Picture(np.full((5, 7, 3), 60 * 255 // 128, np.uint8), True, np.full((5, 7), 128, np.uint8))
    assert_same(read_silently(io.BytesIO(data)), expected)


def test_palette() -> None:
    for format in ("PNG", "GIF", "TIFF", "BMP"):
        assert_same(read_silently(saved(with_palette(), format)), Picture(PALETTE[PLANE]))


def test_palette_with_one_transparent_entry() -> None:
    key = int(PLANE[2, 3])
    alpha = np.where(key == PLANE, 0, 255).astype(np.uint8)
    for format in ("PNG", "GIF"):
        assert_same(
            read_silently(saved(with_palette(), format, transparency=key)), Picture(PALETTE[PLANE], alpha=alpha)
        )


def test_palette_with_an_alpha_for_each_entry() -> None:
    alphas = noise(256, seed=5)
    file = saved(with_palette(), "PNG", transparency=alphas.tobytes())
    assert_same(read_silently(file), Picture(PALETTE[PLANE], alpha=alphas[PLANE]))


def test_palette_with_an_alpha_plane() -> None:
    image = with_palette().convert("PA")
    image.putalpha(Image.fromarray(ALPHA))
    assert_same(read_silently(saved(image, "TIFF")), Picture(PALETTE[PLANE], alpha=ALPHA))


def test_transparent_colour() -> None:
    key = tuple(int(each) for each in COLOUR[2, 3])
    alpha = np.where(np.equal(COLOUR, key).all(-1), 0, 255).astype(np.uint8)
    assert np.count_nonzero(alpha == 0) == 1
    assert_same(read_silently(saved(COLOUR, "PNG", transparency=key)), Picture(COLOUR, alpha=alpha))


def test_transparent_gray() -> None:
    key = int(PLANE[2, 3])
    alpha = np.where(key == PLANE, 0, 255).astype(np.uint8)
    assert_same(read_silently(saved(PLANE, "PNG", transparency=key)), Picture(gray(PLANE), True, alpha))


@pytest.mark.parametrize(("bits", "rows"), [(1, b"\0\xa0"), (2, b"\0\x1b"), (4, b"\0\x3c\x07")])
def test_transparent_gray_of_few_bits(bits: int, rows: bytes) -> None:
    samples = {1: [1, 0, 1, 0], 2: [0, 1, 2, 3], 4: [3, 12, 0, 7]}[bits]
    for key in (0, 1, samples[-1]):
        picture = read_silently(png((4, 1, bits, 0), rows, (b"tRNS", struct.pack(">H", key))))
        assert picture.gray
        assert picture.pixels[0, :, 0].tolist() == [each * 255 // (2**bits - 1) for each in samples]
        assert picture.alpha is not None
        assert picture.alpha[0].tolist() == [0 if each == key else 255 for each in samples]


@needs_pillow_13
def test_ycbcr() -> None:
    image = Image.fromarray(COLOUR).convert("YCbCr")
    assert_same(read_silently(saved(image, "TIFF")), Picture(np.array(image.convert("RGB"))))


def test_cmyk_without_a_profile() -> None:
    image = Image.frombytes("CMYK", (7, 5), np.dstack((COLOUR, PLANE)).tobytes())
    for icc in (None, SRGB, b"no profile"):
        picture = read_with_warning(saved(image, "TIFF", icc_profile=icc), "approximate")
        assert_same(picture, Picture(np.array(image.convert("RGB"))))


def test_cmyk_with_a_profile() -> None:
    inks = np.zeros((1, 3, 4), np.uint8)
    inks[0, 1, 3], inks[0, 2, :3] = 255, 200  # paper, black, and much of all colours, which this profile ignores
    file = saved(Image.frombytes("CMYK", (3, 1), inks.tobytes()), "TIFF", icc_profile=cmyk_profile())
    picture = read_with_warning(file, "CMYK")
    assert_same(picture, Picture(np.array([[[255] * 3, [0] * 3, [255] * 3]], np.uint8)))


def test_8_bit_avif() -> None:
    file = saved(COLOUR, "AVIF")
    assert_same(read_silently(file), Picture(np.array(Image.open(file))))


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        (saved(Image.new("F", (7, 5)), "TIFF"), "floating-point 32-bit"),
        (saved(Image.new("I", (7, 5)), "TIFF"), "signed 32-bit"),
        (saved(Image.new("LAB", (7, 5)), "TIFF"), "mode LAB"),
        (io.BytesIO(b"Pf 7 5 -1.0\n" + bytes(140)), "mode F"),
    ],
)
def test_unsupported_samples_are_refused(file: BinaryIO, kind: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_picture(file)
    assert kind in one_line(caught)


@pytest.mark.parametrize(("format", "options"), [("GIF", {}), ("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})])
def test_first_of_several_frames(format: str, options: dict[str, Any]) -> None:
    first, second = with_palette(), Image.fromarray(noise(5, 7, seed=8))
    if format == "WEBP":
        first = first.convert("RGB")
    file = saved(first, format, save_all=True, append_images=[second], **options)
    assert_same(read_with_warning(file, "several"), Picture(PALETTE[PLANE]))
