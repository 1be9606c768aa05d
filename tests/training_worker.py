"""What each of several training processes does in `test_training_processes.py`, which starts this with `torchrun`.

Two things, each leaving the state of every process in FOLDER for the test to compare: optimiser steps on its part of a
given batch, and a run of `train` that a signal to the last process ends.
"""

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from tiny import TINY, photo
from torch import Tensor

from dcacodec.network.config import PRESETS
from dcacodec.network.dca import DCA, round_through
from dcacodec.network.priors import gaussian_bits
from dcacodec.training import loop
from dcacodec.training.options import TrainingOptions
from dcacodec.training.signals import Interrupted
from dcacodec.training.trainer import Trainer
from dcacodec.training.workers import Workers

STEPS = 3
BATCH = 4
OPTIONS = TrainingOptions(preset="tiny", steps=1000, batch=1, crop=64, warm_up=1, clip=1e9, precision="float32")
GROWING = replace(OPTIONS, batch=4, final_crop=128, final_share=0.9985)  # from step 2 on, of the 1000
CPU = torch.device("cpu")


def still(model: DCA, value: Tensor) -> Tensor:
    """In place of `DCA._for_rate`: no noise, so that a step depends on nothing but its batch."""
    return value + 0.3


def still_bits(residual: Tensor, level: Tensor) -> Tensor:
    """In place of `noisy_gaussian_bits`, likewise."""
    return gaussian_bits(residual + 0.3, level)


def rounded(model: DCA, z: Tensor, noisy: Tensor) -> Tensor:
    """In place of `DCA._as_read`, likewise."""
    return round_through(z)


def whole_batch(step: int) -> tuple[Tensor, Tensor]:
    """Pictures and positions of all processes together."""
    pictures = torch.stack([torch.from_numpy(photo(64, 64, BATCH * step + n)) for n in range(BATCH)])
    return pictures.float() / 255, torch.linspace(0, TINY.anchors - 1, BATCH)


def steps(workers: Workers, folder: Path, part: slice) -> Trainer:
    """`STEPS` steps on a part of the whole batch."""
    trainer = Trainer(OPTIONS, folder, TINY, CPU, workers)
    trainer.start([photo(96, 128, n + workers.rank) for n in range(6)])  # as on machines that do not round alike
    trainer.synchronise()
    for step in range(STEPS):
        picture, position = (whole[part] for whole in whole_batch(step))
        trainer.train_step(picture, position, OPTIONS.learning_rate)
    return trainer


def tensors(trainer: Trainer) -> dict[str, Tensor]:
    """Weights, their average and the last step's gradients."""
    parts = {"model": trainer.model, "average": trainer.average}
    found = {f"{part}.{name}": value for part, model in parts.items() for name, value in model.state_dict().items()}
    grads = {f"grad.{name}": p.grad for name, p in trainer.model.named_parameters() if p.grad is not None}
    return found | grads


def main(folder: Path) -> None:
    seen: dict[str, Any] = {}

    class Watched(Trainer):
        def start(self, pictures: Sequence[NDArray[np.uint8]]) -> None:
            super().start([*pictures[self.workers.rank :]])  # again not the same

        def train_step(self, picture: Tensor, position: Tensor, learning_rate: float) -> dict[str, float]:
            seen.setdefault("trainer", self)
            seen.setdefault("picture", picture)
            seen.setdefault("noise", torch.get_rng_state())
            seen.setdefault("shapes", []).append(tuple(picture.shape))
            if self.step == STEPS and self.workers.rank == self.workers.count - 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().train_step(picture, position, learning_rate)

    with Workers.joined(CPU) as workers:
        mine = slice(workers.rank, None, workers.count)
        with (
            patch.object(DCA, "_for_rate", still),
            patch.object(DCA, "_as_read", rounded),
            patch("dcacodec.network.dca.noisy_gaussian_bits", still_bits),
        ):
            torch.save(tensors(steps(workers, folder, mine)), folder / f"steps-{workers.rank}.pt")
        with (
            patch.object(Workers, "joined", lambda device: nullcontext(workers)),  # a process can join only once
            patch.object(loop, "Trainer", Watched),
            patch.dict(PRESETS, {"tiny": TINY}),
        ):
            try:
                loop.train([str(folder / "pictures")], folder / "run", GROWING, quiet=True)
            except Interrupted as interrupted:
                (folder / f"told-{workers.rank}").write_text(str(interrupted), "utf-8")
                state = tensors(seen.pop("trainer")) | {"number": torch.tensor(interrupted.number)}
                torch.save(seen | state, folder / f"run-{workers.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
