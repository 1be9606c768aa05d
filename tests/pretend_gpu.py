"""A GPU that is none: the processor under the name "cuda:0", for machines without one.

What it computes is computed by the processor; what is asked for and when is what a GPU would be asked::

    array -+- page-locked: nothing waits -+--> tensors on "cuda:0" ---> copied back: there once the GPU is waited for
           '- pageable: waited for -------'    (meet one of the processor's: RuntimeError, as on a GPU)

It sees the calls that Python makes: where tensors are, that no copy is read before it is there, and each time that the
processor waits for the GPU. It cannot show what a GPU's own arithmetic gives, in which precision its products are, or
what PyTorch does between its own operations: `cuda_exactness.py` runs on a real one. It has no gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from dcacodec.network import device

CUDA = torch.device("cuda:0")
_THERE = "is_on_the_pretended_gpu"
_PAGE_LOCKED = "is_page_locked"
_NUMBERS = (
    Tensor.__float__, Tensor.__int__, Tensor.__bool__, Tensor.__index__, Tensor.item, Tensor.tolist, Tensor.nonzero,
    Tensor.masked_select, Tensor.equal, torch.nonzero, torch.masked_select, torch.equal,
)  # fmt: skip
"""What a GPU must be waited for, as its answer is a number or a shape."""
_DEVICE: Any = Tensor.device
_DATA: Any = Tensor.data


def is_there(tensor: Any) -> bool:
    """Whether a tensor is on the pretended GPU."""
    return isinstance(tensor, Tensor) and hasattr(tensor, _THERE)


def _marked(value: Any, mark: str) -> Any:
    """The same with the mark on all of its tensors."""
    for each in _tensors(value):
        setattr(each, mark, True)
    return value


def _tensors(value: Any) -> list[Tensor]:
    """All in nested lists, tuples and dictionaries."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [each for part in value for each in _tensors(part)] if isinstance(value, list | tuple) else []


def _place(value: Any) -> str | None:
    """Where it is, "cuda" or "cpu", if it names a device or is a tensor, else None."""
    if isinstance(value, str | torch.device):
        return torch.device(value).type
    return ("cuda" if is_there(value) else "cpu") if isinstance(value, Tensor) else None


class PretendGpu(TorchFunctionMode):
    """See the module's text. Use `pretended`.

    Attributes:
        waits: what the processor waited for, in order.
        sent: how many copies went to the GPU without being waited for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        self.sent = 0
        self._under_way: list[tuple[Tensor, Tensor]] = []

    def synchronize(self) -> None:
        """Wait until all that is under way is done."""
        self.waits.append("synchronize")
        for host, source in self._under_way:
            host.copy_(source)
        self._under_way.clear()

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func == _DEVICE.__get__:
            return CUDA if is_there(args[0]) else func(*args)
        if func == _DATA.__set__:  # so a module moves its parameters
            func(*args)
            return _marked(args[0], _THERE) if is_there(args[1]) else None
        if func is Tensor.pin_memory:
            return _marked(args[0].clone(), _PAGE_LOCKED)
        if kwargs.pop("pin_memory", False):
            return _marked(func(*args, **kwargs), _PAGE_LOCKED)
        if func is Tensor.copy_ and is_there(args[0]) != is_there(args[1]):
            return self._copied(*args, **kwargs)
        if func in (Tensor.to, Tensor.cpu, Tensor.cuda):
            return self._moved(func, args, kwargs)
        if _place(kwargs.get("device")) == "cuda":
            if func in (torch.tensor, torch.as_tensor, torch.asarray):
                self.waits.append("copy from pageable memory")
            return _marked(func(*args, **kwargs | {"device": "cpu"}), _THERE)
        return self._computed(func, args, kwargs)

    def _copied(self, to: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
        """From one side to the other."""
        if is_there(to):
            self.waits.append("copy from pageable memory")
            to.copy_(source)
            return to
        if non_blocking and hasattr(to, _PAGE_LOCKED):
            self._under_way.append((to, source.clone()))
            to.fill_(1)  # what it will not be
        else:
            self.waits.append("copy to pageable memory")
            to.copy_(source)
        return to

    def _moved(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """`Tensor.to` with a device, a type, both, or another tensor."""
        tensor, *options = args
        non_blocking = kwargs.pop("non_blocking", False)
        names = {Tensor.cpu: "cpu", Tensor.cuda: "cuda"}
        places = [_place(each) for each in [names.get(func), kwargs.pop("device", None), *options]]
        place = next((each for each in places if each is not None), _place(tensor))
        kinds = [each for each in [kwargs.get("dtype"), *options] if isinstance(each, torch.dtype)]
        moved: Tensor = tensor.to(kinds[0]) if kinds else tensor
        if place == _place(tensor):
            if place == "cuda":
                _marked(moved, _THERE)
            return moved
        if place == "cpu":
            self.waits.append("copy to pageable memory")
            return moved.clone()
        if non_blocking and hasattr(tensor, _PAGE_LOCKED):
            self.sent += 1
        else:
            self.waits.append("copy from pageable memory")
        moved = moved.clone()
        _marked(moved, _THERE)
        return moved

    def _computed(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tensors = _tensors((args, kwargs))
        if not any(map(is_there, tensors)) or func.__name__.startswith("_has"):  # what a module asks when it moves
            return func(*args, **kwargs)
        if func is Tensor.numpy:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        # A number in a tensor of the processor goes along with a kernel's arguments; all else has to be there.
        if any(not is_there(each) and each.dim() for each in tensors):
            raise RuntimeError(f"Expected all tensors to be on the same device: {func} got one of the processor's")
        chosen = _tensors(args[1]) if func in (Tensor.__getitem__, Tensor.__setitem__) else []
        if func in _NUMBERS or any(each.dtype == torch.bool for each in chosen):
            self.waits.append("number")
        return _marked(func(*args, **kwargs), _THERE)


@contextmanager
def pretended() -> Iterator[PretendGpu]:
    """Within, `torch.cuda.is_available()` and "cuda" is the pretended GPU."""
    gpu, submit, trouble = PretendGpu(), ThreadPoolExecutor.submit, device._device_problem

    def submit_with_it(pool: ThreadPoolExecutor, function: Callable[..., Any], *args: Any) -> Future[Any]:
        def run() -> Any:
            with gpu:  # each thread has modes of its own
                return function(*args)

        return submit(pool, run)

    with (
        mock.patch.object(ThreadPoolExecutor, "submit", submit_with_it),
        mock.patch.object(torch.cuda, "is_available", lambda: True),
        mock.patch.object(torch.cuda, "is_bf16_supported", lambda **_: False),
        mock.patch.object(torch.cuda, "current_device", lambda: 0),
        mock.patch.object(torch.cuda, "current_stream", lambda _: gpu),
        gpu,
    ):
        trouble.cache_clear()  # this "cuda:0" is not that of the time before
        try:
            yield gpu
        finally:
            trouble.cache_clear()
