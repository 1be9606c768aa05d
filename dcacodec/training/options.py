"""The options of a training run, and the schedules that follow from them. No torch here."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from dcacodec.network.config import REGIONAL_STRIDE, Tuning

if TYPE_CHECKING:
    from dcacodec.metrics.distortion import Distortion


@dataclass(frozen=True)
class TrainingOptions:
    """The options of a training run.

    Attributes:
        preset: name of the network, see `PRESETS`.
        minutes: length of the schedule in minutes of training time, summed over all parts of a resumed run; 0 = by
            steps.
        steps: length of the schedule in steps, used if minutes is 0.
        tune: name of the distortion, see `DISTORTIONS`.
        mse_share: share of squared error in the distortion, None for that of the tuning.
        batch: crops per step and process.
        crop: side of the crops, a multiple of 64.
        final_crop: side of the crops in the last `final_share` of the schedule, None for no change. The batch is
            adjusted so that a step has about as many pixels as before (and at least one crop).
        final_share: 0..1.
        learning_rate: peak learning rate of the entropy model.
        decay_share: last share of the schedule, in which the learning rate decays to 1 % of its peak (half a cosine).
        transform_share: learning rate of the transforms, as a fraction of `learning_rate`. They start close to their
            optimum, and high rates move them away from it.
        warm_up: steps over which the learning rate rises linearly.
        ema: decay of the moving average of the weights, which is validated and published.
        clip: maximum norm of the gradient.
        validate_every, save_every: minutes of training time between validations and between checkpoints.
        precision: "float32", "bfloat16" or "auto" (bfloat16 where its products are fast).
        seed: of weights, crops, qualities and noise.
        part_size: size of the parts of a checkpoint in bytes, 0 for one file.
        plot: draw the curves of the log after each validation, see :mod:`dcacodec.training.curves`.

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
    learning_rate: float = 2e-3
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
        if min(self.minutes, self.steps) < 0 or (not self.minutes and not self.steps):
            raise ValueError("a run needs a length: give --max-minutes or --steps")
        if min(self.batch, self.warm_up) < 1:
            raise ValueError("batch and warm-up must be at least 1")
        if self.mse_share is not None:
            _ = self.distortion  # refuses what is out of range
            if self.tune == "psnr" and self.mse_share != 1:
                raise ValueError("the tuning psnr is squared error alone: its share is 1")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise ValueError(f"the precision must be auto, float32 or bfloat16, not {self.precision!r}")

    @property
    def distortion(self) -> Distortion:
        """The distortion in the loss."""
        from dcacodec.metrics.distortion import DISTORTIONS, Distortion

        return DISTORTIONS[self.tune] if self.mse_share is None else Distortion(self.mse_share)

    @property
    def crops(self) -> tuple[int, ...]:
        """The sides of all crops in the schedule."""
        return (self.crop,) if self.final_crop is None else (self.crop, self.final_crop)

    def batch_and_crop(self, progress: float) -> tuple[int, int]:
        """The number of crops per step and process, and their side, at a progress of 0..1."""
        if self.final_crop is None or progress < 1 - self.final_share:
            return self.batch, self.crop
        return max(1, round(self.batch * self.crop**2 / self.final_crop**2)), self.final_crop

    def progress(self, step: int, seconds: float) -> float:
        """The share of the schedule that is done, 0..1."""
        return min(1.0, seconds / (60 * self.minutes) if self.minutes else step / self.steps)

    def learning_rate_at(self, step: int, seconds: float) -> float:
        """The scheduled learning rate: linear warm-up, the peak, half a cosine over the last `decay_share`."""
        decayed = max(0.0, 1 - (1 - self.progress(step, seconds)) / self.decay_share)
        cosine = 0.5 * (1 + math.cos(math.pi * decayed))
        return self.learning_rate * min(1.0, (step + 1) / self.warm_up) * (0.01 + 0.99 * cosine)

    def decay(self, step: int) -> float:
        """The decay of the moving average at a step; it is lower in the first steps."""
        return min(self.ema, (1 + step) / (10 + step))
