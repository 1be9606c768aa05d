"""The Karhunen-Loeve start: what it keeps of pictures, at which rate, and the order of its channels."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny import TINY, photo
from torch import Tensor

from dcacodec.network.dca import DCA
from dcacodec.training.klt import GAIN, initialise


def cells(x: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """(h * side, w * side, c) -> (h, w, side * side * c)."""
    height, width = x.shape[0] // side, x.shape[1] // side
    parts = [x[row::side, column::side] for row in range(side) for column in range(side)]
    return np.concatenate(parts, -1).reshape(height, width, -1)


def second_moment(samples: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    flat = np.concatenate([grid.reshape(-1, grid.shape[-1]) for grid in samples])
    moment: NDArray[np.float64] = flat.T @ flat / len(flat)
    return moment


@pytest.fixture(scope="module")
def fresh() -> tuple[DCA, list[NDArray[np.uint8]]]:
    pictures = [photo(96, 128, seed) for seed in range(4)]
    model = DCA(replace(TINY, width=40, latent=64, latent_linear=24))
    initialise(model, pictures)
    return model.eval(), pictures


def reconstruct(model: DCA, picture: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """The picture, and what comes back from its unquantised latent."""
    position = torch.tensor([1.3])
    x = torch.from_numpy(picture).float()[None] / 255
    with torch.no_grad():
        y = model.analysis(x, position) * model.gain(position).exp()
        return x, model.synthesise(y, position)


def test_karhunen_loeve_start_loses_what_it_leaves_out(fresh: tuple[DCA, list[NDArray[np.uint8]]]) -> None:
    """Without quantisation, the error is the variance of the components that were dropped, by their eigenvalues."""
    model, pictures = fresh
    n, m = model.config.width, model.config.latent
    grids = [cells(picture / 255 - 0.5, 8) for picture in pictures]
    values, vectors = np.linalg.eigh(second_moment(grids))
    kept = vectors[:, ::-1][:, :n]
    pairs = np.linalg.eigvalsh(second_moment([cells(grid @ kept, 2) for grid in grids]))
    lost = 4 * values[::-1][n:].sum() + pairs[::-1][m:].sum()  # of the 768 samples of 16x16 pixels
    errors = [(a - b).square().mean().item() for a, b in (reconstruct(model, picture) for picture in pictures)]
    assert np.mean(errors) == pytest.approx(lost / 768, rel=1e-4)
    assert 25 < -10 * math.log10(lost / 768) < 45


def test_karhunen_loeve_start_is_a_projection(fresh: tuple[DCA, list[NDArray[np.uint8]]]) -> None:
    """On pictures it has not seen, too: orthonormal, so projecting twice is projecting once."""
    model, _ = fresh
    for layer in (model.analysis.patch, model.analysis.down):
        torch.testing.assert_close(layer.weight @ layer.weight.T, torch.eye(len(layer.weight)), atol=1e-5, rtol=0)
    first = model.analysis.patch.weight.detach().numpy().astype(np.float64)
    second = model.analysis.down.weight.detach().numpy().astype(np.float64)
    unseen = photo(64, 64, seed=99)
    _, once = reconstruct(model, unseen)
    grid = cells(unseen / 255 - 0.5, 8) @ first.T
    projected = cells(grid, 2) @ second.T @ second  # (h, w, 4 * n)
    halves = np.zeros_like(grid)
    for index, (row, column) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        halves[row::2, column::2] = projected[..., index * first.shape[0] : (index + 1) * first.shape[0]]
    expected = cells(once[0].numpy() - 0.5, 8)
    np.testing.assert_allclose(halves @ first, expected, atol=1e-5)


def test_karhunen_loeve_start_codes_at_the_rate_of_the_loss(fresh: tuple[DCA, list[NDArray[np.uint8]]]) -> None:
    """The gain of each anchor is 50 sqrt(lambda); the spreads are the channels' sizes in quantisation steps."""
    model, pictures = fresh
    config = model.config
    for anchor in range(config.anchors):
        position = torch.tensor([float(anchor)])
        trade_off = config.trade_off(1 + 99 * anchor / (config.anchors - 1))
        gains = model.gain(position)[0, 0, 0].exp().tolist()
        assert gains == pytest.approx([GAIN * math.sqrt(trade_off)] * config.latent, rel=1e-5)
        batch = torch.stack([torch.from_numpy(picture).float() / 255 for picture in pictures])
        with torch.no_grad():
            y = model.analysis(batch, position) * model.gain(position).exp()
        size = y.square().mean((0, 1, 2)).sqrt() + 0.05
        torch.testing.assert_close(model.spread(position)[0, 0, 0].exp(), size, rtol=2e-3, atol=0)


def test_channels_are_spread_over_the_groups(fresh: tuple[DCA, list[NDArray[np.uint8]]]) -> None:
    """Each quadtree group gets its share of strong channels: the ranking goes round the groups."""
    model, _ = fresh
    ranking = model.spread.values[0].argsort(descending=True)
    assert [int(channel) // (model.config.latent // 4) for channel in ranking] == [0, 1, 2, 3] * 16
