"""Fixed-point arithmetic in NumPy integers, from the specification (docs/reference/format.md): see `oracle.py`.

Without PyTorch, and without code of the network. An X.n is an int64 in units of 2**-n.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]
Mask = NDArray[np.bool_]

ACTIVATION, LOGIT, SHARE = 6, 6, 8
EXACT = 1 << 24
"""Integers below it are exact in float32."""
FINEST_WEIGHT = 14
MOST_KEYS = 16
FARTHEST = 444
EXPONENTIALS = np.array([*(round(512 * math.exp(-d / 64)) for d in range(FARTHEST)), 0], np.int64)


class Rows(NamedTuple):
    """Weights (out, ...) and what is added (out): units * 2**-bits and added * 2**-(6 + bits), bits (out)."""

    units: Int
    added: Int
    bits: Int


def fraction_bits(values: NDArray[np.float64]) -> Int:
    """The smallest number of bits behind the point, 0..40, with which all numbers of a row (rows, n) are integers."""
    bits = np.full(len(values), -1, np.int64)
    for places in range(40, -1, -1):
        scaled = values * 2.0**places
        bits[(scaled == np.rint(scaled)).all(1)] = places
    assert (bits >= 0).all()
    return bits


def integers(values: NDArray[Any], bits: int) -> Int:
    """Numbers that are multiples of 2**-bits, in these units."""
    scaled = values.astype(np.float64) * 2.0**bits
    assert (scaled == np.rint(scaled)).all()
    return scaled.astype(np.int64)


def rows_of(weight: NDArray[Any], bias: NDArray[Any] | None) -> Rows:
    """The integers of a layer, on the coarsest grid of each of its rows."""
    rows = weight.astype(np.float64).reshape(len(weight), -1)
    added = np.zeros(len(rows)) if bias is None else bias.astype(np.float64)
    bits = np.maximum(fraction_bits(rows), fraction_bits(added[:, None]) - ACTIVATION)
    units = integers(rows * 2.0 ** bits[:, None], 0).reshape(weight.shape)
    assert np.abs(units).max() <= 1 << 11 and bits.max() <= FINEST_WEIGHT
    return Rows(units, integers(added * 2.0 ** (bits + ACTIVATION), 0), bits)


def shift_right(units: Int, bits: int | Int) -> Int:
    """units / 2**bits, rounded half to even."""
    floor, rest, unit = units >> bits, units & (1 << bits) - 1, 1 << np.asarray(bits, np.int64)
    up = (2 * rest > unit) | ((2 * rest == unit) & (floor & 1 == 1))
    rounded: Int = floor + up
    return rounded


def divide(numerator: Int, denominator: Int) -> Int:
    """The quotient of integers, rounded half to even."""
    floor, rest = np.divmod(numerator, denominator)
    rounded: Int = floor + ((2 * rest > denominator) | ((2 * rest == denominator) & (floor & 1 == 1)))
    return rounded


def gated(a: Int, b: Int) -> Int:
    """a s(b), X.6 like both."""
    gates = (b + (2 << ACTIVATION)).clip(0, 4 << ACTIVATION)  # X.8
    assert np.abs(a).max() * gates.max() < EXACT
    return shift_right(a * gates, 2 + ACTIVATION)


def scale_bits(width: int) -> int:
    """e, where logits of heads of so many channels have the factor 2**-e."""
    return math.ceil(math.log2(width) / 2)


def exponentials(query: Int, key: Int, bias: Int, down: int, shown: Mask | None = None) -> Int:
    """(Q, D), (K, D) and bias (Q, K), X.6 -> the weights of the softmax (Q, K), X.9; 0 for keys that are not shown."""
    logits = (query @ key.T) + (bias << ACTIVATION + down)  # X.(12 + down)
    size = np.abs(query) @ np.abs(key.T) + (np.abs(bias) << ACTIVATION + down)
    shown = np.ones_like(logits, bool) if shown is None else shown
    assert shown.any(1).all() and shown.sum(1).max() <= MOST_KEYS
    assert size[shown].max() < EXACT
    logits = shift_right(logits, 2 * ACTIVATION + down - LOGIT)
    logits = np.where(shown, logits, np.iinfo(np.int64).min // 2)
    weights: Int = EXPONENTIALS[(logits.max(1, keepdims=True) - logits).clip(max=FARTHEST)]
    return weights


def attention(query: Int, key: Int, value: Int, bias: Int, hidden: Mask) -> Int:
    """(Q, D), (K, D), (K, E) X.6 -> (Q, E) X.6. bias (Q, K) X.6; hidden (Q, K)."""
    weights = exponentials(query, key, bias, scale_bits(query.shape[1]), ~hidden)
    assert (weights @ np.abs(value)).max() < EXACT
    # In float32 it is one division, then rounding. That is the same: a quotient below 2**9 is off by 2**-16 at most,
    # and one that is no tie is 2**-14 or more from it, because twice its denominator is at most 2**14.
    total = weights.sum(1, keepdims=True)
    assert total.max() <= 1 << 13 and np.abs(value).max() < 1 << 9
    return divide(weights @ value, total)


def depth_to_space(x: Int) -> Int:
    """(h, w, 4 * C) -> (2h, 2w, C): the vector runs over row, column, channel of a cell."""
    height, width, depth = x.shape
    out = np.empty((2 * height, 2 * width, depth // 4), np.int64)
    for row in range(2):
        for column in range(2):
            first = (2 * row + column) * depth // 4
            out[row::2, column::2] = x[:, :, first : first + depth // 4]
    return out
