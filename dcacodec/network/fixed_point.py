"""Exact arithmetic: the operations of the entropy model.

The dtype of a tensor in the entropy model determines its meaning:

* ``float32``/``bfloat16``: an ordinary tensor, as in training. The functions below then use ordinary arithmetic.
* ``float64``: **fixed-point numbers** that are stored in doubles. Operations on them are exact, or are single IEEE-754
  operations that every machine rounds in the same way; results are snapped to the activation grid.

Operand formats (``X.n``: an integer times ``2**-n``)::

    activations            X.9   |a| <= 2**12          22 bits with sign
    weights                X.12  |w| <  2**3           16 bits with sign
    biases                 X.12  |b| <  2**19          32 bits with sign
    per-quality scales     X.16  |s| <  2**15          32 bits with sign
    products w * a         X.21
    sums of products       X.21  < 2**53 when sum(|w|) < 2**11: checked when weights are published

A sum of products below ``2**53`` units is exact in double precision in *any* order of summation, so it does not depend
on the BLAS, the number of threads, the memory layout or the device. The only other operations are +, -, *, min, max,
comparison, round-half-even, gather from integer tables, and correctly rounded division; square roots in normalisations
are computed on integers. (The idea is from Balle et al., "Integer networks for data compression with latent-variable
models", 2019.)
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

ACTIVATION_BITS = 9
WEIGHT_BITS = 12
SCALE_BITS = 16
ACTIVATION_LIMIT = float(2**12)
"""Activations are clamped to this magnitude."""
WEIGHT_SUM_LIMIT = float(2**11)
"""Bound of ``sum(|w|)`` for each output. It keeps every accumulator below ``2**44`` units, or ``2**47`` for hyper
latents (magnitudes up to ``2**15``) and start states (X.12), far below ``2**53``."""

ROOT_BITS = 14
"""Square roots are multiples of ``2**-14``."""

LOGIT_BITS = 6
EXP_TABLE_SIZE = 12 * 2**LOGIT_BITS
"""Logits more than 12 below the largest one get the weight 0."""
EXP_ONE = 2**16


def is_exact(x: Tensor) -> bool:
    """Whether ``x`` holds fixed-point numbers (see the module's docstring)."""
    return x.dtype == torch.float64


_ROUNDER = 1.5 * 2.0 ** (52 - ACTIVATION_BITS)
"""Adding it to a double rounds to multiples of 2**-9, half to even; subtracting it again is exact."""


def snap(x: Tensor) -> Tensor:
    """Round half-even to multiples of ``2**-9`` and clamp to ``ACTIVATION_LIMIT``; the identity in training.

    A fixed-point ``x`` (magnitude below 2**42) is overwritten: pass a tensor that is not used elsewhere.
    """
    if not is_exact(x):
        return x
    return x.add_(_ROUNDER).sub_(_ROUNDER).clamp_(-ACTIVATION_LIMIT, ACTIVATION_LIMIT)


_HALF = torch.tensor(0.5, dtype=torch.float32, device="cpu")


def hard_sigmoid(x: Tensor) -> Tensor:
    """``clip(x/4 + 1/2, 0, 1)``: slopes are powers of two, so X.9 gives X.11 exactly (not snapped)."""
    return F.hardtanh(torch.add(_HALF, x, alpha=0.25), 0.0, 1.0, inplace=True)


def hard_swish(x: Tensor) -> Tensor:
    """``x * hard_sigmoid(x)``, snapped."""
    return snap(x * hard_sigmoid(x))


def rms_normalise(x: Tensor) -> Tensor:
    """``x / sqrt(mean(x**2) + eps)`` over the last dimension, snapped; eps is 2**-12.

    The sum of squares is exact (X.18, below 2**53 for up to 2**10 channels at the clamp). It is followed by a product,
    a sum and a division, each correctly rounded, and an exact integer root.
    """
    channels = x.shape[-1]
    energy = (x * x).sum(-1, keepdim=True)
    return snap(x / square_root(energy * (1.0 / channels) + 2.0**-12))


def square_root(x: Tensor) -> Tensor:
    """The square root of ``x`` >= 2**-12; in exact mode rounded down to a multiple of 2**-14.

    For ``x`` below 2**25 this is an integer problem and solved as such, because library functions round differently:
    PyTorch uses MKL, whose last bit is often wrong, and which can be wrong from the 26th bit on when threads race for
    its first call (https://github.com/pytorch/pytorch/issues/188792).
    """
    if not is_exact(x):
        return torch.sqrt(x)
    square = torch.floor(x * 2.0 ** (2 * ROOT_BITS))
    root = torch.sqrt(square)
    root = torch.floor((root + square / root) * 0.5)  # a step of Newton's method: the error is now at most one
    root -= (root * root > square).to(root.dtype)
    root += ((root + 1) * (root + 1) <= square).to(root.dtype)
    return root * 2.0**-ROOT_BITS


@lru_cache(maxsize=1)
def exp_table() -> np.ndarray:
    """``round(2**16 * exp(-n / 64))`` for n in 0..767, then a 0: int64 of shape (769,).

    All entries are at least 1e-6 away from a rounding boundary, so any libm gives the same integers; a test checks
    their CRC.
    """
    values = [round(EXP_ONE * math.exp(-n / 2**LOGIT_BITS)) for n in range(EXP_TABLE_SIZE)]
    return np.array([*values, 0], dtype=np.int64)


@lru_cache
def _exp_table_on(device: torch.device) -> Tensor:
    """`exp_table` in double precision, cached by device to avoid synchronisation with a GPU."""
    with torch.inference_mode(False):
        return torch.from_numpy(exp_table()).to(device=device, dtype=torch.float64)


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
    """Softmax attention.

    Args:
        query: (..., Q, D), ``key``: (..., K, D), ``value``: (..., K, E). K * 2**39 must be below 2**53.
        bias: added to the logits, broadcastable to (..., Q, K).
        mask: boolean, True for keys that must not be read; every query needs at least one key.

    Returns:
        (..., Q, E), snapped. Exact mode: logits snapped to a 1/64 grid, exponentials from ``exp_table``, an exact
        numerator (X.25) and denominator (X.16), one correctly rounded division.
    """
    # A power of two, so that the scaling is exact: 1/sqrt(D) if D is a power of 4, else the next lower one.
    scale = 2.0 ** -math.ceil(math.log2(query.shape[-1]) / 2)
    logits = (query * scale) @ key.transpose(-1, -2)
    if bias is not None:
        logits = logits + bias
    if not is_exact(query):
        if mask is not None:
            logits = logits.masked_fill(mask, -1e4)
        return logits.float().softmax(-1).to(value.dtype) @ value
    logits = (logits * 2.0**LOGIT_BITS).round_()
    if mask is not None:
        logits = logits.masked_fill(mask, -(2.0**40))
    depth = (logits.amax(-1, keepdim=True) - logits).clamp_(max=float(EXP_TABLE_SIZE))
    weights = _exp_table_on(query.device)[depth.to(torch.int64)]
    return snap((weights @ value) / weights.sum(-1, keepdim=True))
