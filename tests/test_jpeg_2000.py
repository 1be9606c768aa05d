"""JPEG 2000 files: read with the right values, or refused by name."""

import io
import struct
import warnings

import numpy as np
import pytest
from picture_files import Array, noise, profile, read_silently, saved
from PIL import Image, features
from told import one_line

from dcacodec.errors import ImageError, ImageWarning
from dcacodec.images.formats import picture_suffixes
from dcacodec.images.isobmff import boxes
from dcacodec.images.pillow import from_pillow
from dcacodec.images.reading import read_picture

pytestmark = pytest.mark.skipif(not features.check("jpg_2000"), reason="Pillow was built without JPEG 2000")

PIXELS = noise(48, 80, 3)


def test_jpeg_2000() -> None:
    for options in ({}, {"no_jp2": True}):
        assert np.array_equal(read_silently(saved(PIXELS, "JPEG2000", **options)).pixels, PIXELS)
    gray = read_silently(saved(PIXELS[..., 0], "JPEG2000"))
    assert gray.gray and np.array_equal(gray.pixels[..., 0], PIXELS[..., 0])
    alpha = read_silently(saved(np.dstack((PIXELS, PIXELS[..., 0])), "JPEG2000")).alpha
    assert alpha is not None and np.array_equal(alpha, PIXELS[..., 0])
    assert ".jp2" in picture_suffixes()


def test_deep_jpeg_2000() -> None:
    samples = np.random.default_rng(2).integers(0, 1 << 16, (48, 80), dtype=np.uint16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.array_equal(
            read_picture(saved(samples, "JPEG2000")).pixels[..., 0], np.rint(samples / 257).astype(np.uint8)
        )
    data = bytearray(saved(PIXELS, "JPEG2000").getvalue())
    data[data.index(b"\xff\x4f\xff\x51") + 4 + 38] = 11  # 12 bits
    with pytest.raises(ImageError) as caught:
        read_picture(io.BytesIO(data))
    assert "12-bit" in one_line(caught)


def test_the_profile_of_a_jpeg_2000() -> None:
    """Pillow neither reads nor writes it."""
    data = saved(PIXELS, "JPEG2000").getvalue()
    header = data.index(b"jp2h") - 4
    colour = data.index(b"colr") - 4
    icc = profile()
    box = (11 + len(icc)).to_bytes(4, "big") + b"colr\2\0\0" + icc
    size = int.from_bytes(data[header : header + 4], "big") - 15 + len(box)
    changed = data[:header] + size.to_bytes(4, "big") + data[header + 4 : colour] + box + data[colour + 15 :]
    assert read_silently(io.BytesIO(changed)).icc == icc


@pytest.mark.parametrize(("code", "told"), [(16, False), (18, False), (14, True), (20, True), (21, True)])
def test_the_colour_space_of_a_jpeg_2000(code: int, told: bool) -> None:
    """By number: sRGB and its YCC need no word; CIELab, e-sRGB and ROMM RGB are not what they are taken for."""
    data = bytearray(saved(PIXELS, "JPEG2000").getvalue())
    number = data.index(b"colr") + 7
    assert data[number : number + 4] == b"\0\0\0\x10"
    data[number : number + 4] = code.to_bytes(4, "big")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        picture = read_picture(io.BytesIO(data))
    assert [("sRGB" in str(each.message), each.category) for each in caught] == [(True, ImageWarning)] * told
    assert np.array_equal(picture.pixels, PIXELS) or code == 18


def of_depth(samples: Array, component: int, bits: int) -> io.BytesIO:
    """A codestream that says that one of its components has fewer bits."""
    data = bytearray(saved(samples, "JPEG2000", no_jp2=True, mct=0).getvalue())
    data[data.index(b"\xff\x4f\xff\x51") + 4 + 38 + 3 * component] = bits - 1
    return io.BytesIO(data)


@pytest.mark.parametrize("bits", [1, 2, 4, 7])
@pytest.mark.parametrize(("bands", "component"), [(1, 0), (3, 1), (4, 3)])
def test_samples_of_few_bits_are_refused(bands: int, component: int, bits: int) -> None:
    """Pillow shifts them: white is 128 where it has 1 bit, and what is opaque becomes half transparent."""
    middle = np.full((8, 8, bands) if bands > 1 else (8, 8), 127, np.uint8)
    file = of_depth(middle, component, bits)
    with pytest.raises(ImageError) as caught:
        read_picture(file)
    assert f"{bits}-bit" in one_line(caught)
    with Image.open(file) as image, pytest.raises(ImageError) as caught:
        from_pillow(image)
    assert f"{bits}-bit" in one_line(caught)
    assert read_picture(of_depth(middle, component, 8)).pixels.shape == (8, 8, 3)


INDICES = np.tile(np.arange(8, dtype=np.uint8), (16, 2))
PALETTE = [(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255), (9, 8, 7)]


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def with_palette(
    colours: list[tuple[int, int, int]], depth: int = 8, columns: tuple[int, ...] = (0, 1, 2)
) -> io.BytesIO:
    found = dict(boxes(saved(INDICES, "JPEG2000").getvalue()))
    entries = struct.pack(">HB", len(colours), 3) + bytes([depth - 1] * 3) + b"".join(map(bytes, colours))
    mapping = b"".join(struct.pack(">HBB", 0, 1, column) for column in columns)
    found[b"jp2h"] = (
        box(b"ihdr", dict(boxes(found[b"jp2h"]))[b"ihdr"])
        + box(b"colr", struct.pack(">BBBI", 1, 0, 0, 16))
        + box(b"pclr", entries)
        + box(b"cmap", mapping)
    )
    return io.BytesIO(b"".join(box(*each) for each in found.items()))


def test_a_palette() -> None:
    assert np.array_equal(read_silently(with_palette(PALETTE)).pixels, np.array(PALETTE, np.uint8)[INDICES])


@pytest.mark.parametrize(
    "file",
    [
        with_palette([*PALETTE[:2], *PALETTE[1:7]]),
        with_palette(PALETTE[:1] * 8),
        with_palette(PALETTE, depth=4),
        with_palette(PALETTE, columns=(2, 1, 0)),
    ],
    ids=["repeated", "all the same", "4 bits", "in another order"],
)
def test_a_palette_that_pillow_changes_is_refused(file: io.BytesIO) -> None:
    """It merges equal colours, so that the indices after them are those of others, and reads the rest as it stands."""
    with pytest.raises(ImageError) as caught:
        read_picture(file)
    assert "palette" in one_line(caught)
    with Image.open(file) as image, pytest.raises(ImageError):
        from_pillow(image)


def test_a_palette_of_gray_is_refused() -> None:
    """Pillow takes its indices for samples, or, before version 13, fails."""
    data = with_palette(PALETTE).getvalue().replace(b"colr\1\0\0\0\0\0\x10", b"colr\1\0\0\0\0\0\x11")
    with pytest.raises(ImageError) as caught:
        read_picture(io.BytesIO(data))
    assert one_line(caught)


def with_channels(samples: Array, *channels: tuple[int, int, int]) -> io.BytesIO:
    """A file that says of each channel its number, kind (colour, alpha, premultiplied alpha) and colour."""
    found = dict(boxes(saved(samples, "JPEG2000", mct=0).getvalue()))
    header = dict(boxes(found[b"jp2h"]))
    header[b"cdef"] = struct.pack(">H", len(channels)) + b"".join(struct.pack(">HHH", *each) for each in channels)
    found[b"jp2h"] = b"".join(box(*each) for each in header.items())
    return io.BytesIO(b"".join(box(*each) for each in found.items()))


COLOURS = [(0, 0, 1), (1, 0, 2), (2, 0, 3)]


@pytest.mark.parametrize(
    "channels",
    [COLOURS, COLOURS[::-1], [*COLOURS, (3, 1, 0)], [(3, 1, 0), *COLOURS], [(0, 0, 1), (1, 1, 0)], [(0, 0, 1)]],
)
def test_channels_in_their_order(channels: list[tuple[int, int, int]]) -> None:
    samples = noise(8, 8, len(channels)) if len(channels) > 1 else noise(8, 8)
    picture = read_silently(with_channels(samples, *channels))
    colours = samples[..., :-1] if len(channels) in (2, 4) else samples.reshape(8, 8, -1)
    assert np.array_equal(picture.pixels, np.broadcast_to(colours, (8, 8, 3)))
    assert picture.alpha is None or np.array_equal(picture.alpha, samples[..., -1])


@pytest.mark.parametrize(
    "channels",
    [
        [(0, 0, 3), (1, 0, 2), (2, 0, 1)],
        [(0, 1, 0), (1, 0, 1), (2, 0, 2), (3, 0, 3)],
        [*COLOURS, (3, 2, 0)],
        [*COLOURS, (3, 65535, 65535)],
        [(0, 0, 1), (1, 2, 0)],
        [(0, 1, 0), (1, 0, 1)],
    ],
    ids=["BGR", "ARGB", "premultiplied", "unspecified", "premultiplied gray", "alpha first"],
)
def test_channels_that_pillow_takes_for_others_are_refused(channels: list[tuple[int, int, int]]) -> None:
    file = with_channels(noise(8, 8, len(channels)), *channels)
    with pytest.raises(ImageError) as caught:
        read_picture(file)
    assert "channels" in one_line(caught)
    with Image.open(file) as image, pytest.raises(ImageError):
        from_pillow(image)


SUBSAMPLED = (
    "ff4fff51002f0000000000{0:02x}000000040000000000000000000000{0:02x}0000000400000000000000000003070101070202070202"
    "ff52000c00000001000004040001ff5c00044040ff90000a0000000000{1}ffd9"
)
"""A codestream of 4 rows whose chroma has half as many columns and rows. Made with opj_compress."""
EVEN = SUBSAMPLED.format(4, "2d0001ff93df807011f707f52231b58b0676cd82687fc3e70806487db3c7d40804d346bf")
ODD = SUBSAMPLED.format(5, "330001ff93df8078118ad5c7081a9529288c3631236557df803814c54ba924ef1fdf803014b74b10cfdb")


def test_subsampled_channels() -> None:
    """Where the number of their samples is rounded up, Pillow rounds it down: rows begin at wrong places."""
    read = read_silently(io.BytesIO(bytes.fromhex(EVEN))).pixels
    luma = 16 * np.arange(16).reshape(4, 4)
    assert np.abs(read @ (0.299, 0.587, 0.114) - luma)[1:3].max() < 1  # others are cut to 0..255
    file = io.BytesIO(bytes.fromhex(ODD))
    with pytest.raises(ImageError) as caught:
        read_picture(file)
    assert "2x2" in one_line(caught)
    with Image.open(file) as image, pytest.raises(ImageError):
        from_pillow(image)
