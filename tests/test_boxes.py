"""Files of boxes (AVIF, HEIC, JPEG XL, JPEG 2000): what they say counts wherever it is in the file."""

import io
import struct
from typing import Any

import numpy as np
import pytest
from picture_files import XMP, noise, profile, read_silently, saved
from PIL import Image, features
from told import one_line

from dcacodec.errors import ImageError, TooLargeError
from dcacodec.images.av1 import av1_colours
from dcacodec.images.isobmff import av1_stream, boxes, head_of
from dcacodec.images.pillow import from_pillow
from dcacodec.images.reading import read_picture

PIXELS = noise(16, 24, 3)
FAR = 100_000
TURNED = b'<a tiff:Orientation="6"/>'


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def avif_with(primaries: int, transfer: int) -> bytes:
    data = bytearray(saved(PIXELS, "AVIF", quality=100).getvalue())
    place = data.index(b"colrnclx") + 8
    data[place : place + 4] = struct.pack(">HH", primaries, transfer)
    return bytes(data)


def behind(data: bytes, filling: bytes) -> bytes:
    """An AVIF with more boxes before those that tell about its picture, whose offsets are corrected."""
    start = int.from_bytes(data[:4], "big")
    offset = data.index(b"mdat") + 4
    moved = data.replace(struct.pack(">I", offset), struct.pack(">I", offset + len(filling)), 1)
    assert moved != data
    return moved[:start] + filling + moved[start:]


def large(name: bytes, content: bytes) -> bytes:
    """A box that says its size in 64 bits."""
    return struct.pack(">I4sQ", 1, name, 16 + len(content)) + content


FILLINGS = [box(b"free", bytes(FAR)), large(b"skip", bytes(FAR)), box(b"free", b"") * 9000]


@pytest.mark.parametrize("filling", FILLINGS, ids=["one", "64 bits", "many"])
def test_the_colours_of_an_avif_count_wherever_they_are(filling: bytes) -> None:
    expected = read_silently(io.BytesIO(avif_with(12, 13)))
    far = io.BytesIO(behind(avif_with(12, 13), filling))
    picture = read_silently(far)
    assert picture.icc == expected.icc is not None
    assert np.array_equal(picture.pixels, expected.pixels)
    with Image.open(far) as image:
        assert from_pillow(image).icc == expected.icc
    with pytest.raises(ImageError) as caught:
        read_picture(io.BytesIO(behind(avif_with(9, 16), filling)))
    assert "PQ" in one_line(caught)


def without_colour_box(primaries: str, transfer: str, **options: Any) -> bytes:
    """An AVIF that says its colours in the AV1 stream alone."""
    named = {"color-primaries": primaries, "transfer-characteristics": transfer}
    data = saved(PIXELS, "AVIF", quality=100, advanced=named, **options).getvalue()
    return data.replace(b"colrnclx", b"freenclx")


@pytest.mark.parametrize("options", [{}, {"xmp": XMP}, {"speed": 10, "subsampling": "4:4:4"}])
def test_the_colours_in_the_stream_of_an_avif(options: dict[str, Any]) -> None:
    data = without_colour_box("smpte432", "srgb", **options)
    expected = read_silently(io.BytesIO(avif_with(12, 13)))
    assert read_silently(io.BytesIO(data)).icc == expected.icc is not None
    with Image.open(io.BytesIO(data)) as image:
        assert from_pillow(image).icc == expected.icc
    assert read_silently(io.BytesIO(without_colour_box("bt709", "srgb", **options))).icc is None
    for transfer, word in (("smpte2084", "PQ"), ("hlg", "HLG")):
        with pytest.raises(ImageError) as caught:
            read_picture(io.BytesIO(without_colour_box("bt2020", transfer, **options)))
        assert word in one_line(caught)


def test_the_stream_of_several_pictures_has_a_longer_header() -> None:
    others = {"save_all": True, "append_images": [Image.fromarray(PIXELS[::-1])]}
    file = io.BytesIO(without_colour_box("smpte432", "srgb", **others))
    assert av1_colours(av1_stream(file, head_of(file))) == (12, 13)


def test_damaged_streams_say_nothing_or_anything_but_fail_not() -> None:
    random = np.random.default_rng(1)
    data = without_colour_box("smpte432", "srgb")
    stream = av1_stream(io.BytesIO(data), head_of(io.BytesIO(data)))
    assert av1_colours(stream) == (12, 13)
    for length in range(20):
        assert av1_colours(stream[:length]) in (None, (12, 13))
    for _ in range(500):
        damaged = np.frombuffer(data, np.uint8).copy()
        damaged[random.integers(0, len(data), 9)] = random.integers(0, 256, 9)
        file = io.BytesIO(damaged.tobytes())
        av1_colours(av1_stream(file, head_of(file)))
        av1_colours(random.bytes(40))


def test_the_end_of_a_file_may_lack() -> None:
    data = avif_with(12, 13)
    for length in range(0, data.index(b"mdat") + 20, 5):
        cut = b"".join(content for _, content in boxes(head_of(io.BytesIO(data[:length]))))
        assert b"".join(content for _, content in boxes(data)).startswith(cut), length


@pytest.mark.parametrize("boxes_before", [box(b"free", b"") * 20_000, box(b"meta", bytes((1 << 24) + 1))])
def test_what_no_picture_has_is_refused(boxes_before: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        read_picture(io.BytesIO(behind(avif_with(1, 13), boxes_before)))
    assert one_line(caught)


def test_the_header_of_a_jpeg_xl_counts_wherever_it_is() -> None:
    """Its plugin decodes a file before it says how large the picture is."""
    pytest.importorskip("pillow_jxl")
    start = bytes.fromhex("0000000c4a584c200d0a870a") + box(b"ftyp", b"jxl \0\0\0\0jxl ")
    codestream = saved(PIXELS, "JXL", lossless=True).getvalue()
    assert codestream.startswith(b"\xff\x0a")
    file = io.BytesIO(start + box(b"Exif", bytes(FAR)) + box(b"jxlc", codestream))
    with pytest.raises(TooLargeError):
        read_picture(file, max_pixels=16 * 24 - 1)
    assert dict(boxes(head_of(file)))[b"jxlc"] == codestream


def test_the_xmp_packet_of_a_jpeg_xl() -> None:
    """Its orientation does not count there."""
    pytest.importorskip("pillow_jxl")
    start = bytes.fromhex("0000000c4a584c200d0a870a") + box(b"ftyp", b"jxl \0\0\0\0jxl ")
    codestream = box(b"jxlc", saved(PIXELS, "JXL", lossless=True).getvalue())
    packet = box(b"xml ", XMP + TURNED)
    for data in (start + packet + codestream, start + codestream + packet):
        picture = read_silently(io.BytesIO(data))
        assert picture.xmp == XMP + TURNED.replace(b"6", b"1")
        assert np.array_equal(picture.pixels, PIXELS)
    assert read_silently(io.BytesIO(start + codestream)).xmp is None


@pytest.mark.skipif(not features.check("jpg_2000"), reason="Pillow was built without JPEG 2000")
def test_the_xmp_packet_of_a_jpeg_2000() -> None:
    data = saved(PIXELS, "JPEG2000").getvalue()
    start = data.index(b"jp2c") - 4
    name = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
    others = box(b"uuid", bytes(16) + b"<other/>") + box(b"xml ", b"<another/>")
    picture = read_silently(io.BytesIO(data[:start] + others + box(b"uuid", name + XMP + TURNED) + data[start:]))
    assert picture.xmp == XMP + TURNED.replace(b"6", b"1")
    assert np.array_equal(picture.pixels, PIXELS)
    assert read_silently(io.BytesIO(data[:start] + others + data[start:])).xmp is None


@pytest.mark.skipif(not features.check("jpg_2000"), reason="Pillow was built without JPEG 2000")
def test_a_jpeg_2000_may_have_large_boxes() -> None:
    data = saved(PIXELS, "JPEG2000").getvalue()
    start = data.index(b"jp2c") - 4
    far = data[:start] + box(b"uuid", bytes(FAR)) + data[start:]
    assert np.array_equal(read_silently(io.BytesIO(far)).pixels, PIXELS)


WHOLE, TOO_FEW = [((24, 1), (16, 1)), ((48, 2), (16, 1))], [((12, 1), (16, 1)), ((24, 1), (31, 2))]


@pytest.mark.parametrize(("width", "height"), WHOLE + TOO_FEW)
def test_an_avif_of_which_a_part_is_to_be_shown_is_refused(width: tuple[int, int], height: tuple[int, int]) -> None:
    """Pillow shows all of it."""
    data = bytearray(saved(PIXELS, "AVIF", quality=100, icc_profile=profile()).getvalue())
    properties = dict(boxes(dict(boxes(dict(boxes(bytes(data)))[b"meta"][4:]))[b"iprp"]))
    index = 1 + [content[:4] for _, content in boxes(properties[b"ipco"])].index(b"prof")
    place = data.index(b"colrprof")
    data[place : place + 36] = b"clap" + struct.pack(">8I", *width, *height, 0, 1, 0, 1)
    associated = data.index(b"ipma") + 15
    data[data.index(index, associated)] |= 0x80  # the property is essential
    file = io.BytesIO(data)
    if (width, height) in WHOLE:
        assert read_silently(file).pixels.shape == PIXELS.shape
        return
    with pytest.raises(ImageError) as caught:
        read_picture(file)
    assert "part" in one_line(caught)
    with Image.open(file) as image, pytest.raises(ImageError):
        from_pillow(image)
