"""Pictures, options and made-up records: what the tests of the study share."""

from typing import Any

import torch
from tiny import photo

from dcacodec.format.container import STREAMS
from dcacodec.training.loop import VALIDATION_QUALITIES
from dcacodec.training.options import TrainingOptions
from research.study import variants
from research.study.latents import CACHED_CROP, CacheKey, digest
from research.study.variants import Variant

CPU = torch.device("cpu")
OPTIONS = TrainingOptions(steps=4, batch=2, crop=64, warm_up=2, ema=0.9, precision="float32")
TRAIN = [photo(CACHED_CROP, CACHED_CROP + 20, 1), photo(300, CACHED_CROP, 2)]
VALID = [photo(64, 130, 3), photo(128, 64, 4)]
KEY = CacheKey("0" * 64, "1" * 64, 5, digest(VALID), 0)


def record(variant: Variant, bits: float, psnr: float = 0.0) -> dict[str, Any]:
    """Made up: so many times the bits of a curve, and so many dB more."""
    names = [name for name in STREAMS if not name.startswith("z_") or name[2].upper() in variant.order]
    rows = []
    for number, quality in enumerate(VALIDATION_QUALITIES):
        bpp = bits * 0.1 * 1.6**number
        streams = {name: bpp / len(names) for name in names}
        surprise = {f"surprise_{step}": 0.5 + 0.01 * step for step in range(1, 5)}
        rows.append({"quality": quality, **streams, "psnr": 25 + 2.5 * number + psnr, "bpp": bpp, **surprise})
    return {
        "name": variant.name,
        **variants.describe(variant),
        "parameters": {"entropy": 1000, "hyper_analysis": 200, "priors": 30},
        "training": {"steps": 10, "pixels": 5, "seconds": 60.0, "cpu_seconds": 30.0, "curve": [[5, 2.0], [10, 1.0]]},
        "qualities": rows,
        "decode_ms": {"64": 1.5},
    }
