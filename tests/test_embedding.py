"""dcacodec as a library in programs with settings of their own: PyTorch's defaults, forked processes, warnings."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from tiny import TINY, WEIGHTS, photo

from dcacodec.codec.codec import Codec
from dcacodec.coding import PythonCoder
from dcacodec.images.picture import Picture
from dcacodec.metrics.ms_ssim import ms_ssim
from dcacodec.metrics.ssimulacra2 import ssimulacra2
from dcacodec.training.options import TrainingOptions
from dcacodec.training.trainer import Trainer
from dcacodec.weights.reader import read_weights

# ---------------------------------------------------------------------------------------------- defaults of PyTorch


@pytest.fixture(params=[torch.float64, torch.bfloat16, torch.float16, "meta"], ids=str)
def defaults(request: pytest.FixtureRequest) -> Iterator[None]:
    """Another default dtype, or a default device on which nothing can be computed."""
    if isinstance(request.param, torch.dtype):
        torch.set_default_dtype(request.param)
    else:
        torch.set_default_device(request.param)
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)


def coded() -> list[bytes]:
    """What a new codec makes of pictures: in one slice, refined, in several slices; and their pixels."""
    codec = Codec(read_weights(WEIGHTS), coder=PythonCoder())
    whole, large = Picture(photo(70, 90)), Picture(photo(270, 300))
    files = [codec.encode(whole), codec.encode(whole, effort=2), codec.encode(large, slice_log2=8)]
    return files + [codec.decode(file, scale=scale).pixels.tobytes() for file in files for scale in (1, 4)]


@pytest.fixture(scope="module")
def ordinary() -> list[bytes]:
    return coded()


def test_bytes_and_pixels_do_not_depend_on_defaults(ordinary: list[bytes], defaults: None) -> None:
    assert coded() == ordinary


@pytest.fixture(scope="module")
def scores() -> list[float]:
    return measured()


def measured() -> list[float]:
    first, second = (torch.from_numpy(photo(200, 210, seed))[None].float() / 255 for seed in (0, 1))
    return [metric(first, second).item() for metric in (ms_ssim, ssimulacra2)]


def test_metrics_do_not_depend_on_defaults(scores: list[float], defaults: None) -> None:
    assert measured() == scores


def test_training_does_not_depend_on_defaults(defaults: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    trainer = Trainer(TrainingOptions(steps=1), tmp_path_factory.mktemp("run"), TINY, torch.device("cpu"))
    trainer.start([np.tile(photo(192, 192), (2, 2, 1))])
    assert {(each.dtype, each.device.type) for each in trainer.model.parameters()} == {(torch.float32, "cpu")}
    pixels, position = (
        torch.from_numpy(photo(64, 64))[None].float() / 255,
        torch.zeros(1, dtype=torch.float32, device="cpu"),
    )
    found = trainer.train_step(pixels, position, 1e-3)
    assert np.isfinite(found["loss"])
