"""The study: how long variants take to decode."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import photo

from dcacodec.codec.slice_coder import SliceCoder
from dcacodec.network.dca import DCA
from dcacodec.weights.export import export
from research.study.timing import decode_times, square_of
from research.study.variants import Variant, fresh_model

pytestmark = pytest.mark.usefixtures("one_thread", "_on_the_processor")


def test_squares_of_a_picture() -> None:
    picture = photo(5, 8)
    assert np.array_equal(square_of(picture, 4), picture[:4, :4])
    square = square_of(picture, 13)
    assert square.shape == (13, 13, 3)
    assert np.array_equal(square[:5, :8], picture)
    assert np.array_equal(square[5:10, :8], picture[::-1])
    assert np.array_equal(square[10:, :8], picture[:3])
    assert np.array_equal(square[:5, 8:], picture[:, :2:-1])


@pytest.mark.slow
def test_decoding_is_timed_in_turns_and_on_the_streams_of_each(
    frozen: DCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {}
    for variant in (Variant("R"), Variant("RGL")):
        weights[variant.name] = tmp_path / f"{variant.name}.safetensors"
        weights[variant.name].write_bytes(export(fresh_model(frozen, variant).eval()))
    calls: list[tuple[str, int]] = []
    clock = iter(range(10**6))
    honest = SliceCoder.read_streams

    def watched(self: SliceCoder, streams: Any, width: int, height: int, *rest: Any) -> Any:
        calls.append((self.point.weights.config.order, width))
        symbols = honest(self, streams, width, height, *rest)
        assert symbols.latent.shape[1:3] == (height // 16, width // 16)
        for _ in range({"R": 1, "RGL": 2}[self.point.weights.config.order] - 1 + len(calls)):
            next(clock)
        return symbols

    monkeypatch.setattr(SliceCoder, "read_streams", watched)
    monkeypatch.setattr(time, "process_time", lambda: next(clock) / 1000)
    times = decode_times(weights, photo(60, 90), (64, 128), 2, quiet=True)
    turns = [(order, side) for side in (64, 128) for _ in range(2) for order in ("R", "RGL")]
    assert calls == turns
    # By hand: call n (from 1) of R takes n + 1 ticks of the clock, one of RGL n + 2; the first of two is the least.
    assert times == {"R-0": {"64": 2.0, "128": 6.0}, "RGL-0": {"64": 4.0, "128": 8.0}}
