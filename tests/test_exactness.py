"""What a decoder computes is the same everywhere: in an independent program of integers, with any number of threads,
with any library, memory layout, batch and order of summation, in float32 and float64, and on a GPU.
"""

import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Any

import cuda_exactness
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from integers import Int, Mask
from oracle import SKIP_BELOW, Oracle
from tiny import TINY, WEIGHTS, Run, drawn_latents, drawn_model, photo, run_entropy, symbols_of
from torch import Tensor

from dcacodec.codec.codec import Codec
from dcacodec.codec.parallel import threads
from dcacodec.coding import PythonCoder
from dcacodec.format.reader import parse
from dcacodec.images.picture import Picture
from dcacodec.network import precision
from dcacodec.network.context import Scales, join_steps, to_phases
from dcacodec.network.fixed_point import Snap
from dcacodec.network.precision import float32_is_exact
from dcacodec.weights.export import export
from dcacodec.weights.reader import Weights, parse_weights, read_weights

CPU = torch.device("cpu")
TESTS = Path(__file__).parent
WIDE = replace(TINY, context=64, context_hidden=48, latent=32, local_width=64, token_width=32, regional=12)
"""Two heads of attention, and products large enough to be shared by threads."""

VARIANTS: dict[str, Callable[[], bytes]] = {
    "kept": WEIGHTS.read_bytes,
    "wide": lambda: export(drawn_model(WIDE, 11)),
    "odd sizes": lambda: export(
        drawn_model(replace(TINY, latent=20, context=40, local_width=20, token_width=12, tokens=5, window=2), 12)
    ),
    "loud": lambda: export(drawn_model(TINY, 13, loudness=6.0)),
    "R": lambda: export(drawn_model(replace(TINY, order="R"), 14)),
    "LGR": lambda: export(drawn_model(replace(TINY, order="LGR"), 15)),
    "GRL": lambda: export(drawn_model(replace(TINY, order="GRL"), 16)),
    "merged": lambda: export(drawn_model(replace(TINY, adaptive=False), 17)),
    "merged GL": lambda: export(drawn_model(replace(TINY, adaptive=False, order="GL"), 18)),
}


@pytest.fixture(scope="module")
def variant() -> Callable[[str], tuple[Weights, Oracle]]:
    """A variant's weights as the codec and as the oracle read them."""

    @cache
    def make(name: str) -> tuple[Weights, Oracle]:
        data = VARIANTS[name]()
        return parse_weights(data, name), Oracle(data)

    return make


# ----------------------------------------------------------------------------------------------------------- the oracle


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


# ------------------------------------------------------------------------------------------- settings, layouts, batches


def without_onednn() -> Any:
    return torch.backends.mkldnn.flags(enabled=False)


@contextmanager
def changed(owner: Any, name: str, value: Any) -> Iterator[None]:
    """An attribute set to a value, where it exists."""
    try:
        before = getattr(owner, name)
        setattr(owner, name, value)
    except (AttributeError, RuntimeError):
        pytest.skip(f"this PyTorch has no such setting: {name}")
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def kept(read: Callable[[], Any], write: Callable[[Any], None], value: Any) -> Iterator[None]:
    """A global setting of PyTorch for the block."""
    before = read()
    write(value)
    try:
        yield
    finally:
        write(before)


matmul_precision = partial(kept, torch.get_float32_matmul_precision, torch.set_float32_matmul_precision)
default_dtype = partial(kept, torch.get_default_dtype, torch.set_default_dtype)


SETTINGS: dict[str, Callable[[], Any]] = {
    "1 thread": lambda: threads(1),
    "2 threads": lambda: threads(2),
    "4 threads": lambda: threads(4),
    "no oneDNN": without_onednn,
}


ONEDNN: Any = torch.backends.mkldnn
"""Its settings have no types."""


CARELESS: dict[str, Callable[[], Any]] = {
    "high precision": lambda: matmul_precision("high"),
    "medium precision": lambda: matmul_precision("medium"),
    "bfloat16 matrices": lambda: changed(ONEDNN.matmul, "fp32_precision", "bf16"),
    "bfloat16 filters": lambda: changed(ONEDNN.conv, "fp32_precision", "bf16"),
    "TensorFloat-32 matrices": lambda: changed(ONEDNN.matmul, "fp32_precision", "tf32"),
    "TensorFloat-32 filters": lambda: changed(ONEDNN.conv, "fp32_precision", "tf32"),
    "TensorFloat-32 on a GPU": lambda: changed(torch.backends.cuda.matmul, "allow_tf32", True),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "float64 by default": lambda: default_dtype(torch.float64),
    "bfloat16 by default": lambda: default_dtype(torch.bfloat16),
}
"""Settings of a program around the codec, with which products of float32 matrices need not be what they should be."""
each_setting = pytest.mark.parametrize("setting", SETTINGS)
each_of_all = pytest.mark.parametrize("setting", SETTINGS | CARELESS)


def assert_equal_runs(first: Run, second: Run) -> None:
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


@pytest.fixture(scope="module")
def wide(variant: Callable[[str], tuple[Weights, Oracle]]) -> Weights:
    return variant("wide")[0]


@pytest.fixture(scope="module")
def latents(wide: Weights) -> tuple[dict[str, Tensor], Tensor]:
    return drawn_latents(wide.config, (6, 5), seed=5, size=10.0)


@pytest.fixture(scope="module")
def reference(wide: Weights, latents: tuple[dict[str, Tensor], Tensor]) -> Run:
    with threads(1):
        return run_entropy(wide.network.entropy, *latents, wide.scales(50, CPU))


def test_the_reference_says_something(reference: Run) -> None:
    """Else the comparisons below would be empty."""
    assert reference.mean.unique().numel() > 5000
    assert reference.level.round().unique().numel() > 60


@each_setting
def test_network_under_every_setting(
    setting: str, wide: Weights, latents: tuple[dict[str, Tensor], Tensor], reference: Run
) -> None:
    with SETTINGS[setting]():
        assert_equal_runs(run_entropy(wide.network.entropy, *latents, wide.scales(50, CPU)), reference)


@pytest.fixture(scope="module")
def coded(weights: Weights) -> tuple[bytes, Any]:
    """A file, and the symbols that its encoder put into it."""
    codec = Codec(weights, coder=PythonCoder())
    pixels = photo(200, 300, seed=9)
    with threads(1):
        data = codec.encode(Picture(pixels, False, None, None, None), quality=60, lossless=False)
        return data, symbols_of(codec, pixels, 60)


@each_of_all
def test_files_under_every_setting(setting: str, weights: Weights, coded: tuple[bytes, Any]) -> None:
    """One file decodes to its encoder's symbols, and these are coded to the same bytes."""
    data, expected = coded
    codec = Codec(weights, coder=PythonCoder())
    with (SETTINGS | CARELESS)[setting]():
        symbols = cuda_exactness.decoded_symbols(codec, data)
        cuda_exactness.assert_same_symbols(symbols, expected)
        assert codec.at(60).streams_of(symbols) == parse(data).slices[0].streams


@each_of_all
def test_encoder_and_decoder_agree_under_every_setting(setting: str, weights: Weights) -> None:
    """The analysis may differ between settings. What one setting encodes is then decoded under another."""
    codec = Codec(weights, coder=PythonCoder())
    pixels = photo(150, 140, seed=10)
    with (SETTINGS | CARELESS)[setting]():
        data = codec.encode(Picture(pixels, False, None, None, None), quality=80, lossless=False)
        encoded = symbols_of(codec, pixels, 80)
    for other in SETTINGS.values():
        with other():
            cuda_exactness.assert_same_symbols(cuda_exactness.decoded_symbols(codec, data), encoded)


@pytest.mark.parametrize("setting", CARELESS)
def test_the_check_of_products_never_fails(setting: str) -> None:
    """It may say yes, as where the processor has no such instructions; then products are exact."""
    assert float32_is_exact(CPU)
    with CARELESS[setting]():
        said = float32_is_exact(CPU)
        if setting.endswith("precision"):
            assert not said
    assert float32_is_exact(CPU)


def test_the_check_of_products_finds_short_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 11 significant bits, of 8, and sums of two of 8 without the product of their second parts."""
    matmul = torch.Tensor.__matmul__

    def shortened(x: Tensor, bits: int) -> Tensor:
        mantissa, exponent = torch.frexp(x)
        return torch.ldexp((mantissa * 2.0**bits).round() * 2.0**-bits, exponent)

    def split(x: Tensor, y: Tensor) -> Tensor:
        (x1, y1) = (shortened(value, 8) for value in (x, y))
        return matmul(x1, y1) + matmul(x1, y - y1) + matmul(x - x1, y1)

    for wrong in (*(lambda x, y, b=b: matmul(shortened(x, b), shortened(y, b)) for b in (11, 8)), split):
        with monkeypatch.context() as patch:
            patch.setattr(torch.Tensor, "__matmul__", wrong)
            assert not float32_is_exact(CPU)
    with monkeypatch.context() as patch:
        filter3x3 = vars(precision)["filter3x3"]
        patch.setattr(precision, "filter3x3", lambda x, w, *rest, **more: filter3x3(shortened(x, 11), w, *rest, **more))
        assert not float32_is_exact(CPU)
    assert float32_is_exact(CPU)


def test_float64_is_taken_where_products_are_not_exact(
    codec: Codec, coded: tuple[bytes, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcacodec.codec.operating_point.float32_is_exact", lambda device: False)
    seen: list[torch.dtype] = []
    linear = F.linear

    def watched(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        seen.append(weight.dtype)
        return linear(x, weight, bias)

    monkeypatch.setattr(F, "linear", watched)
    data, expected = coded
    cuda_exactness.assert_same_symbols(cuda_exactness.decoded_symbols(codec, data), expected)
    assert set(seen) == {torch.float64}


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment", [{"ONEDNN_MAX_CPU_ISA": "AVX2"}, {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}]
)
def test_older_processors(environment: dict[str, str], coded: tuple[bytes, Any], tmp_path: Path) -> None:
    """In a process of its own, as these libraries look at the processor once."""
    data, expected = coded
    (tmp_path / "file.dca").write_bytes(data)
    program = (
        "import sys, cuda_exactness, tiny\n"
        "from pathlib import Path\n"
        "from dcacodec.codec.codec import Codec\n"
        "from dcacodec.coding import PythonCoder\n"
        "from dcacodec.weights.reader import read_weights\n"
        "codec = Codec(read_weights(tiny.WEIGHTS), coder=PythonCoder())\n"
        "print(cuda_exactness.decoded_symbols(codec, Path(sys.argv[1]).read_bytes()).checksum())"
    )
    path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "file.dca")],
        env={**os.environ, **environment, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) == expected.checksum()


def channels_first(x: Tensor) -> Tensor:
    """The same tensor, stored channel by channel."""
    return x.movedim(-1, 1).contiguous().movedim(1, -1)


def every_second(x: Tensor) -> Tensor:
    """The same tensor as a view into one twice as wide."""
    return x.repeat_interleave(2, -1)[..., ::2]


def backwards_stored(x: Tensor) -> Tensor:
    """The same tensor with the strides of its transpose."""
    return x.permute(*reversed(range(x.dim()))).contiguous().permute(*reversed(range(x.dim())))


@pytest.mark.parametrize("layout", [channels_first, every_second, backwards_stored])
def test_memory_layouts(
    layout: Callable[[Tensor], Tensor], wide: Weights, latents: tuple[dict[str, Tensor], Tensor], reference: Run
) -> None:
    """Of the latents, of the scales and of every parameter."""
    hyper, y = latents
    entropy = deepcopy(wide.network.entropy)
    for parameter in entropy.parameters():
        parameter.data = layout(parameter.data) if parameter.dim() > 1 else every_second(parameter.data)
    scales = Scales(*(layout(scale) for scale in wide.scales(50, CPU)))
    moved = {letter: layout(z) for letter, z in hyper.items()}
    assert not any(z.is_contiguous() for z in moved.values())
    assert_equal_runs(run_entropy(entropy, moved, layout(y), scales), reference)


def test_batch_of_two(wide: Weights, latents: tuple[dict[str, Tensor], Tensor], reference: Run) -> None:
    hyper, y = latents
    other_hyper, other_y = drawn_latents(wide.config, (6, 5), seed=6, size=10.0)
    both = {letter: torch.cat([z, other_hyper[letter]]) for letter, z in hyper.items()}
    scales = wide.scales(50, CPU)
    found = run_entropy(wide.network.entropy, both, torch.cat([y, other_y]), scales)
    assert_equal_runs(Run(*(x[:1] for x in found)), reference)
    assert_equal_runs(Run(*(x[1:] for x in found)), run_entropy(wide.network.entropy, other_hyper, other_y, scales))


def test_order_of_summation_matters_to_floats_only(
    wide: Weights, latents: tuple[dict[str, Tensor], Tensor], reference: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why there is fixed point: the same sums in another order leave it as it is, and change float32."""
    hyper, y = latents
    floats = wide.floating_point().entropy
    inexact = partial(
        run_entropy,
        floats,
        {letter: z.float() for letter, z in hyper.items()},
        y.float(),
        Scales(*(scale.float() for scale in wide.scales(50, CPU))),
    )
    before = inexact()
    assert_equal_runs(inexact(), before)
    linear = F.linear

    def backwards(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return linear(x.flip(-1), weight.flip(-1), bias)

    monkeypatch.setattr(F, "linear", backwards)
    assert_equal_runs(run_entropy(wide.network.entropy, *latents, wide.scales(50, CPU)), reference)
    assert (inexact().mean != before.mean).sum() > 1000


# ------------------------------------------------------------------------------------------------ the rules themselves


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


# ----------------------------------------------------------------------------------------------------------------- CUDA


@pytest.mark.slow
def test_the_gpu_check_itself() -> None:
    """The check that runs on machines with a GPU, here between the CPU and the CPU; and it finds a difference."""
    assert cuda_exactness.compare(read_weights(WEIGHTS), read_weights(WEIGHTS), CPU) > 90_000
    other = read_weights(WEIGHTS)
    other.network.entropy.head.bias[5] += 2.0**-5
    with pytest.raises(AssertionError):
        cuda_exactness.compare(read_weights(WEIGHTS), other, CPU)


def test_the_gpu_check_of_refinement_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    same = read_weights(WEIGHTS), read_weights(WEIGHTS), CPU
    cuda_exactness.check_short_products(*same)
    cuda_exactness.check_refinement(*same)
    monkeypatch.setattr(
        "dcacodec.codec.encoder.refine", lambda network, latent, inside, *_: latent[:, inside[0], inside[1]]
    )
    with pytest.raises(AssertionError):
        cuda_exactness.check_refinement(*same)


@pytest.mark.slow
def test_cuda_computes_the_same(with_gpus: dict[str, str]) -> None:
    """In a process of its own: this one sees no GPU."""
    path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    command = [sys.executable, str(TESTS / "cuda_exactness.py")]
    result = subprocess.run(
        command, env=with_gpus | {"PYTHONPATH": path}, capture_output=True, text=True, check=False, timeout=1200
    )
    if result.stderr == "no CUDA device was found\n":
        pytest.skip("there is no CUDA device")
    assert result.returncode == 0, result.stderr
    assert "numbers equal to the CPU's" in result.stdout
