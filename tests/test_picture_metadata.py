"""Print resolution, the sides in EXIF data, texts of PNG files, and what writers do with data that a format lacks."""

import io
import math
import struct
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from picture_files import profile
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import IFDRational

from dcacodec.errors import ImageError, ImageWarning
from dcacodec.images.exif_bytes import short_entry, text_entry, upright_exif, with_tags
from dcacodec.images.formats import OUTPUT_FORMATS
from dcacodec.images.picture import Picture
from dcacodec.images.pillow import from_pillow
from dcacodec.images.reading import read_picture
from dcacodec.images.writing import write_picture

PIXELS = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def saved(format: str, **options: Any) -> io.BytesIO:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, format, **options)
    return buffer


def read_silently(file: io.BytesIO) -> Picture:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_picture(file)


def tags_of(exif: bytes | None) -> Image.Exif:
    assert exif is not None
    tags = Image.Exif()
    tags.load(b"Exif\0\0" + exif)
    return tags


def resolution(exif: bytes | None) -> tuple[float, float, int]:
    tags = tags_of(exif)
    across, down, unit = (tags[tag] for tag in (282, 283, 296))
    return float(across), float(down), unit


def written(picture: Picture, format: str, **options: Any) -> Image.Image:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if OUTPUT_FORMATS[format].lossy else "error")
        write_picture(picture, buffer, format, **options)
    return Image.open(buffer)


# ---------------------------------------------------------------------------------------------------- print resolution


@pytest.mark.parametrize(
    ("format", "expected"),
    [("PNG", (118.11, 236.22, 3)), ("JPEG", (300, 600, 2)), ("BMP", (118.11, 236.22, 3)), ("TIFF", (300, 600, 2))],
)
def test_the_print_resolution_is_kept(format: str, expected: tuple[float, float, int]) -> None:
    picture = read_silently(saved(format, dpi=(300, 600)))
    assert resolution(picture.exif) == pytest.approx(expected)
    for output in ("png", "bmp", "tiff", "jpeg"):
        assert written(picture, output).info["dpi"] == pytest.approx((300, 600), abs=0.02), output
    again = io.BytesIO()
    write_picture(picture, again, "bmp") if format == "BMP" else write_picture(picture, again, "png")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert resolution(read_picture(again).exif) == pytest.approx(expected)


def test_pixels_per_centimetre_of_a_jpeg() -> None:
    data = bytearray(saved("JPEG", dpi=(118, 118)).getvalue())
    place = data.index(b"JFIF\0") + 7
    assert data[place] == 1
    data[place] = 2
    assert resolution(read_silently(io.BytesIO(data)).exif) == (118, 118, 3)


def test_what_says_nothing_about_the_resolution_adds_nothing() -> None:
    for format, options in (("PNG", {}), ("JPEG", {}), ("BMP", {}), ("JPEG", {"dpi": (72, 72)}), ("TIFF", {})):
        assert read_silently(saved(format, **options)).exif is None, format


def test_the_resolution_turns_with_the_picture() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    picture = read_silently(saved("JPEG", dpi=(300, 600), exif=exif))
    assert resolution(picture.exif) == (600, 300, 2)
    assert tags_of(picture.exif)[ExifTags.Base.Orientation] == 1


def test_exif_data_have_the_last_word() -> None:
    exif = Image.Exif()
    exif[282], exif[283], exif[296] = 200.0, 200.0, 2
    assert resolution(read_silently(saved("PNG", dpi=(300, 300), exif=exif)).exif) == (200, 200, 2)


@pytest.mark.parametrize("dpi", [60_000, 254_000, 60_000_000, 200_000_000, 2_000_000_000])
def test_a_resolution_that_a_format_cannot_hold_stays_in_the_exif_data_alone(dpi: int) -> None:
    """PNG and BMP have 31 bits for pixels per metre, JPEG 16 bits for pixels per inch."""
    exif = Image.Exif()
    exif[282], exif[283], exif[296] = IFDRational(dpi), IFDRational(dpi), 2
    picture = read_silently(saved("JPEG", exif=exif))
    for output in ("png", "tiff", "jpeg"):
        image = written(picture, output)
        assert image.getexif()[282] == dpi, output
        if output == "png":
            assert image.info.get("dpi", (dpi,))[0] == pytest.approx(dpi, rel=1e-4)
            assert ("dpi" in image.info) == (dpi < 54_000_000)
        if output == "jpeg":
            assert image.info["jfif_density"] == ((dpi, dpi) if dpi < 65536 else (1, 1))
    if dpi < 54_000_000:
        assert written(picture, "bmp").info["dpi"] == pytest.approx((dpi, dpi), rel=1e-4)
    else:
        with pytest.warns(ImageWarning, match="EXIF"):
            write_picture(picture, io.BytesIO(), "bmp")


# ------------------------------------------------------------------------------------------------- sides in EXIF data


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_sides_in_exif_data_follow(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.ExifImageWidth: 8, ExifTags.Base.ExifImageHeight: 70000}
    picture = read_silently(saved(format, exif=exif.tobytes()))
    inner = tags_of(picture.exif).get_ifd(ExifTags.IFD.Exif)
    sides = inner[ExifTags.Base.ExifImageWidth], inner[ExifTags.Base.ExifImageHeight]
    assert sides == ((70000, 8) if orientation > 4 else (8, 70000))
    assert picture.pixels.shape[:2] == ((8, 6) if orientation > 4 else (6, 8))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_sides_and_the_resolution_in_exif_data_follow(orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.ImageWidth], exif[ExifTags.Base.ImageLength] = 8, 6
    exif[282], exif[283], exif[296] = 300.0, 600.0, 2
    picture = read_silently(saved("PNG", exif=exif.tobytes()))
    tags = tags_of(picture.exif)
    turned = orientation > 4
    assert (tags[ExifTags.Base.ImageWidth], tags[ExifTags.Base.ImageLength]) == ((6, 8) if turned else (8, 6))
    assert resolution(picture.exif) == ((600, 300, 2) if turned else (300, 600, 2))


EXIF = Image.Exif()
EXIF[ExifTags.Base.Make] = "Maker"
EXIF[ExifTags.IFD.Exif] = {ExifTags.Base.FNumber: 2.5}
RAW = EXIF.tobytes().removeprefix(b"Exif\0\0")


@pytest.mark.parametrize("dpi", [(300, math.inf), (math.nan, 300), (300,), "300"])
def test_an_odd_resolution_of_an_image_is_left_out_alone(dpi: Any) -> None:
    with Image.open(saved("PNG", exif=EXIF)) as image, warnings.catch_warnings():
        warnings.simplefilter("error")
        image.info["dpi"] = dpi
        assert from_pillow(image).exif == RAW


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), st.integers(0, 65535))
def test_tags_are_added_and_all_else_stays(text: str, number: int) -> None:
    for order in ("<", ">"):
        exif = Image.Exif()
        exif.endian = order
        exif[ExifTags.Base.Make] = "Maker"
        exif[ExifTags.IFD.Exif] = {ExifTags.Base.FNumber: 2.5}
        raw = exif.tobytes().removeprefix(b"Exif\0\0")
        new = {270: text_entry(text), 271: text_entry("other"), 296: short_entry(number)}
        added = with_tags(raw, new)
        assert added is not None and added[8 : len(raw)] == raw[8:]
        tags = tags_of(added)
        assert (tags[ExifTags.Base.Make], tags[296]) == ("Maker", number)
        assert text.encode() + b"\0" in added
        assert tags.get_ifd(ExifTags.IFD.Exif) == {ExifTags.Base.FNumber: 2.5}
        assert with_tags(added, new) == added
    assert with_tags(None, {}) is None


@pytest.mark.parametrize("times", [1, 2])
def test_the_directory_of_a_thumbnail_is_still_found(times: int) -> None:
    """Behind a tag that is there twice, too."""
    entries, end = struct.pack("<HHII", 296, 3, 1, 2) * times, 14 + 12 * times
    raw = b"II*\0\x08\0\0\0" + struct.pack("<H", times) + entries + struct.pack("<IHHHIII", end, 1, 259, 3, 1, 6, 0)
    added = with_tags(raw, {271: text_entry("Maker")})
    assert tags_of(added).get_ifd(ExifTags.IFD.IFD1) == {259: 6}


@pytest.mark.parametrize("format", ["JPEG", "HEIF"])
@pytest.mark.parametrize("orientation", range(10))
def test_the_thumbnail_of_a_picture_that_is_turned_is_left_out(orientation: int, format: str) -> None:
    """Else it would be shown as it was stored, beside the picture that is upright."""
    if format == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    for order, start in (("<", b"II*\0\x08\0\0\0"), (">", b"MM\0*\0\0\0\x08")):
        entry = struct.pack(order + "HHHIHHI", 1, 274, 3, 1, orientation, 0, 26)
        raw = start + entry + struct.pack(order + "HHHIHHI", 1, 259, 3, 1, 6, 0, 0)
        file = saved(format, exif=b"Exif\0\0" + raw)
        kept = tags_of(read_silently(file).exif).get_ifd(ExifTags.IFD.IFD1)
        assert kept == ({} if 2 <= orientation <= 8 else {259: 6})


@given(st.binary(max_size=60))
def test_any_bytes_are_exif_data_or_an_error(data: bytes) -> None:
    for exif in (data, b"II*\0\x08\0\0\0" + data, RAW[:10] + data):
        try:
            assert len(upright_exif(exif, turned=True)) == len(exif)
            with_tags(exif, {271: text_entry("Maker")})
        except (KeyError, struct.error):
            pass


# ---------------------------------------------------------------------------------------------------------------- texts


def test_texts_of_a_png() -> None:
    texts = PngInfo()
    texts.add_text("Author", "Somebody")
    texts.add_itxt("Description", "a d\u00e9jeuner", zip=True)
    picture = read_silently(saved("PNG", pnginfo=texts))
    assert picture.exif is not None and "a d\u00e9jeuner".encode() in picture.exif
    assert tags_of(picture.exif)[ExifTags.Base.Artist] == "Somebody"
    texts.add_text("Comment", "no place for it")
    with pytest.warns(ImageWarning, match="Comment") as caught:
        read_picture(saved("PNG", pnginfo=texts))
    assert len(caught) == 1


# -------------------------------------------------------------------------------------------------------------- writers


@pytest.mark.parametrize("quality", [None, 1, 40, 100])
@pytest.mark.parametrize("format", ["jpeg", "avif"])
def test_lossy_formats(format: str, quality: int | None) -> None:
    smooth = np.repeat(np.linspace(0, 255, 64, dtype=np.uint8)[np.newaxis, :, np.newaxis], 48, 0).repeat(3, 2)
    icc, xmp = profile(), b"<x/>"
    picture = Picture(smooth, icc=icc, exif=RAW, xmp=xmp)
    buffer = io.BytesIO()
    with pytest.warns(ImageWarning, match="lossy") as caught:
        write_picture(picture, buffer, format, quality)
    assert len(caught) == 1 and str(quality or 75) in str(caught[0].message)
    expected = io.BytesIO()
    options = {"quality": quality or 75, "icc_profile": icc, "exif": b"Exif\0\0" + RAW, "xmp": xmp}
    Image.fromarray(smooth).save(expected, format.upper(), **options)
    assert np.array_equal(np.array(Image.open(buffer)), np.array(Image.open(expected)))
    back = read_picture(buffer)
    assert np.abs(back.pixels.astype(int) - smooth).mean() < (20 if quality == 1 else 4)
    assert (back.icc, back.xmp) == (icc, xmp)


def test_a_lossy_gray_picture_and_one_with_alpha() -> None:
    gray = Picture(np.full((16, 16, 3), 99, np.uint8), gray=True)
    assert written(gray, "jpeg").mode == "L"
    alpha = Picture(PIXELS, alpha=np.full((6, 8), 7, np.uint8))
    assert written(alpha, "avif").mode == "RGBA"
    with pytest.raises(ImageError):
        write_picture(alpha, io.BytesIO(), "jpeg")


@pytest.mark.parametrize("kind", ["icc", "exif", "xmp"])
def test_a_jpeg_without_data_that_are_too_long_for_it(kind: str) -> None:
    limit = {"icc": 255 * 65519, "exif": 65527, "xmp": 65504}[kind]
    for length, count in ((limit, 1), (limit + 1, 2)):
        data = b"II*\0\x08\0\0\0".ljust(length, b"\0")
        picture = Picture(PIXELS, False, None, *(data if each == kind else None for each in ("icc", "exif", "xmp")))
        buffer = io.BytesIO()
        with pytest.warns(ImageWarning) as caught:
            write_picture(picture, buffer, "jpeg")
        assert len(caught) == count
        key = {"icc": "icc_profile"}.get(kind, kind)
        assert (key in Image.open(buffer).info) == (count == 1)


@pytest.mark.parametrize("value", [(282, 5, 1, 0, 0), (283, 5, 1, 7, 0), (296, 3, 1, 42 << 16, 0), (270, 5, 1, 1, 2)])
def test_odd_exif_values_do_not_keep_a_tiff_from_being_written(
    value: tuple[int, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    tag, kind, count, first, second = value
    data = struct.pack(">I", 38) if kind == 5 else struct.pack(">I", first)
    make = struct.pack(">HHI4s", 271, 2, 4, b"Me!\0")
    entries = sorted((make, struct.pack(">HHI", tag, kind, count) + data))
    exif = b"MM\0*\0\0\0\x08\0\2" + b"".join(entries) + bytes(4) + struct.pack(">II", first, second)
    buffer = io.BytesIO()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        write_picture(Picture(PIXELS, exif=exif), buffer, "tiff")
    assert len(caught) == (tag != ExifTags.Base.ImageDescription)
    assert np.array_equal(read_picture(buffer).pixels, PIXELS)
    assert capfd.readouterr().out == ""


def test_the_largest_profile_of_a_png() -> None:
    """Pillow opens no PNG with a larger one."""
    for length in (1 << 20, (1 << 20) + 1):
        picture = Picture(PIXELS, icc=bytes(length))
        buffer = io.BytesIO()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            write_picture(picture, buffer, "png")
        assert (len(caught), read_picture(buffer).icc) == ((0, picture.icc) if length == 1 << 20 else (1, None))


INNER = {
    ExifTags.Base.ExposureBiasValue: (10, 1, struct.pack(">ii", -1, 3)),
    ExifTags.Base.MakerNote: (7, 9, b"maker\0\1\2\3"),
    ExifTags.Base.CameraOwnerName: (2, 6, "José".encode() + b"\0"),
    ExifTags.Base.ExifImageWidth: (4, 1, struct.pack(">I", 70000)),
    ExifTags.Base.ISOSpeedRatings: (3, 1, struct.pack(">H", 100)),
    ExifTags.Base.LensSpecification: (5, 4, struct.pack(">8I", 24, 1, 70, 1, 28, 5, 0, 0)),
}
PLACE = {ExifTags.GPS.GPSVersionID: (1, 4, b"\2\3\0\0"), ExifTags.GPS.GPSAltitude: (5, 1, struct.pack(">II", 5, 1))}
OUTER: dict[int, Any] = {
    ExifTags.Base.Orientation: short_entry(1),
    ExifTags.Base.Artist: (2, 6, "José".encode() + b"\0"),
    ExifTags.Base.Copyright: (2, 8, "© 2026".encode() + b"\0"),
    ExifTags.Base.XPTitle: (1, 6, "Öß\0".encode("utf-16-le")),
}


@pytest.mark.parametrize("format", ["png", "tiff", "webp", "jpeg", "avif"])
@pytest.mark.parametrize("start", [b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"])
def test_values_of_exif_data_keep_their_types_and_letters(start: bytes, format: str) -> None:
    """Pillow writes "?" for letters beyond ASCII into TIFF and AVIF files, and other types than those it has read."""
    exif = with_tags(start + bytes(6), OUTER | {ExifTags.IFD.Exif: INNER, ExifTags.IFD.GPSInfo: PLACE})
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_picture(Picture(PIXELS, exif=exif), file, format)
        back = read_picture(file).exif
    assert back is not None and exif is not None
    assert fields_of(back) | {(0, ExifTags.Base.Orientation, 3, b"\0\1")} == fields_of(exif)


def fields_of(exif: bytes, start: int | None = None, directory: int = 0) -> set[tuple[int, int, int, bytes]]:
    """Directory, tag, type and big-endian value of all that is in EXIF data."""
    order = {b"II": "<", b"MM": ">"}[exif[:2]]
    place = struct.unpack_from(order + "I", exif, 4)[0] if start is None else start
    found = set()
    for at in range(place + 2, place + 2 + 12 * struct.unpack_from(order + "H", exif, place)[0], 12):
        tag, kind, count = struct.unpack_from(order + "HHI", exif, at)
        form, size = {3: ("H", 2), 4: ("I", 4), 5: ("I", 8), 10: ("i", 8)}.get(kind, ("s", 1))
        where = at + 8 if size * count <= 4 else struct.unpack_from(order + "I", exif, at + 8)[0]
        if tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            found |= fields_of(exif, struct.unpack_from(order + "I", exif, where)[0], tag)
            continue
        number = size * count // struct.calcsize(form) if form != "s" else 1
        form = f"{number}{form}" if form != "s" else f"{count}s"
        found.add((directory, tag, kind, struct.pack(f">{form}", *struct.unpack_from(order + form, exif, where))))
    return found
