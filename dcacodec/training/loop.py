"""The training loop: AdamW, warm-up and cosine, EMA, validation, checkpoints, a JSON-lines log."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from dcacodec.network.config import PRESETS, REGIONAL_STRIDE, DCAConfig
from dcacodec.network.dca import DCA
from dcacodec.training.data import CropSampler, load_pictures
from dcacodec.training.klt import initialise
from dcacodec.training.loss import draw_positions, loss_terms, rate_distortion_loss, trade_offs

VALIDATION_QUALITIES = (5, 20, 35, 50, 65, 80, 95)


@dataclass(frozen=True)
class TrainingOptions:
    """What a run is asked to do.

    Attributes:
        minutes: length of the schedule in minutes of training time (all parts of a resumed run together); 0 = by steps.
        steps: length of the schedule in steps, when minutes is 0.
        crop: side of the crops, a multiple of 64.
        rate: peak learning rate of the entropy model; falls as a cosine to a hundredth of it.
        transform_share: the transforms' learning rate as a share of it; they start near their goal and dislike shaking.
        ema: decay of the weights' moving average, which is what is validated and published.
        validate_every, save_every: minutes of training time between validations and between checkpoints.
        precision: "float32", "bfloat16" or "auto" (bfloat16 where the processor or GPU multiplies it fast).
    """

    preset: str = "small"
    minutes: float = 0.0
    steps: int = 0
    batch: int = 8
    crop: int = 192
    rate: float = 2e-3
    transform_share: float = 0.4
    warm_up: int = 200
    ema: float = 0.999
    clip: float = 1.0
    validate_every: float = 20.0
    save_every: float = 5.0
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.crop % REGIONAL_STRIDE:
            raise ValueError(f"the crop must be a multiple of {REGIONAL_STRIDE}, not {self.crop}")
        if not self.minutes and not self.steps:
            raise ValueError("a run needs a length: minutes or steps")

    def progress(self, step: int, seconds: float) -> float:
        """How much of the schedule is done, 0..1."""
        return min(1.0, seconds / (60 * self.minutes) if self.minutes else step / self.steps)

    def learning_rate(self, step: int, seconds: float) -> float:
        """Linear warm-up over steps, then a cosine over the schedule."""
        cosine = 0.5 * (1 + math.cos(math.pi * self.progress(step, seconds)))
        return self.rate * min(1.0, (step + 1) / self.warm_up) * (0.01 + 0.99 * cosine)


def fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 products are faster than float32 on this device."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.cpu._is_avx512_bf16_supported())


@dataclass(frozen=True)
class Workers:
    """The processes that train one model together, each on crops of its own; their gradients are averaged.

    `torchrun --nproc-per-node N` starts N of them; a process started otherwise is alone.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def join(cls, device: torch.device) -> Workers:
        """Meet the other processes, if `torchrun` started some."""
        if "WORLD_SIZE" not in os.environ:
            return cls()
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(dist.get_rank(), dist.get_world_size())

    def mean(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the processes."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.count
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def leave(self) -> None:
        """Part from the other processes."""
        if self.count > 1:
            dist.destroy_process_group()


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
        torch.manual_seed(options.seed)
        self.model = DCA(config).to(device)
        self.average = DCA(config).to(device).eval()
        movers = (self.model.analysis, self.model.synthesis, self.model.gain)
        transforms = [parameter for module in movers for parameter in module.parameters()]
        known = {id(parameter) for parameter in transforms}
        others = [parameter for parameter in self.model.parameters() if id(parameter) not in known]
        groups = [{"params": transforms, "share": options.transform_share}, {"params": others, "share": 1.0}]
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

    def save(self) -> None:
        """Write the checkpoint beside the old one, then put it in its place."""
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
        }
        partial = self.checkpoint.with_suffix(".part")
        with open(partial, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, self.checkpoint)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds, self.pixels = state["step"], state["seconds"], state["pixels"]
        if self.workers.rank == 0:
            torch.set_rng_state(state["torch_random"].cpu())

    # Steps

    def train_step(self, picture: Tensor, position: Tensor, rate: float) -> dict[str, float]:
        """One optimiser step on a batch; returns what is worth logging."""
        options = self.options
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["share"]
        self.model.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            estimate = self.model(picture, position)
        bpp, error = loss_terms(estimate, picture, full_token_cost=False)
        loss = rate_distortion_loss(bpp, error, trade_offs(self.config, position))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.workers.mean([p.grad for p in self.model.parameters() if p.grad is not None])
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), options.clip)
        if not torch.isfinite(norm):
            raise FloatingPointError(f"the loss or its gradient is not finite at step {self.step}")
        self.optimiser.step()
        decay = min(options.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            averages: list[Tensor] = list(self.average.parameters())
            torch._foreach_lerp_(averages, [p.detach() for p in self.model.parameters()], 1 - decay)
        self.step += 1
        self.pixels += picture.shape[0] * picture.shape[1] * picture.shape[2] * self.workers.count
        return {"loss": loss.item(), "bpp": bpp.mean().item(), "norm": norm.item()}

    @torch.no_grad()
    def validate(self, pictures: Sequence[NDArray[np.uint8]], quiet: bool = False) -> list[dict[str, Any]]:
        """Estimated rate and PSNR of the moving average, per quality: means over the pictures."""
        rows = []
        for quality in tqdm(VALIDATION_QUALITIES, desc="validating", leave=False, disable=quiet):
            position = torch.tensor([self.config.anchor_position(quality)], device=self.device)
            total: dict[str, float] = {}
            for picture in pictures:
                height, width = (side // REGIONAL_STRIDE * REGIONAL_STRIDE for side in picture.shape[:2])
                x = torch.from_numpy(picture[:height, :width]).to(self.device)[None].float() / 255
                estimate = self.average(x, position)
                rounded = (estimate.picture.clamp(0, 1) * 255).round() / 255
                psnr = -10 * math.log10(max(1e-10, (rounded - x).square().mean().item()))
                values = {name: bits.item() / (height * width) for name, bits in estimate.bits.items()}
                values |= {"psnr": psnr, "bpp": sum(values.values())}
                values |= {f"surprise_{i + 1}": value for i, value in enumerate(estimate.surprise.tolist())}
                bpp, error = loss_terms(estimate, x, full_token_cost=True)
                values["loss"] = rate_distortion_loss(bpp, error, trade_offs(self.config, position)).item()
                for name, value in values.items():
                    total[name] = total.get(name, 0.0) + value / len(pictures)
            rows.append({"quality": quality, **{name: round(value, 5) for name, value in total.items()}})
        return rows


def train(
    sources: Sequence[str],
    folder: Path,
    options: TrainingOptions,
    validation: Sequence[str] = (),
    resume: Path | None = None,
    validation_pictures: int = 8,
    quiet: bool = False,
) -> None:
    """Train until the schedule ends; state goes to ``folder`` (checkpoint.pt, log.jsonl).

    A checkpoint in ``folder`` is gone on from; otherwise ``resume`` names one to start from with a fresh schedule;
    otherwise the run starts from the Karhunen-Loeve transform.
    """
    folder.mkdir(parents=True, exist_ok=True)
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    workers = Workers.join(device)
    leads = workers.rank == 0
    quiet = quiet or not leads
    trainer = Trainer(options, folder, PRESETS[options.preset], device, workers)
    pictures = load_pictures(sources, quiet)
    held_out = load_pictures(validation, quiet)[:validation_pictures] if validation and leads else []
    if trainer.checkpoint.exists():
        trainer.load(trainer.checkpoint)
    elif resume:
        trainer.load(resume)
        trainer.seconds, trainer.step = 0.0, 0
    else:
        trainer.start(pictures[:: max(1, len(pictures) // 200)])
    # The draw of crops is seeded by where the run stands, so that a resumed run does not see the same crops again.
    seed = (options.seed, trainer.step, workers.rank)
    sampler = CropSampler(pictures, options.crop, device, seed)
    if not leads:
        torch.manual_seed(hash(seed))  # the noise of the rate estimate must differ, the weights above must not

    def log(kind: str, record: dict[str, Any]) -> None:
        if not leads:
            return
        minutes = round(trainer.seconds / 60, 2)
        head = {"kind": kind, "step": trainer.step, "minutes": minutes, "pixels": trainer.pixels}
        with open(folder / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(head | record) + "\n")

    def validate() -> None:
        if held_out:
            rows = trainer.validate(held_out, quiet)
            log("validation", {"loss": round(float(np.mean([row["loss"] for row in rows])), 5), "qualities": rows})

    facts = {"threads": torch.get_num_threads(), "processes": workers.count, "bfloat16": trainer.autocast}
    log("start", {"options": asdict(options), **facts})
    saved = validated = trainer.seconds
    recent: list[dict[str, float]] = []
    with tqdm(total=1000, desc="training", unit="per mille", disable=quiet) as bar:
        while (progress := options.progress(trainer.step, trainer.seconds)) < 1:
            began = time.perf_counter()
            rate = options.learning_rate(trainer.step, trainer.seconds)
            position = torch.from_numpy(draw_positions(trainer.config, options.batch, sampler.random)).to(device)
            recent.append(trainer.train_step(sampler.batch(options.batch), position, rate))
            spent = torch.tensor([time.perf_counter() - began])
            workers.mean([spent])  # all processes must agree on where the schedule stands
            trainer.seconds += spent.item()
            if len(recent) == 100:
                means = {name: round(float(np.mean([r[name] for r in recent])), 5) for name in recent[0]}
                log("train", {"rate": round(rate, 7), **means})
                bar.set_postfix(step=trainer.step, loss=means["loss"], bpp=means["bpp"])
                recent.clear()
            bar.update(int(progress * 1000) - bar.n)
            if trainer.seconds - saved > 60 * options.save_every:
                saved = trainer.seconds
                if leads:
                    trainer.save()
            if trainer.seconds - validated > 60 * options.validate_every:
                validated = trainer.seconds
                validate()
    if leads:
        trainer.save()
    validate()
    log("end", {})
    workers.leave()


