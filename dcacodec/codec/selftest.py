"""Verification of bit-exact decoding on this machine, for the command `dcacodec selftest`.

The folder `golden` holds files that were written once, and checksums of the integers in them. They are decoded with
every entropy coder and number of threads, and on a GPU if there is one. A single wrong bit in the arithmetic that the
probabilities depend on would give other integers.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dcacodec.errors import DcaError, reason

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dcacodec.codec.codec import Codec
    from dcacodec.codec.slice_coder import Symbols
    from dcacodec.coding import Coder
    from dcacodec.weights.reader import Weights

GOLDEN: Final = Path(__file__).resolve().parents[1] / "golden"
TINY: Final = "tiny.safetensors"
"""Weights of a small network with random parameters, none of them 0, so that every layer has an effect."""
GRID: Final = 8
_LEVELS: Final = 1.0
"""Tolerance of the mean samples of a part of a picture, out of 255."""


@dataclass(frozen=True)
class Check:
    """The result of a check: a description, and whether it passed."""

    text: str
    passed: bool


@dataclass(frozen=True)
class Setting:
    """A way to decode files: device, number of threads and entropy coder."""

    name: str
    device: str
    threads: int
    coder: Coder


@dataclass(frozen=True)
class Golden:
    """A golden file and what it must decode to.

    Attributes:
        name: of the file.
        data: its bytes.
        weights: fingerprint of the weights, in hex.
        integers: number of integers in its streams.
        digest: of all integers, see `digest_of`.
        means: mean samples of the picture by grid cell, see `means_of`.
    """

    name: str
    data: bytes
    weights: str
    integers: int
    digest: str
    means: list[list[list[int]]]


def golden_files(folder: Path | None = None) -> list[Golden]:
    """The golden files of a folder, by default those of this installation.

    Raises:
        DcaError: one is missing or damaged.
    """
    folder = folder or GOLDEN
    try:
        listing = json.loads((folder / "index.json").read_text("utf-8"))
        found = []
        for name, facts in listing.items():
            data = (folder / name).read_bytes()
            if hashlib.sha256(data).hexdigest() != facts["sha256"]:
                raise DcaError(f"the golden file {name} is damaged: its SHA-256 is not the recorded one")
            found.append(Golden(name, data, *(facts[key] for key in ("weights", "integers", "digest", "means"))))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DcaError(f"the golden files of this installation cannot be read: {error}") from error
    return found


def slices_of(codec: Codec, data: bytes, backwards: bool = False) -> list[Symbols]:
    """The integers of each slice of a file; `backwards` decodes the last slice first.

    Raises:
        DcaError: the file is malformed, or its integers do not match the latent checksums in it.
    """
    from dcacodec.errors import SymbolMismatchError
    from dcacodec.format.reader import parse

    container = parse(data)
    order = range(len(container.slices))
    coder = codec.at(container.header.quality)
    found: dict[int, Symbols] = {}
    for index in reversed(order) if backwards else order:
        found[index] = coder.read_slice(container, index)
        if coder.streams_of(found[index]) != container.slices[index].streams:
            raise SymbolMismatchError("encoding the decoded latents again does not give the same streams")
    return [found[index] for index in order]


def digest_of(slices: list[Symbols]) -> tuple[int, str]:
    """The number of integers, and the SHA-256 of all of them as little-endian int32.

    For each slice these are the hyper latents, the residuals and scale levels of each step, and y_hat in units of
    2**-9.
    """
    count, digest = 0, hashlib.sha256()
    for symbols in slices:
        latent = symbols.units.cpu().numpy()
        arrays: list[NDArray[Any]] = [*symbols.hyper.values(), *symbols.steps, *symbols.rows, latent]
        for array in arrays:
            count += array.size
            digest.update(array.astype("<i4").tobytes())
    return count, digest.hexdigest()


def means_of(pixels: NDArray[np.uint8]) -> list[list[list[int]]]:
    """The rounded means of (H, W, 3) pixels over the cells of a grid of up to `GRID` x `GRID`."""
    import numpy as np

    rows, columns = (np.array_split(np.arange(side), min(GRID, side)) for side in pixels.shape[:2])
    return [
        [pixels[np.ix_(row, column)].mean((0, 1)).round().astype(int).tolist() for column in columns] for row in rows
    ]


@cache
def _weights(fingerprint: str) -> Weights:
    from dcacodec.weights.reader import read_weights
    from dcacodec.weights.registry import by_fingerprint

    tiny = GOLDEN / TINY
    if tiny.exists() and hashlib.sha256(tiny.read_bytes()).hexdigest()[:8] == fingerprint:
        return read_weights(tiny)
    published = by_fingerprint(fingerprint)
    return read_weights(published.path, published.digest)


def _codec(golden: Golden, setting: Setting) -> Codec:
    from dcacodec.codec.codec import Codec
    from dcacodec.network.device import choose_device

    return Codec(_weights(golden.weights), choose_device(setting.device), setting.coder)


def settings(device: str) -> Iterator[Setting | Check]:
    """The settings that this machine can decode with; a passed check for one that is not available."""
    from dcacodec.coding import CoderUnavailableError, PythonCoder, TorchacCoder
    from dcacodec.network.device import choose_device

    many = max(2, os.cpu_count() or 2)
    coders: list[Coder] = [PythonCoder()]
    try:
        coders.insert(0, TorchacCoder())
    except CoderUnavailableError as error:
        yield Check(f"the compiled coder is not available, the slow one is used: {error}", True)
    for coder in coders:
        for count in (1, many):
            name = f"{coder.name} coder, {count} thread{'s' * (count > 1)}"
            yield Setting(name, "cpu", count, coder)
    if choose_device(device).type == "cuda":
        yield Setting(f"{coders[0].name} coder, CUDA", "cuda", many, coders[0])


def checks(device: str = "auto") -> Iterator[Check]:
    """Run all checks; each is yielded when it is done.

    Args:
        device: "cpu", "cuda", or "auto" for a GPU too if there is one.

    Raises:
        DcaError: the golden files are missing or damaged; "cuda" is requested and not available.
    """
    files = golden_files()
    ways = []
    for each in settings(device):
        if isinstance(each, Check):
            yield each
        else:
            ways.append(each)
    for setting in ways:
        for golden in files:
            yield _run_check(f"{golden.name}, {setting.name}", partial(_integers, golden, setting))
    for golden in files:
        yield _run_check(f"{golden.name}, picture", partial(_picture, golden, ways[0]))
    largest = max(files, key=lambda golden: golden.integers)
    for writer in ways:
        for reader in ways:
            if writer is not reader:
                name = f"made here: {writer.name} -> {reader.name}"
                yield _run_check(name, partial(_round_trip, largest, writer, reader))


def _run_check(name: str, compare: Callable[[], tuple[str, bool]]) -> Check:
    try:
        text, passed = compare()
    except (DcaError, MemoryError) as error:
        text, passed = reason(error), False
    return Check(f"{name}: {text}", passed)


def _integers(golden: Golden, setting: Setting) -> tuple[str, bool]:
    """Compare the integers of a golden file with the recorded ones."""
    from dcacodec.codec.parallel import threads

    with threads(setting.threads):
        found = digest_of(slices_of(_codec(golden, setting), golden.data))
    if found != (golden.integers, golden.digest):
        return "the integers differ from those recorded", False
    return f"{golden.integers} integers as recorded, and encoded to the same bytes", True


def _picture(golden: Golden, setting: Setting) -> tuple[str, bool]:
    """Compare the picture of a golden file; its samples may differ slightly between machines."""
    import numpy as np

    pixels = _codec(golden, setting).decode(golden.data).pixels
    worst = float(np.abs(np.array(means_of(pixels)) - np.array(golden.means)).max())
    return f"mean samples within {worst:.0f} of 255 of those recorded", worst <= _LEVELS


def _round_trip(golden: Golden, writer: Setting, reader: Setting) -> tuple[str, bool]:
    """Check that one setting decodes the integers that another one has encoded."""
    from dcacodec.codec.parallel import threads

    source, again = _codec(golden, writer), _codec(golden, reader)
    picture = source.decode(golden.data)
    with threads(writer.threads):
        data = source.encode(picture, quality=70, lossless=False)
        expected = digest_of(slices_of(source, data))
    with threads(reader.threads):
        found = digest_of(slices_of(again, data))
    return f"{expected[0]} integers equal" if found == expected else "the integers differ", found == expected
