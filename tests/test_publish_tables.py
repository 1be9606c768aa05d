"""Publishing: the tables of probabilities, those of formulas and those that are fitted to pictures."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from publishing import PICTURES, changed
from tiny import TINY, photo, published, symbols_of

from dcacodec.codec.codec import Codec
from dcacodec.codec.source import Source
from dcacodec.coding import PythonCoder, ideal_bits
from dcacodec.images.picture import Picture
from dcacodec.network.dca import DCA
from dcacodec.network.priors import SCALE_LEVELS, FactorizedPrior, gaussian_bits
from dcacodec.training.limits import measured_limits
from dcacodec.training.publish import FIT_QUALITIES, FIT_STRENGTH, fitted_levels, publish
from dcacodec.weights.export import ALPHABET, export, gaussian_levels, prior_table
from dcacodec.weights.reader import parse_weights, read_weights

Floats = NDArray[np.floating[Any]]


@pytest.fixture(scope="module")
def data(model: DCA) -> bytes:
    return export(model)


def assert_near_ideal(counts: Floats, ideal: Floats) -> None:
    """Counts (rows, symbols) of 65536 are those of the probabilities, but for rounding and for the least count, 1."""
    assert (counts.sum(1) == 65536).all()
    assert (counts >= 1).all()
    assert ideal.sum(1) == pytest.approx(1.0, abs=1e-9)
    # What symbols get above their share, by rounding or as the least count, is taken from all others in proportion.
    given = np.maximum(1 - ideal * 65536, 0).sum(1, keepdims=True) + ALPHABET / 2
    assert (np.abs(counts - ideal * 65536) <= 1 + ideal * given).all()
    bits = ideal * np.log2(np.maximum(ideal, 1e-300) / counts * 65536)
    assert bits.sum(1).max() < 1e-3  # lost per symbol


def logistic_mixture(prior: FactorizedPrior, x: Floats) -> Floats:
    """P(z < x) for x (rows, points), in float64, by hand."""
    weight, centre, log_scale = (p.detach().double().flatten(0, 1).numpy()[:, None] for p in prior.parameters())
    logistic = 1 / (1 + np.exp(-(x[:, :, None] - centre) / np.exp(np.maximum(log_scale, -3.0))))
    mixture: Floats = (np.exp(weight) * logistic).sum(2) / np.exp(weight).sum(2)
    return mixture


@pytest.mark.parametrize("centre", [0.0, 40.0, -300.0])
def test_the_table_of_a_prior_is_its_density(model: DCA, centre: float) -> None:
    prior = changed(model, "priors.R.centre", centre).priors["R"]  # one component of one row, which need not be about 0
    assert isinstance(prior, FactorizedPrior)
    with torch.no_grad():
        prior.weight[-1, -1, -1] = 3.0  # and has most of the probability
    table = prior_table(prior)
    assert (table.rows, table.alphabet) == (TINY.anchors * TINY.regional, ALPHABET)
    assert not table.shift.any()
    low = table.low.astype(np.float64)[:, None]
    below = logistic_mixture(prior, low + np.arange(ALPHABET) - 0.5)
    ideal = np.concatenate([np.diff(below, axis=1), 1 - (below[:, -1:] - below[:, :1])], axis=1)
    assert_near_ideal(np.diff(table.cdf, axis=1), ideal)
    # The regular symbols lie about the median, which is where there is half of the probability below.
    middle = low + (ALPHABET - 1) // 2
    assert (logistic_mixture(prior, middle - 0.5) < 0.5).all()
    assert (logistic_mixture(prior, middle + 0.5) >= 0.5).all()
    assert abs(middle[-1, 0] - centre) <= 1


def test_the_table_of_y_is_the_gaussian_of_training() -> None:
    table = gaussian_levels()
    assert (table.rows, table.alphabet) == (SCALE_LEVELS, ALPHABET)
    ideal = np.zeros((SCALE_LEVELS, ALPHABET))
    for row in range(SCALE_LEVELS):
        shift, sigma = int(table.shift[row]), 0.11 * math.exp(row / 16)
        assert sigma <= 4 * 2**shift
        assert shift == 0 or sigma > 2 * 2**shift
        assert table.low[row] == -(ALPHABET - 1) // 2
        values = (torch.arange((ALPHABET - 1) << shift) + (int(table.low[row]) << shift)).double()
        bits = gaussian_bits(values, torch.tensor(float(row), dtype=torch.float64))
        shares = torch.exp2(-bits).masked_fill(bits > 23.9, 0.0)  # from 24 bits on it tells no difference
        ideal[row, :-1] = shares.view(ALPHABET - 1, -1).sum(1).numpy()
    ideal[:, -1] = 1 - ideal.sum(1)
    assert_near_ideal(np.diff(table.cdf, axis=1), ideal)


@pytest.mark.parametrize(("width", "slice_log2"), [(150, 0), (340, 8)])
def test_fitted_rows_are_what_was_counted_beside_the_gaussian(
    width: int, slice_log2: int, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a picture that is too large for a single slice."""
    for limit in ("dcacodec.format.container.LARGEST_SLICE", "dcacodec.tiling.grid.LARGEST_WHOLE"):
        monkeypatch.setattr(limit, 64 * 256)
    monkeypatch.setattr("dcacodec.tiling.grid.USUAL_SLICE_LOG2", 8)
    weights = parse_weights(data, "tiny")
    codec, gaussian = Codec(weights, coder=PythonCoder()), weights.y_table
    picture = photo(70, width, 3)
    counting = Picture(picture[:64, : width // 64 * 64])
    counted: dict[int, list[int]] = {}
    for quality in FIT_QUALITIES:
        header = codec.header_for(Source(counting), quality=quality, slice_log2=slice_log2)
        assert header.slice_count == (2 if slice_log2 else 1)
        for symbols in (each.symbols for each in codec.encode_slices(counting, header)):
            for values, rows in zip(symbols.steps, symbols.rows, strict=True):
                for value, row in zip(values.tolist(), rows.tolist(), strict=True):
                    counted.setdefault(row, []).extend((value, -value))
    fitted = fitted_levels(weights, [picture])
    assert (fitted.low == gaussian.low).all() and (fitted.shift == gaussian.shift).all()
    assert 20 < len(counted) < SCALE_LEVELS
    for row in range(SCALE_LEVELS):
        if row not in counted:
            assert (fitted.cdf[row] == gaussian.cdf[row]).all()
            continue
        shares = FIT_STRENGTH * np.diff(gaussian.cdf[row]) / 65536
        for value in counted[row]:
            symbol = (value >> int(gaussian.shift[row])) - int(gaussian.low[row])
            shares[symbol if 0 <= symbol < ALPHABET - 1 else ALPHABET - 1] += 1
        # Counts are whole, and at least 1 each: they are near their shares of 65536, no nearer.
        assert np.abs(np.diff(fitted.cdf[row]) - 65536 * shares / shares.sum()).max() < ALPHABET


@pytest.mark.slow
def test_fitted_tables_are_published_and_cost_less(model: DCA, tmp_path: Path) -> None:
    picture = photo(64, 128, 3)
    plain = published(model, measured_limits(model, [picture]))
    fitted = read_weights(publish(model, tmp_path / "fitted", PICTURES, fit=[picture]))
    assert plain.fingerprint != fitted.fingerprint
    assert (fitted.y_table.cdf == fitted_levels(plain, [picture]).cdf).all()
    total = {True: 0.0, False: 0.0}
    for quality in FIT_QUALITIES:
        symbols = symbols_of(Codec(plain), picture, quality)
        for values, rows in zip(symbols.steps, symbols.rows, strict=True):
            for which, weights in ((True, fitted), (False, plain)):
                total[which] += ideal_bits(values, rows, weights.y_table)
    assert total[True] < total[False]
    codec = Codec(fitted, coder=PythonCoder())
    file = codec.encode(Picture(picture), quality=50)
    assert (
        codec.decode(file).pixels == Codec(plain).decode(Codec(plain).encode(Picture(picture), quality=50)).pixels
    ).all()


@pytest.mark.slow
def test_pictures_too_small_to_fit_to_are_left_out(model: DCA, tmp_path: Path) -> None:
    """The tables are those of the other pictures."""
    large = photo(128, 64, seed=3)
    paths = [
        publish(model, tmp_path / name, [], fit=fit)
        for name, fit in (("with", [photo(63, 200, seed=4), large]), ("without", [large]))
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes() != publish(model, tmp_path / "plain", []).read_bytes()
