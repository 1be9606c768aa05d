"""Training: the learning rate, and the crops that grow at the end."""

import math
from dataclasses import replace

import pytest
from training_runs import QUICK

pytestmark = pytest.mark.usefixtures("one_thread", "_tiny_on_the_processor", "_usual_signals")


def test_the_learning_rate_by_steps() -> None:
    options = replace(QUICK, steps=400, learning_rate=0.5, warm_up=100)
    rate = [options.learning_rate_at(step, 1e9) for step in range(402)]
    assert rate[0] == pytest.approx(0.5 / 100)
    assert rate[49] == pytest.approx(0.25 * (0.01 + 0.99 * (1 + math.cos(math.pi * 49 / 400)) / 2))
    assert rate[99] == pytest.approx(0.5 * (0.01 + 0.99 * (1 + math.cos(math.pi * 99 / 400)) / 2))
    assert rate[100] == pytest.approx(0.5 * (0.01 + 0.99 * (1 + math.cos(math.pi / 4)) / 2))
    assert rate[200] == pytest.approx(0.5 * 0.505)
    assert rate[400] == rate[401] == pytest.approx(0.005)
    assert [options.progress(step, 1e9) for step in (0, 100, 400, 999)] == [0, 0.25, 1, 1]


def test_the_learning_rate_that_falls_late() -> None:
    options = replace(QUICK, steps=400, learning_rate=0.5, warm_up=100, decay_share=0.25)
    rate = [options.learning_rate_at(step, 1e9) for step in range(402)]
    assert rate[49] == pytest.approx(0.25)
    assert rate[99:301] == [pytest.approx(0.5)] * 202
    assert rate[325] == pytest.approx(0.5 * (0.01 + 0.99 * (1 + math.cos(math.pi / 4)) / 2))
    assert rate[350] == pytest.approx(0.5 * 0.505)
    assert rate[400] == rate[401] == pytest.approx(0.005)


def test_the_learning_rate_by_minutes() -> None:
    options = replace(
        QUICK, minutes=2.0, steps=400, learning_rate=0.5, warm_up=100
    )  # minutes count where both are given
    assert options.learning_rate_at(99, 0.0) == pytest.approx(0.5)
    assert options.learning_rate_at(9, 60.0) == pytest.approx(0.05 * 0.505)
    assert options.learning_rate_at(500, 30.0) == pytest.approx(0.5 * (0.01 + 0.99 * (1 + math.cos(math.pi / 4)) / 2))
    assert options.learning_rate_at(500, 60.0) == pytest.approx(0.5 * 0.505)
    assert options.learning_rate_at(500, 120.0) == options.learning_rate_at(500, 1e9) == pytest.approx(0.005)
    assert [options.progress(10**9, seconds) for seconds in (0, 30, 120, 999)] == [0, 0.25, 1, 1]


def test_crops_grow_at_the_end_and_a_step_keeps_its_pixels() -> None:
    options = replace(QUICK, batch=8, crop=128, final_crop=256, final_share=0.25)
    assert options.crops == (128, 256)
    assert [options.batch_and_crop(progress) for progress in (0.0, 0.7499)] == [(8, 128)] * 2
    assert [options.batch_and_crop(progress) for progress in (0.75, 1.0)] == [(2, 256)] * 2
    # 8 crops of 128 pixels are as large as 1.3 of 320; never less than one.
    assert replace(options, final_crop=320).batch_and_crop(1.0) == (1, 320)
    assert replace(options, batch=1).batch_and_crop(1.0) == (1, 256)
    assert replace(options, final_crop=None).crops == (128,)
    assert replace(options, final_crop=None).batch_and_crop(1.0) == (8, 128)


@pytest.mark.parametrize(("share", "side"), [(0.0, 128), (1.0, 256)])
def test_the_final_crop_may_be_that_of_the_whole_run_or_of_none(share: float, side: int) -> None:
    options = replace(QUICK, batch=8, crop=128, final_crop=256, final_share=share)
    assert [options.batch_and_crop(progress)[1] for progress in (0.0, 0.5, 0.999)] == [side] * 3
