"""The command `dcacodec selftest`: that this machine decodes the integers that every other one decodes.

The folder `golden` has files that were written once, with the integers that they hold as checksums. Here they are
decoded with every coder and number of threads, and on a GPU where there is one. One wrong bit in the arithmetic on
which the probabilities depend would make other integers of them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
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
"""Weights of a small network with drawn parameters, which are no published ones: all its layers leave their zeros."""
GRID: Final = 8
_LEVELS: Final = 1.0
"""By which the mean brightness of a part of a picture may differ from the recorded one, of 255."""


@dataclass(frozen=True)
class Check:
    """What was compared, and how it came out."""

    text: str
    passed: bool


@dataclass(frozen=True)
class Setting:
    """How files are decoded."""

    name: str
    device: str
    threads: int
    coder: Coder


@dataclass(frozen=True)
class Golden:
    """A file that was written once.

    Attributes:
        name: of the file.
        data: its bytes.
        weights: the fingerprint of the weights in hex.
        integers: how many there are.
        digest: of all integers, see `digest_of`.
        means: the picture in short, see `means_of`.
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
        DcaError: it is not sound, or its integers are not those of the latent checksums in it.
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
            raise SymbolMismatchError("the latents, coded again, do not give the same streams")
    return [found[index] for index in order]


def digest_of(slices: list[Symbols]) -> tuple[int, str]:
    """How many integers there are, and the SHA-256 of all, as little-endian int32.

    Of each slice the hyper latents, the residuals and scale levels of each step, and y_hat in units of 2**-9.
    """
    from dcacodec.network.fixed_point import ACTIVATION_BITS

    count, digest = 0, hashlib.sha256()
    for symbols in slices:
        latent = (symbols.latent * 2.0**ACTIVATION_BITS).cpu().numpy()
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
    """The ways to decode on this machine; a check for one that there is not, which is no fault."""
    from dcacodec.coding import CoderUnavailableError, PythonCoder, TorchacCoder
    from dcacodec.network.device import choose_device

    many = max(2, os.cpu_count() or 2)
    coders: list[Coder] = [PythonCoder()]
    try:
        coders.insert(0, TorchacCoder())
    except CoderUnavailableError as error:
        yield Check(f"the compiled coder is not there, files are coded by the slow one: {error}", True)
    for coder in coders:
        for count in (1, many):
            name = f"{coder.name} coder, {count} thread{'s' * (count > 1)}"
            yield Setting(name, "cpu", count, coder)
    if choose_device(device).type == "cuda":
        yield Setting(f"{coders[0].name} coder, CUDA", "cuda", many, coders[0])


def checks(device: str = "auto") -> Iterator[Check]:
    """Compare; each check when it is done.

    Args:
        device: "cpu", "cuda", or "auto" for a GPU too if there is one.

    Raises:
        DcaError: the golden files are missing or damaged; "cuda" is asked for and not there.
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
            yield _tried(f"{golden.name}, {setting.name}", lambda g=golden, s=setting: _integers(g, s))  # type: ignore[misc]
    for golden in files:
        yield _tried(f"{golden.name}, picture", lambda g=golden: _picture(g, ways[0]))  # type: ignore[misc]
    largest = max(files, key=lambda golden: golden.integers)
    for writer in ways:
        for reader in ways:
            if writer is not reader:
                name = f"made here: {writer.name} -> {reader.name}"
                yield _tried(name, lambda w=writer, r=reader: _round_trip(largest, w, r))  # type: ignore[misc]


def _tried(name: str, compare: Callable[[], tuple[str, bool]]) -> Check:
    try:
        text, passed = compare()
    except (DcaError, MemoryError) as error:
        text, passed = reason(error), False
    return Check(f"{name}: {text}", passed)


def _integers(golden: Golden, setting: Setting) -> tuple[str, bool]:
    """Those of a golden file."""
    from dcacodec.codec.parallel import threads

    with threads(setting.threads):
        found = digest_of(slices_of(_codec(golden, setting), golden.data))
    if found != (golden.integers, golden.digest):
        return "other integers than those recorded", False
    return f"{golden.integers} integers as recorded, and the same bytes of them again", True


def _picture(golden: Golden, setting: Setting) -> tuple[str, bool]:
    """That of a golden file; its samples may differ a little between machines."""
    import numpy as np

    pixels = _codec(golden, setting).decode(golden.data).pixels
    worst = float(np.abs(np.array(means_of(pixels)) - np.array(golden.means)).max())
    return f"means of its parts within {worst:.0f} of 255 of those recorded", worst <= _LEVELS


def _round_trip(golden: Golden, writer: Setting, reader: Setting) -> tuple[str, bool]:
    """What one setting encodes another one decodes, to the same integers."""
    from dcacodec.codec.parallel import threads

    source, again = _codec(golden, writer), _codec(golden, reader)
    picture = source.decode(golden.data)
    with threads(writer.threads):
        data = source.encode(picture, quality=70)
        expected = digest_of(slices_of(source, data))
    with threads(reader.threads):
        found = digest_of(slices_of(again, data))
    return f"{expected[0]} integers equal" if found == expected else "other integers", found == expected
