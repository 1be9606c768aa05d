"""Pictures written: what comes back from each format, what it cannot hold, and its suffixes."""

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from picture_files import ALPHA, COLOUR, PLANE, PLANES, SRGB, XMP, assert_same, exif_with, gray, read_silently, written
from PIL import ExifTags, Image
from told import one_line

from dcacodec.errors import ImageError, ImageWarning
from dcacodec.images.formats import OUTPUT_FORMATS, format_for, has_picture_name
from dcacodec.images.picture import Picture
from dcacodec.images.writing import write_picture


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


@pytest.mark.filterwarnings("ignore::dcacodec.errors.ImageWarning")
def test_a_file_without_the_exif_data_that_pillow_refuses_has_the_quality_that_was_asked_for() -> None:
    files = io.BytesIO(), io.BytesIO()
    for exif, file in zip((None, b"junk"), files, strict=True):
        write_picture(Picture(COLOUR, exif=exif), file, "avif", quality=20)
    assert files[0].getvalue() == files[1].getvalue()


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
