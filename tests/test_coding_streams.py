"""Streams: golden bytes, raw bits, the range of values, and damage."""

import numpy as np
import pytest
from coders import GAUSS, PYTHON, SMALL, Ints, assert_decoded_alike, ints, table
from hypothesis import given, settings
from hypothesis import strategies as st
from told import one_line

from dcacodec.coding import VALUE_LIMIT, CdfTable, Coder, TorchacCoder, decode_values, encode_values, ideal_bits
from dcacodec.coding.tables import TOTAL
from dcacodec.errors import StreamError

SMALL_VALUES = ints(-1, 0, 1, 2, -2, 45, 63, 64, -32767, 32767, 39, 40)
SMALL_ROWS = ints(0, 0, 0, 0, 0, 1, 1, 1, 0, 1, 1, 1)
SMALL_STREAM = bytes.fromhex("01a2f04e706436cb9000e81fffa0003fffc0000080f584")


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
