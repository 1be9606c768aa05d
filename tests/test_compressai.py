"""The model with CompressAI's interface: what its tools do with a model, and the tools, where they are installed."""

import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import TINY, drawn_model, photo
from told import one_line
from torch import Tensor

from dcacodec.codec.codec import Codec
from dcacodec.compressai_model import CompressionModel
from dcacodec.errors import UnknownModelError
from dcacodec.format.reader import parse
from dcacodec.images.picture import Picture
from dcacodec.weights.reader import Weights

STREAMS = {"z_r", "z_g", "z_l", "y_1", "y_2", "y_3", "y_4"}


def tensor(height: int, width: int, seed: int = 0) -> Tensor:
    """A picture as torchvision's ToTensor gives it."""
    return torch.from_numpy(photo(height, width, seed)).permute(2, 0, 1).float() / 255


@pytest.fixture(scope="module")
def model(weights: Weights) -> CompressionModel:
    return CompressionModel.of_weights(weights, 60).eval()


def bits(likelihoods: dict[str, Tensor]) -> float:
    return sum(-torch.log2(each).sum().item() for each in likelihoods.values())


# ------------------------------------------------------------------------------------ what CompressAI's eval_model does


def test_a_picture_of_any_size_as_eval_model_codes_it(model: CompressionModel, codec: Codec) -> None:
    """The sequence of its `inference`: pad to multiples of 64 with zeros, code, crop, measure."""
    x = tensor(100, 150)[None]
    pad = (21, 21, 14, 14)
    padded = F.pad(x, pad)
    with torch.no_grad():
        coded = model.compress(padded)
        decoded = model.decompress(coded["strings"], coded["shape"])
    x_hat = F.pad(decoded["x_hat"], [-side for side in pad])
    assert x_hat.shape == x.shape
    assert coded["shape"] == torch.Size([2, 3])

    pixels = (padded[0] * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    file = codec.encode(Picture(pixels), quality=60)
    assert coded["strings"] == [[file]]
    assert sum(len(each[0]) for each in coded["strings"]) * 8.0 / (100 * 150) == len(file) * 8 / 15000
    expected = codec.decode(file).pixels[14:114, 21:171]
    assert np.array_equal((x_hat[0] * 255).round().byte().permute(1, 2, 0).numpy(), expected)
    assert decoded["x_hat"].min() >= 0
    assert decoded["x_hat"].max() <= 1


def test_the_estimate_agrees_with_what_is_coded(model: CompressionModel) -> None:
    """At a quality at which the drawn levels of this model have it leave nothing out."""
    x = tensor(256, 320)[None]
    model.quality = 95
    with torch.no_grad():
        estimate = model(x)
        coded = model.compress(x)
        decoded = model.decompress(coded["strings"], coded["shape"])["x_hat"]
    assert set(estimate["likelihoods"]) == STREAMS
    for name, each in estimate["likelihoods"].items():
        assert each.shape[0] == 1
        assert each.min() > 2.0**-25
        assert each.max() <= 1, name
    streams = sum(len(stream) for stream in parse(coded["strings"][0][0]).slices[0].streams)
    assert bits(estimate["likelihoods"]) / 8 == pytest.approx(streams, rel=0.02)
    assert estimate["x_hat"].shape == x.shape
    error = (estimate["x_hat"].clamp(0, 1) - decoded).square().mean().sqrt()
    assert error < 1.5 / 255  # rounding to 8 bits, and what floats and fixed point round differently
    assert (estimate["x_hat"] - x).square().mean() > 4 * error**2


def test_a_batch_is_its_pictures_one_by_one(model: CompressionModel) -> None:
    model.quality = 60
    x = torch.stack([tensor(64, 128, seed) for seed in range(3)])
    with torch.no_grad():
        coded = model.compress(x)
        singly = [model.compress(each[None]) for each in x]
        assert coded["strings"] == [[each["strings"][0][0] for each in singly]]
        decoded = model.decompress(coded["strings"], coded["shape"])["x_hat"]
        for each, one in zip(decoded, singly, strict=True):
            assert torch.equal(each, model.decompress(one["strings"], one["shape"])["x_hat"][0])
        together = model(x)["likelihoods"]
        apart = [model(each[None])["likelihoods"] for each in x]
    assert {each.shape[0] for each in together.values()} == {3}
    assert bits(together) == pytest.approx(sum(map(bits, apart)), rel=1e-3)


def test_the_quality_counts(model: CompressionModel) -> None:
    x = tensor(128, 128)[None]
    sizes = []
    for quality in (10, 90):
        model.quality = quality
        (file,) = model.compress(x)["strings"][0]
        assert parse(file).header.quality == quality
        sizes.append(len(file))
    assert sizes[0] < sizes[1]


def test_a_quality_in_tenths(model: CompressionModel) -> None:
    x = tensor(128, 128)[None]
    rates = []
    with torch.no_grad():
        for quality in (65, 65.51, 66):
            model.quality = quality
            rates.append(bits(model(x)["likelihoods"]))
    assert rates[0] < rates[1] < rates[2]
    model.quality = 65.51
    (file,) = model.compress(x)["strings"][0]
    assert parse(file).header.quality == model.quality == 65.5


def test_the_default_is_the_published_model(weights: Weights) -> None:
    model = CompressionModel.load(quality=30)
    (file,) = model.compress(tensor(64, 64)[None])["strings"][0]
    assert parse(file).header.fingerprint == weights.fingerprint
    assert next(model.parameters()).device == torch.device("cpu")


# -------------------------------------------------------------------------------------------------- update and training


def test_update_is_harmless(weights: Weights) -> None:
    model = CompressionModel.of_weights(weights, 60)
    before = model.compress(tensor(64, 64)[None])
    assert not any((model.update(), model.update(force=True), model.update(None, force=True, update_quantiles=True)))
    assert model.compress(tensor(64, 64)[None]) == before


def test_a_trained_network_codes_after_an_update() -> None:
    model = CompressionModel(drawn_model(TINY, 5), 60).eval()
    x = tensor(128, 192)[None]
    assert_update_is_needed(model, x, [[b""]])
    assert model.update()
    old = model.compress(x)
    x_hat = model.decompress(old["strings"], old["shape"])["x_hat"]
    with torch.no_grad():
        assert (model(x)["x_hat"].clamp(0, 1) - x_hat).square().mean().sqrt() < 1.5 / 255
        model.network.synthesis.patch.bias.add_(0.1)
    assert_update_is_needed(model, x, old["strings"])
    assert model.update()
    assert not model.update()
    new = model.compress(x)
    with pytest.raises(UnknownModelError):
        model.decompress(old["strings"], old["shape"])
    brighter = model.decompress(new["strings"], new["shape"])["x_hat"]
    assert (brighter - x_hat).mean().item() == pytest.approx(0.1, abs=0.03)


def assert_update_is_needed(model: CompressionModel, x: Tensor, strings: list[list[bytes]]) -> None:
    for call in (lambda: model.compress(x), lambda: model.decompress(strings, (2, 3))):
        with pytest.raises(ValueError) as caught:
            call()
        assert "update()" in one_line(caught)


@pytest.mark.parametrize("how", ["data", "loaded", "replaced"])
def test_any_change_of_the_network_needs_an_update(how: str) -> None:
    """PyTorch counts neither the change of a parameter's `data` nor that of the module."""
    model = CompressionModel(drawn_model(TINY, 5), 60).eval()
    x, other = tensor(128, 192)[None], drawn_model(TINY, 6)
    model.update()
    old = model.compress(x)
    if how == "data":
        model.network.synthesis.patch.bias.data.add_(0.1)
    elif how == "loaded":
        model.network.load_state_dict(other.state_dict())
    else:
        model.network = other
    assert_update_is_needed(model, x, old["strings"])
    assert model.update()
    assert model.compress(x)["strings"] != old["strings"]


def rate_distortion(output: dict[str, Any], target: Tensor, trade_off: float) -> Tensor:
    """As in CompressAI's `RateDistortionLoss`."""
    pixels = target.shape[0] * target.shape[2] * target.shape[3]
    rate = sum(torch.log(each).sum() / (-math.log(2) * pixels) for each in output["likelihoods"].values())
    loss: Tensor = rate + trade_off * 255**2 * F.mse_loss(output["x_hat"], target)
    return loss


def test_it_can_be_trained(weights: Weights) -> None:
    model = CompressionModel.of_weights(weights, 60).train()
    x = torch.stack([tensor(64, 64, seed) for seed in range(2)])
    optimiser = torch.optim.Adam([value for name, value in model.named_parameters() if "network" in name], 1e-3)
    torch.manual_seed(0)
    losses = []
    for _ in range(25):
        optimiser.zero_grad()
        loss = rate_distortion(model(x), x, 0.02)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    trained = {name for name, value in model.named_parameters() if value.grad is not None}
    # The first step has nothing to multiply with the weight of its start.
    unused = {"bottleneck.quantiles", "network.entropy.starts.0.weight"}
    assert trained == {name for name, _ in model.named_parameters()} - unused
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    aux = model.aux_loss()
    aux.backward()
    assert aux.item() == 0


# ------------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 1, 64, 64), (1, 3, 64, 65), (1, 3, 32, 64), (1, 3, 0, 64)])
def test_other_shapes_are_refused(model: CompressionModel, shape: tuple[int, ...]) -> None:
    for call in (model, model.compress):
        with pytest.raises(ValueError) as caught:
            call(torch.zeros(shape))
        assert str(shape) in one_line(caught)


def test_other_values_are_refused(model: CompressionModel) -> None:
    with pytest.raises(ValueError) as caught:
        model.compress(torch.full((1, 3, 64, 64), 2.0))
    assert "0 to 1" in one_line(caught)


def test_other_qualities_are_refused(model: CompressionModel) -> None:
    model.quality = 60
    quality: Any
    for quality, error in ((0, ValueError), (100.1, ValueError), ("50", TypeError)):
        with pytest.raises(error):
            model.quality = quality
        with pytest.raises(error):
            CompressionModel(model.network, quality)
    assert model.quality == 60


def test_strings_that_do_not_fit_are_refused(model: CompressionModel) -> None:
    model.quality = 60
    coded = model.compress(torch.zeros(1, 3, 64, 128))
    with pytest.raises(ValueError) as caught:
        model.decompress(coded["strings"], (1, 1))
    assert "64x64" in one_line(caught)
    wrong: list[list[list[bytes]]] = [[], [[]], [*coded["strings"]] * 2]
    for strings in wrong:
        with pytest.raises(ValueError) as caught:
            model.decompress(strings, coded["shape"])
        one_line(caught)


# ------------------------------------------------------------------------------------------------------ the real thing


@pytest.fixture
def compressai(monkeypatch: pytest.MonkeyPatch) -> Any:
    """CompressAI, where it is installed."""
    if importlib.util.find_spec("compressai") is None:
        pytest.skip("CompressAI is not installed")
    monkeypatch.syspath_prepend(Path(__file__).resolve().parent.parent / "benchmarks")
    importlib.import_module("speed").stand_in_for_unused_packages()
    try:
        return importlib.import_module("compressai")
    except ModuleNotFoundError as error:
        if error.name in (None, "compressai") or error.name.startswith("compressai."):
            raise
        pytest.skip(f"CompressAI needs {error.name}")


def test_the_functions_of_eval_model(compressai: Any, model: CompressionModel) -> None:
    threads = torch.get_num_threads()
    evaluation = importlib.import_module("compressai.utils.eval_model.__main__")
    torch.set_num_threads(threads)  # it sets them, on import
    model.quality = 70
    x = tensor(250, 300)
    real = evaluation.inference(model, x)
    assert real["bpp"] == len(model.compress(F.pad(x[None], (10, 10, 3, 3)))["strings"][0][0]) * 8 / (250 * 300)
    estimated = evaluation.inference_entropy_estimation(model, tensor(256, 320))
    assert 20 < real["psnr-rgb"] < 50
    assert 20 < estimated["psnr-rgb"] < 50
    assert estimated["bpp"] == pytest.approx(real["bpp"], rel=0.2)  # nearly the same picture


def test_the_loss_and_optimisers_of_its_trainer(compressai: Any, weights: Weights) -> None:
    model = CompressionModel.of_weights(weights, 60).train()
    conf = {"net": {"type": "Adam", "lr": 1e-3}, "aux": {"type": "Adam", "lr": 1e-3}}
    optimisers = importlib.import_module("compressai.optimizers").net_aux_optimizer(model, conf)
    criterion = importlib.import_module("compressai.losses").RateDistortionLoss(lmbda=0.02)
    x = tensor(64, 64)[None]
    output = model(x)
    losses = criterion(output, x)
    assert losses["loss"].item() == pytest.approx(rate_distortion(output, x, 0.02).item())
    losses["loss"].backward()
    optimisers["net"].step()
    model.aux_loss().backward()
    optimisers["aux"].step()
    assert model.update()
