"""Bounds of the entropy model's sums of products, and parameters rounded such that these stay within float32.

The bound of an activation is the largest magnitude that it can have, whatever the picture: the limit of its channel, or
less where the layer cannot reach it. Bounds are computed by the network itself, from absolute values of its parameters:
all its operations but normalisation and attention are monotone in the magnitude of their inputs.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dcacodec.errors import WeightsError
from dcacodec.network.context import EntropyModel, GlobalStage, SpatialStage
from dcacodec.network.fixed_point import (
    ACTIVATION_BITS,
    ATTENTION_LIMIT,
    EXP_ONE,
    LARGEST_LIMIT,
    LATENT_LIMIT,
    MOST_KEYS,
    SHARE_BITS,
    SIGNIFICANT_BITS,
    Snap,
    logit_scale,
)
from dcacodec.network.layers import DepthwiseConv, Linear, RMSNorm, TokenAttention, WindowAttention

Limits = Mapping[str, Tensor]
"""The limit of each channel (C,) by the name of the `Snap`."""

WEIGHT_BITS = 11
"""Significant bits of the largest weight of a row: those of float16, in which weights are stored."""
FINEST_WEIGHT = 14
COARSEST_WEIGHT = 3
"""The largest and the smallest w: weights are multiples of 2**-w."""
POSITION_BITS = 6
_ROUNDS = 3
_UNIT = 2.0**ACTIVATION_BITS
_MOST_READ = 2.0 ** (SIGNIFICANT_BITS - ACTIVATION_BITS - SHARE_BITS)
"""The magnitude that the terms of a sum of values by their shares may not reach together."""
_PROBE = 8
"""Side of the latent on which bounds are computed: it has windows and filters without borders."""


@dataclass(frozen=True)
class Reach:
    """The largest magnitudes that enter a layer.

    Attributes:
        inputs: (in,), of the layer's inputs.
        residual: (out,), of what is added to its output, or 0.
    """

    inputs: Tensor
    residual: Tensor

    def sums(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The largest magnitude (out,) of any sum of a layer's terms."""
        absolute = weight.double().abs()
        # A filter has one input channel, a matrix all.
        products = absolute.flatten(1).sum(1) * self.inputs if absolute.dim() == 4 else absolute @ self.inputs
        return products + self.residual + (0 if bias is None else bias.double().abs())


def set_limits(entropy: EntropyModel, limits: Limits | float) -> None:
    """Make an entropy model exact: give every `Snap` its limits, or the same limit everywhere.

    Limits are rounded to the grid of activations. Those of queries, keys and values in windows are at most
    `ATTENTION_LIMIT`, and those of keys, biases and values of stage G so small that sums of them are exact.

    Raises:
        WeightsError: a limit is NaN, as activations of a network that diverged are.
    """
    in_windows = {
        f"{name}.triple.snap" for name, module in entropy.named_modules() if isinstance(module, WindowAttention)
    }
    for name, snap in _snaps(entropy).items():
        limit = torch.full((snap.channels,), limits) if isinstance(limits, float) else limits[name]
        if limit.isnan().any():
            raise WeightsError(f"{name}: a limit is not a number")
        largest = ATTENTION_LIMIT if name in in_windows else LARGEST_LIMIT
        snap.set_limit((limit.float() * _UNIT).ceil().clamp(1, largest * _UNIT) / _UNIT)
    for module in entropy.modules():
        if isinstance(module, GlobalStage):
            _decrease_limits(module)


def _decrease_limits(stage: GlobalStage) -> None:
    """Scale the limits of keys, biases and values of a stage G down to what `_check_tokens` accepts, if need be."""
    read, (keys, values), biases = stage.read, _by_head(stage.read), _limit(stage.read.biases.snap).double()
    most = _most_logit(read)
    products = read.scale * (keys * _limit(stage.norm.snap).double()).sum(-1, keepdim=True)
    for layer, limit, factor in (
        # Together 0.95 of what the terms of a logit may reach.
        (read.keys, keys, 0.7 * most / products),
        (read.biases, biases, 0.25 * most / biases),
        # A quarter for the values, and half for what they are added to: the rest is for the rounding of shares.
        (read.values, values, 0.25 * _MOST_READ / values.sum(0)),
    ):
        units = (limit * factor.clamp(max=1) * _UNIT).floor().clamp(min=1)
        layer.snap.set_limit((units / _UNIT).flatten().float())


def _by_head(read: TokenAttention) -> tuple[Tensor, Tensor]:
    """The limits of keys and values, (heads, C) each."""
    keys, values = (_limit(layer.snap).double().unflatten(0, (read.heads, -1)) for layer in (read.keys, read.values))
    return keys, values


def _most_logit(read: TokenAttention) -> float:
    """The magnitude that the terms of a logit of stage G may not reach together."""
    return 2.0 ** (SIGNIFICANT_BITS - 2 * ACTIVATION_BITS) * read.scale


def _limit(snap: Snap) -> Tensor:
    assert snap.limit is not None
    return snap.limit


def remove_limits(entropy: EntropyModel) -> Limits:
    """Make an entropy model an ordinary network in floating point again, with its rounded parameters.

    Returns:
        The limits that it had.
    """
    limits = {}
    for name, snap in _snaps(entropy).items():
        if snap.limit is not None:
            limits[name] = snap.limit
        snap.set_limit(None)
    return limits


def _snaps(entropy: EntropyModel) -> dict[str, Snap]:
    return {name: module for name, module in entropy.named_modules() if isinstance(module, Snap)}


def _layers(entropy: EntropyModel) -> dict[str, nn.Linear | DepthwiseConv]:
    """The layers that have weights, by name."""
    return {name: module for name, module in entropy.named_modules() if isinstance(module, nn.Linear | DepthwiseConv)}


@torch.no_grad()
def reaches(entropy: EntropyModel) -> dict[str, Reach]:
    """What enters each layer of an entropy model that has limits, by the layer's name."""
    config, found = entropy.config, dict[str, Reach]()
    bounds = copy.deepcopy(entropy).double()
    for parameter in bounds.parameters():
        parameter.abs_()

    def largest(x: Tensor) -> Tensor:
        return x.reshape(-1, x.shape[-1]).amax(0)

    def record(name: str, inputs: Tensor, residual: Tensor | None = None) -> None:
        old = found.get(name, Reach(torch.zeros(()), torch.zeros(())))
        added = torch.zeros(()) if residual is None else largest(residual)
        found[name] = Reach(torch.maximum(largest(inputs), old.inputs), torch.maximum(added, old.residual))

    def before(name: str, _module: nn.Module, arguments: tuple[Any, ...]) -> None:
        record(name, *arguments)

    def after(module: nn.Module, _arguments: object, output: Tensor) -> Tensor:
        # The same everywhere, as attention averages over positions; normalisation and softmax are not monotone.
        bound = _limit(module.snap) if isinstance(module, RMSNorm | TokenAttention) else largest(output)
        return bound.expand_as(output)

    for name, module in bounds.named_modules():
        if isinstance(module, Linear | DepthwiseConv):
            module.register_forward_pre_hook(partial(before, name))
        if isinstance(module, Linear | DepthwiseConv | RMSNorm | TokenAttention):
            module.register_forward_hook(after)
    stages = list(bounds.stages.values()) if config.adaptive else list(bounds.merged)
    ends: list[nn.Module] = stages[-1:] or [start.snap for start in bounds.starts]  # type: ignore[misc]
    for last in ends:
        last.register_forward_hook(lambda _module, _arguments, output: record("head", output))
    far = torch.full((1, 1, 1, config.latent), LATENT_LIMIT, dtype=torch.float64)
    shapes = {"R": (_PROBE // 4, _PROBE // 4), "G": (config.tokens,), "L": (_PROBE, _PROBE)}
    latents = {
        letter: far.new_full((1, *shapes[letter], config.hyper_channels[letter]), LATENT_LIMIT)
        for letter in config.order
    }
    bounds(latents, (_PROBE, _PROBE), (far, far, far), lambda _step, mean, _level: torch.full_like(mean, LATENT_LIMIT))
    first = stages[0] if stages else None
    added = _limit(first.bring.snap)[None] if isinstance(first, SpatialStage) and first.first else None
    known = torch.cat([_limit(snap) for snap in bounds.known_snaps])[None]  # type: ignore[arg-type]
    for step in range(len(bounds.starts)):
        record(f"starts.{step}", known, added)
    return found


def round_parameters(entropy: EntropyModel) -> None:
    """Round the parameters of an entropy model that has limits, such that its sums are exact in float32.

    Raises:
        WeightsError: a layer would need weights that are coarser than 2**-`COARSEST_WEIGHT`, or see `check_bounds`.
    """
    with torch.no_grad():
        for name, module in entropy.named_modules():
            if isinstance(module, RMSNorm):
                module.gain.copy_(module.gain.half())
                if not module.gain.isfinite().all():
                    raise WeightsError(f"{name}.gain holds a value beyond float16")
            elif isinstance(module, WindowAttention):
                module.position.copy_((module.position * 2.0**POSITION_BITS).round() * 2.0**-POSITION_BITS)
        if not entropy.config.adaptive:
            entropy.bundle.copy_((entropy.bundle * 2.0**ACTIVATION_BITS).round() * 2.0**-ACTIVATION_BITS)
        # Rounded weights can have larger sums, and so larger bounds of the layers behind them.
        for _ in range(_ROUNDS):
            reach = reaches(entropy)
            for name, module in _layers(entropy).items():
                _round_layer(name, module, reach[name])
        check_bounds(entropy)


def _round_layer(name: str, layer: nn.Linear | DepthwiseConv, reach: Reach) -> None:
    """Round weight and bias of a layer to the finest grid of each row that keeps its sums exact."""
    weight, bias = layer.weight, layer.bias
    exact_weight, exact_bias = weight.detach().double(), None if bias is None else bias.detach().double()
    rows = (-1, *(1,) * (weight.dim() - 1))
    bits = WEIGHT_BITS - torch.frexp(exact_weight.abs().flatten(1).amax(1))[1]
    bits = bits.clamp(max=FINEST_WEIGHT)
    while True:
        unit = 2.0 ** bits.double()
        rounded = (exact_weight * unit.view(rows)).round() / unit.view(rows)
        step = unit * 2.0**ACTIVATION_BITS
        rounded_bias = None if exact_bias is None else (exact_bias * step).round() / step
        excess = reach.sums(rounded, rounded_bias) * step >= 2.0**SIGNIFICANT_BITS
        if not excess.any():
            break
        bits = bits - excess.to(bits.dtype)
    if not bits.min() >= COARSEST_WEIGHT:
        raise WeightsError(f"{name}: the limits of its inputs allow only weights in multiples of 2**{-int(bits.min())}")
    weight.copy_(rounded)
    if rounded_bias is not None:
        bias.copy_(rounded_bias)


def check_bounds(entropy: EntropyModel) -> None:
    """Prove from the parameters of an entropy model with limits that all its sums of products are exact in float32.

    Raises:
        WeightsError: a sum could reach 2**24 units of its terms; a query has more than `MOST_KEYS` keys; or scale
            levels could have more than 24 bits, because the weights of the head are too fine.
    """
    for name, snap in _snaps(entropy).items():
        units = _limit(snap).double() * _UNIT
        if not ((units >= 1) & (units <= LARGEST_LIMIT * _UNIT) & (units == units.round())).all():
            raise WeightsError(f"{name}: a limit is no multiple of 2**-{ACTIVATION_BITS} up to {LARGEST_LIMIT}")
    for name, attention in entropy.named_modules():
        if isinstance(attention, WindowAttention):
            _check_windows(name, attention)
        elif isinstance(attention, GlobalStage):
            _check_tokens(name, attention, entropy.config.tokens)
    if not entropy.config.adaptive:
        _check_bundle(entropy)
    head = entropy.head
    if not _unit(head.weight.detach(), head.bias.detach()).max() <= 2.0 ** (ACTIVATION_BITS + FINEST_WEIGHT):
        raise WeightsError(f"head: its weights are finer than 2**-{FINEST_WEIGHT}")
    reach = reaches(entropy)
    for name, module in _layers(entropy).items():
        weight, bias = module.weight.detach(), None if module.bias is None else module.bias.detach()
        if not (reach[name].sums(weight, bias) * _unit(weight, bias)).max() < 2.0**SIGNIFICANT_BITS:
            raise WeightsError(f"{name}: its sums of products are not exact in float32")


def _check_windows(name: str, attention: WindowAttention) -> None:
    """Check that logits, and sums of weighted values, are exact."""
    query, key, value = _limit(attention.triple.snap).double().view(3, attention.heads, -1)
    scale = logit_scale(query.shape[-1])
    logits = (query * key).sum(-1).max() * scale + attention.position.detach().abs().max()
    if not logits * 2.0 ** (2 * ACTIVATION_BITS) / scale < 2.0**SIGNIFICANT_BITS:
        raise WeightsError(f"{name}: its logits are not exact in float32")
    keys = attention.window**2
    _check_keys(name, keys)
    if not value.max() * keys * EXP_ONE * _UNIT < 2.0**SIGNIFICANT_BITS:
        raise WeightsError(f"{name}: its sums of values are not exact in float32")


def _check_bundle(entropy: EntropyModel) -> None:
    """Check that the bundle, and its sum with features, is exact."""
    spatial = (stage for stage in entropy.modules() if isinstance(stage, SpatialStage))
    features = max((_limit(stage.bring.snap).max().item() for stage in spatial), default=0.0)
    if not (entropy.bundle.detach().abs().max() + features) * _UNIT < 2.0**SIGNIFICANT_BITS:
        raise WeightsError("bundle: its sums are not exact in float32")


def _check_tokens(name: str, stage: GlobalStage, tokens: int) -> None:
    """Check that logits, and sums of values by their shares and what they are added to, are exact."""
    read, (keys, values) = stage.read, _by_head(stage.read)
    logits = read.scale * (keys * _limit(stage.norm.snap).double()).sum(-1) + _limit(read.biases.snap).double()
    if not logits.max() < _most_logit(read):
        raise WeightsError(f"{name}: its logits are not exact in float32")
    _check_keys(name, tokens)
    shares = 1 + tokens * 2.0 ** -(SHARE_BITS + 1)  # of one head: each is rounded
    if not shares * values.sum(0).max() + LARGEST_LIMIT < _MOST_READ:
        raise WeightsError(f"{name}: its sums of values are not exact in float32")


def _check_keys(name: str, keys: int) -> None:
    if keys > MOST_KEYS:
        raise WeightsError(f"{name}: queries have {keys} keys, and {MOST_KEYS} at most are exact in float32")


def _unit(weight: Tensor, bias: Tensor | None) -> Tensor:
    """The number of units per 1 in which the terms of each sum (out,) are integers: a power of two."""
    rows = weight.double().flatten(1) * 2.0**-ACTIVATION_BITS
    if bias is not None:
        rows = torch.cat([rows, bias.double()[:, None]], 1)
    unit = torch.full((rows.shape[0],), torch.inf, dtype=torch.float64)
    for bits in range(ACTIVATION_BITS, 2 * SIGNIFICANT_BITS):
        scaled = rows * 2.0**bits
        unit = unit.clamp(max=2.0**bits).where((scaled == scaled.round()).all(1), unit)
    return unit
