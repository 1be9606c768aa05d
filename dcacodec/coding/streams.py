"""Streams: integers, each coded with a row of a CDF table, as bytes (docs/reference/format.md is the specification).

A stream consists of chunks of at most `CHUNK_SYMBOLS` values. Each chunk but the last is preceded by its length in
bytes; the last one takes the rest. A stream of no values is empty. In a chunk, arithmetic-coded bytes run forwards from
the front, and raw bits backwards from the end, so that neither needs a length:

    [length] [arithmetic-coded bytes --> <-- raw bits] [length] [... --> <-- ...] [... --> <-- ...]
"""

from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dcacodec.coding.arithmetic_coder import Coder, Integers, check_indices
from dcacodec.coding.tables import PRECISION_BITS, VALUE_LIMIT, CdfTable
from dcacodec.errors import BadVarintError, StreamError
from dcacodec.format.varint import VARINT_BYTES, read_varint, varint

CHUNK_SYMBOLS: Final = 1 << 18
"""Values per chunk. Part of the format; it bounds the memory for one row of the table per symbol."""

_LARGEST_EXPONENT: Final = 15
"""Largest exponent of the escape code, which corresponds to `VALUE_LIMIT`."""


def encode_values(values: Integers, rows: Integers, table: CdfTable, coder: Coder) -> bytes:
    """Encode values to a stream. All coders give the same bytes.

    Args:
        values: (N,), -`VALUE_LIMIT`..`VALUE_LIMIT`.
        rows: (N,), 0..R-1, the row of the table for each value. They are not coded: the decoder must know them.
        table: the probability models.
        coder: see `best_coder`.

    Raises:
        ValueError: a value or row is out of range, or the shapes differ.
    """
    rows = _checked_rows(rows, table)
    values = _checked_values(values, rows.size)
    parts = []
    for begin in range(0, values.size, CHUNK_SYMBOLS):
        end = begin + CHUNK_SYMBOLS
        chunk = _encode_chunk(values[begin:end], rows[begin:end], table, coder)
        parts += [varint(len(chunk)), chunk] if end < values.size else [chunk]
    return b"".join(parts)


def decode_values(data: bytes, rows: Integers, table: CdfTable, coder: Coder) -> NDArray[np.int32]:
    """Decode the values of a stream.

    Damage usually turns a stream into one of other values; only a checksum detects that, such as the checksum of the
    latents in a file. Bytes that no value depends on are not detected either: the compiled coder does not report how
    many bytes it has read, and encoding the values again takes as long as decoding.

    Args:
        data: the whole stream. Time and memory are bounded by its length and that of `rows`, whatever its content.
        rows, table: the same as for encoding.
        coder: any coder.

    Returns:
        (N,), -`VALUE_LIMIT`..`VALUE_LIMIT`.

    Raises:
        StreamError: the stream is too short or too long for the values, or a value is beyond `VALUE_LIMIT`.
        ValueError: a row is out of range.
    """
    rows = _checked_rows(rows, table)
    values = np.empty(rows.size, np.int32)
    position = 0
    for begin in range(0, rows.size, CHUNK_SYMBOLS):
        end = begin + CHUNK_SYMBOLS
        length = len(data) - position
        if end < rows.size:
            length, position = _read_length(data, position)
        chunk = data[position : position + length]
        if len(chunk) < length:
            raise StreamError("a stream ends before its last chunk")
        values[begin:end] = _decode_chunk(chunk, rows[begin:end], table, coder)
        position += length
    if position != len(data):
        raise StreamError(f"a stream of no values has {len(data)} bytes")
    return values


def ideal_bits(values: Integers, rows: Integers, table: CdfTable) -> float:
    """The ideal code length of values by the probabilities of the table, in bits, raw bits included.

    Args and errors: see `encode_values`. A stream exceeds it by about 5 bytes per chunk.
    """
    rows = _checked_rows(rows, table)
    values = _checked_values(values, rows.size)
    symbols, _, widths = _split(values, rows, table)
    counts = table.cdf[rows, symbols + 1] - table.cdf[rows, symbols]
    return float((PRECISION_BITS - np.log2(counts)).sum() + widths.sum())


def symbol_counts(values: Integers, rows: Integers, table: CdfTable) -> NDArray[np.int64]:
    """The number of occurrences of each symbol in each row of the table, (R, A).

    Args and errors: see `encode_values`.
    """
    rows = _checked_rows(rows, table)
    symbols, _, _ = _split(_checked_values(values, rows.size), rows, table)
    alphabet = table.cdf.shape[1] - 1
    return np.bincount(rows * alphabet + symbols, minlength=table.rows * alphabet).reshape(-1, alphabet)


def _checked_rows(rows: Integers, table: CdfTable) -> NDArray[np.int64]:
    check_indices(table.cdf, rows)
    return rows.astype(np.int64, copy=False)


def _checked_values(values: Integers, count: int) -> NDArray[np.int32]:
    if values.shape != (count,) or not np.issubdtype(values.dtype, np.integer):
        raise ValueError(f"values must be integers ({count},), not {values.dtype} {values.shape}")
    if values.size and not (values.min() >= -VALUE_LIMIT and values.max() <= VALUE_LIMIT):
        raise ValueError(f"a value is not in -{VALUE_LIMIT} to {VALUE_LIMIT}")
    return values.astype(np.int32)


def _encode_chunk(values: NDArray[np.int32], rows: NDArray[np.int64], table: CdfTable, coder: Coder) -> bytes:
    symbols, codes, widths = _split(values, rows, table)
    return coder.encode(table.cdf, rows, symbols) + _pack_backwards(codes, widths)


def _decode_chunk(chunk: bytes, rows: NDArray[np.int64], table: CdfTable, coder: Coder) -> NDArray[np.int32]:
    if len(chunk) > _most_bytes(rows.size):
        raise StreamError(f"a chunk of {len(chunk)} bytes is too long for {rows.size} values")
    return _merge(coder.decode(table.cdf, rows, chunk), rows, table, chunk)


def _most_bytes(count: int) -> int:
    """An upper bound of the size of a chunk: per value little more than 16 arithmetic-coded bits, and 31 raw bits."""
    return 6 * count + 16


def _split(
    values: NDArray[np.int32], rows: NDArray[np.int64], table: CdfTable
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """The symbol of each value, and its raw bits: a number and its width in bits, the least significant bit first.

    The raw bits of an escape are the Exp-Golomb code of order 0 of u = 2v - 1 (v > 0) or -2v: with e the exponent of
    the highest one bit of u + 1, e zeros, a one, and the e bits of u + 1 below the highest.
    """
    widths = table.shift[rows].astype(np.int32)
    symbols = (values >> widths) - table.low[rows]
    codes = values & ((1 << widths) - 1)
    escaped = np.flatnonzero((symbols < 0) | (symbols >= table.escape))
    if escaped.size:
        signed = values[escaped]
        number = np.where(signed > 0, 2 * signed, 1 - 2 * signed)  # u + 1
        exponent = np.frexp(number.astype(np.float64))[1] - 1
        symbols[escaped] = table.escape
        codes[escaped] = (number - (1 << exponent)) << exponent + 1 | 1 << exponent
        widths[escaped] = 2 * exponent + 1
    return symbols, codes, widths


def _merge(symbols: NDArray[np.int64], rows: NDArray[np.int64], table: CdfTable, chunk: bytes) -> NDArray[np.int32]:
    """The values of symbols and of the raw bits at the end of the chunk; the inverse of `_split`."""
    shift = table.shift[rows]
    values = (symbols + table.low[rows]) << shift
    coarse = np.flatnonzero((shift > 0) | (symbols == table.escape))  # those with raw bits: few, but at high qualities
    if not coarse.size:
        return values.astype(np.int32)
    bits = np.unpackbits(np.frombuffer(chunk, np.uint8)[::-1], bitorder="little")
    escaped = np.flatnonzero(symbols[coarse] == table.escape)
    widths = shift[coarse].astype(np.int64)
    widths[escaped] = 0
    low_widths = widths.copy()
    exponent = _exponents(bits, (widths.cumsum() - widths)[escaped])
    widths[escaped] = 2 * exponent + 1
    ends = widths.cumsum()
    if ends[-1] > bits.size:
        raise StreamError("a chunk ends before its last raw bit")
    starts = ends - widths
    values[coarse] += _take_bits(bits, starts, low_widths)
    number = (1 << exponent) + _take_bits(bits, starts[escaped] + exponent + 1, exponent)  # u + 1
    values[coarse[escaped]] = np.where(number % 2 == 0, number // 2, -(number // 2))
    return values.astype(np.int32)


def _exponents(bits: NDArray[np.uint8], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of leading zeros of each escape code.

    Args:
        bits: the raw bits, one per element.
        starts: the positions of the codes without the bits of earlier codes.
    """
    text = bits.tobytes()
    behind = 0
    exponents = []
    for start in starts.tolist():
        position = start + behind
        one = text.find(b"\1", position, position + _LARGEST_EXPONENT + 1)
        if one < 0:
            raise StreamError("a chunk ends in an escape code, or codes a value that is too large")
        exponents.append(one - position)
        behind += 2 * (one - position) + 1
    return np.array(exponents, np.int64)


def _pack_backwards(codes: NDArray[np.int32], widths: NDArray[np.int32]) -> bytes:
    """Write the low `widths` bits of `codes` from the end of the result to its front.

    The first bit is the least significant bit of the last byte. Unused high bits of the first byte are zero.
    """
    left = np.flatnonzero(widths)
    codes, widths = codes[left], widths[left]
    begins = widths.cumsum(dtype=np.int32) - widths
    places = np.arange(widths.sum(), dtype=np.int32) - np.repeat(begins, widths)
    bits = (np.repeat(codes, widths) >> places & 1).astype(np.uint8)
    return np.packbits(bits, bitorder="little")[::-1].tobytes()


def _take_bits(bits: NDArray[np.uint8], starts: NDArray[np.int64], widths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers of `widths` bits each that begin at `starts`, the least significant bit first."""
    numbers = np.zeros(starts.size, np.int64)
    for bit in range(int(widths.max(initial=0))):
        longer = np.flatnonzero(widths > bit)
        numbers[longer] |= bits[starts[longer] + bit].astype(np.int64) << bit
    return numbers


def _read_length(data: bytes, position: int) -> tuple[int, int]:
    """The length of the next chunk, and the position after the length."""
    try:
        length = read_varint(partial(next, iter(data[position : position + VARINT_BYTES])))
    except (StopIteration, BadVarintError) as error:
        raise StreamError("the length of a chunk is truncated, too large or not in its shortest form") from error
    return length, position + len(varint(length))
