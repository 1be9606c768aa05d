"""How long the entropy models of the study take to decode, in fixed point, as a `.dca` file is decoded."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dcacodec.codec.codec import Codec
from dcacodec.weights.reader import read_weights

TIMED_QUALITY = 50


def square_of(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """A picture of ``side`` x ``side`` pixels: this one, mirrored at its borders as often as need be, or cut."""
    down, right = (max(0, side - each) for each in picture.shape[:2])
    return np.ascontiguousarray(np.pad(picture, ((0, down), (0, right), (0, 0)), mode="symmetric")[:side, :side])


def decode_times(
    weights: Mapping[str, Path], picture: NDArray[np.uint8], sides: Sequence[int], rounds: int, quiet: bool = False
) -> dict[str, dict[str, float]]:
    """Milliseconds of processor time from streams to y_hat, the least of all rounds: by name of the weights, by side.

    Processor time over all threads, so that what else the machine does counts little; in turns, so that what is left of
    it hits all alike. Entropy coder and checks of the streams are in it, f_s, the same for all, is not.

    Raises:
        WeightsError: a file is damaged.
    """
    least: dict[str, dict[str, float]] = {name: {} for name in weights}
    with tqdm(total=len(sides) * len(weights) * rounds, desc="timing", disable=quiet) as bar:
        for side in sides:
            pixels = square_of(picture, side)
            coded: dict[str, tuple[tuple[bytes, ...], bool]] = {}
            for _ in range(rounds):
                for name, path in weights.items():
                    codec = Codec(read_weights(path))
                    if name not in coded:
                        encoded = codec.encoder_at(TIMED_QUALITY).encode_whole(pixels)
                        coded[name] = encoded.coded.streams, encoded.symbols.full
                    coder = codec.at(TIMED_QUALITY)
                    streams, full = coded[name]
                    began = time.process_time()
                    coder.read_streams(streams, side, side, full)
                    taken = round(1000 * (time.process_time() - began), 1)
                    least[name][str(side)] = min(taken, least[name].get(str(side), taken))
                    bar.update()
    return least
