"""The exact operations against rational arithmetic, and the limits that make them exact."""

import math
import zlib
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import EXPONENTIALS, shift_right
from tiny import TINY, drawn_model
from torch import Tensor

from dcacodec.errors import WeightsError
from dcacodec.network.dca import DCA
from dcacodec.network.fixed_point import (
    ACTIVATION_LIMIT,
    EXP_TABLE_SIZE,
    attend,
    exp_table,
    hard_sigmoid,
    hard_swish,
    is_exact,
    rms_normalise,
    snap,
    square_root,
)
from dcacodec.network.layers import Linear
from dcacodec.weights.export import export

LIMIT = 1 << 21
"""Of activations, in units of 2**-9."""
activation = st.one_of(st.integers(-LIMIT, LIMIT), st.integers(-2000, 2000), st.sampled_from([-LIMIT, LIMIT]))


def doubles(units: list[int], bits: int = 9) -> Tensor:
    return torch.tensor([unit * 2.0**-bits for unit in units], dtype=torch.float64)


def fractions(x: Tensor) -> list[Fraction]:
    return [Fraction(value) for value in x.reshape(-1).tolist()]


def snapped(value: Fraction) -> Fraction:
    """By the definition; `round` of a Fraction is half-even and exact."""
    return Fraction(max(-LIMIT, min(LIMIT, round(value * 512))), 512)


def nearest_double(value: Fraction) -> Fraction:
    """Division of integers in Python is correctly rounded."""
    return Fraction(value.numerator / value.denominator)


def root_below(value: Fraction) -> Fraction:
    """The largest multiple of 2**-14 that is not above the square root."""
    return Fraction(math.isqrt(math.floor(value * (1 << 28))), 1 << 14)


# ------------------------------------------------------------------------------------------------------------- rounding


@given(st.lists(st.integers(-(1 << 53), 1 << 53), min_size=1, max_size=8), st.integers(10, 45))
def test_snap_is_half_even_then_clamped(units: list[int], bits: int) -> None:
    x = doubles(units, bits)
    assert fractions(snap(x)) == [snapped(Fraction(unit, 1 << bits)) for unit in units]


def test_snap_at_ties() -> None:
    units = [-5, -3, -1, 1, 3, 5]  # of half a unit: -2.5, -1.5, -0.5, ...
    assert (snap(doubles(units, 10)) * 512).tolist() == [-2, -2, 0, 0, 2, 2]
    assert snap(doubles([(1 << 23) + 1, -(1 << 23) - 1], 10)).tolist() == [ACTIVATION_LIMIT, -ACTIVATION_LIMIT]


def test_snap_of_the_largest_magnitudes_before_the_clamp() -> None:
    units = [(1 << 50) - 1, -(1 << 50) + 1, (1 << 30) + 1]
    assert snap(doubles(units)).tolist() == [ACTIVATION_LIMIT, -ACTIVATION_LIMIT, ACTIVATION_LIMIT]


def test_snap_is_the_identity_in_training() -> None:
    x = torch.tensor([1e-5, 1e9])
    assert not is_exact(x) and snap(x) is x


@given(st.integers(-(1 << 62), 1 << 62), st.integers(0, 40))
def test_shift_of_the_oracle_is_half_even(units: int, bits: int) -> None:
    assert shift_right(np.array([units], np.int64), bits).tolist() == [round(Fraction(units, 1 << bits))]


# ----------------------------------------------------------------------------------------------------------- operations


@given(st.lists(activation, min_size=1, max_size=8))
def test_hard_sigmoid_and_hard_swish(units: list[int]) -> None:
    x = doubles(units)
    gates = [min(max(value / 4 + Fraction(1, 2), Fraction(0)), Fraction(1)) for value in fractions(x)]
    assert fractions(hard_sigmoid(x)) == gates
    assert fractions(hard_swish(x)) == [snapped(v * gate) for v, gate in zip(fractions(x), gates, strict=True)]


@settings(max_examples=300)
@given(st.lists(activation, min_size=1, max_size=50))
def test_rms_normalise_rounds_each_operation_once(units: list[int]) -> None:
    x = fractions(doubles(units))
    energy = sum((value * value for value in x), Fraction(0))
    mean = nearest_double(energy * nearest_double(Fraction(1, len(x))))
    root = root_below(nearest_double(mean + Fraction(1, 1 << 12)))
    expected = [snapped(nearest_double(value / root)) for value in x]
    assert fractions(rms_normalise(doubles(units))) == expected


@given(st.lists(st.tuples(st.integers(-(1 << 53), 1 << 53), st.integers(1, 1 << 53)), min_size=1, max_size=19))
def test_division_is_correctly_rounded(pairs: list[tuple[int, int]]) -> None:
    above, below = (doubles(list(column), 0) for column in zip(*pairs, strict=True))
    assert fractions(above / below) == [nearest_double(Fraction(a, b)) for a, b in pairs]


ROOTS = st.one_of(
    st.integers(1 << 16, 1 << 52),
    st.integers(1 << 8, 1 << 26).flatmap(lambda root: st.sampled_from([root**2 - 1, root**2, root**2 + 1])),
).map(lambda square: max(square, 1 << 16))
"""Of integers times 2**-28; many are squares or beside them."""


@given(st.lists(ROOTS, min_size=1, max_size=19))
def test_square_root_is_the_largest_multiple_below(squares: list[int]) -> None:
    expected = [Fraction(math.isqrt(square), 1 << 14) for square in squares]
    assert fractions(square_root(doubles(squares, 28))) == expected


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


def test_rms_normalise_is_a_normalisation() -> None:
    """The same function in training and in fixed point, up to the grid, for loud and for quiet vectors."""
    random = np.random.default_rng(0)
    for size in (0.1, 1.0, 300.0):
        x = snap(torch.from_numpy(random.normal(0, size, (50, 24))))
        expected = x / torch.sqrt(x.square().mean(-1, keepdim=True) + 2.0**-12)
        assert (rms_normalise(x.float()) - expected).abs().max() < 1e-5
        assert (rms_normalise(x) - expected).abs().max() <= 2.0**-10 + 2.0**-12 / size
        assert torch.equal(rms_normalise(x), snap(rms_normalise(x)))


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
        weights = [0 if hidden[row][i] else table[min(largest - logit, 768)] for i, logit in enumerate(logits)]
        for channel in zip(*value, strict=True):
            total = sum((w * v for w, v in zip(weights, channel, strict=True)), Fraction(0))
            read.append(snapped(nearest_double(total / sum(weights))))
    return read


@settings(max_examples=100)
@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 9), st.integers(0, 2**32))
def test_attention_is_what_is_defined(queries: int, keys: int, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    spread = random.choice([300, 2000, 200_000])
    q, k, v = (random.normal(0, spread, (n, width)).round().clip(-LIMIT, LIMIT) for n in (queries, keys, keys))
    bias = random.normal(0, 4096, (queries, keys)).round()
    hidden = random.random((queries, keys)) < 0.3
    hidden[:, random.integers(keys)] = False
    tensors = [torch.from_numpy(array * 2.0**-bits) for array, bits in ((q, 9), (k, 9), (v, 9), (bias, 12))]
    rows = [[[Fraction(x) for x in row] for row in t.tolist()] for t in tensors]
    found = attend(tensors[0], tensors[1], tensors[2], tensors[3], torch.from_numpy(hidden))
    assert fractions(found) == softmax_attention(rows[0], rows[1], rows[2], rows[3], hidden.tolist())


def test_attention_is_a_softmax() -> None:
    """The same function in training and in fixed point, up to the grids."""
    random = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, n, 16, generator=random, dtype=torch.float64) for n in (5, 7, 7))
    q, k, v = (snap(x) for x in (q, k, v))
    mask = torch.rand(5, 7, generator=random) < 0.3
    mask[:, 0] = False
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, ~mask)
    assert (attend(q, k, v, mask=mask) - expected).abs().max() < 0.02
    assert (attend(q.float(), k.float(), v.float(), mask=mask) - expected).abs().max() < 1e-5


def test_table_of_exponentials() -> None:
    """Its integers, and that they are so far from a rounding boundary that every library finds the same."""
    table = exp_table()
    assert table.dtype == np.int64 and table.shape == (EXP_TABLE_SIZE + 1,)
    assert zlib.crc32(table.astype("<i4").tobytes()) == 0xE3AC03A9
    assert np.array_equal(table, EXPONENTIALS)
    with localcontext() as context:
        context.prec = 40
        exact = [65536 * (Decimal(-n) / 64).exp() for n in range(EXP_TABLE_SIZE)]
    assert table.tolist() == [*(int(value.to_integral_value()) for value in exact), 0]
    assert min(abs(value % 1 - Decimal("0.5")) for value in exact) > Decimal("1e-6")


# --------------------------------------------------------------------------------------------------------------- limits


def test_sums_at_the_limit_are_exact_in_any_order() -> None:
    """The largest weights that may be published, the largest activations, and terms as small as they get."""
    random = np.random.default_rng(0)
    weights = np.concatenate([[32767, -32767] * 110, random.integers(-32767, 32768, 64), [1, -1, 3] * 20])
    assert 2000 << 12 < np.abs(weights).sum() < 2048 << 12
    activations = np.concatenate([[LIMIT, -LIMIT + 1] * 110, random.integers(-LIMIT, LIMIT, 64), [1, 1, -5] * 20])
    expected = sum(int(w) * int(a) for w, a in zip(weights, activations, strict=True))
    for _ in range(20):
        order = random.permutation(len(weights))
        w, a = (torch.from_numpy(x[order].astype(np.float64)) for x in (weights, activations))
        assert {(w * a).sum().item(), (w @ a).item(), (w * a).cumsum(0)[-1].item()} == {float(expected)}


def altered(name: str, change: float) -> DCA:
    """A drawn model with one parameter's first element set."""
    model = drawn_model(TINY, seed=3)
    with torch.no_grad():
        model.get_parameter(name).view(-1)[0] = change
    return model


def test_weights_beyond_16_bits_are_not_published() -> None:
    export(altered("entropy.head.weight", 32767 / 4096))
    with pytest.raises(WeightsError, match=r"^entropy\.head\.weight does not fit 16 bits"):
        export(altered("entropy.head.weight", 8.0))


def test_biases_beyond_32_bits_are_not_published() -> None:
    with pytest.raises(WeightsError, match=r"^entropy\.head\.bias does not fit 32 bits"):
        export(altered("entropy.head.bias", 2.0**19))


def test_weights_that_add_up_to_too_much_are_not_published() -> None:
    model = drawn_model(TINY, seed=3)
    model.entropy.head = Linear(512, model.entropy.head.out_features)
    torch.nn.init.constant_(model.entropy.head.weight, 4.0)
    with pytest.raises(WeightsError, match=r"^entropy\.head\.weight: the sum of the weights of an output"):
        export(model)
