"""What a decoder computes is what an independent program of integers computes, and the rules for it by hand."""

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from fractions import Fraction
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from entropy_variants import VARIANTS, assert_equal_runs
from hypothesis import given, settings
from hypothesis import strategies as st
from integers import Int, Mask
from oracle import SKIP_BELOW, Oracle
from tiny import TINY, Run, drawn_latents, photo, run_entropy, symbols_of
from torch import Tensor

from dcacodec.codec.codec import Codec
from dcacodec.coding import PythonCoder
from dcacodec.format.reader import parse
from dcacodec.images.picture import Picture
from dcacodec.network.context import join_steps, to_phases
from dcacodec.network.fixed_point import Snap
from dcacodec.weights.reader import Weights, parse_weights

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def variant() -> Callable[[str], tuple[Weights, Oracle]]:
    """A variant's weights as the codec and as the oracle read them."""

    @cache
    def make(name: str) -> tuple[Weights, Oracle]:
        data = VARIANTS[name]()
        return parse_weights(data, name), Oracle(data)

    return make


def oracle_run(oracle: Oracle, hyper: dict[str, Tensor], y: Tensor, quality: int) -> tuple[Int, Int, Int]:
    """The oracle as an encoder of y: means in units of 2**-9, levels, y_hat in units of 2**-9; each (H, W, M)."""
    target = y[0].numpy()
    means = np.zeros(target.shape, np.int64)
    levels = np.zeros(target.shape, np.int64)

    def code(step: int, mask: Mask, mean: Int, level: Int) -> Int:
        means[mask], levels[mask] = mean[mask], level[mask]
        residual = np.rint(target - mean * 2.0**-9).astype(np.int64)
        return np.where(mask & (level >= SKIP_BELOW), residual, 0)

    integers = {letter: z[0].numpy().astype(np.int64) for letter, z in hyper.items()}
    return means, levels, oracle.run(integers, target.shape[:2], quality, code)


def assert_equals_oracle(run: Run, expected: tuple[Int, Int, Int]) -> None:
    for found, units, bits in zip((run.mean, run.level.round(), run.latent), expected, (9, 0, 9), strict=True):
        np.testing.assert_array_equal(found[0].numpy() * 2.0**bits, units)


@pytest.mark.parametrize("quality", [1, 37, 100])
@pytest.mark.parametrize("name", VARIANTS)
def test_oracle_computes_the_same(name: str, quality: int, variant: Callable[[str], tuple[Weights, Oracle]]) -> None:
    """Means, levels and y_hat of all four steps, for drawn latents of several sizes."""
    weights, oracle = variant(name)
    for seed, cells in enumerate([(1, 1), (2, 3), (3, 1)]):
        hyper, y = drawn_latents(weights.config, cells, seed=100 * quality + seed, size=10.0)
        run = run_entropy(weights.network.entropy, hyper, y, weights.scales(quality, CPU))
        assert_equals_oracle(run, oracle_run(oracle, hyper, y, quality))


@pytest.mark.parametrize("quality", [1, 37, 100])
def test_oracle_computes_the_same_of_the_largest_latents(
    quality: int, variant: Callable[[str], tuple[Weights, Oracle]]
) -> None:
    """Everything at the limit of what a file can hold; the oracle asserts that no sum reaches 2**24."""
    weights, oracle = variant("loud")
    random = np.random.default_rng(quality)
    hyper, y = drawn_latents(weights.config, (2, 2), seed=quality, size=1.0)
    hyper = {letter: torch.from_numpy(random.choice([-32767.0, 32767.0], z.shape)) for letter, z in hyper.items()}
    y = 36000 * y.sign()
    run = run_entropy(weights.network.entropy, hyper, y, weights.scales(quality, CPU))
    assert_equals_oracle(run, oracle_run(oracle, hyper, y, quality))


def test_loud_variant_reaches_the_clamp(variant: Callable[[str], tuple[Weights, Oracle]]) -> None:
    weights, _ = variant("loud")
    clamped: set[str] = set()

    def note(name: str, module: Any, arguments: Any, output: Tensor) -> None:
        if (output.abs() == module.limit).any():
            clamped.add(name)

    entropy = deepcopy(weights.network.entropy)
    for name, module in entropy.named_modules():
        if isinstance(module, Snap):
            module.register_forward_hook(partial(note, name))
    hyper, y = drawn_latents(weights.config, (2, 2), seed=0, size=10.0)
    run_entropy(entropy, hyper, y, weights.scales(50, CPU))
    assert {"stages.L.carry.snap", "stages.L.block.feed.out.snap", "stages.G.read.keys.snap"} <= clamped


@pytest.mark.parametrize("name", VARIANTS)
@settings(max_examples=12)
@given(seed=st.integers(0, 2**32), size=st.sampled_from([0.3, 3.0, 300.0, 40000.0]), quality=st.integers(1, 100))
def test_float32_and_float64_give_the_same_numbers(
    name: str, variant: Callable[[str], tuple[Weights, Oracle]], seed: int, size: float, quality: int
) -> None:
    """Element by element; quiet latents, and such as reach every limit."""
    weights, _ = variant(name)
    random = np.random.default_rng(seed)
    hyper, y = drawn_latents(weights.config, (1, 2), seed, size)
    hyper = {letter: (z * random.choice([1, 9, 10000])).clamp(-32767, 32767) for letter, z in hyper.items()}
    entropy, scales = weights.network.entropy, weights.scales(quality, CPU)
    found = run_entropy(entropy, hyper, y, scales)
    expected = run_entropy(deepcopy(entropy).double(), hyper, y, scales)
    assert found.level.dtype == torch.float32 and expected.level.dtype == torch.float64
    assert_equal_runs(found, Run(*(x.to(y.dtype) for y, x in zip(found, expected, strict=True))))
    assert torch.equal(found.level.double(), expected.level)


@pytest.mark.parametrize("name", ["kept", "R", "LGR", "merged"])
def test_oracle_decodes_what_the_codec_encodes(name: str, variant: Callable[[str], tuple[Weights, Oracle]]) -> None:
    """From pictures, through files: another program, started from the file's bytes, finds the same integers."""
    weights, oracle = variant(name)
    codec = Codec(weights, coder=PythonCoder())
    for quality, (height, width) in ((3, (70, 40)), (50, (1, 129)), (98, (64, 64))):
        pixels = photo(height, width, seed=quality)
        data = codec.encode(Picture(pixels, False, None, None, None), quality=quality, lossless=False)
        encoded = symbols_of(codec, pixels, quality)
        (decoded,) = oracle.decode(data)
        assert list(decoded.hyper) == [letter for letter in "RGL" if letter in weights.config.order]
        for letter, values in decoded.hyper.items():
            np.testing.assert_array_equal(values, encoded.hyper[letter])
        for step in range(4):
            np.testing.assert_array_equal(decoded.steps[step], encoded.steps[step])
            np.testing.assert_array_equal(decoded.levels[step], encoded.rows[step])
        np.testing.assert_array_equal(decoded.latent, encoded.units[0].numpy())
        assert decoded.checksum() == encoded.checksum() == parse(data).slices[0].latent_crc


@pytest.mark.parametrize("anchors", range(2, 17))
def test_rule_for_the_nearest_anchor(anchors: int) -> None:
    """Against rational arithmetic, for every quality in tenths; of two that are equally near, the higher one."""
    config = replace(TINY, anchors=anchors)
    for tenths in range(10, 1001):
        place = Fraction(tenths - 10, 990) * (anchors - 1)
        assert config.nearest_anchor(tenths / 10) == math.floor(place + Fraction(1, 2)), tenths


def test_scales_keep_all_their_bits(weights: Weights) -> None:
    """31 of them in factors: more than a float32 holds."""
    table = np.arange(1600, dtype=np.int32).reshape(100, 16) + (2**31 - 1600)
    levels = np.arange(1600, dtype=np.int32).reshape(100, 16) - 2**20
    tables = table, table - 7, levels
    scales = replace(weights, scale_tables=tables).scales(37, CPU)
    for scale, units, bits in zip(scales, tables, (16, 16, 9), strict=True):
        assert [value * 2**bits for value in scale.flatten().tolist()] == units[36].tolist()


def test_raster_order_of_a_step(codec: Codec) -> None:
    """Row, column, channel within the group that is coded there."""
    config = codec.weights.config
    pixels = photo(70, 130, seed=3)
    symbols = symbols_of(codec, pixels, 100)
    height, width, quarter = 8, 12, config.latent // 4
    hyper = {letter: torch.from_numpy(z).double()[None] for letter, z in symbols.hyper.items()}
    residuals: list[Tensor] = []
    taken: list[Tensor] = []

    def code(step: int, mean: Tensor, level: Tensor) -> Tensor:
        taken.append(level.round())
        phases = to_phases(symbols.units.double()).unflatten(-1, (4, quarter))
        group = [(0, 1, 2, 3), (3, 2, 1, 0), (2, 3, 0, 1), (1, 0, 3, 2)][step]  # at position 0, 1, 2, 3
        part = torch.stack([phases[p, ..., group[p], :] for p in range(4)])
        part = part * 2.0**-9
        residuals.append(part - mean)
        return part

    with torch.inference_mode():
        codec.weights.network.entropy(hyper, (height, width), codec.weights.scales(100, CPU), code)
    plane, level = (join_steps(parts)[0].numpy() for parts in (residuals, taken))
    for step in range(4):
        expected = []
        for row in range(height):
            for column in range(width):
                position = 2 * (row % 2) + column % 2
                group = position ^ (0, 3, 2, 1)[step]
                for channel in range(group * quarter, (group + 1) * quarter):
                    if level[row, column, channel] >= SKIP_BELOW:
                        expected.append(plane[row, column, channel])
        assert symbols.steps[step].tolist() == expected
