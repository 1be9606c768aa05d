"""Limits of the entropy model's activations, from the magnitudes that pictures give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from dcacodec.network.dca import DCA
from dcacodec.network.fixed_point import Snap
from dcacodec.training.data import whole_blocks
from dcacodec.weights.bounds import Limits

LIMIT_QUALITIES: Final = (1, 20, 50, 80, 100)
CROP: Final = 320
MARGIN: Final = 1.5
"""Limits as a multiple of the largest magnitude seen in the channel."""
LEAST_SHARE: Final = 0.125
"""Of the largest limit of a layer: the least limit of its channels."""
HYPER_LIMIT: Final = 48.0
"""The least magnitude assumed of hyper latents. Photographs leave most of them at 0, unlike other pictures."""


@torch.inference_mode()
def measured_limits(model: DCA, pictures: Sequence[NDArray[np.uint8]], quiet: bool = False) -> Limits:
    """Limits for the exact entropy model of a network, with which photographs like these lose nothing by clamping.

    Args:
        model: the network, in floating point.
        pictures: each (H, W, 3); they are cropped to multiples of 64 pixels, at most `CROP`, and smaller ones are
            ignored.
        quiet: no progress bar.
    """
    largest: dict[str, Tensor] = {}

    def watch(name: str, channels: int) -> Callable[[nn.Module, tuple[Tensor], Tensor], None]:
        def record(_snap: nn.Module, _inputs: tuple[Tensor], output: Tensor) -> None:
            values = output.reshape(-1, output.shape[-1]).abs().amax(0)
            values = values if channels > 1 else values.max()[None]
            largest[name] = torch.maximum(values, largest.get(name, torch.zeros(())))

        return record

    hooks = [
        module.register_forward_hook(watch(name, module.channels))
        for name, module in model.entropy.named_modules()
        if isinstance(module, Snap)
    ]
    try:
        for pixels in tqdm(pictures, desc="measuring activations", unit="picture", disable=quiet or None):
            blocks = whole_blocks(pixels[:CROP, :CROP])
            for quality in LIMIT_QUALITIES if blocks.size else ():
                picture = torch.from_numpy(blocks)[None].float() / 255
                model(picture, torch.tensor([model.config.anchor_position(quality)]))
    finally:
        for hook in hooks:
            hook.remove()
    least = {name: HYPER_LIMIT if name.startswith("hyper_snap.") else 0.0 for name in largest}
    return {
        name: MARGIN * torch.maximum(value, LEAST_SHARE * value.max()).clamp(min=least[name])
        for name, value in largest.items()
    }
