"""The training loop: AdamW, warm-up and cosine, EMA, validation, checkpoints, a JSON-lines log.

The log has one JSON object a line. All have "kind", "step", "minutes" (of training time) and "pixels" (seen in all);
besides, by kind:

* "start", at the beginning and whenever a run is gone on with: "options" (`TrainingOptions`), "threads", "processes",
  "bfloat16".
* "train", every 100 steps and for what is left at the end: "rate" (learning rate) and means of "loss", "bpp" and "norm"
  (of the gradient, before clipping).
* "validation": "loss" and "qualities", a row for each of `VALIDATION_QUALITIES`, see `Trainer.validate`.
* "end", when the schedule is done, or "interrupted".

A run that was killed is gone on with from its checkpoint, so the steps after that are logged twice.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from dcacodec.device import choose_device, memory_errors
from dcacodec.errors import TrainingError, WeightsError, reason
from dcacodec.files import append_line
from dcacodec.metrics.distortion import TUNINGS, Distortion, Tuning
from dcacodec.network.config import PRESETS, REGIONAL_STRIDE, DCAConfig
from dcacodec.network.dca import DCA
from dcacodec.network.precision import fast_bfloat16, transform_precision
from dcacodec.training.checkpoint import MOST_PARTS, newest_checkpoint, opened_checkpoint, write_checkpoint
from dcacodec.training.curves import LOG_NAME, require_matplotlib, write_curves
from dcacodec.training.data import CropSampler, load_pictures, require_blocks, to_input
from dcacodec.training.klt import initialise
from dcacodec.training.loss import draw_positions, loss_terms, picture_values, rate_distortion_loss, trade_offs
from dcacodec.weights import read_weights

VALIDATION_QUALITIES = (5, 20, 35, 50, 65, 80, 95)
LOG_EVERY = 100
"""Steps that a line of the log sums up."""


@dataclass(frozen=True)
class TrainingOptions:
    """What a run is asked to do.

    Attributes:
        preset: which network, see `PRESETS`.
        minutes: length of the schedule in minutes of training time (all parts of a resumed run together); 0 = by steps.
        steps: length of the schedule in steps, when minutes is 0.
        tune: what the distortion is, see `TUNINGS`.
        mse_share: the share of squared error in it, None for the tuning's.
        batch: crops per step and process.
        crop: side of the crops, a multiple of 64.
        final_crop: side of the crops in the last `final_share` of the schedule, None for no change. The batch
            changes with it, so that a step has about as many pixels as before (and one crop at least).
        final_share: 0..1.
        rate: peak learning rate of the entropy model.
        decay_share: in this share of the schedule, its end, the learning rate falls as a cosine to a hundredth.
        transform_share: the transforms' learning rate as a share of it; they start near their goal and dislike shaking.
        warm_up: steps over which the learning rate rises.
        ema: decay of the weights' moving average, which is what is validated and published.
        clip: the gradient's norm is clipped to this.
        validate_every, save_every: minutes of training time between validations and between checkpoints.
        precision: "float32", "bfloat16" or "auto" (bfloat16 where the processor or GPU multiplies it fast).
        seed: of weights, crops, qualities and noise.
        part_size: bytes of a checkpoint's parts, or 0 for one file.
        plot: draw the log's curves after each validation, see :mod:`dcacodec.training.curves`.

    Raises:
        ValueError: an option is out of range, or neither minutes nor steps are given.
    """

    preset: str = "small"
    minutes: float = 0.0
    steps: int = 0
    tune: Tuning = "psnr"
    mse_share: float | None = None
    batch: int = 8
    crop: int = 192
    final_crop: int | None = None
    final_share: float = 0.2
    rate: float = 2e-3
    decay_share: float = 1.0
    transform_share: float = 0.4
    warm_up: int = 200
    ema: float = 0.999
    clip: float = 1.0
    validate_every: float = 20.0
    save_every: float = 5.0
    precision: str = "auto"
    seed: int = 0
    part_size: int = 0
    plot: bool = False

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{name.replace('_', ' ')} must be a finite number, not {value}")
        for crop in self.crops:
            if crop % REGIONAL_STRIDE or crop <= 0:
                raise ValueError(f"the crop must be a multiple of {REGIONAL_STRIDE}, not {crop}")
        if not 0 <= self.final_share <= 1:
            raise ValueError(f"the final share must be 0 to 1, not {self.final_share}")
        if not 0 < self.decay_share <= 1:
            raise ValueError(f"the decay share must be above 0 and at most 1, not {self.decay_share}")
        if min(self.minutes, self.steps) < 0 or not self.minutes and not self.steps:
            raise ValueError("a run needs a length: minutes or steps")
        if min(self.batch, self.warm_up) < 1:
            raise ValueError("batch and warm-up must be 1 at least")
        if self.mse_share is not None:
            Distortion(self.mse_share)  # refuses what is out of range
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise ValueError(f"the precision must be auto, float32 or bfloat16, not {self.precision!r}")

    @property
    def distortion(self) -> Distortion:
        """What is made small beside bits."""
        return TUNINGS[self.tune] if self.mse_share is None else Distortion(self.mse_share)

    @property
    def crops(self) -> tuple[int, ...]:
        """The sides of all crops that the schedule has."""
        return (self.crop,) if self.final_crop is None else (self.crop, self.final_crop)

    def batch_and_crop(self, progress: float) -> tuple[int, int]:
        """Crops per step and process, and their side, at a progress of 0..1."""
        if self.final_crop is None or progress < 1 - self.final_share:
            return self.batch, self.crop
        return max(1, round(self.batch * self.crop**2 / self.final_crop**2)), self.final_crop

    def progress(self, step: int, seconds: float) -> float:
        """How much of the schedule is done, 0..1."""
        return min(1.0, seconds / (60 * self.minutes) if self.minutes else step / self.steps)

    def learning_rate(self, step: int, seconds: float) -> float:
        """Linear warm-up over steps; the peak; half a cosine over the last `decay_share` of the schedule."""
        decayed = max(0.0, 1 - (1 - self.progress(step, seconds)) / self.decay_share)
        cosine = 0.5 * (1 + math.cos(math.pi * decayed))
        return self.rate * min(1.0, (step + 1) / self.warm_up) * (0.01 + 0.99 * cosine)

    def decay(self, step: int) -> float:
        """Of the moving average at a step: young averages forget faster."""
        return min(self.ema, (1 + step) / (10 + step))


@dataclass(frozen=True)
class Workers:
    """The processes that train one model together, each on crops of its own; their gradients are averaged.

    `torchrun --nproc-per-node N` starts N of them; a process started otherwise is alone.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    @contextmanager
    def joined(cls, device: torch.device) -> Iterator[Workers]:
        """Meet the other processes, if `torchrun` started some, and part from them at the end of the block."""
        if "WORLD_SIZE" not in os.environ:
            yield cls()
            return
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        try:
            yield cls(dist.get_rank(), dist.get_world_size())
        finally:
            dist.destroy_process_group()

    def mean(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the processes."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.count
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def take_first(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by that of the first process."""
        if self.count > 1:
            for tensor in tensors:
                dist.broadcast(tensor.detach(), 0)  # it shares memory, and autograd need not know


class Interrupted(KeyboardInterrupt):
    """A signal ended a run early. All that was done is in its checkpoint.

    Attributes:
        number: of the signal.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number


class Signals:
    """Keeps signals that end a process until the loop looks, so that no step is torn.

    A second signal does not wait. Signals that the process was told to ignore stay ignored.

    Attributes:
        number: of the signal that came; 0 before.
    """

    NAMES = ("SIGINT", "SIGTERM", "SIGHUP")

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, Any] = {}

    def _keep(self, number: int, frame: FrameType | None) -> None:
        if self.number:
            raise KeyboardInterrupt
        self.number = number

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():  # Python allows it to no other
            for number in (getattr(signal, name) for name in self.NAMES if hasattr(signal, name)):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._keep)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


class Trainer:
    """One run: model, optimiser, moving average and where it is saved."""

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
        self.model = DCA(config).to(device)
        self.average = DCA(config).to(device).eval()
        movers = (self.model.analysis, self.model.synthesis, self.model.gain)
        transforms = [parameter for module in movers for parameter in module.parameters()]
        known = {id(parameter) for parameter in transforms}
        others = [parameter for parameter in self.model.parameters() if id(parameter) not in known]
        self._shares = (options.transform_share, 1.0)
        groups = [
            {"params": parameters, "share": share}
            for parameters, share in zip((transforms, others), self._shares, strict=True)
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
        self.step, self.seconds, self.pixels = 0, 0.0, 0
        precision = options.precision
        if precision == "auto":
            precision = "bfloat16" if fast_bfloat16(device) else "float32"
        self.autocast = precision == "bfloat16"

    # Checkpoints

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def start(self, pictures: Sequence[NDArray[np.uint8]]) -> None:
        """Begin from the Karhunen-Loeve transform of the pictures."""
        initialise(self.model, pictures)
        self.average.load_state_dict(self.model.state_dict())

    def agree(self) -> None:
        """Take over the first process's weights: the start need not be the same on every machine."""
        self.workers.take_first([*self.model.parameters(), *self.average.parameters()])

    def save(self) -> Path | None:
        """Put the state in place of the old checkpoint. Only the first process does.

        Returns:
            The checkpoint file or the index of its parts; None in other processes.

        Raises:
            OSError: it cannot be written; the old one is as it was.
            TrainingError: the weights are not finite, which all processes find. The old one is as it was.
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

    def load(self, path: Path) -> None:
        """Go on from a checkpoint.

        On a processor a run by steps then ends just as if it had never been stopped. (Of several processes only the
        first does: the others draw anew. So does one from a checkpoint that is older than "numpy_random".)

        Raises:
            WeightsError: the file is no checkpoint, or one of another network.
            OSError: it cannot be read.
        """
        with opened_checkpoint(path) as state:
            if DCAConfig(**state["config"]) != self.config:
                raise WeightsError(f"{path}: a checkpoint of another network than the preset {self.config.name!r}")
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            for group, share in zip(self.optimiser.param_groups, self._shares, strict=True):
                group["share"] = share  # as asked for now, and not when the checkpoint was made
            self.step, self.seconds, self.pixels = state["step"], state["seconds"], state["pixels"]
            # Seeded by where the run stands, so that it does not see the same crops again.
            self.random = np.random.default_rng((self.options.seed, self.step, self.workers.rank))
            if self.workers.rank == 0:
                torch.set_rng_state(state["torch_random"])
                if "numpy_random" in state:
                    self.random.bit_generator.state = state["numpy_random"]

    def start_from(self, path: Path) -> None:
        """Begin a schedule from what another run has come to.

        Args:
            path: its checkpoint, or published weights (``.safetensors``). The latter have no state of an optimiser, and
                were rounded: see :mod:`dcacodec.weights`.

        Raises:
            WeightsError: the file is neither, or one of another network.
            OSError: it cannot be read.
        """
        if path.suffix.lower() == ".safetensors":
            weights = read_weights(path)
            if weights.config != self.config:
                raise WeightsError(f"{path}: weights of another network than the preset {self.config.name!r}")
            self.model.load_state_dict(weights.network.state_dict())
            self.average.load_state_dict(self.model.state_dict())
            self.pixels = weights.pixels
        else:
            self.load(path)
        self.step, self.seconds = 0, 0.0
        # Not the crops that the run before began with.
        self.random = np.random.default_rng((self.options.seed, self.pixels, self.workers.rank))

    def log(self, kind: str, **record: object) -> None:
        """Add a line to the log, see the module's docstring. Only the first process does."""
        if self.workers.rank:
            return
        minutes = round(self.seconds / 60, 2)
        head = {"kind": kind, "step": self.step, "minutes": minutes, "pixels": self.pixels}
        append_line(self.folder / LOG_NAME, json.dumps(head | record))

    # Steps

    def train_step(self, picture: Tensor, position: Tensor, rate: float) -> dict[str, float]:
        """One optimiser step on a batch.

        Args:
            picture: (B, H, W, 3) in 0..1, H and W multiples of 64.
            position: (B,) anchor positions.
            rate: learning rate of the entropy model.

        Returns:
            What is worth logging, see the module's docstring.

        Raises:
            TrainingError: the gradient is not finite. The weights are as they were.
        """
        options = self.options
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["share"]
        self.model.train()
        with transform_precision(self.device, self.autocast):
            estimate = self.model(picture, position)
        bpp, distortion = loss_terms(estimate, picture, options.distortion, full_token_cost=False)
        loss = rate_distortion_loss(bpp, distortion, trade_offs(self.config, position))
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
        """Estimates of the moving average at a quality, means over the pictures.

        Args:
            pictures: each (H, W, 3), 64 pixels at least to each side; of other sizes than multiples of 64 the last
                rows and columns are left out.
            quality: 1..100.

        Returns:
            "quality", "loss", and what `picture_values` returns.
        """
        position = torch.tensor([self.config.anchor_position(quality)], device=self.device)
        total: dict[str, float] = {}
        for picture in pictures:
            x = to_input(picture, self.device)
            estimate = self.average(x, position)
            values = picture_values(estimate, x)
            bpp, distortion = loss_terms(estimate, x, self.options.distortion, full_token_cost=True)
            values["loss"] = rate_distortion_loss(bpp, distortion, trade_offs(self.config, position)).item()
            for name, value in values.items():
                total[name] = total.get(name, 0.0) + value / len(pictures)
        return {"quality": quality, **{name: round(value, 5) for name, value in total.items()}}


@memory_errors()
def train(
    sources: Sequence[str],
    folder: Path,
    options: TrainingOptions,
    validation: Sequence[str] = (),
    resume: Path | None = None,
    validation_pictures: int = 8,
    quiet: bool = False,
) -> None:
    """Train until the schedule ends; state goes to ``folder`` (checkpoint.pt or its parts, log.jsonl, curves).

    A checkpoint in ``folder`` is gone on from; otherwise ``resume`` names what to start from with a fresh schedule;
    otherwise the run starts from the Karhunen-Loeve transform.

    Args:
        sources, validation: folders of pictures, tar shards, single pictures; see `load_pictures`.
        folder: of the run; made where there is none.
        options: what to do.
        resume: a checkpoint of another run (a file, or the index of its parts), or published weights.
        validation_pictures: how many of ``validation``, from its start.
        quiet: no progress bars.

    Raises:
        TrainingError: the pictures do not suffice, or the loss is not finite; the last checkpoint is as it was.
        ImageError: a picture cannot be read.
        WeightsError: a checkpoint cannot be used.
        OSError: a file cannot be read or written.
        MemoryError: the processor or the GPU has not enough for the batch.
        Interrupted: SIGINT, SIGTERM or SIGHUP came. The state after the last whole step is saved.
    """
    if options.plot:
        require_matplotlib()
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    device = choose_device("auto")
    with Workers.joined(device) as workers:
        quiet = quiet or workers.rank > 0
        trainer = Trainer(options, folder, PRESETS[options.preset], device, workers)
        # Weights, their average and two moments, in float32: found too large now, and not when it is to be saved.
        expected = 16 * sum(parameter.numel() for parameter in trainer.model.parameters())
        if 0 < options.part_size * MOST_PARTS < expected:
            limit = f"{MOST_PARTS} parts of {options.part_size}"
            raise TrainingError(f"a checkpoint has {expected} bytes: more than {limit}")
        pictures = load_pictures(sources, quiet)
        held_out = load_pictures(validation, quiet)[:validation_pictures] if validation and not workers.rank else []
        require_blocks(held_out)
        saved = newest_checkpoint(trainer.checkpoint)
        if saved:
            if resume and not quiet:
                tqdm.write(f"going on from {saved}, not from {resume}", sys.stderr)
            trainer.load(saved)
        elif resume:
            trainer.start_from(resume)
        else:
            trainer.start(pictures[:: max(1, len(pictures) // 200)])
        trainer.agree()
        if workers.rank:
            # The noise of the rate estimate must differ between processes, the weights above must not.
            torch.manual_seed(hash((options.seed, trainer.step, workers.rank)))
        sampler = CropSampler(pictures, options.crops, device, trainer.random)
        folder.mkdir(parents=True, exist_ok=True)
        _run_schedule(trainer, sampler, held_out, quiet)


def _run_schedule(
    trainer: Trainer, sampler: CropSampler, held_out: Sequence[NDArray[np.uint8]], quiet: bool
) -> None:
    """Steps to the end of the schedule, with all that is logged and saved on the way."""
    options, workers = trainer.options, trainer.workers
    recent: list[dict[str, float]] = []

    def log_recent() -> None:
        means = {name: round(float(np.mean([record[name] for record in recent])), 5) for name in recent[0]}
        trainer.log("train", rate=round(rate, 7), **means)
        bar.set_postfix(step=trainer.step, loss=means["loss"], bpp=means["bpp"])
        recent.clear()

    def validate() -> None:
        rows = []
        for quality in tqdm(VALIDATION_QUALITIES if held_out else (), desc="validating", leave=False, disable=quiet):
            if signals.number:
                return
            rows.append(trainer.validate(held_out, quality))
        if rows:
            trainer.log("validation", loss=round(float(np.mean([row["loss"] for row in rows])), 5), qualities=rows)
            if options.plot:
                try:
                    write_curves(trainer.folder)
                except (TrainingError, OSError) as error:  # no reason to lose what was trained
                    bar.write(f"dcacodec: the curves are not drawn: {reason(error)}", sys.stderr)

    facts = {"threads": torch.get_num_threads(), "processes": workers.count, "bfloat16": trainer.autocast}
    trainer.log("start", options=asdict(options), **facts)
    saved = validated = trainer.seconds
    stop = False
    with Signals() as signals, tqdm(total=1000, desc="training", unit="per mille", disable=quiet) as bar:
        while not stop and (progress := options.progress(trainer.step, trainer.seconds)) < 1:
            began = time.perf_counter()
            rate = options.learning_rate(trainer.step, trainer.seconds)
            batch, crop = options.batch_and_crop(progress)
            position = torch.from_numpy(draw_positions(trainer.config, batch, sampler.random))
            recent.append(trainer.train_step(sampler.batch(batch, crop), position.to(trainer.device), rate))
            # All processes must agree on where the schedule stands, and on whether to stop.
            shared = torch.tensor([time.perf_counter() - began, float(signals.number)], device=trainer.device)
            workers.mean([shared])
            trainer.seconds += shared[0].item()
            stop = shared[1].item() > 0
            if len(recent) == LOG_EVERY:
                log_recent()
            bar.update(int(progress * 1000) - bar.n)
            if trainer.seconds - saved > 60 * options.save_every:
                saved = trainer.seconds
                trainer.save()
            if trainer.seconds - validated > 60 * options.validate_every:
                validated = trainer.seconds
                validate()
        if recent:
            log_recent()
        checkpoint = trainer.save()
        validate()
        if stop or signals.number:
            trainer.log("interrupted")
            held = "the first process saves it" if checkpoint is None else f"{checkpoint} holds it"
            raise Interrupted(
                f"interrupted at step {trainer.step}; {held}, and the same command goes on",
                signals.number or signal.SIGTERM,  # where only another process got the signal
            )
    trainer.log("end")
