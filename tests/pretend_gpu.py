"""A GPU that is none: the processor under the name "cuda:0", for machines without one.

What it computes is computed by the processor; what is asked for and when is what a GPU would be asked::

    array -+- page-locked: nothing waits -+--> tensors on "cuda:0" ---> copied back: there once the GPU is waited for
           '- pageable: waited for -------'    (meet one of the processor's: RuntimeError, as on a GPU)

It shows where tensors are, that no copy is read before it is there, and each time that the processor waits for the GPU.
It cannot show what a GPU's own arithmetic gives; `cuda_exactness.py` does that, on a real one. It has no gradients.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

from dcacodec.network import device
from dcacodec.network.fixed_point import _exp_table_on

CUDA = torch.device("cuda:0")
_PAGE_LOCKED = "_is_page_locked"
_NUMBERS = (
    Tensor.__float__,
    Tensor.__int__,
    Tensor.__bool__,
    Tensor.__index__,
    Tensor.item,
    Tensor.tolist,
    Tensor.nonzero,
)
"""What a GPU must be waited for, as its answer is a number or a shape."""
_WAITS = ("aten._local_scalar_dense", "aten.nonzero", "aten.masked_select", "aten.equal", "aten.is_nonzero")
"""The same where PyTorch itself asks."""
_GUARDED = (Tensor.__getitem__, Tensor.__setitem__, Tensor.__invert__, Tensor.contiguous, torch.where, *_NUMBERS)
"""Of these some part in C++ asks for CUDA itself, which is not there: they are done as a whole."""
_PRODUCTS = ("aten.linear", "aten.matmul", "aten.mm", "aten.bmm", "aten.addmm", "aten.conv2d", "aten.convolution")


class OnGpu(Tensor):
    """A tensor that says it is on "cuda:0". Its `numbers` are on the processor."""

    numbers: Tensor
    gpu: PretendGpu

    @staticmethod
    def __new__(cls, numbers: Tensor, gpu: PretendGpu) -> OnGpu:
        shape, stride, offset = numbers.shape, numbers.stride(), numbers.storage_offset()
        with torch.inference_mode(False):  # an inference tensor may be no view of another
            made = Tensor._make_wrapper_subclass(
                cls, shape, strides=stride, storage_offset=offset, dtype=numbers.dtype, device=CUDA
            )
        made.numbers, made.gpu = numbers, gpu
        return made

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        gpu = next(each.gpu for each in tensors if isinstance(each, OnGpu))
        name = str(getattr(func, "overloadpacket", func))
        place = kwargs.pop("device", None)
        if place is not None and torch.device(place).type == "cpu":
            return gpu.fetched(args[0]).to(kwargs.get("dtype"))
        for each in tensors:
            # A number in a tensor of the processor goes along with a kernel's arguments; all else has to be there.
            if not isinstance(each, OnGpu) and (each.dim() or name == "aten.where"):
                raise RuntimeError(f"Expected all tensors to be on the same device: {name} got one of the processor's")
        chosen = tree_leaves(args[1]) if name in ("aten.index", str(Tensor.__getitem__)) else []
        if name in _WAITS or any(isinstance(each, Tensor) and each.dtype == torch.bool for each in chosen):
            gpu.waits.append("number")
        kwargs.pop("pin_memory", None)
        plain_args, plain_kwargs = tree_map_only(OnGpu, lambda each: each.numbers, (args, kwargs))
        result = func(*plain_args, **plain_kwargs)
        if name in _PRODUCTS:
            gpu.products[result.dtype] += 1
        return tree_map_only(Tensor, gpu.holding, result)

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"OnGpu({self.numbers!r})"


class PretendGpu(TorchFunctionMode):
    """See the module's text. Use `pretended`.

    Attributes:
        waits: what the processor waited for, in order.
        sent: how many copies went to the GPU without being waited for.
        products: how many products of matrices, and convolutions, gave results of each type.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        self.sent = 0
        self.products: Counter[torch.dtype] = Counter()
        self._under_way: list[tuple[Tensor, Tensor]] = []

    def holding(self, tensor: Tensor) -> OnGpu:
        """A tensor of the processor as one of the GPU."""
        return tensor if isinstance(tensor, OnGpu) else OnGpu(tensor, self)

    def fetched(self, tensor: OnGpu) -> Tensor:
        """The numbers of a tensor, waited for."""
        self.waits.append("copy to pageable memory")
        return tensor.numbers.clone()

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
        if func in _NUMBERS and isinstance(args[0], OnGpu):
            self.waits.append("number")
        if func in _GUARDED and isinstance(args[0], OnGpu):
            return OnGpu.__torch_dispatch__(func, types, args)
        if func is Tensor.pin_memory:
            return _locked(args[0].clone())
        if kwargs.pop("pin_memory", False):
            return _locked(func(*args, **kwargs))
        if func is Tensor.copy_ and isinstance(args[0], OnGpu) != isinstance(args[1], OnGpu):
            host, source = args[:2]
            if isinstance(host, OnGpu):
                self.waits.append("copy from pageable memory")
                host.numbers.copy_(source)
                return host
            if kwargs.get("non_blocking") and hasattr(host, _PAGE_LOCKED):
                self._under_way.append((host, source.numbers.clone()))
                return host.fill_(1)  # what it will not be
            return host.copy_(self.fetched(source))
        if func is Tensor.cpu:
            return self.fetched(args[0]) if isinstance(args[0], OnGpu) else args[0]
        if func in (Tensor.to, Tensor.cuda):
            place, dtype, non_blocking, _ = torch._C._nn._parse_to(*args[1:], **kwargs)
            if func is Tensor.cuda or place is not None and place.type == "cuda":
                if isinstance(args[0], OnGpu):
                    return args[0].to(dtype or args[0].dtype)
                if non_blocking and hasattr(args[0], _PAGE_LOCKED):
                    self.sent += 1
                else:
                    self.waits.append("copy from pageable memory")
                return self.holding(args[0].to(dtype).clone())
        elif torch.device(kwargs.get("device") or "cpu").type == "cuda":
            if func in (torch.tensor, torch.as_tensor, torch.asarray):
                self.waits.append("copy from pageable memory")
            return self.holding(func(*args, **kwargs | {"device": "cpu"}))
        return func(*args, **kwargs)


def _locked(tensor: Tensor) -> Tensor:
    setattr(tensor, _PAGE_LOCKED, True)
    return tensor


@contextmanager
def pretended(bfloat16: bool = False) -> Iterator[PretendGpu]:
    """Within, `torch.cuda.is_available()` and "cuda" is the pretended GPU."""
    gpu, submit = PretendGpu(), ThreadPoolExecutor.submit

    def submit_with_it(pool: ThreadPoolExecutor, function: Callable[..., Any], *args: Any) -> Future[Any]:
        def run() -> Any:
            with gpu:  # each thread has modes of its own
                return function(*args)

        return submit(pool, run)

    with (
        # A module's parameters are replaced when it moves. By default they are filled, which drops what `OnGpu` adds.
        mock.patch.object(torch.__future__, "get_overwrite_module_params_on_conversion", lambda: True),
        mock.patch.object(ThreadPoolExecutor, "submit", submit_with_it),
        mock.patch.object(torch.cuda, "is_available", lambda: True),
        mock.patch.object(torch.cuda, "is_bf16_supported", lambda **_: bfloat16),
        mock.patch.object(torch.cuda, "current_device", lambda: 0),
        mock.patch.object(torch.cuda, "current_stream", lambda _: gpu),
        gpu,
    ):
        kept = (_exp_table_on, device._trouble)  # for a device, and this "cuda:0" is not that of the time before
        for each in kept:
            each.cache_clear()
        try:
            yield gpu
        finally:
            for each in kept:
                each.cache_clear()
