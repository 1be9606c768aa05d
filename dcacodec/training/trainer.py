"""One training run: model, optimiser, moving average, checkpoints and the log."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dcacodec.errors import TrainingError, WeightsError
from dcacodec.files.atomic import append_line
from dcacodec.metrics.distortion import Distortion
from dcacodec.network.config import DCAConfig
from dcacodec.network.dca import DCA
from dcacodec.network.precision import fast_bfloat16, transform_precision
from dcacodec.training.anchors import load_parameters
from dcacodec.training.checkpoint import RunFacts, opened_checkpoint, write_checkpoint
from dcacodec.training.data import to_input
from dcacodec.training.klt import initialise
from dcacodec.training.log import LOG_NAME
from dcacodec.training.loss import loss_terms, picture_values, rate_distortion_loss
from dcacodec.training.options import TrainingOptions
from dcacodec.training.workers import Workers
from dcacodec.weights.reader import read_weights


class Trainer:
    """The state of a training run: model, optimiser, moving average, and the folder where they are saved."""

    def __init__(
        self,
        options: TrainingOptions,
        folder: Path,
        config: DCAConfig,
        device: torch.device,
        workers: Workers | None = None,
    ) -> None:
        self.options, self.folder, self.config, self.device = options, folder, config, device
        self.workers = workers or Workers()
        self.random = np.random.default_rng((options.seed, 0, self.workers.rank))
        torch.manual_seed(options.seed)
        with torch.device("cpu"):  # the random numbers are those of the CPU
            self.model, self.average = DCA(config), DCA(config).eval()
        for network in (self.model, self.average):
            network.to(device, torch.float32)
        modules = (self.model.analysis, self.model.synthesis, self.model.gain)
        transforms = [parameter for module in modules for parameter in module.parameters()]
        known = {id(parameter) for parameter in transforms}
        others = [parameter for parameter in self.model.parameters() if id(parameter) not in known]
        self._shares = (options.transform_share, 1.0)
        groups = [
            {"params": parameters, "share": share}
            for parameters, share in zip((transforms, others), self._shares, strict=True)
        ]
        self.optimiser = torch.optim.AdamW(
            groups, lr=options.learning_rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True
        )
        self.step, self.seconds, self.pixels = 0, 0.0, 0
        precision = options.precision
        if precision == "auto":
            precision = "bfloat16" if fast_bfloat16(device) else "float32"
        self.autocast = precision == "bfloat16"

    # Checkpoints

    @property
    def checkpoint(self) -> Path:
        """The path of the run's checkpoint."""
        return self.folder / "checkpoint.pt"

    def start(self, pictures: Sequence[NDArray[np.uint8]]) -> None:
        """Begin from the Karhunen-Loeve transform of the pictures."""
        initialise(self.model, pictures)
        self.average.load_state_dict(self.model.state_dict())

    def synchronise(self) -> None:
        """Copy the weights of the first process to the others: initialisation may differ between machines."""
        self.workers.take_first([*self.model.parameters(), *self.average.parameters()])

    def save(self) -> Path | None:
        """Replace the checkpoint by the current state, in the first process only.

        Returns:
            The checkpoint file or the index of its parts; None in other processes.

        Raises:
            OSError: it cannot be written; the old checkpoint is unchanged.
            TrainingError: the weights are not finite, which all processes detect. The old checkpoint is unchanged.
        """
        if not all(tensor.isfinite().all() for tensor in self.average.state_dict().values()):
            raise TrainingError(f"the weights are not finite at step {self.step} and are not saved")
        if self.workers.rank:
            return None
        state = {
            "config": self.config.to_dict(),
            "options": asdict(self.options),
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "pixels": self.pixels,
            "torch_random": torch.get_rng_state(),
            "numpy_random": self.random.bit_generator.state,
        }
        return write_checkpoint(self.checkpoint, state, self.options.part_size)

    def load(self, path: Path, same_lambdas: bool = True) -> Distortion:
        """Resume from a checkpoint; with another range of lambda only unless `same_lambdas`, see `load_parameters`.

        On a CPU, a resumed run by steps gives the same weights as an uninterrupted one. (With several processes this
        holds for the random numbers of the first only; the others, and runs resumed from old checkpoints without
        "numpy_random", draw new ones.)

        Returns:
            The distortion that it was trained with.

        Raises:
            WeightsError: the file is not a checkpoint, or one of another network.
            OSError: it cannot be read.
        """
        with opened_checkpoint(path) as state:
            distortion = RunFacts.of(state).provenance.distortion
            try:
                trained = DCAConfig(**state["config"])
                if same_lambdas and trained != self.config:
                    name = repr(self.config.name)
                    raise WeightsError(f"a checkpoint of another network, or other lambdas, than the preset {name}")
                for network, key in ((self.model, "model"), (self.average, "average")):
                    load_parameters(network, state[key], trained)
            except WeightsError as error:
                raise WeightsError(f"{path}: {error}") from None
            self.optimiser.load_state_dict(state["optimiser"])
            for group, share in zip(self.optimiser.param_groups, self._shares, strict=True):
                group["share"] = share  # from the current options, not those of the checkpoint
            self.step, self.seconds, self.pixels = state["step"], state["seconds"], state["pixels"]
            # Seeded by the step, so that the run does not see the same crops again.
            self.random = np.random.default_rng((self.options.seed, self.step, self.workers.rank))
            if self.workers.rank == 0:
                torch.set_rng_state(state["torch_random"])
                if "numpy_random" in state:
                    self.random.bit_generator.state = state["numpy_random"]
        return distortion

    def start_from(self, path: Path) -> None:
        """Start a new schedule from the weights of another run.

        Args:
            path: its checkpoint, or published weights (``.safetensors``). The latter have no optimiser state, and are
                quantised: see :mod:`dcacodec.weights.reader`.

        Raises:
            WeightsError: the file is neither, or one of another network.
            OSError: it cannot be read.
        """
        if path.suffix.lower() == ".safetensors":
            weights = read_weights(path)
            try:
                load_parameters(self.model, weights.floating_point().state_dict(), weights.config)
            except WeightsError as error:
                raise WeightsError(f"{path}: {error}") from None
            self.average.load_state_dict(self.model.state_dict())
            self.pixels = weights.provenance.pixels
        else:
            self.load(path, same_lambdas=False)
        self.step, self.seconds = 0, 0.0
        # Other crops than those that the previous run began with.
        self.random = np.random.default_rng((self.options.seed, self.pixels, self.workers.rank))

    def log(self, kind: str, **record: object) -> None:
        """Add a line to the log, in the first process only; see :mod:`dcacodec.training.loop` for its format."""
        if self.workers.rank:
            return
        minutes = round(self.seconds / 60, 2)
        head = {"kind": kind, "step": self.step, "minutes": minutes, "pixels": self.pixels}
        append_line(self.folder / LOG_NAME, json.dumps(head | record))

    # Steps

    def train_step(self, picture: Tensor, position: Tensor, learning_rate: float) -> dict[str, float]:
        """One optimiser step on a batch.

        Args:
            picture: (B, H, W, 3) in 0..1, H and W multiples of 64.
            position: (B,) anchor positions.
            learning_rate: that of the entropy model.

        Returns:
            "loss", "bpp" and "norm" (of the gradient), for the log.

        Raises:
            TrainingError: the gradient is not finite. The weights are unchanged.
        """
        options = self.options
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate * group["share"]
        self.model.train()
        with transform_precision(self.device, self.autocast):
            estimate = self.model(picture, position)
        bpp, distortion = loss_terms(estimate, picture, options.distortion, full_token_cost=False)
        loss = rate_distortion_loss(bpp, distortion, self.config.trade_off_at(position))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.workers.mean([p.grad for p in self.model.parameters() if p.grad is not None])
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), options.clip)
        if not torch.isfinite(norm):
            raise TrainingError(f"the loss or its gradient is not finite at step {self.step}")
        self.optimiser.step()
        decay = options.decay(self.step)
        with torch.no_grad():
            averages: list[Tensor] = list(self.average.parameters())
            torch._foreach_lerp_(averages, [p.detach() for p in self.model.parameters()], 1 - decay)
        self.step += 1
        self.pixels += picture.shape[0] * picture.shape[1] * picture.shape[2] * self.workers.count
        return {"loss": loss.item(), "bpp": bpp.mean().item(), "norm": norm.item()}

    @torch.no_grad()
    def validate(self, pictures: Sequence[NDArray[np.uint8]], quality: int) -> dict[str, Any]:
        """Evaluate the moving average at a quality.

        Args:
            pictures: each (H, W, 3) of at least 64x64 pixels; sides are cropped to multiples of 64.
            quality: 1..100.

        Returns:
            "quality", and the means over the pictures of "loss" and of the values of `picture_values`.
        """
        position = torch.tensor([self.config.anchor_position(quality)], dtype=torch.float32, device=self.device)
        found: list[dict[str, float]] = []
        for picture in pictures:
            x = to_input(picture, self.device)
            estimate = self.average(x, position)
            values = picture_values(estimate, x)
            bpp, distortion = loss_terms(estimate, x, self.options.distortion, full_token_cost=True)
            values["loss"] = rate_distortion_loss(bpp, distortion, self.config.trade_off_at(position)).item()
            found.append(values)
        common = [name for name in found[0] if all(name in values for values in found)]
        means = {name: float(np.mean([values[name] for values in found])) for name in common}
        return {"quality": quality, **{name: round(value, 5) for name, value in means.items()}}
