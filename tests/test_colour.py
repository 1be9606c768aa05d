"""Colours that a file describes without an ICC profile: turned into one that says the same, refused, or told."""

import io
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms
from told import one_line

from dcacodec.errors import ImageError, ImageWarning
from dcacodec.images.colour import cicp_space, gamma_space, icc_profile
from dcacodec.images.isobmff import MainPicture, main_picture
from dcacodec.images.picture import Picture
from dcacodec.images.pillow import from_pillow
from dcacodec.images.reading import read_picture

PIXELS = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)
SRGB_PRIMARIES = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
P3_PRIMARIES = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
SRGB = ImageCms.createProfile("sRGB")


def png(*chunks: tuple[bytes, bytes], gray: bool = False) -> io.BytesIO:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    samples = PIXELS[..., :1] if gray else PIXELS
    header = struct.pack(">IIBBBBB", 8, 6, 8, 0 if gray else 2, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in samples))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", rows), (b"IEND", b"")]
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))


def gamma(value: int) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", value)


def chromaticities(*values: int) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *values)


def cicp(*values: int) -> tuple[bytes, bytes]:
    return b"cICP", bytes(values)


def read_silently(file: io.BytesIO) -> Picture:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_picture(file)


def in_srgb(samples: NDArray[np.uint8], icc: bytes) -> NDArray[np.int16]:
    """What LittleCMS makes of samples of a profile."""
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    converted = ImageCms.profileToProfile(
        Image.fromarray(samples), profile, SRGB, renderingIntent=intent, outputMode="RGB"
    )
    return np.array(converted).astype(np.int16)


def encoded(light: NDArray[Any]) -> NDArray[Any]:
    """sRGB samples of light in 0..1, by the standard."""
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


def xyz_matrix(values: tuple[float, ...]) -> NDArray[Any]:
    """RGB to XYZ, from chromaticities of white, red, green and blue."""
    xyz = [np.array((x / y, 1, (1 - x - y) / y)) for x, y in zip(values[::2], values[1::2], strict=True)]
    primaries = np.array(xyz[1:]).T
    return primaries * np.linalg.solve(primaries, xyz[0])


def to_light(samples: NDArray[Any]) -> NDArray[Any]:
    samples = samples / 255
    return np.where(samples <= 0.04045, samples / 12.92, ((samples + 0.055) / 1.055) ** 2.4)


INSIDE = np.random.default_rng(2).integers(90, 170, (4, 9, 3), dtype=np.uint8)  # of sRGB, too


def p3_in_srgb(samples: NDArray[np.uint8]) -> NDArray[Any]:
    p3, srgb = (xyz_matrix(tuple(each / 1e5 for each in values)) for values in (P3_PRIMARIES, SRGB_PRIMARIES))
    return encoded(to_light(samples) @ (np.linalg.inv(srgb) @ p3).T)


@pytest.mark.parametrize("chunk", [cicp(12, 13, 0, 1), chromaticities(*P3_PRIMARIES)])
def test_display_p3_keeps_its_colours(chunk: tuple[bytes, bytes]) -> None:
    picture = read_silently(png(chunk))
    assert np.array_equal(picture.pixels, PIXELS)
    assert picture.icc is not None
    assert np.abs(in_srgb(INSIDE, picture.icc) - p3_in_srgb(INSIDE)).max() <= 1
    assert np.abs(INSIDE - p3_in_srgb(INSIDE)).max() > 5  # it does matter


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("value", [100000, 55556, 45455 + 3000])
def test_a_gamma_becomes_a_curve(value: int, gray: bool) -> None:
    picture = read_silently(png(gamma(value), gray=gray))
    assert picture.gray == gray and picture.icc is not None
    assert len(picture.icc) < 700
    ramp = np.arange(20, 256, dtype=np.uint8)[np.newaxis]
    expected = encoded((ramp / 255) ** (100000 / value))
    shown = in_srgb(ramp if gray else np.repeat(ramp[..., np.newaxis], 3, -1), picture.icc)
    assert np.abs(shown - expected[..., np.newaxis]).max() <= 1


@pytest.mark.parametrize(
    "chunks",
    [
        (),
        ((b"sRGB", b"\0"), gamma(45455), chromaticities(*SRGB_PRIMARIES)),
        ((b"sRGB", b"\0"), gamma(100000)),  # overridden
        (gamma(45455), chromaticities(*SRGB_PRIMARIES)),
        (gamma(45455),),
        (chromaticities(*SRGB_PRIMARIES),),
        (cicp(1, 13, 0, 1),),
        (cicp(2, 2, 0, 1),),
    ],
)
def test_srgb_needs_no_profile(chunks: tuple[tuple[bytes, bytes], ...]) -> None:
    assert read_silently(png(*chunks)).icc is None


def test_an_icc_profile_comes_before_gamma_and_after_code_points() -> None:
    own = ImageCms.ImageCmsProfile(SRGB).tobytes()
    profile = b"iCCP", b"name\0\0" + zlib.compress(own)
    assert read_silently(png(profile, gamma(100000))).icc == own
    assert read_silently(png(profile, cicp(1, 13, 0, 1))).icc == own
    picture = read_silently(png(profile, cicp(12, 13, 0, 1)))
    assert picture.icc is not None and np.abs(in_srgb(INSIDE, picture.icc) - p3_in_srgb(INSIDE)).max() <= 1


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused_unless_it_is_asked_for(transfer: int, name: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_picture(png(cicp(9, transfer, 0, 1)))
    assert name in one_line(caught) and "--allow-hdr" in one_line(caught)
    picture = read_picture(png(cicp(9, transfer, 0, 1)), allow_hdr=True)
    assert picture.icc is not None and b"cicp\0\0\0\0" + bytes((9, transfer, 0, 1)) in picture.icc
    ImageCms.ImageCmsProfile(io.BytesIO(picture.icc))
    again = io.BytesIO()
    Image.fromarray(PIXELS).save(again, "JPEG", icc_profile=picture.icc)
    with pytest.raises(ImageError) as caught:
        read_picture(again)
    assert name in one_line(caught)
    assert read_picture(again, allow_hdr=True).icc == picture.icc
    content = picture.icc.index(b"cicp\0\0\0\0")
    for damaged in (picture.icc[:140], picture.icc[: content + 9], picture.icc[:128] + b"\xff" * 60):
        again = io.BytesIO()
        Image.fromarray(PIXELS).save(again, "JPEG", icc_profile=damaged)
        with pytest.warns(ImageWarning, match="damaged"):
            assert read_picture(again).icc is None


@pytest.mark.parametrize(
    ("transfer", "sample", "light"),
    [(16, 0.5081, 0.01), (16, 0.7518, 0.1), (18, 0.5, 1 / 12), (18, 0.75, 0.265), (16, 1, 1), (18, 1, 1)],
)
def test_the_light_of_hdr_samples(transfer: int, sample: float, light: float) -> None:
    """ITU-R BT.2100: 100 and 1000 of 10,000 cd/m² for PQ; for HLG the middle, and the reference white of BT.2408."""
    space = cicp_space(9, transfer, allow_hdr=True)
    assert space is not None
    curve = space.curve
    assert np.interp(sample, np.linspace(0, 1, len(curve)), curve) == pytest.approx(light, rel=0.01)


@pytest.mark.parametrize("values", [(3, 13, 0, 1), (1, 12, 0, 1), (1, 13, 1, 1), (1, 13, 0, 0), (200, 255, 0, 1)])
def test_other_code_points_are_refused(values: tuple[int, ...]) -> None:
    with pytest.raises(ImageError) as caught:
        read_picture(png(cicp(*values)))
    assert one_line(caught)


@pytest.mark.parametrize(
    "chunk",
    [
        chromaticities(*[0] * 8),
        chromaticities(*[30000, 30000] * 4),
        chromaticities(*P3_PRIMARIES[:7], 0),
        chromaticities(31270, 32900, 30000, 30000, 30001, 30000, 30000, 30001),
        cicp(1, 13, 0),
    ],
)
def test_an_invalid_description_is_told(chunk: tuple[bytes, bytes]) -> None:
    with pytest.warns(ImageWarning) as caught:
        picture = read_picture(png(chunk))
    assert (len(caught), picture.icc) == (1, None)
    assert np.array_equal(picture.pixels, PIXELS)


def test_pillows_image_of_such_a_file() -> None:
    """Before it is loaded, since Pillow does not keep all of it."""
    own = ImageCms.ImageCmsProfile(SRGB).tobytes()
    for file in (png(gamma(100000)), png(cicp(12, 13, 0, 1)), avif_with(12, 13), bmp(b"MBED", icc=own)):
        expected = read_silently(file)
        with Image.open(file) as image:
            before = dict(image.info)
            picture = from_pillow(image)
            assert picture.icc == expected.icc is not None
            assert np.array_equal(picture.pixels, expected.pixels)
            assert before.items() <= image.info.items() and "icc_profile" not in image.info
    hdr = cicp_space(9, 16, allow_hdr=True)
    assert hdr is not None
    jpeg = io.BytesIO()
    Image.fromarray(PIXELS).save(jpeg, "JPEG", icc_profile=icc_profile(hdr, gray=False))
    for file in (png(cicp(9, 16, 0, 1)), avif_with(9, 18), jpeg):
        with Image.open(file) as image, pytest.raises(ImageError):
            from_pillow(image)
    with Image.open(png(gamma(100000))) as image:
        image.load()
        assert from_pillow(image).icc == read_silently(png(gamma(100000))).icc


@pytest.mark.parametrize(
    ("primaries", "transfer"), [(9, 14), (1, 1), (5, 8), (22, 4), (11, 13), (4, 5), (8, 7), (6, 6)]
)
def test_littlecms_takes_every_profile_for_what_it_is(primaries: int, transfer: int) -> None:
    """White and black stay, and gray stays gray, with the profile of code points."""
    space = cicp_space(primaries, transfer)
    assert space is not None
    samples = np.array([[[0] * 3, [128] * 3, [255] * 3]], np.uint8)
    shown = in_srgb(samples, icc_profile(space, gray=False))
    assert (shown.max(-1) - shown.min(-1)).max() <= 1
    assert shown[0, 0].max() <= 1 and shown[0, 2].min() >= 254
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile(space, gray=False))).profile
    assert profile.red_primary is not None and profile.icc_version == 0x4400000


def test_a_gamma_out_of_range() -> None:
    with pytest.raises(ValueError):
        gamma_space(1e-5, None)


# ------------------------------------------------------------------------------------------ AVIF, BMP and TIFF


def avif_with(primaries: int, transfer: int) -> io.BytesIO:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "AVIF", quality=100)
    data = bytearray(buffer.getvalue())
    place = data.index(b"colrnclx") + 8
    data[place : place + 4] = struct.pack(">HH", primaries, transfer)
    return io.BytesIO(data)


def test_avif() -> None:
    assert read_silently(avif_with(1, 13)).icc is None
    picture = read_silently(avif_with(12, 13))
    assert picture.icc is not None and np.abs(in_srgb(INSIDE, picture.icc) - p3_in_srgb(INSIDE)).max() <= 1
    for transfer in (16, 18):
        with pytest.raises(ImageError):
            read_picture(avif_with(9, transfer))


def box(name: bytes, *contents: bytes) -> bytes:
    content = b"".join(contents)
    return struct.pack(">I4s", 8 + len(content), name) + content


COLOURS = b"colr", b"nclx" + struct.pack(">HHHB", 12, 13, 0, 0x80)
DEPTHS = b"pixi", bytes(4) + b"\3\x0a\x0a\x0a"
CODEC = b"av1C", b"\x81\0\x40\0"


def head_of_avif(
    *properties: tuple[bytes, bytes], number: int = 1, version: int = 0, wide: bool = False, others: int = 2
) -> bytes:
    """The first box of a file of two items, of which the main one has these properties, and the other has another."""
    item = ">I" if version else ">H"
    parts = []
    for which, indices in ((number + 1, [1]), (number, [others + each for each in range(1, len(properties) + 1)])):
        indexed = b"".join(struct.pack(">H", 0x8000 | each) if wide else bytes((0x80 | each,)) for each in indices)
        parts.append(struct.pack(item, which) + bytes((len(indices),)) + indexed)
    ipma = box(b"ipma", bytes((version, 0, 0, wide)), struct.pack(">I", len(parts)), *parts)
    ipco = box(b"ipco", *[box(b"free")] * others, *(box(*each) for each in properties))
    pitm = box(b"pitm", bytes((version, 0, 0, 0)), struct.pack(item, number))
    return box(b"meta", bytes(4), pitm, box(b"iprp", ipco, ipma))


@pytest.mark.parametrize(("wide", "others"), [(False, 2), (True, 2), (True, 200)])
@pytest.mark.parametrize(("version", "number"), [(0, 1), (0, 300), (1, 1), (1, 70000)])
def test_the_numbers_of_items_and_properties_have_several_sizes(
    version: int, number: int, wide: bool, others: int
) -> None:
    head = head_of_avif(COLOURS, DEPTHS, number=number, version=version, wide=wide, others=others)
    assert main_picture(head) == MainPicture(10, (12, 13))


def test_a_box_may_say_its_size_in_64_bits() -> None:
    head = head_of_avif(COLOURS, DEPTHS)
    large = struct.pack(">I4sQ", 1, b"meta", len(head) + 8) + head[8:]
    assert main_picture(box(b"free") + large + box(b"mdat")) == MainPicture(10, (12, 13))
    assert main_picture(bytes(4) + head[4:]) == MainPicture(10, (12, 13))  # up to the end


@pytest.mark.parametrize(("name", "content"), [COLOURS, DEPTHS, CODEC], ids=["colours", "depths", "codec"])
def test_a_property_that_is_cut_off_takes_the_others_not_away(name: bytes, content: bytes) -> None:
    other, expected = (DEPTHS, MainPicture(10, None)) if name == b"colr" else (COLOURS, MainPicture(8, (12, 13)))
    for length in range(len(content) + 1):
        found = main_picture(head_of_avif((name, content[:length]), other))
        assert found in (expected, MainPicture(10, (12, 13))), length
    assert found == MainPicture(10, (12, 13))


def test_the_profile_of_an_avif_is_its_own() -> None:
    own, buffer = ImageCms.ImageCmsProfile(SRGB).tobytes(), io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "AVIF", icc_profile=own)
    assert read_silently(buffer).icc == own


def bmp(kind: bytes, endpoints: tuple[float, ...] = (0,) * 9, gamma: float = 0, icc: bytes = b"") -> io.BytesIO:
    rows = b"".join(np.ascontiguousarray(row[:, ::-1]).tobytes() for row in PIXELS[::-1])
    start = 14 + 124
    header = struct.pack("<IiiHHIIiiII", 124, 8, 6, 1, 24, 0, len(rows), 3780, 3780, 0, 0) + bytes(16)
    header += kind[::-1] + struct.pack("<9i", *(round(value * (1 << 30)) for value in endpoints))
    header += struct.pack("<3I", *[round(gamma * 65536)] * 3)
    header += struct.pack("<IIII", 4, 124 + len(rows), len(icc), 0)
    size = start + len(rows) + len(icc)
    return io.BytesIO(b"BM" + struct.pack("<IHHI", size, 0, 0, start) + header + rows + icc)


def test_bmp_with_a_profile() -> None:
    own = ImageCms.ImageCmsProfile(SRGB).tobytes()
    picture = read_silently(bmp(b"MBED", icc=own))
    assert np.array_equal(picture.pixels, PIXELS) and picture.icc == own
    for missing in (1, len(own)):
        with pytest.warns(ImageWarning, match="ICC profile is damaged"):
            assert read_picture(io.BytesIO(bmp(b"MBED", icc=own).getvalue()[:-missing])).icc is None
    for kind in (b"sRGB", b"Win ", bytes(4)):
        assert read_silently(bmp(kind)).icc is None
    with pytest.warns(ImageWarning, match="ICC profile"):
        assert read_picture(bmp(b"LINK", icc=b"C:\\profile.icm\0")).icc is None


def test_bmp_with_primaries() -> None:
    p3 = (0.68, 0.32, 0, 0.265, 0.69, 0.045, 0.15, 0.06, 0.79)
    picture = read_silently(bmp(bytes(4), p3, 1.8))
    assert picture.icc is not None
    profile = ImageCms.ImageCmsProfile(io.BytesIO(picture.icc)).profile
    srgb = read_silently(png(cicp(12, 8, 0, 1))).icc
    assert srgb is not None
    assert profile.red_colorant == ImageCms.ImageCmsProfile(io.BytesIO(srgb)).profile.red_colorant
    assert read_silently(bmp(bytes(4), (0.64, 0.33, 0.03, 0.3, 0.6, 0.1, 0.15, 0.06, 0.79), 2.2)).icc is None


def tiff(**tags: tuple[float, ...]) -> io.BytesIO:
    numbers = {"white": 318, "primaries": 319, "curve": 301}
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "TIFF", tiffinfo={numbers[name]: value for name, value in tags.items()})
    return buffer


def test_tiff_with_primaries() -> None:
    white, primaries = (0.3127, 0.329), tuple(each / 1e5 for each in P3_PRIMARIES[2:])
    picture = read_silently(tiff(white=white, primaries=primaries))
    assert picture.icc is not None and np.abs(in_srgb(INSIDE, picture.icc) - p3_in_srgb(INSIDE)).max() <= 1
    assert read_silently(tiff(primaries=primaries)).icc == picture.icc
    assert read_silently(tiff(primaries=(0.64, 0.33, 0.3, 0.6, 0.15, 0.06))).icc is None
    other = read_silently(tiff(white=(0.3457, 0.3585), primaries=primaries))
    assert other.icc not in (None, picture.icc)
    with pytest.warns(ImageWarning, match="transfer function") as caught:
        read_picture(tiff(curve=tuple(range(256)) * 3))
    assert len(caught) == 1
