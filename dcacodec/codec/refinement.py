"""Refinement: gradient descent on the latent of one picture, at the cost of encoding time.

It starts from the latent of f_a and minimises bits + lambda * distortion of this picture, for any decoder::

    y --- y - mean, as if rounded, + mean --+--> f_s ---> lambda * distortion -----(+)---> gradient --- Adam ---> y
                |  ^                        |                                       ^
                |  '-- entropy model <------' now and then, without gradients       |
                '---> bits ---------------------------------------------------------'

Rounding has no useful gradient. In its place come `soft_round` (Agustsson and Theis, 2020, "Universally quantized
neural compression"), uniform noise, and `soft_round` again, as in C3 (Kim et al., 2024). Over the iterations the
temperature falls, so that soft rounding approaches rounding, and the noise falls to zero. Descent on the latent itself
is due to Yang et al., 2020, "Improving inference for neural image compression".

Means and scale levels change little from one iteration to the next, and the gradient through them is worth little: so
they are computed in one of `PERIOD` iterations, without gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dcacodec.codec.operating_point import OperatingPoint
from dcacodec.network.context import join_steps, split_steps
from dcacodec.network.precision import transform_precision
from dcacodec.network.priors import SKIP_BELOW, gaussian_bits

PERIOD = 4
"""Iterations for which means and scale levels stay as they are."""
LEARNING_RATE = 0.02
"""The initial learning rate, in quantisation steps per iteration; it decays as a cosine."""
FULL_RATE_ITERATIONS = 32
"""With more iterations than this, the learning rate is lower: its sum over the iterations stays the same."""
BETAS = (0.9, 0.99)
INVERSE_TEMPERATURE = (1.5, 12.0)
"""Of the soft rounding in the first and the last iteration; linear in between."""
NOISE = 1.2
"""Limit of the initial width of the uniform noise for many iterations; the width falls linearly to 0."""
NOISE_HALF_ITERATIONS = 20
"""With this many iterations the initial width is half of `NOISE`: short schedules work better with less noise."""


def soft_round(x: Tensor, inverse_temperature: float) -> Tensor:
    """A smooth approximation of rounding. It keeps multiples of 1/2, and moves all else towards the nearest integer.

    ``m + tanh(a (x - m)) / (2 tanh(a / 2))`` with ``m = floor(x) + 1/2`` and ``a = inverse_temperature`` > 0.
    """
    middle = x.detach().floor() + 0.5
    return middle + torch.tanh(inverse_temperature * (x - middle)) / (2 * math.tanh(inverse_temperature / 2))


@dataclass(frozen=True)
class SoftRounding:
    """What is in place of rounding in an iteration: soft rounding, noise, and soft rounding again.

    Attributes:
        inverse_temperature: of `soft_round`.
        noise: width of the uniform noise.
        random: its generator.
    """

    inverse_temperature: float
    noise: float
    random: torch.Generator

    def __call__(self, x: Tensor) -> Tensor:
        """``x`` of any shape, softly rounded."""
        shift = torch.rand(x.shape, generator=self.random, dtype=x.dtype, device=x.device) - 0.5
        return soft_round(soft_round(x, self.inverse_temperature) + self.noise * shift, self.inverse_temperature)


class Prediction(NamedTuple):
    """What the entropy model predicts of the elements of a step, (4, 1, H/2, W/2, M/4).

    Attributes:
        mean: float32.
        level: the scale levels of those that are coded, float32 (N,).
        coded: the indices of these in the flattened mean, int64 (N,).
    """

    mean: Tensor
    level: Tensor
    coded: Tensor

    def code(self, part: Tensor, rounding: SoftRounding) -> tuple[Tensor, Tensor]:
        """y_hat of the step for its part of y, and the bits it takes; skipped elements are at their means."""
        residual = rounding((part - self.mean).flatten().index_select(0, self.coded))
        others = torch.zeros_like(self.mean).flatten()
        y_hat = others.index_copy(0, self.coded, residual).view(self.mean.shape) + self.mean
        return y_hat, gaussian_bits(residual, self.level).sum()


@torch.no_grad()
def predict(point: OperatingPoint, hyper: dict[str, Tensor], y: Tensor, rounding: SoftRounding) -> list[Prediction]:
    """The predictions of the four steps for y (1, H, W, M), coded softly, and its rounded hyper latents."""
    parts, found = split_steps(y.detach()), []

    def code(step: int, mean: Tensor, levels: Tensor) -> Tensor:
        level = levels.flatten()
        coded = torch.nonzero(level >= SKIP_BELOW)[:, 0]
        found.append(Prediction(mean.float(), level.index_select(0, coded).float(), coded))
        return found[-1].code(parts[step], rounding)[0].to(mean.dtype)

    point.run_steps(hyper, (y.shape[1], y.shape[2]), code)
    return found


def refine(
    point: OperatingPoint,
    latent: Tensor,
    inside: tuple[slice, slice],
    hyper: Mapping[str, Tensor],
    picture: Tensor,
    iterations: int,
    tick: Callable[[], object] = lambda: None,
) -> Tensor:
    """Refine y of a slice by gradient descent.

    Args:
        point: the operating point. The distortion is the one that its weights were trained for.
        latent: y (1, h, w, M) of the slice and its halo.
        inside: rows and columns of `latent` that are the slice; only these change.
        hyper: hyper latents of the slice, rounded.
        picture: the pixels that f_s should make of `latent`, (1, up to 16h, up to 16w, 3) in 0..1; what lies outside of
            it is not part of the loss.
        iterations: 1 or more.
        tick: called after each iteration.

    Returns:
        y of the slice (1, H, W, M).
    """
    device = latent.device
    _, height, width, _ = picture.shape
    trade_off = point.trade_off * height * width
    random = torch.Generator(device).manual_seed(0)  # encoding is deterministic
    rows, columns = inside
    # Without the caller's autocast, which would apply to the loss and to all gradients.
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        around, position = latent.clone(), point.position.clone()
        y = around[:, rows, columns].clone().requires_grad_()
        latents = {letter: z.clone() for letter, z in hyper.items()}
        measure = point.weights.provenance.distortion.against(picture)
        optimiser = torch.optim.Adam([y], betas=BETAS)
        peak_rate = LEARNING_RATE * min(1, FULL_RATE_ITERATIONS / iterations)
        initial_noise = NOISE * iterations / (iterations + NOISE_HALF_ITERATIONS)
        first, last = INVERSE_TEMPERATURE
        predictions: list[Prediction] = []
        for iteration in range(iterations):
            share = iteration / max(1, iterations - 1)
            rounding = SoftRounding(first + (last - first) * share, initial_noise * (1 - share), random)
            for group in optimiser.param_groups:
                group["lr"] = peak_rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share)))
            if iteration % PERIOD == 0:
                predictions = predict(point, latents, y, rounding)
            coded = [each.code(part, rounding) for each, part in zip(predictions, split_steps(y), strict=True)]
            whole = around.clone()
            whole[:, rows, columns] = join_steps([y_hat for y_hat, _ in coded])
            with transform_precision(device, point.bfloat16):
                made = point.weights.network.synthesise(whole, position)[:, :height, :width]
            loss = torch.stack([bits for _, bits in coded]).sum() + trade_off * measure(made).sum()
            (y.grad,) = torch.autograd.grad(loss, [y])
            optimiser.step()
            tick()
        return y.detach()
