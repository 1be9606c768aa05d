"""Refinement: gradient descent on the latent of one picture, at the cost of encoding time.

It starts from the latent of f_a and minimises the training loss for this picture; the decoder is not affected::

    y --- y - mean, as if rounded, + mean --+--> f_s ---> lambda * distortion -----(+)---> gradient --- Adam ---> y
                |                           |                                       ^
                '---> bits -----------------|---------------------------------------'
                                            '---> contexts of later steps

Rounding has no useful gradient. In its place come `soft_round` (Agustsson and Theis, 2020, "Universally quantized
neural compression"), uniform noise, and `soft_round` again, as in C3 (Kim et al., 2024). Over the iterations the
temperature falls, so that soft rounding approaches rounding, and the noise falls to zero. Descent on the latent itself
is due to Yang et al., 2020, "Improving inference for neural image compression".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from dcacodec.metrics.distortion import Distortion
from dcacodec.network.context import join_steps, split_steps
from dcacodec.network.dca import DCA
from dcacodec.network.precision import fast_bfloat16, transform_precision
from dcacodec.network.priors import SKIP_BELOW, gaussian_bits

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
LAMBDA_FACTOR = 1.2
"""Lambda here, as a multiple of the quality's. It spends a part of the saved bits on a better picture, which is more
efficient, since the quantisation steps of y and the entropy model are those of the quality."""


def soft_round(x: Tensor, inverse_temperature: float) -> Tensor:
    """A smooth approximation of rounding. It keeps multiples of 1/2, and moves all else towards the nearest integer.

    ``m + tanh(a (x - m)) / (2 tanh(a / 2))`` with ``m = floor(x) + 1/2`` and ``a = inverse_temperature`` > 0.
    """
    middle = x.detach().floor() + 0.5
    return middle + torch.tanh(inverse_temperature * (x - middle)) / (2 * math.tanh(inverse_temperature / 2))


def refine(
    network: DCA,
    latent: Tensor,
    inside: tuple[slice, slice],
    hyper: Mapping[str, Tensor],
    picture: Tensor,
    quality: float,
    distortion: Distortion,
    iterations: int,
    tick: Callable[[], object] = lambda: None,
) -> Tensor:
    """Refine y of a slice by gradient descent.

    Args:
        network: in floating point throughout; its parameters take no gradient.
        latent: y (1, h, w, M) of the slice and its halo.
        inside: rows and columns of `latent` that are the slice; only these change.
        hyper: hyper latents of the slice, rounded.
        picture: the pixels that f_s should make of `latent`, (1, up to 16h, up to 16w, 3) in 0..1; what lies outside of
            it is not part of the loss.
        quality: 1..100, in tenths.
        distortion: the one that the network was trained for.
        iterations: 1 or more.
        tick: called after each iteration.

    Returns:
        y of the slice (1, H, W, M).
    """
    device = latent.device
    _, height, width, _ = picture.shape
    position = torch.full((1,), network.config.anchor_position(quality), dtype=torch.float32, device=device)
    trade_off = LAMBDA_FACTOR * network.config.trade_off(quality) * height * width
    random = torch.Generator(device).manual_seed(0)  # encoding is deterministic
    rows, columns = inside
    # Without the caller's autocast, which would apply to the loss and to all gradients.
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        around = latent.clone()
        y = around[:, rows, columns].clone().requires_grad_()
        latents = {letter: z.float() for letter, z in hyper.items()}
        shape = (y.shape[0], y.shape[1], y.shape[2])
        # The hyper latents stay, and so do their features.
        with torch.no_grad(), transform_precision(device, fast_bfloat16(device)):
            stages, weights = network.entropy.prepare(latents, shape), network.entropy.step_weights()
            scales = network.scales(position)
        measure = distortion.against(picture)
        optimiser = torch.optim.Adam([y], betas=BETAS)
        peak_rate = LEARNING_RATE * min(1, FULL_RATE_ITERATIONS / iterations)
        initial_noise = NOISE * iterations / (iterations + NOISE_HALF_ITERATIONS)
        first, last = INVERSE_TEMPERATURE
        for iteration in range(iterations):
            share = iteration / max(1, iterations - 1)
            inverse_temperature, noise = first + (last - first) * share, initial_noise * (1 - share)
            for group in optimiser.param_groups:
                group["lr"] = peak_rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share)))
            with transform_precision(device, fast_bfloat16(device)):
                code = SoftCoder(y, inverse_temperature, noise, random)
                y_hat = join_steps(network.entropy.run(stages, shape, scales, code, weights))
                whole = around.clone()
                whole[:, rows, columns] = y_hat
                made = network.synthesise(whole, position)[:, :height, :width]
            loss = code.bits + trade_off * measure(made).sum()
            (y.grad,) = torch.autograd.grad(loss, [y])
            optimiser.step()
            tick()
        return y.detach()


class SoftCoder:
    """Codes y (1, H, W, M) step by step with soft rounding in place of rounding, see `StepCoder`.

    Attributes:
        bits: of the elements so far, a scalar.
    """

    def __init__(self, y: Tensor, inverse_temperature: float, noise: float, random: torch.Generator) -> None:
        self._parts = split_steps(y)
        self._inverse_temperature, self._noise, self._random = inverse_temperature, noise, random
        self.bits = torch.zeros((), dtype=torch.float32, device=y.device)

    def __call__(self, step: int, mean: Tensor, level: Tensor) -> Tensor:
        """See `StepCoder`."""
        coded = torch.nonzero(level.flatten().round() >= SKIP_BELOW)[:, 0]  # of the others only the mean is needed

        def of_coded(x: Tensor) -> Tensor:
            return x.flatten().index_select(0, coded)

        residual = soft_round(of_coded(self._parts[step] - mean), self._inverse_temperature)
        shift = torch.rand(mean.shape, generator=self._random, dtype=torch.float32, device=mean.device) - 0.5
        residual = soft_round(residual + self._noise * of_coded(shift), self._inverse_temperature)
        self.bits = self.bits + gaussian_bits(residual, of_coded(level.float())).sum()
        return torch.zeros_like(shift).flatten().index_copy(0, coded, residual).view(mean.shape) + mean
