"""Rates and tables: ideal bits, Gaussian and given probabilities, and what is malformed."""

import heapq
import math

import numpy as np
import pytest
from coders import SMALL, ints, table
from told import one_line

from dcacodec.coding import (
    VALUE_LIMIT,
    CdfTable,
    TorchacCoder,
    encode_values,
    gaussian_table,
    ideal_bits,
    symbol_counts,
    table_from_probabilities,
)
from dcacodec.coding.tables import TOTAL
from dcacodec.errors import WeightsError


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


def test_symbols_are_counted_by_row() -> None:
    """Rows of which there is no value, too."""
    assert symbol_counts(ints(-1, 0, 0, 9), ints(0, 0, 0, 0), SMALL).tolist() == [[1, 2, 0, 1], [0, 0, 0, 0]]
    assert symbol_counts(ints(40, 0), ints(1, 1), SMALL).tolist() == [[0, 0, 0, 0], [1, 0, 0, 1]]


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
