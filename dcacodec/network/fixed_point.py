"""Exact arithmetic: the operations of the entropy model.

In training the entropy model is an ordinary network. When weights are published, each of its layers gets a limit for
every channel of its output (see `Snap`), and its parameters are rounded. From then on **all its tensors hold
fixed-point numbers**: an activation is an integer times ``2**-6``, a weight an integer times ``2**-w``, where w is the
largest for the row of the weight matrix with which

    2**(6 + w) * (sum(|weight| * limit of the input) + |bias| + limit of what is added) < 2**24

So no sum of products, in *any* order, leaves the integers that float32 represents exactly: the result does not depend
on the BLAS, the number of threads, the memory layout or the device. The bound is proven from the weights alone when
they are published (:mod:`dcacodec.weights.bounds`). All else is elementwise, and exact as well::

    activations             X.6    |a| < 2**9          15 bits with sign
    inputs of windows       X.6    |a| < 2**3          queries, keys and values of attention in windows
    gates, shares           X.8    0..1                products with activations: 24 bits
    means, y_hat            X.9    |m| <= 2**12        in float64, as are the two products with per-quality scales
    per-quality scales      X.16   |s| < 2**15

Normalisation and softmax divide; their quotients are rounded such that float32 and float64 give the same result. Square
roots are computed on integers. (The idea is from Balle et al., "Integer networks for data compression with
latent-variable models", 2019.)
"""

from __future__ import annotations

import math
from functools import cache, lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATION_BITS = 6
LATENT_BITS = 9
SCALE_BITS = 16
SIGNIFICANT_BITS = 24
"""Of float32: integers up to ``2**24`` are represented exactly."""

SHARE_BITS = 8
"""Of the softmax, where its results are factors of a product of matrices."""

LATENT_LIMIT = float(2**12)
"""Means are clamped to this magnitude."""
LARGEST_LIMIT = 2.0**9 - 2.0**-ACTIVATION_BITS
"""Of any activation, so that its product with a gate is exact."""
ATTENTION_LIMIT = 2.0**3 - 2.0**-ACTIVATION_BITS
"""Of queries, keys and values in windows: sums of products are exact for up to 63 channels and `MOST_KEYS` keys."""
MOST_KEYS = 16
"""Keys of a query: with more of them, rounding a quotient could depend on the precision of the division."""

NORM_LIMIT = 2.0**6 - 2.0**-ACTIVATION_BITS
"""Of activations that are normalised, so that their squares are exact."""
ROOT_BITS = 14
"""Square roots are multiples of ``2**-14``."""
INVERSE_BITS = 11
"""Significant bits of the inverse of a root: its product with an activation below 2**6 is exact in float32."""

LOGIT_BITS = 6
EXP_ONE = 2**9
EXP_TABLE_SIZE = 444
"""Logits more than 6.93 below the largest one get the weight 0, as ``round(2**9 * exp(-444 / 64))`` is."""


@cache
def _rounder(bits: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Adding this to a number rounds it to multiples of ``2**-bits``, half to even; subtracting it again is exact.

    For magnitudes below ``2**(22 - bits)`` in float32, ``2**(51 - bits)`` in float64. A tensor of the same dtype takes
    a third of the time that a number takes, which is converted.
    """
    with torch.inference_mode(False):
        return torch.tensor(1.5 * 2.0 ** ((52 if dtype == torch.float64 else 23) - bits), dtype=dtype, device=device)


def to_grid(x: Tensor, bits: int = ACTIVATION_BITS) -> Tensor:
    """Round half-even to multiples of ``2**-bits``. ``x`` is overwritten: pass a tensor that is not used elsewhere."""
    rounder = _rounder(bits, x.dtype, x.device)
    return x.add_(rounder).sub_(rounder)


class Snap(nn.Module):
    """Clamps each channel to its limit and rounds to multiples of ``2**-6``; the identity in training.

    (..., C) -> the same. Input in float64 becomes the dtype of the limits. The input is overwritten.

    Attributes:
        channels: C, or 1 for one limit of all channels.
        limit: (C,), multiples of ``2**-6`` up to `LARGEST_LIMIT`; None in training.
    """

    limit: Tensor | None
    _lowest: Tensor | None

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("limit", None)
        self.register_buffer("_lowest", None, persistent=False)

    def set_limit(self, limit: Tensor | None) -> None:
        """Make the layer exact, or with None the identity.

        Raises:
            ValueError: the limits are not of shape (C,).
        """
        if limit is not None and limit.shape != (self.channels,):
            raise ValueError(f"limits of shape {tuple(limit.shape)} for {self.channels} channels")
        self.limit, self._lowest = limit, None if limit is None else -limit

    @property
    def exact(self) -> bool:
        """Whether the layer computes with fixed-point numbers."""
        return self.limit is not None

    def forward(self, x: Tensor) -> Tensor:
        if self.limit is None:
            return x
        # Clamped first, so that rounding cannot leave the range of its trick.
        return to_grid(x.clamp_(self._lowest, self.limit)).to(self.limit.dtype)


_HALF = torch.tensor(0.5, dtype=torch.float32, device="cpu")


def hard_sigmoid(x: Tensor) -> Tensor:
    """``clip(x/4 + 1/2, 0, 1)``: slopes are powers of two, so X.6 gives X.8 exactly."""
    return F.hardtanh(torch.add(_HALF, x, alpha=0.25), 0.0, 1.0, inplace=True)


def gate(a: Tensor, b: Tensor, exact: bool) -> Tensor:
    """``a * hard_sigmoid(b)``; if `exact`, rounded, without gradients.

    No clamp is needed: its magnitude is at most that of ``a``.
    """
    if exact:  # The product and its sum with the number that rounds it are one operation, as the product is exact.
        rounder, slope = _rounder(ACTIVATION_BITS, a.dtype, a.device), hard_sigmoid(b)
        return torch.addcmul(rounder, a, slope, out=slope).sub_(rounder)
    return a * hard_sigmoid(b) if torch.is_grad_enabled() else hard_sigmoid(b).mul_(a)


def hard_swish(x: Tensor, exact: bool) -> Tensor:
    """``x * hard_sigmoid(x)``, rounded if `exact`."""
    return gate(x, x, exact)


def inverse_rms(x: Tensor) -> Tensor:
    """``1 / sqrt(mean(x**2) + eps)`` over the last dimension, which is kept with size 1; eps is 2**-12."""
    return torch.rsqrt(x.square().mean(-1, keepdim=True) + 2.0**-12)


def exact_inverse_rms(x: Tensor) -> Tensor:
    """`inverse_rms` of fixed-point numbers within `NORM_LIMIT`, rounded to `INVERSE_BITS` significant bits.

    Squares are exact. Their sum, the root and the inverse are computed in float64.
    """
    energy = (x * x).sum(-1, keepdim=True, dtype=torch.float64)
    inverse = 1.0 / square_root(energy * (1.0 / x.shape[-1]) + 2.0**-12)
    return _leading_bits(inverse, INVERSE_BITS).to(x.dtype)


def _leading_bits(x: Tensor, bits: int) -> Tensor:
    """Round float64 numbers to so many significant bits (Veltkamp's splitting).

    A tie may be rounded either way. An inverse is none, unless it is a power of two and nothing is rounded: that of an
    integer below 2**21 differs from a number of 12 bits by at least 2**-33 of it. Only single IEEE operations are used:
    `torch.ldexp` multiplies by ``pow(2, exponent)``, and the last bit of a library's power is not certain.
    """
    scaled = x * (2.0 ** (53 - bits) + 1)
    return scaled - (scaled - x)


def square_root(x: Tensor) -> Tensor:
    """The square root of float64 ``x`` in 2**-12..2**25, rounded down to a multiple of 2**-14.

    This is an integer problem and solved as such, because library functions round differently: PyTorch uses MKL, whose
    last bit is often wrong, and which can be wrong from the 26th bit on when threads race for its first call
    (https://github.com/pytorch/pytorch/issues/188792).
    """
    square = torch.floor(x * 2.0 ** (2 * ROOT_BITS))
    root = torch.sqrt(square)
    root = torch.floor((root + square / root) * 0.5)  # a step of Newton's method: the error is now at most one
    root -= (root * root > square).to(root.dtype)
    root += ((root + 1) * (root + 1) <= square).to(root.dtype)
    return root * 2.0**-ROOT_BITS


@lru_cache(maxsize=1)
def exp_table() -> np.ndarray:
    """``round(2**9 * exp(-n / 64))`` for n in 0..443, then a 0: int64 of shape (445,).

    All entries are at least 1e-6 away from a rounding boundary, so any libm gives the same integers; a test checks
    their CRC.
    """
    values = [round(EXP_ONE * math.exp(-n / 2**LOGIT_BITS)) for n in range(EXP_TABLE_SIZE)]
    return np.array([*values, 0], dtype=np.int64)


@lru_cache
def _exp_table_on(device: torch.device, dtype: torch.dtype) -> Tensor:
    """`exp_table` in a floating-point dtype, cached by device to avoid synchronisation with a GPU."""
    with torch.inference_mode(False):
        return torch.from_numpy(exp_table()).to(device=device, dtype=dtype)


def filter3x3(x: Tensor, weight: Tensor, bias: Tensor, exact: bool) -> Tensor:
    """Depthwise 3x3 cross-correlation with zero padding: (B, H, W, C) -> the same. ``weight`` (C, 1, 3, 3), bias (C).

    If `exact`, the memory layout is the one for which PyTorch adds up the nine products. For channels-last on a GPU it
    calls cuDNN, which may use TensorFloat-32 (by default) or Winograd's algorithm, whose terms are larger; and for
    planes on some ARM processors it uses Winograd's algorithm itself.
    """
    planes = x.permute(0, 3, 1, 2)
    if exact:
        planes = planes.contiguous(memory_format=torch.contiguous_format if x.is_cuda else torch.channels_last)
    return F.conv2d(planes, weight, bias, padding=1, groups=x.shape[-1]).permute(0, 2, 3, 1)


def logit_scale(width: int) -> float:
    """The factor on logits of heads of so many channels: ``width**-0.5``, or the next lower power of two."""
    return 2.0 ** -math.ceil(math.log2(width) / 2)


def attend(
    query: Tensor, key: Tensor, value: Tensor, exact: bool, bias: Tensor | None = None, mask: Tensor | None = None
) -> Tensor:
    """Softmax attention.

    Args:
        query: (..., Q, D), ``key``: (..., K, D), ``value``: (..., K, E); if `exact`, within `ATTENTION_LIMIT`, with D
            at most 63 and K at most `MOST_KEYS`.
        exact: with fixed-point numbers.
        bias: added to the logits, broadcastable to (..., Q, K); if `exact`, so small that their sum is exact (see
            :mod:`dcacodec.weights.bounds`).
        mask: boolean, True for keys that must not be read; every query needs at least one key.

    Returns:
        (..., Q, E). Exact mode: logits rounded to a 1/64 grid, exponentials from ``exp_table``, an exact numerator
        (X.15) and denominator (X.9), and their quotient rounded to the grid of activations. The quotient is less than
        2**9 units, and the denominator less than 2**13: a quotient that is no tie is further from it than the rounding
        error of float32.
    """
    logits = query @ (key * logit_scale(query.shape[-1])).transpose(-1, -2)
    if bias is not None:
        logits = logits + bias
    if not exact:
        if mask is not None:
            logits = logits.masked_fill(mask, -1e4)
        return softmax_shares(logits, exact=False).to(value.dtype) @ value
    weights = _exponentials(logits, mask)
    return to_grid((weights @ value).div_(weights.sum(-1, keepdim=True)))


def softmax_shares(logits: Tensor, exact: bool) -> Tensor:
    """The softmax of logits (..., K); if `exact`, from ``exp_table``, and rounded to multiples of ``2**-8``.

    The quotient is 2**8 units at most, so it is rounded rightly in float32, as in `attend`. Each share is rounded by
    itself, so their sum may differ from 1. If `exact`, ``logits`` is overwritten.
    """
    if not exact:
        return logits.float().softmax(-1).to(logits.dtype)
    weights = _exponentials(logits)
    return to_grid(weights.div_(weights.sum(-1, keepdim=True)), SHARE_BITS)


def _exponentials(logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """Of logits (..., K), rounded, relative to the largest: integers from ``exp_table``. ``logits`` is overwritten."""
    logits = logits.mul_(2.0**LOGIT_BITS).round_()
    if mask is not None:
        logits.masked_fill_(mask, -(2.0**22))
    largest = logits.amax(-1, keepdim=True)
    depth = logits.neg_().add_(largest).clamp_(max=float(EXP_TABLE_SIZE))
    # A third of the time that indexing takes.
    return _exp_table_on(depth.device, depth.dtype).index_select(0, depth.flatten().int()).view(depth.shape)
