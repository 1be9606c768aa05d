"""Orientation, EXIF data and ICC profiles that are read."""

from typing import Any

import numpy as np
import pytest
from picture_files import (
    ALPHA,
    COLOUR,
    PALETTE,
    PLANE,
    REDUCED,
    SRGB,
    TURNS,
    UPPER,
    WIDE,
    assert_same,
    exif_with,
    gray,
    read_silently,
    read_with_warning,
    saved,
    with_palette,
)
from PIL import ExifTags, Image

from dcacodec.errors import ImageWarning
from dcacodec.images.picture import Picture
from dcacodec.images.reading import read_picture


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize(("format", "options"), [("PNG", {}), ("JPEG", {}), ("WEBP", {"lossless": True})])
def test_orientation(format: str, options: dict[str, Any], orientation: int, order: str) -> None:
    stored = np.array(Image.open(saved(COLOUR, format, **options)))
    picture = read_silently(saved(COLOUR, format, exif=b"Exif\0\0" + exif_with(orientation, order), **options))
    assert_same(picture, Picture(TURNS[orientation](stored), exif=exif_with(1, order)))


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_orientation_of_tiff(orientation: int, compression: str | None) -> None:
    file = saved(np.dstack((COLOUR, ALPHA)), "TIFF", tiffinfo={274: orientation}, compression=compression)
    turn = TURNS[orientation]
    assert_same(read_silently(file), Picture(turn(COLOUR), alpha=turn(ALPHA)))


def test_orientation_of_gray_16_bit_and_palette() -> None:
    exif = b"Exif\0\0" + exif_with(6)
    picture = read_with_warning(saved(WIDE[..., 0], "PNG", exif=exif), REDUCED)
    assert_same(picture, Picture(gray(TURNS[6](UPPER[..., 0])), True, exif=exif_with(1)))
    picture = read_silently(saved(with_palette(), "PNG", exif=exif, transparency=b"\x80" * 256))
    assert_same(picture, Picture(TURNS[6](PALETTE[PLANE]), alpha=np.full((7, 5), 128, np.uint8), exif=exif_with(1)))


def test_exif_of_tiff_is_what_tells_about_the_picture() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Maker"
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.FNumber: 2.5}
    exif[ExifTags.IFD.GPSInfo] = {ExifTags.GPS.GPSLatitudeRef: "N"}
    picture = read_silently(saved(COLOUR, "TIFF", exif=exif.tobytes()))
    assert picture.exif is not None
    kept = Image.Exif()
    kept.load(picture.exif)
    assert set(kept) == {ExifTags.Base.Make, ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo}
    assert kept[ExifTags.Base.Make] == "Maker"
    assert kept.get_ifd(ExifTags.IFD.Exif) == {ExifTags.Base.FNumber: 2.5}
    assert kept.get_ifd(ExifTags.IFD.GPSInfo) == {ExifTags.GPS.GPSLatitudeRef: "N"}


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0junk", b"Exif\0\0" + exif_with(6)[:30]])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning", "ignore:TruncatedError File Read:UserWarning")
def test_damaged_exif_is_left_out_with_a_warning(exif: bytes) -> None:
    with pytest.warns(ImageWarning, match="EXIF"):
        picture = read_picture(saved(COLOUR, "PNG", exif=exif))
    assert_same(picture, Picture(COLOUR))


def test_icc_profile() -> None:
    for format in ("PNG", "TIFF", "JPEG", "WEBP"):
        assert read_silently(saved(COLOUR, format, icc_profile=SRGB)).icc == SRGB
