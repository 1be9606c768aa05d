"""The entropy models that are compared, and their training and measurement on given latents."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from dcacodec.errors import TrainingError
from dcacodec.network.config import LATENT_STRIDE, DCAConfig
from dcacodec.network.dca import DCA, Estimate
from dcacodec.network.precision import fast_bfloat16, transform_precision
from dcacodec.training.data import to_input
from dcacodec.training.loss import bits_per_pixel, picture_values, rate_distortion_loss
from dcacodec.training.options import TrainingOptions
from research.study.latents import Latents

FROZEN = ("analysis", "gain", "spread", "synthesis")
TRAINED = ("hyper_analysis", "priors", "entropy")
CURVE_POINTS = 20
"""Number of points of the training curve in a record."""


@dataclass(frozen=True)
class Variant:
    """One entropy model of the study.

    Attributes:
        order: its hyper latents, in the order in which their features enter.
        adaptive: whether the features enter again at every step, see `DCAConfig`.
        seed: of its weights, crops and noise.
    """

    order: str
    adaptive: bool = True
    seed: int = 0

    @property
    def label(self) -> str:
        """The name in tables: "RGL" or "RGL merged", without the seed."""
        return self.order if self.adaptive else f"{self.order} merged"

    @property
    def name(self) -> str:
        """The name in file names: "RGL-0", "RGL-merged-0"."""
        return f"{self.label.replace(' ', '-')}-{self.seed}"


BASELINE = "R"
"""The paper's baseline: the regional hyper latent alone."""
PROPOSED = "RGL"
"""The paper's proposal: all three, in this order."""
VARIANTS = (
    Variant(BASELINE),
    Variant(PROPOSED),
    Variant(BASELINE, seed=1),
    Variant(PROPOSED, seed=1),
    Variant("RL"),
    Variant("RG"),
    Variant("GL"),
    Variant(PROPOSED, adaptive=False),
    Variant("LGR"),
    Variant("RLG"),
    Variant("GRL"),
    Variant("GLR"),
    Variant("LRG"),
)
"""In the order of training, the most important first. Pairs of hyper latents are in the paper's order."""


def fresh_model(frozen: DCA, variant: Variant) -> DCA:
    """A network with the frozen transforms and an untrained entropy model."""
    torch.manual_seed(variant.seed)
    config: DCAConfig = replace(frozen.config, order=variant.order, adaptive=variant.adaptive)
    model = DCA(config)
    for part in FROZEN:
        getattr(model, part).load_state_dict(getattr(frozen, part).state_dict())
        getattr(model, part).requires_grad_(False)
    return model


def used_options(options: TrainingOptions) -> dict[str, Any]:
    """The options that `train_variant` uses, as recorded. (The learning rate decays over the whole schedule.)"""
    names = ("steps", "batch", "crop", "warm_up", "ema", "clip", "precision", "seed")
    return {"rate": options.learning_rate, **{name: getattr(options, name) for name in names}}


def train_variant(
    frozen: DCA, variant: Variant, latents: Latents, options: TrainingOptions, device: torch.device, quiet: bool = False
) -> tuple[DCA, dict[str, Any]]:
    """Train the entropy model, the hyper analyses and the priors of a variant from scratch.

    The loss is the rate, weighted over qualities as in training. Two variants of one seed see the same crops.

    Args:
        options: steps, batch, rate, warm_up, ema, clip, precision as in `train`; crop: side in pixels of what is cut
            from the cached crops, at any place on the grid of 2x2 latent cells.

    Returns:
        The moving average of the weights, in evaluation mode; and "steps", "pixels", "seconds" of wall time,
        "cpu_seconds", and "curve": [step, mean loss since the point before] pairs.

    Raises:
        TrainingError: the gradient is not finite.
    """
    model = fresh_model(frozen, variant).to(device)
    average = copy.deepcopy(model).eval().requires_grad_(False)
    bfloat16 = options.precision == "bfloat16" or (options.precision == "auto" and fast_bfloat16(device))
    learnt = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    parameters = [model.get_parameter(name) for name in learnt]
    averages: list[Tensor] = [average.get_parameter(name) for name in learnt]
    optimiser = torch.optim.AdamW(parameters, lr=options.learning_rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    random = np.random.default_rng(variant.seed)
    side, whole = options.crop // LATENT_STRIDE, latents.train.shape[1]
    pixels = options.crop**2
    curve: list[list[float]] = []
    recent: list[Tensor] = []
    began, cpu = time.perf_counter(), time.process_time()
    for step in tqdm(range(options.steps), variant.name, unit="step", disable=quiet or None):
        chosen = torch.from_numpy(random.integers(0, len(latents.train), options.batch))
        top, left = (2 * int(each) for each in random.integers(0, (whole - side) // 2 + 1, 2))
        y = latents.train[chosen, top : top + side, left : left + side].to(device).float()
        position = latents.position[chosen].to(device)
        model.train()
        with transform_precision(device, bfloat16):
            rate = model.estimate_rate(y, model.hyper_latents(y, position), position)
        bpp = bits_per_pixel(rate.bits, pixels, full_token_cost=False)
        loss = rate_distortion_loss(bpp, torch.zeros_like(bpp), model.config.trade_off_at(position))
        for group in optimiser.param_groups:
            group["lr"] = options.learning_rate_at(step, 0.0)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, options.clip)
        if not torch.isfinite(norm):
            raise TrainingError(f"{variant.name}: the loss or its gradient is not finite at step {step}")
        optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(averages, [each.detach() for each in parameters], 1 - options.decay(step))
        recent.append(loss.detach())
        if len(recent) >= options.steps / CURVE_POINTS or step == options.steps - 1:
            curve.append([step + 1, round(torch.stack(recent).mean().item(), 5)])
            recent.clear()
    return average, {
        "steps": options.steps,
        "pixels": options.steps * options.batch * pixels,
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "curve": curve,
    }


@torch.inference_mode()
def measure(
    model: DCA, latents: Latents, pictures: Sequence[NDArray[np.uint8]], device: torch.device, quiet: bool = False
) -> list[dict[str, float]]:
    """Estimates on the validation pictures, whole: a row for each quality, means over the pictures.

    Returns:
        Rows of "quality" and what `picture_values` returns. The PSNR is that of the frozen synthesis.
    """
    model = model.to(device).eval()
    rows: list[dict[str, float]] = []
    for quality, cached in tqdm(latents.valid.items(), "measuring", leave=False, disable=quiet or None):
        position = torch.tensor([model.config.anchor_position(quality)], device=device)
        values = []
        for picture, latent in zip(pictures, cached, strict=True):
            y = latent.to(device)[None].float()
            rate = model.estimate_rate(y, model.hyper_latents(y, position), position)
            with transform_precision(device, fast_bfloat16(device)):
                decoded = model.synthesise(rate.y_hat, position).float()
            values.append(picture_values(Estimate(decoded, rate.bits, rate.surprise), to_input(picture, device)))
        means = {name: math.fsum(each[name] for each in values) / len(values) for name in values[0]}
        rows.append({"quality": quality, **means})
    return rows


def sizes(model: DCA) -> dict[str, int]:
    """Parameters: of what the decoder runs ("entropy"), of the encoder's part ("hyper_analysis"), and of the priors."""
    return {part: sum(each.numel() for each in getattr(model, part).parameters()) for part in TRAINED}


def describe(variant: Variant) -> dict[str, Any]:
    """Plain values, for JSON."""
    return {"label": variant.label, **asdict(variant)}
