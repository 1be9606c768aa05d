"""Reduction of 16-bit samples to 8 bits by rounding. Pillow keeps their upper bytes."""

from __future__ import annotations

import re
import sys
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dcacodec.images.jxl import deep_gray_and_alpha
from dcacodec.images.tiff_planes import is_planar, read_planes

# Raw modes of several bands of 16 bits, and their byte order: big-endian, little-endian or that of the machine.
_DEEP: Final = re.compile(r"(RGB|RGBA|RGBa|RGBX|CMYK);16([BLN])")
_GRAY_AND_ALPHA: Final = "LA;16B"
_OTHER_ORDER: Final = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def to_8_bits(samples: NDArray[Any], bits: int = 16) -> NDArray[np.uint8]:
    """Unsigned samples of up to 32 bits, 0..2^bits - 1, rounded to 0..255."""
    if bits == 8:
        return samples.astype(np.uint8)
    largest = (1 << bits) - 1
    wide = samples.astype(np.uint32 if bits <= 16 else np.uint64)
    return ((wide * 255 + largest // 2) // largest).astype(np.uint8)


def divided_by_alpha(colour: NDArray[Any], alpha: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Premultiplied samples (..., bands), of up to 32 bits as their alpha (..., 1), to straight ones of 8 bits."""
    opacity = np.maximum(alpha, 1).astype(np.uint32 if bits <= 16 else np.uint64)
    straight = (colour.astype(opacity.dtype) * 255 + opacity // 2) // opacity
    return np.asarray(np.minimum(straight, 255), np.uint8)


def load_rounded(image: Image.Image, file: BinaryIO) -> bool:
    """Load an opened picture file; if it has several bands of 16 bits, replace its samples by rounded ones.

    Pillow unpacks such samples to their upper bytes. Told the other byte order, it unpacks the lower ones, and so the
    file is decoded twice. A TIFF in planes is decoded plane by plane.

    Args:
        image: opened from `file`, not loaded, its samples not yet turned upright.
        file: the file, seekable.

    Returns:
        Whether it has such samples and they were rounded.
    """
    if not is_deep(image):
        image.load()
        return False
    raw = _raw_modes(image)
    if raw == {_GRAY_AND_ALPHA}:
        _replace_raw_mode(image, "RGBA")
        image.load()
        high_low = np.asarray(image).astype(np.uint16)
        rounded = to_8_bits(high_low[..., ::2] << 8 | high_low[..., 1::2])
        _put(image, Image.fromarray(rounded))
        return True
    deep = _deep(raw)
    if deep is None:
        gray_and_alpha = deep_gray_and_alpha(image)
        assert gray_and_alpha is not None
        image.load()
        _put(image, Image.frombytes("LA", image.size, to_8_bits(gray_and_alpha).tobytes()))
        return True
    if image.format == "TIFF" and is_planar(image.tag_v2):  # type: ignore[attr-defined]
        # Pillow ignores the raw mode of planes.
        samples = read_planes(image, file)
        image.load()
    else:
        samples = _read_twice(image, file, "RGBA" if deep[1] == "RGBa" else deep[1], deep[2])
    narrow = to_8_bits(samples)
    if deep[1] == "RGBa":
        narrow[..., :3] = divided_by_alpha(samples[..., :3], samples[..., 3:], 16)
    _put(image, Image.frombytes(image.mode, image.size, narrow.tobytes()))
    return True


def is_deep(image: Image.Image) -> bool:
    """Whether an image is an opened file, not loaded yet, of several bands of 16 bits that Pillow cuts."""
    raw = _raw_modes(image)
    if raw == {_GRAY_AND_ALPHA}:
        return image.mode == "RGBA"  # a PNG
    return _deep(raw) is not None or (image.format == "JXL" and deep_gray_and_alpha(image) is not None)


def _deep(raw: set[str]) -> re.Match[str] | None:
    """The raw mode of several bands of 16 bits, if all of a file has one."""
    return _DEEP.fullmatch(next(iter(raw))) if len(raw) == 1 else None


def _read_twice(image: Image.Image, file: BinaryIO, raw_mode: str, order: str) -> NDArray[np.uint16]:
    """Load an opened file; its samples (H, W, bands), of 16 bits."""
    lower = reopened(image, file)
    _replace_raw_mode(lower, f"{raw_mode};16{_OTHER_ORDER[order]}")
    lower.load()
    _replace_raw_mode(image, f"{raw_mode};16{order}")
    image.load()
    return np.asarray(np.asarray(image).astype(np.uint16) << 8 | np.asarray(lower), np.uint16)


def reopened(image: Image.Image, file: BinaryIO) -> Image.Image:
    """The first frame of an opened file, opened once more. Not by `Image.open`, which would check its size again."""
    file.seek(0)
    again: Image.Image = type(image)(file)  # type: ignore[call-arg]
    return again


def _raw_modes(image: Image.Image) -> set[str]:
    """The raw modes of an opened file; none once it is loaded."""
    return {_raw_mode(tile) for tile in getattr(image, "tile", ())}


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
