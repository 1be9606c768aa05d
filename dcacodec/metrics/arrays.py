"""MS-SSIM and SSIMULACRA 2 of 8-bit arrays, on the CPU. PyTorch is imported on use."""

from __future__ import annotations

import importlib
from typing import Any, Literal

from dcacodec.images.picture import Pixels
from dcacodec.metrics.psnr import check_pair

TensorMetric = Literal["ms_ssim", "ssimulacra2"]
"""Modules of this package, and the functions of the same name in them."""


def of_arrays(metric: TensorMetric, reference: Pixels, decoded: Pixels) -> float | None:
    """The value of a metric for two arrays (H, W, 3); None if a side is shorter than the metric's ``SMALLEST_SIDE``.

    Raises:
        ValueError: the arrays are not uint8, empty, or differ in shape.
    """
    check_pair(reference, decoded)
    import torch

    module: Any = importlib.import_module(f"dcacodec.metrics.{metric}")
    if min(reference.shape[:2]) < module.SMALLEST_SIDE:
        return None
    pair = (torch.from_numpy(pixels.copy())[None].float() / 255 for pixels in (reference, decoded))
    with torch.inference_mode():
        return float(getattr(module, metric)(*pair))
