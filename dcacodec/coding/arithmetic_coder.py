"""The arithmetic coder in pure Python: the reference of the bitstream, and the fallback where no compiler is available.

The coder keeps an interval [low, high] of 32-bit numbers. A symbol narrows it to its share of the CDF:

    span = high - low + 1
    high = low + (span * cdf[symbol + 1] >> 16) - 1
    low  = low + (span * cdf[symbol] >> 16)

Then the leading bits that low and high have in common are output, and both are shifted left by as many bits, with ones
shifted into high and zeros into low. If they straddle the middle closely (low = 01..., high = 10...), the second bit is
removed from both, and the next output bit will be followed by one pending bit, its complement (Witten, Neal and Cleary,
CACM 1987). At the end two bits are output, 01 if low is below a quarter of 2^32 and else 10, with the pending
complements after the first of the two, and zeros up to the next full byte: whatever bits follow, they decode to the
same symbols. Reading past the end of the data gives zeros.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from dcacodec.coding.tables import PRECISION_BITS

Integers = NDArray[np.integer[Any]]

_MAX: Final = 0xFFFFFFFF
_HALF: Final = 0x80000000
_QUARTER: Final = 0x40000000
_WORD_BITS: Final = 512


class Coder(Protocol):
    """An arithmetic coder. All coders have the same bitstream."""

    name: str
    """Name in messages."""

    def encode(self, cdf: Integers, rows: Integers, symbols: Integers) -> bytes:
        """Encode symbols to bytes without an end marker: any bytes may follow.

        Args:
            cdf: (R, A+1), see `CdfTable.cdf`.
            rows: (N,), 0..R-1, the row that each symbol is coded with.
            symbols: (N,), 0..A-1.

        Raises:
            ValueError: a row or symbol is out of range, or the shapes differ.
        """

    def decode(self, cdf: Integers, rows: Integers, data: bytes) -> NDArray[np.int64]:
        """Decode N symbols (0..A-1) from the start of `data`. Any data decode to some symbols; zeros follow its end."""


class PythonCoder:
    """The coder in pure Python."""

    name = "python"

    def encode(self, cdf: Integers, rows: Integers, symbols: Integers) -> bytes:
        """See `Coder.encode`."""
        check_indices(cdf, rows, symbols)
        starts, ends = cdf[rows, symbols].tolist(), cdf[rows, symbols + 1].tolist()
        low, high = 0, _MAX
        # The output as a number whose last bit overlaps low. That bit is 1 while bits are pending, and adding the first
        # bit of low resolves them: 0 leaves 01..1, 1 carries to 10..0.
        out, out_bits = 0, 1
        words: list[tuple[int, int]] = []
        for start, end in zip(starts, ends, strict=True):
            span = high - low + 1
            high = low + (span * end >> PRECISION_BITS) - 1
            low += span * start >> PRECISION_BITS
            shift = _settled_bits(low, high)
            if shift:
                low <<= shift
                out = (out << shift) + (low >> 31)
                out_bits += shift
                low &= _MAX >> 1
                high = (high << shift | (1 << shift) - 1) & _MAX | _HALF
                if out_bits >= _WORD_BITS:  # long numbers are slow: start a new one
                    words.append((out, out_bits))
                    out, out_bits = 0, 0
        out = 2 * out + (1 if low < _QUARTER else 2)
        total, total_bits = _join([*words, (out, out_bits + 1)])
        padding = -total_bits % 8
        return (total << padding).to_bytes((total_bits + padding) // 8, "big")

    def decode(self, cdf: Integers, rows: Integers, data: bytes) -> NDArray[np.int64]:
        """See `Coder.decode`."""
        check_indices(cdf, rows)
        table: list[list[int]] = cdf.tolist()
        words = iter(np.frombuffer(data + bytes(-len(data) % 4), ">u4").tolist())
        low, high = 0, _MAX
        offset = next(words, 0)  # of the input number, relative to low
        pool, pool_bits = 0, 0
        symbols = []
        for row in rows.tolist():
            cumulative = table[row]
            span = high - low + 1
            symbol = bisect_right(cumulative, ((offset + 1 << PRECISION_BITS) - 1) // span) - 1
            symbols.append(symbol)
            start = span * cumulative[symbol] >> PRECISION_BITS
            high = low + (span * cumulative[symbol + 1] >> PRECISION_BITS) - 1
            low += start
            offset -= start
            shift = _settled_bits(low, high)
            if shift:
                low = low << shift & _MAX >> 1
                high = (high << shift | (1 << shift) - 1) & _MAX | _HALF
                if pool_bits < shift:
                    pool = pool << 32 | next(words, 0)
                    pool_bits += 32
                pool_bits -= shift
                offset = offset << shift | pool >> pool_bits
                pool &= (1 << pool_bits) - 1
        return np.array(symbols, np.int64)


def check_indices(cdf: Integers, rows: Integers, symbols: Integers | None = None) -> None:
    """Check that no coder reads outside the table.

    Raises:
        ValueError: a row or symbol is not an integer or out of range, or the shapes are not both (N,).
    """
    for name, indices, count in (("row", rows, cdf.shape[0]), ("symbol", symbols, cdf.shape[1] - 1)):
        if indices is None:
            continue
        if indices.shape != (rows.size,) or not np.issubdtype(indices.dtype, np.integer):
            raise ValueError(f"{name}s must be integers ({rows.size},), not {indices.dtype} {indices.shape}")
        if indices.size and not (indices.min() >= 0 and indices.max() < count):
            raise ValueError(f"a {name} is not in 0 to {count - 1}")


def _settled_bits(low: int, high: int) -> int:
    """The number of bits to shift: the leading bits in common, and those of a close straddle of the middle.

    After the first different bit, which is 0 in low and 1 in high, a straddle bit is 1 in low and 0 in high.
    """
    below = (low ^ high).bit_length() - 1
    return 31 - ((high | ~low) & (1 << below) - 1).bit_length()


def _join(words: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Concatenate numbers, given with their lengths in bits; each may carry into the one before."""
    while len(words) > 1:  # in pairs, so that the time stays near-linear
        pairs = zip(words[::2], words[1::2], strict=False)
        joined = [((first << bits) + second, first_bits + bits) for (first, first_bits), (second, bits) in pairs]
        words = [*joined, *words[len(joined) * 2 :]]
    return words[0]
