"""Drawings: text, patterns and stickers, some with a part of a photograph; and PSNR, to tell how exact they are."""

import math
from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from tiny import photo

from dcacodec.images.picture import Picture

Pixels = NDArray[np.uint8]


def psnr(one: Pixels, other: Pixels) -> float:
    error = np.square(one.astype(np.float64) - other).mean()
    return 10 * math.log10(255**2 / error) if error else math.inf


def gray(plane: NDArray[np.generic]) -> Pixels:
    return np.repeat(plane.astype(np.uint8)[..., np.newaxis], 3, -1)


def text(height: int, width: int, ink: str = "black", paper: str = "white") -> Pixels:
    image = Image.new("RGB", (width, height), paper)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=13)
    for row in range(0, height, 16):
        draw.text((3 - row % 7, row), "Sphinx of black quartz, judge my vow. 0123456789 " * 4, fill=ink, font=font)
    return np.array(image)


def mixed(height: int = 300, width: int = 530) -> Picture:
    """Text in the slices of the left half, a smooth picture in the others."""
    y, x = np.mgrid[:height, :width] / 60
    waves = (np.sin(x + y), np.cos(y - x / 2), np.sin(x / 3) * np.cos(y))
    noise = np.random.default_rng(0).normal(0, 6, (height, width, 3))
    pixels = (128 + 80 * np.stack(waves, -1) + noise).clip(0, 255).astype(np.uint8)
    pixels[:, :256] = text(height, 256)
    return Picture(pixels)


def dithered(height: int, width: int) -> Pixels:
    order = np.tile(np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) * 16 + 8, (75, 75))
    return gray((np.arange(width) * 256 // width > order[:height, :width]) * 255)


@st.composite
def synthetic(draw: st.DrawFn) -> Picture:
    """Pictures that no network trained on photographs codes well, some with a part of a photograph in them."""
    height, width = draw(st.integers(1, 140)), draw(st.integers(1, 140))
    y, x = np.mgrid[:height, :width]
    random = np.random.default_rng(draw(st.integers(0, 99)))
    step = draw(st.integers(1, 4))
    low, high = draw(st.sampled_from([(0, 255), (255, 0), (90, 160)]))
    colours = [random.choice([0, 255], 3) for _ in range(2)]
    kinds: dict[str, Callable[[], Pixels]] = {
        "rows": lambda: gray(np.where(y // step % 2, low, high)),
        "columns": lambda: gray(np.where(x // step % 2, low, high)),
        "checkers": lambda: gray(np.where((x // step + y // step) % 2, low, high)),
        "hatching": lambda: gray(np.where((x + y) % (2 * step + 1), high, low)),
        "saturated": lambda: np.where(((x // step + y) % 3 == 0)[..., None], *colours).astype(np.uint8),
        "dither": lambda: dithered(height, width),
        "text": lambda: text(height, width),
        "blue on red": lambda: text(height, width, "#0000ff", "#ff0000"),
        "noise": lambda: random.integers(0, 256, (height, width, 3), dtype=np.uint8),
        "gray noise": lambda: gray(random.integers(0, 256, (height, width))),
        "two levels": lambda: gray(random.integers(0, 2, (height, width)) * 255),
        "mild noise": lambda: random.normal(128, 31, (height, width, 3)).clip(0, 255).astype(np.uint8),
        "flat": lambda: gray(np.full((height, width), low)),
        "ramp": lambda: gray(x * 255 // width),
        "exclusive or": lambda: gray(x ^ y),
        "repeated": lambda: np.tile(random.integers(0, 256, (height // 3 + 1, width, 3), dtype=np.uint8), (3, 1, 1)),
    }
    pixels = kinds[draw(st.sampled_from(sorted(kinds)))]()[:height]
    if draw(st.booleans()):
        pixels = pixels.copy()
        pixels[height // 2 :] = photo(height, width)[height // 2 :]
    planes: dict[str, NDArray[np.generic]] = {
        "opaque": np.full((height, width), 255),
        "disc": (np.hypot(x - width / 2, y - height / 2) < height / 2) * 255,
        "text": 255 - text(height, width)[..., 0],
        "ramp": x * 255 // width,
        "noise": random.integers(0, 256, (height, width)),
    }
    plane = planes.get(draw(st.sampled_from(["none", *planes])))
    is_gray = bool((pixels == pixels[..., :1]).all()) and draw(st.booleans())
    return Picture(pixels, is_gray, None if plane is None else plane.astype(np.uint8))


def sticker(seed: int = 0) -> Picture:
    """A photograph in a disc, and noise that nobody sees."""
    y, x = np.mgrid[:150, :150]
    alpha = np.clip(70 - np.hypot(x - 75, y - 75), 0, 1) * 255
    noise = np.random.default_rng(seed).integers(0, 256, (150, 150, 3), dtype=np.uint8)
    return Picture(np.where(alpha[..., None] > 0, photo(150, 150), noise), alpha=alpha.astype(np.uint8))
