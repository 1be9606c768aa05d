"""Training: the network that a run starts with."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tiny import TINY, photo
from training_runs import CPU, QUICK, same, state_of

from dcacodec.network.dca import DCA
from dcacodec.training.klt import initialise
from dcacodec.training.loop import train
from dcacodec.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread", "_tiny_on_the_processor", "_usual_signals")


def test_the_start_is_a_karhunen_loeve_transform() -> None:
    model = DCA(TINY)
    initialise(model, [photo(96, 128, number) for number in range(6)])
    for down, up in ((model.analysis.patch, model.synthesis.patch), (model.analysis.down, model.synthesis.up)):
        rows = down.weight.detach().double()
        assert torch.allclose(rows @ rows.T, torch.eye(len(rows), dtype=torch.float64), atol=1e-6)
        assert torch.equal(up.weight, down.weight.T)
        assert not torch.cat([down.bias, up.bias]).any()
    for anchor, gains in enumerate(model.gain.values.tolist()):
        quality = 1 + 99 * anchor / (TINY.anchors - 1)
        assert gains == pytest.approx([math.log(50 * math.sqrt(TINY.trade_off(quality)))] * TINY.latent, abs=1e-6)


def test_pictures_smaller_than_a_crop_are_no_part_of_the_start(tmp_path: Path) -> None:
    """As they are none of what is trained on: some are too small for a patch."""
    starts = []
    for small in (0, 3, 300):
        pictures = [*[photo(8, 8)] * small, photo(96, 96)]
        for index, picture in enumerate(pictures):
            Image.fromarray(picture).save(tmp_path / f"{small}-{index}.png")
        sources = [str(path) for path in tmp_path.glob(f"{small}-*.png")]
        train(sources, tmp_path / f"run-{small}", replace(QUICK, steps=1, batch=1, crop=64), quiet=True)
        starts.append(state_of(tmp_path / f"run-{small}")["average"])
    assert same(starts[0], starts[1]) and same(starts[0], starts[2])


@pytest.mark.parametrize("content", [photo(64, 64), np.full((64, 64, 3), 7, np.uint8), np.zeros((64, 64, 3), np.uint8)])
def test_the_start_from_fewer_pixels_than_it_has_directions(content: NDArray[np.uint8], tmp_path: Path) -> None:
    """Many variances are 0 then, or would be, were it not for rounding."""
    config = replace(TINY, width=48, latent=160)
    trainer = Trainer(QUICK, tmp_path, config, CPU)
    trainer.start([content])
    assert all(value.isfinite().all() for value in trainer.model.state_dict().values())
    assert trainer.validate([content], 100)["psnr"] > 30
    trainer.train_step(torch.from_numpy(content)[None].float() / 255, torch.ones(1), 0.01)  # raises where a NaN is
