"""Two coders, one bitstream: against each other and against committed bytes."""

import numpy as np
import pytest
from coders import PYTHON, Ints, ints
from hypothesis import given, settings
from hypothesis import strategies as st
from told import one_line

from dcacodec.coding import Coder, TorchacCoder
from dcacodec.coding.tables import TOTAL


def random_cdf(rng: np.random.Generator, rows: int, alphabet: int) -> Ints:
    """Rows from near-uniform to very skewed."""
    concentration = np.geomspace(0.01, 10, rows)[:, None]
    weights = rng.gamma(np.broadcast_to(concentration, (rows, alphabet))) + 1e-9
    counts = 1 + np.floor(weights / weights.sum(axis=1, keepdims=True) * (TOTAL - alphabet)).astype(np.int64)
    counts[np.arange(rows), counts.argmax(axis=1)] += TOTAL - counts.sum(axis=1)
    return np.concatenate([np.zeros((rows, 1), np.int64), counts.cumsum(axis=1)], axis=1)


CDF = np.array([[0, 16384, 32768, 49152, TOTAL], [0, 1, 2, 65535, TOTAL], [0, 20000, 20001, 65535, TOTAL]])
THIRDS = np.array([[0, 21845, 43690, TOTAL]])
GOLDEN = {
    "no symbol": (CDF, [], [], "40"),
    "one symbol": (CDF, [0], [2], "90"),
    "all rows": (CDF, [0, 1, 2] * 8, [0, 1, 2, 3] * 6, "000074e1e364865265a51752f098c84b0e36e18d802a90"),
    "rare symbols": (CDF, [1] * 12, [0, 3, 1] * 4, "0000ffff00010000ffff00010000ffff00010000ffff000140"),
    "sure symbols": (CDF, [1] * 400, [2] * 400, "40"),
    "from a quarter on": (np.array([[0, 16384, TOTAL]]), [0], [1], "80"),
    "from below a quarter on": (np.array([[0, 16383, TOTAL]]), [0], [1], "40"),
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


def test_more_symbols_than_the_compiled_coder_counts_are_refused(torchac: TorchacCoder) -> None:
    """It would count the elements of all rows with 31 bits."""
    cdf, many = np.array([[*range(512), TOTAL]]), np.zeros(1 << 22, np.uint8)
    with pytest.raises(ValueError, match=str(many.size)):
        torchac.encode(cdf, many, many)
    with pytest.raises(ValueError, match=str(many.size)):
        torchac.decode(cdf, many, b"")
