"""Samples of more than 8 bits, which are rounded."""

import base64
import io
import struct

import numpy as np
import pytest
from picture_files import REDUCED, UPPER, WIDE, Array, assert_same, exif_with, gray, png, read_with_warning, saved
from PIL import Image
from told import one_line

from dcacodec.errors import ImageError, ImageWarning
from dcacodec.images.picture import Picture
from dcacodec.images.pillow import from_pillow
from dcacodec.images.reading import read_picture


def tiff(width: int, height: int, data: bytes, bits: tuple[int, ...], photometric: int) -> io.BytesIO:
    """An uncompressed little-endian TIFF put together by hand."""
    entries = [
        (256, 4, width),
        (257, 4, height),
        (259, 3, 1),
        (262, 3, photometric),
        (277, 3, len(bits)),
        (278, 4, height),
    ]
    entries += [(273, 4, 300), (279, 4, len(data))]
    depths = struct.pack(f"<{len(bits)}H", *bits)
    fields = {tag: struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries}
    inline = depths.ljust(4, b"\0") if len(depths) <= 4 else struct.pack("<I", 200)
    fields[258] = struct.pack("<HHI", 258, 3, len(bits)) + inline
    directory = struct.pack("<H", len(fields)) + b"".join(fields[tag] for tag in sorted(fields)) + b"\0\0\0\0"
    head = (b"II*\0\x08\0\0\0" + directory).ljust(200, b"\0") + depths
    return io.BytesIO(head.ljust(300, b"\0") + data)


def rows(samples: Array) -> bytes:
    """Big-endian rows of a PNG."""
    return b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)


def test_16_bit_gray_png() -> None:
    picture = read_with_warning(saved(WIDE[..., 0], "PNG"), REDUCED)
    assert_same(picture, Picture(gray(UPPER[..., 0]), gray=True))


def test_16_bit_gray_png_with_transparent_gray() -> None:
    samples = WIDE[..., 0].copy()
    samples[0, :2] = 0x1234, 0x1235  # equal once reduced, so that the key must be compared before
    picture = read_with_warning(png((7, 5, 16, 0), rows(samples), (b"tRNS", b"\x12\x34")), REDUCED)
    expected = np.full((5, 7), 255, np.uint8)
    expected[0, 0] = 0
    assert_same(picture, Picture(gray(np.rint(samples / 257).astype(np.uint8)), True, expected))


@pytest.mark.parametrize(("colour_type", "bands"), [(2, 3), (4, 2), (6, 4)])
def test_16_bit_png_with_several_bands(colour_type: int, bands: int) -> None:
    picture = read_with_warning(png((7, 5, 16, colour_type), rows(WIDE[..., :bands])), REDUCED)
    if bands == 2:
        assert_same(picture, Picture(gray(UPPER[..., 0]), True, UPPER[..., 1]))
    else:
        assert_same(picture, Picture(UPPER[..., :3], alpha=UPPER[..., 3] if bands == 4 else None))


@pytest.mark.parametrize("kind", ["png 2", "png 4", "png 6", "tiff"])
def test_an_opened_image_of_16_bits_is_rounded_too(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow cuts its samples when it loads them."""
    if kind.startswith("png"):
        file = png((7, 5, 16, int(kind[4])), rows(WIDE[..., : {"2": 3, "4": 2, "6": 4}[kind[4]]]))
    else:
        file = tiff(7, 5, WIDE[..., :3].astype("<u2").tobytes(), (16, 16, 16), 2)
    expected = read_with_warning(file, REDUCED)
    with Image.open(file) as image:
        for _ in range(2):  # it is not loaded
            with pytest.warns(ImageWarning, match=REDUCED):
                assert_same(from_pillow(image), expected)
        if kind != "tiff":  # which Pillow checks once more when it loads it
            monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)  # counts where images are opened
            with pytest.warns(ImageWarning, match=REDUCED):
                assert_same(from_pillow(image), expected)
        image.load()


def test_an_opened_image_of_16_bits_keeps_what_its_caller_changed() -> None:
    file = png((7, 5, 16, 2), rows(WIDE[..., :3]))
    with Image.open(file) as image:
        image.info["exif"] = b"Exif\0\0" + exif_with(1)
        with pytest.warns(ImageWarning):
            picture = from_pillow(image)
    assert picture.exif == exif_with(1)


def test_a_file_needs_no_more_methods_than_pillow_needs() -> None:
    class Least:
        def __init__(self, file: io.BytesIO) -> None:
            self.read, self.seek, self.tell = file.read, file.seek, file.tell

    file = png((7, 5, 16, 2), rows(WIDE[..., :3]))
    with Image.open(Least(file)) as image, pytest.warns(ImageWarning, match="rounded"):  # type: ignore[arg-type]
        assert_same(from_pillow(image), Picture(UPPER[..., :3]))


def test_16_bit_colour_png_with_transparent_colour_is_refused() -> None:
    with pytest.raises(ImageError) as caught:
        read_picture(png((7, 5, 16, 2), rows(WIDE[..., :3]), (b"tRNS", bytes(6))))
    assert "transparent" in one_line(caught)


def test_16_bit_gray_tiff() -> None:
    for mode, order in (("I;16", "<u2"), ("I;16B", ">u2")):
        image = Image.frombytes(mode, (7, 5), WIDE[..., 0].astype(order).tobytes())
        assert_same(read_with_warning(saved(image, "TIFF"), REDUCED), Picture(gray(UPPER[..., 0]), gray=True))


def test_16_bit_gray_tiff_where_white_is_zero() -> None:
    picture = read_with_warning(tiff(7, 5, WIDE[..., 0].astype("<u2").tobytes(), (16,), 0), REDUCED)
    assert_same(picture, Picture(gray(255 - UPPER[..., 0]), gray=True))


def test_12_bit_gray_tiff() -> None:
    samples = WIDE[0, :6, 0] >> 4
    packed = b"".join(
        bytes((first >> 4, (first & 15) << 4 | second >> 8, second & 255))
        for first, second in samples.reshape(3, 2).tolist()
    )
    picture = read_with_warning(tiff(6, 1, packed, (12,), 1), "12 bits")
    assert_same(picture, Picture(gray(np.rint(samples * (255 / 4095)).astype(np.uint8)[np.newaxis]), gray=True))


def test_16_bit_colour_tiff() -> None:
    picture = read_with_warning(tiff(7, 5, WIDE[..., :3].astype("<u2").tobytes(), (16, 16, 16), 2), REDUCED)
    assert_same(picture, Picture(UPPER[..., :3]))


def test_16_bit_pgm() -> None:
    file = io.BytesIO(b"P5 7 5 65535\n" + WIDE[..., 0].astype(">u2").tobytes())
    assert_same(read_with_warning(file, REDUCED), Picture(gray(UPPER[..., 0]), gray=True))


def test_pgm_of_an_odd_maximum() -> None:
    file = io.BytesIO(b"P5 3 1 1000\n" + np.array([0, 500, 1000], ">u2").tobytes())
    assert read_with_warning(file, REDUCED).pixels[0, :, 0].tolist() == [0, 128, 255]


def test_16_bit_ppm() -> None:
    file = io.BytesIO(b"P6 2 1 65535\n" + bytes.fromhex("0000 8080 ffff ffff 0101 7f7f"))
    picture = read_with_warning(file, "16 bits are rounded")
    assert_same(picture, Picture(np.array([[[0, 128, 255], [255, 1, 127]]], np.uint8)))
    assert_same(opened_with_warning(file, "16 bits are rounded"), picture)


def opened_with_warning(file: io.BytesIO, expected: str) -> Picture:
    """A picture of an image that is opened, and not loaded."""
    with Image.open(file) as image, pytest.warns(ImageWarning, match=expected) as caught:
        picture = from_pillow(image)
    assert len(caught) == 1
    return picture


def test_10_bit_avif() -> None:
    # 16x16 pixels of gray, made by avifenc -d 10.
    file = base64.b64decode(
        "AAAAHGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZgAAAPBtZXRhAAAAAAAAAChoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAbGliYXZpZgAA"
        "AAAOcGl0bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAEUAAAAHgAAAChpaW5mAAAAAAABAAAAGmluZmUCAAAAAAEAAGF2MDFDb2xv"
        "cgAAAABoaXBycAAAAElpcGNvAAAAFGlzcGUAAAAAAAAAEAAAABAAAAAOcGl4aQAAAAABCgAAAAxhdjFDgQBcAAAAABNjb2xybmNseAABAA0A"
        "BoAAAAAXaXBtYQAAAAAAAAABAAEEAQKDBAAAACZtZGF0EgAKCBgM//ngIaDUMhAXgAABAASDqBW45/+Ltg7g"
    )
    picture = read_with_warning(io.BytesIO(file), "10 bits are rounded")
    assert picture.pixels.shape == (16, 16, 3)
    assert_same(opened_with_warning(io.BytesIO(file), "10 bits are rounded"), picture)
