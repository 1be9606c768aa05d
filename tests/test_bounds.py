"""Bounds of the entropy model's sums: proven for every network that is published, and never exceeded."""

import math
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import TINY, drawn_latents, drawn_model, published, run_entropy
from told import one_line
from torch import Tensor, nn

from dcacodec.errors import WeightsError
from dcacodec.files.paths import models_dir
from dcacodec.network.config import DCAConfig
from dcacodec.network.context import EntropyModel, GlobalStage, SpatialStage
from dcacodec.network.fixed_point import LARGEST_LIMIT, Snap, softmax_shares
from dcacodec.network.layers import DepthwiseConv, Linear, TokenAttention, Tokens
from dcacodec.weights.bounds import check_bounds, reaches, remove_limits, round_parameters, set_limits
from dcacodec.weights.export import export
from dcacodec.weights.reader import Weights, read_weights
from dcacodec.weights.registry import read_index

CONFIGS: dict[str, tuple[DCAConfig, float]] = {
    "plain": (TINY, 1.0),
    "loud": (TINY, 6.0),
    "R": (replace(TINY, order="R"), 1.0),
    "LGR": (replace(TINY, order="LGR"), 3.0),
    "merged": (replace(TINY, adaptive=False), 1.0),
    "merged G": (replace(TINY, adaptive=False, order="G"), 1.0),
    "merged GL": (replace(TINY, adaptive=False, order="GL"), 1.0),
    "two heads": (replace(TINY, context=64, local_width=72, window=2), 1.0),
}
each_config = pytest.mark.parametrize("name", CONFIGS)
LAYERS = sorted(
    name for name, module in EntropyModel(TINY).named_modules() if isinstance(module, nn.Linear | DepthwiseConv)
)


@pytest.fixture(scope="module")
def plain() -> Weights:
    return published(drawn_model(TINY, 31))


@each_config
def test_drawn_networks_are_proven(name: str) -> None:
    """Also by a second look at what was read from the file."""
    config, loudness = CONFIGS[name]
    check_bounds(published(drawn_model(config, 31, loudness)).network.entropy)


@pytest.mark.usefixtures("published")
def test_published_networks_are_proven() -> None:
    files = read_index(models_dir()).files
    assert files
    for found in files.values():
        check_bounds(read_weights(found.path, found.digest).network.entropy)


@each_config
def test_bounds_bound_what_enters_the_layers(name: str) -> None:
    """Latents and y at the limits of what a file can hold, and ordinary ones; some bounds are reached."""
    config, loudness = CONFIGS[name]
    weights = published(drawn_model(config, 31, loudness))
    entropy = deepcopy(weights.network.entropy)
    bounds, reached = reaches(entropy), set[str]()

    def compare(layer: str, inputs: Tensor, residual: Tensor | None = None) -> None:
        bound = bounds[layer]
        assert (inputs.double().abs() <= bound.inputs).all(), layer
        assert residual is None or (residual.double().abs() <= bound.residual).all(), layer
        if (inputs.double().abs() == bound.inputs).any():
            reached.add(layer)

    def known(group: int, x: Tensor) -> None:
        for step in range(4):
            bound = bounds[f"starts.{step}"].inputs.view(4, -1)[group]
            assert (x.double().abs() <= bound).all()
            reached.update({"known"} if (x.double().abs() == bound).any() else ())

    def added(x: Tensor) -> None:
        assert all((x.double().abs() <= bounds[f"starts.{step}"].residual).all() for step in range(4))

    def read(attention: TokenAttention, x: Tensor, tokens: Tokens, residual: Tensor) -> None:
        """The magnitudes of the terms of logits, X.(12 + e), and of sums of values, X.14, add up to less than 2**24."""
        x, keys, biases, values = (part.double().abs() for part in (x, *tokens))
        assert ((x @ keys + biases).max() / attention.scale * 2**12) < 2**24
        shares = softmax_shares((x @ tokens.keys.double() + tokens.biases).unflatten(-1, (attention.heads, -1)), True)
        assert (shares.flatten(-2) @ values + residual.abs()).max() * 2**14 < 2**24

    for layer, module in entropy.named_modules():
        if isinstance(module, Linear | DepthwiseConv):
            module.register_forward_pre_hook(lambda _module, arguments, layer=layer: compare(layer, *arguments))
    stages = [*(entropy.stages.values() if config.adaptive else entropy.merged)]
    for stage in stages[-1:]:
        stage.register_forward_hook(lambda _module, _arguments, output: compare("head", output))
    for group, snap in enumerate(entropy.known_snaps):
        snap.register_forward_hook(lambda _module, _arguments, output, group=group: known(group, output))
    first = stages[0] if stages else None
    if isinstance(first, SpatialStage):
        first.bring.register_forward_hook(lambda _module, _arguments, output: added(output))
    for stage in entropy.stages.values():
        if isinstance(stage, GlobalStage):
            stage.read.register_forward_pre_hook(lambda module, arguments: read(module, *arguments))
    random = np.random.default_rng(7)
    for quality, most, size in ((1, 32767, 36000.0), (50, 40, 500.0), (100, 3, 3.0)):
        hyper, y = drawn_latents(config, (2, 2), quality, size)
        hyper = {key: torch.from_numpy(random.choice([-1.0, 1.0], z.shape)) * most for key, z in hyper.items()}
        run_entropy(entropy, hyper, y, weights.scales(quality, torch.device("cpu")))
    assert any(layer.startswith("synthesis.") for layer in reached) and "known" in reached
    assert "head" in bounds and {f"starts.{step}" for step in range(4)} <= bounds.keys()


def limit_of(snap: nn.Module) -> Tensor:
    assert isinstance(snap, Snap) and snap.limit is not None
    return snap.limit


@each_config
def test_what_is_added_to_the_starts_counts(name: str) -> None:
    """The features of the first stage, unless it is stage G; and every channel of y_hat has a limit of its own."""
    config, loudness = CONFIGS[name]
    entropy = published(drawn_model(config, 31, loudness)).network.entropy
    stages = [*(entropy.stages.values() if config.adaptive else entropy.merged)]
    first = stages[0] if stages else None
    wanted = limit_of(first.bring.snap) if isinstance(first, SpatialStage) else torch.zeros(())
    known = torch.cat([limit_of(snap) for snap in entropy.known_snaps.children()])
    for step in range(4):
        reach = reaches(entropy)[f"starts.{step}"]
        assert torch.equal(reach.residual.float(), wanted.expand_as(reach.residual))
        assert torch.equal(reach.inputs.float(), known)


@pytest.mark.parametrize("order", ["G", "GL", "RGL"])
def test_a_bundle_beyond_its_bound_is_refused(order: str) -> None:
    config = replace(TINY, adaptive=False, order=order)
    entropy = deepcopy(published(drawn_model(config, 31)).network.entropy)
    check_bounds(entropy)
    with torch.no_grad():
        entropy.bundle[3] = 2.0**18
    with pytest.raises(WeightsError, match=r"^bundle: "):
        check_bounds(entropy)


def test_values_beyond_their_bound_are_refused(plain: Weights) -> None:
    """Those of attention in windows."""
    entropy = deepcopy(plain.network.entropy)
    snap = entropy.get_submodule("synthesis.L.swin.0.attention.triple.snap")
    channels = limit_of(snap).numel() // 3
    limit_of(snap)[2 * channels :] = 32.0
    with pytest.raises(WeightsError, match="its sums of values are not exact"):
        check_bounds(entropy)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_weight_beyond_its_bound_is_found(layer: str, plain: Weights) -> None:
    """In any layer: the row's magnitudes then add up to 2**24 units, though the value itself is one of float16."""
    entropy = deepcopy(plain.network.entropy)
    weight = entropy.get_submodule(layer).weight
    assert isinstance(weight, Tensor)
    reach = reaches(entropy)[layer]
    with torch.no_grad():
        row = weight.flatten(1)[0]
        column = int(reach.inputs.argmax()) if weight.dim() == 2 else 4
        row[column] = 2.0**-14 + 2.0**-4  # so fine that a row cannot have large weights too
        row[column - 1] = 255.0
    with pytest.raises(WeightsError) as caught:
        check_bounds(entropy)
    assert layer in one_line(caught)


def test_the_bound_is_sharp(plain: Weights) -> None:
    """The head accepts the last weight below its bound and refuses the next one."""
    entropy = deepcopy(plain.network.entropy)
    head, reach = entropy.head, reaches(entropy)["head"]
    with torch.no_grad():
        head.weight[0], head.bias[0] = 0, 0
        head.weight[0, 1] = 2.0**-14
        column, unit = int(reach.inputs.argmax()), 2.0**-20
        rest = 2.0**24 * unit - reach.inputs[1].item() * 2.0**-14
        assert column != 1
        steps = int(np.ceil(rest / reach.inputs[column].item() * 2**14)) - 1
        for more, accepted in ((0, True), (1, False)):
            head.weight[0, column] = (steps + more) * 2.0**-14
            if accepted:
                check_bounds(entropy)
            else:
                with pytest.raises(WeightsError, match=r"^head: "):
                    check_bounds(entropy)


def altered(config: DCAConfig, name: str, value: float) -> bytes:
    """Export of a drawn model with one parameter's first element set."""
    model = drawn_model(config, seed=3)
    with torch.no_grad():
        model.get_parameter(name).view(-1)[0] = value
    return export(model)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("head.weight", 300.0),
        ("starts.2.weight", -300.0),
        ("starts.2.bias", 2.0**19),
        ("stages.R.block.depthwise.bias", 1e30),
        ("synthesis.R.swin.0.attention.position", 2.0**12),
        ("stages.G.norm.gain", 70000.0),
    ],
)
def test_parameters_that_no_grid_fits_are_refused(name: str, value: float) -> None:
    with pytest.raises(WeightsError) as caught:
        altered(TINY, f"entropy.{name}", value)
    assert name.rpartition(".")[0] in one_line(caught)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["head.weight", "starts.0.bias", "stages.G.norm.gain"])
def test_values_that_are_not_finite_are_refused(name: str, value: float) -> None:
    with pytest.raises(WeightsError, match="finite"):
        altered(TINY, f"entropy.{name}", value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_limits_that_are_not_finite_are_no_hole(value: float) -> None:
    """Infinity is the largest limit; NaN, as a network that diverged gives, is refused."""
    model = drawn_model(TINY, seed=3)
    if value == value:
        export(model, limits=value)
    else:
        with pytest.raises(WeightsError):
            export(model, limits=value)


def test_what_stage_g_reads_is_made_so_small_that_its_sums_are_exact() -> None:
    """Limits of keys, biases and values, and only as far as need be; larger ones are found."""
    loud = published(drawn_model(TINY, seed=3), math.inf).network.entropy
    parts = ("keys", "biases", "values")
    limits = [getattr(loud.stages["G"].read, part).snap.limit for part in parts]
    assert all((limit < LARGEST_LIMIT).all() for limit in limits)
    for part in parts:
        entropy = deepcopy(loud)
        snap = getattr(entropy.stages["G"].read, part).snap
        snap.set_limit(torch.full_like(snap.limit, LARGEST_LIMIT))
        with pytest.raises(WeightsError, match=r"^stages\.G: its (logits|sums of values) are not exact"):
            check_bounds(entropy)
    quiet = published(drawn_model(TINY, seed=3), 4.0).network.entropy
    assert all((getattr(quiet.stages["G"].read, part).snap.limit == 4.0).all() for part in parts)


@pytest.mark.parametrize("limit", [-511.0, 0.0, 0.3, 600.0])
def test_limits_that_no_file_may_have_are_refused(plain: Weights, limit: float) -> None:
    """Negative ones would let everything through, and others leave the grid or the range of activations."""
    for name, module in plain.network.entropy.named_modules():
        if isinstance(module, Snap):
            entropy = deepcopy(plain.network.entropy)
            limit_of(entropy.get_submodule(name))[-1] = limit
            with pytest.raises(WeightsError, match=rf"^{name}: a limit is no multiple"):
                check_bounds(entropy)


def test_too_many_tokens_are_refused() -> None:
    export(drawn_model(replace(TINY, tokens=16), seed=3))
    with pytest.raises(WeightsError, match=r"\b17 keys"):
        export(drawn_model(replace(TINY, tokens=17), seed=3))


def test_a_head_that_is_too_fine_is_found(plain: Weights) -> None:
    """Its sums would be exact, but not those of scale levels."""
    entropy = deepcopy(plain.network.entropy)
    with torch.no_grad():
        entropy.head.weight[0], entropy.head.bias[0] = 2.0**-15, 0
    with pytest.raises(WeightsError, match=r"^head: "):
        check_bounds(entropy)


def test_rounding_twice_changes_nothing(plain: Weights) -> None:
    entropy = deepcopy(plain.network.entropy)
    round_parameters(entropy)
    for name, value in plain.network.entropy.state_dict().items():
        assert torch.equal(entropy.state_dict()[name], value), name


def test_limits_are_set_and_removed(plain: Weights) -> None:
    entropy = deepcopy(plain.network.entropy)
    before = entropy.state_dict()
    limits = remove_limits(entropy)
    assert not any(module.exact for module in entropy.modules() if isinstance(module, Snap))
    assert {f"{name}.limit" for name in limits} == {name for name in before if name.endswith(".limit")}
    set_limits(entropy, limits)
    assert all(torch.equal(entropy.state_dict()[name], value) for name, value in before.items())


def test_larger_limits_allow_coarser_weights_only() -> None:
    """The price of room: with limits sixteen times as large, weights of some rows lose bits."""

    def error(limit: float) -> float:
        model = drawn_model(TINY, seed=3)
        exact = published(model, limit)
        return max(
            (exact.network.entropy.get_parameter(name) - value).abs().max().item()
            for name, value in model.entropy.named_parameters()
            if name.endswith(".weight")
        )

    assert error(16.0) < error(256.0)
