"""Rate control: a search for the quality that comes nearest to a target size, rate, PSNR or SSIMULACRA 2.

File size and similarity rise with the quality, with a few exceptions. So the boundary between the qualities that meet
the target and those that do not is bracketed, and the bracket narrowed to a tenth by interpolation::

    try          1                  4 3    2
    quality      50 ............... 81.6 . 100
    size         below              above  above

Where similarity does *not* rise (a drawing can get worse beyond some quality), the qualities around the most similar
picture are tried as well.

Each try encodes the whole picture; what does not depend on the quality is made once (see `Source`), and similarity is
measured on the encoder's own latents. The tries have little else in common: the quality enters the network after its
first layer (see :mod:`dcacodec.network.transforms`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from dcacodec.codec import defaults
from dcacodec.codec.codec import Codec
from dcacodec.codec.decoder import DecodedSlices, SliceLatent
from dcacodec.codec.encoder import EncodedSlice
from dcacodec.codec.progress import Progress
from dcacodec.codec.source import Source
from dcacodec.codec.targets import MaxBytes, QualityTarget, Target, TargetedFile, byte_limit
from dcacodec.format.quality import HIGHEST, LOWEST, TENTHS, quality_of, tenths_of
from dcacodec.format.writer import pack
from dcacodec.images.picture import Picture, Pixels
from dcacodec.network.device import memory_errors
from dcacodec.tiling.grid import Grid

USUAL_TRIES: Final = 8
"""The number of tries that most searches need."""
_LAST: Final = (tenths_of(LOWEST), tenths_of(HIGHEST))
_MIDDLE: Final = tenths_of(50)


def encode_to(
    codec: Codec,
    picture: Picture,
    target: Target,
    *,
    effort: int = defaults.EFFORT,
    keep_hidden: bool = False,
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
        keep_hidden: as in `Codec.encode`. Otherwise hidden pixels do not count for the target either.
        progress: called after every try, with the usual number of tries as the total.

    Returns:
        Of the files that meet the target, the largest for a size or rate, the smallest for a PSNR or SSIMULACRA 2. If
        none does: the smallest file for a size or rate, that of the best picture otherwise.

    Raises:
        TypeError: the target is of none of these kinds.
    """
    if not isinstance(target, Target):
        raise TypeError(f"a target is a MaxBytes, MaxBpp, MinPsnr or MinSsimulacra2, not {target!r}")
    source = Source(picture, keep_hidden)

    def attempt(quality: float) -> TargetedFile:
        return _encoded(codec, source, target, quality, effort)

    # No file is as small as the smallest limit, so the least positive one serves for it.
    aim = target if isinstance(target, QualityTarget) else MaxBytes(max(1, byte_limit(target, picture)))
    return search(aim, attempt, progress)


def search(
    target: MaxBytes | QualityTarget, attempt: Callable[[float], TargetedFile], progress: Progress | None = None
) -> TargetedFile:
    """Search for the file that `encode_to` returns.

    Args:
        target: what the file should meet.
        attempt: encodes at a quality, 1..100 in tenths; called once for each that is tried.
        progress: as in `encode_to`.
    """
    files: dict[int, TargetedFile] = {}

    def tried(tenths: int) -> TargetedFile:
        if tenths not in files:
            files[tenths] = attempt(quality_of(tenths))
            if progress is not None:
                progress(len(files), max(len(files), USUAL_TRIES))
        return files[tenths]

    if progress is not None:
        progress(0, USUAL_TRIES)
    _Search(target, files, tried).run()
    if progress is not None:
        progress(len(files), len(files))
    return replace(min(files.values(), key=lambda result: _distance(target, result)), tries=len(files))


@dataclass(frozen=True)
class _Search:
    """The order of tries. Qualities are in tenths.

    Attributes:
        target: what the file should meet.
        files: those that have been tried.
        tried: returns the file of a quality, and encodes it if it is not among them.
    """

    target: MaxBytes | QualityTarget
    files: Mapping[int, TargetedFile]
    tried: Callable[[int], TargetedFile]

    def run(self) -> None:
        """Try qualities until the boundary is found."""
        if self.is_above(_MIDDLE):
            if not self.is_above(_LAST[0]):
                self.narrow(_LAST[0], _MIDDLE)
        elif self.is_above(_LAST[1]):
            self.narrow(_MIDDLE, _LAST[1])
        if not isinstance(self.target, MaxBytes):
            if not any(file.target_met for file in self.files.values()):
                self.tried(_LAST[1] - TENTHS)  # shows whether similarity still rises there
            self.climb()

    def excess(self, tenths: int) -> float:
        """How far a file is above the boundary, below it negative: a number that usually rises evenly."""
        file = self.tried(tenths)
        if isinstance(self.target, MaxBytes):
            return math.log(len(file.data) / self.target.count)
        assert file.reached is not None
        return file.reached - self.target.least

    def is_above(self, tenths: int) -> bool:
        """Whether a quality is above the boundary: it reaches a similarity, or exceeds a size."""
        return self.tried(tenths).target_met != isinstance(self.target, MaxBytes)

    def narrow(self, low: int, high: int) -> None:
        """Narrow a bracket, of which only the upper end is above the boundary, to neighbours."""
        side = step = 0
        while high - low > 1:
            below, above = self.excess(low), self.excess(high)
            # An exact picture has an infinite PSNR.
            share = -below / (above - below) if math.isfinite(above) and above > below else 0.5
            guess = min(max(round(low + share * (high - low)) + side * step, low + 1), high - 1)
            moved = -1 if self.is_above(guess) else 1
            low, high = (low, guess) if moved < 0 else (guess, high)
            # While the same end moves, the other one is too far for interpolation to be of use.
            side, step = moved, max(1, 2 * step) if moved == side else 0

    def climb(self) -> None:
        """Where similarity falls before the boundary, try the qualities around the most similar picture below it."""
        while True:
            boundary = min((tenths for tenths, file in self.files.items() if file.target_met), default=_LAST[1] + 1)
            below = sorted(tenths for tenths in self.files if tenths < boundary)
            if not below:
                return
            best = max(below, key=lambda tenths: (self.files[tenths].reached, tenths))
            if best == below[-1]:
                return
            around = sorted({_LAST[0] - 1, *self.files})
            at = around.index(best)
            first, last = max(itertools.pairwise(around[at - 1 : at + 2]), key=lambda pair: pair[1] - pair[0])
            if last - first <= TENTHS:
                return
            middle = (first + last) // 2
            first = max(first, _LAST[0])
            if self.is_above(middle) and not self.is_above(first):
                self.narrow(first, middle)


def _encoded(codec: Codec, source: Source, target: Target, quality: float, effort: int) -> TargetedFile:
    latents: dict[int, SliceLatent] = {}
    samples: dict[int, Pixels] = {}

    def keep(index: int, encoded: EncodedSlice) -> None:
        if not isinstance(target, QualityTarget):
            return
        if encoded.samples is not None:
            samples[index] = encoded.samples
        else:
            latents[index] = (encoded.symbols.latent[0], encoded.symbols.coded[0])

    with memory_errors():
        container = codec.container_of(source, quality=quality, effort=effort, seen=keep)
        data = pack(container)
        if not isinstance(target, QualityTarget):
            return TargetedFile(data, quality, None, len(data) <= byte_limit(target, source.picture))
        original = source.filled.pixels
        if container.lossless_count == container.header.slice_count:
            pixels = source.plain.pixels
        else:
            decoded = DecodedSlices(latents.__getitem__, samples.__contains__, samples.__getitem__)
            grid = Grid(container.header)
            pixels = codec.pixels_of(codec.at(quality).point, grid, decoded, grid.picture)
        reached = target.measure(original, pixels, source.hidden)
    return TargetedFile(data, quality, reached, reached >= target.least)


def _distance(target: Target, result: TargetedFile) -> tuple[bool, float]:
    """The sort key of results, of which the least is chosen: files that meet the target come first."""
    if isinstance(target, QualityTarget):
        assert result.reached is not None
        return not result.target_met, len(result.data) if result.target_met else -result.reached
    return not result.target_met, -len(result.data) if result.target_met else len(result.data)
