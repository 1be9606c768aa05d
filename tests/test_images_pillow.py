"""Pillow's images turned into pictures and back, as if read from and written to their files."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import PIL
import pytest
from api_pictures import ALPHA, PIXELS, png, same
from picture_files import profile
from PIL import Image
from told import one_line

from dcacodec import Picture, read_picture
from dcacodec.errors import ImageError, ImageWarning
from dcacodec.images.any_image import picture_of
from dcacodec.images.pillow import from_pillow, to_pillow
from dcacodec.images.writing import write_picture

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
    if image.mode == "YCbCr" and int(PIL.__version__.split(".")[0]) < 13:
        pytest.skip("libtiff, which reads these with older Pillow, rounds in another way")
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


def test_losses_are_reported() -> None:
    with pytest.warns(ImageWarning, match="16 bits"):
        picture_of(IMAGES["I;16"][0])
    with pytest.warns(ImageWarning, match="CMYK"):
        picture_of(IMAGES["CMYK"][0])


def test_an_image_is_turned_upright_and_left_as_it_is() -> None:
    data = png(Image.fromarray(PIXELS), exif=EXIF, icc_profile=profile())
    expected = read_picture(io.BytesIO(data))
    assert (expected.width, expected.icc) == (20, profile())
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
    source = Picture(pixels, gray, ALPHA if alpha else None, profile(), EXIF[6:])
    buffer = io.BytesIO()
    write_picture(source, buffer, "png")
    image = to_pillow(source)
    with Image.open(buffer) as opened:
        assert (image.mode, image.size) == (opened.mode, opened.size)
        assert image.tobytes() == opened.tobytes()
        assert {name: image.info[name] for name in ("icc_profile", "exif")} == opened.info
