"""The functions of the package: `encode`, `decode` and their variants for files, arrays and tensors.

::

    path, file, PIL image, array, tensor -- picture_of --> Picture -- Codec.encode --> bytes
                     PIL image, array, tensor <-- Picture <-- Codec.decode -- path, file, bytes

The codec is loaded at the first call and shared by all threads. PyTorch is imported only then.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dcacodec.codec import defaults
from dcacodec.files.atomic import check_writable, is_same_file, write_atomically
from dcacodec.format.container import DEFAULT_MAX_PIXELS, Container
from dcacodec.format.reader import read_container
from dcacodec.images.any_image import Content, ImageLike, from_file, picture_of
from dcacodec.images.formats import format_for, has_picture_suffix
from dcacodec.images.picture import Picture
from dcacodec.images.pillow import to_pillow
from dcacodec.images.writing import write_picture
from dcacodec.network.config import Tuning
from dcacodec.processes.fork import ForkSafeLock
from dcacodec.weights.registry import Published, by_fingerprint, by_preset

if TYPE_CHECKING:
    from torch import Tensor

    from dcacodec.codec.codec import Codec
    from dcacodec.codec.progress import Progress

Region: TypeAlias = "tuple[int, int, int, int]"
"""Left, top, width, height in pixels."""


def encode(
    image: ImageLike,
    *,
    quality: float = defaults.QUALITY,
    effort: int = defaults.EFFORT,
    lossless: bool | None = None,
    keep_hidden: bool = False,
    tune: Tuning | None = None,
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
    progress: Progress | None = None,
    codec: Codec | None = None,
) -> bytes:
    """Compress a picture.

    >>> import dcacodec
    >>> data = dcacodec.encode("photo.png", quality=70)
    >>> dcacodec.decode(data).size
    (90, 70)

    Args:
        image: a picture file (its path, its bytes, or a file object open for reading), a Pillow image, a NumPy array
            or a PyTorch tensor; see `picture_of` for details.
        quality: 1 (smallest) to 100 (best), rounded to tenths.
        effort: number of refinement iterations: they give a better picture at about the same size, and take time.
        lossless: True to keep every sample exactly, also those that a transparent alpha hides; quality and effort then
            have no effect. False to use the network everywhere. None to keep those parts exactly, such as text and
            line art, where the network would need more bytes or make large errors.
        keep_hidden: keep the colours of fully transparent pixels, like all others. Otherwise they are replaced by
            colours that take fewer bytes.
        tune: "visual" for perceived quality, the default, or "psnr" for the least squared error.
        max_pixels: refuse pictures with more pixels; None for no limit but Pillow's own, of files, and the format's.
        progress: called with the number of steps done and their total: (0, n) first, (n, n) last.
        codec: the codec to use instead of `tune`; None for the default one, which is loaded once and cached.

    Returns:
        The bytes of a `.dca` file.

    Raises:
        DcaError: the picture or the weights cannot be used.
        OSError: a file cannot be read.
        TypeError: `image` has another type.
        ValueError: the quality is out of range, the effort is negative, or both a tuning and a codec are given.

    Warns:
        ImageWarning: a property of the picture is lost, see `read_picture`.
    """
    if codec is not None and tune is not None:
        raise ValueError("tune and codec exclude each other: a codec has its own tuning")
    picture = picture_of(image, max_pixels=max_pixels)
    return (codec or default_codec(tune)).encode(
        picture, quality=quality, effort=effort, lossless=lossless, keep_hidden=keep_hidden, progress=progress
    )


def decode(
    data: Content,
    *,
    region: Region | None = None,
    scale: int = 1,
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
    progress: Progress | None = None,
    codec: Codec | None = None,
) -> Image.Image:
    """Decode a `.dca` file to a Pillow image.

    >>> import dcacodec
    >>> image = dcacodec.decode("photo.dca")
    >>> image.mode, image.size
    ('RGB', (90, 70))
    >>> dcacodec.decode("photo.dca", region=(10, 10, 32, 16)).size
    (32, 16)
    >>> dcacodec.decode("photo.dca", scale=4).size
    (23, 18)

    Args:
        data: the file: its path, its bytes, or a file object open for reading.
        region: (left, top, width, height): decode only this part, in pixels of the whole picture.
        scale: 2, 4 or 8 to reduce the picture by that factor, its sides rounded up.
        max_pixels: refuse files of larger pictures; None for no limit.
        progress: as in `encode`.
        codec: the codec to use, with the weights that the file was encoded with; None for a suitable one, which is
            loaded once and cached.

    Returns:
        An image of mode L, LA, RGB or RGBA, with ICC profile, EXIF data and XMP packet in `info`.

    Raises:
        DcaError: the file is damaged, its weights are not installed, or the region is not inside the picture.
        OSError: the file cannot be read.
        TypeError: `data` is not a file.
        ValueError: the scale is none of 1, 2, 4, 8.
    """
    return to_pillow(_decoded(data, region, scale, max_pixels, progress, codec))


def decode_array(
    data: Content,
    *,
    region: Region | None = None,
    scale: int = 1,
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
    progress: Progress | None = None,
    codec: Codec | None = None,
) -> NDArray[np.uint8]:
    """As `decode`, to a uint8 array: (height, width) for gray, (height, width, 3), or with alpha (height, width, 4).

    >>> import dcacodec
    >>> dcacodec.decode_array("photo.dca").shape
    (70, 90, 3)
    """
    picture = _decoded(data, region, scale, max_pixels, progress, codec)
    if picture.alpha is not None:
        return np.dstack((picture.pixels, picture.alpha))
    return picture.pixels[..., 0].copy() if picture.gray else picture.pixels


def decode_tensor(
    data: Content,
    *,
    region: Region | None = None,
    scale: int = 1,
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
    progress: Progress | None = None,
    codec: Codec | None = None,
) -> Tensor:
    """As `decode`, to a float32 tensor (3, height, width) in 0..1 on the CPU, without alpha plane.

    >>> import dcacodec
    >>> dcacodec.decode_tensor("photo.dca").shape
    torch.Size([3, 70, 90])
    """
    import torch

    picture = _decoded(data, region, scale, max_pixels, progress, codec)
    return torch.from_numpy(picture.pixels).permute(2, 0, 1).contiguous().float() / 255


def encode_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    quality: float = defaults.QUALITY,
    effort: int = defaults.EFFORT,
    lossless: bool | None = None,
    keep_hidden: bool = False,
    tune: Tuning | None = None,
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
    progress: Progress | None = None,
    codec: Codec | None = None,
) -> None:
    """Compress a picture file to a `.dca` file. All arguments but the first two are those of `encode`.

    >>> import dcacodec
    >>> dcacodec.encode_file("photo.png", "small.dca", quality=20)

    Args:
        source: a picture that `read_picture` reads.
        target: the file to write. An existing one is replaced once the new one is complete.

    Raises:
        DcaError: the picture or the weights cannot be used.
        OSError: a file cannot be read or written.
        ValueError: the quality is out of range, the effort is negative, both a tuning and a codec are given, or the
            target is the source itself or has the suffix of a picture format.
    """
    _check_target(source, target)
    if has_picture_suffix(Path(target)):
        raise ValueError(f"{os.fspath(target)} has the suffix of a picture, but a .dca file would be written")
    data = encode(
        os.fspath(source),
        quality=quality,
        effort=effort,
        lossless=lossless,
        keep_hidden=keep_hidden,
        tune=tune,
        max_pixels=max_pixels,
        progress=progress,
        codec=codec,
    )
    write_atomically(os.fspath(target), lambda file: file.write(data))


def decode_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    region: Region | None = None,
    scale: int = 1,
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
    progress: Progress | None = None,
    codec: Codec | None = None,
) -> None:
    """Decode a `.dca` file to a picture file. All arguments but the first two are those of `decode`.

    >>> import dcacodec
    >>> dcacodec.decode_file("photo.dca", "back.png")

    Args:
        source: the `.dca` file.
        target: the picture to write; its suffix gives the format: all are lossless but JPEG and AVIF, which are written
            with a warning. An existing file is replaced once the new one is complete.

    Raises:
        DcaError: the file is damaged, its weights are not installed, the region is not inside the picture, the suffix
            of the target is not that of a format that is written, or the format cannot hold the picture.
        OSError: a file cannot be read or written.
        ValueError: the target is the source itself, or the scale is none of 1, 2, 4, 8.
    """
    _check_target(source, target)
    format_name = format_for(Path(target))
    picture = _decoded(os.fspath(source), region, scale, max_pixels, progress, codec)
    write_atomically(os.fspath(target), lambda file: write_picture(picture, file, format_name))


def _check_target(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Refuse to replace the source by the result, and targets that cannot be written."""
    if is_same_file(source, target):
        raise ValueError(f"{os.fspath(target)} is the source itself")
    check_writable(os.fspath(target))


def _decoded(
    source: Content,
    region: Region | None,
    scale: int,
    max_pixels: int | None,
    progress: Progress | None,
    codec: Codec | None,
) -> Picture:
    container = from_file(source, lambda file: read_container(file, max_pixels))
    return (codec or codec_for(container)).decode(container, region=region, scale=scale, progress=progress)


# ------------------------------------------------------------------------------------------------------------- codecs


def default_codec(tune: Tuning | None = None) -> Codec:
    """The codec of the default preset on the best available device, loaded once.

    Args:
        tune: as for `Codec.load`.

    Raises:
        WeightsError: its weights are missing or damaged.
    """
    return _shared(by_preset(defaults.PRESET, tune))


def codec_for(container: Container) -> Codec:
    """The codec with the weights of a `.dca` file, on the best available device, loaded once.

    Raises:
        UnknownModelError: these weights are not installed.
    """
    return _shared(by_fingerprint(container.header.fingerprint.hex()))


_LOADING: Final = ForkSafeLock()  # so that threads that start together load a codec only once


def _shared(published: Published) -> Codec:
    with _LOADING:
        return _load(published)


@lru_cache(maxsize=4)
def _load(published: Published) -> Codec:
    from dcacodec.codec.codec import Codec

    return Codec.from_published(published)
