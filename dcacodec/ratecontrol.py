"""The quality that comes nearest to a wanted file size or PSNR, found by trying.

Bytes and PSNR rise with the quality, but for an exception here and there. So the last quality that keeps to the target
is searched by bisection, and then its neighbours are looked at: the next but one, as the target may be kept to there
again, and the one before, which may be nearer to it::

    quality     1 ...... 50 ...... 78 79 80 81 82 83 .... 100
    kept to     +        +         +  +  +  -  +  -  -      -

Each try codes the whole picture. What they could share is little: the quality enters the network behind its first layer
(see :mod:`dcacodec.network.transforms`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from dcacodec.format.container import Header
from dcacodec.images.picture import Picture
from dcacodec.metrics.psnr import psnr

if TYPE_CHECKING:
    from dcacodec.codec.codec import Codec

LOWEST: Final = 1
HIGHEST: Final = 100
USUAL_TRIES: Final = 9
"""What a search takes, at most, unless exceptions lead it on."""

Progress: TypeAlias = Callable[[int, int], object]
"""As in :mod:`dcacodec.codec.codec`; here of tries."""


@dataclass(frozen=True)
class MaxBytes:
    """A file of at most so many bytes, all that travels along included. The largest such file is wanted.

    Raises:
        ValueError: not a positive number.
    """

    count: int

    def __post_init__(self) -> None:
        if not self.count > 0:
            raise ValueError(f"a target size must be above 0 bytes, not {self.count}")


@dataclass(frozen=True)
class MaxBpp:
    """A file of at most so many bits per pixel. The largest such file is wanted.

    Raises:
        ValueError: not a positive number.
    """

    bits: float

    def __post_init__(self) -> None:
        if not 0 < self.bits < math.inf:
            raise ValueError(f"a target rate must be above 0 bits per pixel, not {self.bits}")


@dataclass(frozen=True)
class MinPsnr:
    """A picture of at least this PSNR in dB, over the 8-bit RGB samples. The smallest such file is wanted.

    Raises:
        ValueError: not a positive number.
    """

    decibels: float

    def __post_init__(self) -> None:
        if not 0 < self.decibels < math.inf:
            raise ValueError(f"a target PSNR must be above 0 dB, not {self.decibels}")


Target: TypeAlias = MaxBytes | MaxBpp | MinPsnr


@dataclass(frozen=True)
class Result:
    """The file that was chosen.

    Attributes:
        data: of the `.dca` file.
        quality: that it has.
        psnr: of its picture in dB (infinite where nothing was lost); None where no PSNR was asked for.
        kept: whether it keeps to the target; if not, no quality was found that does, and this is the nearest.
        tries: how often the picture was encoded.
    """

    data: bytes
    quality: int
    psnr: float | None
    kept: bool
    tries: int


def encode_to(
    codec: Codec, picture: Picture, target: Target, progress: Progress | None = None, *, effort: int = 0
) -> Result:
    """Encode a picture to a target.

    >>> from dcacodec import Codec, read_picture
    >>> from dcacodec.ratecontrol import MaxBytes, encode_to
    >>> result = encode_to(Codec.load(), read_picture("photo.png"), MaxBytes(1000))
    >>> result.kept, len(result.data) <= 1000
    (True, True)

    Args:
        codec: what codes.
        picture: what to encode.
        target: what the file is to keep to.
        progress: is told of every try, and how many there are usually.
        effort: rounds of refinement, at every try.

    Returns:
        Of the files tried that keep to the target, the largest for a size or rate, the smallest for a PSNR. Where none
        does: the smallest for a size or rate, that of the best picture for a PSNR.
    """
    files: dict[int, Result] = {}

    def tried(place: int) -> Result:
        if place not in files:
            files[place] = _try(codec, picture, target, _quality(target, place), effort, len(files) + 1)
            if progress is not None:
                progress(len(files), max(len(files), USUAL_TRIES))
        return files[place]

    if progress is not None:
        progress(0, USUAL_TRIES)
    _search(lambda place: tried(place).kept)
    if progress is not None:
        progress(len(files), len(files))
    return replace(min(files.values(), key=lambda result: _distance(target, result)), tries=len(files))


def outcome(target: Target, result: Result, picture: Picture) -> str:
    """How near a result came to its target, in half a line for people."""
    if isinstance(target, MinPsnr):
        assert result.psnr is not None
        text = f"{result.psnr:.2f} dB for a target of {target.decibels:g} dB"
        excess = "no quality that was tried gives as much"
    else:
        count, limit = len(result.data), byte_limit(target, picture)
        text = f"{count} bytes for a target of {limit}"
        if limit:
            text += f" ({100 * count / limit:.1f} %)"
        excess = "no quality that was tried gives as little"
        beside = sum(len(each or b"") for each in picture.metadata)
        if beside > limit / 2:
            excess += f", as {beside} bytes are ICC profile, EXIF and XMP data (--strip)"
    return f"{text}, {result.tries} tries" + ("" if result.kept else f"; {excess}")


def _try(codec: Codec, picture: Picture, target: Target, quality: int, effort: int, number: int) -> Result:
    data = codec.encode(picture, quality, effort=effort)
    if not isinstance(target, MinPsnr):
        return Result(data, quality, None, len(data) <= byte_limit(target, picture), number)
    found = psnr(codec.decode(data, None).pixels, picture.pixels)
    return Result(data, quality, found, found >= target.decibels, number)


def byte_limit(target: MaxBytes | MaxBpp, picture: Picture | Header) -> int:
    """The largest file that keeps to a target, in bytes; of the picture only width and height count."""
    if isinstance(target, MaxBytes):
        return target.count
    return math.floor(min(target.bits * picture.width * picture.height / 8, 2.0**63))  # no file is as large


def _quality(target: Target, place: int) -> int:
    """The qualities in an order in which the first are the likeliest to keep to the target; places are 0 to 99."""
    return HIGHEST - place if isinstance(target, MinPsnr) else LOWEST + place


def _distance(target: Target, result: Result) -> tuple[bool, float]:
    """What is to be least of the result that is chosen: first of all it keeps to the target, if any does."""
    if isinstance(target, MinPsnr):
        assert result.psnr is not None
        return not result.kept, len(result.data) if result.kept else -result.psnr
    return not result.kept, -len(result.data) if result.kept else len(result.data)


def _search(kept: Callable[[int], bool]) -> None:
    """Try places until the last that is kept is among them, and the one before it.

    That is so if two in a row that are not kept are never followed by one that is.
    """
    count = HIGHEST - LOWEST + 1
    low, high = -1, count
    while high - low > 1:
        middle = (low + high) // 2
        if kept(middle):
            low = middle
        else:
            high = middle
    failures, place = 1, high + 1
    while failures < 2 and place < count:
        low, failures = (place, 0) if kept(place) else (low, failures + 1)
        place += 1
    if low > 0:
        kept(low - 1)
