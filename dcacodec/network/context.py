"""The entropy model: hyper synthesis, quadtree and contextualisation (paper section 3.2).

::

    y_hat of earlier steps --- start_i (1x1, one per step) --+
    phi_r (B, H, W, C) --- bring (1x1) ---------------------(+)
                                                             v
                                                       stage R   depth-conv block
    phi_g (B, tokens, C) ----------------------------> stage G   cross-attention, residual
    phi_l (B, H, W, C) --- bring (1x1) --------------> stage L   1x1, add, depth-conv block
                                                             |
                                                           head (1x1) --> mean, scale level of step i

The stages are in the order of the config ("RGL") and shared by the four steps. Everything in this module also runs in
fixed point; it is all that a decoder computes before the last symbol is decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dcacodec.network.config import STEPS, DCAConfig
from dcacodec.network.fixed_point import LATENT_BITS, LATENT_LIMIT, Snap, to_grid
from dcacodec.network.hyper import SYNTHESES, FeaturesOfZeros
from dcacodec.network.layers import DepthConvBlock, Linear, RMSNorm, TokenAttention, Tokens
from dcacodec.network.priors import LEVELS_PER_E, SCALE_LEVELS

STEP_XOR = (0, 3, 2, 1)
"""At step s, group g of the channels is coded at position g XOR STEP_XOR[s] of every 2x2 cell (as in DCVC-DC).

Positions are 0 (0,0), 1 (0,1), 2 (1,0), 3 (1,1). The map is its own inverse: position p codes group p XOR STEP_XOR[s],
and group g at position p is coded in step STEP_XOR[p XOR g].
"""


def to_phases(x: Tensor) -> Tensor:
    """(B, H, W, C) -> (4, B, H/2, W/2, C): separate the four positions of the 2x2 cells."""
    batch, height, width, channels = x.shape
    cells = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return cells.permute(2, 4, 0, 1, 3, 5).reshape(4, batch, height // 2, width // 2, channels)


def from_phases(x: Tensor) -> Tensor:
    """The inverse of `to_phases`."""
    _, batch, height, width, channels = x.shape
    cells = x.reshape(2, 2, batch, height, width, channels).permute(2, 3, 0, 4, 1, 5)
    return cells.reshape(batch, 2 * height, 2 * width, channels)


def split_steps(y: Tensor) -> list[Tensor]:
    """The elements of y (B, H, W, M) that each step codes: four of (4, B, H/2, W/2, M/4), by position."""
    batch, height, width, _ = y.shape
    cells = y.reshape(batch, height // 2, 2, width // 2, 2, STEPS, -1).permute(2, 4, 5, 0, 1, 3, 6)
    # With gradients all at once: that of every slice of y would be a tensor of its size.
    groups = cells.flatten(0, 2).unbind() if y.requires_grad else [part for row in cells for at in row for part in at]
    return [torch.stack([groups[STEPS * p + (p ^ STEP_XOR[step])] for p in range(4)]) for step in range(STEPS)]


def join_steps(parts: list[Tensor]) -> Tensor:
    """The inverse of `split_steps`: -> (B, H, W, M)."""
    groups = torch.stack([parts[STEP_XOR[p ^ g]][p] for p in range(4) for g in range(STEPS)])
    _, batch, height, width, channels = groups.shape
    cells = groups.view(2, 2, STEPS, batch, height, width, channels).permute(3, 4, 0, 5, 1, 2, 6)
    return cells.reshape(batch, 2 * height, 2 * width, STEPS * channels)


class Scales(NamedTuple):
    """Per-quality, per-channel factors that scale every channel to unit variance for the network, and back.

    Each is (B, 1, 1, M).

    Attributes:
        inward: factor on y_hat before the network reads it. X.16
        outward: factor on the network's mean. X.16
        level: scale level for a network output of 0. X.9
    """

    inward: Tensor
    outward: Tensor
    level: Tensor


class SpatialStage(nn.Module):
    """Stage R or L: a 1x1 convolution of the state and features of the same resolution, then a depth-conv block.

    The convolution is `carry` of the state plus `bring` of the features, so the part of the features is computed only
    once for the four steps. The first stage has no projection of the state: its features are added to the input
    convolution (`starts`) instead.
    """

    def __init__(self, config: DCAConfig, first: bool) -> None:
        super().__init__()
        channels = config.context
        self.carry = None if first else Linear(channels, channels)
        self.bring = Linear(channels, channels, bias=False)
        self.block = DepthConvBlock(channels, config.context_hidden)

    @property
    def first(self) -> bool:
        """Whether the prepared features are added in front of the stage."""
        return self.carry is None

    def prepare(self, feature: Tensor) -> Tensor:
        """phi (B, H, W, C) -> the prepared features, once for all steps."""
        return self.bring(feature)

    def forward(self, state: Tensor, prepared: Tensor) -> Tensor:
        return self.block(state if self.carry is None else self.carry(state, prepared))


class GlobalStage(nn.Module):
    """Stage G: every position reads the global tokens by cross-attention, residual."""

    def __init__(self, config: DCAConfig) -> None:
        super().__init__()
        channels = config.context
        self.norm = RMSNorm(channels)
        self.read = TokenAttention(channels, max(1, channels // 32))

    def prepare(self, feature: Tensor) -> Tokens:
        """phi_g (B, tokens, C) -> its keys and values."""
        return self.read.prepare(feature)

    def forward(self, state: Tensor, prepared: Tokens) -> Tensor:
        read = self.read(self.norm(state).flatten(1, 2), prepared, state.flatten(1, 2))
        return read.unflatten(1, state.shape[1:3])


class StepWeights(NamedTuple):
    """The parameters of `EntropyModel` that a step uses at each position of the 2x2 cells.

    Attributes:
        start: (4, known channels, C), of the 1x1 convolution of the elements that are known; None in the first step.
        head: (4, C, 2*M/4), and its bias `head_bias` (4, 1, 2*M/4).
    """

    start: Tensor | None
    head: Tensor
    head_bias: Tensor


class Constants(NamedTuple):
    """What `EntropyModel` computes of its parameters alone.

    Attributes:
        steps: the parameters of the four steps.
        zero_features: phi_r where z_r is 0; None in training, on a GPU, and without z_r.
    """

    steps: Sequence[StepWeights]
    zero_features: FeaturesOfZeros | None


Stages = list[tuple[nn.Module, Tensor | Tokens]]
"""Stages of the contextualisation, each with its prepared features."""

StepCoder = Callable[[int, Tensor, Tensor], Tensor]
"""(step, mean, level) -> y_hat of the step, each (4, B, H/2, W/2, M/4): estimation, encoding or decoding of a step."""


class EntropyModel(nn.Module):
    """The part of the network that must be bit-exact between encoder and decoder."""

    def __init__(self, config: DCAConfig) -> None:
        super().__init__()
        c, m = config.context, config.latent
        self.config = config
        self.synthesis = nn.ModuleDict({letter: SYNTHESES[letter](config) for letter in config.order})
        self.hyper_snap = nn.ModuleDict({letter: Snap(1) for letter in config.order})
        self.known_snaps = nn.ModuleList(Snap(m // STEPS) for _ in range(STEPS))  # one per group of channels
        self.starts = nn.ModuleList(Linear(m, c) for _ in range(STEPS))
        self.stages = nn.ModuleDict(
            {
                letter: GlobalStage(config) if letter == "G" else SpatialStage(config, first=index == 0)
                for index, letter in enumerate(config.order)
            }
        )
        if not config.adaptive:
            self.bundle = nn.Parameter(torch.zeros(c))
            self.bundle_snap = Snap(c)
            count = len(config.order.replace("G", ""))
            self.merged = nn.ModuleList(SpatialStage(config, first=index == 0) for index in range(count))
        self.head = nn.Linear(c, 2 * m)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def constants(self) -> Constants:
        """What depends on the parameters alone, which must not change from then on."""
        steps = [StepWeights(self._start_weight(step), *self._head(step)) for step in range(STEPS)]
        # On a GPU, finding out whether z_r is 0 would mean to wait for it.
        usable = "R" in self.config.order and self.known_snaps[0].exact and self.head.weight.device.type == "cpu"
        return Constants(steps, FeaturesOfZeros(self.synthesis["R"]) if usable else None)  # type: ignore[arg-type]

    def forward(
        self,
        latents: Mapping[str, Tensor],
        size: tuple[int, int],
        scales: Scales,
        code: StepCoder,
        constants: Constants | None = None,
    ) -> list[Tensor]:
        """Run the four steps. Estimation, encoding and decoding share this loop.

        Args:
            latents: quantised hyper latents by letter.
            size: (H, W) of y, both even.
            scales: of the picture's quality.
            code: called once per step in order; returns y_hat of the step for its mean and level.
            constants: of the model, if they were made before.

        Returns:
            y_hat of the four steps, for `join_steps`.
        """
        shape = (next(iter(latents.values())).shape[0], *size)
        constants = constants or self.constants()
        return self.run(self.prepare(latents, shape, constants.zero_features), shape, scales, code, constants.steps)

    def run(
        self,
        stages: Stages,
        shape: tuple[int, int, int],
        scales: Scales,
        code: StepCoder,
        weights: Sequence[StepWeights],
    ) -> list[Tensor]:
        """Run the four steps with what `prepare` made; ``shape`` is (B, H, W) of y. See `forward`."""
        parts: list[Tensor] = []
        inputs: list[Tensor] = []
        exact = self.known_snaps[0].exact
        features = _added_in_front(stages)
        added = None if features is None else to_phases(features)
        for step in range(STEPS):
            inward, outward, level = (_of_step(scale, step) for scale in scales)
            state = self._start(step, weights[step], inputs, added)
            for stage, prepared in stages:
                state = stage(state, prepared)
            state = to_phases(state.expand(*shape, -1))
            output = torch.baddbmm(weights[step].head_bias, state.flatten(1, -2), weights[step].head)
            mean, detail = output.unflatten(1, state.shape[1:-1]).chunk(2, -1)
            mean = mean.to(outward.dtype)  # PyTorch multiplies mixed dtypes more slowly
            if exact:
                mean = to_grid(mean.mul_(outward), LATENT_BITS).clamp_(-LATENT_LIMIT, LATENT_LIMIT)
            else:
                mean = mean * outward
            level = torch.add(level, detail, alpha=LEVELS_PER_E).clamp_(0, SCALE_LEVELS - 1)
            parts.append(code(step, mean, level))
            if step < STEPS - 1:
                inputs.append(self._as_read(step, parts[-1] * inward))
        return parts

    def prepare(
        self, latents: Mapping[str, Tensor], shape: tuple[int, int, int], zero_features: FeaturesOfZeros | None
    ) -> Stages:
        """What depends on the hyper latents alone: the stages of every step, each with its prepared features."""
        stages: Stages = []
        for letter in self.config.order:
            stage, latent = self.stages[letter], self.hyper_snap[letter](latents[letter].clone())
            if zero_features and letter == "R" and not latent.any():
                features = zero_features(latent)
            else:
                features = self.synthesis[letter](latent)
            stages.append((stage, stage.prepare(features)))  # type: ignore[operator]
        if self.config.adaptive:
            return stages
        added = _added_in_front(stages)
        state = self.bundle_snap((self.bundle if added is None else self.bundle + added).expand(*shape, -1).clone())
        for stage, prepared in stages:
            state = stage(state, prepared)
        return [(stage, stage.prepare(state)) for stage in self.merged]  # type: ignore[operator]

    def _as_read(self, step: int, part: Tensor) -> Tensor:
        """What a step coded (4, B, H/2, W/2, M/4) as the next ones read it, snapped. Overwritten, if exact."""
        return torch.stack([self.known_snaps[p ^ STEP_XOR[step]](x) for p, x in enumerate(part)])

    def _start(self, step: int, weights: StepWeights, inputs: list[Tensor], added: Tensor | None) -> Tensor:
        """The 1x1 convolution of a step, of y_hat with zeros for elements not yet coded: (B, H, W, C).

        Features of the first stage (4, B, H/2, W/2, C), if any, are added. In the first step nothing is known yet;
        without such features it is the same everywhere: (1, 1, 1, C).
        """
        start = self.starts[step]
        assert isinstance(start, Linear)
        if added is None and weights.start is None:
            return start.snap(start.bias.clone()).expand(1, 1, 1, -1)
        state = start.bias.expand(1, 1, 1, 1, -1) if added is None else added + start.bias
        if weights.start is not None:
            known = torch.cat(inputs, -1)
            products = torch.baddbmm(state.flatten(1, -2), known.flatten(1, -2), weights.start)
            state = products.unflatten(1, known.shape[1:-1])
        return from_phases(start.snap(state))

    def _start_weight(self, step: int) -> Tensor | None:
        """Zeros need no multiplication: at each position, only the known groups are used. See `StepWeights`."""
        if step == 0:
            return None
        groups = self.starts[step].weight.unflatten(1, (STEPS, -1))  # type: ignore[operator]
        return torch.stack(
            [torch.cat([groups[:, p ^ STEP_XOR[earlier]] for earlier in range(step)], -1).T for p in range(4)]
        )

    def _head(self, step: int) -> tuple[Tensor, Tensor]:
        """Weight and bias of the head for what a step codes at each position. See `StepWeights`."""

        def by_position(parameter: Tensor) -> Tensor:  # (2*M, ...) -> (4, 2*M/4, ...)
            groups = parameter.unflatten(0, (2, STEPS, -1))
            return torch.stack([groups[:, p ^ STEP_XOR[step]].flatten(0, 1) for p in range(4)])

        return by_position(self.head.weight).transpose(1, 2).contiguous(), by_position(self.head.bias)[:, None]


def _added_in_front(stages: Stages) -> Tensor | None:
    """The prepared features (B, H, W, C) that are added in front of the first stage, if it wants that."""
    for stage, features in stages[:1]:
        if isinstance(stage, SpatialStage) and stage.first:
            assert isinstance(features, Tensor)
            return features
    return None


def _of_step(scale: Tensor, step: int) -> Tensor:
    """(B, 1, 1, M) -> (4, B, 1, 1, M/4): the channels that a step codes at each position."""
    groups = scale.unflatten(-1, (STEPS, -1))
    return torch.stack([groups[..., p ^ STEP_XOR[step], :] for p in range(4)])
