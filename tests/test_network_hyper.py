"""Hyper latents that are all zero: they are not computed, and their features are made once."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import TINY, drawn_model, photo, published
from torch import Tensor

from dcacodec.codec.codec import Codec
from dcacodec.coding import CdfTable, PythonCoder
from dcacodec.coding.tables import TOTAL
from dcacodec.images.picture import Picture
from dcacodec.network.hyper import FeaturesOfZeros, RegionalSynthesis


def almost_always_zero(rows: int) -> CdfTable:
    cdf = np.tile([0, 1, TOTAL - 1, TOTAL], (rows, 1))
    return CdfTable(cdf, np.full(rows, -1), np.zeros(rows, np.int64))


@pytest.mark.parametrize("letter", "RGL")
def test_inactive_hyper_latents_are_zero_without_being_computed(letter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = published(drawn_model(TINY, 31))
    assert not weights.inactive
    tables = {**weights.z_tables, letter: almost_always_zero(weights.z_tables[letter].rows)}
    active, codec = Codec(weights, coder=PythonCoder()).at(50), Codec(replace(weights, z_tables=tables))
    assert codec.weights.inactive == {letter}
    pixels = photo(128, 192, seed=3)
    y = active.point.latent_of(active.point.tensor_of(pixels))
    all_of_them = active.point.hyper_of(y)
    assert all_of_them[letter].any()

    point = codec.at(50).point
    with point._transforms() as network:
        monkeypatch.setattr(network.hyper_analysis[letter], "forward", None)
    found = point.hyper_of(y)
    assert list(found) == list("RGL")
    for each, value in found.items():
        expected = torch.zeros_like(all_of_them[each]) if each == letter else all_of_them[each]
        assert value.dtype == expected.dtype and torch.equal(value, expected)
    picture = Picture(pixels, False, None, None, None)
    data = codec.encode(picture, quality=50, lossless=False)
    assert codec.decode(data).pixels.shape == pixels.shape


@pytest.mark.parametrize("window", [1, 2, 4])
def test_features_of_zeros_are_made_once_of_few_elements(window: int) -> None:
    """Of every size they are those that r_s makes of all elements."""
    config = replace(TINY, window=window)
    synthesis = published(drawn_model(config, 7)).network.entropy.synthesis["R"]
    assert isinstance(synthesis, RegionalSynthesis)
    shapes: list[torch.Size] = []
    known = FeaturesOfZeros(synthesis)
    for height, width in [(1, 1), (2, 9), (3, 8), (8, 3), (7, 6), (10, 11), (11, 14), (12, 12), (13, 9), (13, 9)]:
        zeros = torch.zeros(2, height, width, config.regional)
        with torch.inference_mode():
            expected = synthesis(zeros)
            with synthesis.expand1.register_forward_pre_hook(lambda module, given: shapes.append(given[0].shape)):
                assert torch.equal(known(zeros), expected)
    assert max(side for shape in shapes for side in shape[:3]) <= 5
    assert len(shapes) == len(set(shapes)) == 8


def test_zeros_are_told_from_a_single_element() -> None:
    """Encoder and decoder know z_r, and use the features of zeros for zeros alone."""
    entropy = published(drawn_model(TINY, 7)).network.entropy
    assert TINY.order[0] == "R"
    constants = entropy.constants()
    latents = {letter: torch.zeros(1, *TINY.hyper_shape(letter, 16, 24)) for letter in TINY.order}
    features: list[Tensor] = []
    for value in (0, 1):
        latents["R"][0, 3, 5, 2] = value
        with torch.inference_mode():
            found = entropy.prepare(latents, (1, 16, 24), constants.zero_features)
            expected = entropy.prepare(latents, (1, 16, 24), None)
        _, ours = found[0]
        _, theirs = expected[0]
        assert isinstance(ours, Tensor) and isinstance(theirs, Tensor) and torch.equal(ours, theirs)
        features.append(ours)
    assert not torch.equal(*features)


def test_kept_features_do_not_suffer_from_a_precision_set_meanwhile() -> None:
    """Which the next slice would be coded without, see `float32_is_exact`."""
    synthesis = published(drawn_model(TINY, 7)).network.entropy.synthesis["R"]
    assert isinstance(synthesis, RegionalSynthesis)
    known, zeros = FeaturesOfZeros(synthesis), torch.zeros(1, 9, 6, TINY.regional)
    with torch.inference_mode():
        expected = synthesis(zeros)
        try:
            torch.set_float32_matmul_precision("medium")
            assert torch.equal(known(zeros), expected)
        finally:
            torch.set_float32_matmul_precision("highest")
        assert torch.equal(pickle.loads(pickle.dumps(known))(zeros), expected)
