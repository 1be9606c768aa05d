"""A network at one quality: the transforms, the entropy model, and all parameters that depend on the quality."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dcacodec.coding import VALUE_LIMIT
from dcacodec.format.container import padded
from dcacodec.images.picture import Pixels
from dcacodec.network.config import LATENT_STRIDE
from dcacodec.network.context import Scales, StepCoder, join_steps
from dcacodec.network.dca import DCA
from dcacodec.network.device import to_device, to_host
from dcacodec.network.fixed_point import LATENT_BITS
from dcacodec.network.precision import fast_bfloat16, float32_is_exact, transform_precision
from dcacodec.network.transforms import NO_MARGINS, Margins, analysis_halo
from dcacodec.tiling.boxes import Box
from dcacodec.tiling.grid import Grid
from dcacodec.weights.reader import Weights


@dataclass(frozen=True, eq=False)
class OperatingPoint:
    """Weights on a device, at a quality: all that the coding of a picture needs of them.

    Attributes:
        weights: on `device`.
        device: the device that the network runs on.
        quality: 1..100, in tenths.
        trade_off: lambda in ``bits + lambda * distortion``.
        position: position of the quality between the anchors, (1,) on the device.
        anchor: index of the nearest anchor, whose rows the priors of the hyper latents use.
        scales: of the entropy model, in fixed point.
        bfloat16: whether the residual branches of the transforms compute in bfloat16.
    """

    weights: Weights
    device: torch.device
    quality: float
    trade_off: float
    position: Tensor
    anchor: int
    scales: Scales
    bfloat16: bool

    @classmethod
    def of(cls, weights: Weights, device: torch.device, quality: float) -> OperatingPoint:
        """The operating point of a quality, 1..100 in tenths."""
        config = weights.config
        place = config.anchor_position(quality)
        return cls(
            weights,
            device,
            quality,
            trade_off=config.trade_off(quality),
            position=torch.full((1,), place, dtype=torch.float32, device=device),
            anchor=config.nearest_anchor(quality),
            scales=weights.scales(quality, device),
            bfloat16=fast_bfloat16(device),
        )

    def tensor_of(self, pixels: Pixels, box: Box | None = None) -> Tensor:
        """Pixels (H, W, 3) -> (1, H', W', 3) uint8, padded to multiples of 64 with the last row and column.

        With `box`, which begins inside the picture, only that part of the padded picture.
        """
        height, width, _ = pixels.shape
        picture = Box(0, 0, width, height)
        box = box or Box(0, 0, padded(width), padded(height))
        inside = box.common(picture)
        margins = (0, box.bottom - inside.bottom), (0, box.right - inside.right), (0, 0)
        part = np.pad(pixels[inside.within(picture)], margins, mode="edge")
        return to_device(part, self.device)[None]

    @torch.inference_mode()
    def latent_of(self, picture: Tensor, margins: Margins = NO_MARGINS) -> Tensor:
        """Analyse: (1, H, W, 3) uint8 or in 0..1, sides multiples of 16 -> y (1, H/16, W/16, M) without its margins."""
        with self._transforms() as network:
            return network.latent(picture, self.position, margins)

    def latent_of_box(self, pixels: Pixels, grid: Grid, part: Box) -> Tensor:
        """y of a part of the canvas: that of the whole picture, up to rounding.

        (H, W, 3) -> (1, h/16, w/16, M) float32, where h and w, multiples of 16, are the sides of the part.
        """
        box = part.grown(analysis_halo(self.weights.config)).common(grid.canvas)
        margins = box.reduced(LATENT_STRIDE).margins(part.reduced(LATENT_STRIDE))
        return self.latent_of(self.tensor_of(pixels, box), margins)

    @torch.inference_mode()
    def hyper_of(self, y: Tensor) -> dict[str, Tensor]:
        """The hyper latents of y (1, H/16, W/16, M), rounded, float64. Inactive ones are taken to be 0."""
        config = self.weights.config
        with self._transforms() as network:
            active = network.hyper_latents(y, self.position, without=self.weights.inactive)
        shapes = {letter: (1, *config.hyper_shape(letter, *y.shape[1:3])) for letter in config.order}
        return {
            letter: active[letter].double().round().clamp(-VALUE_LIMIT, VALUE_LIMIT)
            if letter in active
            else y.new_zeros(shape, dtype=torch.float64)
            for letter, shape in shapes.items()
        }

    @torch.inference_mode()
    def pixels_of(self, latent: Tensor, scale: int = 1, margins: Margins = NO_MARGINS) -> Pixels:
        """Synthesise: y_hat (1, H/16, W/16, M) -> (H/scale, W/scale, 3), without the margins of y_hat."""
        with self._transforms() as network:
            picture = network.pixels(latent.float(), self.position, scale, margins)
        (pixels,) = to_host(picture[0])
        return pixels

    @contextmanager
    def _transforms(self) -> Iterator[DCA]:
        """The network in the precision that suits the device, and the context that its transforms need."""
        with transform_precision(self.device, self.bfloat16):
            yield self.weights.in_bfloat16 if self.bfloat16 else self.weights.in_float32

    def run_steps(self, latents: dict[str, Tensor], size: tuple[int, int], code: StepCoder) -> Tensor:
        """Run the entropy model in fixed point. Encoder and decoder share this loop over the steps.

        Args:
            latents: hyper latents by letter, float64.
            size: (H, W) of y.
            code: called once per step, with scale levels as integers.

        Returns:
            y_hat (1, H, W, M) in units of 2**-9, int32.
        """

        def coded(step: int, mean: Tensor, level: Tensor) -> Tensor:
            # On a CPU, PyTorch converts to 16 bits, and these to 8, in half the time.
            return code(step, mean, level.round_().short().to(torch.uint8))

        with torch.autocast(self.device.type, enabled=False):
            if float32_is_exact(self.device):
                steps = self.weights.network.entropy(latents, size, self.scales, coded, self.weights.constants)
            else:  # the same numbers
                steps = self.weights.entropy_in_float64(latents, size, self.scales, coded)
        return join_steps([(step * 2.0**LATENT_BITS).int() for step in steps])

    def prior_rows(self, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """The row of the prior's table for each element of a hyper latent: its channel's row at the nearest anchor."""
        return np.broadcast_to(self.anchor * shape[-1] + np.arange(shape[-1]), shape).reshape(-1)
