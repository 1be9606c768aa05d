"""Pictures in and out: every supported kind to the sample, every unsupported one to its error."""

import base64
import io
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, TiffTags
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from told import one_line

from dcacodec.errors import ImageError, ImageWarning, TooLargeError
from dcacodec.images.alpha import decode_alpha, encode_alpha
from dcacodec.images.formats import OUTPUT_FORMATS, format_for, has_picture_name
from dcacodec.images.picture import Picture
from dcacodec.images.pillow import from_pillow, to_pillow
from dcacodec.images.reading import read_picture
from dcacodec.images.writing import write_picture

Array = NDArray[Any]

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()  # made once: the time of making is in it
needs_pillow_13 = pytest.mark.skipif(int(PIL.__version__.split(".")[0]) < 13, reason="older Pillow refuses such TIFFs")


def noise(*shape: int, seed: int = 1) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def saved(array: Array | Image.Image, format: str, **options: Any) -> io.BytesIO:
    """A picture file made by Pillow."""
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer


def png(header: tuple[int, int, int, int], rows: bytes, *extra: tuple[bytes, bytes]) -> io.BytesIO:
    """A PNG put together by hand: (width, height, bit depth, colour type) and rows that start with a filter byte."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    chunks = [
        (b"IHDR", struct.pack(">IIBB", *header) + b"\0\0\0"),
        *extra,
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks))


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


def gray(plane: Array) -> Array:
    return np.stack([plane] * 3, axis=-1)


def assert_same(left: Picture, right: Picture) -> None:
    assert np.array_equal(left.pixels, right.pixels)
    assert left.gray == right.gray
    assert (left.alpha is None) == (right.alpha is None)
    assert left.alpha is None or right.alpha is None or np.array_equal(left.alpha, right.alpha)
    assert (left.icc, left.exif, left.xmp) == (right.icc, right.exif, right.xmp)


def read_silently(source: BinaryIO | Path | str) -> Picture:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_picture(source)


def read_with_warning(source: BinaryIO, expected: str) -> Picture:
    """A picture that is read with one warning, of one line that tells this."""
    with pytest.warns(ImageWarning) as caught:
        picture = read_picture(source)
    (text,) = [str(each.message) for each in caught]
    assert text.isprintable() and expected in text
    return picture


# -------------------------------------------------------------------------------------------------------------- Picture


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


# -------------------------------------------------------------------------------------------------------------- reading

COLOUR, PLANE, ALPHA = noise(5, 7, 3), noise(5, 7, seed=2), noise(5, 7, seed=3)
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


PALETTE = noise(256, 3, seed=4)


def with_palette() -> Image.Image:
    image = Image.frombytes("P", (7, 5), PLANE.tobytes())
    image.putpalette(PALETTE.tobytes())
    return image


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


def cmyk_profile() -> bytes:
    """A CMYK profile for which black ink makes the lightness and the other inks do nothing."""
    ramp = bytes(range(256))
    corners = b"".join(bytes((0 if corner & 1 else 255, 128, 128)) for corner in range(16))  # Lab, K varies fastest
    table = (
        b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    )
    table += ramp * 4 + corners + ramp * 3
    table += bytes(-len(table) % 4)
    header = struct.pack(">I4sI4s4s4s", 128 + 16 + len(table), b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    header += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + struct.pack(">I4sII", 1, b"A2B0", 144, len(table)) + table


def test_cmyk_with_a_profile() -> None:
    inks = np.zeros((1, 3, 4), np.uint8)
    inks[0, 1, 3], inks[0, 2, :3] = 255, 200  # paper, black, and much of all colours, which this profile ignores
    file = saved(Image.frombytes("CMYK", (3, 1), inks.tobytes()), "TIFF", icc_profile=cmyk_profile())
    picture = read_with_warning(file, "CMYK")
    assert_same(picture, Picture(np.array([[[255] * 3, [0] * 3, [255] * 3]], np.uint8)))


# 16 bits

WIDE = np.random.default_rng(6).integers(0, 1 << 16, (5, 7, 4), dtype=np.uint16)
UPPER = np.rint(WIDE / 257).astype(np.uint8)
XMP = "<x:xmpmeta xmlns:x='adobe:ns:meta/'>\u00e4</x:xmpmeta>".encode()
REDUCED = "16 bits"


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
    picture = read_with_warning(io.BytesIO(b"P6 2 1 65535\n" + bytes.fromhex("0000 8080 ffff ffff 0101 7f7f")), REDUCED)
    assert_same(picture, Picture(np.array([[[0, 128, 255], [255, 1, 127]]], np.uint8)))


def test_10_bit_avif() -> None:
    # 16x16 pixels of gray, made by avifenc -d 10.
    file = base64.b64decode(
        "AAAAHGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZgAAAPBtZXRhAAAAAAAAAChoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAbGliYXZpZgAA"
        "AAAOcGl0bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAEUAAAAHgAAAChpaW5mAAAAAAABAAAAGmluZmUCAAAAAAEAAGF2MDFDb2xv"
        "cgAAAABoaXBycAAAAElpcGNvAAAAFGlzcGUAAAAAAAAAEAAAABAAAAAOcGl4aQAAAAABCgAAAAxhdjFDgQBcAAAAABNjb2xybmNseAABAA0A"
        "BoAAAAAXaXBtYQAAAAAAAAABAAEEAQKDBAAAACZtZGF0EgAKCBgM//ngIaDUMhAXgAABAASDqBW45/+Ltg7g"
    )
    picture = read_with_warning(io.BytesIO(file), "10 bits")
    assert picture.pixels.shape == (16, 16, 3)


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


def saved_with_xmp(format: str, xmp: bytes, **options: Any) -> BinaryIO:
    """A picture in a format, with an XMP packet."""
    if format == "PNG":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode(), zip=True)
    elif format == "TIFF":
        options["tiffinfo"] = {700: xmp}
    else:
        options["xmp"] = xmp
    return saved(Image.fromarray(COLOUR), format, **options)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_an_xmp_packet_is_kept(format: str) -> None:
    assert read_silently(saved_with_xmp(format, XMP)).xmp == XMP


@pytest.mark.parametrize("exif", [None, 1, 6])
@pytest.mark.parametrize(
    ("tag", "kept"),
    [
        (b'tiff:Orientation="6"', b'tiff:Orientation="1"'),
        (b"tiff:Orientation = '6'", b'tiff:Orientation="1"'),
        (b"<tiff:Orientation>6</tiff:Orientation>", b"<tiff:Orientation>1</tiff:Orientation>"),
        (b"<tiff:Orientation >\n6 </tiff:Orientation>", b"<tiff:Orientation>1</tiff:Orientation>"),
    ],
)
def test_a_picture_is_upright_in_its_xmp_packet_too(tag: bytes, kept: bytes, exif: int | None) -> None:
    """It counts where the EXIF data say nothing. Pillow takes it away once it has turned a picture."""
    options = {} if exif is None else {"exif": b"Exif\0\0" + exif_with(exif)}
    picture = read_silently(saved_with_xmp("PNG", XMP + tag, **options))
    turned = exif != 1
    assert picture.xmp == (XMP if turned else XMP + kept)
    assert np.array_equal(picture.pixels, TURNS[6](COLOUR) if turned else COLOUR)
    assert_same(read_silently(written(picture, "png")), picture)


def test_only_the_orientation_of_an_xmp_packet_is_changed() -> None:
    others = b'<x exif:Orientation="6" tiff:Orientations="6" other="8"/>'
    assert read_silently(saved_with_xmp("PNG", others)).xmp == others


def test_that_the_rest_of_a_long_xmp_packet_is_lost_is_reported() -> None:
    assert read_silently(saved_with_xmp("JPEG", XMP + b"ExtendedXMP")).xmp == XMP + b"ExtendedXMP"
    packet = XMP + b'xmpNote:HasExtendedXMP="0123"'
    picture = read_with_warning(saved_with_xmp("JPEG", packet), "XMP")
    assert picture.xmp == packet


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_damaged_exif_data_do_not_take_the_orientation_of_an_xmp_packet_away(form: str) -> None:
    packet = XMP + b'tiff:Orientation="6"'
    file = saved_with_xmp(form, packet, exif=b"Exif\0\0junk", **({"quality": 100} if form == "JPEG" else {}))
    with pytest.warns(ImageWarning, match="EXIF"):
        picture = read_picture(file)
    stored = np.array(Image.open(file))
    assert (picture.exif, np.array_equal(picture.pixels, TURNS[6](stored))) == (None, True)
    assert picture.xmp is not None and b'"6"' not in picture.xmp


def test_a_damaged_profile_of_exif_data_does_not_either() -> None:
    texts = PngInfo()
    texts.add_text("Raw profile type exif", "no\nhex\nat\nall")
    texts.add_itxt("XML:com.adobe.xmp", 'tiff:Orientation="6"')
    with pytest.warns(ImageWarning, match="EXIF"):
        picture = read_picture(saved(COLOUR, "PNG", pnginfo=texts))
    assert_same(picture, Picture(TURNS[6](COLOUR)))  # nothing is left of the packet


def test_a_picture_is_turned_once_where_the_exif_data_fail_thereafter(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(exif: Image.Exif, offset: int = 8) -> bytes:
        raise ValueError("odd tags")

    monkeypatch.setattr(Image.Exif, "tobytes", fail)
    file = saved_with_xmp("PNG", XMP + b'tiff:Orientation="6"', exif=b"Exif\0\0" + exif_with(6))
    picture = read_with_warning(file, "odd tags")
    assert (picture.exif, np.array_equal(picture.pixels, TURNS[6](COLOUR))) == (None, True)


@pytest.mark.parametrize("kind", [TiffTags.SHORT, TiffTags.ASCII])
@pytest.mark.parametrize("tag", [b"", b'tiff:Orientation="6"'])
def test_an_xmp_packet_of_another_type_in_a_tiff(kind: int, tag: bytes) -> None:
    """Pillow fails on both. A text is taken, a number is not."""
    tags = ImageFileDirectory_v2()
    tags.tagtype[700] = kind
    tags[700] = 5 if kind == TiffTags.SHORT else (b"<x/>" + tag).decode()
    file = saved(Image.fromarray(COLOUR), "TIFF", tiffinfo=tags)
    if kind == TiffTags.SHORT:
        picture = read_with_warning(file, "XMP")
        assert_same(picture, Picture(COLOUR))
    else:
        assert_same(read_silently(file), Picture(TURNS[6](COLOUR) if tag else COLOUR, xmp=b"<x/>"))


def test_an_xmp_packet_that_is_no_itxt_of_a_png() -> None:
    for zipped in (False, True):
        texts = PngInfo()
        texts.add_text("XML:com.adobe.xmp", "<x/>", zip=zipped)
        assert read_silently(saved(Image.fromarray(COLOUR), "PNG", pnginfo=texts)).xmp == b"<x/>"
    texts = PngInfo()
    texts.add_text("Raw profile type xmp", "\nxmp\n       4\n3c782f3e\n")
    file = saved(Image.fromarray(COLOUR), "PNG", pnginfo=texts)
    assert read_with_warning(file, "unsupported").xmp is None


@pytest.mark.parametrize("exif", [None, 1])
@pytest.mark.parametrize("packet", [b"", XMP, XMP.decode(), 5])
def test_the_xmp_packet_of_an_image(packet: object, exif: int | None) -> None:
    image = Image.fromarray(COLOUR)
    image.info["xmp"] = packet
    if exif:
        image.info["exif"] = b"Exif\0\0" + exif_with(exif)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        picture = from_pillow(image)
    assert picture.xmp == (XMP if packet in (XMP, XMP.decode()) else None)
    assert picture.exif == (exif_with(exif) if exif else None)
    assert [(each.category, "XMP" in str(each.message)) for each in caught] == [(ImageWarning, True)] * (packet == 5)
    assert image.info["xmp"] == packet
    assert to_pillow(picture).info.get("xmp") == picture.xmp


# Sources


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


# Metadata


def exif_with(orientation: int, order: str = "<") -> bytes:
    """EXIF data of two tags, Make and Orientation, put together by hand."""
    entries = struct.pack(order + "HHI4s", 271, 2, 4, b"Me!\0") + struct.pack(
        order + "HHIHH", 274, 3, 1, orientation, 0
    )
    mark = {"<": b"II", ">": b"MM"}[order]
    return mark + struct.pack(order + "HI", 42, 8) + struct.pack(order + "H", 2) + entries + bytes(4)


# What the stored rows and columns are, by the definition of each orientation, and how to turn them upright.
TURNS: dict[int, Callable[[Array], Array]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: stored.swapaxes(0, 1)[:, ::-1],
    7: lambda stored: stored.swapaxes(0, 1)[::-1, ::-1],
    8: lambda stored: stored.swapaxes(0, 1)[::-1],
}


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


# ---------------------------------------------------------------------------------------------------------------- alpha

PLANES = st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(lambda shape: arrays(np.uint8, shape))


@given(PLANES)
@settings(max_examples=50, deadline=None)
def test_alpha_comes_back(alpha: NDArray[np.uint8]) -> None:
    assert np.array_equal(decode_alpha(encode_alpha(alpha), alpha.shape[1], alpha.shape[0]), alpha)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"PNG", "PNG"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (saved(PLANE, "BMP").getvalue(), "PNG"),
        (encode_alpha(PLANE).replace(b"IHDR", b"IDAT"), "PNG"),
        (encode_alpha(PLANE.T), "5x7"),
        (png((60000, 60000, 8, 0), b"").getvalue(), "60000x60000"),
        (saved(COLOUR, "PNG").getvalue(), "8-bit gray"),
        (saved(WIDE[..., 0], "PNG").getvalue(), "8-bit gray"),
        (encode_alpha(PLANE)[:-40], "truncated"),
    ],
)
def test_a_bad_alpha_plane_is_an_error(data: bytes, expected: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode_alpha(data, 7, 5)
    text = one_line(caught)
    assert "alpha" in text and expected in text


@pytest.mark.parametrize("header", [(8, 5, 8, 0), (7, 5, 16, 0), (7, 5, 8, 2), (60000, 60000, 8, 0)])
def test_a_second_header_in_an_alpha_plane_is_an_error(header: tuple[int, int, int, int]) -> None:
    """Pillow takes the last one; what was checked is the first."""
    second = png(header, b"").getvalue()[8:33]
    data = encode_alpha(PLANE)
    with pytest.raises(ImageError) as caught:
        decode_alpha(data[:33] + second + data[33:], 7, 5)
    assert "second header" in one_line(caught)


def test_pillows_limit_of_pixels_is_not_that_of_alpha(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert np.array_equal(decode_alpha(encode_alpha(PLANE), 7, 5), PLANE)


# -------------------------------------------------------------------------------------------------------------- writing


def written(picture: Picture, format: str) -> io.BytesIO:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_picture(picture, buffer, format)
    return buffer


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    height, width = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    is_gray = draw(st.booleans())
    pixels = draw(arrays(np.uint8, (height, width) if is_gray else (height, width, 3)))
    alpha = draw(st.none() | arrays(np.uint8, (height, width)))
    icc = SRGB if draw(st.booleans()) else None
    exif, xmp = draw(st.sampled_from([None, exif_with(1)])), draw(st.sampled_from([None, XMP]))
    return Picture(gray(pixels) if is_gray else pixels, is_gray, alpha, icc, exif, xmp)


@given(pictures())
@settings(max_examples=100, deadline=None)
def test_png_gives_back_everything(picture: Picture) -> None:
    assert_same(read_silently(written(picture, "png")), picture)


@given(pictures())
@settings(max_examples=100, deadline=None)
def test_tiff_gives_back_everything(picture: Picture) -> None:
    back = read_silently(written(picture, "tiff"))
    assert (back.exif is None) == (picture.exif is None)
    if back.exif is not None:
        tags = Image.Exif()
        tags.load(back.exif)
        assert dict(tags) == {ExifTags.Base.Make: "Me!"}
    assert_same(back, replace(picture, exif=back.exif))


@given(pictures())
@settings(max_examples=100, deadline=None)
def test_webp_gives_back_all_but_that_it_was_gray(picture: Picture) -> None:
    if picture.gray:
        picture = replace(picture, icc=None)
    # Where alpha is opaque throughout, a WebP holds none.
    alpha = None if picture.alpha is None or (picture.alpha == 255).all() else picture.alpha
    back = read_silently(written(picture, "webp"))
    assert_same(back, replace(picture, gray=False, alpha=alpha))


@given(arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3))))
@settings(max_examples=50, deadline=None)
def test_formats_for_colour_alone(pixels: NDArray[np.uint8]) -> None:
    for format in ("ppm", "bmp"):
        assert_same(read_silently(written(Picture(pixels), format)), Picture(pixels))


@given(PLANES)
@settings(max_examples=50, deadline=None)
def test_formats_for_gray_alone(plane: NDArray[np.uint8]) -> None:
    picture = Picture(gray(plane), gray=True)
    for format in ("pgm", "bmp"):
        assert_same(read_silently(written(picture, format)), picture)
    assert_same(read_silently(written(picture, "ppm")), Picture(gray(plane)))


def test_pnm_files_to_the_byte() -> None:
    pixels = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    assert written(Picture(pixels), "ppm").getvalue() == b"P6\n2 1\n255\n\1\2\3\4\5\6"
    assert written(Picture(gray(pixels[..., 0]), gray=True), "pgm").getvalue() == b"P5\n2 1\n255\n\1\4"


def test_writing_needs_no_seek() -> None:
    for format in ("png", "tiff", "webp", "ppm", "bmp"):
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None and process.stdout is not None
            write_picture(Picture(COLOUR), process.stdin, format)  # type: ignore[arg-type]
            process.stdin.close()
            assert process.stdout.read() == written(Picture(COLOUR), format).getvalue()


@pytest.mark.parametrize(
    ("picture", "format", "expected"),
    [
        (Picture(COLOUR), "gif", "png, tiff, webp, ppm, pgm, bmp, jpeg, avif"),
        (Picture(COLOUR), "pgm", "gray"),
        *((Picture(gray(PLANE), True, ALPHA), format, "png, tiff, webp") for format in ("ppm", "pgm", "bmp", "jpeg")),
        (Picture(np.zeros((1, 16384, 3), np.uint8)), "webp", "16384x1"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(picture: Picture, format: str, expected: str) -> None:
    buffer = io.BytesIO()
    with pytest.raises(ImageError) as caught:
        write_picture(picture, buffer, format)
    text = one_line(caught)
    assert format in text.lower() and expected in text
    assert buffer.getvalue() == b""


@pytest.mark.parametrize(
    ("picture", "format", "lost"),
    [
        (Picture(COLOUR, icc=SRGB, exif=exif_with(1), xmp=XMP), "ppm", ["ICC profile", "EXIF data", "XMP data"]),
        (Picture(COLOUR, icc=SRGB, exif=exif_with(1), xmp=XMP), "bmp", ["ICC profile", "EXIF data", "XMP data"]),
        (Picture(COLOUR, xmp=XMP.decode().encode("utf-16")), "png", ["XMP data"]),
        (Picture(COLOUR, xmp=bytes(8_000_001)), "png", ["XMP data"]),
        (Picture(COLOUR, exif=bytes(8_000_001)), "png", ["EXIF data"]),
        (Picture(COLOUR, icc=bytes((1 << 20) + 1)), "png", ["ICC profile"]),
        (Picture(gray(PLANE), True, icc=SRGB), "pgm", ["ICC profile"]),
        (Picture(gray(PLANE), True, icc=SRGB), "webp", ["ICC profile"]),
        (Picture(COLOUR, exif=b"junk"), "tiff", ["EXIF data"]),
        (Picture(COLOUR, exif=b""), "tiff", ["EXIF data"]),
    ],
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_metadata_that_a_format_cannot_hold_are_left_out_with_a_warning(
    picture: Picture, format: str, lost: list[str]
) -> None:
    buffer = io.BytesIO()
    with pytest.warns(ImageWarning) as caught:
        write_picture(picture, buffer, format)
    texts = [str(each.message) for each in caught]
    assert len(texts) == len(lost)
    for text, what in zip(texts, lost, strict=True):
        assert text.isprintable() and format.upper() in text and what in text
    assert buffer.getvalue() == written(Picture(picture.pixels, picture.gray), format).getvalue()


def test_directories_of_exif_reach_a_tiff(capfd: pytest.CaptureFixture[str]) -> None:
    directories: dict[int, dict[int, object]] = {
        ExifTags.IFD.Exif: {ExifTags.Base.ExposureProgram: 2, ExifTags.Base.DateTimeOriginal: "2024:01:02"},
        ExifTags.IFD.GPSInfo: {ExifTags.GPS.GPSLatitudeRef: "N"},
    }
    exif = Image.Exif()
    for directory, entries in directories.items():
        exif[directory] = entries
    back = read_silently(written(Picture(COLOUR, exif=exif.tobytes().removeprefix(b"Exif\0\0")), "tiff"))
    assert np.array_equal(back.pixels, COLOUR)
    assert back.exif is not None
    tags = Image.Exif()
    tags.load(b"Exif\0\0" + back.exif)
    assert {directory: dict(tags.get_ifd(directory)) for directory in directories} == directories
    assert capfd.readouterr() == ("", "")  # libtiff would write to stderr by itself


@pytest.mark.filterwarnings("error")
def test_exif_data_and_an_xmp_packet_in_one_tiff() -> None:
    """The directory of interoperability is named by an offset in the old file, and is not followed."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Maker"
    exif[ExifTags.IFD.Exif] = {
        ExifTags.Base.FNumber: 2.5,
        ExifTags.Base.UserComment: b"ASCII\0\0\0" + bytes(range(1, 200)),
        ExifTags.IFD.Interop: {1: "R98"},
    }
    raw = exif.tobytes().removeprefix(b"Exif\0\0")
    back = read_silently(written(Picture(COLOUR, exif=raw, xmp=XMP), "tiff"))
    assert (np.array_equal(back.pixels, COLOUR), back.xmp) == (True, XMP)
    tags = Image.Exif()
    assert back.exif is not None
    tags.load(b"Exif\0\0" + back.exif)
    inner = tags.get_ifd(ExifTags.IFD.Exif)
    assert (tags[ExifTags.Base.Make], inner[ExifTags.Base.FNumber]) == ("Maker", 2.5)
    assert ExifTags.IFD.Interop not in inner


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_an_xmp_packet_beside_exif_data_that_a_tiff_cannot_hold() -> None:
    buffer = io.BytesIO()
    with pytest.warns(ImageWarning, match=r"TIFF.*EXIF"):
        write_picture(Picture(COLOUR, exif=b"junk", xmp=XMP), buffer, "tiff")
    assert_same(read_silently(buffer), Picture(COLOUR, xmp=XMP))


def test_a_directory_of_exif_that_holds_itself() -> None:
    raw = b"II*\0\x08\0\0\0\1\0\x69\x87\4\0\1\0\0\0\x08\0\0\0\0\0\0\0"
    assert np.array_equal(read_silently(written(Picture(COLOUR, exif=raw), "tiff")).pixels, COLOUR)


def test_layout_tags_in_exif_do_not_reach_a_tiff() -> None:
    foreign = Image.Exif()
    foreign[ExifTags.Base.Make] = "Maker"
    foreign[ExifTags.Base.ImageWidth] = 1
    foreign[ExifTags.Base.StripOffsets] = 3
    foreign[ExifTags.Base.Compression] = 99
    picture = Picture(COLOUR, exif=foreign.tobytes().removeprefix(b"Exif\0\0"))
    file = written(picture, "tiff")
    assert np.array_equal(read_silently(file).pixels, COLOUR)
    assert Image.open(file).tag_v2[259] == 8  # type: ignore[attr-defined]


def test_format_by_suffix() -> None:
    for name, output in OUTPUT_FORMATS.items():
        for suffix in output.suffixes:
            assert format_for("a.b/picture" + suffix) == name
            assert format_for(Path("picture" + suffix.upper())) == name


@pytest.mark.parametrize(
    ("path", "expected"),
    [("x.jpe", ".jpe"), ("x.gif", ".gif"), ("x", "without suffix")],
)
def test_a_suffix_that_is_no_output_format(path: str, expected: str) -> None:
    with pytest.raises(ImageError) as caught:
        format_for(path)
    text = one_line(caught)
    assert expected in text and ".png, .tif, .tiff, .webp, .ppm, .pgm, .bmp, .jpg, .jpeg, .avif" in text


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("a.png", True), ("b/a.JPG", True), ("a.gif", True), ("a.qoi", True), ("a.pgm", True), ("a.jpe", True),
        ("._a.png", False), ("a.pfm", False), ("a.dca", False), ("png", False), ("a.txt", False), ("a.eps", False),
    ],
)  # fmt: skip
def test_what_is_taken_for_a_picture(name: str, taken: bool) -> None:
    assert has_picture_name(PurePosixPath(name)) == taken


def test_the_suffix_of_a_dca_file_is_known_without_pillows_formats() -> None:
    """Importing all of them takes 50 ms of every encoding."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from dcacodec.images.formats import has_picture_suffix\n"
        "print(has_picture_suffix(Path('a.DCA')), 'PIL.PdfImagePlugin' in sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "False False\n"
