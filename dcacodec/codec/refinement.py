"""Refinement: a better latent for one picture, at the expense of the encoder's time.

f_a gives a latent at once. From there this descends on what the network was trained to make small, for the picture in
hand; the decoder knows nothing of it::

    y --- y - mean, as if rounded, + mean --+--> f_s ---> lambda * distortion -----(+)---> gradient --- Adam ---> y
                |                           |                                       ^
                '---> bits -----------------|---------------------------------------'
                                            '---> contexts of later steps

Rounding has no slope, so something softer stands for it: `soft_round` (Agustsson and Theis, 2020, "Universally
quantized neural compression"), noise, and `soft_round` again (Kim et al., 2024, "C3"). From round to round it becomes
harder and the noise less. That descending on the latent pays: Yang et al., 2020, "Improving inference for neural image
compression".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from dcacodec.metrics.distortion import Distortion
from dcacodec.network.context import take_step
from dcacodec.network.dca import DCA
from dcacodec.network.precision import fast_bfloat16, transform_precision
from dcacodec.network.priors import SKIP_BELOW, gaussian_bits

RATE = 0.02
"""The first learning rate, in quantisation steps a round; it falls as a cosine."""
FAR = 32
"""More rounds than this go no further together: their rate is less."""
BETAS = (0.9, 0.99)
HARDNESS = (1.5, 12.0)
"""Of the soft rounding in the first and the last round."""
NOISE = 1.2
"""What the width of the uniform noise in the first round tends to for many rounds; in the last there is none."""
PATIENCE = 20
"""At so many rounds it is half of that: few rounds go straighter."""
WORTH = 1.2
"""Lambda here, as a multiple of the quality's. What refinement saves for the same picture is best spent in part on a
better one: the steps of y, and all that the network expects, are those of the quality."""


def soft_round(x: Tensor, hardness: float) -> Tensor:
    """A smooth step: x itself at every half of an integer, and nearer to the next integer in between.

    ``m + tanh(a (x - m)) / (2 tanh(a / 2))`` with ``m = floor(x) + 1/2`` and ``a = hardness`` > 0.
    """
    middle = x.detach().floor() + 0.5
    return middle + torch.tanh(hardness * (x - middle)) / (2 * math.tanh(hardness / 2))


def refine(
    network: DCA,
    latent: Tensor,
    inside: tuple[slice, slice],
    hyper: Mapping[str, Tensor],
    picture: Tensor,
    quality: int,
    distortion: Distortion,
    rounds: int,
    tick: Callable[[], object] = lambda: None,
) -> Tensor:
    """A slice's y after some rounds of descent.

    Args:
        network: in floating point throughout; its parameters take no gradient.
        latent: y (1, h, w, M) of the slice and of what f_s reads around it.
        inside: rows and columns of it that are the slice, the only ones that change.
        hyper: the slice's hyper latents, rounded.
        picture: what f_s is to make of `latent`, (1, up to 16h, up to 16w, 3) in 0..1; of what it does not cover no
            error counts.
        quality: 1..100.
        distortion: that the network was trained for.
        rounds: 1 or more.
        tick: called after each.

    Returns:
        y of the slice (1, H, W, M).
    """
    device = latent.device
    _, height, width, _ = picture.shape
    position = torch.full((1,), network.config.anchor_position(quality), device=device)
    trade_off = WORTH * network.config.trade_off(quality) * height * width
    random = torch.Generator(device).manual_seed(0)  # so that a picture always gives the same file
    rows, columns = inside
    with torch.inference_mode(False), torch.enable_grad():
        around = latent.clone()
        y = around[:, rows, columns].clone().requires_grad_()
        latents = {letter: z.float() for letter, z in hyper.items()}
        optimiser = torch.optim.Adam([y], betas=BETAS)
        rate, most = RATE * min(1, FAR / rounds), NOISE * rounds / (rounds + PATIENCE)
        for done in range(rounds):
            share = done / max(1, rounds - 1)
            hardness, noise = HARDNESS[0] + (HARDNESS[1] - HARDNESS[0]) * share, most * (1 - share)
            for group in optimiser.param_groups:
                group["lr"] = rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share)))
            with transform_precision(device, fast_bfloat16(device)):
                bits, y_hat = _softly_coded(network, y, latents, position, hardness, noise, random)
                whole = around.clone()
                whole[:, rows, columns] = y_hat
                made = network.synthesise(whole, position)[:, :height, :width]
            loss = bits + trade_off * distortion(picture, made).sum()
            (y.grad,) = torch.autograd.grad(loss, [y])
            optimiser.step()
            tick()
        return y.detach()


def _softly_coded(
    network: DCA,
    y: Tensor,
    latents: Mapping[str, Tensor],
    position: Tensor,
    hardness: float,
    noise: float,
    random: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """The bits of y (a scalar), and y_hat, both as if it were rounded."""
    bits: list[Tensor] = []

    def code(step: int, mean: Tensor, level: Tensor) -> Tensor:
        residual = soft_round(take_step(y, step) - mean.float(), hardness)
        shift = torch.rand(residual.shape, generator=random, device=residual.device) - 0.5
        residual = soft_round(residual + noise * shift, hardness)
        skipped = level.round() < SKIP_BELOW
        bits.append(gaussian_bits(residual, level.float()).masked_fill(skipped, 0.0).sum())
        return residual.masked_fill(skipped, 0.0) + mean

    y_hat = network.entropy(latents, (y.shape[1], y.shape[2]), network.scales(position), code)
    return torch.stack(bits).sum(), y_hat
