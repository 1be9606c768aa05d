"""Training: at which positions of the quality range, and what loss."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import TINY

from dcacodec.metrics.distortion import Distortion
from dcacodec.network.dca import Estimate
from dcacodec.training.loss import DRAWN, DRAWN_AT, draw_positions, loss_terms, rate_distortion_loss

pytestmark = pytest.mark.usefixtures("one_thread", "_tiny_on_the_processor", "_usual_signals")


class Fixed(np.random.Generator):
    """Draws the given numbers."""

    def __init__(self, order: list[int], within: float) -> None:
        super().__init__(np.random.PCG64(0))
        self.order, self.within = order, within

    def permutation(self, *arguments: Any, **options: Any) -> Any:
        return np.array(self.order)

    def random(self, *arguments: Any, **options: Any) -> Any:
        return np.full(len(self.order), self.within)


def test_positions_are_the_quantiles_of_the_draw() -> None:
    config = replace(TINY, anchors=11)  # so that positions are tenths of the range
    order = [2, 0, 3, 1]
    # By hand: shares (order + 0.5) / 4 = 5/8, 1/8, 7/8, 3/8 between the points (0.07, 0.1), (0.86, 0.76), (1, 1).
    expected = [
        10 * (0.1 + 0.66 * (0.625 - 0.07) / 0.79),
        10 * (0.1 + 0.66 * (0.125 - 0.07) / 0.79),
        10 * (0.76 + 0.24 * (0.875 - 0.86) / 0.14),
        10 * (0.1 + 0.66 * (0.375 - 0.07) / 0.79),
    ]
    positions = draw_positions(config, 4, Fixed(order, 0.5))
    assert positions.dtype == np.float32
    assert positions.tolist() == pytest.approx(expected, rel=1e-6)
    assert draw_positions(config, 1, Fixed([0], 0.0)).tolist() == [0.0]
    assert draw_positions(config, 1, Fixed([0], 1.0)).tolist() == [10.0]


@given(st.integers(1, 40), st.integers(0, 2**32), st.integers(2, 9))
def test_positions_are_stratified_and_within_range(count: int, seed: int, anchors: int) -> None:
    config = replace(TINY, anchors=anchors)
    positions = draw_positions(config, count, np.random.default_rng(seed))
    assert ((positions >= 0) & (positions <= anchors - 1)).all()
    shares = np.sort(np.interp(positions.astype(np.float64) / (anchors - 1), DRAWN_AT, DRAWN)) * count
    assert (shares >= np.arange(count) - 1e-4).all()
    assert (shares <= np.arange(count) + 1 + 1e-4).all()


def test_lambda_of_a_position_is_that_of_its_quality() -> None:
    position = torch.linspace(0, TINY.anchors - 1, 100, dtype=torch.float64)
    values = TINY.trade_off_at(position)
    assert values[[0, -1]].tolist() == pytest.approx([TINY.lambda_min, TINY.lambda_max])
    for quality, place, value in zip(range(1, 101), position.tolist(), values.tolist(), strict=True):
        assert TINY.anchor_position(quality) == pytest.approx(place, abs=1e-12)
        assert TINY.trade_off(quality) == pytest.approx(value) == pytest.approx(TINY.trade_off_at(place))


def test_the_loss_by_hand() -> None:
    picture = torch.zeros(2, 64, 128, 3)
    decoded = picture.clone()
    decoded[0, ..., 1] = 0.5  # a third of the samples is wrong by a half
    decoded[1, :32] = -0.25  # half of them by a quarter
    bits = {
        "z_r": torch.tensor([1024.0, 0.0]),
        "z_g": torch.tensor([96.0, 960.0]),
        "z_l": torch.tensor([512.0, 2048.0]),
        "y_1": torch.tensor([8192.0, 4096.0]),
    }
    estimate = Estimate(decoded, bits, torch.zeros(4))
    full, error = loss_terms(estimate, picture, Distortion(), full_token_cost=True)
    shared, _ = loss_terms(estimate, picture, Distortion(), full_token_cost=False)
    assert error.tolist() == pytest.approx([255**2 / 12, 255**2 / 32])
    assert full.tolist() == [(1024 + 96 + 512 + 8192) / 8192, (960 + 2048 + 4096) / 8192]
    # 64x128 pixels are 1/48 of 768x512: so much of z_g's bits do they bear.
    assert shared.tolist() == [(1024 + 2 + 512 + 8192) / 8192, (20 + 2048 + 4096) / 8192]
    large = torch.zeros(1, 1024, 768, 3)  # no more than all of them
    alone = Estimate(large, {"z_g": torch.tensor([1024.0 * 768])}, torch.zeros(4))
    assert loss_terms(alone, large, Distortion(), full_token_cost=False)[0].item() == 1.0

    value = rate_distortion_loss(
        torch.tensor([0.5, 2.0]), 255**2 * torch.tensor([0.001, 0.0]), torch.tensor([0.01, 1.0])
    )
    assert value.item() == pytest.approx(((0.5 + 0.01 * 65025 * 0.001) / 0.01**0.4 + 2.0) / 2, rel=1e-6)
