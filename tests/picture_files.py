"""Pictures and picture files, made by Pillow or put together by hand, and how tests read and compare them."""

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image, ImageCms

from dcacodec.errors import ImageWarning
from dcacodec.images.picture import Picture
from dcacodec.images.reading import read_picture
from dcacodec.images.writing import write_picture

Array = NDArray[Any]

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()  # made once: the time of making is in it


def profile(content: bytes = b"a profile") -> bytes:
    """What passes for an ICC profile: as long as it says, and with room for a header."""
    return struct.pack(">I", 132 + len(content)) + bytes(128) + content


def noise(*shape: int, seed: int = 1) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def saved(array: Array | Image.Image, format: str, **options: Any) -> io.BytesIO:
    """A picture file made by Pillow."""
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer


def png(header: tuple[int, int, int, int], rows: bytes, *extra: tuple[bytes, bytes]) -> io.BytesIO:
    """A PNG put together by hand: (width, height, bit depth, colour type) and rows that start with a filter byte."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    chunks = [
        (b"IHDR", struct.pack(">IIBB", *header) + b"\0\0\0"),
        *extra,
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks))


def gray(plane: Array) -> Array:
    return np.stack([plane] * 3, axis=-1)


def assert_same(left: Picture, right: Picture) -> None:
    assert np.array_equal(left.pixels, right.pixels)
    assert left.gray == right.gray
    assert (left.alpha is None) == (right.alpha is None)
    assert left.alpha is None or right.alpha is None or np.array_equal(left.alpha, right.alpha)
    assert (left.icc, left.exif, left.xmp) == (right.icc, right.exif, right.xmp)


def read_silently(source: BinaryIO | Path | str) -> Picture:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_picture(source)


def read_with_warning(source: BinaryIO, expected: str) -> Picture:
    """A picture that is read with one warning, of one line that tells this."""
    with pytest.warns(ImageWarning) as caught:
        picture = read_picture(source)
    (text,) = [str(each.message) for each in caught]
    assert text.isprintable() and expected in text
    return picture


COLOUR, PLANE, ALPHA = noise(5, 7, 3), noise(5, 7, seed=2), noise(5, 7, seed=3)
PALETTE = noise(256, 3, seed=4)


def with_palette() -> Image.Image:
    image = Image.frombytes("P", (7, 5), PLANE.tobytes())
    image.putpalette(PALETTE.tobytes())
    return image


WIDE = np.random.default_rng(6).integers(0, 1 << 16, (5, 7, 4), dtype=np.uint16)
UPPER = np.rint(WIDE / 257).astype(np.uint8)
XMP = "<x:xmpmeta xmlns:x='adobe:ns:meta/'>\u00e4</x:xmpmeta>".encode()
REDUCED = "16 bits"


def exif_with(orientation: int, order: str = "<") -> bytes:
    """EXIF data of two tags, Make and Orientation, put together by hand."""
    entries = struct.pack(order + "HHI4s", 271, 2, 4, b"Me!\0") + struct.pack(
        order + "HHIHH", 274, 3, 1, orientation, 0
    )
    mark = {"<": b"II", ">": b"MM"}[order]
    return mark + struct.pack(order + "HI", 42, 8) + struct.pack(order + "H", 2) + entries + bytes(4)


# What the stored rows and columns are, by the definition of each orientation, and how to turn them upright.
TURNS: dict[int, Callable[[Array], Array]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: stored.swapaxes(0, 1)[:, ::-1],
    7: lambda stored: stored.swapaxes(0, 1)[::-1, ::-1],
    8: lambda stored: stored.swapaxes(0, 1)[::-1],
}


PLANES = st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(lambda shape: arrays(np.uint8, shape))


def written(picture: Picture, format: str) -> io.BytesIO:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_picture(picture, buffer, format)
    return buffer
