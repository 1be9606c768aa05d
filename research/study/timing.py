"""Decode times of the entropy models of the study, in fixed point, as for `.dca` files."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dcacodec.codec.codec import Codec
from dcacodec.codec.source import Source
from dcacodec.images.picture import Picture
from dcacodec.weights.reader import read_weights

TIMED_QUALITY = 50


def square_of(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """A picture of ``side`` x ``side`` pixels: this one, cropped, or extended by mirroring at its borders."""
    down, right = (max(0, side - each) for each in picture.shape[:2])
    return np.ascontiguousarray(np.pad(picture, ((0, down), (0, right), (0, 0)), mode="symmetric")[:side, :side])


def decode_times(
    weights: Mapping[str, Path], picture: NDArray[np.uint8], sides: Sequence[int], rounds: int, quiet: bool = False
) -> dict[str, dict[str, float]]:
    """Milliseconds of CPU time from streams to y_hat, the least of all rounds, by name of the weights and by side.

    CPU time over all threads depends little on other load of the machine, and turns distribute the rest evenly. It
    includes the entropy coder and the checks of the streams, but not f_s, which is the same for all variants.

    Raises:
        WeightsError: a file is damaged.
    """
    least: dict[str, dict[str, float]] = {name: {} for name in weights}
    with tqdm(total=len(sides) * len(weights) * rounds, desc="timing", disable=quiet or None) as bar:
        for side in sides:
            square = Picture(square_of(picture, side))
            coded: dict[str, tuple[tuple[bytes, ...], bool]] = {}
            for _ in range(rounds):
                for name, path in weights.items():
                    codec = Codec(read_weights(path))
                    if name not in coded:
                        header = codec.header_for(Source(square), quality=TIMED_QUALITY, slice_log2=0)
                        (encoded,) = codec.encode_slices(square, header)
                        coded[name] = encoded.coded.streams, encoded.symbols.full
                    coder = codec.at(TIMED_QUALITY)
                    streams, full = coded[name]
                    began = time.process_time()
                    coder.read_streams(streams, side, side, full)
                    taken = round(1000 * (time.process_time() - began), 1)
                    least[name][str(side)] = min(taken, least[name].get(str(side), taken))
                    bar.update()
    return least
