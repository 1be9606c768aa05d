"""Chunks: where they begin, and lengths that lie."""

import numpy as np
import pytest
from coders import GAUSS, PYTHON, Ints, assert_decoded_alike, table
from told import one_line

from dcacodec.coding import CHUNK_SYMBOLS, TorchacCoder, decode_values, encode_values
from dcacodec.coding.tables import TOTAL
from dcacodec.errors import StreamError


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
