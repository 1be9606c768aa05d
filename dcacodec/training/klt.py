"""Initialisation of the transforms' linear layers by the Karhunen-Loeve transform instead of random numbers.

First the PCA of 8x8x3 patches, then that of 2x2 groups of their coefficients; the synthesis gets the transpose. Every
residual block is initially the identity, so a new network is a working transform codec: its gain is the high-rate
optimum of the loss, and the entropy model starts from the measured standard deviation of each channel.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from dcacodec.network.config import STEPS
from dcacodec.network.dca import DCA
from dcacodec.network.layers import depth_to_space, space_to_depth
from dcacodec.network.transforms import CELL, split_channels

GAIN = 50.0
"""Gain per sqrt(lambda), at which the quantisation step 1/gain balances the slopes of rate and of distortion,
D = step**2 / 12."""
PATCHES = 200_000
"""The largest number of 8x8 patches that the first transform is computed of."""


def _cells(x: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """(H, W, C) -> (H//side, W//side, side*side*C)."""
    height, width = (length // side * side for length in x.shape[:2])
    return space_to_depth(torch.from_numpy(x[:height, :width])[None], side)[0].numpy()


def _components(samples: NDArray[np.float64], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Principal directions (count, D) and variances, about 0 instead of the mean, as there is no bias to hold it."""
    values, vectors = np.linalg.eigh(samples.T @ samples / len(samples))
    order = np.argsort(values)[::-1][:count]
    return vectors[:, order].T, values[order].clip(min=0.0)  # rounding errors can make a 0 negative


def initialise(model: DCA, pictures: Iterable[NDArray[np.uint8]]) -> None:
    """Set the linear layers, gains and spreads of a new model from pictures (each H, W, 3)."""
    config, random = model.config, np.random.default_rng(0)
    grids = [_cells(picture.astype(np.float64) / 255 - 0.5, CELL) for picture in pictures]
    flat = np.concatenate([grid.reshape(-1, grid.shape[-1]) for grid in grids])
    first, _ = _components(flat[random.permutation(len(flat))[:PATCHES]], config.width)
    pairs = [_cells(grid @ first.T, 2) for grid in grids]
    flat = np.concatenate([grid.reshape(-1, grid.shape[-1]) for grid in pairs])
    second, variances = _components(flat, config.latent)
    # Every quadtree group gets strong and weak channels alike: channel k of the ranking goes to group k mod 4. The last
    # channels of a group, the linear ones, are the weakest.
    spread = np.argsort(np.arange(config.latent) % STEPS, kind="stable")
    second, variances = second[spread], variances[spread]

    def put(target: torch.Tensor, value: NDArray[np.float64] | float) -> None:
        target.copy_(torch.as_tensor(value, dtype=target.dtype, device=target.device))

    with torch.no_grad():
        for layer, matrix in ((model.analysis.patch, first), (model.analysis.down, second)):
            put(layer.weight, matrix)
            put(layer.bias, 0.0)
        nonlinear, linear = split_channels(torch.from_numpy(second.T), config)
        for layer, matrix in ((model.synthesis.patch, first.T), (model.synthesis.up, nonlinear.numpy())):
            put(layer.weight, matrix)
            put(layer.bias, 0.0)
        if config.latent_linear:
            cells = linear.T.unflatten(1, (2, 2, -1)) @ torch.from_numpy(first)
            put(model.synthesis.linear.weight, depth_to_space(cells, CELL).flatten(1).T.numpy())
        for anchor in range(config.anchors):
            gain = GAIN * math.sqrt(config.trade_off_at(anchor))
            model.gain.values[anchor] = math.log(gain)
            put(model.spread.values[anchor], np.log(gain * np.sqrt(variances) + 0.05))
