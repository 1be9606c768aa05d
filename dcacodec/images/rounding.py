"""Reduction of 16-bit samples to 8 bits by rounding. Pillow keeps their upper bytes."""

from __future__ import annotations

import re
import sys
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Raw modes of several bands of 16 bits, and their byte order: big-endian, little-endian or that of the machine.
_DEEP: Final = re.compile(r"(RGB|RGBA|RGBX|CMYK);16([BLN])")
_OTHER_ORDER: Final = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def to_8_bits(samples: NDArray[Any], bits: int = 16) -> NDArray[np.uint8]:
    """Unsigned samples of up to 32 bits, 0..2^bits - 1, rounded to 0..255."""
    if bits == 8:
        return samples.astype(np.uint8)
    largest = (1 << bits) - 1
    wide = samples.astype(np.uint32 if bits <= 16 else np.uint64)
    return ((wide * 255 + largest // 2) // largest).astype(np.uint8)


def load_rounded(image: Image.Image, file: BinaryIO) -> bool:
    """Load an opened picture file; if it has several bands of 16 bits, replace its samples by rounded ones.

    Pillow unpacks such samples to their upper bytes. Told the other byte order, it unpacks the lower ones, and so the
    file is decoded twice.

    Args:
        image: opened from `file`, not loaded, its samples not yet turned upright.
        file: the file, seekable.

    Returns:
        Whether it has such samples and they were rounded.
    """
    raw = {_raw_mode(tile) for tile in getattr(image, "tile", ())}
    if raw == {"LA;16B"} and image.mode == "RGBA":  # a PNG
        _replace_raw_mode(image, "RGBA")
        image.load()
        high_low = np.asarray(image).astype(np.uint16)
        rounded = to_8_bits(high_low[..., ::2] << 8 | high_low[..., 1::2])
        _put(image, Image.fromarray(rounded))
        return True
    deep = _DEEP.fullmatch(next(iter(raw))) if len(raw) == 1 else None
    if deep is None or image.format is None or _is_planar(image):
        image.load()
        return False
    image.load()
    file.seek(0)
    with Image.open(file, formats=[image.format]) as lower:
        _replace_raw_mode(lower, f"{deep[1]};16{_OTHER_ORDER[deep[2]]}")
        lower.load()
        samples = np.asarray(image).astype(np.uint16) << 8 | np.asarray(lower)
    _put(image, Image.frombytes(image.mode, image.size, to_8_bits(samples).tobytes()))
    return True


def _is_planar(image: Image.Image) -> bool:
    """Whether Pillow ignores the raw mode, as for TIFF files with each band in a plane of its own."""
    return image.format == "TIFF" and image.tag_v2.get(284, 1) != 1  # type: ignore[attr-defined]


def _raw_mode(tile: Any) -> str:
    arguments = tile[3]
    return str(arguments if isinstance(arguments, str) else arguments[0] if arguments else "")


def _replace_raw_mode(image: Image.Image, raw_mode: str) -> None:
    tiles: list[Any] = image.tile  # type: ignore[attr-defined]
    image.tile = [  # type: ignore[attr-defined]
        tile._replace(args=raw_mode if isinstance(tile[3], str) else (raw_mode, *tile[3][1:])) for tile in tiles
    ]


def _put(image: Image.Image, other: Image.Image) -> None:
    """Give an image the samples of another one."""
    image.im = other.im
    image._mode = other.mode
