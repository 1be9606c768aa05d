"""Devices: choice of CPU or GPU, transfer of arrays, and out-of-memory errors.

Transfers to and from a GPU use page-locked memory, which the GPU accesses directly: there is no second copy, and
transfers to the GPU are asynchronous. PyTorch keeps such memory for the next call.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, Final

import torch
from numpy.typing import NDArray
from torch import Tensor

from dcacodec.errors import DcaError, DeviceWarning, warn

_FORKED: Final = "a forked process cannot use the GPU that its parent uses"
_OUT_OF_MEMORY: Final = (
    "can't allocate memory",
    "could not create a primitive",  # oneDNN
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


def choose_device(name: str | torch.device) -> torch.device:
    """The device for a name.

    Args:
        name: "cpu"; "cuda" for the current GPU of this thread, or "cuda:1" and so on; "auto" for "cuda" if it can be
            used, else "cpu". Or a `torch.device`.

    Raises:
        DcaError: the requested GPU does not exist, or cannot be used.
        ValueError: the name is none of these.

    Warns:
        DeviceWarning: "auto" chooses the CPU because the GPU does not work.
    """
    wanted = torch.device("cuda") if name == "auto" else _named(name)
    if wanted.type == "cpu":  # without loading a GPU driver, which takes time and memory
        return torch.device("cpu")
    missing = _missing(wanted)
    problem = missing or _device_problem(_index(wanted))
    if not problem:
        return torch.device("cuda", _index(wanted))
    if name != "auto":
        raise DcaError(f"{problem}; use the device cpu or auto")
    if not missing:
        warn(f"{problem}; the CPU is used", DeviceWarning)
    return torch.device("cpu")


def gpu_problem() -> str:
    """Why "auto" does not choose a GPU, "" if it does."""
    wanted = torch.device("cuda")
    return _missing(wanted) or _device_problem(_index(wanted))


def _missing(wanted: torch.device) -> str:
    """Why this process does not have a GPU, "" if it does."""
    if not torch.cuda.is_available():
        return "no CUDA device was found"
    if torch.cuda._is_in_bad_fork():
        return _FORKED
    if wanted.index is not None and wanted.index >= (count := torch.cuda.device_count()):
        return f"there is no CUDA device {wanted.index}; the number of devices is {count}"
    return ""


def _index(wanted: torch.device) -> int:
    return torch.cuda.current_device() if wanted.index is None else wanted.index


def _named(name: str | torch.device) -> torch.device:
    try:
        device = torch.device(name) if isinstance(name, str) else name
    except RuntimeError:
        device = None
    if not isinstance(device, torch.device) or device.type not in ("cpu", "cuda"):
        raise ValueError(f"a device must be auto, cpu, cuda, cuda:0 and so on, not {name!r}")
    return device


@cache
def _device_problem(index: int) -> str:
    """Why a GPU cannot compute, "" if it can. PyTorch may lack code for a GPU although the driver supports it."""
    try:
        torch.zeros(1, dtype=torch.float32, device=f"cuda:{index}").add_(1).item()
    except (RuntimeError, AssertionError) as error:
        return f"the CUDA device cannot be used ({str(error).splitlines()[0]})"
    return ""


def check_process(device: torch.device) -> None:
    """Check that this process can compute on a device that it has a codec for.

    Raises:
        DcaError: it was forked from a process that uses the GPU.
    """
    if device.type == "cuda" and torch.cuda._is_in_bad_fork():
        raise DcaError(f"{_FORKED}; start processes with the method spawn")


@contextmanager
def memory_errors() -> Iterator[None]:
    """Convert PyTorch's out-of-memory errors in the block to `MemoryError`.

    Raises:
        MemoryError: the CPU or GPU ran out of memory.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY):
            raise MemoryError(str(error)) from error
        raise


def keep_freed_memory() -> None:
    """Let the C library keep more memory for the next tensors, instead of returning it to the system.

    Pages that the system has to provide anew take longer than most of what is computed in them. glibc maps every block
    above a threshold separately, and unmaps it when it is freed. Smaller blocks are parts of the heap, which gives
    memory back only where more than twice the threshold is free at its end. Freeing a mapped block raises the threshold
    to the size of the block, up to 32 MiB. So a block of almost that size is allocated and freed here, without touching
    its pages. With another C library, and where there is no memory for the block, this does nothing.
    """
    with suppress(RuntimeError):
        torch.empty(31 << 20, dtype=torch.uint8, device="cpu")


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """The array as a tensor on a device. On the CPU they share memory."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def to_host(*tensors: Tensor) -> list[NDArray[Any]]:
    """The tensors as arrays, after waiting for a GPU. On the CPU they share memory.

    Args:
        tensors: one or more, on the same device.
    """
    device = tensors[0].device
    if device.type != "cuda":
        return [each.cpu().numpy() for each in tensors]
    hosts = [torch.empty(each.shape, dtype=each.dtype, pin_memory=True) for each in tensors]
    for host, each in zip(hosts, tensors, strict=True):
        host.copy_(each, non_blocking=True)
    torch.cuda.current_stream(device).synchronize()  # once for all tensors
    return [host.numpy() for host in hosts]
