"""The planes of a TIFF, each as a TIFF of 16-bit gray: of several planes Pillow reads the upper bytes alone."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin

_LONG, _LONG8 = 4, 16
_SEPARATE: Final = 2
_BLACK_IS_ZERO: Final = 1
_PLANE: Final = {
    TiffImagePlugin.BITSPERSAMPLE: [16],
    TiffImagePlugin.SAMPLESPERPIXEL: [1],
    TiffImagePlugin.PHOTOMETRIC_INTERPRETATION: [_BLACK_IS_ZERO],
}
_KEPT: Final = (
    TiffImagePlugin.IMAGEWIDTH,
    TiffImagePlugin.IMAGELENGTH,
    TiffImagePlugin.ROWSPERSTRIP,
    TiffImagePlugin.TILEWIDTH,
    TiffImagePlugin.TILELENGTH,
    TiffImagePlugin.COMPRESSION,
    TiffImagePlugin.PREDICTOR,
    ExifTags.Base.Orientation,
)
_PARTS: Final = (
    TiffImagePlugin.STRIPOFFSETS,
    TiffImagePlugin.STRIPBYTECOUNTS,
    TiffImagePlugin.TILEOFFSETS,
    TiffImagePlugin.TILEBYTECOUNTS,
)
"""Tags with a value for each strip or tile, those of the first plane first."""


def is_planar(tags: Mapping[int, Any]) -> bool:
    """Whether each band of a TIFF with these tags has a plane of its own."""
    return bool(tags.get(TiffImagePlugin.PLANAR_CONFIGURATION, 1) == _SEPARATE)


def read_planes(image: Image.Image, file: BinaryIO) -> NDArray[np.uint16]:
    """The samples (H, W, bands), turned upright, of a TIFF with planes of 16 bits.

    Args:
        image: opened from `file`, not loaded.
        file: the file, seekable.
    """
    tags: TiffImagePlugin.ImageFileDirectory_v2 = image.tag_v2  # type: ignore[attr-defined]
    kept = {tag: [tags[tag]] for tag in _KEPT if tag in tags}
    file.seek(0)
    data = file.read()
    planes = []
    for plane in range(len(image.getbands())):
        parts = {tag: _of_plane(tags, tag, plane) for tag in _PARTS if tag in tags}
        with Image.open(io.BytesIO(_with_directory(data, kept | _PLANE | parts)), formats=["TIFF"]) as opened:
            planes.append(np.asarray(opened).astype(np.uint16))
    return np.stack(planes, -1)


def _of_plane(tags: TiffImagePlugin.ImageFileDirectory_v2, tag: int, plane: int) -> Sequence[int]:
    values: Sequence[int] = tags[tag]
    count = len(values) // tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)
    return values[plane * count : (plane + 1) * count]


def _with_directory(data: bytes, tags: Mapping[int, Sequence[int]]) -> bytes:
    """A TIFF file with another directory in place of its first, appended to the end."""
    order = "<" if data.startswith(b"II") else ">"
    big = struct.unpack_from(f"{order}H", data, 2) == (43,)
    kind, count, entry, word = (_LONG8, "Q", "HHQ", "Q") if big else (_LONG, "H", "HHI", "I")
    start = len(data) + len(data) % 2
    entries, values = struct.pack(order + count, len(tags)), b""
    values_at = start + len(entries) + struct.calcsize(f"{order}{entry}{word}") * len(tags) + struct.calcsize(word)
    for tag, numbers in sorted(tags.items()):
        stored = struct.pack(f"{order}{len(numbers)}{word}", *numbers)
        if len(numbers) > 1:
            stored, values = struct.pack(order + word, values_at + len(values)), values + stored
        entries += struct.pack(order + entry, tag, kind, len(numbers)) + stored
    place = 8 if big else 4
    head = data[:place] + struct.pack(order + word, start)
    rest, padding, end = memoryview(data)[len(head) :], bytes(start - len(data)), bytes(struct.calcsize(word))
    return b"".join((head, rest, padding, entries, end, values))
