"""TIFF files of YCbCr, palettes and several extra bands: read with the colours and the alpha that they mean."""

import io
import struct
import warnings
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dcacodec.images.pillow import from_pillow
from dcacodec.images.reading import read_picture

tifffile = pytest.importorskip("tifffile")

RATIONAL = 5
JPEG_MATRIX, REC_709 = (0.299, 0.587, 0.114), (0.2126, 0.7152, 0.0722)
FULL_RANGE, VIDEO_RANGE = (0, 255, 128, 255, 128, 255), (16, 235, 128, 240, 128, 240)


def rationals(tag: int, values: tuple[float, ...]) -> tuple[int, int, int, tuple[int, ...], bool]:
    return tag, RATIONAL, len(values), tuple(part for value in values for part in (round(value * 10000), 10000)), True


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("matrix", [JPEG_MATRIX, REC_709])
@pytest.mark.parametrize("levels", [FULL_RANGE, VIDEO_RANGE])
def test_ycbcr(levels: tuple[int, ...], matrix: tuple[float, ...], compression: str | None, planar: bool) -> None:
    """By itself Pillow takes what is not compressed for the YCbCr of JPEG files."""
    rows, columns = np.indices((20, 30))
    light = np.dstack((rows * 12, columns * 8, 255 - rows * 6 - columns * 4)) / 255
    luma = (light * matrix).sum(-1)
    chroma = (light[..., 2] - luma) / (2 - 2 * matrix[2]), (light[..., 0] - luma) / (2 - 2 * matrix[0])
    black, white, middle, largest, _, _ = levels
    scaled = (black + luma * (white - black), *(middle + 2 * each * (largest - middle) for each in chroma))
    samples = np.rint(np.dstack(scaled)).clip(0, 255).astype(np.uint8)
    extra = [(529, matrix)] * (matrix != JPEG_MATRIX) + [(532, levels)] * (levels != FULL_RANGE)
    options: dict[str, Any] = {"planarconfig": "separate" if planar else "contig", "compression": compression}
    stored, file = np.ascontiguousarray(np.moveaxis(samples, -1, 0)) if planar else samples, io.BytesIO()
    tags = [rationals(*each) for each in extra]
    tifffile.imwrite(file, stored, photometric="ycbcr", subsampling=(1, 1), metadata=None, extratags=tags, **options)
    with Image.open(file) as image:
        for picture in (read_picture(file), from_pillow(image)):
            assert np.abs(picture.pixels.astype(int) - np.rint(light * 255)).max() <= 5


@pytest.mark.parametrize("factor", [1, 256, 257])
def test_values_of_a_palette_have_8_or_16_bits(factor: int) -> None:
    """Pillow takes the upper byte of all: black, where a program has written 8 bits."""
    random = np.random.default_rng(1)
    indices, palette = random.integers(0, 256, (20, 30), np.uint8), random.integers(0, 256, (3, 256), np.uint8)
    file = io.BytesIO()
    colours = palette.astype(np.uint16) * factor
    tifffile.imwrite(file, indices, photometric="palette", colormap=colours, metadata=None)
    with Image.open(file) as image:
        for picture in (read_picture(file), from_pillow(image)):
            assert np.array_equal(picture.pixels, palette.T[indices])


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
def test_alpha_behind_another_band(kind: str) -> None:
    random = np.random.default_rng(1)
    samples, alpha = random.integers(0, 256, (20, 30, 4), np.uint8), random.integers(1, 256, (20, 30), np.uint8)
    file = io.BytesIO()
    stored = np.dstack((samples // 2, alpha // 2 + 128))
    tifffile.imwrite(file, stored, photometric="rgb", extrasamples=["unspecified", kind], metadata=None)
    with pytest.warns(match="neither colour nor alpha"):
        picture = read_picture(file)
    assert picture.alpha is not None and np.array_equal(picture.alpha, stored[..., 4])
    straight = stored[..., :3] * (255 / stored[..., 4:] if kind == "assocalpha" else 1)
    assert np.abs(picture.pixels - straight).max() <= 1


def test_a_band_that_is_no_alpha_is_told_of() -> None:
    """GraphicsMagick writes alpha so."""
    file, samples = io.BytesIO(), np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    tifffile.imwrite(file, samples, photometric="rgb", extrasamples=["unspecified"])
    with Image.open(file) as image, pytest.warns(match="neither colour nor alpha"):
        pictures = [from_pillow(image)]
    with pytest.warns(match="neither colour nor alpha"):
        pictures.append(read_picture(file))
    for picture in pictures:
        assert picture.alpha is None and np.array_equal(picture.pixels, samples[..., :3])


@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize(("bands", "alpha", "told"), [(4, True, False), (5, False, True), (2, False, True)])
def test_bands_of_which_nothing_says_what_they_are(bits: int, bands: int, alpha: bool, told: bool) -> None:
    samples, file = np.arange(60, dtype=f"u{bits // 8}").reshape(3, -1, bands) << (bits - 8), io.BytesIO()
    colours, photometric = (3, "rgb") if bands > 2 else (1, "minisblack")
    options: dict[str, Any] = {"planarconfig": "contig", "extrasamples": ["unspecified"] * (bands - colours)}
    tifffile.imwrite(file, samples, photometric=photometric, metadata=None, **options)
    unsaid = file.getvalue().replace(struct.pack("<H", 338), struct.pack("<H", 337), 1)
    assert unsaid != file.getvalue()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        picture = read_picture(io.BytesIO(unsaid))
    assert any("neither colour nor alpha" in str(each.message) for each in caught) == told
    assert (picture.alpha is not None) == alpha
    assert np.abs(picture.pixels[..., :colours] - samples[..., :colours] / (1 << (bits - 8))).max() <= 1


def test_alpha_as_corel_draw_writes_it_is_no_other_band() -> None:
    file, samples = io.BytesIO(), np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    tifffile.imwrite(file, samples, photometric="rgb", extrasamples=["unassalpha"])
    field = struct.pack("<HHI", 338, 3, 1)
    data = file.getvalue().replace(field + b"\2\0", field + struct.pack("<H", 999))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = read_picture(io.BytesIO(data))
    assert picture.alpha is not None and np.array_equal(picture.alpha, samples[..., 3])
