"""ICC profiles that are not whole: left out with one warning, and never passed on."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from picture_files import ALPHA, COLOUR, PLANE, SRGB, png, profile, read_silently, read_with_warning, saved
from PIL import Image

from dcacodec.errors import ImageWarning
from dcacodec.images.pillow import from_pillow
from dcacodec.images.reading import read_picture

ROWS = b"".join(b"\0" + row.tobytes() for row in COLOUR)
PACKED = zlib.compress(SRGB)
LONG = profile(bytes(100_000))
FORMATS = "PNG", "JPEG", "TIFF", "WEBP", "AVIF"


def png_with(packed: bytes, *extra: tuple[bytes, bytes]) -> io.BytesIO:
    return png((7, 5, 8, 2), ROWS, (b"iCCP", b"name\0\0" + packed), *extra)


def jpeg_without_a_part() -> io.BytesIO:
    """Of the two segments that hold a long profile, the second is taken away."""
    data = saved(COLOUR, "JPEG", quality=100, icc_profile=LONG).getvalue()
    start = data.index(b"ICC_PROFILE\0\2\2") - 4
    (length,) = struct.unpack_from(">H", data, start + 2)
    return io.BytesIO(data[:start] + data[start + 2 + length :])


DAMAGED = {
    "cut stream": png_with(PACKED[: len(PACKED) // 2]),
    "changed stream": png_with(PACKED[:99] + bytes((PACKED[99] ^ 0x55,)) + PACKED[100:]),
    "missing part": jpeg_without_a_part(),
    **{f"cut {each}": saved(COLOUR, each, icc_profile=SRGB[:-1]) for each in FORMATS},
    "no header": saved(COLOUR, "PNG", icc_profile=b"a profile"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_profile_is_left_out_with_a_warning(name: str) -> None:
    picture = read_with_warning(DAMAGED[name], "ICC profile is damaged")
    assert picture.icc is None
    for loaded in (False, True):
        with Image.open(DAMAGED[name]) as image:
            if loaded:
                image.load()
            before = dict(image.info)
            with pytest.warns(ImageWarning, match="damaged") as caught:
                again = from_pillow(image)
            assert before.items() <= image.info.items()
        assert (len(caught), again.icc) == (1, None)
        assert np.array_equal(again.pixels, picture.pixels)


def test_a_whole_profile_is_kept() -> None:
    assert read_silently(png_with(PACKED)).icc == SRGB
    for format in FORMATS:
        assert read_silently(saved(COLOUR, format, icc_profile=SRGB + b"\0")).icc == SRGB + b"\0"
    assert read_silently(saved(COLOUR, "JPEG", icc_profile=LONG)).icc == LONG


def test_what_else_the_file_says_counts_without_it() -> None:
    gamma = b"gAMA", struct.pack(">I", 100000)
    picture = read_with_warning(png_with(PACKED[:99], gamma), "ICC profile is damaged")
    assert picture.icc == read_silently(png((7, 5, 8, 2), ROWS, gamma)).icc is not None


def test_cmyk_with_a_damaged_profile_has_one_warning() -> None:
    file = saved(Image.new("CMYK", (7, 5), (10, 20, 30, 40)), "JPEG", icc_profile=SRGB[:-1])
    assert read_with_warning(file, "without a usable colour profile").icc is None


def test_an_image_without_a_profile_has_no_damaged_one() -> None:
    image = Image.fromarray(COLOUR)
    image.info["icc_profile"] = None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert from_pillow(image).icc is None
    assert read_picture(saved(COLOUR, "PNG")).icc is None


def test_a_profile_of_gray_makes_a_picture_gray() -> None:
    """The reader of AVIF files gives three bands for gray with alpha, to which no such profile applies."""
    icc = profile()[:16] + b"GRAY" + profile()[20:]
    picture = read_silently(saved(np.dstack((PLANE, ALPHA)), "AVIF", quality=100, icc_profile=icc))
    assert picture.gray and picture.icc == icc and picture.alpha is not None
    assert not read_silently(saved(COLOUR, "PNG", icc_profile=icc)).gray
