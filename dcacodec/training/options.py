"""What a training run is asked to do."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from dcacodec.metrics.distortion import DISTORTIONS, Distortion
from dcacodec.network.config import REGIONAL_STRIDE, Tuning


@dataclass(frozen=True)
class TrainingOptions:
    """What a run is asked to do.

    Attributes:
        preset: which network, see `PRESETS`.
        minutes: length of the schedule in minutes of training time (all parts of a resumed run together); 0 = by steps.
        steps: length of the schedule in steps, when minutes is 0.
        tune: what the distortion is, see `DISTORTIONS`.
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
        if min(self.minutes, self.steps) < 0 or (not self.minutes and not self.steps):
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
        return DISTORTIONS[self.tune] if self.mse_share is None else Distortion(self.mse_share)

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
