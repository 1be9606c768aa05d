"""`.dca` as a format of Pillow's: what is written, with which metadata, and what cannot be."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cmyk import cmyk_profile
from drawings import text
from picture_files import profile
from PIL import Image
from plugin_images import ALPHA, EXIF, IMAGES, PICTURE, PIXELS, opened, saved
from told import one_line

from dcacodec.api import default_codec
from dcacodec.codec.codec import Codec
from dcacodec.errors import ImageWarning
from dcacodec.images.picture import Picture
from dcacodec.images.pillow import from_pillow, to_pillow


@pytest.fixture(scope="module")
def data(codec: Codec) -> bytes:
    return codec.encode(PICTURE, quality=60)


def test_a_file_is_what_the_codec_encodes(tmp_path: Path) -> None:
    expected = default_codec().encode(Picture(PIXELS), quality=60)
    image = IMAGES["RGB"]
    image.save(tmp_path / "photo.dca", quality=60)
    assert (tmp_path / "photo.dca").read_bytes() == saved(image, quality=60) == expected
    assert saved(image) == default_codec().encode(Picture(PIXELS), quality=50)
    with open(tmp_path / "other", "wb") as file:
        image.save(file, "dca", quality=60)
    assert (tmp_path / "other").read_bytes() == expected


@pytest.mark.parametrize("options", [{"lossless": False}, {"lossless": True}, {"keep_hidden": True}])
def test_options_are_those_of_the_codec(options: dict[str, Any]) -> None:
    shown = np.full((60, 70), 255, np.uint8)
    shown[:, 40:] = 0
    source = Picture(text(60, 70), alpha=shown)
    data = saved(to_pillow(source), **options)
    assert data == default_codec().encode(source, **options) != default_codec().encode(source)


def test_a_tuning_without_weights_is_an_error(tiny_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' weights are for PSNR."""
    monkeypatch.setattr("dcacodec.weights.registry.models_dir", lambda: tiny_models)
    assert saved(IMAGES["RGB"], tune="psnr") == saved(IMAGES["RGB"])
    with pytest.raises(OSError, match="visual") as caught:
        saved(IMAGES["RGB"], tune="visual")
    one_line(caught)


def test_metadata_are_kept_replaced_and_left_out() -> None:
    image = IMAGES["RGB"].copy()
    image.info.update(icc_profile=profile(), exif=b"Exif\0\0" + EXIF, xmp=b"<x/>")
    tags = Image.Exif()
    tags[272] = "other"

    def kept(**options: Any) -> tuple[bytes | None, dict[int, Any]]:
        made = opened(saved(image, **options))
        return made.info.get("icc_profile"), dict(made.getexif())

    assert kept() == (profile(), {271: "Me!"})
    assert kept(icc_profile=profile(b"another")) == (profile(b"another"), {271: "Me!"})
    assert kept(icc_profile=None) == (None, {271: "Me!"})
    assert kept(exif=tags) == kept(exif=tags.tobytes()) == (profile(), {272: "other"})
    assert kept(exif=None) == kept(exif=b"") == (profile(), {})
    for options, packet in (({}, b"<x/>"), ({"xmp": b"<y/>"}, b"<y/>"), ({"xmp": None}, None), ({"xmp": b""}, None)):
        assert opened(saved(image, **options)).info.get("xmp") == packet
        assert kept(**options) == kept()
    assert image.info == {"icc_profile": profile(), "exif": b"Exif\0\0" + EXIF, "xmp": b"<x/>"}


def test_an_orientation_in_an_xmp_packet_that_is_given_is_upright() -> None:
    image = IMAGES["RGB"].copy()
    image.info["xmp"] = b'<x tiff:Orientation="6"/>'
    for options in ({}, {"xmp": image.info["xmp"]}):
        found = opened(saved(image, **options))
        assert (found.size, found.getexif().get(274, 1)) == ((50, 70), 1)
    with pytest.raises(OSError, match=r"XMP.*str"):
        saved(image, xmp="<x/>")


def test_an_orientation_is_applied() -> None:
    tags = Image.Exif()
    tags[274] = 6
    image = opened(saved(IMAGES["RGB"], exif=tags))
    assert image.size == (50, 70)
    assert dict(image.getexif()) == {274: 1}
    turned = IMAGES["RGB"].transpose(Image.Transpose.ROTATE_270)
    assert image.tobytes() == opened(saved(turned)).tobytes()


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_what_is_given_does_not_take_the_rest_away(form: str) -> None:
    """Of a file that lies on its side: the picture is upright and the other data are there, whatever is replaced."""
    tags = Image.Exif()
    tags[271], tags[274] = "Me!", 6
    buffer = io.BytesIO()
    IMAGES["RGB"].save(buffer, form, exif=tags)
    for options, facts in (
        ({}, {271: "Me!", 274: 1}),
        ({"icc_profile": profile(b"another")}, {271: "Me!", 274: 1}),
        ({"exif": None}, {}),
    ):
        with Image.open(buffer) as image:
            found = opened(saved(image, **options))
        assert (found.size, found.info.get("icc_profile")) == ((50, 70), options.get("icc_profile"))
        expected = facts if form == "PNG" else {tag: value for tag, value in facts.items() if tag != 274}
        assert dict(found.getexif()) == expected


@pytest.mark.parametrize("mode", ["1", "P", "PA", "YCbCr", "CMYK", "I;16"])
@pytest.mark.filterwarnings("ignore::dcacodec.errors.ImageWarning")
def test_other_modes_are_converted_as_from_files(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(ALPHA.astype(np.uint16) * 257)
    elif mode == "PA":
        image = IMAGES["RGBA"].convert("PA")
    else:
        image = IMAGES["RGB"].convert(mode)
    assert saved(image) == default_codec().encode(from_pillow(image))


def test_conversions_that_lose_are_reported() -> None:
    with pytest.warns(ImageWarning, match="CMYK"):
        saved(IMAGES["RGB"].convert("CMYK"))


@pytest.mark.filterwarnings("ignore::dcacodec.errors.ImageWarning")
def test_a_cmyk_profile_is_that_of_the_conversion() -> None:
    """Whether it is the image's own or an option: what is saved is sRGB, without a profile."""
    image = IMAGES["RGB"].convert("CMYK")
    profiled = image.copy()
    profiled.info["icc_profile"] = cmyk_profile()
    plain, expected = saved(image, lossless=True), saved(profiled, lossless=True)
    assert expected != plain
    assert saved(image, lossless=True, icc_profile=cmyk_profile()) == expected
    assert saved(profiled, lossless=True, icc_profile=None) == plain
    assert "icc_profile" not in opened(expected).info


def test_what_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    for image, expected in ((Image.new("F", (4, 4)), "mode F"), (Image.new("RGB", (0, 4)), "0x4")):
        with pytest.raises(OSError) as caught:
            image.save(tmp_path / "photo.dca")
        assert expected in one_line(caught)
    with pytest.raises(ValueError, match=r"quality.*101"):
        IMAGES["RGB"].save(tmp_path / "photo.dca", quality=101)
    with pytest.raises(TypeError):
        IMAGES["RGB"].save(tmp_path / "photo.dca", quality="60")
    assert list(tmp_path.iterdir()) == []


def test_a_file_over_itself(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "photo.dca"
    path.write_bytes(data)
    pixels = opened(data)
    image = Image.open(path)
    image.save(path, quality=90)
    assert path.read_bytes() == saved(pixels, quality=90)


@pytest.mark.parametrize("name", ["exif", "xmp"])
def test_metadata_of_another_type_than_bytes_are_refused(name: str) -> None:
    with pytest.raises(OSError, match="must be bytes, not bytearray"):
        saved(IMAGES["RGB"], **{name: bytearray(EXIF)})
