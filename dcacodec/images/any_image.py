"""Conversion of files, Pillow images, arrays and tensors to `Picture`s.

::

    path, file, bytes -- read_picture --.
    Pillow image -- from_pillow --------+--> Picture
    array, tensor ----------------------'
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, TypeGuard, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dcacodec.errors import ImageError
from dcacodec.files.bounded import check_binary
from dcacodec.format.container import DEFAULT_MAX_PIXELS, check_pixels
from dcacodec.images.picture import Picture
from dcacodec.images.pillow import from_pillow
from dcacodec.images.reading import read_picture
from dcacodec.processes.fork import limit_threads

if TYPE_CHECKING:
    from torch import Tensor

Content: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO"
"""A file: its path, its bytes, or a file object open for reading."""
ImageLike: TypeAlias = "Content | Image.Image | NDArray[np.uint8] | Tensor | Picture"
"""The types that `encode` accepts; see `picture_of` for details."""

Read = TypeVar("Read")


def picture_of(image: ImageLike, *, max_pixels: int | None = DEFAULT_MAX_PIXELS) -> Picture:
    """Convert an image of any type that `encode` accepts to a `Picture`.

    ==================================================  ================================================================
    a path                                              the picture file there, see `read_picture`
    bytes, bytearray, memoryview                        the content of a picture file, not samples
    a file open for reading in binary mode              likewise
    a Pillow image                                      see `from_pillow`
    a uint8 array (H, W)                                gray
    a uint8 array (H, W, 3)                             red, green, blue
    a uint8 array (H, W, 4)                             the same with alpha, 0 transparent, not premultiplied
    a tensor (3, H, W) or (1, 3, H, W), uint8           red, green, blue
    the same, floating point                            the same, as 0..1, rounded to 8 bits
    a `Picture`                                         itself
    ==================================================  ================================================================

    >>> import numpy as np
    >>> picture_of(np.zeros((4, 6), np.uint8)).gray
    True

    Args:
        image: any of these.
        max_pixels: refuse pictures with more pixels; None for no limit.

    Raises:
        ImageError: a picture, array or tensor of an unsupported kind, or a tensor with values outside 0..1.
        TooLargeError: more pixels than allowed.
        TypeError: `image` has another type, or is a file opened as text.
        OSError: the file cannot be read.
    """
    if isinstance(image, Picture):
        check_pixels(image.width, image.height, max_pixels)
        return image
    if isinstance(image, Image.Image):
        _check_sides(image.height, image.width, max_pixels)
        return from_pillow(image)
    if isinstance(image, np.ndarray):
        return _of_array(image, max_pixels)
    if _is_tensor(image):
        return _of_tensor(image, max_pixels)
    needed = "a path, a file, bytes, an image, an array or a tensor"
    return from_file(cast("Content", image), lambda file: read_picture(file, max_pixels), needed)


def _is_tensor(image: object) -> TypeGuard[Tensor]:
    # If it is a tensor, PyTorch is already imported.
    return "torch" in sys.modules and isinstance(image, sys.modules["torch"].Tensor)


def _of_array(array: NDArray[Any], max_pixels: int | None) -> Picture:
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ImageError(
            "an array must be uint8 of shape (height, width), (height, width, 3) or (height, width, 4), "
            f"not {array.dtype} {array.shape}"
        )
    if np.ma.is_masked(array):
        raise ImageError("an array must have a value for every sample, and this one is masked: fill it")
    _check_sides(array.shape[0], array.shape[1], max_pixels)
    array = np.asarray(array)  # a subclass can have an indexing of its own, as np.matrix has
    if array.ndim == 2:
        return Picture(np.repeat(array[..., np.newaxis], 3, -1), gray=True)
    alpha = np.ascontiguousarray(array[..., 3]) if array.shape[2] == 4 else None
    return Picture(np.ascontiguousarray(array[..., :3]), alpha=alpha)


def _of_tensor(tensor: Tensor, max_pixels: int | None) -> Picture:
    import torch

    limit_threads()
    if tensor.is_nested or tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        raise ImageError("a tensor must be dense, with values: nested, sparse, quantized and meta tensors are not")
    known = tensor.dtype == torch.uint8 or tensor.is_floating_point()
    shape = tuple(tensor.shape[1:] if tensor.ndim == 4 and tensor.shape[0] == 1 else tensor.shape)
    if not known or len(shape) != 3 or shape[0] != 3:
        raise ImageError(
            "a tensor must be uint8 or floating point of shape (3, height, width) or (1, 3, height, width), "
            f"not {str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
        )
    _check_sides(shape[1], shape[2], max_pixels)
    try:
        samples, valid = _samples(tensor.detach().reshape(shape))
    except (RuntimeError, TypeError, NotImplementedError) as error:  # of a subclass, or inside of torch.func.vmap
        raise ImageError(f"this tensor cannot be converted to an array: {str(error).partition(chr(10))[0]}") from error
    if not valid:
        raise ImageError("a floating-point tensor must have all its values in 0 to 1: clamp it")
    return Picture(samples)


def _samples(tensor: Tensor) -> tuple[NDArray[np.uint8], bool]:
    """The 8-bit samples (H, W, 3) of a tensor (3, H, W), and whether all values of a floating-point one are in 0..1."""
    valid = True
    if tensor.is_floating_point():
        values = tensor.float()
        valid = bool(((values >= 0) & (values <= 1)).all())  # False for NaN
        tensor = (values * 255).round().byte()
    return tensor.permute(1, 2, 0).contiguous().cpu().numpy(), valid


def _check_sides(height: int, width: int, max_pixels: int | None) -> None:
    if not height * width:
        raise ImageError(f"a picture has at least one pixel, not {width}x{height}")
    check_pixels(width, height, max_pixels)


def from_file(source: Content, read: Callable[[BinaryIO], Read], needed: str = "a path, a file or bytes") -> Read:
    """Call `read` with the open file.

    Raises:
        TypeError: the source is none of these; `needed` is what the message asks for. Or it is a file opened as text.
        OSError: the file cannot be opened.
    """
    if isinstance(source, str | os.PathLike):
        with open(source, "rb") as file:
            return read(file)
    if isinstance(source, bytes | bytearray | memoryview):
        return read(io.BytesIO(source))
    if hasattr(source, "read"):
        check_binary(source)
        return read(source)
    raise TypeError(f"{needed} is needed, not {type(source).__name__}")
