"""Which device is taken, and how it says that it has no memory. What is asked of a GPU: `test_pretend_gpu.py`."""

import re
from typing import Any

import pytest
import torch
from pretend_gpu import CUDA, pretended
from tiny import WEIGHTS
from told import one_line

from dcacodec.codec.codec import Codec
from dcacodec.errors import DcaError, DeviceWarning
from dcacodec.network.device import choose_device, memory_errors
from dcacodec.weights.reader import Weights, read_weights


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert {choose_device(name) for name in ("auto", "cpu")} == {torch.device("cpu")}
    with pytest.raises(DcaError) as error:
        choose_device("cuda")
    assert "no CUDA device" in one_line(error)
    with pretended():
        assert [*map(choose_device, ("auto", "cpu", "cuda"))] == [CUDA, torch.device("cpu"), CUDA]


def test_a_gpu_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretended():
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        assert [choose_device(name) for name in ("cuda:0", CUDA, torch.device("cuda"))] == [CUDA] * 3
        assert choose_device(torch.device("cpu")) == choose_device("cpu:0") == torch.device("cpu")
        with pytest.raises(DcaError) as error:
            choose_device("cuda:1")
        assert "no CUDA device 1" in one_line(error)


@pytest.mark.parametrize("name", ["gpu", "CUDA", "mps", "", "cuda:x", None, 0, torch.device("meta")])
def test_what_is_no_device(name: Any) -> None:
    with pytest.raises(ValueError) as error:
        Codec.load(device=name)
    assert repr(name) in one_line(error)


def test_a_gpu_that_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver is there, and PyTorch has no code for the GPU, or it is full: the processor takes over, and says so."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(f"{trouble}\nand a page of advice")

    trouble = "CUDA error: no kernel image is available"
    with pretended(), monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "add_", fail)
        with pytest.warns(DeviceWarning) as caught:
            assert choose_device("auto") == torch.device("cpu")
        (text,) = (str(each.message) for each in caught)
        assert trouble in text and text.isprintable()
        with pytest.raises(DcaError) as error:
            choose_device("cuda")
        assert trouble in one_line(error)


def test_a_forked_process_leaves_the_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretended():
        monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
        assert choose_device("auto") == torch.device("cpu")
        with pytest.raises(DcaError) as error:
            choose_device("cuda")
        assert "forked" in one_line(error)


def test_the_processor_asks_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("asked"))
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("could not create a primitive"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
    ],
)
def test_out_of_memory_is_said_as_python_does(error: RuntimeError, short: bool) -> None:
    with pytest.raises(MemoryError if short else RuntimeError, match=re.escape(str(error))) as found, memory_errors():
        raise error
    assert isinstance(found.value, MemoryError) == short


def test_weights_too_large_for_a_gpu_are_a_memory_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Weights, "on", full)
    with pytest.raises(MemoryError, match="CUDA out of memory"):
        Codec(read_weights(WEIGHTS))
