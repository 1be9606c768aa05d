"""TIFF files that Pillow reads wrongly or not at all: read with the right values, or refused by name."""

import io
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from picture_files import profile
from PIL import Image
from told import one_line

import dcacodec.images.tiff
from dcacodec.errors import ImageError, TooLargeError
from dcacodec.images.picture import Picture
from dcacodec.images.pillow import from_pillow
from dcacodec.images.reading import read_picture
from dcacodec.images.silence import silent_libraries

tifffile = pytest.importorskip("tifffile")

RANDOM = np.random.default_rng(1)
COLOUR16 = RANDOM.integers(0, 1 << 16, (20, 30, 3), dtype=np.uint16)
COLOUR8 = RANDOM.integers(0, 256, (20, 30, 3), dtype=np.uint8)
GRAY8, ALPHA8 = COLOUR8[..., 0], RANDOM.integers(0, 256, (20, 30), dtype=np.uint8)
ALPHA16 = RANDOM.integers(0, 1 << 16, (20, 30), dtype=np.uint16)


def planes(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(np.moveaxis(array, -1, 0))


def tiff(array: NDArray[Any], **options: Any) -> io.BytesIO:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, metadata=None, **options)
    buffer.seek(0)
    return buffer


def rounded(samples: NDArray[Any], bits: int = 16) -> NDArray[np.uint8]:
    return np.rint(samples.astype(np.float64) * 255 / ((1 << bits) - 1)).astype(np.uint8)


def read(file: io.BytesIO) -> Picture:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_picture(file)


@pytest.fixture(params=[True, False], ids=["tifffile", "no tifffile"])
def with_tifffile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether tifffile is installed."""
    installed: bool = request.param
    monkeypatch.setattr(dcacodec.images.tiff, "has_tifffile", lambda: installed)
    return installed


KINDS_OF_16_BITS: dict[str, dict[str, Any]] = {
    "strips": {"rowsperstrip": 7},
    "rows": {"rowsperstrip": 1},
    "compressed strips": {"rowsperstrip": 7, "compression": "zlib", "predictor": True},
    "tiles": {"tile": (16, 16)},
    "compressed tiles": {"tile": (16, 16), "compression": "zlib"},
    "BigTIFF": {"bigtiff": True, "compression": "zlib"},
    "turned": {"extratags": [(274, "H", 1, 6, True)]},
}
needs_tifffile = {("BigTIFF", ">")}
"""Pillow does not know them."""


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", KINDS_OF_16_BITS)
@pytest.mark.parametrize("bands", [3, 4])
def test_16_bit_colour(bands: int, kind: str, order: str, with_tifffile: bool) -> None:
    """Pillow alone gives the upper bytes."""
    if (kind, order) in needs_tifffile and not with_tifffile:
        return
    samples = np.dstack((COLOUR16, ALPHA16))[..., :bands]
    options = KINDS_OF_16_BITS[kind] | {"photometric": "rgb", "byteorder": order}
    if bands == 4:
        options["extrasamples"] = ["unassalpha"]
    expected = rounded(samples)
    if kind == "turned":
        expected = np.rot90(expected, 3)
    for file in (tiff(samples, **options), tiff(planes(samples), planarconfig="separate", **options)):
        picture = read(file)
        assert np.array_equal(picture.pixels, expected[..., :3])
        assert (picture.alpha is None) == (bands == 3)
        assert picture.alpha is None or np.array_equal(picture.alpha, expected[..., 3])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", KINDS_OF_16_BITS)
def test_16_bit_colour_that_is_premultiplied(kind: str, order: str, with_tifffile: bool) -> None:
    if (kind, order) in needs_tifffile and not with_tifffile:
        return
    stored = np.dstack((COLOUR16.astype(np.uint64) * ALPHA16[..., np.newaxis] // 65535, ALPHA16)).astype(np.uint16)
    options = {"photometric": "rgb", "extrasamples": ["assocalpha"], "byteorder": order}
    picture = read(tiff(stored, **options, **KINDS_OF_16_BITS[kind]))
    colour = np.floor(stored[..., :3] * 255.0 / np.maximum(stored[..., 3:], 1) + 0.5).astype(np.uint8)
    alpha = rounded(stored[..., 3])
    if kind == "turned":
        colour, alpha = np.rot90(colour, 3), np.rot90(alpha, 3)
    assert np.array_equal(picture.pixels, colour)
    assert picture.alpha is not None and np.array_equal(picture.alpha, alpha)


@pytest.mark.parametrize("others", [1, 4])
@pytest.mark.parametrize("extra", ["unassalpha", "assocalpha", "unspecified"])
def test_bands_beside_alpha_are_left_out(extra: str, others: int) -> None:
    """Gray, alpha and other bands, as Pillow does not know them."""
    opaque = np.full_like(ALPHA16, 65535)
    samples = np.dstack((COLOUR16[..., 0], opaque, *[ALPHA16] * others))
    kinds = {"planarconfig": "contig", "extrasamples": [extra, *["unspecified"] * others]}
    picture = read(tiff(samples, photometric="minisblack", **kinds))
    assert picture.gray and np.array_equal(picture.pixels[..., 0], rounded(COLOUR16[..., 0]))
    if extra == "unspecified":
        assert picture.alpha is None
    else:
        assert picture.alpha is not None and picture.alpha.min() == 255


def test_a_big_endian_bigtiff_is_named() -> None:
    """Pillow takes it for damaged."""
    file = tiff(np.zeros((20, 30), np.int16), photometric="minisblack", bigtiff=True, byteorder=">")
    with pytest.raises(ImageError) as caught:
        read(file)
    assert "signed 16-bit" in one_line(caught)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_8_bit_planes(compression: str | None, with_tifffile: bool) -> None:
    picture = read(tiff(planes(COLOUR8), photometric="rgb", planarconfig="separate", compression=compression))
    assert np.array_equal(picture.pixels, COLOUR8) and not picture.gray
    assert with_tifffile in (True, False)


def test_8_bit_planes_in_the_other_order_of_bits() -> None:
    reversed_bits = np.packbits(np.unpackbits(COLOUR8[..., np.newaxis], -1), -1, bitorder="little")[..., 0]
    options = {"planarconfig": "separate", "extratags": [(263, "H", 1, 2, True)]}
    data = tiff(planes(reversed_bits), photometric="rgb", byteorder="<", **options).getvalue()
    other, order = (struct.pack("<HHI", tag, 3, 1) for tag in (263, 266))  # tifffile does not write the latter
    assert data.count(other) == 1
    assert np.array_equal(read(io.BytesIO(data.replace(other, order))).pixels, COLOUR8)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_gray_and_alpha_in_planes(compression: str | None, with_tifffile: bool) -> None:
    file = tiff(
        np.stack((GRAY8, ALPHA8)),
        photometric="minisblack",
        planarconfig="separate",
        extrasamples=["unassalpha"],
        compression=compression,
    )
    if not with_tifffile:
        with pytest.raises(ImageError) as caught:
            read(file)
        assert "2 bands of 8-bit samples in separate planes" in one_line(caught)
        return
    picture = read(file)
    assert picture.gray and picture.alpha is not None
    assert np.array_equal(picture.pixels[..., 0], GRAY8) and np.array_equal(picture.alpha, ALPHA8)


def test_premultiplied_planes(with_tifffile: bool) -> None:
    alpha = np.maximum(ALPHA8, 1)
    stored = (COLOUR8.astype(np.uint32) * alpha[..., np.newaxis] // 255).astype(np.uint8)
    file = tiff(
        planes(np.dstack((stored, alpha))), photometric="rgb", planarconfig="separate", extrasamples=["assocalpha"]
    )
    if not with_tifffile:
        with pytest.raises(ImageError):
            read(file)
        return
    picture = read(file)
    expected = np.minimum(np.rint(stored * 255.0 / alpha[..., np.newaxis]), 255)
    assert np.abs(picture.pixels - expected).max() <= 1
    assert picture.alpha is not None and np.array_equal(picture.alpha, alpha)


@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        (np.int8, "signed 8-bit"),
        (np.int16, "signed 16-bit"),
        (np.float16, "floating-point 16-bit"),
        (np.float32, "floating-point 32-bit"),
        (np.complex64, "undefined 64-bit"),
    ],
)
def test_other_kinds_are_named(dtype: Any, words: str, with_tifffile: bool) -> None:
    with pytest.raises(ImageError) as caught:
        read(tiff(np.zeros((20, 30), dtype), photometric="minisblack"))
    assert words in one_line(caught) and "is not supported" in one_line(caught)
    assert with_tifffile in (True, False)


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3)])
def test_32_bits(shape: tuple[int, ...], with_tifffile: bool) -> None:
    samples = RANDOM.integers(0, 1 << 32, shape, dtype=np.uint32)
    file = tiff(samples, photometric="rgb" if len(shape) == 3 else "minisblack")
    if with_tifffile:
        expected = rounded(samples, 32)
        assert np.array_equal(read(file).pixels[..., : 3 if len(shape) == 3 else 1].reshape(shape), expected)
    else:
        with pytest.raises(ImageError) as caught:
            read(file)
        assert "32-bit" in one_line(caught) and "dcacodec[formats]" in one_line(caught)


def test_orientation_profile_and_limit_with_tifffile() -> None:
    """Big-endian gray of 16 bits where white is zero: Pillow does not know it."""
    samples = COLOUR16[..., 0]
    tags = [(274, "H", 1, 6, True), (34675, "B", len(profile()), profile(), True), (271, "s", 0, "Maker", True)]
    file = tiff(samples, photometric="miniswhite", byteorder=">", extratags=tags)
    picture = read(file)
    assert picture.gray and np.array_equal(picture.pixels[..., 0], (255 - rounded(samples)).T[:, ::-1])
    assert picture.icc == profile()
    assert picture.exif is not None and b"Maker" in picture.exif
    with pytest.raises(TooLargeError):
        read_picture(file, max_pixels=599)


@pytest.mark.parametrize("order", ["<", ">"])
def test_tags_of_a_bigtiff_with_tifffile(order: str) -> None:
    """Pillow takes its directories for those of a TIFF."""
    tags = [(271, "s", 0, "Maker", True)]
    samples = np.zeros((20, 30), np.uint32)
    exif = read(tiff(samples, photometric="minisblack", bigtiff=True, byteorder=order, extratags=tags)).exif
    assert exif is not None and b"Maker" in exif


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("opened", [Image.open, lambda path: path], ids=["Pillow", "file"])
def test_an_uncompressed_tiff_to_be_turned(opened: Callable[[Path], Any], orientation: int, tmp_path: Path) -> None:
    """Pillow maps a file into memory that is opened by its name."""
    path = tmp_path / "turned.tif"
    tags = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(path, COLOUR8, photometric="rgb", metadata=None, extratags=tags)
    source = opened(path)
    picture = from_pillow(source) if isinstance(source, Image.Image) else read_picture(source)
    turns = {1: 0, 3: 2, 6: 3, 8: 1}
    assert np.array_equal(picture.pixels, np.rot90(COLOUR8, turns[orientation]))


def test_an_unknown_compression_is_not_damage(with_tifffile: bool) -> None:
    data = tiff(COLOUR8, photometric="rgb", byteorder="<").getvalue()
    entry = data.index(b"\x03\x01\x03\0\1\0\0\0\1\0")
    with pytest.raises(ImageError) as caught:
        read(io.BytesIO(data[: entry + 8] + (34712).to_bytes(2, "little") + data[entry + 10 :]))
    assert "3 bands of 8-bit samples" in one_line(caught)
    assert with_tifffile or "dcacodec[formats]" in one_line(caught)


@pytest.mark.parametrize("tag", [258, 259], ids=["depths", "compressions"])
def test_the_message_about_a_damaged_tiff_is_short(tag: int) -> None:
    """A damaged file has many depths, or so many compressions that tifffile's message has all tags of the file."""
    pytest.importorskip("tifffile")
    tiled = {"photometric": "rgb", "tile": (32, 32), "compression": "zlib"}
    data = bytearray(tiff(np.arange(14400).astype(np.uint8).reshape(60, 80, 3), **tiled).getvalue())
    entry = data.index(tag.to_bytes(2, "little") + b"\x03\0")
    data[entry + 4 : entry + 8] = struct.pack("<I", 128)
    with pytest.raises(ImageError) as caught:
        read(io.BytesIO(bytes(data)))
    one_line(caught)
    assert len(str(caught.value)) < 250


def test_a_huge_tile_of_a_small_picture(with_tifffile: bool) -> None:
    """A decoder takes memory for all of the tile."""
    tiled = {"photometric": "rgb", "tile": (32, 32), "compression": "zlib"}
    data = bytearray(tiff(np.full((60, 80, 3), 7, np.uint8), **tiled).getvalue())
    entry = data.index((323).to_bytes(2, "little") + b"\x04\0")
    data[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, 1 << 24)
    with pytest.raises(TooLargeError):
        read(io.BytesIO(bytes(data)))


LAYOUTS: dict[str, dict[str, Any]] = {
    "one strip": {},
    "strips": {"rowsperstrip": 7},
    "compressed strips": {"rowsperstrip": 7, "compression": "zlib"},
    "tiles": {"tile": (16, 16)},
    "compressed tiles": {"tile": (16, 16), "compression": "zlib"},
    "planes": {"planarconfig": "separate"},
    "compressed planes": {"planarconfig": "separate", "compression": "zlib"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_missing_strips_and_tiles_are_not_black(layout: str, depth: type, with_tifffile: bool) -> None:
    """The picture of a file is said to have twice its rows."""
    options = LAYOUTS[layout]
    samples: NDArray[Any] = COLOUR8.astype(depth)
    source = planes(samples) if "planarconfig" in options else samples
    sound = tiff(source, photometric="rgb", byteorder="<", **options)
    assert read(sound).pixels.shape == COLOUR8.shape
    data = bytearray(sound.getvalue())
    height = data.index(struct.pack("<HHI", 257, 4, 1)) + 8
    data[height : height + 4] = struct.pack("<I", 40)
    for reader in (read, lambda file: from_pillow(Image.open(file))):
        with pytest.raises(ImageError) as caught:
            reader(io.BytesIO(bytes(data)))
        assert (" tiles " if "tile" in options else " strips ") in one_line(caught)
    assert with_tifffile in (True, False)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_strips_and_tiles_that_are_left_out(layout: str, with_tifffile: bool) -> None:
    """Their offset is 0, as in the sparse files of GDAL. Pillow reads them from the beginning of the file."""
    options = LAYOUTS[layout]
    source = planes(COLOUR8) if "planarconfig" in options else COLOUR8
    with tifffile.TiffFile(tiff(source, photometric="rgb", byteorder="<", **options)) as opened:
        tag = opened.pages[0].tags[324 if "tile" in options else 273]
        opened.filehandle.seek(0)
        data = bytearray(opened.filehandle.read())
    data[tag.valueoffset : tag.valueoffset + 4] = bytes(4)
    for reader in (read, lambda file: from_pillow(Image.open(file))):
        with pytest.raises(ImageError) as caught:
            reader(io.BytesIO(bytes(data)))
        assert "sparse" in one_line(caught)
    assert with_tifffile in (True, False)


@pytest.mark.parametrize("rows", [20, 1000, (1 << 32) - 1, None])
def test_strips_that_may_have_more_rows_than_the_picture(rows: int | None) -> None:
    data = bytearray(tiff(COLOUR8, photometric="rgb", byteorder="<", rowsperstrip=20).getvalue())
    entry = data.index((278).to_bytes(2, "little") + b"\4\0")
    if rows is None:
        data[entry : entry + 2] = (279).to_bytes(2, "little")  # replaced by the tag after it, which is the same again
        data[entry : entry + 12] = data[entry + 12 : entry + 24]
    else:
        data[entry : entry + 12] = struct.pack("<HHII", 278, 4, 1, rows)
    assert np.array_equal(read(io.BytesIO(bytes(data))).pixels, COLOUR8)


@pytest.mark.parametrize("depth", [np.uint8, np.uint32])
@pytest.mark.parametrize(
    ("options", "word"), [({"subfiletype": 1}, "thumbnail"), ({"extratags": [(50706, 1, 4, (1, 4, 0, 0))]}, "raw")]
)
def test_a_file_that_begins_with_a_thumbnail_is_not_read_as_that(
    options: dict[str, Any], word: str, depth: type, with_tifffile: bool
) -> None:
    """As raw photographs do, whose full picture is in another directory."""
    file = tiff(COLOUR8.astype(depth), photometric="rgb", **options)
    with pytest.raises(ImageError) as caught:
        read_picture(file)
    assert word in one_line(caught)
    if depth is np.uint8:
        with Image.open(file) as image, pytest.raises(ImageError) as caught:
            from_pillow(image)
        assert word in one_line(caught)
        page = tiff(COLOUR8, photometric="rgb", subfiletype=2)  # one of several pages
        assert np.array_equal(read(page).pixels, COLOUR8)


def test_a_raw_photograph_of_canon_is_not_read_as_its_preview() -> None:
    """Nothing but what stands after the header tells one from the other. In other files, samples stand there."""
    letters, samples = b"CR\2\0", b"CR\2\0" + bytes(COLOUR8[..., 0].tobytes()[4:])

    def table(at: int) -> bytes:
        tags = {256: 30, 257: 20, 258: 8, 259: 1, 262: 1, 273: at, 277: 1, 278: 20, 279: 600}
        return struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in tags)

    ordinary = io.BytesIO(struct.pack("<4sI", b"II*\0", 608) + samples + table(8) + bytes(4))
    start = struct.pack("<4sI4s4x", b"II*\0", 16, letters)
    raw = io.BytesIO(start + table(len(start + table(0)) + 4) + bytes(4) + samples)
    for read_file in (read_picture, lambda file: from_pillow(Image.open(file))):
        assert read_file(ordinary).pixels[..., 0].tobytes() == samples
        with pytest.raises(ImageError, match="CR2"):
            read_file(raw)


def test_what_libraries_log_about_a_tiff_is_not_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """Pillow logs that there are too many bands."""
    file = tiff(np.zeros((20, 30, 10), np.uint8), photometric="minisblack", planarconfig="contig")
    with silent_libraries(), pytest.raises(ImageError) as caught:
        read_picture(file)
    assert "10 bands of 8-bit samples" in one_line(caught)
    assert capfd.readouterr().err == ""


def test_pillows_image_of_such_a_tiff(tmp_path: Path) -> None:
    path = tmp_path / "planes.tif"
    path.write_bytes(tiff(planes(COLOUR16), photometric="rgb").getvalue())
    with Image.open(path) as image, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        picture = from_pillow(image)
    assert np.array_equal(picture.pixels, np.rint(COLOUR16 / 257))
    path.write_bytes(tiff(np.zeros((20, 30), np.int8), photometric="minisblack").getvalue())
    with Image.open(path) as image, pytest.raises(ImageError) as caught:
        from_pillow(image)
    assert "signed" in one_line(caught)
