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


def to_host(*tensors: Tensor) -> list[NDArray[Any]]:
    """The same as arrays, once all are computed. On a processor they share their memory with the tensors.

    Args:
        tensors: one or more, of one device.
    """
    device = tensors[0].device
    if device.type != "cuda":
        return [each.cpu().numpy() for each in tensors]
    hosts = [torch.empty(each.shape, dtype=each.dtype, pin_memory=True) for each in tensors]
    for host, each in zip(hosts, tensors, strict=True):
        host.copy_(each, non_blocking=True)
    torch.cuda.current_stream(device).synchronize()  # once for all
    return [host.numpy() for host in hosts]
