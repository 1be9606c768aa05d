"""BMP and GIF files that Pillow reads wrongly: read with the right values, or refused."""

import io
import struct

import numpy as np
import pytest
from picture_files import Array, noise, read_silently, saved
from PIL import Image
from told import one_line

from dcacodec.errors import ImageError
from dcacodec.images.pillow import from_pillow

INDICES = np.array([[0, 1, 1, 0, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0, 1, 1]], np.uint8)


def bmp(bits: int, palette: Array, core: bool = False) -> io.BytesIO:
    """A BMP of `INDICES`, upside down as they are stored."""
    packed = [np.packbits(np.unpackbits(row[:, np.newaxis], axis=1)[:, 8 - bits :]) for row in INDICES[::-1]]
    rows = b"".join(row.tobytes().ljust(-(-bits // 4) * 4, b"\0") for row in packed)
    height, width = INDICES.shape
    header = struct.pack("<IHHHH", 12, width, height, 1, bits)
    if not core:
        header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, 0, len(rows), 0, 0, len(palette), 0)
    colours = b"".join(bytes([level] * 3) + bytes(not core) for level in palette)
    start = 14 + len(header) + len(colours)
    return io.BytesIO(b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + header + colours + rows)


BLACK_AND_WHITE = np.array([0, 255], np.uint8)
GRAYS = np.arange(16, dtype=np.uint8)


@pytest.mark.parametrize(
    ("bits", "palette", "core"),
    [(8, BLACK_AND_WHITE, False), (4, BLACK_AND_WHITE, False), (4, GRAYS, False), (4, GRAYS, True)],
)
def test_indices_into_a_palette_of_gray(bits: int, palette: Array, core: bool) -> None:
    """Pillow takes them for samples of 1 bit where there are two colours, or of 8."""
    file = bmp(bits, palette, core)
    assert np.array_equal(read_silently(file).pixels[..., 0], palette[INDICES])
    with Image.open(file) as image, pytest.raises(ImageError) as caught:
        from_pillow(image)
    assert f"{bits} bits" in one_line(caught)


def test_bits_of_black_and_white() -> None:
    file = bmp(1, BLACK_AND_WHITE)
    with Image.open(file) as image:
        for picture in (read_silently(file), from_pillow(image)):
            assert picture.gray and np.array_equal(picture.pixels[..., 0], BLACK_AND_WHITE[INDICES])


@pytest.mark.parametrize(("mask", "alpha"), [(0x8000, [255, 0, 255, 0]), (0, None)])
def test_a_bit_of_alpha(mask: int, alpha: list[int] | None) -> None:
    """Pillow leaves it out."""
    masks = struct.pack("<4I", 0x7C00, 0x3E0, 0x1F, mask)
    header = struct.pack("<IiiHHIIiiII", 56, 4, 1, 1, 16, 3, 8, 0, 0, 0, 0) + masks
    pixels = struct.pack("<4H", 0xFC00, 0x03E0, 0x801F, 0x7FFF)
    file = io.BytesIO(b"BM" + struct.pack("<IHHI", 78, 0, 0, 70) + header + pixels)
    picture = read_silently(file)
    assert picture.pixels[0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]
    assert (None if picture.alpha is None else picture.alpha[0].tolist()) == alpha
    if alpha is not None:
        with Image.open(file) as image, pytest.raises(ImageError) as caught:
            from_pillow(image)
        assert "alpha" in one_line(caught)


@pytest.mark.parametrize("grays", [False, True])
@pytest.mark.parametrize("transparency", [None, 3])
def test_a_frame_that_does_not_cover_the_picture(transparency: int | None, grays: bool) -> None:
    """Pillow fills the rest with the first colour of the palette."""
    image = Image.fromarray(np.full((2, 3), 1, np.uint8))
    palette = np.arange(256, dtype=np.uint8).repeat(3).reshape(-1, 3) if grays else noise(256, 3)
    if not grays:
        image.putpalette(palette.tobytes())
    options = {} if transparency is None else {"transparency": transparency}
    data = bytearray(saved(image, "GIF", optimize=False, **options).getvalue())
    data[6:10] = struct.pack("<HH", 6, 4)  # the whole
    frame = data.index(struct.pack("<HHHH", 0, 0, 3, 2))
    data[frame : frame + 4] = struct.pack("<HH", 2, 1)
    picture = read_silently(io.BytesIO(data))
    covered = np.zeros((4, 6), bool)
    covered[1:3, 2:5] = True
    assert picture.alpha is not None and np.array_equal(picture.alpha, np.where(covered, 255, 0))
    assert (picture.pixels[covered] == palette[1]).all()
    assert picture.gray == grays
