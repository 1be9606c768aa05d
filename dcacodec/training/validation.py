"""Results of a validation: means by quality, rate-distortion curves, and BD-rates against another run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dcacodec.errors import TrainingError
from dcacodec.metrics.curves import Curve, bd_rate, ms_ssim_decibels
from dcacodec.training.log import read_log

_SCALES: Final[Mapping[str, tuple[str, Callable[[float], float]]]] = {
    "psnr": ("PSNR", float),
    "ssimulacra2": ("SSIMULACRA 2", float),
    "ms_ssim": ("MS-SSIM", ms_ssim_decibels),
}
"""By the name in a row: the title, and the conversion to the scale of curves."""


@dataclass(frozen=True)
class Validation:
    """Means over the validation pictures.

    Attributes:
        rows: one for each quality, as from `Trainer.validate`.
    """

    rows: Sequence[Mapping[str, Any]]

    @classmethod
    def last_of(cls, log: Path) -> Validation:
        """The last validation in the log of a run.

        Raises:
            TrainingError: there is none, or the file is not a log.
            OSError: it cannot be read.
        """
        try:
            found = [line["qualities"] for line in read_log(log) if line["kind"] == "validation"]
        except KeyError as error:
            raise TrainingError(f"{log}: a validation is incomplete") from error
        if not found:
            raise TrainingError(f"{log}: contains no validation")
        return cls(found[-1])

    @property
    def loss(self) -> float:
        """The mean of the loss over the qualities."""
        return math.fsum(row["loss"] for row in self.rows) / len(self.rows)

    def summary(self, before: Validation | None = None) -> str:
        """A line with the loss, the mean of each metric over the qualities, and BD-rates against another run."""
        parts = [f"loss {self.loss:.4f}"]
        for name, (title, scale) in _SCALES.items():
            if all(name in row for row in self.rows):
                mean = math.fsum(scale(row[name]) for row in self.rows) / len(self.rows)
                parts.append(f"{title} {mean:.2f}" + ("" if before is None else f" ({self._against(before, name)})"))
        return ", ".join(parts)

    def _against(self, before: Validation, name: str) -> str:
        try:
            return f"BD-rate {bd_rate(before._curve(name), self._curve(name), 'pchip').percent:+.1f} %"
        except ImportError:
            return "for BD-rates: pip install bjontegaard"
        except (ValueError, KeyError) as error:
            return f"no BD-rate: {error}"

    def _curve(self, name: str) -> Curve:
        title, scale = _SCALES[name]
        rates, values = (tuple(float(row[key]) for row in self.rows) for key in ("bpp", name))
        return Curve("validation", rates, tuple(map(scale, values)), title)
