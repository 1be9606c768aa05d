"""Where networks run: choosing a processor or a GPU, arrays to it and back, and how it says that memory is short.

On a GPU arrays go both ways through page-locked memory, which the GPU reads and writes by itself: no second copy, and
what is sent is not waited for. PyTorch keeps such memory for the next call.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

import torch
from numpy.typing import NDArray
from torch import Tensor

from dcacodec.errors import DcaError, DeviceWarning

_OUT_OF_MEMORY: Final = (
    "can't allocate memory",
    "could not create a primitive",  # oneDNN
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


def choose_device(name: str | torch.device) -> torch.device:
    """The device that is meant.

    Args:
        name: "cpu"; "cuda", of several GPUs the current one of this thread, or "cuda:1" and so on; "auto" for "cuda"
            where that can be used, else "cpu". Or a device of PyTorch's.

    Raises:
        DcaError: a GPU is asked for that is not there, or cannot be used.
        ValueError: the name is none of these.

    Warns:
        DeviceWarning: "auto" has to take the processor as the GPU does not work.
    """
    wanted = torch.device("cuda") if name == "auto" else _named(name)
    if wanted.type == "cpu":  # no GPU is even asked for: to load a driver takes time and memory
        return torch.device("cpu")
    silent = True
    if not torch.cuda.is_available():
        trouble = "no CUDA device was found"
    elif torch.cuda._is_in_bad_fork():
        trouble = "a forked process cannot use the GPU that its parent uses"
    elif wanted.index is not None and wanted.index >= (count := torch.cuda.device_count()):
        trouble = f"there is no CUDA device {wanted.index}, but {count}, from 0"
    else:
        index = torch.cuda.current_device() if wanted.index is None else wanted.index
        trouble, silent = _trouble(index), False
        if not trouble:
            return torch.device("cuda", index)
    if name != "auto":
        raise DcaError(f"{trouble}; use the device cpu or auto")
    if not silent:
        warnings.warn(f"{trouble}; the CPU is used", DeviceWarning, stacklevel=2)
    return torch.device("cpu")


def _named(name: str | torch.device) -> torch.device:
    try:
        device = torch.device(name) if isinstance(name, str) else name
    except RuntimeError:
        device = None
    if not isinstance(device, torch.device) or device.type not in ("cpu", "cuda"):
        raise ValueError(f"a device is auto, cpu, cuda, or cuda:0 and so on, not {name!r}")
    return device


@cache
def _trouble(index: int) -> str:
    """Why a GPU cannot compute; "" if it can. A driver may be there for one that this PyTorch has no code for."""
    try:
        torch.zeros(1, device=f"cuda:{index}").add_(1).item()
    except (RuntimeError, AssertionError) as error:
        return f"the CUDA device cannot be used ({str(error).splitlines()[0]})"
    return ""


@contextmanager
def memory_errors() -> Iterator[None]:
    """PyTorch says "out of memory" by errors of its own; say it as Python does.

    Raises:
        MemoryError: the block ran out of memory, the processor's or the GPU's.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY):
            raise MemoryError(str(error)) from error
        raise


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
