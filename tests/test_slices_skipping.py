"""Skipped elements: a slice is coded in full where the network is wrongly sure of what it would skip."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data as photographs
from tiny import WEIGHTS

from dcacodec.codec.codec import Codec
from dcacodec.coding import PythonCoder
from dcacodec.format.container import Container, Header
from dcacodec.format.reader import parse
from dcacodec.format.writer import pack
from dcacodec.images.picture import Picture
from dcacodec.network.config import DCAConfig
from dcacodec.tiling.grid import Grid
from dcacodec.weights.reader import read_weights

Pixels = NDArray[np.uint8]


def photograph(height: int, width: int) -> Pixels:
    return np.asarray(Image.fromarray(photographs.astronaut()).resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.slow
def test_what_the_network_is_wrongly_sure_of_is_coded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a network that was drawn and never trained, which is sure of much and wrong about it."""
    drawn = Codec(read_weights(WEIGHTS), coder=PythonCoder())
    source, quality = photograph(300, 270), 50
    grid = Grid(Header(drawn.weights.fingerprint, 270, 300, "RGB", quality, 8))
    latents = [drawn.at(quality).point.latent_of_box(source, grid, grid.area(index)) for index in range(4)]

    def encoded(limit: float, trade_off: float) -> Container:
        monkeypatch.setattr("dcacodec.codec.encoder.SKIPPED", limit)
        monkeypatch.setattr(DCAConfig, "trade_off", lambda self, quality: trade_off)
        data = drawn.encode(Picture(source), quality=quality, slice_log2=8, lossless=False)
        assert pack(parse(data)) == data
        return parse(data)

    def worst(container: Container, index: int) -> float:
        return float(
            (drawn.at(container.header.quality).read_slice(container, index).latent - latents[index]).abs().max()
        )

    # Errors that cost nothing, and a limit below all: never and always.
    never, best = encoded(float("inf"), 1e9), encoded(-1.0, 1e9)
    assert encoded(-1.0, 0.0) == never and never.chunk("FULL") is None
    misses = [worst(never, index) for index in range(4)]
    assert min(misses) > 2
    full = [index for index in range(4) if best.is_full(index)]
    assert full
    for index in full:
        symbols = drawn.at(best.header.quality).read_slice(best, index)
        assert sum(map(len, symbols.steps)) == symbols.latent.numel() == latents[index].numel()
        assert worst(best, index) <= 0.5
    for index in range(4):
        assert best.slices[index] == never.slices[index] or best.is_full(index)

    # The choice is the smaller of bits + trade-off * error, by hand.
    grid_pixels = [source[grid.area(i).common(grid.picture).within(grid.picture)] for i in range(4)]
    monkeypatch.undo()
    all_full = [
        drawn.at(quality).quantise(latents[i], drawn.at(quality).point.hyper_of(latents[i]), full=True)[0]
        for i in range(4)
    ]
    for trade_off in (0.001, 0.02, 0.4):
        costs = []
        for i in range(4):
            sound = drawn.at(never.header.quality).read_slice(never, i)
            pair = []
            for symbols in (sound, all_full[i]):
                shown = drawn.at(quality).point.pixels_of(symbols.latent)[
                    : grid_pixels[i].shape[0], : grid_pixels[i].shape[1]
                ]
                error = np.square(shown.astype(np.int64) - grid_pixels[i]).sum() / 3
                pair.append(8 * sum(map(len, drawn.at(quality).streams_of(symbols))) + trade_off * error)
            costs.append(pair)
        chosen = encoded(-1.0, trade_off)
        assert [chosen.is_full(i) for i in range(4)] == [cost[1] < cost[0] for cost in costs]
