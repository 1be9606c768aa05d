"""The preview of a large picture: a small lossy WebP in the ancillary chunk "prVW", which needs no network to decode.

It is the whole picture with its longest side reduced to 256 pixels, in a small file to 160, 128 or 96, in the colours
of the picture, with alpha where that has an alpha plane.
"""

from __future__ import annotations

import io
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from dcacodec.errors import ImageError
from dcacodec.format.container import PREVIEW_CHUNK, Chunk, Container, Header
from dcacodec.format.metadata import metadata_of
from dcacodec.format.writer import packed_size
from dcacodec.images.picture import Picture
from dcacodec.images.pillow import image_of, one_line
from dcacodec.images.webp import webp_header

SIDE: Final = 256
"""The most pixels of the longest side."""
LEAST_PIXELS: Final = 2_000_000
"""Smaller pictures have no preview: they are decoded within a second or two."""
LARGEST_SHARE: Final = 0.008
"""The most of a file that a preview may take."""
_STRIP: Final = 64
"""Rows of coarse pixels that are made at once."""
KINDS: Final = ((SIDE, 75), (SIDE, 50), (SIDE, 25), (SIDE, 10), (160, 25), (160, 10), (128, 10), (96, 10))
"""Longest side and quality of the WebP, from which the first is chosen that is small enough. With quality 10 they take
some 2,900, 1,350, 900 and 600 bytes of a photograph: 0.8 % of 360, 170, 110 and 75 kB."""


@dataclass(frozen=True, eq=False)
class Previews:
    """The candidates for the preview of a picture, in the order of `KINDS`. Each is made when it is first needed."""

    picture: Picture
    _made: dict[int, bytes] = field(default_factory=dict, init=False)

    def candidate(self, index: int) -> bytes:
        """The WebP file of an entry of `KINDS`."""
        if index not in self._made:
            side, quality = KINDS[index]
            buffer = io.BytesIO()
            reduced(self._image, side).save(buffer, "WEBP", quality=quality, method=6)
            self._made[index] = buffer.getvalue()
        return self._made[index]

    def within(self, most: float) -> bytes | None:
        """The first candidate of no more than so many bytes; None without one, and for a small picture.

        It is found by bisection, as each candidate is smaller than the one before it.
        """
        if self.picture.width * self.picture.height < LEAST_PIXELS:
            return None
        index = bisect_left(range(len(KINDS)), True, key=lambda each: len(self.candidate(each)) <= most)
        return self.candidate(index) if index < len(KINDS) else None

    @cached_property
    def _image(self) -> Image.Image:
        return _coarse(self.picture)


def _coarse(picture: Picture) -> Image.Image:
    """The picture with means of as many pixels as leave two to four times the size of a preview.

    It is made strip by strip: a Pillow image of the whole picture would take four bytes per pixel.
    """
    factor = max(1, max(picture.width, picture.height) // (2 * SIDE))
    strips = []
    for top in range(0, picture.height, _STRIP * factor):
        rows = slice(top, top + _STRIP * factor)
        strip = Picture(picture.pixels[rows], alpha=None if picture.alpha is None else picture.alpha[rows])
        strips.append(np.asarray(image_of(strip, gray=False).reduce(factor)))
    return Image.fromarray(np.concatenate(strips))


def with_preview(container: Container, previews: Previews) -> Container:
    """A container with the best preview that takes no more than `LARGEST_SHARE` of it; the same without any."""
    chosen = previews.within(LARGEST_SHARE * packed_size(container))
    if chosen is None:
        return container
    return replace(container, chunks=(*container.chunks, Chunk(PREVIEW_CHUNK, chosen)))


def reduced(image: Image.Image, side: int) -> Image.Image:
    """An image with its longest side reduced to `side` pixels; a smaller one as it is."""
    width, height = image.size
    scale = min(1.0, side / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)


def preview_size(container: Container) -> tuple[int, int] | None:
    """Width and height of the preview of a file, of which only the beginning is read; None where it has none.

    Raises:
        ImageError: as `read_preview`, but damaged pixels are not found.
    """
    data = container.chunk(PREVIEW_CHUNK)
    if data is None:
        return None
    with _opened(data, container.header) as image:
        return image.size


@contextmanager
def _opened(data: bytes, header: Header) -> Iterator[Image.Image]:
    """A preview as an image, which is decoded when its pixels are needed."""
    _check_header(data, header)  # first, as libwebp takes memory for all pixels
    try:
        with Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
            yield image
    except MemoryError:
        raise
    except UnidentifiedImageError:  # its message names an object in memory
        raise ImageError("the preview is damaged: it is not a WebP file") from None
    except Exception as error:  # Pillow raises many kinds of exceptions for damaged files
        raise ImageError(f"the preview is damaged: {one_line(error)}") from error


def _check_header(data: bytes, header: Header) -> None:
    """Refuse what is no preview of a picture, by the first bytes of the WebP file."""
    found = webp_header(data)
    if found is None:
        raise ImageError("the preview is damaged: it is not a WebP file")
    width, height, animated = found
    if max(width, height) > SIDE:
        raise ImageError(f"a preview has up to {SIDE} pixels a side, not {width}x{height}")
    if animated:
        raise ImageError("the preview is damaged: it is animated")
    # Its sides may be rounded up or down.
    if abs(width * header.height - height * header.width) > max(header.width, header.height):
        raise ImageError(
            f"the preview is damaged: it has {width}x{height} pixels, and the picture {header.width}x{header.height}"
        )


def read_preview(container: Container) -> Picture | None:
    """The preview of a file, with its ICC profile; None where it has none.

    Raises:
        ImageError: the preview is damaged, animated, larger than one can be, or of another shape than the picture.
    """
    data = container.chunk(PREVIEW_CHUNK)
    if data is None:
        return None
    with _opened(data, container.header) as image:
        bands = np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))
    pixels = np.ascontiguousarray(bands[..., :3])
    gray = container.header.mode == "L"
    if gray:  # WebP has no gray, and its decoder may round the three samples differently
        pixels = np.repeat(pixels[..., 1:2], 3, -1)
    alpha = np.ascontiguousarray(bands[..., 3]) if bands.shape[-1] == 4 else None
    return Picture(pixels, gray, alpha, icc=metadata_of(container)[0])
