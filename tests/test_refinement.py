"""Descending on a slice's latent: what it gains, what it must not change, and how it is asked for."""

import importlib
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from tiny import drawn_latents, photo
from told import one_line

from dcacodec import encode, encode_file
from dcacodec.bench.codec import CodecOptions
from dcacodec.bench.codecs import open_codec
from dcacodec.cli.app import cli
from dcacodec.codec import refinement
from dcacodec.codec.codec import Codec
from dcacodec.codec.refinement import SoftRounding, predict, refine, soft_round
from dcacodec.errors import BenchError
from dcacodec.format.container import Header
from dcacodec.format.reader import parse
from dcacodec.images.picture import Picture
from dcacodec.metrics.distortion import Distortion
from dcacodec.network.context import join_steps, split_steps
from dcacodec.network.priors import gaussian_bits
from dcacodec.ratecontrol import MaxBytes, encode_to
from dcacodec.tiling.grid import Grid
from dcacodec.weights.reader import Provenance


@pytest.fixture(scope="module")
def astronaut() -> Picture:
    return Picture(np.ascontiguousarray(skimage.data.astronaut()[:128, 150:342]))


# ------------------------------------------------------------------------------------------------------- soft rounding

NUMBERS = st.integers(-(2**20), 2**20).map(lambda units: units / 1024)
INVERSE_TEMPERATURES = st.floats(0.25, 60)


@given(NUMBERS, INVERSE_TEMPERATURES)
def test_soft_rounding_keeps_halves_and_lies_between_its_argument_and_the_integer(
    x: float, inverse_temperature: float
) -> None:
    y = soft_round(torch.tensor(x, dtype=torch.float64), inverse_temperature).item()
    low, high = sorted((x, float(np.floor(x + 0.5) if x % 1 != 0.5 else x)))
    assert low - 1e-9 <= y <= high + 1e-9
    assert soft_round(torch.tensor(-x, dtype=torch.float64), inverse_temperature).item() == pytest.approx(-y, abs=1e-9)


@given(NUMBERS, NUMBERS, INVERSE_TEMPERATURES)
def test_soft_rounding_rises(a: float, b: float, inverse_temperature: float) -> None:
    a, b = sorted((a, b))
    found = soft_round(torch.tensor([a, b], dtype=torch.float64), inverse_temperature)
    assert found[0] <= found[1]


@pytest.mark.parametrize(("inverse_temperature", "slope"), [(1e-3, 1.0), (4.0, 4.0 / (2 * np.tanh(2.0)))])
def test_the_slope_of_soft_rounding_in_the_middle(inverse_temperature: float, slope: float) -> None:
    x = torch.tensor([0.5, 7.5, -2.5], dtype=torch.float64, requires_grad=True)
    soft_round(x, inverse_temperature).sum().backward()
    assert x.grad is not None and torch.allclose(x.grad, torch.tensor(slope, dtype=torch.float64))


def test_soft_rounding_becomes_rounding() -> None:
    x = torch.linspace(-3, 3, 601, dtype=torch.float64)
    kept = ((x - x.floor()) - 0.5).abs() > 0.02
    assert torch.allclose(soft_round(x, 600.0)[kept], x.round()[kept], atol=1e-4)


# --------------------------------------------------------------------------------------------------------- what it does


def cost(codec: Codec, data: bytes, picture: Picture) -> float:
    """Bits and lambda times the squared error, by hand."""
    quality = parse(data).header.quality
    error = float(np.square(codec.decode(data).pixels.astype(float) - picture.pixels).sum()) / 3
    return 8 * len(data) + codec.weights.config.trade_off(quality) * error


@pytest.mark.parametrize(
    "quality",
    [
        pytest.param(10, marks=pytest.mark.slow),
        pytest.param(35, marks=pytest.mark.slow),
        60,
        pytest.param(90, marks=pytest.mark.slow),
    ],
)
def test_it_pays(codec: Codec, astronaut: Picture, quality: int) -> None:
    plain, some, more = (codec.encode(astronaut, quality=quality, effort=effort) for effort in (0, 5, 20))
    costs = [cost(codec, data, astronaut) for data in (plain, some, more)]
    assert costs[2] < costs[1] < costs[0]
    assert costs[2] < 0.995 * costs[0]  # some 0.99 at quality 90, some 0.96 at quality 10


def test_no_effort_is_the_default_and_efforts_repeat(codec: Codec, astronaut: Picture) -> None:
    assert codec.encode(astronaut, quality=35, effort=0) == codec.encode(astronaut, quality=35)
    refined = codec.encode(astronaut, quality=35, effort=4)
    assert refined != codec.encode(astronaut, quality=35)
    state = torch.get_rng_state()
    assert codec.encode(astronaut, quality=35, effort=4) == refined
    assert torch.equal(torch.get_rng_state(), state)  # it has random numbers of its own


def test_what_is_worse_is_not_taken(codec: Codec, astronaut: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    spoiled: list[bool] = []

    def spoil(*arguments: Any) -> torch.Tensor:
        spoiled.append(True)
        _, latent, (rows, columns), *_ = arguments
        return torch.zeros_like(latent[:, rows, columns])

    monkeypatch.setattr("dcacodec.codec.encoder.refine", spoil)
    assert codec.encode(astronaut, quality=35, effort=3) == codec.encode(astronaut, quality=35)
    assert spoiled


@pytest.mark.parametrize("quality", [20, 50, 95])
def test_with_hard_rounding_it_is_the_coding_of_an_encoder(quality: int, codec: Codec) -> None:
    """Bits and y_hat of the soft coding against those of an encoder's symbols. With the inverse temperature of
    refinement a third of the elements are not rounded.
    """
    coder = codec.at(quality)
    hyper, y = drawn_latents(codec.weights.config, (2, 3), seed=quality, size=10.0)

    def softly(inverse_temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
        rounding = SoftRounding(inverse_temperature, 0.0, torch.Generator())
        predictions = predict(coder.point, hyper, y.float(), rounding)
        coded = [each.code(part, rounding) for each, part in zip(predictions, split_steps(y.float()), strict=True)]
        return join_steps([y_hat for y_hat, _ in coded]), torch.stack([bits for _, bits in coded]).sum()

    symbols, _ = coder.quantise(y.float(), hyper, full=False)
    values, rows = (torch.from_numpy(np.concatenate(each)).float() for each in (symbols.steps, symbols.rows))
    (y_hat, bits), (soft, _) = softly(3000.0), softly(5.0)
    assert bits.item() == pytest.approx(gaussian_bits(values, rows).sum().item(), rel=1e-3)
    assert ((y_hat - symbols.latent).abs() < 0.05).float().mean() > 0.99
    assert ((soft - symbols.latent).abs() < 0.05).float().mean() < 0.9


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_slices_are_refined_apart(codec: Codec, mode: str) -> None:
    pixels = photo(300, 520)
    if mode == "L":
        pixels = np.repeat(pixels[..., :1], 3, -1)
    picture = Picture(pixels, gray=mode == "L")
    plain, refined = (codec.encode(picture, quality=50, slice_log2=8, effort=effort) for effort in (0, 6))
    assert parse(refined).header.slice_count == 6
    changed = [a != b for a, b in zip(parse(plain).slices, parse(refined).slices, strict=True)]
    assert changed[0] and changed[1]  # the large ones; a refined slice of few pixels may be worse
    assert cost(codec, refined, picture) < cost(codec, plain, picture)


def test_only_the_slice_changes_and_the_rest_counts(codec: Codec) -> None:
    """The same slice among other surroundings is refined to something else; its shape is its own."""
    pixels = photo(128, 192)
    grid = Grid(Header(codec.weights.fingerprint, 192, 128, "RGB", 50, 0))
    point = codec.at(50).point
    whole = point.latent_of_box(pixels, grid, grid.canvas)
    inside = slice(0, 4), slice(4, 8)
    y = whole[:, inside[0], inside[1]]
    hyper, picture = point.hyper_of(y), point.tensor_of(pixels).float() / 255
    before = whole.clone()
    found = refine(point, whole, inside, hyper, picture, 3)
    assert found.shape == y.shape and torch.equal(whole, before)
    assert 0 < (found - y).abs().max() <= 3 * refinement.LEARNING_RATE * 1.5
    elsewhere = whole.clone()
    elsewhere[:, :, 8:] += 0.5
    other = refine(point, elsewhere, inside, hyper, picture, 3)
    assert not torch.equal(found, other)


@pytest.mark.parametrize(
    ("width", "slice_log2", "expected"),
    [(64, 0, [0, 1, 2, 3]), (64, 8, [0, 1, 2, 3]), (520, 8, [0, 3, 6, 9]), (520, 0, [0, 1, 2, 3])],
)
def test_progress_counts_iterations(codec: Codec, width: int, slice_log2: int, expected: list[int]) -> None:
    """Of a single slice each, of several those of one at once; and always in the caller's thread."""
    found: list[tuple[int, int]] = []
    threads: set[threading.Thread] = set()

    def progress(done: int, total: int) -> None:
        found.append((done, total))
        threads.add(threading.current_thread())

    codec.encode(Picture(photo(64, width)), quality=30, progress=progress, slice_log2=slice_log2, effort=2)
    assert found == [(done, expected[-1]) for done in expected]
    assert threads == {threading.current_thread()}


@pytest.mark.parametrize(
    "context",
    [
        torch.no_grad,
        torch.inference_mode,
        partial(torch.autocast, "cpu", torch.bfloat16),
        partial(torch.autocast, "cpu", torch.float16),
    ],
    ids=["no_grad", "inference_mode", "bfloat16", "float16"],
)
def test_gradients_are_no_matter_of_the_caller(codec: Codec, context: Any) -> None:
    picture = Picture(photo(64, 64))
    expected = codec.encode(picture, quality=50, effort=2)
    with context():
        assert codec.encode(picture, quality=50, effort=2) == expected
        assert Codec.load("small", device="cpu").encode(picture, quality=50, effort=2) == expected


@pytest.mark.slow
def test_many_threads(codec: Codec) -> None:
    pictures = [Picture(photo(64, 64, seed)) for seed in range(6)]
    expected = [codec.encode(picture, quality=50, effort=2) for picture in pictures]
    fresh = Codec.load("small", device="cpu")
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda picture: fresh.encode(picture, quality=50, effort=2), pictures)) == expected


# ------------------------------------------------------------------------------------------------------ how it is asked


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.png"
    Image.fromarray(photo(64, 64)).save(path)
    return path


def test_the_command(source: Path, codec: Codec, tmp_path: Path) -> None:
    target = tmp_path / "out.dca"
    result = CliRunner().invoke(cli, ["encode", "--effort", "3", "--quiet", str(source), str(target)])
    assert (result.exit_code, result.output) == (0, "")
    assert target.read_bytes() == codec.encode(Picture(photo(64, 64)), effort=3)


@pytest.mark.slow
def test_the_command_with_a_target(source: Path, codec: Codec, tmp_path: Path) -> None:
    target = tmp_path / "out.dca"
    options = ["--effort", "1", "--target-size", "700", "--quiet"]
    assert CliRunner().invoke(cli, ["encode", *options, str(source), str(target)]).exit_code == 0
    picture = Picture(photo(64, 64))
    result = encode_to(codec, picture, MaxBytes(700), effort=1)
    assert target.read_bytes() == result.data == codec.encode(picture, quality=result.quality, effort=1)


@pytest.mark.slow
def test_the_batch(source: Path, codec: Codec, tmp_path: Path) -> None:
    """Compared with a command in a process of its own, as the batch's are, which `pytest --float32` does not change."""
    folder, expected = tmp_path / "out", tmp_path / "expected.dca"
    result = CliRunner().invoke(cli, ["batch", "--jobs", "1", "--effort", "2", "--quiet", str(source), str(folder)])
    assert result.exit_code == 0, result.output
    options = ["--effort", "2", "--device", "cpu", "--quiet"]
    subprocess.run([sys.executable, "-m", "dcacodec", "encode", *options, source, expected], check=True)
    assert (folder / "in.dca").read_bytes() == expected.read_bytes() != codec.encode(Picture(photo(64, 64)))


def test_python_and_pillow(codec: Codec, tmp_path: Path) -> None:
    importlib.import_module("dcacodec.pillow_plugin")
    pixels: NDArray[np.uint8] = photo(64, 64)
    expected = codec.encode(Picture(pixels), quality=40, effort=2)
    assert encode(pixels, quality=40, effort=2) == expected
    Image.fromarray(pixels).save(tmp_path / "a.dca", quality=40, effort=2)
    assert (tmp_path / "a.dca").read_bytes() == expected
    Image.fromarray(pixels).save(tmp_path / "a.png")
    encode_file(tmp_path / "a.png", tmp_path / "b.dca", quality=40, effort=2)
    assert (tmp_path / "b.dca").read_bytes() == expected


def test_the_benchmark(codec: Codec) -> None:
    plain, refined = open_codec("dcacodec", CodecOptions()), open_codec("dcacodec:2", CodecOptions())
    assert (refined.name, refined.label) == ("dcacodec:2", f"{plain.label}, effort 2")
    assert refined.identity(40) != plain.identity(40)
    assert refined.encode(photo(64, 64), 40) == codec.encode(Picture(photo(64, 64)), quality=40, effort=2)
    for name in ("dcacodec:", "dcacodec:0", "dcacodec:x", "dcacodec:-1", "dcacodec:10000", "dcacodec-loud"):
        with pytest.raises(BenchError) as caught:
            open_codec(name, CodecOptions())
        assert repr(name) in one_line(caught)


def test_an_effort_below_zero_is_refused(codec: Codec, source: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        codec.encode(Picture(photo(64, 64)), effort=-1)
    assert "-1" in one_line(caught)
    result = CliRunner().invoke(cli, ["encode", "--effort", "-1", str(source), str(tmp_path / "out.dca")])
    assert result.exit_code == 2 and not (tmp_path / "out.dca").exists()


def test_the_batch_refuses_it_for_decoding(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["batch", "--decode", "--effort", "2", str(tmp_path), str(tmp_path / "out")])
    assert result.exit_code == 2 and "--effort cannot be combined with --decode" in result.output


@pytest.mark.slow
def test_a_picture_is_refined_for_the_distortion_of_its_weights(codec: Codec) -> None:
    """What refinement makes smaller, bits + lambda * distortion, is that of the tuning."""
    pixels = photo(96, 128)
    tuned = {
        share: Codec(replace(codec.weights, provenance=Provenance(0, "visual", share)), coder=codec.coder)
        for share in (1.0, 0.25)
    }
    for share, own in tuned.items():
        distortion, point = Distortion(share), own.at(60).point
        losses = []
        for effort in (0, 12):
            data = own.encode(Picture(pixels), quality=60, effort=effort)
            pair = (torch.from_numpy(each)[None].float() / 255 for each in (pixels, own.decode(data).pixels))
            losses.append(8 * len(data) + point.trade_off * pixels[..., 0].size * distortion(*pair).item())
        assert losses[1] < losses[0]
    files = [own.encode(Picture(pixels), quality=60, effort=4) for own in tuned.values()]
    assert files[0] != files[1]
    tiny = own.encode(Picture(photo(3, 5)), quality=60, effort=2)  # too small for SSIMULACRA 2
    assert own.decode(tiny).pixels.shape == (3, 5, 3)
