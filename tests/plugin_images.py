"""Images of Pillow's, and how they are saved and opened as `.dca`: what the tests of the plugin share."""

import io
from typing import Any

import numpy as np
from picture_files import profile
from PIL import Image
from tiny import photo

import dcacodec.pillow_plugin  # noqa: F401
from dcacodec.images.picture import Picture

PIXELS = photo(50, 70)
ALPHA = photo(50, 70, 1)[..., 0].copy()
EXIF = b"II*\0\x08\0\0\0\1\0\x0f\1\2\0\4\0\0\0Me!\0\0\0\0\0"
PICTURE = Picture(PIXELS, alpha=ALPHA, icc=profile(), exif=EXIF)
IMAGES = {
    "RGB": Image.fromarray(PIXELS),
    "RGBA": Image.fromarray(np.dstack((PIXELS, ALPHA))),
    "L": Image.fromarray(ALPHA),
    "LA": Image.merge("LA", (Image.fromarray(ALPHA), Image.fromarray(ALPHA))),
}


def saved(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "DCA", **options)
    return buffer.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))
