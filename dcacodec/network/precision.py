"""The floating-point precision of the transforms, and whether float32 products are what they should be."""

from __future__ import annotations

import os
import platform
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from dcacodec.network.fixed_point import filter3x3


def fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 products are faster than float32 products on this device."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Without oneDNN's instructions for it bfloat16 is many times as slow as float32. The variable is oneDNN's own.
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    unlimited = limit in ("", "ALL", "DEFAULT")
    if torch.cpu._is_amx_tile_supported() and (unlimited or "AMX" in limit):
        return True
    # Of processors that have AVX-512 alone for it, AMD's multiply bfloat16 faster than float32, and Intel's half as
    # fast. (Virtual machines often hide AMX.)
    allowed = unlimited or any(part in limit for part in ("BF16", "FP16", "AMX"))
    return allowed and torch.cpu._is_avx512_bf16_supported() and "AuthenticAMD" in _processor()


def _processor() -> str:
    """A text that contains the name of the processor's manufacturer as the instruction CPUID gives it."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            return file.read(1024)  # is about the first core: to list hundreds of them takes long
    except OSError:
        return platform.processor()  # on Windows "AMD64 Family 25 Model 97 Stepping 2, AuthenticAMD"


@cache
@torch.inference_mode()
def has_fused_products(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether products of this dtype can be fused with activations, and are faster then: those of bfloat16 on a CPU.

    They are oneDNN's, which PyTorch has as private operations. Where these are missing, or do something else than
    expected, the separate operations are used.
    """
    if dtype != torch.bfloat16 or device.type != "cpu" or not fast_bfloat16(device):
        return False
    x = torch.arange(-2.0, 2.0, 0.25, dtype=dtype, device=device).view(2, 8)
    identity, bias = torch.eye(8, dtype=dtype, device=device), torch.full((8,), 0.5, dtype=dtype, device=device)
    try:
        linear = torch.ops.mkldnn._linear_pointwise
        swish = linear(x, identity, bias, "hardswish", [], "")
        product = linear.binary(x, linear(x, identity, bias, "hardtanh", [0.0, 1.0], ""), identity, bias, "mul")
    except (AttributeError, RuntimeError, TypeError):
        return False
    y = x + bias
    return torch.allclose(swish, F.hardswish(y), rtol=2.0**-6) and torch.equal(product, y.clamp(0, 1) * y)


def transform_precision(device: torch.device, bfloat16: bool) -> torch.autocast:
    """Context in which the transforms' residual branches run: in bfloat16 or as they are.

    The linear layers between resolutions always run in float32 (see :mod:`dcacodec.network.transforms`), and the
    entropy model is not affected.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=bfloat16)


@torch.inference_mode()
def float32_is_exact(device: torch.device) -> bool:
    """Whether products of float32 matrices, and filters, are exact on this device at present.

    They are not while PyTorch or its libraries may compute them with TensorFloat-32 or bfloat16 numbers, as after
    ``torch.set_float32_matmul_precision("medium")`` or ``torch.backends.cuda.matmul.allow_tf32 = True``. There are many
    such settings, also in the environment, and a program can change them at any time. So this function reads the first
    of these only, and computes products of odd numbers of 12 and 10 bits. Float32 holds their sums, of up to 24 bits.
    TensorFloat-32 has 11 significant bits and bfloat16 has 8, so that both lose the last bit of the former. Where a
    number is split into a pair of bfloat16 numbers, the product of the two smaller ones is left out.
    """
    try:
        if torch.get_float32_matmul_precision() != "highest":
            return False
        left, right, product, filtered = _probe(device)
        with torch.autocast(device.type, enabled=False):
            same = [left @ right == product, (left[None] @ right[None])[0] == product, _filter(left, right) == filtered]
            return bool(torch.stack([each.all() for each in same]).all())  # one wait for a GPU
    except RuntimeError:  # the older and the newer kind of settings are mixed
        return False


def _filter(image: Tensor, filters: Tensor) -> Tensor:
    """A depthwise convolution of the numbers of two matrices, in the memory layout of the network."""
    weight = filters.T[:, :9].reshape(64, 1, 3, 3)
    return filter3x3(image.view(1, 8, 8, 64), weight, weight.new_zeros(64), exact=True)


@cache
def _probe(device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two float32 matrices (64, 64) of integers, and their product and `_filter`, as float64 arithmetic gives them.

    A row of the first has odd numbers of 12 bits with both signs, a column of the second four odd numbers of 10 bits
    (two or three among its first nine), and zeros.
    """
    numbers = torch.arange(64 * 64, dtype=torch.float64, device="cpu").view(64, 64)
    left = ((numbers * 1597).remainder(2048) * 2 + 1) * (1 - 2 * (numbers * 7).remainder(3).clamp(max=1))
    right = (numbers * 2011).remainder(512) * 2 + 1
    row, column = numbers // 64, numbers.remainder(64)
    right = right * ((row + column).remainder(4) == 0) * ((row < 9) | (row == 60 + column.remainder(4)))
    product, filtered = left @ right, _filter(left, right)
    return left.float().to(device), right.float().to(device), product.float().to(device), filtered.float().to(device)
