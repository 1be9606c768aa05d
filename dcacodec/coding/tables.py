"""Integer CDF tables: the probabilities of symbols, and the values that they represent.

Tables are part of the weights. They are made once, when weights are published, and read as integers afterwards: nothing
that a decoder needs is computed in floating point.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcacodec.errors import WeightsError

PRECISION_BITS: Final = 16
TOTAL: Final = 1 << PRECISION_BITS
"""The sum of the counts of a row."""
VALUE_LIMIT: Final = 32767
"""The largest magnitude that can be coded. It determines the maximum length of the escape code."""
MAX_ALPHABET: Final = 512
"""Maximum number of symbols per row. It bounds the memory of the compiled decoder, which needs a row per symbol."""
MAX_SHIFT: Final = 15


@dataclass(frozen=True, eq=False)
class CdfTable:
    """R probability models ("rows") over A symbols each, and the values that the symbols represent.

    Symbols 0..A-2 of row r are regular: symbol t represents the 2^k values v, k = `shift[r]`, for which
    `(v >> k) - low[r] == t`; k raw bits distinguish these. The last symbol, A-1, is the escape: it represents all other
    values, which are written with an escape code.

    The arrays are copied and made read-only, so that a table remains valid.

    Attributes:
        cdf: int32 (R, A+1), 2 <= A <= `MAX_ALPHABET`; each row rises strictly from 0 to 65536. Symbol t of row r has
            the probability (cdf[r, t+1] - cdf[r, t]) / 65536.
        low: int32 (R,), the shifted value of regular symbol 0.
        shift: uint8 (R,), 0..15, the number k of raw bits of each regular symbol.

    Raises:
        WeightsError: an array is not as described, or a regular symbol represents a value beyond `VALUE_LIMIT`.
    """

    cdf: NDArray[np.int32]
    low: NDArray[np.int32]
    shift: NDArray[np.uint8]

    def __post_init__(self) -> None:
        cdf, low, shift = (_integers(name, getattr(self, name)) for name in ("cdf", "low", "shift"))
        if cdf.ndim != 2 or cdf.shape[0] == 0 or not 2 <= cdf.shape[1] - 1 <= MAX_ALPHABET:
            raise WeightsError(f"CDF table: the shape {cdf.shape} is not (rows, symbols + 1)")
        for name, array in (("low", low), ("shift", shift)):
            if array.shape != cdf.shape[:1]:
                raise WeightsError(f"CDF table: {name} has the shape {array.shape} where there are {len(cdf)} rows")
        if (cdf[:, 0] != 0).any() or (cdf[:, -1] != TOTAL).any() or (cdf[:, 1:] <= cdf[:, :-1]).any():
            raise WeightsError(f"CDF table: a row does not rise strictly from 0 to {TOTAL}")
        if (shift < 0).any() or (shift > MAX_SHIFT).any():
            raise WeightsError(f"CDF table: a shift is not in 0 to {MAX_SHIFT}")
        if (np.abs(low) > VALUE_LIMIT).any():  # before the shift below, which must not overflow
            raise WeightsError(f"CDF table: a lowest value is beyond {VALUE_LIMIT}")
        first, last = low << shift, ((low + cdf.shape[1] - 2) << shift) - 1
        if (first < -VALUE_LIMIT).any() or (last > VALUE_LIMIT).any():
            raise WeightsError(f"CDF table: a row has regular symbols for values beyond {VALUE_LIMIT}")
        for name, array, dtype in (("cdf", cdf, np.int32), ("low", low, np.int32), ("shift", shift, np.uint8)):
            frozen = array.astype(dtype)
            frozen.flags.writeable = False
            object.__setattr__(self, name, frozen)

    @property
    def rows(self) -> int:
        """R, the number of rows."""
        return len(self.cdf)

    @property
    def alphabet(self) -> int:
        """A, the number of symbols of each row, the escape included."""
        return int(self.cdf.shape[1]) - 1

    @property
    def escape(self) -> int:
        """The escape symbol, A-1."""
        return self.alphabet - 1

    @property
    def zero_probabilities(self) -> NDArray[np.float64]:
        """(R,), the probability of the value 0 in each row; 0 where no regular symbol stands for that value alone."""
        symbol, row = -self.low.astype(np.int64), np.arange(self.rows)
        alone = (self.shift == 0) & (symbol >= 0) & (symbol < self.escape)
        symbol = np.where(alone, symbol, 0)
        return np.where(alone, (self.cdf[row, symbol + 1] - self.cdf[row, symbol]) / TOTAL, 0.0)


def table_from_probabilities(probabilities: ArrayLike, escape: ArrayLike, low: ArrayLike, shift: ArrayLike) -> CdfTable:
    """The table for given probabilities, with the counts that minimise the expected code length.

    Every symbol gets a count of at least 1.

    Args:
        probabilities: (R, A-1), of the regular symbols, non-negative. Each row is normalised together with its escape.
        escape: (R,), of the escape symbol.
        low, shift: see `CdfTable`.

    Raises:
        ValueError: probabilities are negative, not finite or all zero, or shapes do not fit.
        WeightsError: see `CdfTable`.
    """
    regular, rest = np.asarray(probabilities, np.float64), np.asarray(escape, np.float64)
    if regular.ndim != 2 or rest.shape != regular.shape[:1]:
        raise ValueError(f"probabilities of shapes {regular.shape} and {rest.shape}: (R, A-1) and (R,) are needed")
    weights = np.concatenate([regular, rest[:, None]], axis=1)
    totals = weights.sum(axis=1, keepdims=True)
    if not (np.isfinite(weights).all() and (weights >= 0).all() and (totals > 0).all()):
        raise ValueError("probabilities must be finite and not negative, and not all zero in a row")
    counts = _optimal_counts(weights / totals)
    cdf = np.concatenate([np.zeros((len(counts), 1), np.int64), counts.cumsum(axis=1)], axis=1)
    return CdfTable(cdf, np.asarray(low), np.asarray(shift))


def gaussian_table(sigmas: ArrayLike, alphabet: int = 33) -> CdfTable:
    """A table with one row per standard deviation, for integers from a normal distribution with mean 0.

    A regular symbol of row r covers 2^k integers, where k is the smallest for which the regular symbols, (A-1)/2 on
    each side of zero, cover 4 standard deviations; for A = 33 this means sigma / 2^k <= 4.

    Args:
        sigmas: (R,), above 0, in quantisation steps.
        alphabet: A, the number of symbols including the escape, odd.

    Raises:
        ValueError: a sigma is not a positive number, or A is even or below 3.
        WeightsError: a sigma is so large (above 4096 for A = 33) that its row would exceed `VALUE_LIMIT`.
    """
    sigma = np.asarray(sigmas, np.float64)
    if sigma.ndim != 1 or not (np.isfinite(sigma).all() and (sigma > 0).all()):
        raise ValueError("standard deviations must be a list of positive numbers")
    if alphabet < 3 or alphabet % 2 == 0:
        raise ValueError(f"an alphabet of {alphabet} symbols: an odd number from 3 on is needed")
    half = (alphabet - 1) // 2
    # The binary logarithm of a power of two is exact, so a sigma exactly at the limit is treated correctly.
    shift = np.maximum(np.ceil(np.log2(sigma / (half / 4))), 0).astype(np.int64)
    edges = np.arange(-half, half + 1) * 2.0 ** shift[:, None] - 0.5
    scaled = edges / (sigma[:, None] * math.sqrt(2))
    left, right = scaled[:, :-1], scaled[:, 1:]
    # Differences of upper tails are accurate only far from zero, so intervals below zero are mirrored.
    mirrored = left + right < 0
    near, far = np.where(mirrored, -right, left), np.where(mirrored, -left, right)
    erfc = np.vectorize(math.erfc, otypes=[np.float64])
    probabilities = (erfc(near) - erfc(far)) / 2
    tails = (erfc(-scaled[:, 0]) + erfc(scaled[:, -1])) / 2
    return table_from_probabilities(probabilities, tails, np.full(len(sigma), -half), shift)


def _integers(name: str, array: Any) -> NDArray[np.int64]:
    converted = np.asarray(array)
    if not np.issubdtype(converted.dtype, np.integer):
        raise WeightsError(f"CDF table: {name} holds {converted.dtype}, not integers")
    return converted.astype(np.int64)


def _optimal_counts(probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """The positive counts (R, A) with row sums of 65536 that minimise the expected code length.

    The code length -sum(p log c) is a sum of convex functions of single counts. So it is minimal when moving one count
    from a symbol to another gives no gain, and moving counts one by one reaches the minimum.
    """
    counts = np.maximum(np.floor(probabilities * TOTAL), 1).astype(np.int64)
    open_rows = np.arange(len(counts))
    while open_rows.size:
        p, c = probabilities[open_rows], counts[open_rows]
        gain = p * np.log1p(1 / c)
        loss = np.where(c > 1, p * np.log1p(1 / np.maximum(c - 1, 1)), np.inf)
        taker, giver = gain.argmax(axis=1), loss.argmin(axis=1)
        each = np.arange(len(open_rows))
        missing = TOTAL - c.sum(axis=1)
        # The margin exceeds the rounding errors of the logarithms, so that no count moves back and forth forever.
        worth = (missing == 0) & (gain[each, taker] > loss[each, giver] * (1 + 1e-9))
        counts[open_rows, taker] += (missing > 0) | worth
        counts[open_rows, giver] -= (missing < 0) | worth
        open_rows = open_rows[(missing != 0) | worth]
    return counts
