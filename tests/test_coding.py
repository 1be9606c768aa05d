"""Coding: the two coders against each other and against committed bytes, streams, tables, and how torchac is built."""

import errno
import heapq
import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from told import one_line

from dcacodec.coding import (
    CHUNK_SYMBOLS,
    VALUE_LIMIT,
    CdfTable,
    Coder,
    CoderUnavailableError,
    PythonCoder,
    TorchacCoder,
    decode_values,
    encode_values,
    gaussian_table,
    ideal_bits,
    table_from_probabilities,
)
from dcacodec.coding import (
    torchac as compiled,
)
from dcacodec.coding.tables import TOTAL
from dcacodec.errors import StreamError, WeightsError

Ints = NDArray[np.int64]
PYTHON = PythonCoder()
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def torchac() -> TorchacCoder:
    """The compiled coder. It may only be missing where there is no compiler."""
    try:
        return TorchacCoder()
    except CoderUnavailableError as error:
        if shutil.which(os.environ.get("CXX") or "c++") is None:
            pytest.skip(f"NOT TESTED AGAINST TORCHAC: {error}")
        raise


@pytest.fixture(params=["python", "torchac"])
def coder(request: pytest.FixtureRequest) -> Coder:
    if request.param == "python":
        return PYTHON
    compiled_coder: TorchacCoder = request.getfixturevalue("torchac")
    return compiled_coder


def table(cdf: list[list[int]], low: list[int] | None = None, shift: list[int] | None = None) -> CdfTable:
    return CdfTable(np.array(cdf), np.array(low or [0] * len(cdf)), np.array(shift or [0] * len(cdf)))


def ints(*values: int) -> Ints:
    return np.array(values, np.int64)


def random_cdf(rng: np.random.Generator, rows: int, alphabet: int) -> Ints:
    """Rows from near-uniform to very skewed."""
    concentration = np.geomspace(0.01, 10, rows)[:, None]
    weights = rng.gamma(np.broadcast_to(concentration, (rows, alphabet))) + 1e-9
    counts = 1 + np.floor(weights / weights.sum(axis=1, keepdims=True) * (TOTAL - alphabet)).astype(np.int64)
    counts[np.arange(rows), counts.argmax(axis=1)] += TOTAL - counts.sum(axis=1)
    return np.concatenate([np.zeros((rows, 1), np.int64), counts.cumsum(axis=1)], axis=1)


# ---------------------------------------------------------------------------------------------------------------------
# Two coders, one bitstream

CDF = np.array([[0, 16384, 32768, 49152, TOTAL], [0, 1, 2, 65535, TOTAL], [0, 20000, 20001, 65535, TOTAL]])
THIRDS = np.array([[0, 21845, 43690, TOTAL]])
GOLDEN = {
    "no symbol": (CDF, [], [], "40"),
    "one symbol": (CDF, [0], [2], "90"),
    "all rows": (CDF, [0, 1, 2] * 8, [0, 1, 2, 3] * 6, "000074e1e364865265a51752f098c84b0e36e18d802a90"),
    "rare symbols": (CDF, [1] * 12, [0, 3, 1] * 4, "0000ffff00010000ffff00010000ffff00010000ffff000140"),
    "sure symbols": (CDF, [1] * 400, [2] * 400, "40"),
    "owed bits": (THIRDS, [0] * 40, [1] * 40, "7fff40004d0b026780"),
}


@pytest.mark.parametrize(("cdf", "rows", "symbols", "expected"), GOLDEN.values(), ids=GOLDEN.keys())
def test_coder_makes_golden_bytes(coder: Coder, cdf: Ints, rows: list[int], symbols: list[int], expected: str) -> None:
    data = coder.encode(cdf, ints(*rows), ints(*symbols))
    assert data.hex() == expected
    assert coder.decode(cdf, ints(*rows), data).tolist() == symbols


@pytest.mark.parametrize("kind", ["by probability", "uniform", "most probable", "least probable", "escapes", "first"])
@pytest.mark.parametrize("alphabet", [2, 3, 33, 257, 512])
@pytest.mark.parametrize("count", [0, 1, 7, 3000])
def test_coders_agree(torchac: TorchacCoder, kind: str, alphabet: int, count: int) -> None:
    rng = np.random.default_rng([alphabet, count])
    cdf = random_cdf(rng, 20, alphabet)
    rows = rng.integers(0, 20, count)
    counts = np.diff(cdf)[rows]
    symbols = {
        "by probability": (cdf[rows, 1:] <= rng.integers(0, TOTAL, count)[:, None]).sum(axis=1),
        "uniform": rng.integers(0, alphabet, count),
        "most probable": counts.argmax(axis=1),
        "least probable": counts.argmin(axis=1),
        "escapes": np.full(count, alphabet - 1),
        "first": np.zeros(count, np.int64),
    }[kind]
    assert_coders_agree(torchac, cdf, rows, symbols)


@pytest.mark.parametrize("symbol", range(4))
@pytest.mark.parametrize("row", [[0, 1, 2, 65535, TOTAL], [0, 65533, 65534, 65535, TOTAL], [0, 1, 2, 3, TOTAL]])
def test_coders_agree_on_extreme_rows(torchac: TorchacCoder, row: list[int], symbol: int) -> None:
    """Symbols of one count of 65536, and almost sure ones, over and over."""
    assert_coders_agree(torchac, np.array([row]), np.zeros(5000, np.int64), np.full(5000, symbol))


@pytest.mark.parametrize("count", [1, 31, 32, 33, 510, 511, 512, 513, 514, 5000])
@pytest.mark.parametrize("last", [0, 1, 2])
def test_coders_agree_on_long_carries(torchac: TorchacCoder, count: int, last: int) -> None:
    """Middle symbols leave bits owed for very long; the last symbol settles them to one side or the other."""
    cdf = np.array([[0, 32767, 32769, TOTAL]])
    symbols = ints(*[1] * count, last, 0)
    assert_coders_agree(torchac, cdf, np.zeros(symbols.size, np.int64), symbols)


@st.composite
def symbol_sequences(draw: st.DrawFn) -> tuple[Ints, Ints, Ints]:
    alphabet = draw(st.integers(2, 12))
    cuts = st.lists(st.integers(1, TOTAL - 1), min_size=alphabet - 1, max_size=alphabet - 1, unique=True)
    cdf = np.array([[0, *sorted(draw(cuts)), TOTAL] for _ in range(draw(st.integers(1, 4)))])
    pairs = draw(st.lists(st.tuples(st.integers(0, len(cdf) - 1), st.integers(0, alphabet - 1)), max_size=80))
    return cdf, ints(*(row for row, _ in pairs)), ints(*(symbol for _, symbol in pairs))


@given(symbol_sequences(), st.binary(max_size=6))
@settings(max_examples=200, deadline=None)
def test_coders_agree_on_any_table(torchac: TorchacCoder, sequence: tuple[Ints, Ints, Ints], following: bytes) -> None:
    assert_coders_agree(torchac, *sequence, following=following)


@given(symbol_sequences(), st.binary(max_size=40))
@settings(max_examples=200, deadline=None)
def test_coders_decode_any_bytes_alike(torchac: TorchacCoder, sequence: tuple[Ints, Ints, Ints], data: bytes) -> None:
    cdf, rows, _ = sequence
    symbols = PYTHON.decode(cdf, rows, data)
    assert symbols.tolist() == torchac.decode(cdf, rows, data).tolist()
    assert all(0 <= symbol < cdf.shape[1] - 1 for symbol in symbols)


def assert_coders_agree(
    torchac: TorchacCoder, cdf: Ints, rows: Ints, symbols: Ints, following: bytes = b"\xff\0\xa5\x5a\xff"
) -> None:
    """Equal bytes, each decodes the other's, and neither minds what follows."""
    data = torchac.encode(cdf, rows, symbols)
    assert PYTHON.encode(cdf, rows, symbols) == data
    for coder in (PYTHON, torchac):
        assert coder.decode(cdf, rows, data).tolist() == symbols.tolist()
        assert coder.decode(cdf, rows, data + following).tolist() == symbols.tolist()


def test_memory_order_of_the_arguments_does_not_matter(torchac: TorchacCoder) -> None:
    rng = np.random.default_rng(8)
    cdf, rows, symbols = random_cdf(rng, 20, 33), rng.integers(0, 20, 500), rng.integers(0, 33, 500)
    strided = np.asfortranarray(cdf), rows[::-1].copy()[::-1], np.repeat(symbols, 2)[::2]
    assert torchac.encode(*strided) == torchac.encode(cdf, rows, symbols)
    assert_coders_agree(torchac, *strided)


@pytest.mark.parametrize(
    ("rows", "symbols", "expected"),
    [
        (ints(0, 3), ints(0, 0), "0 to 2"),
        (ints(0, -1), ints(0, 0), "0 to 2"),
        (ints(0, 1), ints(0, 4), "0 to 3"),
        (ints(0, 1), ints(0, -1), "0 to 3"),
        (ints(0, 1), ints(0), "int64 (1,)"),
        (ints(0, 1), np.zeros(2), "float64 (2,)"),
        (np.zeros((1, 2), np.int64), ints(0, 0), "int64 (1, 2)"),
    ],
)
def test_coder_refuses_indices_outside_of_the_table(coder: Coder, rows: Ints, symbols: Ints, expected: str) -> None:
    with pytest.raises(ValueError) as caught:
        coder.encode(CDF, rows, symbols)
    assert expected in one_line(caught)
    if expected in ("0 to 2", "int64 (1, 2)"):  # the rows, which a decoder is given too
        with pytest.raises(ValueError) as caught:
            coder.decode(CDF, rows, b"")
        assert expected in one_line(caught)


# ---------------------------------------------------------------------------------------------------------------------
# Streams

SMALL = table([[0, 1000, 30000, 60000, TOTAL], [0, 1, 2, 3, TOTAL]], low=[-1, 5], shift=[0, 3])
SMALL_VALUES = ints(-1, 0, 1, 2, -2, 45, 63, 64, -32767, 32767, 39, 40)
SMALL_ROWS = ints(0, 0, 0, 0, 0, 1, 1, 1, 0, 1, 1, 1)
SMALL_STREAM = bytes.fromhex("01a2f04e706436cb9000e81fffa0003fffc0000080f584")
GAUSS = gaussian_table([0.2, 1.5, 40.0])


def test_stream_is_golden(coder: Coder) -> None:
    assert encode_values(SMALL_VALUES, SMALL_ROWS, SMALL, coder) == SMALL_STREAM
    decoded = decode_values(SMALL_STREAM, SMALL_ROWS, SMALL, coder)
    assert decoded.dtype == np.int32
    assert decoded.tolist() == SMALL_VALUES.tolist()


def test_gaussian_stream_is_golden(coder: Coder) -> None:
    values, rows = ints(0, -1, 33, 0, 2, -250, 1, 16, 640, 0, -16, -17), np.arange(12) % 3
    stream = encode_values(values, rows, GAUSS, coder)
    assert stream.hex() == "57e728e26e70a6ff193b100f4020002061"
    assert decode_values(stream, rows, GAUSS, coder).tolist() == values.tolist()


def test_raw_bits_are_as_specified() -> None:
    """Every kind of raw bits, written out by hand, first bit first."""
    code = PYTHON.encode(SMALL.cdf, ints(1, 1, 0, 0, 0), ints(1, 3, 1, 3, 3))
    values = ints(
        (6 << 3) + 0b011,  # regular, the three low bits backwards: 110
        1,  # escape, u = 1, u + 1 = 0b10: 0 1 0
        0,  # regular without raw bits
        -3,  # escape, u = 6, u + 1 = 0b111: 00 1 11
        2,  # escape, u = 3, u + 1 = 0b100: 00 1 00
    )
    bits = "110" + "010" + "00111" + "00100"
    raw = int(bits[::-1], 2).to_bytes(2, "big")
    assert encode_values(values, ints(1, 1, 0, 0, 0), SMALL, PYTHON) == code + raw


@pytest.mark.parametrize("shift", range(16))
def test_edges_of_the_range_survive(coder: Coder, shift: int) -> None:
    low = -(VALUE_LIMIT >> shift)
    regular = min(max(-2 * low, 1), 300)  # as many to both sides of zero, or the lowest 300
    edges = table([[*range(regular + 1), TOTAL]], low=[low], shift=[shift])
    top = (low + regular) << shift
    near = [-VALUE_LIMIT, (low << shift) - 1, low << shift, -1, 0, 1, top - 1, top, VALUE_LIMIT]
    values = ints(*(value for value in near if abs(value) <= VALUE_LIMIT))
    rows = np.zeros(values.size, np.int64)
    assert decode_values(encode_values(values, rows, edges, coder), rows, edges, coder).tolist() == values.tolist()


@st.composite
def value_sequences(draw: st.DrawFn) -> tuple[CdfTable, Ints, Ints]:
    alphabet = draw(st.integers(2, 10))
    cuts = st.lists(st.integers(1, TOTAL - 1), min_size=alphabet - 1, max_size=alphabet - 1, unique=True)
    rows = []
    for _ in range(draw(st.integers(1, 3))):
        shift = draw(st.integers(0, 11))
        limit = VALUE_LIMIT >> shift
        rows.append(([0, *sorted(draw(cuts)), TOTAL], draw(st.integers(-limit, limit - alphabet + 2)), shift))
    cdf, low, shifts = (list(column) for column in zip(*rows, strict=True))
    value = st.integers(-40, 40) | st.integers(-VALUE_LIMIT, VALUE_LIMIT)
    pairs = draw(st.lists(st.tuples(value, st.integers(0, len(rows) - 1)), max_size=60))
    return table(cdf, low, shifts), ints(*(value for value, _ in pairs)), ints(*(row for _, row in pairs))


@given(value_sequences())
@settings(max_examples=200, deadline=None)
def test_streams_come_back(torchac: TorchacCoder, sequence: tuple[CdfTable, Ints, Ints]) -> None:
    models, values, rows = sequence
    stream = encode_values(values, rows, models, PYTHON)
    assert encode_values(values, rows, models, torchac) == stream
    assert decode_values(stream, rows, models, PYTHON).tolist() == values.tolist()
    assert decode_values(stream, rows, models, torchac).tolist() == values.tolist()
    assert (stream == b"") == (values.size == 0)


@given(value_sequences(), st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_refused_or_are_the_stream_of_what_they_give(
    torchac: TorchacCoder, sequence: tuple[CdfTable, Ints, Ints], data: bytes
) -> None:
    models, _, rows = sequence
    assert_decoded_alike(torchac, data, rows, models)


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_damaged_streams_are_refused_or_give_other_values(torchac: TorchacCoder, damage: str) -> None:
    """But for a few bits that no value depends on. Checksums are those of the file."""
    rng = np.random.default_rng(5)
    rows = rng.integers(0, 3, 200)
    values = np.rint(rng.normal(size=200) * np.array([0.2, 1.5, 40.0])[rows] * 1.3).astype(np.int64)
    stream = encode_values(values, rows, GAUSS, PYTHON)
    unnoticed = 0
    for place in range(len(stream)):
        flipped = stream[:place] + bytes([stream[place] ^ 1 << place % 8]) + stream[place + 1 :]
        damaged = stream[:place] if damage == "cut" else flipped
        decoded = assert_decoded_alike(torchac, damaged, rows, GAUSS)
        unnoticed += decoded is not None and decoded.tolist() == values.tolist()
    assert unnoticed <= 2


def assert_decoded_alike(torchac: TorchacCoder, data: bytes, rows: Ints, models: CdfTable) -> Ints | None:
    """Both coders refuse `data`, or both decode it to the same values, within their range. Returns these."""
    results: list[Ints | None] = []
    for coder in (PYTHON, torchac):
        try:
            results.append(decode_values(data, rows, models, coder).astype(np.int64))
        except StreamError:
            results.append(None)
    first, second = results
    if first is None or second is None:
        assert first is None and second is None
        return None
    assert first.tolist() == second.tolist()
    assert np.abs(first).max(initial=0) <= VALUE_LIMIT
    return first


LIKELY = table([[0, 1, TOTAL]])  # symbol 0 (value 0) is very rare, and the escape almost sure


def escaped(raw: str) -> bytes:
    """A stream of one escape of LIKELY with these raw bits, first bit first."""
    return b"\x40" + int(raw[::-1], 2).to_bytes(-(-len(raw) // 8), "big")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (escaped("0" * 16 + "1" + "0" * 16), "too large"),
        (escaped("0" * 40), "too large"),
        (b"\x80\0", "raw bit"),  # the raw bits run into the code: 15 zeros and a one
        (b"\x80\0\0", "escape"),
        (bytes(23), "23 bytes"),
        (bytes(1 << 24), "16777216 bytes"),
    ],
    ids=range(6),
)
def test_stream_of_one_value_that_cannot_be_decoded(coder: Coder, data: bytes, expected: str) -> None:
    assert encode_values(ints(0), ints(0), LIKELY, coder) == b"\0\0\x40"
    assert encode_values(ints(1), ints(0), LIKELY, coder) == escaped("010")
    with pytest.raises(StreamError) as caught:
        decode_values(data, ints(0), LIKELY, coder)
    assert expected in one_line(caught)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (escaped("1"), 0),  # an escape for a value that has a symbol
        (escaped("010" + "00001"), 1),  # padding that is not zero
        (escaped("010" + "0" * 13), 1),  # a byte too many
        (b"", 0),  # past the end come zeros
        (b"\0\0", 0),
        (b"\0\0\x41", 0),  # padding of the code that is not zero
        (b"\0\0\x40\0", 0),
    ],
    ids=range(7),
)
def test_stream_of_one_value_that_no_encoder_makes(coder: Coder, data: bytes, value: int) -> None:
    """It is decoded; both coders agree on the value, so that a checksum says the same on every machine."""
    assert encode_values(ints(value), ints(0), LIKELY, coder) != data
    assert decode_values(data, ints(0), LIKELY, coder).tolist() == [value]


def test_raw_bits_that_are_not_there(coder: Coder) -> None:
    """Five values of 15 raw bits each in a chunk of one byte."""
    wide = table([[0, 65535, TOTAL]], shift=[15])
    with pytest.raises(StreamError, match="raw bit"):
        decode_values(b"\x40", np.zeros(5, np.int64), wide, coder)


def test_bytes_in_a_stream_of_no_values(coder: Coder) -> None:
    assert decode_values(b"", ints(), SMALL, coder).tolist() == []
    with pytest.raises(StreamError, match="1 bytes"):
        decode_values(b"\0", ints(), SMALL, coder)


@pytest.mark.parametrize(
    ("values", "rows", "expected"),
    [
        (ints(VALUE_LIMIT + 1), ints(0), "-32767 to 32767"),
        (ints(-VALUE_LIMIT - 1), ints(0), "-32767 to 32767"),
        (ints(1 << 40), ints(0), "-32767 to 32767"),
        (np.zeros(1), ints(0), "float64 (1,)"),
        (ints(0, 0), ints(0), "int64 (2,)"),
        (ints(0), ints(2), "0 to 1"),
        (ints(0), ints(-1), "0 to 1"),
    ],
)
def test_mistakes_of_the_caller(values: Ints, rows: Ints, expected: str) -> None:
    with pytest.raises(ValueError) as caught:
        encode_values(values, rows, SMALL, PYTHON)
    assert expected in one_line(caught)
    with pytest.raises(ValueError) as caught:
        ideal_bits(values, rows, SMALL)
    assert expected in one_line(caught)
    if expected == "0 to 1":  # the rows, which a decoder is given too
        with pytest.raises(ValueError) as caught:
            decode_values(b"", rows, SMALL, PYTHON)
        assert expected in one_line(caught)


# ---------------------------------------------------------------------------------------------------------------------
# Chunks


@pytest.fixture(scope="module")
def many() -> tuple[Ints, Ints]:
    """One value more than fits in a chunk, with raw bits and escapes."""
    rng = np.random.default_rng(6)
    rows = rng.integers(0, 3, CHUNK_SYMBOLS + 1)
    return np.rint(rng.normal(size=rows.size) * np.array([0.2, 1.5, 40.0])[rows] * 1.1).astype(np.int64), rows


@pytest.mark.parametrize("count", [CHUNK_SYMBOLS - 1, CHUNK_SYMBOLS, CHUNK_SYMBOLS + 1])
def test_chunk_boundary(torchac: TorchacCoder, many: tuple[Ints, Ints], count: int) -> None:
    values, rows = many[0][:count], many[1][:count]
    stream = encode_values(values, rows, GAUSS, torchac)
    assert decode_values(stream, rows, GAUSS, torchac).tolist() == values.tolist()
    first = encode_values(values[:CHUNK_SYMBOLS], rows[:CHUNK_SYMBOLS], GAUSS, torchac)
    if count <= CHUNK_SYMBOLS:
        assert stream == first  # no length before the only chunk
    else:
        last = encode_values(values[CHUNK_SYMBOLS:], rows[CHUNK_SYMBOLS:], GAUSS, torchac)
        assert stream == length_prefix(len(first)) + first + last
        assert decode_values(stream, rows, GAUSS, PYTHON).tolist() == values.tolist()
        assert encode_values(values, rows, GAUSS, PYTHON) == stream


def length_prefix(length: int) -> bytes:
    assert 1 << 14 <= length < 1 << 21
    return bytes([length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14])


def test_lengths_of_chunks_that_lie(torchac: TorchacCoder) -> None:
    rows = np.zeros(CHUNK_SYMBOLS + 1, np.int64)
    sure = table([[0, 65535, TOTAL]])
    values = np.zeros(CHUNK_SYMBOLS + 1, np.int64)
    first = encode_values(values[1:], rows[1:], sure, torchac)
    assert (first, encode_values(values[:1], rows[:1], sure, torchac)) == (b"\x02", b"\x40")
    good = b"\x01" + first + b"\x40"
    assert encode_values(values, rows, sure, torchac) == good

    def refused(data: bytes, expected: str) -> None:
        with pytest.raises(StreamError) as caught:
            decode_values(data, rows, sure, torchac)
        assert expected in one_line(caught)

    refused(b"", "length of a chunk")
    refused(b"\x81", "length of a chunk")
    refused(b"\x81\x80\x80\x00" + first + b"\x40", "length of a chunk")
    refused(b"\x81\x00" + first + b"\x40", "length of a chunk")
    refused(b"\x02" + first, "last chunk")
    refused(b"\xff\xff\x7f" + first + b"\x40", "last chunk")
    # What stays within its bytes may be decoded, by both coders alike.
    for lie in (b"\x00" + first + b"\x40", b"\x02" + first + b"\x40", good + b"\0", b"\x01" + first):
        assert_decoded_alike(torchac, lie, rows, sure)


# ---------------------------------------------------------------------------------------------------------------------
# Rates and tables


def test_probability_of_zero() -> None:
    """Of a symbol of its own; not of one with raw bits, of the escape, or where all regular symbols are off zero."""
    row = [0, 1000, 30000, 60000, TOTAL]
    models = table([row] * 6, low=[-1, 0, -2, -3, 1, -1], shift=[0, 0, 0, 0, 0, 3])
    assert models.zero_probabilities.tolist() == [29000 / TOTAL, 1000 / TOTAL, 30000 / TOTAL, 0, 0, 0]


def test_ideal_bits_by_hand() -> None:
    """Row 0 has counts 1000, 29000, ..., row 1 counts 1, 1, 1, 65533 and three raw bits."""
    assert ideal_bits(ints(-1), ints(0), SMALL) == pytest.approx(16 - math.log2(1000), abs=1e-12)
    assert ideal_bits(ints(41), ints(1), SMALL) == 16 + 3
    assert ideal_bits(ints(0), ints(1), SMALL) == pytest.approx(16 - math.log2(65533) + 1, abs=1e-12)
    assert ideal_bits(ints(-VALUE_LIMIT), ints(1), SMALL) == pytest.approx(16 - math.log2(65533) + 31, abs=1e-12)
    assert ideal_bits(ints(), ints(), SMALL) == 0


@pytest.mark.parametrize("largest", [0.3, 1.0, 8.0, 300.0])
def test_real_bytes_are_near_the_ideal_and_the_ideal_near_the_entropy(torchac: TorchacCoder, largest: float) -> None:
    rng = np.random.default_rng(7)
    sigmas = np.geomspace(0.05, largest, 64)
    models = gaussian_table(sigmas)
    rows = rng.integers(0, 64, 150_000)
    values = np.rint(rng.normal(size=rows.size) * sigmas[rows]).astype(np.int64)
    ideal = ideal_bits(values, rows, models) / 8
    assert ideal <= len(encode_values(values, rows, models, torchac)) <= ideal * 1.0005 + 4

    sigma = sigmas[rows] * math.sqrt(2)
    erfc = np.vectorize(math.erfc)
    magnitude = np.abs(values)
    probability = (erfc((magnitude - 0.5) / sigma) - erfc((magnitude + 0.5) / sigma)) / 2
    entropy = -np.log2(probability).sum() / 8
    floor = rows.size * 33 / TOTAL / 8 * math.log2(math.e)  # what it costs to give every symbol a count
    assert entropy * 0.999 < ideal < entropy * 1.003 + floor


def test_gaussian_table_is_as_documented() -> None:
    models = gaussian_table([0.05, 4.0, 4.0001, 8.0, 8.0001, 4096.0])
    assert (models.rows, models.alphabet, models.escape) == (6, 33, 32)
    assert models.shift.tolist() == [0, 0, 1, 1, 2, 10]
    assert models.low.tolist() == [-16] * 6
    assert np.diff(models.cdf[0]).tolist() == [1] * 16 + [TOTAL - 32] + [1] * 16

    # Normal distribution, sigma 1, by its integral in steps of 1/1000 (alphabet 9: -4..3, and the rest).
    steps = np.arange(-20_000, 20_000) / 1000 + 0.0005
    density = np.exp(-(steps**2) / 2)
    bins = [density[(steps > v - 0.5) & (steps < v + 0.5)].sum() / density.sum() * TOTAL for v in range(-4, 4)]
    counts = np.diff(gaussian_table([1.0], alphabet=9).cdf[0])
    assert np.abs(counts - [*bins, TOTAL - sum(bins)]).max() < 2
    assert np.array_equal(counts[1:4], counts[7:4:-1])


@pytest.mark.parametrize("seed", range(4))
def test_counts_make_the_shortest_code(seed: int) -> None:
    """Against the greedy construction that is known to be optimal: every count goes where it helps most."""
    rng = np.random.default_rng(seed)
    weights = rng.gamma(0.1, size=(1, 20)) ** (1 + seed)
    weights[0, 3] = 0
    models = table_from_probabilities(weights[:, :-1], weights[:, -1], [0], [0])
    p = (weights / weights.sum())[0]
    best = [1] * 20
    queue = [(-p[symbol] * math.log(2), symbol) for symbol in range(20)]
    heapq.heapify(queue)
    for _ in range(TOTAL - 20):
        symbol = queue[0][1]
        best[symbol] += 1
        heapq.heapreplace(queue, (-p[symbol] * math.log1p(1 / best[symbol]), symbol))
    counts = np.diff(models.cdf[0])
    assert counts.min() == 1
    cost, least = -(p * np.log2(counts)).sum(), -(p * np.log2(best)).sum()
    assert cost == pytest.approx(least, abs=1e-12)


def test_table_of_given_probabilities() -> None:
    models = table_from_probabilities([[0.5, 0.25], [0.0, 3.0]], [0.25, 0.0], low=[-1, 7], shift=[0, 2])
    assert models.cdf.tolist() == [[0, 32768, 49152, TOTAL], [0, 1, TOTAL - 1, TOTAL]]
    assert (models.low.tolist(), models.shift.tolist()) == ([-1, 7], [0, 2])


@pytest.mark.parametrize(
    ("cdf", "low", "shift", "expected"),
    [
        ([0, TOTAL], [0], [0], "(2,)"),
        ([[0, TOTAL]], [0], [0], "(1, 2)"),
        ([[*range(513), TOTAL]], [0], [0], "(1, 514)"),
        (np.zeros((0, 3), np.int64), ints(), ints(), "(0, 3)"),
        ([[0, 5, TOTAL]], [0, 0], [0], "low has the shape (2,)"),
        ([[0, 5, TOTAL]], [0], [[0]], "shift has the shape (1, 1)"),
        ([[1, 5, TOTAL]], [0], [0], "65536"),
        ([[0, 5, TOTAL - 1]], [0], [0], "65536"),
        ([[0, 5, TOTAL], [0, 0, TOTAL]], [0, 0], [0, 0], "65536"),
        ([[0, 5, 4, TOTAL]], [0], [0], "65536"),
        ([[0, 5, 2**32 + 6, TOTAL]], [0], [0], "65536"),
        ([[0, 5.5, TOTAL]], [0], [0], "cdf holds float64"),
        ([[0, 5, TOTAL]], [0.0], [0], "low holds float64"),
        ([[0, 5, TOTAL]], [0], [-1], "0 to 15"),
        ([[0, 5, TOTAL]], [0], [16], "0 to 15"),
        ([[0, 5, TOTAL]], [2**62], [0], "lowest value"),
        ([[0, 5, TOTAL]], [-32768], [0], "lowest value"),
        ([[0, 5, TOTAL]], [-16384], [1], "regular symbols"),
        ([[0, 5, 6, TOTAL]], [32767], [0], "regular symbols"),
        ([[0, 5, TOTAL]], [1], [15], "regular symbols"),
    ],
)
def test_malformed_tables(cdf: object, low: object, shift: object, expected: str) -> None:
    with pytest.raises(WeightsError) as caught:
        CdfTable(np.array(cdf), np.array(low), np.array(shift))
    text = one_line(caught)
    assert "CDF table" in text and expected in text


def test_tables_at_their_limits() -> None:
    assert table([[0, 5, TOTAL]], low=[32767]).low.tolist() == [32767]
    assert table([[0, 5, TOTAL]], low=[-32767]).low.tolist() == [-32767]
    assert table([[0, 5, TOTAL]], low=[0], shift=[15]).shift.tolist() == [15]
    assert table([[*range(512), TOTAL]]).alphabet == 512


def test_tables_cannot_change() -> None:
    source = np.array([[0, 5, TOTAL]], np.int32)
    models = CdfTable(source, np.zeros(1, np.int32), np.zeros(1, np.uint8))
    source[0, 1] = 0
    assert models.cdf.tolist() == [[0, 5, TOTAL]]
    for array in (models.cdf, models.low, models.shift):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@pytest.mark.parametrize(
    ("sigmas", "alphabet", "message"),
    [
        ([0.0], 33, "positive"),
        ([-1.0], 33, "positive"),
        ([math.inf], 33, "positive"),
        ([math.nan], 33, "positive"),
        ([[1.0]], 33, "positive"),
        ([1.0], 32, "odd"),
        ([1.0], 1, "odd"),
    ],
)
def test_gaussian_table_refuses(sigmas: list[float], alphabet: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gaussian_table(sigmas, alphabet)


def test_gaussian_table_refuses_what_cannot_be_coded() -> None:
    with pytest.raises(WeightsError, match="regular symbols"):
        gaussian_table([4096.1])


@pytest.mark.parametrize(
    ("probabilities", "escape", "message"),
    [
        ([[0.5, -0.1]], [0.1], "finite"),
        ([[0.5, math.nan]], [0.1], "finite"),
        ([[0.5, math.inf]], [0.1], "finite"),
        ([[0.0, 0.0]], [0.0], "all zero"),
        ([0.5, 0.5], [0.0], "needed"),
        ([[0.5, 0.5]], [0.0, 0.0], "needed"),
    ],
)
def test_table_from_probabilities_refuses(probabilities: object, escape: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        table_from_probabilities(np.array(probabilities), np.array(escape), [0], [0])


# ---------------------------------------------------------------------------------------------------------------------
# How the compiled coder comes about

USE = """
import json, warnings
from dcacodec.coding import best_coder
from dcacodec.errors import CoderWarning
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    name = best_coder().name
assert all(each.category is CoderWarning for each in caught)
print(json.dumps([name, *(str(each.message) for each in caught)]))
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own. An empty value takes a variable away."""
    variables = {key: value for key, value in {**os.environ, **environment}.items() if value or key == "PATH"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=True)


def used(code: str = USE, **environment: str) -> list[str]:
    """The coder that a process of its own uses, and the texts of the warnings about it, a line each."""
    result = run(code, **environment)
    assert result.stderr == ""
    name, *warned = json.loads(result.stdout)
    assert all(text.isprintable() for text in warned)
    return [name, *warned]


def test_coder_does_not_need_torch(torchac: TorchacCoder) -> None:
    code = "import sys; from dcacodec.coding import TorchacCoder; TorchacCoder()"
    assert run(f"{code}; print({{'torch', 'torchac'}} & {{*sys.modules}})").stdout == "set()\n"


def test_coder_is_silent_once_built(torchac: TorchacCoder) -> None:
    assert used() == ["torchac"]


def test_no_compiler(tmp_path: Path) -> None:
    name, why = used(PATH="", CXX="", DCACODEC_CACHE=str(tmp_path))
    assert name == "python"
    assert "c++" in why
    assert list(tmp_path.iterdir()) == []


def test_a_compiler_that_is_no_command(tmp_path: Path) -> None:
    name, why = used(CXX='"c++', DCACODEC_CACHE=str(tmp_path))
    assert name == "python"
    assert "CXX" in why


@pytest.mark.skipif(sys.platform == "win32", reason="the fake compiler is a shell script")
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo noise; echo 'a.cpp:1: error: no'; echo more; exit 1", "a.cpp:1: error: no"),
        ("exit 1", ""),
        ("exit 0", os.strerror(errno.ENOENT)),
    ],
)
def test_compiler_that_fails(script: str, reason: str, tmp_path: Path) -> None:
    compiler = tmp_path / "c++"
    compiler.write_text(f"#!/bin/sh\n{script}\n")
    compiler.chmod(0o755)
    cache = tmp_path / "cache"
    name, why = used(CXX=f"{compiler} -pipe", DCACODEC_CACHE=str(cache))
    assert name == "python"
    assert reason in why
    assert "noise" not in why and "more" not in why
    assert [path.name for path in cache.rglob("*") if path.is_file()] == ["lock"]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
def test_two_processes_compile_once(torchac: TorchacCoder, tmp_path: Path) -> None:
    command = [sys.executable, "-c", USE]
    environment = {**os.environ, "DCACODEC_CACHE": str(tmp_path)}
    processes = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    reports = sorted((json.loads(process.communicate()[0]) for process in processes), key=len)
    assert [name for name, *_ in reports] == ["torchac"] * 2
    assert [len(warned) for _, *warned in reports] == [0, 1]
    files = (path for path in tmp_path.rglob("*") if path.is_file())
    assert sorted(path.suffix or path.name for path in files) == [".sha256", ".so", "lock"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not run a changed library")
def test_a_damaged_library_is_compiled_again(torchac: TorchacCoder, tmp_path: Path) -> None:
    """Loading a library that is cut off behind its headers ends the process."""
    cache = {"DCACODEC_CACHE": str(tmp_path)}
    assert len(used(**cache)) == 2
    (library,) = tmp_path.rglob("*.so")
    whole = library.read_bytes()
    for damaged in (whole[: len(whole) // 4], b"", whole[:-1] + b"x"):
        library.unlink()  # not in place, as a process may have it in its memory
        library.write_bytes(damaged)
        name, _compiled = used(**cache)
        assert [name] == used(**cache) == ["torchac"]


def test_compiled_coder_of_another_bitstream(torchac: TorchacCoder, tmp_path: Path) -> None:
    """A release of torchac that writes each bit inverted."""
    installed = importlib.util.find_spec("torchac")
    assert installed is not None and installed.origin is not None
    source = (Path(installed.origin).parent / "backend" / "torchac_backend.cpp").read_text("utf-8")
    assert "cache |= bit;" in source
    backend = tmp_path / "torchac" / "backend"
    backend.mkdir(parents=True)
    (backend.parent / "__init__.py").touch()
    (backend / "torchac_backend.cpp").write_text(source.replace("cache |= bit;", "cache |= !bit;"), "utf-8")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{USE}"
    name, _compiled, why = used(code, DCACODEC_CACHE=str(tmp_path / "cache"))
    assert name == "python"
    assert "bitstream" in why


def test_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, torchac: TorchacCoder, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DCACODEC_CACHE", str(tmp_path / "file"))
    with pytest.raises(CoderUnavailableError, match=r"Not a directory|cannot find the path"):
        TorchacCoder()


def test_damaged_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def build(include: Path, library: Path) -> None:
        library.parent.mkdir(parents=True)
        library.write_bytes(b"no library")

    monkeypatch.setenv("DCACODEC_CACHE", str(tmp_path))
    monkeypatch.setattr(compiled, "_build", build)
    with pytest.raises(CoderUnavailableError, match="delete it"):
        TorchacCoder()


def test_torchac_that_is_missing() -> None:
    """None in sys.modules makes an import fail. PyTorch is not needed."""
    name, why = used(f"import sys; sys.modules['torch'] = sys.modules['torchac'] = None\n{USE}")
    assert name == "python"
    assert "torchac" in why
