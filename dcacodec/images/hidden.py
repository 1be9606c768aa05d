"""Pixels that the alpha plane hides: other colours in their place, which cost next to nothing.

Smooth ones for the network, by push-pull (Gortler et al., 1996, "The lumigraph"): the visible pixels are averaged to
half the size until none is missing; from the smallest size back, missing pixels are interpolated from the size below.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dcacodec.images.picture import Picture


def hidden_pixels(picture: Picture) -> NDArray[np.bool_] | None:
    """The mask (H, W) of the fully transparent pixels; None if there are none."""
    return None if picture.alpha is None or picture.alpha.all() else picture.alpha == 0


def fill_hidden(picture: Picture) -> Picture:
    """The picture with its fully transparent pixels filled smoothly from those around them."""
    hidden = hidden_pixels(picture)
    if hidden is None:
        return picture
    visible = np.where(hidden, np.uint8(0), np.uint8(255))
    return replace(picture, pixels=np.array(_filled(Image.fromarray(np.dstack((picture.pixels, visible))))))


def clear_hidden(picture: Picture) -> Picture:
    """The picture with its fully transparent pixels black."""
    hidden = hidden_pixels(picture)
    return picture if hidden is None else replace(picture, pixels=picture.pixels * ~hidden[..., np.newaxis])


def _filled(image: Image.Image) -> Image.Image:
    """RGBA, with an alpha of 0 or 255, to RGB."""
    visible = image.getchannel("A")
    if image.size == (1, 1) or visible.getextrema() == (255, 255):
        return image.convert("RGB")
    half = image.reduce(2)  # the mean of the visible pixels: Pillow weights colours by alpha
    half.putalpha(half.getchannel("A").point(lambda alpha: 255 if alpha else 0))
    filled = _filled(half).resize(image.size, Image.Resampling.BILINEAR)
    filled.paste(image.convert("RGB"), mask=visible)
    return filled
