"""A picture in the shapes that the API takes and gives: what the tests of the API share."""

import io
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tiny import photo

from dcacodec import Picture

PIXELS = photo(20, 33)
ALPHA = photo(20, 33, 1)[..., 0].copy()


def png(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def same(one: Picture, other: Picture) -> bool:
    """Whether two pictures are equal in all they hold."""
    planes = [(one.pixels, other.pixels)]
    if one.alpha is not None and other.alpha is not None:
        planes.append((one.alpha, other.alpha))
    return (one.gray, one.icc, one.exif, one.alpha is None) == (
        other.gray,
        other.icc,
        other.exif,
        other.alpha is None,
    ) and all(np.array_equal(mine, yours) for mine, yours in planes)


class Pipe(io.BytesIO):
    """A file that cannot seek."""

    def seekable(self) -> bool:
        return False


def torch_of(pixels: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)
