"""How the benchmark measures likeness: metrics by name, each with the package that computes it."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Mapping
from typing import Final, Literal

from dcacodec.metrics.psnr import Pixels, check_pair

Metric = Literal["psnr", "ms-ssim", "ssimulacra2"]
METRICS: Final[Mapping[Metric, str | None]] = {"psnr": None, "ms-ssim": "pytorch-msssim", "ssimulacra2": "ssimulacra2"}
"""How likeness is measured, and the package from PyPI that does it."""


def metric_is_there(metric: Metric) -> bool:
    """Whether the package that a metric needs is installed."""
    package = METRICS[metric]
    return package is None or importlib.util.find_spec(package.replace("-", "_")) is not None


_MS_SSIM_SIDE: Final = 10 * 2**4
"""A window of 11 pixels, four halvings: the package wants sides longer than this."""


def ms_ssim(original: Pixels, decoded: Pixels) -> float | None:
    """Multi-scale structural similarity of two (height, width, 3) pictures, 1 where they are equal (`pytorch-msssim`).

    None for a picture of which a side has 160 pixels or fewer: it has not enough scales.

    Raises:
        ValueError: as for `psnr`.
    """
    check_pair(original, decoded)
    if min(original.shape[:2]) <= _MS_SSIM_SIDE:
        return None
    import torch
    from pytorch_msssim import ms_ssim as compute

    planes = (torch.from_numpy(pixels).permute(2, 0, 1)[None].float() for pixels in (original, decoded))
    with torch.inference_mode():
        return float(compute(*planes, data_range=255))


_SSIMULACRA2_SIDE: Final = 8


def ssimulacra2(original: Pixels, decoded: Pixels) -> float | None:
    """SSIMULACRA 2 of two (height, width, 3) sRGB pictures, 100 where they are equal, as the package computes it.

    None for a picture of which a side has fewer than 8 pixels.

    Raises:
        ValueError: as for `psnr`.
    """
    check_pair(original, decoded)
    if min(original.shape[:2]) < _SSIMULACRA2_SIDE:
        return None
    from PIL import Image
    from ssimulacra2 import compute_ssimulacra2

    files = io.BytesIO(), io.BytesIO()  # it reads files
    for pixels, file in zip((original, decoded), files, strict=True):
        Image.fromarray(pixels).save(file, "PPM")
    return float(compute_ssimulacra2(*files))
