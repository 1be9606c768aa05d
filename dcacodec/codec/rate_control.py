"""The quality that comes nearest to a wanted file size, PSNR or SSIMULACRA 2, found by trying.

Bytes and likeness rise with the quality, but for an exception here and there. So the last quality that keeps to the
target is searched by bisection, and then its neighbours are looked at: the next but one, as the target may be kept to
there again, and the one before, which may be nearer to it::

    quality     1 ...... 50 ...... 78 79 80 81 82 83 .... 100
    kept to     +        +         +  +  +  -  +  -  -      -

Each try codes the whole picture; the alpha plane is compressed once, and likeness is measured on the latents at hand.
What else the tries could share is little: the quality enters the network behind its first layer (see
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
"""What a search takes, at most, unless exceptions lead it on."""


def encode_to(
    codec: Codec,
    picture: Picture,
    target: Target,
    *,
    effort: int = defaults.EFFORT,
    progress: Progress | None = None,
) -> TargetedFile:
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
        effort: number of refinement iterations, at every try.
        progress: is told of every try, and how many there are usually.

    Returns:
        Of the files tried that keep to the target, the largest for a size or rate, the smallest for a PSNR or
        SSIMULACRA 2. Where none does: the smallest for a size or rate, that of the best picture otherwise.
    """
    side = side_chunks(picture)

    def attempt(quality: int) -> TargetedFile:
        return _encoded(codec, picture, side, target, quality, effort)

    return search(target, attempt, progress)


def search(target: Target, attempt: Callable[[int], TargetedFile], progress: Progress | None = None) -> TargetedFile:
    """Of the files that some qualities give, the one that is wanted; see `encode_to`.

    Args:
        target: what the file is to keep to.
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
    _walk(lambda place: tried(place).kept)
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
                latents.append((each.symbols.latent[0].float(), each.symbols.coded[0]))
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
    """The qualities in an order in which the first are the likeliest to keep to the target; places are 0 to 99."""
    return HIGHEST - place if isinstance(target, QualityTarget) else LOWEST + place


def _distance(target: Target, result: TargetedFile) -> tuple[bool, float]:
    """What is to be least of the result that is chosen: first of all it keeps to the target, if any does."""
    if isinstance(target, QualityTarget):
        assert result.reached is not None
        return not result.kept, len(result.data) if result.kept else -result.reached
    return not result.kept, -len(result.data) if result.kept else len(result.data)


def _walk(kept: Callable[[int], bool]) -> None:
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
