"""What the config allows: its errors, quality and lambda, and variants of the hyper latents."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny import TINY, drawn_latents, drawn_model, photo, published, run_entropy
from told import one_line

from dcacodec.codec.codec import Codec
from dcacodec.coding import PythonCoder
from dcacodec.errors import StreamError
from dcacodec.format.container import Slice
from dcacodec.format.reader import parse
from dcacodec.format.writer import pack
from dcacodec.images.picture import Picture
from dcacodec.network.config import PRESETS, DCAConfig

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"latent": 18}, ["latent", "18"]),
        ({"latent": 20, "latent_linear": 6}, ["latent", "20", "6"]),
        ({"latent": 20, "latent_linear": 20}, ["linear", "20"]),
        ({"latent_linear": -4}, ["linear", "-4"]),
        ({"order": ""}, ["order", "''"]),
        ({"order": "RR"}, ["order", "'RR'"]),
        ({"order": "RX"}, ["order", "'RX'"]),
        ({"window": 3}, ["window", "3"]),
        ({"window": 8}, ["window", "8"]),
        ({"anchors": 1}, ["anchors", "1"]),
    ],
)
def test_config_errors(change: dict[str, Any], expected: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        DCAConfig(**change)
    assert all(part in one_line(error) for part in expected)


@pytest.mark.parametrize("config", [*PRESETS.values(), TINY], ids=lambda config: config.name)
def test_quality_and_lambda(config: DCAConfig) -> None:
    assert config.trade_off(1) == config.lambda_min
    assert config.trade_off(100) == pytest.approx(config.lambda_max, rel=1e-12)
    assert (config.anchor_position(1), config.anchor_position(100)) == (0, config.anchors - 1)
    for quality in (1, 17, 50, 99.5):  # both are linear: in the logarithm, and as it is
        share = math.log(config.trade_off(quality) / config.lambda_min) / math.log(
            config.lambda_max / config.lambda_min
        )
        assert config.anchor_position(quality) == pytest.approx(share * (config.anchors - 1))
    assert DCAConfig(**config.to_dict()) == config


STREAM_OF = {"R": "z_r", "G": "z_g", "L": "z_l"}


@pytest.mark.parametrize("adaptive", [True, False], ids=["adaptive", "merged"])
@pytest.mark.parametrize("order", ["R", "G", "L", "RG", "LGR", "RGL"])
def test_variants_have_the_streams_of_their_hyper_latents(order: str, adaptive: bool) -> None:
    """Estimated and in the file; and a stream that the model has no latent for is refused."""
    model = drawn_model(replace(TINY, order=order, adaptive=adaptive), 31)
    picture = photo(64, 64, seed=1)
    with torch.no_grad():
        estimate = model(torch.from_numpy(picture)[None].float() / 255, torch.tensor([1.0]))
    assert set(estimate.bits) == {*(STREAM_OF[letter] for letter in order), "y_1", "y_2", "y_3", "y_4"}
    assert all((bits > 0).all() for bits in estimate.bits.values())

    codec = Codec(published(model), coder=PythonCoder())
    data = codec.encode(Picture(picture, False, None, None, None), quality=50, lossless=False)
    container = parse(data)
    streams = container.slices[0].streams
    assert [bool(stream) for stream in streams] == [*(letter in order for letter in "RGL"), True, True, True, True]
    codec.decode(data)
    for index, letter in enumerate("RGL"):
        if letter not in order:
            extra = Slice((*streams[:index], b"\0", *streams[index + 1 :]), container.slices[0].latent_crc)
            with pytest.raises(StreamError) as error:
                codec.decode(pack(replace(container, slices=(extra,))))
            assert f"hyper latent {letter}" in one_line(error)


@pytest.mark.parametrize("adaptive", [True, False], ids=["adaptive", "merged"])
@pytest.mark.parametrize("order", ["RGL", "LGR"])
def test_fixed_point_is_the_network_that_was_trained(order: str, adaptive: bool) -> None:
    """Up to the grids: means to a few hundredths of a channel's size, levels to a part of one."""
    model = drawn_model(replace(TINY, order=order, adaptive=adaptive), 32)
    weights = published(model)
    for quality in (10, 60, 100):
        hyper, y = drawn_latents(model.config, (2, 2), seed=quality, size=10.0)
        with torch.no_grad():
            scales = model.scales(torch.tensor([model.config.anchor_position(quality)]))
        floats = run_entropy(model.entropy, {letter: z.float() for letter, z in hyper.items()}, y.float(), scales)
        exact = run_entropy(weights.network.entropy, hyper, y, weights.scales(quality, CPU))
        means = ((floats.mean - exact.mean) / scales.outward).abs().flatten()
        levels = (floats.level - exact.level).abs().flatten()
        assert means.quantile(0.5) < 0.05 and means.quantile(0.9) < 0.2
        assert levels.quantile(0.5) < 0.8 and levels.quantile(0.9) < 3
        assert exact.level.std() > 10
