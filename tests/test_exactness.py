"""What a decoder computes is the same everywhere: with any number of threads, with any library, memory layout, batch
and order of summation, and under settings that shorten products of floats.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import cuda_exactness
import pytest
import torch
import torch.nn.functional as F
from entropy_variants import VARIANTS, assert_equal_runs
from tiny import Run, drawn_latents, photo, run_entropy, symbols_of
from torch import Tensor

from dcacodec.codec.codec import Codec
from dcacodec.codec.parallel import threads
from dcacodec.coding import PythonCoder
from dcacodec.format.reader import parse
from dcacodec.images.picture import Picture
from dcacodec.network import precision
from dcacodec.network.context import Scales
from dcacodec.network.precision import float32_is_exact
from dcacodec.weights.reader import Weights, parse_weights

CPU = torch.device("cpu")
TESTS = Path(__file__).parent


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


@pytest.fixture(scope="module")
def wide() -> Weights:
    return parse_weights(VARIANTS["wide"](), "wide")


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
        assert not (said and setting.endswith("precision"))
        if said:
            odd = torch.arange(1, 4096, 2, dtype=torch.int64)
            left, right = odd[1024:].view(-1, 4), odd[256:512].view(4, -1)  # of 12 and 10 bits, their sums of 24
            with torch.autocast("cpu", enabled=False):
                assert torch.equal((left.float() @ right.float()).long(), left @ right)
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
