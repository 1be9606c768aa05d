"""Rate control: a search for the quality that comes nearest to a target size, rate, PSNR or SSIMULACRA 2.

File size and similarity rise with the quality, with a few exceptions. So the last quality that meets the target is
found by bisection, and then its neighbours are tried: those after it, until two in a row do not meet the target, and
the one before it, which may be nearer to the target::

    quality      1 ...... 50 ...... 78 79 80 81 82 83 .... 100
    target met   +        +         +  +  +  -  +  -  -      -

Each try encodes the whole picture; the alpha plane is compressed once, and similarity is measured on the encoder's own
latents. The tries have little else in common: the quality enters the network after its first layer (see
:mod:`dcacodec.network.transforms`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from dcacodec.codec import defaults
from dcacodec.codec.codec import Codec
from dcacodec.codec.decoder import SliceLatent
from dcacodec.codec.encoder import EncodedSlice, assemble, side_chunks
from dcacodec.codec.progress import Progress
from dcacodec.codec.targets import HIGHEST, LOWEST, QualityTarget, Target, TargetedFile, byte_limit
from dcacodec.format.container import Chunk
from dcacodec.format.writer import pack
from dcacodec.images.picture import Picture
from dcacodec.network.device import memory_errors
from dcacodec.tiling.grid import Grid

USUAL_TRIES: Final = 9
"""The most tries of a search if size and similarity always rise with the quality."""


def encode_to(
    codec: Codec,
    picture: Picture,
    target: Target,
    *,
    effort: int = defaults.EFFORT,
    progress: Progress | None = None,
) -> TargetedFile:
    """Encode a picture to a target size, rate or quality.

    >>> from dcacodec import Codec, read_picture
    >>> from dcacodec.ratecontrol import MaxBytes, encode_to
    >>> result = encode_to(Codec.load(), read_picture("photo.png"), MaxBytes(1000))
    >>> result.target_met, len(result.data) <= 1000
    (True, True)

    Args:
        codec: the codec to encode with.
        picture: the picture to encode.
        target: what the file should meet.
        effort: number of refinement iterations, in every try.
        progress: called after every try, with the usual number of tries as the total.

    Returns:
        Of the files that meet the target, the largest for a size or rate, the smallest for a PSNR or SSIMULACRA 2. If
        none does: the smallest file for a size or rate, that of the best picture otherwise.
    """
    side = side_chunks(picture)

    def attempt(quality: int) -> TargetedFile:
        return _encoded(codec, picture, side, target, quality, effort)

    return search(target, attempt, progress)


def search(target: Target, attempt: Callable[[int], TargetedFile], progress: Progress | None = None) -> TargetedFile:
    """Search for the file that `encode_to` returns.

    Args:
        target: what the file should meet.
        attempt: encodes at a quality, 1..100; called once for each that is tried.
        progress: as in `encode_to`.
    """
    files: dict[int, TargetedFile] = {}

    def tried(place: int) -> TargetedFile:
        if place not in files:
            files[place] = attempt(_quality(target, place))
            if progress is not None:
                progress(len(files), max(len(files), USUAL_TRIES))
        return files[place]

    if progress is not None:
        progress(0, USUAL_TRIES)
    _walk(lambda place: tried(place).target_met)
    if progress is not None:
        progress(len(files), len(files))
    return replace(min(files.values(), key=lambda result: _distance(target, result)), tries=len(files))


def _encoded(
    codec: Codec, picture: Picture, side: Sequence[Chunk], target: Target, quality: int, effort: int
) -> TargetedFile:
    header = codec.header_for(picture, quality=quality)
    latents: list[SliceLatent] = []

    def slices() -> Iterator[EncodedSlice]:
        for each in codec.encode_slices(picture, header, effort=effort):
            if isinstance(target, QualityTarget):
                latents.append((each.symbols.latent[0], each.symbols.coded[0]))
            yield each

    with memory_errors():
        data = pack(assemble(header, slices(), side))
        if not isinstance(target, QualityTarget):
            return TargetedFile(data, quality, None, len(data) <= byte_limit(target, picture))
        grid = Grid(header)
        pixels = codec.pixels_of(codec.at(quality).point, grid, latents.__getitem__, grid.picture)
        reached = target.measure(picture.pixels, pixels)
    return TargetedFile(data, quality, reached, reached >= target.least)


def _quality(target: Target, place: int) -> int:
    """The quality at a place, 0 to 99, of an order in which the first ones are the likeliest to meet the target."""
    return HIGHEST - place if isinstance(target, QualityTarget) else LOWEST + place


def _distance(target: Target, result: TargetedFile) -> tuple[bool, float]:
    """The sort key of results, of which the least is chosen: files that meet the target come first."""
    if isinstance(target, QualityTarget):
        assert result.reached is not None
        return not result.target_met, len(result.data) if result.target_met else -result.reached
    return not result.target_met, -len(result.data) if result.target_met else len(result.data)


def _walk(met: Callable[[int], bool]) -> None:
    """Try places until the last one that meets the target is among them, and the one before it.

    This holds if two in a row that do not meet the target are never followed by one that does.
    """
    count = HIGHEST - LOWEST + 1
    low, high = -1, count
    while high - low > 1:
        middle = (low + high) // 2
        if met(middle):
            low = middle
        else:
            high = middle
    failures, place = 1, high + 1
    while failures < 2 and place < count:
        low, failures = (place, 0) if met(place) else (low, failures + 1)
        place += 1
    if low > 0:
        met(low - 1)
