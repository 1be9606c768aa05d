"""Arrays to the device that computes, and back.

On a GPU both go through page-locked memory, which the GPU reads and writes by itself: no second copy, and what is sent
is not waited for. PyTorch keeps such memory for the next call.
"""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """The same on a device. On a processor it shares its memory with the array."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def to_host(tensor: Tensor) -> NDArray[Any]:
    """The same as an array, once it is computed. On a processor it shares its memory with the tensor."""
    if tensor.device.type != "cuda":
        return tensor.cpu().numpy()
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    host.copy_(tensor, non_blocking=True)
    torch.cuda.current_stream(tensor.device).synchronize()
    return host.numpy()
