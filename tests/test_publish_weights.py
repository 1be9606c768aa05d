"""Publishing: how weights are rounded, scales and limits measured, and what does not fit."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from publishing import PICTURES, changed
from safetensors.torch import load as load_tensors
from tiny import TINY, drawn_model, photo
from told import one_line
from torch import Tensor

from dcacodec.codec.parallel import threads
from dcacodec.errors import WeightsError
from dcacodec.network.dca import DCA
from dcacodec.network.fixed_point import LARGEST_LIMIT, Snap
from dcacodec.training.limits import HYPER_LIMIT, LEAST_SHARE, MARGIN, measured_limits
from dcacodec.training.publish import publish
from dcacodec.weights.export import KEEP_FLOAT32, export
from dcacodec.weights.reader import parse_weights, read_weights


@pytest.fixture(scope="module")
def data(model: DCA) -> bytes:
    return export(model)


def test_the_entropy_model_is_rounded_to_grids_of_its_rows(model: DCA, data: bytes) -> None:
    """Weights and gains as float16, all else as float32, and neither loses anything."""
    tensors, network = load_tensors(data), parse_weights(data, "tiny").network.state_dict()
    names = {name for name in model.state_dict() if name.startswith("entropy.")}
    limits = {f"entropy.{name}.limit" for name, module in model.entropy.named_modules() if isinstance(module, Snap)}
    assert {name for name in tensors if name.startswith("entropy.")} == names | limits
    assert len(names) > 50
    for name in names | limits:
        stored = tensors[name]
        assert stored.dtype == (torch.float16 if name.endswith((".weight", ".gain")) else torch.float32), name
        assert network[name].dtype == torch.float32 and torch.equal(network[name], stored.float()), name
        if name in names:
            original = model.state_dict()[name].flatten(1) if stored.dim() > 1 else model.state_dict()[name][:, None]
            error = (stored.float().flatten(1) if stored.dim() > 1 else stored.float()[:, None]) - original
            # 11 significant bits of the largest value of a row, of some rows one or two less.
            assert (error.abs().amax(1) <= torch.maximum(original.abs().amax(1) * 2.0**-8, torch.tensor(2.0**-7))).all()


@pytest.mark.slow
def test_the_same_arguments_give_the_same_fingerprint(model: DCA, data: bytes) -> None:
    with threads(2):
        assert export(model) == data
    assert export(model, limits=63.0) != data


def test_all_else_is_kept_or_halved(model: DCA, data: bytes) -> None:
    tensors, network = load_tensors(data), parse_weights(data, "tiny").network.state_dict()
    assert network.keys() >= model.state_dict().keys()
    kept = 0
    for name, value in model.state_dict().items():
        if name.startswith("entropy."):
            continue
        keep = name.startswith(KEEP_FLOAT32)
        kept += keep
        assert tensors[name].dtype == (torch.float32 if keep else torch.float16)
        assert torch.equal(tensors[name], value if keep else value.half()), name
        assert network[name].dtype == torch.float32
        assert torch.equal(network[name], tensors[name].float()), name
    # gain, spread, three parameters of three priors, weight and bias of four linear layers
    assert kept == 1 + 1 + 9 + 8


def test_scales_are_what_the_network_trains_with(model: DCA, data: bytes) -> None:
    inward, outward, level = parse_weights(data, "tiny").scale_tables
    anchors = model.spread.values.detach().double().numpy()
    for quality in (1, 2, 50, 99, 100):
        place = (quality - 1) / 99 * (TINY.anchors - 1)
        below = min(int(place), TINY.anchors - 2)
        spread = anchors[below] + (place - below) * (anchors[below + 1] - anchors[below])
        wanted = (1 / np.sqrt(np.exp(2 * spread) + 0.3), np.exp(spread), 16 * (spread - math.log(0.11)))
        for table, value, unit in zip((inward, outward, level), wanted, (2**16, 2**16, 2**9), strict=True):
            assert table.shape == (100, TINY.latent)
            # Training computes them in float32.
            assert table[quality - 1] == pytest.approx(value * unit, rel=3e-6, abs=0.51)


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("entropy.starts.2.weight", 300.0, "multiples of 2**"),
        ("entropy.starts.2.weight", -300.0, "multiples of 2**"),
        ("entropy.starts.2.bias", 2.0**19, "multiples of 2**"),
        ("entropy.starts.2.bias", math.nan, "finite"),
        ("entropy.stages.R.block.depthwise.weight", math.inf, "finite"),
        ("entropy.head.weight", math.nan, "finite"),
        ("analysis.blocks.0.mix.weight", 70000.0, "float16"),
        ("analysis.patch.weight", math.inf, "finite"),
        ("gain.values", math.nan, "finite"),
    ],
)
def test_a_weight_that_does_not_fit(model: DCA, name: str, value: float, named: str, tmp_path: Path) -> None:
    told = "" if named == "finite" else name.removeprefix("entropy.").removesuffix(".weight").removesuffix(".bias")
    with pytest.raises(WeightsError) as caught:
        publish(changed(model, name, value), tmp_path, [])
    assert told in one_line(caught) and named in one_line(caught)
    assert list(tmp_path.iterdir()) == []


def test_a_scale_that_does_not_fit(model: DCA) -> None:
    with pytest.raises(WeightsError, match=r"scales\.outward.*\b363\d\d\.\d\d\b"):
        export(changed(model, "spread.values", 10.5))
    with pytest.raises(WeightsError, match=r"scales\.level does not fit 24 bits"):
        export(changed(model, "spread.values", -1100.0))


def test_limits_leave_room_above_what_pictures_give(model: DCA) -> None:
    limits = measured_limits(model, [*PICTURES, photo(64, 128, 3)])
    assert limits.keys() == {name for name, module in model.entropy.named_modules() if isinstance(module, Snap)}
    assert not any(module._forward_hooks for module in model.modules())
    fewer = measured_limits(model, PICTURES[:1])
    assert all((fewer[name] <= limit).all() for name, limit in limits.items())
    assert any((fewer[name] < limit).any() for name, limit in limits.items())
    seen: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: seen.update({name: output.abs()}))
        for name, module in model.entropy.named_modules()
        if isinstance(module, Snap)
    ]
    with torch.no_grad():
        model(torch.from_numpy(PICTURES[0])[None].float() / 255, torch.tensor([model.config.anchor_position(50)]))
    for hook in hooks:
        hook.remove()
    assert seen.keys() == limits.keys()
    assert all((seen[name] * MARGIN <= limit * (1 + 1e-5)).all() for name, limit in limits.items())


def test_limits_leave_room_where_pictures_give_next_to_nothing(model: DCA) -> None:
    for name, limit in measured_limits(model, PICTURES, quiet=True).items():
        assert limit.min() >= LEAST_SHARE * limit.max() * (1 - 1e-6) > 0
        assert not name.startswith("hyper_snap.") or limit.min() >= HYPER_LIMIT


@pytest.mark.parametrize("order", ["R", "G", "GL", "RGL"])
@pytest.mark.parametrize("adaptive", [True, False])
def test_limits_are_measured_of_every_variant(order: str, adaptive: bool) -> None:
    drawn = drawn_model(replace(TINY, order=order, adaptive=adaptive), 21)
    limits = measured_limits(drawn, PICTURES[:1], quiet=True)
    assert limits.keys() == {name for name, module in drawn.entropy.named_modules() if isinstance(module, Snap)}
    export(drawn, limits=limits)


def test_a_published_model_has_measured_limits(model: DCA, tmp_path: Path) -> None:
    weights = read_weights(publish(model, tmp_path, PICTURES))
    wanted = measured_limits(model, PICTURES)
    for name, module in weights.network.entropy.named_modules():
        if isinstance(module, Snap):
            assert module.limit is not None and (module.limit <= LARGEST_LIMIT).all()
            if not name.endswith(("triple.snap", "read.keys.snap", "read.biases.snap", "read.values.snap")):
                assert (module.limit - wanted[name] >= 0).all() and (module.limit - wanted[name] <= 2.0**-6).all()


@pytest.mark.slow
def test_one_tensor_per_name_and_no_more(data: bytes, model: DCA) -> None:
    tables = {f"table.{name}.{part}" for name in ("y", *TINY.order) for part in ("cdf", "low", "shift")}
    scales = {"scales.inward", "scales.outward", "scales.level"}
    tensors: dict[str, Tensor] = load_tensors(data)
    limits = {f"entropy.{name}.limit" for name, module in model.entropy.named_modules() if isinstance(module, Snap)}
    assert tensors.keys() == model.state_dict().keys() | limits | tables | scales
    assert {tensors[name].dtype for name in tables | scales} == {torch.int32}
    for _ in range(8):  # to the byte, whatever order a hash table has
        assert export(model) == data
    assert int.from_bytes(data[:8], "little") % 8 == 0
