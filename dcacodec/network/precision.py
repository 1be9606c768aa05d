"""The floating-point precision of the transforms, in training and in coding."""

from __future__ import annotations

import torch


def fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 products are faster than float32 products on this device."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu._is_avx512_bf16_supported())


def transform_precision(device: torch.device, bfloat16: bool) -> torch.autocast:
    """Context in which the transforms' residual branches run: in bfloat16 or as they are.

    Their linear layers always run in float32 (see :mod:`dcacodec.network.transforms`), and the entropy model in float64
    is not affected.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=bfloat16)
