"""Give the network of a checkpoint the linear channels of y that its preset has since been given.

    python scripts/widen.py OLD.pt NEW.pt photos/

They stand behind the old channels in their quadtree groups. They start as what serves best of all that is linear
(reduced-rank regression): E and D for which D E F comes closest to T, where F is what f_a holds before its last linear
layer, and T is 16x16 pixels of what the picture lacks after decoding at the highest quality. Their scales start as the
best linear guess from what c holds before its last layer. Everything else about them is zero, so what the old channels
do is what they did. Optimiser state and moving average are taken over; `dcacodec train --resume NEW.pt` goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dcacodec.network.config import LATENT_STRIDE, PRESETS, STEPS, DCAConfig
from dcacodec.network.context import STEP_XOR, to_phases
from dcacodec.network.dca import DCA
from dcacodec.network.layers import space_to_depth
from dcacodec.training.checkpoint import opened_checkpoint, write_checkpoint
from dcacodec.training.data import CropSampler, load_pictures
from dcacodec.training.klt import GAIN
from dcacodec.training.options import TrainingOptions
from dcacodec.training.trainer import Trainer

CROP: Final = 256
RIDGE: Final = 1e-4
"""Added to second moments before they are divided by, as a share of their mean."""
COARSER: Final = 0.8
"""Of the gain that theory gives an orthonormal transform: f_s has learned to make do with less."""
SMALLEST: Final = 0.05
"""In quantisation steps: smaller values count as this when scales are guessed."""
LOG_OF_NORMAL: Final = -0.635
"""The mean of ln |x| over a standard normal distribution."""

AXES: Final = {
    "analysis.down.": 0, "gain.": 1, "spread.": 1, "reduce.weight": 1, "starts.": 1, "entropy.head.": 0,
}  # fmt: skip
"""Which axis of a parameter, known by a part of its name, runs over y's channels (twice over, in the head)."""


def widened(name: str, value: Tensor, old: DCAConfig, new: DCAConfig) -> Tensor:
    """A parameter, or what an optimiser keeps of it, with zeros for the new channels."""
    axis = next((axis for part, axis in AXES.items() if part in name), None)
    if axis is None or axis >= value.dim():  # the bias of a start is as long as before
        return value
    groups = value.movedim(axis, 0).unflatten(0, (-1, STEPS, old.latent // STEPS))
    room = groups.new_zeros(*groups.shape[:2], new.latent // STEPS, *groups.shape[3:])
    room[:, :, : groups.shape[2]] = groups
    wide: Tensor = room.flatten(0, 2).movedim(0, axis).contiguous()
    return wide


class Regression:
    """Least squares of targets on features, from as many batches as there are."""

    def __init__(self) -> None:
        self.squares: Tensor = torch.zeros(())
        self.products: Tensor = torch.zeros(())

    def add(self, feature: Tensor, target: Tensor) -> None:
        """Rows of both, any leading dimensions."""
        feature, target = feature.flatten(0, -2).double(), target.flatten(0, -2).double()
        self.squares = self.squares + feature.T @ feature
        self.products = self.products + feature.T @ target

    def solution(self) -> Tensor:
        """W for which feature @ W is closest to the target."""
        self.squares = self.squares + RIDGE * self.squares.diagonal().mean() * torch.eye(len(self.squares))
        solution: Tensor = torch.linalg.solve(self.squares, self.products)
        return solution


Draw = Callable[[], tuple[Tensor, Tensor]]
"""A picture (1, H, W, 3) in 0..1 and a position (1,)."""


@torch.no_grad()
def transforms_of_new(model: DCA, count: int, draw: Draw, batches: int) -> tuple[Tensor, Tensor, Tensor]:
    """E (count, 4N), D (768, count), and the standard deviation of each new channel before its gain (count,)."""
    held: list[Tensor] = []
    hook = model.analysis.down.register_forward_pre_hook(lambda module, arguments: held.append(arguments[0]))
    regression, energy = Regression(), 0.0
    for _ in tqdm(range(batches), desc="new channels"):
        picture, position = draw()
        missing = picture - model(picture, torch.full((1,), model.config.anchors - 1.0)).picture
        model.latent(picture, position)
        regression.add(held.pop(), space_to_depth(missing, LATENT_STRIDE))
        energy += float(missing.square().sum())
        held.clear()
    hook.remove()
    best = regression.solution()
    values, directions = torch.linalg.eigh(best.T @ regression.squares @ best)
    out = directions.flip(1)[:, :count]
    click.echo(f"of what is missing, {values.flip(0)[:count].sum() / energy:.1%} is explained by {count} channels")
    into = best @ out
    variance = (into.T @ regression.squares @ into).diagonal() * LATENT_STRIDE**2 / (batches * CROP**2)
    return into.T.float(), out.float(), variance.sqrt().float()


def put_transforms(model: DCA, start: tuple[Tensor, Tensor, Tensor]) -> None:
    """Write E and D into the wide network, with gains and spreads; the strongest take turns between the groups."""
    config = model.config
    into, out, deviation = start
    ranked = torch.arange(config.latent_linear).unflatten(0, (-1, STEPS)).T.flatten()
    at = torch.arange(config.latent).unflatten(0, (STEPS, -1))[:, config.latent_curved // STEPS :].flatten()
    with torch.no_grad():
        model.analysis.down.weight[at] = into[ranked]
        model.synthesis.linear.weight.copy_(out[:, ranked])
        for anchor in range(config.anchors):
            gain = COARSER * GAIN * math.sqrt(config.trade_off(1 + 99 * anchor / (config.anchors - 1)))
            model.gain.values[anchor, at] = math.log(gain)
            model.spread.values[anchor, at] = (gain * deviation[ranked] + SMALLEST).log()


@torch.no_grad()
def put_scales(model: DCA, draw: Draw, batches: int) -> None:
    """Set the head's rows for the scales of the new channels."""
    config = model.config
    states: list[Tensor] = []
    last = model.entropy.stages[config.order[-1]]
    hook = last.register_forward_hook(lambda module, arguments, output: states.append(output))
    groups = [Regression() for _ in range(STEPS)]
    for _ in tqdm(range(batches), desc="their scales"):
        picture, position = draw()
        y, hyper = model.analyse(picture, position)
        model.estimate_rate(y, hyper, position)
        size = y.abs().clamp(min=SMALLEST).log() - LOG_OF_NORMAL - model.spread(position)
        target = to_phases(size.unflatten(-1, (STEPS, -1))[..., config.latent_curved // STEPS :].flatten(-2))
        for step, state in enumerate(states):
            feature = to_phases(torch.cat([state, torch.ones_like(state[..., :1])], -1))
            for place in range(STEPS):
                group = place ^ STEP_XOR[step]
                groups[group].add(feature[place], target[place].unflatten(-1, (STEPS, -1))[..., group, :])
        states.clear()
    hook.remove()
    weight, bias = (part.unflatten(0, (2, STEPS, -1)) for part in (model.entropy.head.weight, model.entropy.head.bias))
    for group, regression in enumerate(groups):
        solution = regression.solution().float()
        weight[1, group, config.latent_curved // STEPS :] = solution[:-1].T
        bias[1, group, config.latent_curved // STEPS :] = solution[-1]


def optimiser_state(state: Mapping[str, Any], old: DCAConfig, new: DCAConfig) -> dict[str, Any]:
    """The optimiser's state for the wider network; of new parameters there is none yet."""

    def numbered(config: DCAConfig) -> tuple[list[str], dict[str, Any]]:
        trainer = Trainer(TrainingOptions(steps=1), Path(), config, torch.device("cpu"))
        names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
        groups = trainer.optimiser.param_groups
        return [names[id(each)] for group in groups for each in group["params"]], trainer.optimiser.state_dict()

    before, (after, fresh) = numbered(old)[0], numbered(new)
    kept = {}
    for number, each in state["state"].items():
        name = before[number]
        kept[after.index(name)] = {key: widened(name, value, old, new) for key, value in each.items()}
    return {"state": kept, "param_groups": fresh["param_groups"]}


def widened_state(state: Mapping[str, Any], new: DCAConfig, sampler: CropSampler, batches: int) -> dict[str, Any]:
    """A checkpoint's state for the wider network."""
    old = DCAConfig(**state["config"])

    def draw() -> tuple[Tensor, Tensor]:
        return sampler.batch(1, CROP), torch.full((1,), (old.anchors - 1) * sampler.random.random())

    def wide(weights: Mapping[str, Tensor]) -> DCA:
        model = DCA(new).eval()
        grown = {name: widened(name, value, old, new) for name, value in weights.items()}
        missing, unexpected = model.load_state_dict(grown, strict=False)
        assert missing == ["synthesis.linear.weight"] and not unexpected
        return model

    narrow = DCA(old).eval()
    narrow.load_state_dict(state["average"])
    average, model = wide(state["average"]), wide(state["model"])
    start = transforms_of_new(narrow, new.latent_linear, draw, batches)
    for each in (average, model):
        put_transforms(each, start)
        put_scales(each, draw, batches)
    parts = {"model": model.state_dict(), "average": average.state_dict()}
    return dict(state) | parts | {"config": asdict(new), "optimiser": optimiser_state(state["optimiser"], old, new)}


@click.command()
@click.argument("old", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("new", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True))
@click.option("--batches", default=200, help=f"Crops of {CROP}x{CROP} pixels to start from.", show_default=True)
def main(old: Path, new: Path, sources: tuple[str, ...], batches: int) -> None:
    """Widen the latent of the checkpoint OLD to what its preset has now; SOURCES are pictures to start from."""
    with opened_checkpoint(old) as state:
        config = PRESETS[state["config"]["name"]]
        sampler = CropSampler(load_pictures(sources), (CROP,), torch.device("cpu"), np.random.default_rng(0))
        write_checkpoint(new, widened_state(state, config, sampler, batches), 0)


if __name__ == "__main__":
    main()
