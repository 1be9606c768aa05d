"""XMP packets: kept, upright, damaged, and of unusual types."""

import warnings
from typing import Any, BinaryIO

import numpy as np
import pytest
from picture_files import COLOUR, TURNS, XMP, assert_same, exif_with, read_silently, read_with_warning, saved, written
from PIL import Image, TiffTags
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from dcacodec.errors import ImageWarning
from dcacodec.images.picture import Picture
from dcacodec.images.pillow import from_pillow, to_pillow
from dcacodec.images.reading import read_picture


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


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("turn", [1, 6, 8])
def test_the_orientation_in_the_xmp_packet_of_an_avif_does_not_count(turn: int, loaded: bool) -> None:
    """That of its boxes does, which Pillow writes for the one in EXIF data."""
    tag = b'<a tiff:Orientation="6"/>'
    stored = np.array(Image.open(saved_with_xmp("AVIF", XMP, quality=100)))
    file = saved_with_xmp("AVIF", XMP + tag, quality=100, exif=b"Exif\0\0" + exif_with(turn))
    picture = read_silently(file)
    assert np.array_equal(picture.pixels, TURNS[turn](stored))
    assert picture.xmp is not None and b'"6"' not in picture.xmp
    with Image.open(file) as image:
        if loaded:
            image.load()
        assert_same(from_pillow(image), picture)
        assert image.info["xmp"] == XMP + tag


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
