"""The exact operations against rational arithmetic, in float32 and in float64."""

import math
import zlib
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from integers import EXPONENTIALS, divide, shift_right
from torch import Tensor

from dcacodec.network.fixed_point import (
    ATTENTION_LIMIT,
    EXP_TABLE_SIZE,
    INVERSE_BITS,
    LARGEST_LIMIT,
    MOST_KEYS,
    NORM_LIMIT,
    Snap,
    attend,
    exact_inverse_rms,
    exp_table,
    filter3x3,
    gate,
    hard_sigmoid,
    hard_swish,
    inverse_rms,
    softmax_shares,
    square_root,
    to_grid,
)
from dcacodec.network.layers import RMSNorm

LIMIT = (1 << 15) - 1
"""Of activations, in units of 2**-6."""
NORM = (1 << 12) - 1
"""Of those that are normalised."""
DTYPES = (torch.float32, torch.float64)
activation = st.one_of(st.integers(-LIMIT, LIMIT), st.integers(-300, 300), st.sampled_from([-LIMIT, LIMIT]))


def numbers(units: list[int], bits: int = 6, dtype: torch.dtype = torch.float32) -> Tensor:
    x = torch.tensor([unit * 2.0**-bits for unit in units], dtype=dtype)
    assert (x.double() * 2.0**bits).tolist() == units
    return x


def fractions(x: Tensor) -> list[Fraction]:
    return [Fraction(value) for value in x.reshape(-1).tolist()]


def on_grid(value: Fraction) -> Fraction:
    """By the definition; `round` of a Fraction is half-even and exact."""
    return Fraction(round(value * 64), 64)


def nearest_double(value: Fraction) -> Fraction:
    """Division of integers in Python is correctly rounded."""
    return Fraction(value.numerator / value.denominator)


def root_below(value: Fraction) -> Fraction:
    """The largest multiple of 2**-14 that is not above the square root."""
    return Fraction(math.isqrt(math.floor(value * (1 << 28))), 1 << 14)


def significant(value: Fraction, bits: int) -> Fraction:
    """The nearest number of so many significant bits."""
    unit = Fraction(1)
    while value / unit >= 1 << bits:
        unit *= 2
    while value / unit < 1 << bits - 1:
        unit /= 2
    return round(value / unit) * unit


# ------------------------------------------------------------------------------------------------------------- rounding


@given(st.lists(st.integers(-(1 << 23), 1 << 23), min_size=1, max_size=8), st.integers(8, 24))
def test_to_grid_is_half_even(units: list[int], bits: int) -> None:
    for dtype in DTYPES:
        assert fractions(to_grid(numbers(units, bits, dtype))) == [on_grid(Fraction(unit, 1 << bits)) for unit in units]


@given(st.lists(st.integers(-(1 << 24), 1 << 24), min_size=1, max_size=8), st.integers(6, 22), st.integers(1, LIMIT))
def test_snap_is_half_even_within_its_limit(units: list[int], bits: int, limit: int) -> None:
    snap = Snap(1)
    snap.set_limit(numbers([limit]))
    bound = Fraction(limit, 64)
    expected = [max(-bound, min(bound, on_grid(Fraction(unit, 1 << bits)))) for unit in units]
    for dtype in DTYPES:
        found = snap(numbers(units, bits, dtype)[:, None])
        assert found.dtype == torch.float32
        assert fractions(found) == expected


def test_snap_has_a_limit_for_each_channel() -> None:
    snap = Snap(2)
    snap.set_limit(torch.tensor([1.0, LARGEST_LIMIT]))
    assert snap(torch.tensor([[3.0, 1e30], [-3.0, -1e30]])).tolist() == [[1.0, LARGEST_LIMIT], [-1.0, -LARGEST_LIMIT]]
    with pytest.raises(ValueError, match=r"\b2 channels"):
        snap.set_limit(torch.ones(3))


def test_snap_is_the_identity_in_training() -> None:
    snap, x = Snap(1), torch.tensor([1e-5, 1e9])
    assert not snap.exact and snap(x) is x


@given(st.integers(-(1 << 60), 1 << 60), st.integers(0, 40))
def test_shift_of_the_oracle_is_half_even(units: int, bits: int) -> None:
    assert shift_right(np.array([units], np.int64), bits).tolist() == [round(Fraction(units, 1 << bits))]


@given(st.integers(-(1 << 40), 1 << 40), st.integers(1, 1 << 21))
def test_division_of_the_oracle_is_half_even(numerator: int, denominator: int) -> None:
    found = divide(np.array([numerator], np.int64), np.array([denominator], np.int64))
    assert found.tolist() == [round(Fraction(numerator, denominator))]


# ----------------------------------------------------------------------------------------------------------- operations


@given(st.lists(st.tuples(activation, activation), min_size=1, max_size=8))
def test_gates(pairs: list[tuple[int, int]]) -> None:
    for dtype in DTYPES:
        a, b = (numbers(list(column), 6, dtype) for column in zip(*pairs, strict=True))
        gates = [min(max(value / 4 + Fraction(1, 2), Fraction(0)), Fraction(1)) for value in fractions(b)]
        assert fractions(hard_sigmoid(b)) == gates
        expected = [on_grid(value * factor) for value, factor in zip(fractions(a), gates, strict=True)]
        assert fractions(gate(a, b, True)) == expected
        assert fractions(hard_swish(b, True)) == [on_grid(v * g) for v, g in zip(fractions(b), gates, strict=True)]


@settings(max_examples=300)
@given(st.lists(st.one_of(st.integers(-NORM, NORM), st.integers(-9, 9)), min_size=1, max_size=50))
def test_inverse_root_rounds_each_operation_once(units: list[int]) -> None:
    x = fractions(numbers(units))
    energy = sum((value * value for value in x), Fraction(0))
    mean = nearest_double(energy * nearest_double(Fraction(1, len(x))))
    root = root_below(nearest_double(mean + Fraction(1, 1 << 12)))
    for dtype in DTYPES:
        assert fractions(exact_inverse_rms(numbers(units, 6, dtype))) == [significant(1 / root, INVERSE_BITS)]


def test_every_inverse_root_is_that_of_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule of docs/reference/format.md, for all roots; none of them is a tie."""
    roots = np.arange(1 << 8, 1 << 21)
    monkeypatch.setattr("dcacodec.network.fixed_point.square_root", lambda x: torch.from_numpy(roots * 2.0**-14))
    length = np.frexp(roots.astype(np.float64))[1].astype(np.int64)
    twice = np.int64(2) << length + 10
    assert not ((twice % roots == 0) & (twice // roots % 2 == 1)).any()
    units = divide(np.int64(1) << length + 10, roots)
    assert np.array_equal(exact_inverse_rms(torch.zeros(1)).double().numpy(), units * 2.0 ** (4 - length))


ROOTS = st.one_of(
    st.integers(1 << 16, 1 << 52),
    st.integers(1 << 8, 1 << 26).flatmap(lambda root: st.sampled_from([root**2 - 1, root**2, root**2 + 1])),
).map(lambda square: max(square, 1 << 16))
"""Of integers times 2**-28; many are squares or beside them."""


@given(st.lists(ROOTS, min_size=1, max_size=19))
def test_square_root_is_the_largest_multiple_below(squares: list[int]) -> None:
    expected = [Fraction(math.isqrt(square), 1 << 14) for square in squares]
    assert fractions(square_root(numbers(squares, 28, torch.float64))) == expected


@pytest.mark.parametrize("error", [2.0**-52, -(2.0**-52), 1e-6, -1e-6])
def test_square_root_trusts_no_library(error: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's root may be off in the last bit (MKL's is) or far more (MKL's, if threads race for it)."""
    random = np.random.default_rng(0)
    roots = np.concatenate([[256, 257, 1 << 26, (1 << 26) - 1], random.integers(1 << 8, 1 << 26, 2000)])
    squares = (roots[:, None] ** 2 + np.array([-1, 0, 1, 7])).clip(1 << 16, 1 << 52).reshape(-1)
    sqrt = torch.sqrt
    monkeypatch.setattr(torch, "sqrt", lambda x: sqrt(x) * (1 + error))
    found = square_root(torch.from_numpy(squares * 2.0**-28)) * 2**14
    assert found.tolist() == [math.isqrt(square) for square in squares.tolist()]


def test_normalisation_is_that_of_training() -> None:
    """Up to the grids, for loud and for quiet vectors; products with gains are exact."""
    random = torch.Generator().manual_seed(0)
    exact, floating = RMSNorm(24), RMSNorm(24)
    exact.snap.set_limit(torch.full((24,), LARGEST_LIMIT))
    gain = (1 + torch.randn(24, generator=random) / 4).half().float()
    for size in (0.1, 1.0, 20.0):
        x = to_grid(size * torch.randn(50, 24, generator=random)).clamp(-NORM_LIMIT, NORM_LIMIT)
        assert (exact_inverse_rms(x) / inverse_rms(x) - 1).abs().max() <= 2.0**-INVERSE_BITS + 2.0**-14 / size
        with torch.no_grad():
            for layer in (exact, floating):
                layer.gain.copy_(gain)
            assert (exact(x) - floating(x)).abs().max() < 2.0**-7 * (1 + gain.abs().max()) + 2.0**-8
            assert torch.equal(exact(x), exact(x.double()))


def softmax_attention(
    query: list[list[Fraction]],
    key: list[list[Fraction]],
    value: list[list[Fraction]],
    bias: list[list[Fraction]],
    hidden: list[list[bool]],
) -> list[Fraction]:
    """By the definition, in rational numbers: row after row."""
    table = exp_table().tolist()
    scale = Fraction(1, 2 ** math.ceil(math.log2(len(query[0])) / 2))
    read = []
    for row, q in enumerate(query):
        logits = [
            round((sum((a * b for a, b in zip(q, k, strict=True)), Fraction(0)) * scale + bias[row][index]) * 64)
            for index, k in enumerate(key)
        ]
        largest = max(logit for index, logit in enumerate(logits) if not hidden[row][index])
        weights = [0 if hidden[row][i] else table[min(largest - logit, 444)] for i, logit in enumerate(logits)]
        for channel in zip(*value, strict=True):
            total = sum((w * v for w, v in zip(weights, channel, strict=True)), Fraction(0))
            read.append(on_grid(total / sum(weights)))
    return read


@settings(max_examples=100)
@given(st.integers(1, 3), st.integers(1, MOST_KEYS), st.integers(1, 63), st.integers(0, 2**32))
def test_attention_is_what_is_defined(queries: int, keys: int, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    spread, most = random.choice([30, 200, 20_000]), ATTENTION_LIMIT * 64
    q, k, v = (random.normal(0, spread, (n, width)).round().clip(-most, most) for n in (queries, keys, keys))
    bias = random.normal(0, 64, (queries, keys)).round()
    hidden = random.random((queries, keys)) < 0.3
    hidden[:, random.integers(keys)] = False
    tensors = [torch.from_numpy(array / 64) for array in (q, k, v, bias)]
    rows = [[[Fraction(x) for x in row] for row in t.tolist()] for t in tensors]
    expected = softmax_attention(rows[0], rows[1], rows[2], rows[3], hidden.tolist())
    for dtype in DTYPES:
        query, key, value, added = (t.to(dtype) for t in tensors)
        assert fractions(attend(query, key, value, True, added, torch.from_numpy(hidden))) == expected


@given(st.lists(st.lists(st.integers(-(2**13), 2**13), min_size=1, max_size=MOST_KEYS), min_size=1, max_size=3))
def test_shares_of_the_softmax_are_what_is_defined(rows: list[list[int]]) -> None:
    """Logits are multiples of 2**-12, of any size; the softmax is rounded to multiples of 2**-8."""
    table = exp_table().tolist()
    for row in rows:
        logits = [round(Fraction(number, 64)) for number in row]
        weights = [table[min(max(logits) - logit, 444)] for logit in logits]
        expected = [Fraction(round(Fraction(256 * weight, sum(weights))), 256) for weight in weights]
        for dtype in DTYPES:
            assert fractions(softmax_shares(numbers(row, 12, dtype), True)) == expected


@given(st.integers(1, MOST_KEYS << 9), st.integers(-511, 511), st.data())
def test_division_of_floats_rounds_like_that_of_integers(denominator: int, whole: int, data: st.DataObject) -> None:
    """Ties, what is next to them, and any quotient below 2**9; in float32 although neither number is rounded."""
    beside = whole * denominator + denominator // 2 + data.draw(st.integers(-2, 2))
    numerator = data.draw(st.sampled_from([beside, whole * denominator + data.draw(st.integers(0, denominator))]))
    numerator = max(-511 * denominator, min(511 * denominator, numerator))
    for dtype in DTYPES:
        quotient = numbers([numerator], 6, dtype) / numbers([denominator], 0, dtype)
        assert (to_grid(quotient) * 64).tolist() == [round(Fraction(numerator, denominator))]


def test_attention_is_a_softmax() -> None:
    """The same function in training and in fixed point, up to the grids."""
    random = torch.Generator().manual_seed(0)
    q, k, v = (to_grid(torch.randn(2, n, 16, generator=random)) for n in (5, 7, 7))
    mask = torch.rand(5, 7, generator=random) < 0.3
    mask[:, 0] = False
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, ~mask)
    assert (attend(q, k, v, True, mask=mask) - expected).abs().max() < 0.05
    assert (attend(q, k, v, False, mask=mask) - expected).abs().max() < 1e-5


def test_table_of_exponentials() -> None:
    """Its integers, and that they are so far from a rounding boundary that every library finds the same."""
    table = exp_table()
    assert table.dtype == np.int64 and table.shape == (EXP_TABLE_SIZE + 1,)
    assert zlib.crc32(table.astype("<i4").tobytes()) == 0x5355468B
    assert np.array_equal(table, EXPONENTIALS)
    with localcontext() as context:
        context.prec = 40
        exact = [512 * (Decimal(-n) / 64).exp() for n in range(EXP_TABLE_SIZE + 1)]
    assert table.tolist() == [int(value.to_integral_value()) for value in exact]
    assert table[-2] == 1 and table[-1] == 0
    assert min(abs(value % 1 - Decimal("0.5")) for value in exact) > Decimal("1e-6")


# --------------------------------------------------------------------------------------------------------------- limits


def test_sums_at_the_limit_are_exact_in_any_order() -> None:
    """Terms whose magnitudes add up to just below 2**24 units, in float32."""
    random = np.random.default_rng(0)
    weights = np.concatenate([[2047, -2047], random.integers(-60, 61, 64), [1, -1, 3] * 20])
    activations = np.concatenate([[2041, -2040], random.integers(-4000, 4001, 64), [1, 1, -5] * 20])
    rest = (1 << 24) - 1 - int(np.abs(weights * activations).sum())
    assert rest > 0
    weights, activations = np.append(weights, 1 if rest < 1 << 15 else 2047), np.append(activations, rest // 2047)
    assert (1 << 24) - 2100 < np.abs(weights * activations).sum() < 1 << 24
    expected = float((weights * activations).sum())
    for _ in range(20):
        order = random.permutation(len(weights))
        w, a = (torch.from_numpy(x[order].astype(np.float32)) for x in (weights, activations))
        assert {(w * a).sum().item(), (w @ a).item(), (w * a).cumsum(0)[-1].item()} == {expected}


def test_filter_is_a_sum_of_nine_products() -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.randint(-2000, 2000, (2, 5, 6, 7), generator=random).float()
    weight, bias = (torch.randint(-300, 300, shape, generator=random).float() for shape in ((7, 1, 3, 3), (7,)))
    padded = torch.nn.functional.pad(x, (0, 0, 1, 1, 1, 1))
    expected = bias + sum(weight[:, 0, i, j] * padded[:, i : i + 5, j : j + 6] for i in range(3) for j in range(3))
    for exact in (False, True):
        assert torch.equal(filter3x3(x, weight, bias, exact), expected)
