"""Training: pictures and crops, loss, schedule, checkpoints and what may happen to them, signals, several processes."""

import hashlib
import io
import itertools
import json
import math
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from tiny import TINY, drawn_model, photo
from told import assert_fails, one_line
from torch import Tensor
from torch.overrides import TorchFunctionMode
from training_worker import BATCH, OPTIONS, rounded, still, still_bits
from training_worker import steps as worker_steps
from training_worker import tensors as all_tensors

from dcacodec.cli.app import cli
from dcacodec.cli.train import train as train_command
from dcacodec.errors import ImageError, TrainingError
from dcacodec.format.container import STREAMS
from dcacodec.metrics.distortion import Distortion
from dcacodec.metrics.ssimulacra2 import ssimulacra2
from dcacodec.network.config import PRESETS
from dcacodec.network.dca import DCA, Estimate
from dcacodec.network.precision import transform_precision
from dcacodec.training import loop
from dcacodec.training.checkpoint import newest_checkpoint, opened_checkpoint, write_checkpoint
from dcacodec.training.curves import draw_curves, write_curves
from dcacodec.training.data import CropSampler, digest_of, load_pictures
from dcacodec.training.klt import initialise
from dcacodec.training.log import read_log
from dcacodec.training.loop import train
from dcacodec.training.loss import DRAWN, DRAWN_AT, draw_positions, loss_terms, rate_distortion_loss
from dcacodec.training.options import TrainingOptions
from dcacodec.training.signals import Interrupted, Signals
from dcacodec.training.trainer import Trainer
from dcacodec.training.validation import Validation
from dcacodec.training.workers import Workers
from dcacodec.weights.export import export
from dcacodec.weights.reader import Provenance, read_weights

TESTS = Path(__file__).parent
CPU = torch.device("cpu")
ONE_STEP = ("--preset", "tiny", "--steps", "1", "--crop", "64", "--quiet")
QUICK = TrainingOptions(preset="tiny", steps=6, batch=2, crop=64, warm_up=2, precision="float32", seed=3)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def _tiny_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the tiny network a preset, and every run one on the processor, where it is reproducible."""
    monkeypatch.setitem(PRESETS, "tiny", TINY)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (option,) = (each for each in train_command.params if each.name == "preset")
    monkeypatch.setattr(option, "type", click.Choice(list(PRESETS)))


@pytest.fixture(autouse=True)
def _usual_signals() -> Iterator[None]:
    """As in a terminal, also where the tests run in the background, with interrupts ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def _no_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DCA, "_for_rate", still)
    monkeypatch.setattr(DCA, "_as_read", rounded)
    monkeypatch.setattr("dcacodec.network.dca.noisy_gaussian_bits", still_bits)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures of several sizes, all larger than a crop of 64."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, (height, width) in enumerate([(96, 128), (64, 80), (110, 70)]):
        (folder / f"{number}.png").write_bytes(png(photo(height, width, number)))
    return folder


def png(pixels: NDArray[np.uint8], **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", **options)
    return buffer.getvalue()


def shard(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def call(*arguments: str | Path | float) -> Result:
    return CliRunner().invoke(cli, [str(each) for each in arguments], prog_name="dcacodec")


def state_of(folder: Path) -> dict[str, Any]:
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert isinstance(state, dict)
    return state


def log_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text("utf-8").splitlines()]


def same(left: object, right: object) -> bool:
    """Equality to the bit of nested dictionaries and lists with tensors in them."""
    if isinstance(left, Tensor):
        return isinstance(right, Tensor) and left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, dict):
        return isinstance(right, dict) and left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return isinstance(right, list | tuple) and len(left) == len(right) and all(map(same, left, right))
    return left == right


# ------------------------------------------------------------------------------------------------------------- pictures


def test_folders_shards_and_single_files_give_the_same_pictures(tmp_path: Path) -> None:
    arrays = [photo(9, 14, 0), photo(20, 6, 1), photo(1, 1, 2)]
    names = ["a.png", "b/c.PNG", "b/d.png"]
    files = {name: png(array) for name, array in zip(names, arrays, strict=True)}
    others = {"notes.txt": b"text", "b/._d.png": b"what macOS leaves beside a picture", "picture": b"", "z.tar": b"x"}
    folder = tmp_path / "folder"
    (folder / "b").mkdir(parents=True)
    (folder / "c.png").mkdir()  # a folder with a picture's name
    for name, data in (files | others).items():
        (folder / name).write_bytes(data)
    tar = shard(tmp_path / "shard.tar", files | others)
    with tarfile.open(tar, "a") as archive:
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "missing.png"
        archive.addfile(link)
    for sources in ([folder], [tar], [str(folder / name) for name in names]):
        loaded = load_pictures(sources, quiet=True)
        assert [picture.dtype for picture in loaded] == [np.uint8] * 3
        assert all(map(np.array_equal, loaded, arrays))
    assert len(load_pictures([folder, tar, folder / "a.png"], quiet=True)) == 7


def test_pictures_are_read_as_the_codec_reads_them(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[274] = 6
    array = photo(5, 8)
    (tmp_path / "a.png").write_bytes(png(array, exif=turned))
    (tmp_path / "b.png").write_bytes(png(array[..., 0]))
    (tmp_path / "c.png").write_bytes(png(np.dstack([array, array[..., :1]])))
    first, second, third = load_pictures([tmp_path], quiet=True)
    assert np.array_equal(first, np.rot90(array, -1))
    assert np.array_equal(second, np.repeat(array[..., :1], 3, -1))
    assert np.array_equal(third, array)


def _missing(folder: Path) -> tuple[Path, str]:
    return folder / "missing", str(folder / "missing")


def _missing_shard(folder: Path) -> tuple[Path, str]:
    return folder / "missing.tar", str(folder / "missing.tar")


def _empty_folder(folder: Path) -> tuple[Path, str]:
    (folder / "notes.txt").write_bytes(b"text")
    return folder, str(folder)


def _empty_shard(folder: Path) -> tuple[Path, str]:
    path = shard(folder / "empty.tar", {"notes.txt": b"text"})
    return path, str(path)


def _no_shard(folder: Path) -> tuple[Path, str]:
    (folder / "false.tar").write_bytes(b"text" * 200)
    return folder / "false.tar", str(folder / "false.tar")


def _cut_shard(folder: Path) -> tuple[Path, str]:
    path = shard(folder / "cut.tar", {"a.png": png(photo(70, 70)), "b.png": png(photo(70, 70))})
    path.write_bytes(path.read_bytes()[:6000])
    return path, str(path)


def _damaged_member(folder: Path) -> tuple[Path, str]:
    path = shard(folder / "damaged.tar", {"in/a.png": png(photo(70, 70))[:-3000]})
    return path, f"{path}: in/a.png"


def _damaged_file(folder: Path) -> tuple[Path, str]:
    (folder / "a.png").write_bytes(png(photo(70, 70))[:-3000])
    return folder, str(folder / "a.png")


def _small(folder: Path) -> tuple[Path, str]:
    (folder / "a.png").write_bytes(png(photo(63, 200)))
    return folder, " 64 "


BAD_SOURCES = (
    _missing,
    _missing_shard,
    _empty_folder,
    _empty_shard,
    _no_shard,
    _cut_shard,
    _damaged_member,
    _damaged_file,
    _small,
)


@pytest.mark.parametrize("make", BAD_SOURCES)
def test_bad_sources_are_one_line_and_no_run(make: Callable[[Path], tuple[Path, str]], tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    source, named = make(folder)
    assert_fails(call("train", source, "--run", tmp_path / "run", *ONE_STEP), named)
    assert not (tmp_path / "run").exists()
    with pytest.raises((ImageError, TrainingError, FileNotFoundError)):
        CropSampler(load_pictures([source], quiet=True), (64,), CPU, np.random.default_rng(0))


def test_a_bad_source_to_validate_on_is_found_before_training(pictures: Path, tmp_path: Path) -> None:
    arguments: list[str | Path] = ["train", pictures, "--run", tmp_path / "run", *ONE_STEP]
    missing = tmp_path / "missing"
    assert_fails(call(*arguments, "--validation", missing), missing)
    (tmp_path / "small.png").write_bytes(png(photo(200, 63)))
    assert_fails(call(*arguments, "--validation", tmp_path / "small.png"), "64x64")
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------------------------------------------------------- crops


def unique_picture(height: int, width: int, number: int) -> NDArray[np.uint8]:
    """Every pixel another colour: row, column, and the picture's number."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y, x, np.full_like(y, number)], -1).astype(np.uint8)


Place = tuple[int, int, int, bool, bool, bool]


def place_of(crop: NDArray[np.uint8]) -> Place:
    """Picture, top, left, whether transposed, flipped up-down, flipped left-right; checks all of its pixels."""
    size = len(crop)
    transposed = crop[0, 0, 0] == crop[-1, 0, 0]  # the row is the same all the way down
    whole = crop.transpose(1, 0, 2) if transposed else crop
    down, across = whole[0, 0, 0] > whole[-1, 0, 0], whole[0, 0, 1] > whole[0, -1, 1]
    whole = whole[:: -1 if down else 1, :: -1 if across else 1]
    top, left, number = whole[0, 0].tolist()
    expected = unique_picture(top + size, left + size, number)[top:, left:]
    assert np.array_equal(whole, expected)
    return number, top, left, bool(transposed), bool(down), bool(across)


def test_crops_are_rectangles_of_pictures_in_all_eight_positions() -> None:
    sizes = [(7, 9), (4, 30), (5, 5), (11, 5)]
    sampler = CropSampler(
        [unique_picture(*size, number) for number, size in enumerate(sizes)], (5,), CPU, np.random.default_rng(0)
    )
    batch = sampler.batch(3000, 5)
    assert (batch.shape, batch.dtype) == ((3000, 5, 5, 3), torch.float32)
    integers = (batch * 255).round()
    assert torch.equal(integers / 255, batch)
    places = {place_of(crop) for crop in integers.to(torch.uint8).numpy()}
    # All that there are, and no other: the second picture is too small.
    assert {place[3:] for place in places} == set(itertools.product((False, True), repeat=3))
    origins = [(n, top, left) for n in (0, 2, 3) for top in range(sizes[n][0] - 4) for left in range(sizes[n][1] - 4)]
    assert sorted({place[:3] for place in places}) == origins


def test_a_picture_is_drawn_in_proportion_to_its_area() -> None:
    pictures = [photo(8, 8), photo(8, 24), photo(7, 90), photo(16, 16)]
    sampler = CropSampler(pictures, (8, 16), CPU, np.random.default_rng(0))
    assert sampler.probabilities[8].tolist() == [1 / 8, 3 / 8, 0, 1 / 2]
    assert sampler.probabilities[16].tolist() == [0, 0, 0, 1]
    with pytest.raises(TrainingError, match=r"\b17\b"):
        CropSampler(pictures, (8, 17), CPU, np.random.default_rng(0))


def test_crops_are_cut_where_the_pictures_are() -> None:
    """A device without content: reading or moving a sample fails on it."""
    sampler = CropSampler([photo(40, 50), photo(90, 40)], (8, 24), torch.device("meta"), np.random.default_rng(0))
    for size in (8, 24):
        batch = sampler.batch(16, size)
        assert (batch.device.type, batch.shape, batch.dtype) == ("meta", (16, size, size, 3), torch.float32)


def test_crops_follow_from_the_seed() -> None:
    def drawn(seed: int) -> Tensor:
        sampler = CropSampler([photo(40, 50, n) for n in range(3)], (8,), CPU, np.random.default_rng(seed))
        return torch.cat([sampler.batch(3, 8), sampler.batch(2, 8)])

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


# ----------------------------------------------------------------------------------------------------------------- loss


class Fixed(np.random.Generator):
    """Draws the given numbers."""

    def __init__(self, order: list[int], within: float) -> None:
        super().__init__(np.random.PCG64(0))
        self.order, self.within = order, within

    def permutation(self, *arguments: Any, **options: Any) -> Any:
        return np.array(self.order)

    def random(self, *arguments: Any, **options: Any) -> Any:
        return np.full(len(self.order), self.within)


def test_positions_are_the_quantiles_of_the_draw() -> None:
    config = replace(TINY, anchors=11)  # so that positions are tenths of the range
    order = [2, 0, 3, 1]
    # By hand: shares (order + 0.5) / 4 = 5/8, 1/8, 7/8, 3/8 between the points (0.07, 0.1), (0.86, 0.76), (1, 1).
    expected = [
        10 * (0.1 + 0.66 * (0.625 - 0.07) / 0.79),
        10 * (0.1 + 0.66 * (0.125 - 0.07) / 0.79),
        10 * (0.76 + 0.24 * (0.875 - 0.86) / 0.14),
        10 * (0.1 + 0.66 * (0.375 - 0.07) / 0.79),
    ]
    positions = draw_positions(config, 4, Fixed(order, 0.5))
    assert positions.dtype == np.float32
    assert positions.tolist() == pytest.approx(expected, rel=1e-6)
    assert draw_positions(config, 1, Fixed([0], 0.0)).tolist() == [0.0]
    assert draw_positions(config, 1, Fixed([0], 1.0)).tolist() == [10.0]


@given(st.integers(1, 40), st.integers(0, 2**32), st.integers(2, 9))
def test_positions_are_stratified_and_within_range(count: int, seed: int, anchors: int) -> None:
    config = replace(TINY, anchors=anchors)
    positions = draw_positions(config, count, np.random.default_rng(seed))
    assert ((positions >= 0) & (positions <= anchors - 1)).all()
    shares = np.sort(np.interp(positions.astype(np.float64) / (anchors - 1), DRAWN_AT, DRAWN)) * count
    assert (shares >= np.arange(count) - 1e-4).all()
    assert (shares <= np.arange(count) + 1 + 1e-4).all()


def test_lambda_of_a_position_is_that_of_its_quality() -> None:
    position = torch.linspace(0, TINY.anchors - 1, 100, dtype=torch.float64)
    values = TINY.trade_off_at(position)
    assert values[[0, -1]].tolist() == pytest.approx([TINY.lambda_min, TINY.lambda_max])
    for quality, place, value in zip(range(1, 101), position.tolist(), values.tolist(), strict=True):
        assert TINY.anchor_position(quality) == pytest.approx(place, abs=1e-12)
        assert TINY.trade_off(quality) == pytest.approx(value) == pytest.approx(TINY.trade_off_at(place))


def test_the_loss_by_hand() -> None:
    picture = torch.zeros(2, 64, 128, 3)
    decoded = picture.clone()
    decoded[0, ..., 1] = 0.5  # a third of the samples is wrong by a half
    decoded[1, :32] = -0.25  # half of them by a quarter
    bits = {
        "z_r": torch.tensor([1024.0, 0.0]),
        "z_g": torch.tensor([96.0, 960.0]),
        "z_l": torch.tensor([512.0, 2048.0]),
        "y_1": torch.tensor([8192.0, 4096.0]),
    }
    estimate = Estimate(decoded, bits, torch.zeros(4))
    full, error = loss_terms(estimate, picture, Distortion(), full_token_cost=True)
    shared, _ = loss_terms(estimate, picture, Distortion(), full_token_cost=False)
    assert error.tolist() == pytest.approx([255**2 / 12, 255**2 / 32])
    assert full.tolist() == [(1024 + 96 + 512 + 8192) / 8192, (960 + 2048 + 4096) / 8192]
    # 64x128 pixels are 1/48 of 768x512: so much of z_g's bits do they bear.
    assert shared.tolist() == [(1024 + 2 + 512 + 8192) / 8192, (20 + 2048 + 4096) / 8192]
    large = torch.zeros(1, 1024, 768, 3)  # no more than all of them
    alone = Estimate(large, {"z_g": torch.tensor([1024.0 * 768])}, torch.zeros(4))
    assert loss_terms(alone, large, Distortion(), full_token_cost=False)[0].item() == 1.0

    value = rate_distortion_loss(
        torch.tensor([0.5, 2.0]), 255**2 * torch.tensor([0.001, 0.0]), torch.tensor([0.01, 1.0])
    )
    assert value.item() == pytest.approx(((0.5 + 0.01 * 65025 * 0.001) / 0.01**0.4 + 2.0) / 2, rel=1e-6)


# ------------------------------------------------------------------------------------------------------------- schedule


def test_the_learning_rate_by_steps() -> None:
    options = replace(QUICK, steps=400, learning_rate=0.5, warm_up=100)
    rate = [options.learning_rate_at(step, 1e9) for step in range(402)]
    assert rate[0] == pytest.approx(0.5 / 100)
    assert rate[49] == pytest.approx(0.25 * (0.01 + 0.99 * (1 + math.cos(math.pi * 49 / 400)) / 2))
    assert rate[99] == pytest.approx(0.5 * (0.01 + 0.99 * (1 + math.cos(math.pi * 99 / 400)) / 2))
    assert rate[100] == pytest.approx(0.5 * (0.01 + 0.99 * (1 + math.cos(math.pi / 4)) / 2))
    assert rate[200] == pytest.approx(0.5 * 0.505)
    assert rate[400] == rate[401] == pytest.approx(0.005)
    assert [options.progress(step, 1e9) for step in (0, 100, 400, 999)] == [0, 0.25, 1, 1]


def test_the_learning_rate_that_falls_late() -> None:
    options = replace(QUICK, steps=400, learning_rate=0.5, warm_up=100, decay_share=0.25)
    rate = [options.learning_rate_at(step, 1e9) for step in range(402)]
    assert rate[49] == pytest.approx(0.25)
    assert rate[99:301] == [pytest.approx(0.5)] * 202
    assert rate[325] == pytest.approx(0.5 * (0.01 + 0.99 * (1 + math.cos(math.pi / 4)) / 2))
    assert rate[350] == pytest.approx(0.5 * 0.505)
    assert rate[400] == rate[401] == pytest.approx(0.005)


def test_the_learning_rate_by_minutes() -> None:
    options = replace(
        QUICK, minutes=2.0, steps=400, learning_rate=0.5, warm_up=100
    )  # minutes count where both are given
    assert options.learning_rate_at(99, 0.0) == pytest.approx(0.5)
    assert options.learning_rate_at(9, 60.0) == pytest.approx(0.05 * 0.505)
    assert options.learning_rate_at(500, 30.0) == pytest.approx(0.5 * (0.01 + 0.99 * (1 + math.cos(math.pi / 4)) / 2))
    assert options.learning_rate_at(500, 60.0) == pytest.approx(0.5 * 0.505)
    assert options.learning_rate_at(500, 120.0) == options.learning_rate_at(500, 1e9) == pytest.approx(0.005)
    assert [options.progress(10**9, seconds) for seconds in (0, 30, 120, 999)] == [0, 0.25, 1, 1]


def test_crops_grow_at_the_end_and_a_step_keeps_its_pixels() -> None:
    options = replace(QUICK, batch=8, crop=128, final_crop=256, final_share=0.25)
    assert options.crops == (128, 256)
    assert [options.batch_and_crop(progress) for progress in (0.0, 0.7499)] == [(8, 128)] * 2
    assert [options.batch_and_crop(progress) for progress in (0.75, 1.0)] == [(2, 256)] * 2
    # 8 crops of 128 pixels are as large as 1.3 of 320; never less than one.
    assert replace(options, final_crop=320).batch_and_crop(1.0) == (1, 320)
    assert replace(options, batch=1).batch_and_crop(1.0) == (1, 256)
    assert replace(options, final_crop=None).crops == (128,)
    assert replace(options, final_crop=None).batch_and_crop(1.0) == (8, 128)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"crop": 100}, "100"),
        ({"crop": 0}, " 0"),
        ({"final_crop": 100}, "100"),
        ({"final_share": 1.5}, "1.5"),
        ({"decay_share": 0.0}, "0.0"),
        ({"decay_share": 1.5}, "1.5"),
        ({"steps": 0}, "steps"),
        ({"minutes": -1.0}, "steps"),
        ({"batch": 0}, "batch"),
        ({"warm_up": 0}, "warm-up"),
        ({"precision": "half"}, "'half'"),
    ],
)
def test_options_that_make_no_run(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError) as caught:
        replace(QUICK, **change)
    assert named in one_line(caught)


# ------------------------------------------------------------------------------------------------------------ the start


def test_the_start_is_a_karhunen_loeve_transform() -> None:
    model = DCA(TINY)
    initialise(model, [photo(96, 128, number) for number in range(6)])
    for down, up in ((model.analysis.patch, model.synthesis.patch), (model.analysis.down, model.synthesis.up)):
        rows = down.weight.detach().double()
        assert torch.allclose(rows @ rows.T, torch.eye(len(rows), dtype=torch.float64), atol=1e-6)
        assert torch.equal(up.weight, down.weight.T)
        assert not torch.cat([down.bias, up.bias]).any()
    for anchor, gains in enumerate(model.gain.values.tolist()):
        quality = 1 + 99 * anchor / (TINY.anchors - 1)
        assert gains == pytest.approx([math.log(50 * math.sqrt(TINY.trade_off(quality)))] * TINY.latent, abs=1e-6)


@pytest.mark.parametrize("content", [photo(64, 64), np.full((64, 64, 3), 7, np.uint8), np.zeros((64, 64, 3), np.uint8)])
def test_the_start_from_fewer_pixels_than_it_has_directions(content: NDArray[np.uint8], tmp_path: Path) -> None:
    """Many variances are 0 then, or would be, were it not for rounding."""
    config = replace(TINY, width=48, latent=160)
    trainer = Trainer(QUICK, tmp_path, config, CPU)
    trainer.start([content])
    assert all(value.isfinite().all() for value in trainer.model.state_dict().values())
    assert trainer.validate([content], 100)["psnr"] > 30
    trainer.train_step(torch.from_numpy(content)[None].float() / 255, torch.ones(1), 0.01)  # raises where a NaN is


# ----------------------------------------------------------------------------------------------------- runs, and resume


def stop_at(step: int, stop: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Call `stop` when the optimiser step with this number is about to be done."""
    honest = Trainer.train_step

    def watched(self: Trainer, picture: Tensor, position: Tensor, learning_rate: float) -> dict[str, float]:
        if self.step == step:
            stop()
        return honest(self, picture, position, learning_rate)

    monkeypatch.setattr(Trainer, "train_step", watched)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def crash() -> None:
    raise RuntimeError("the power failed")


@pytest.fixture(scope="module")
def uninterrupted(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The last state of a run of `QUICK` in one go."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", TINY)
        patch.setattr(torch.cuda, "is_available", lambda: False)
        train([str(pictures)], folder, QUICK, quiet=True)
    return state_of(folder)


@pytest.mark.slow
@pytest.mark.parametrize(("stop", "error"), [(interrupt, Interrupted), (crash, RuntimeError)])
def test_a_resumed_run_ends_just_as_one_in_one_go(
    stop: Callable[[], None],
    error: type[BaseException],
    uninterrupted: dict[str, Any],
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = replace(QUICK, save_every=0.0)
    with monkeypatch.context() as patch:
        stop_at(3, stop, patch)
        with pytest.raises(error):
            train([str(pictures)], tmp_path, options, [str(pictures)], quiet=True)
    half = state_of(tmp_path)
    assert half["step"] == (4 if error is Interrupted else 3)
    assert not same(half["model"], uninterrupted["model"])

    train([str(pictures)], tmp_path, options, quiet=True)
    whole = state_of(tmp_path)
    assert whole.keys() == uninterrupted.keys()
    for part in set(whole) - {"seconds", "options"}:
        assert same(whole[part], uninterrupted[part]), part
    assert whole["step"] == 6
    assert whole["pixels"] == 6 * 2 * 64 * 64
    steps = [(line["kind"], line["step"]) for line in log_of(tmp_path) if line["kind"] in ("start", "end")]
    assert steps == [("start", 0), ("start", half["step"]), ("end", 6)]


@pytest.mark.slow
@pytest.mark.parametrize("stop", [3, 6])
def test_a_run_whose_crops_grow_is_resumed_just_so(
    stop: int, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted before the crops grow (at step 6 of 8) and after; with checkpoints in parts."""
    larger = [photo(150, 130, 7)]
    monkeypatch.setattr(loop, "load_pictures", lambda sources, quiet: [*load_pictures(sources, quiet), *larger])
    options = replace(QUICK, steps=8, batch=4, final_crop=128, final_share=0.3, part_size=20_000)
    seen: list[tuple[int, ...]] = []
    honest = Trainer.train_step

    def watched(self: Trainer, picture: Tensor, position: Tensor, learning_rate: float) -> dict[str, float]:
        seen.append(tuple(picture.shape))
        assert position.shape == (len(picture),)
        return honest(self, picture, position, learning_rate)

    monkeypatch.setattr(Trainer, "train_step", watched)
    train([str(pictures)], tmp_path / "one", options, quiet=True)
    shapes = [(4, 64, 64, 3)] * 6 + [(1, 128, 128, 3)] * 2
    assert seen == shapes
    seen.clear()
    with monkeypatch.context() as patch:
        stop_at(stop, interrupt, patch)
        with pytest.raises(Interrupted):
            train([str(pictures)], tmp_path / "two", options, quiet=True)
    assert seen == shapes[: stop + 1]
    train([str(pictures)], tmp_path / "two", options, quiet=True)
    assert seen == shapes
    one, two = (read_parts(tmp_path / name) for name in ("one", "two"))
    for part in set(one) - {"seconds"}:
        assert same(one[part], two[part]), part


# ------------------------------------------------------------------------------------------------ checkpoints in parts


def read_parts(folder: Path) -> dict[str, Any]:
    """The state in a folder of parts, joined by hand; nothing else may be there but logs and curves."""
    index = json.loads((folder / "checkpoint.pt.json").read_text("utf-8"))
    names = [part["file"] for part in index["parts"]]
    others = {each.name for each in folder.iterdir()} - {"checkpoint.pt.json", "log.jsonl"}
    assert others == set(names)
    state = torch.load(io.BytesIO(b"".join((folder / name).read_bytes() for name in names)), weights_only=True)
    assert isinstance(state, dict)
    return state


@pytest.mark.slow
def test_a_checkpoint_in_parts(uninterrupted: dict[str, Any], pictures: Path, tmp_path: Path) -> None:
    part_size = 30_000
    train([str(pictures)], tmp_path, replace(QUICK, part_size=part_size), quiet=True)
    state = read_parts(tmp_path)
    for part in set(state) - {"seconds", "options"}:
        assert same(state[part], uninterrupted[part]), part
    index = json.loads((tmp_path / "checkpoint.pt.json").read_text("utf-8"))
    contents = [(tmp_path / part["file"]).read_bytes() for part in index["parts"]]
    assert len(contents) > 5
    digest = hashlib.sha256(b"".join(contents)).hexdigest()
    assert (index["bytes"], index["sha256"]) == (sum(map(len, contents)), digest)
    for number, (part, content) in enumerate(zip(index["parts"], contents, strict=True)):
        assert part == {
            "file": f"checkpoint.pt.{digest[:8]}.{number:03}",
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    assert {len(content) for content in contents[:-1]} == {part_size}
    assert 0 < len(contents[-1]) <= part_size

    # To one file and back again; a finished run does no step.
    train([str(pictures)], tmp_path, QUICK, quiet=True)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["checkpoint.pt", "log.jsonl"]
    assert same(state_of(tmp_path)["model"], state["model"])
    train([str(pictures)], tmp_path, replace(QUICK, part_size=part_size), quiet=True)
    assert same(read_parts(tmp_path)["model"], state["model"])

    # Both commands that read one take the index for it.
    arguments = ("--preset", "tiny", "--steps", 6, "--crop", 64, "--batch", 2, "--quiet")
    index_path = tmp_path / "checkpoint.pt.json"
    assert call("train", pictures, "--run", tmp_path / "run", *arguments, "--resume", index_path).exit_code == 0
    assert call("publish", index_path, "--models", tmp_path / "models", "--check", pictures).exit_code == 0


def _no_index(folder: Path, names: list[str]) -> str:
    (folder / "checkpoint.pt.json").write_bytes(b"[1]")
    return ""


def _lost(folder: Path, names: list[str]) -> str:
    (folder / names[1]).unlink()
    return names[1]


def _short(folder: Path, names: list[str]) -> str:
    path = folder / names[2]
    path.write_bytes(path.read_bytes()[:-1])
    return names[2]


def _changed(folder: Path, names: list[str]) -> str:
    path = folder / names[0]
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    return names[0]


def _left_out(folder: Path, names: list[str]) -> str:
    path = folder / "checkpoint.pt.json"
    index = json.loads(path.read_text("utf-8"))
    del index["parts"][-1]
    path.write_text(json.dumps(index), "utf-8")
    return "SHA-256"


def _elsewhere(folder: Path, names: list[str]) -> str:
    path = folder / "checkpoint.pt.json"
    path.write_text(path.read_text("utf-8").replace(names[0], f"../{names[0]}"), "utf-8")
    return f"'../{names[0]}'"


@pytest.mark.parametrize("damage", [_no_index, _lost, _short, _changed, _left_out, _elsewhere])
def test_damaged_parts_are_one_line(
    damage: Callable[[Path, list[str]], str], uninterrupted: dict[str, Any], pictures: Path, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path / "checkpoint.pt", uninterrupted, 50_000)
    names = [part["file"] for part in json.loads((tmp_path / "checkpoint.pt.json").read_text("utf-8"))["parts"]]
    index = tmp_path / "checkpoint.pt.json"
    named = damage(tmp_path, names)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    assert_fails(call("train", pictures, "--run", tmp_path, *ONE_STEP), index, named)
    assert_fails(call("publish", index, "--models", tmp_path / "models", "--check", pictures), index, named)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_parts_of_a_size_that_makes_too_many(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\b1000\b"):
        write_checkpoint(tmp_path / "checkpoint.pt", {"step": 1, "noise": torch.zeros(1000)}, 1)
    assert not list(tmp_path.iterdir())


def step_of(folder: Path) -> int:
    """The step of the checkpoint in a folder, whose weights belong to it."""
    found = newest_checkpoint(folder / "checkpoint.pt")
    assert found is not None
    with opened_checkpoint(found) as state:
        assert torch.equal(state["weights"], torch.arange(900.0) * state["step"])
        return int(state["step"])


@pytest.mark.parametrize("part_size", [1000, 0])
def test_wherever_the_writing_of_parts_ends_a_whole_checkpoint_is_left(
    part_size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full, or the process is killed, at each file in turn; the checkpoint before is in parts or is not."""
    failing, watching, folder = 0, False, tmp_path
    old, new = ({"step": step, "weights": torch.arange(900.0) * step} for step in (1, 2))
    copies: list[Path] = []
    honest = os.fsync

    def full(descriptor: int) -> None:
        # What a copy holds is what a process would leave that is killed here.
        copies.append(Path(shutil.copytree(folder, tmp_path / f"killed-{failing}-{len(copies)}")))
        if len(copies) > failing:
            raise OSError(28, "No space left on device")
        honest(descriptor)

    monkeypatch.setattr(os, "fsync", lambda descriptor: full(descriptor) if watching else honest(descriptor))
    for failing in range(20):
        watching = False
        folder = tmp_path / f"run-{failing}"
        folder.mkdir()
        write_checkpoint(folder / "checkpoint.pt", old, part_size)
        before = {each.name: each.read_bytes() for each in folder.iterdir()}
        watching, done = True, False
        copies.clear()
        try:
            write_checkpoint(folder / "checkpoint.pt", new, 1000)
            done = True
        except OSError as error:
            assert error.errno == 28
            assert {each.name: each.read_bytes() for each in folder.iterdir()} == before
        watching = False
        assert {step_of(copy) for copy in copies} == {1}
        write_checkpoint(folder / "checkpoint.pt", new, 1000)
        assert step_of(folder) == 2
        if done:
            assert failing == len(copies) > 4  # all the files were written
            return
    raise AssertionError("there are more files than were thought of")


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    (tmp_path / "checkpoint.pt.0123abcd.007").write_bytes(b"of a checkpoint that was never finished")
    (tmp_path / "checkpoint.pt.notes").write_bytes(b"somebody's")
    for part_size in (500, 0):
        write_checkpoint(path, {"step": 1, "weights": torch.zeros(900)}, part_size)
        names = {each.name for each in tmp_path.iterdir()}
        assert not names & {"checkpoint.pt.0123abcd.007"}
        assert "checkpoint.pt.notes" in names
    assert names == {"checkpoint.pt", "checkpoint.pt.notes"}


# --------------------------------------------------------------------------------------------------------------- curves


@pytest.mark.slow
def test_curves_are_drawn_from_the_log(pictures: Path, tmp_path: Path) -> None:
    arguments = ("--validation", pictures, "--validation-pictures", 1, "--plot")
    assert call("train", pictures, "--run", tmp_path, *ONE_STEP, *arguments).exit_code == 0
    assert {each.name for each in tmp_path.iterdir()} == {"checkpoint.pt", "log.jsonl", "curves.png", "curves.svg"}
    with Image.open(tmp_path / "curves.png") as image:
        assert image.format == "PNG"
    lines = read_log(tmp_path / "log.jsonl")
    figure = draw_curves(lines)
    drawn = {line.get_gid(): line for axes in figure.axes for line in axes.get_lines()}
    (trained,) = (line for line in lines if line["kind"] == "train")
    (checked,) = (line for line in lines if line["kind"] == "validation")
    curves = {"training": trained["loss"], "learning-rate": trained["learning_rate"], "validation": checked["loss"]}
    for gid, value in curves.items():
        assert np.asarray(drawn[gid].get_xydata()).tolist() == [[64 * 64 * 8 / 1e6, value]]
    for row in checked["qualities"]:
        for value in ("psnr", "bpp"):
            (point,) = np.asarray(drawn[f"{value}-{row['quality']}"].get_xydata()).tolist()
            assert point == [64 * 64 * 8 / 1e6, row[value]]


@pytest.mark.slow
def test_curves_that_cannot_be_drawn_do_not_end_a_training(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "log.jsonl").write_text('{"kind": "train", "pixels": 0}\n', "utf-8")
    options = replace(QUICK, plot=True, validate_every=0.0)
    train([str(pictures)], tmp_path, options, [str(pictures)], validation_pictures=1, quiet=True)
    assert state_of(tmp_path)["step"] == 6
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 7
    assert all(line.startswith("dcacodec: warning: ") and str(tmp_path / "log.jsonl") in line for line in warnings)
    assert {each.name for each in tmp_path.iterdir()} == {"checkpoint.pt", "log.jsonl"}


def test_a_log_is_read_without_what_was_done_twice(tmp_path: Path) -> None:
    def line(kind: str, step: int, **more: Any) -> dict[str, Any]:
        return {"kind": kind, "step": step, "minutes": 0.0, "pixels": 10 * step, **more}

    killed = [line("start", 0), line("train", 1), line("train", 2), line("train", 3)]
    resumed = [line("start", 1), line("train", 2), line("end", 2)]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in killed + resumed), "utf-8")
    assert read_log(path) == killed[:2] + resumed
    path.write_text(json.dumps(killed[0]) + '\n{"kind": "tr\n' + json.dumps(killed[1]) + "\n", "utf-8")
    assert read_log(path) == killed[:2]  # the line between was torn
    path.write_text(json.dumps(killed[0]) + "\n{}\n", "utf-8")
    with pytest.raises(TrainingError, match=r"log\.jsonl.*\b2\b"):
        read_log(path)
    path.write_text(json.dumps(killed[0]) + '\n{"kind": "train", "loss": NaN}\n', "utf-8")
    assert read_log(path) == killed[:1]  # that is no JSON
    for content in (b'{"kind": "tr', b"", b"\xff\xfe{}", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(TrainingError, match=r"log\.jsonl"):
            read_log(path)


@pytest.mark.parametrize(
    ("log", "kind"),
    [
        (None, FileNotFoundError),
        ("", TrainingError),
        ('{"kind": "train", "pixels": 1}', TrainingError),
        ('{"kind": "validation", "pixels": 1, "loss": 1, "qualities": [{}]}', TrainingError),
    ],
)
def test_curves_that_cannot_be_drawn(log: str | None, kind: type[Exception], tmp_path: Path) -> None:
    if log is not None:
        (tmp_path / "log.jsonl").write_text(log, "utf-8")
    with pytest.raises(kind) as caught:
        write_curves(tmp_path)
    assert str(tmp_path / "log.jsonl") in one_line(caught)
    assert not list(tmp_path.glob("curves.*"))


def test_a_torn_line_of_the_log_is_not_gone_on_with(tmp_path: Path) -> None:
    trainer = Trainer(TrainingOptions(steps=1), tmp_path, TINY, torch.device("cpu"))
    (tmp_path / "log.jsonl").write_text('{"kind": "start", "pixels": 0}\n{"kind": "tr', "utf-8")
    trainer.log("end")
    assert [line["kind"] for line in read_log(tmp_path / "log.jsonl")] == ["start", "end"]


def test_shares_of_the_rate_are_those_asked_for_now(tmp_path: Path) -> None:
    def trainer(share: float) -> Trainer:
        return Trainer(TrainingOptions(steps=1, transform_share=share), tmp_path, TINY, torch.device("cpu"))

    trainer(0.4).save()
    resumed = trainer(0.01)
    resumed.load(tmp_path / "checkpoint.pt")
    resumed.train_step(torch.rand(1, 64, 64, 3), torch.tensor([1.0]), 0.5)
    assert [group["lr"] for group in resumed.optimiser.param_groups] == [0.005, 0.5]


def test_too_many_parts_are_refused_before_training(pictures: Path, tmp_path: Path) -> None:
    result = call("train", pictures, "--run", tmp_path / "run", *ONE_STEP, "--part-size", "10")
    expected = 16 * sum(parameter.numel() for parameter in DCA(TINY).parameters())
    assert_fails(result, expected, 1000)
    assert not (tmp_path / "run").exists()


def test_curves_without_matplotlib_are_refused_before_training(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = call("train", pictures, "--run", tmp_path / "run", *ONE_STEP, "--plot")
    assert_fails(result, "Matplotlib", "dcacodec[bench]")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_checkpoint_without_the_state_of_the_draw_is_gone_on_from(
    uninterrupted: dict[str, Any], pictures: Path, tmp_path: Path
) -> None:
    """As they were before they held it. It also shows that the test above would tell if the draw were not restored."""
    train([str(pictures)], tmp_path, replace(QUICK, steps=3), quiet=True)
    state = state_of(tmp_path)
    del state["numpy_random"]
    torch.save(state, tmp_path / "checkpoint.pt")
    train([str(pictures)], tmp_path, QUICK, quiet=True)
    assert state_of(tmp_path)["step"] == 6
    assert not same(state_of(tmp_path)["model"], uninterrupted["model"])


@pytest.mark.slow
def test_another_runs_checkpoint_starts_a_fresh_schedule(
    uninterrupted: dict[str, Any], pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(uninterrupted, tmp_path / "other.pt")
    first: dict[str, Any] = {}
    honest = Trainer.train_step

    def watched(self: Trainer, picture: Tensor, position: Tensor, learning_rate: float) -> dict[str, float]:
        model = {name: value.clone() for name, value in self.model.state_dict().items()}
        first.setdefault("seen", (self.step, self.seconds, self.pixels, learning_rate, model))
        return honest(self, picture, position, learning_rate)

    monkeypatch.setattr(Trainer, "train_step", watched)
    train([str(pictures)], tmp_path / "run", QUICK, resume=tmp_path / "other.pt", quiet=True)
    assert first["seen"][:4] == (0, 0.0, uninterrupted["pixels"], QUICK.learning_rate / 2)
    assert same(first["seen"][4], uninterrupted["model"])
    whole = state_of(tmp_path / "run")
    assert (whole["step"], whole["pixels"]) == (6, 2 * 6 * 2 * 64 * 64)
    assert not same(whole["model"], uninterrupted["model"])
    # The run's own checkpoint takes precedence, which is reported.
    run = tmp_path / "run"
    result = call("train", pictures, "--run", run, *ONE_STEP[:-1], "--resume", tmp_path / "other.pt")
    assert result.exit_code == 0
    (line,) = (line for line in result.stderr.splitlines() if str(tmp_path / "other.pt") in line)
    assert str(run / "checkpoint.pt") in line
    assert same(state_of(run)["model"], whole["model"])


@pytest.mark.slow
def test_published_weights_are_gone_on_from(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network begins as the codec runs it, with no steps behind it; what training has shown it is counted on."""
    path = tmp_path / "weights.safetensors"
    path.write_bytes(export(drawn_model(TINY, seed=5), provenance=Provenance(123_456)))
    network = read_weights(path).floating_point()
    first: dict[str, Any] = {}
    honest = Trainer.train_step

    def watched(self: Trainer, picture: Tensor, position: Tensor, learning_rate: float) -> dict[str, float]:
        model, average = (
            {name: value.clone() for name, value in each.state_dict().items()} for each in (self.model, self.average)
        )
        first.setdefault("seen", (self.step, self.pixels, len(self.optimiser.state), model, average))
        return honest(self, picture, position, learning_rate)

    monkeypatch.setattr(Trainer, "train_step", watched)
    train([str(pictures)], tmp_path / "run", QUICK, resume=path, quiet=True)
    step, pixels, moments, model, average = first["seen"]
    assert (step, pixels, moments) == (0, 123_456, 0)
    expected = {name: value.float() for name, value in network.state_dict().items()}
    assert same(model, expected) and same(average, expected)
    whole = state_of(tmp_path / "run")
    assert (whole["step"], whole["pixels"]) == (6, 123_456 + 6 * 2 * 64 * 64)
    assert not same(whole["model"], expected)

    result = call("publish", tmp_path / "run" / "checkpoint.pt", "--models", tmp_path / "models", "--check", pictures)
    assert result.exit_code == 0, result.output
    assert read_weights(Path(result.stdout.splitlines()[0])).provenance.pixels == whole["pixels"]


@pytest.mark.slow
def test_a_follow_on_run_sees_other_crops(uninterrupted: dict[str, Any], pictures: Path, tmp_path: Path) -> None:
    """Though its seed is the same: the crops that it begins with depend on how much was seen before."""
    draws = []
    seen = uninterrupted["pixels"]
    for pixels, workers in ((seen, Workers()), (seen, Workers()), (seen + 1, Workers()), (seen, Workers(1, 2))):
        torch.save(uninterrupted | {"pixels": pixels}, tmp_path / "other.pt")
        trainer = Trainer(QUICK, tmp_path, TINY, CPU, workers)
        draws.append(trainer.random.bit_generator.state)
        trainer.start_from(tmp_path / "other.pt")
        draws.append(trainer.random.bit_generator.state)
    fresh, first, also_fresh, again, _, later, other_fresh, other = draws
    assert (also_fresh, again) == (fresh, first)
    assert all(one != two for one, two in itertools.combinations((fresh, first, later, other_fresh, other), 2))


@pytest.mark.slow
def test_weights_that_training_cannot_start_from(pictures: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"text")
    result = call("train", pictures, "--run", tmp_path / "run", *ONE_STEP, "--resume", path)
    assert_fails(result, "weights.safetensors")
    path.write_bytes(export(drawn_model(replace(TINY, order="LGR"), seed=5)))
    result = call("train", pictures, "--run", tmp_path / "run", *ONE_STEP, "--resume", path)
    assert_fails(result, path, "'tiny'")
    untold: Any = SimpleNamespace(metadata={"pixels": "-1"})
    path.write_bytes(export(drawn_model(TINY, seed=5), provenance=untold))
    result = call("train", pictures, "--run", tmp_path / "run", *ONE_STEP, "--resume", path)
    assert_fails(result, "weights.safetensors", "-1")
    assert not (tmp_path / "run").exists()


def test_a_finished_run_stays_as_it_is(uninterrupted: dict[str, Any], pictures: Path, tmp_path: Path) -> None:
    torch.save(uninterrupted, tmp_path / "checkpoint.pt")
    train([str(pictures)], tmp_path, QUICK, quiet=True)
    assert same(state_of(tmp_path), uninterrupted)


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.slow
def test_a_file_that_is_no_checkpoint(uninterrupted: dict[str, Any], pictures: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    whole = io.BytesIO()
    torch.save(uninterrupted, whole)
    partial = {name: value for name, value in uninterrupted.items() if name != "average"}
    other = uninterrupted | {"average": uninterrupted["average"] | {"analysis.patch.weight": torch.zeros(3, 5)}}
    unknown = uninterrupted | {"config": uninterrupted["config"] | {"depth": 5}}
    contents = [b"", b"text", whole.getvalue()[:-5000], pickle.dumps(Trap(tmp_path / "trap"))]
    for content in (*contents, [], {}, partial, other, unknown):
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        before = path.read_bytes()
        for result in (
            call("train", pictures, "--run", tmp_path / "run", *ONE_STEP, "--resume", path),
            call("publish", path, "--models", tmp_path / "models", "--check", pictures),
        ):
            assert_fails(result, path)
        assert path.read_bytes() == before
        assert [each.name for each in tmp_path.iterdir()] == ["other.pt"]


def test_a_checkpoint_of_another_preset(uninterrupted: dict[str, Any], pictures: Path, tmp_path: Path) -> None:
    """Also one that differs in nothing that a tensor's shape shows."""
    config = replace(TINY, order="LGR")
    torch.save(uninterrupted | {"config": config.to_dict()}, tmp_path / "checkpoint.pt")
    result = call("train", pictures, "--run", tmp_path, *ONE_STEP)
    assert_fails(result, tmp_path / "checkpoint.pt", "'tiny'")


@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: list[str | Path] = ["train", pictures, "--run", tmp_path, *ONE_STEP]
    assert call(*arguments, "--steps", 2).exit_code == 0
    old = (tmp_path / "checkpoint.pt").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert_fails(call(*arguments, "--steps", 4), tmp_path / "checkpoint.pt")
    assert (tmp_path / "checkpoint.pt").read_bytes() == old
    assert sorted(each.name for each in tmp_path.iterdir()) == ["checkpoint.pt", "log.jsonl"]
    assert call(*arguments, "--steps", 4).exit_code == 0
    assert state_of(tmp_path)["step"] == 4


@pytest.mark.slow
def test_a_process_killed_while_it_saves_leaves_the_old_checkpoint(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    train([str(pictures)], folder, replace(QUICK, steps=2), quiet=True)
    old = (folder / "checkpoint.pt").read_bytes()
    copies: list[Path] = []

    def copied_before(do: Callable[..., object]) -> Callable[..., object]:
        """What a copy of the folder holds is what the process would have left behind, had it been killed here."""

        def watched(*arguments: Any, **options: Any) -> object:
            copies.append(Path(shutil.copytree(folder, tmp_path / f"killed-{len(copies)}")))
            return do(*arguments, **options)

        return watched

    with monkeypatch.context() as patch:
        for name in ("fsync", "replace"):
            patch.setattr(os, name, copied_before(getattr(os, name)))
        train([str(pictures)], folder, replace(QUICK, steps=4), quiet=True)
    assert state_of(folder)["step"] == 4
    assert len(copies) == 2
    # With what there was of the new one, if it had a name.
    linux = sys.platform.startswith("linux")
    assert [len(list(copy.iterdir())) for copy in copies] == [2 if linux else 3, 3]
    for copy in copies:
        assert (copy / "checkpoint.pt").read_bytes() == old
        train([str(pictures)], copy, replace(QUICK, steps=3), quiet=True)
        assert state_of(copy)["step"] == 3


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_the_run_and_spares_the_checkpoint(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = CropSampler.batch
    batches: list[Tensor] = []

    def poisoned(self: CropSampler, count: int, size: int) -> Tensor:
        batches.append(honest(self, count, size))
        return batches[-1] * (math.nan if len(batches) == 4 else 1)

    monkeypatch.setattr(CropSampler, "batch", poisoned)
    result = call("train", pictures, "--run", tmp_path, *ONE_STEP, "--steps", 9, "--save-every", 0)
    assert_fails(result, "step 3")
    state = state_of(tmp_path)
    assert state["step"] == 3
    assert all(value.isfinite().all() for part in ("model", "average") for value in state[part].values())


def test_weights_that_are_not_finite_spare_the_checkpoint(pictures: Path, tmp_path: Path) -> None:
    """A finite gradient, but a step that is too large for float32."""
    train([str(pictures)], tmp_path, replace(QUICK, steps=2), quiet=True)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(TrainingError, match="step 3"):
        train([str(pictures)], tmp_path, replace(QUICK, steps=3, learning_rate=1e300, warm_up=1), quiet=True)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_every_process_finds_weights_that_are_not_finite(tmp_path: Path) -> None:
    """The others would wait for the first one's part of the next step."""
    for rank in (0, 1):
        trainer = Trainer(QUICK, tmp_path, TINY, CPU, Workers(rank, 2))
        next(trainer.average.parameters()).data.fill_(math.nan)
        with pytest.raises(TrainingError, match="step 0"):
            trainer.save()
    assert not [*tmp_path.iterdir()]


def test_a_step_that_fails_changes_no_weight(tmp_path: Path) -> None:
    trainer = Trainer(QUICK, tmp_path, TINY, CPU)
    trainer.start([photo(96, 128)])
    before = {name: value.clone() for name, value in all_tensors(trainer).items()}
    with pytest.raises(TrainingError):
        trainer.train_step(torch.full((1, 64, 64, 3), math.inf), torch.ones(1), 0.1)
    assert trainer.step == 0
    assert same(before, {name: value for name, value in all_tensors(trainer).items() if name in before})


# -------------------------------------------------------------------------------------------------------------- signals


@pytest.mark.parametrize("name", Signals.NAMES)
def test_a_signal_waits_and_a_second_one_does_not(name: str) -> None:
    number = getattr(signal, name)
    before = signal.signal(number, signal.default_int_handler)
    try:
        with Signals() as signals:
            assert signals.number == 0
            os.kill(os.getpid(), number)
            assert signals.number == number
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
        assert signal.getsignal(number) is signal.default_int_handler
        signal.signal(number, signal.SIG_IGN)
        with Signals() as signals:
            os.kill(os.getpid(), number)  # as with nohup
            assert signals.number == 0
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


@pytest.mark.slow
def test_training_outside_the_main_thread(uninterrupted: dict[str, Any], pictures: Path, tmp_path: Path) -> None:
    thread = threading.Thread(target=train, args=([str(pictures)], tmp_path, QUICK), kwargs={"quiet": True})
    thread.start()
    thread.join()
    assert same(state_of(tmp_path)["average"], uninterrupted["average"])


@pytest.mark.slow
def test_an_interrupt_names_the_index_of_parts(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any) -> dict[str, float]:
        interrupt()
        return {"loss": 0.0}

    monkeypatch.setattr(Trainer, "validate", interrupted)
    with pytest.raises(Interrupted, match=r"step 6\b.*/checkpoint\.pt\.json "):
        train([str(pictures)], tmp_path, replace(QUICK, part_size=30_000), [str(pictures)], quiet=True)


@pytest.mark.slow
def test_an_interrupt_does_not_wait_for_a_validation(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Trainer.validate
    qualities: list[int] = []

    def watched(self: Trainer, held_out: Any, quality: int) -> dict[str, Any]:
        qualities.append(quality)
        if len(qualities) == 9:  # in the second validation
            interrupt()
        return honest(self, held_out, quality)

    monkeypatch.setattr(Trainer, "validate", watched)
    options = replace(QUICK, validate_every=0.0)
    with pytest.raises(Interrupted, match=r"step 3\b.*/checkpoint\.pt "):
        train([str(pictures)], tmp_path, options, [str(pictures)], validation_pictures=1, quiet=True)
    kinds = [(line["kind"], line["step"]) for line in log_of(tmp_path)]
    assert kinds == [("start", 0), ("validation", 1), ("train", 3), ("interrupted", 3)]
    assert len(qualities) == 9
    assert state_of(tmp_path)["step"] == 3


def environment() -> dict[str, str]:
    """For a process that finds the package and the tests, one thread and no GPU."""
    path = [str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1"}


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def assert_interrupted(code: int, message: str, number: int, folder: Path) -> None:
    """What a signal leaves behind, on stderr and in the run's folder."""
    state = state_of(folder)
    assert code == 128 + number
    assert re.fullmatch(r"dcacodec: \S.*\n", message), message
    assert f"step {state['step']}" in message and str(folder / "checkpoint.pt") in message
    assert sorted(each.name for each in folder.iterdir()) == ["checkpoint.pt", "log.jsonl"]
    last = log_of(folder)[-1]
    assert (last["kind"], last["step"]) == ("interrupted", state["step"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_command(
    number: signal.Signals, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(2, lambda: os.kill(os.getpid(), number), monkeypatch)
    result = call("train", pictures, "--run", tmp_path, *ONE_STEP, "--steps", 1000)
    assert result.stdout == ""
    assert_interrupted(result.exit_code, result.stderr, number, tmp_path)
    assert state_of(tmp_path)["step"] == 3


@pytest.mark.slow
def test_a_signal_to_a_process_of_its_own(pictures: Path, tmp_path: Path) -> None:
    """At no step in particular."""
    script = (
        "from dcacodec.network.config import PRESETS\n"
        "from tiny import TINY\n"
        "PRESETS['tiny'] = TINY\n"
        "from dcacodec.cli.app import main\n"
        "main()\n"
    )
    arguments = ["train", str(pictures), "--run", str(tmp_path), *ONE_STEP, "--steps", "1000000", "--save-every", "0"]
    command = [sys.executable, "-c", script, *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment(), text=True) as process:
        wait_for((tmp_path / "checkpoint.pt").exists)
        process.send_signal(signal.SIGTERM)
        _, message = process.communicate(timeout=60)
    assert_interrupted(process.returncode, message, signal.SIGTERM, tmp_path)


# ------------------------------------------------------------------------------------------------- steps and validation


@pytest.mark.slow
def test_training_lowers_the_loss(tmp_path: Path) -> None:
    """Everything from a fixed seed, and measured without noise: at every quality fewer bits and a better picture."""
    goal = photo(64, 64, 3)
    options = replace(QUICK, steps=80, batch=4, warm_up=10, learning_rate=5e-3, ema=0.9)
    trainer = Trainer(options, tmp_path, TINY, CPU)
    trainer.start([photo(96, 128, number) for number in range(10, 16)])
    before = [trainer.validate([goal], quality) for quality in (5, 50, 95)]
    sampler = CropSampler([goal], (64,), CPU, trainer.random)
    for step in range(80):
        position = torch.from_numpy(draw_positions(TINY, 4, trainer.random))
        trainer.train_step(sampler.batch(4, 64), position, options.learning_rate_at(step, 0))
    for old, quality in zip(before, (5, 50, 95), strict=True):
        new = trainer.validate([goal], quality)
        assert new["loss"] < 0.8 * old["loss"]
        assert new["bpp"] < 0.85 * old["bpp"]
        assert new["psnr"] > old["psnr"] + 0.5


@pytest.mark.usefixtures("_no_noise")
def test_what_a_step_lowers_and_how(tmp_path: Path) -> None:
    options = replace(QUICK, transform_share=0.25, clip=0.5)
    trainer = Trainer(options, tmp_path, TINY, CPU)
    trainer.start([photo(96, 128)])
    picture = torch.stack([torch.from_numpy(photo(64, 64, n)) for n in range(2)]).float() / 255
    position = torch.tensor([0.4, 2.6])
    estimate = trainer.model(picture, position)
    bpp, error = loss_terms(estimate, picture, options.distortion, full_token_cost=False)
    loss = rate_distortion_loss(bpp, error, TINY.trade_off_at(position))
    slopes = torch.autograd.grad(loss, list(trainer.model.parameters()), allow_unused=True)
    norm = torch.cat([slope.flatten() for slope in slopes if slope is not None]).norm().item()
    assert norm > 1
    logged = trainer.train_step(picture, position, 0.01)
    assert logged == pytest.approx({"loss": loss.item(), "bpp": bpp.mean().item(), "norm": norm}, rel=1e-5)
    grads = [p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None]
    assert torch.cat(grads).norm().item() == pytest.approx(0.5, rel=1e-4)
    assert [group["lr"] for group in trainer.optimiser.param_groups] == [0.0025, 0.01]


@pytest.mark.parametrize("shape", [(400, 2, 3, 5), (400, 3, 5)])
def test_hyper_latents_are_read_rounded_or_with_noise(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = DCA(TINY)
    z = (3 * torch.randn(shape)).requires_grad_()
    noisy = model.train()._for_rate(z)
    assert ((noisy - z).abs() <= 0.5).all()
    read = model._as_read(z, noisy)
    with_noise, rounded = ((read == other).flatten(1) for other in (noisy, z.round()))
    # Samples are one or the other as a whole; 400 draws are within 5 deviations of the half.
    assert (with_noise.all(1) ^ rounded.all(1)).all()
    assert not (with_noise.any(1) & rounded.any(1)).any()
    assert 150 < with_noise.all(1).sum() < 250
    (gradient,) = torch.autograd.grad(read.sum(), z)
    assert torch.equal(gradient, torch.ones(shape))
    assert torch.equal(model.eval()._as_read(z, noisy), z.round())


@pytest.mark.slow
def test_what_a_step_does_to_the_moving_average_and_the_rates(tmp_path: Path) -> None:
    options = replace(QUICK, ema=0.5, transform_share=0.0)
    trainer = Trainer(options, tmp_path, TINY, CPU)
    trainer.start([photo(96, 128)])
    picture = torch.from_numpy(photo(64, 64)).float()[None] / 255
    for step, decay in enumerate([1 / 10, 2 / 11, 3 / 12]):  # these first, to `ema` in the end
        old = {name: value.clone() for name, value in trainer.average.state_dict().items()}
        start = {name: value.clone() for name, value in trainer.model.state_dict().items()}
        logged = trainer.train_step(picture, torch.ones(1), 0.01)
        assert set(logged) == {"loss", "bpp", "norm"}
        moved = set()
        for name, value in trainer.model.state_dict().items():
            expected = decay * old[name] + (1 - decay) * value
            assert torch.allclose(trainer.average.state_dict()[name], expected, atol=1e-6), name
            if not torch.equal(value, start[name]):
                moved.add(name.split(".")[0])
        # With a share of 0 the transforms stay; they are these three.
        assert moved == {"hyper_analysis", "priors", "entropy", "spread"}
        assert trainer.step == step + 1


class Products(TorchFunctionMode):
    """Notes the kinds of the weights that are multiplied."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: set[torch.dtype] = set()

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        if function is torch.nn.functional.linear:
            self.kinds.add(arguments[1].dtype)
        return function(*arguments, **(keywords or {}))


def test_products_in_bfloat16_and_the_skeleton_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def one_step(precision: str) -> tuple[Trainer, dict[str, float], set[torch.dtype]]:
        trainer = Trainer(replace(QUICK, precision=precision), tmp_path, TINY, CPU)
        trainer.start([photo(96, 128)])
        found: dict[str, torch.dtype] = {}
        for name in ["analysis.down", "synthesis.up"]:
            trainer.model.get_submodule(name).register_forward_hook(
                lambda module, arguments, output, name=name: found.update({name: output.dtype})
            )
        picture = torch.from_numpy(photo(64, 64)).float()[None] / 255
        with Products() as products:
            values = trainer.train_step(picture, torch.ones(1), 0.01)
        assert set(found.values()) == {torch.float32}
        return trainer, values, products.kinds

    full, exact, kinds = one_step("float32")
    assert kinds == {torch.float32}
    half, rough, kinds = one_step("bfloat16")
    assert kinds == {torch.float32, torch.bfloat16}
    assert (full.autocast, half.autocast) == (False, True)
    assert {value.dtype for value in half.model.state_dict().values()} == {torch.float32}
    assert rough["loss"] != exact["loss"]
    assert rough["loss"] == pytest.approx(exact["loss"], rel=0.01)
    for fast in (False, True):
        monkeypatch.setattr("dcacodec.training.trainer.fast_bfloat16", lambda device, fast=fast: fast)
        assert Trainer(replace(QUICK, precision="auto"), tmp_path, TINY, CPU).autocast == fast


def test_gains_and_spreads_are_not_rounded_to_bfloat16() -> None:
    """They stand in exponents, and a decoder has them from tables or computes them in another precision."""
    model, position = drawn_model(TINY, 5), torch.tensor([0.3, 2.0, 1.7])
    with torch.no_grad():
        expected = (model.gain(position), *model.scales(position))
        with transform_precision(CPU, True):
            found = (model.gain(position), *model.scales(position))
    assert all(map(torch.equal, found, expected))


def test_a_validation_is_what_the_network_estimates(tmp_path: Path) -> None:
    trainer = Trainer(QUICK, tmp_path, TINY, CPU)
    trainer.start([photo(96, 128)])
    arrays = [photo(70, 130, 5), photo(64, 64, 6)]
    rows = [trainer.validate([array], 40) for array in arrays]
    surprises = [f"surprise_{step}" for step in (1, 2, 3, 4)]
    for row, array in zip(rows, (arrays[0][:64, :128], arrays[1]), strict=True):
        assert set(row) == {"quality", "bpp", "psnr", "ssimulacra2", "loss", *STREAMS, *surprises}
        assert row["quality"] == 40
        # Values are rounded to five digits.
        assert row["bpp"] == pytest.approx(sum(row[name] for name in STREAMS), abs=4e-5)
        x = torch.from_numpy(array)[None].float() / 255
        with torch.no_grad():
            estimate = trainer.average(x, torch.tensor([TINY.anchor_position(40)]))
        bits = sum(estimate.bits[name].item() for name in STREAMS)
        assert row["bpp"] == pytest.approx(bits / (x.shape[1] * x.shape[2]), abs=1e-5)
        decoded = (estimate.picture[0].numpy().clip(0, 1) * 255).round()
        error = float(np.mean((decoded.astype(np.float64) - array) ** 2))
        assert row["psnr"] == pytest.approx(10 * math.log10(255**2 / error), abs=1e-4)
        loss = row["bpp"] + TINY.trade_off(40) * 255**2 * ((estimate.picture - x) ** 2).mean().item()
        assert row["loss"] == pytest.approx(loss / TINY.trade_off(40) ** 0.4, abs=1e-3)
        seen = ssimulacra2(torch.from_numpy(array[None] / 255).float(), torch.from_numpy(decoded[None] / 255).float())
        assert row["ssimulacra2"] == pytest.approx(seen.item(), abs=0.01)
    mean = trainer.validate(arrays, 40)
    for name, value in mean.items():
        assert value == pytest.approx((rows[0][name] + rows[1][name]) / 2, abs=2e-5), name


@pytest.mark.slow
def test_the_log_and_a_quiet_run(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LOG_EVERY", 2)
    result = call(
        "train",
        pictures,
        "--run",
        tmp_path / "a" / "run",
        *ONE_STEP,
        "--steps",
        5,
        "--batch",
        2,
        "--learning-rate",
        0.004,
        "--precision",
        "float32",
        "--validation",
        pictures,
        "--validation-pictures",
        2,
        "--threads",
        1,
    )
    assert (result.exit_code, result.output) == (0, "")
    lines = log_of(tmp_path / "a" / "run")
    assert [(line["kind"], line["step"]) for line in lines] == [
        ("start", 0),
        ("train", 2),
        ("train", 4),
        ("train", 5),
        ("validation", 5),
        ("end", 5),
    ]
    keys = {
        "start": {"options", "threads", "processes", "bfloat16"},
        "train": {"learning_rate", "loss", "bpp", "norm"},
        "validation": {"loss", "qualities"},
        "end": set(),
    }
    for line in lines:
        assert set(line) == {"kind", "step", "minutes", "pixels"} | keys[line["kind"]]
        assert line["pixels"] == line["step"] * 2 * 64 * 64
        assert math.isfinite(line.get("loss", 0.0))
    expected = TrainingOptions(preset="tiny", steps=5, batch=2, crop=64, learning_rate=0.004, precision="float32")
    assert TrainingOptions(**lines[0]["options"]) == expected
    assert (lines[0]["processes"], lines[0]["threads"], lines[0]["bfloat16"]) == (1, 1, False)
    assert [line["learning_rate"] for line in lines[1:4]] == [
        round(expected.learning_rate_at(step, 0), 7) for step in (1, 3, 4)
    ]
    rows = lines[4]["qualities"]
    assert [row["quality"] for row in rows] == list(loop.VALIDATION_QUALITIES)
    assert lines[4]["loss"] == pytest.approx(sum(row["loss"] for row in rows) / len(rows), abs=1e-5)
    # Of the moving average at the end, on the first two pictures.
    trainer = Trainer(expected, tmp_path, TINY, CPU)
    trainer.load(tmp_path / "a" / "run" / "checkpoint.pt")
    assert rows == [trainer.validate(load_pictures([pictures], quiet=True)[:2], row["quality"]) for row in rows]


class Terminal(io.StringIO):
    """A text stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("length", [{"steps": 2}, {"minutes": 0.0001}], ids=str)
@pytest.mark.parametrize("terminal", [False, True])
def test_lines_and_bars_on_stderr(
    length: dict[str, Any], terminal: bool, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bars only on a terminal; everywhere a line for each validation, and two at the end: what there is, what to do."""
    stderr = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    options = replace(QUICK, **{"steps": 0, **length}, validate_every=1000.0)
    train([str(pictures)], tmp_path, options, [str(pictures)], validation_pictures=1)
    bars = [text for text in re.split(r"[\r\n]", stderr.getvalue()) if "%|" in text]
    assert bool(bars) == terminal
    if terminal:
        assert any(("min" if "minutes" in length else "2/2") in bar for bar in bars if bar.startswith("training"))
        return
    validation, reached, following = stderr.getvalue().splitlines()
    assert validation.startswith("validation at step ")
    assert reached.startswith(f"{tmp_path / 'checkpoint.pt'} holds ")
    assert reached.endswith(validation.partition(": ")[2])
    assert f"dcacodec publish {tmp_path / 'checkpoint.pt'} " in following


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--crop", 100, "--steps", 1], ["crop", "100"]),
        (["--crop", 64], ["minutes", "steps"]),
        (["--steps", -1], ["'--steps'", "-1"]),
        (["--steps", 1, "--decay-share", 0], ["'--decay-share'", "0.0"]),
        (["--steps", 1, "--decay-share", "nan"], ["decay share", "nan"]),
        (["--max-minutes", -1], ["'--max-minutes'", "-1"]),
        (["--batch", 0], ["'--batch'", "0"]),
        (["--seed", -1], ["'--seed'", "-1"]),
        (["--threads", 10**11], ["'--threads'", "100000000000"]),
        (["--steps", 1, "--learning-rate", "nan"], ["learning rate", "nan"]),
        (["--steps", 1, "--learning-rate", "inf"], ["learning rate", "inf"]),
        (["--steps", 1, "--ema", "nan"], ["ema", "nan"]),
        (["--max-minutes", "nan"], ["minutes", "nan"]),
        (["--steps", 1, "--save-every", "nan"], ["save every", "nan"]),
        (["--steps", 1, "--part-size", "x"], ["'--part-size'", "'x'"]),
        (["--preset", "x"], ["'--preset'", "'x'"]),
        (["--resume", "none"], ["'--resume'", "'none'"]),
    ],
)
def test_bad_options(arguments: list[Any], named: list[str], pictures: Path, tmp_path: Path) -> None:
    result = call("train", pictures, "--run", tmp_path / "run", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    error = result.stderr.splitlines()[-1]
    assert error.startswith("Error: ") and all(each in error for each in named), error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["train", "publish"])
def test_help(name: str) -> None:
    result = call(name, "--help")
    assert (result.exit_code, result.stderr) == (0, "")
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    for option in command.params:
        assert option.param_type_name == "argument" or option.opts[0] in result.stdout
    assert f"Examples:\n    dcacodec {name} " in result.stdout


# ---------------------------------------------------------------------------------------------------- several processes


def distance(left: dict[str, Tensor], right: dict[str, Tensor], part: str) -> float:
    """Euclidean, over all tensors of a part."""
    assert left.keys() == right.keys()
    return math.sqrt(sum((left[k] - right[k]).double().square().sum().item() for k in left if k.startswith(part)))


@pytest.mark.slow
@pytest.mark.usefixtures("_no_noise")
def test_two_processes_train_as_one_with_both_batches(pictures: Path, tmp_path: Path) -> None:
    shutil.copytree(pictures, tmp_path / "pictures")
    (tmp_path / "pictures" / "large.png").write_bytes(png(photo(140, 128, 9)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(TESTS / "training_worker.py"), str(tmp_path)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr

    def of(name: str) -> dict[str, Tensor]:
        found = torch.load(tmp_path / f"{name}.pt", weights_only=True)
        assert isinstance(found, dict)
        return found

    first, second = of("steps-0"), of("steps-1")
    assert same(first, second)
    trainer = worker_steps(Workers(), tmp_path, slice(None))
    alone, half = all_tensors(trainer), all_tensors(worker_steps(Workers(), tmp_path, slice(0, None, 2)))
    assert trainer.pixels == 3 * BATCH * 64 * 64
    fresh = Trainer(OPTIONS, tmp_path, TINY, CPU)
    fresh.start([photo(96, 128, n) for n in range(6)])
    start = {name: value for name, value in all_tensors(fresh).items() if name in alone} | {
        name: torch.zeros_like(value) for name, value in alone.items() if name.startswith("grad.")
    }
    for part in ("grad.", "model.", "average."):
        moved = distance(alone, start, part)
        assert moved > 0.01
        assert distance(alone, first, part) < 1e-3 * moved, part
        assert distance(alone, half, part) > 0.05 * moved, part  # which is what no averaging would give

    # A whole run, which the signal that one process got ended at the same step in both.
    left, right = of("run-0"), of("run-1")
    assert left.pop("shapes") == right.pop("shapes") == [(4, 64, 64, 3)] * 2 + [(1, 128, 128, 3)] * 2
    for drawn in ("picture", "noise"):
        assert not torch.equal(left.pop(drawn), right.pop(drawn))
    assert same(left, right)
    assert left.pop("number").item() == signal.SIGTERM
    assert [(tmp_path / f"told-{rank}").read_text("utf-8") for rank in (0, 1)] == [
        f"interrupted at step 4; {held}, and the same command resumes the run"
        for held in (f"{tmp_path / 'run' / 'checkpoint.pt'} holds it", "the first process saves it")
    ]
    state = state_of(tmp_path / "run")
    assert (state["step"], state["pixels"]) == (4, 4 * 2 * 4 * 64 * 64)
    for part in ("model", "average"):
        assert same(state[part], {name[len(part) + 1 :]: left[name] for name in left if name.startswith(f"{part}.")})
    lines = log_of(tmp_path / "run")
    assert [(line["kind"], line["step"]) for line in lines] == [("start", 0), ("train", 4), ("interrupted", 4)]
    assert lines[0]["processes"] == 2


def test_digest_of_training_pictures(pictures: Path, tmp_path: Path) -> None:
    """By their content, wherever they lie."""
    shutil.copytree(pictures, tmp_path / "copy")
    (tmp_path / "copy" / "notes.txt").write_text("no picture", "utf-8")
    assert digest_of([tmp_path / "copy"]) == digest_of([pictures])
    first = min(path for path in (tmp_path / "copy").rglob("*.png"))
    Image.fromarray(photo(64, 64, seed=77)).save(first)
    assert digest_of([tmp_path / "copy"]) != digest_of([pictures])
    with pytest.raises(FileNotFoundError):
        digest_of([tmp_path / "missing"])


# ------------------------------------------------------------------------------------------- what a validation tells


def rows(factor: float) -> list[dict[str, float]]:
    """Validation rows of a codec that takes `factor` times the bits for the same pictures."""
    points = [(0.2, 28.0, 30.0, 0.95), (0.5, 32.0, 60.0, 0.98), (1.1, 36.0, 80.0, 0.99), (2.0, 40.0, 88.0, 0.995)]
    return [
        {"loss": 5.0 + at, "bpp": factor * bpp, "psnr": psnr, "ssimulacra2": score, "ms_ssim": similarity}
        for at, (bpp, psnr, score, similarity) in enumerate(points)
    ]


def test_a_summary_has_bd_rates_against_another_run(tmp_path: Path) -> None:
    """Half the bits at every quality are -50 % by each metric, and what is missing is left out."""
    log = tmp_path / "log.jsonl"
    lines = [
        {"kind": "start"},
        {"kind": "validation", "qualities": rows(3.0)},
        {"kind": "validation", "qualities": rows(2)},
    ]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    with log.open("a", encoding="utf-8") as file:
        file.write('{"kind": "val')  # by a run that was killed
    text = Validation(rows(1.0)).summary(Validation.last_of(log))
    assert text.startswith("loss 6.5000, ") and text.count("-50.0 %") == 3
    assert "%" not in Validation(rows(1.0)).summary()
    without = [{name: value for name, value in row.items() if name != "ms_ssim"} for row in rows(1.0)]
    assert "MS-SSIM" not in Validation(without).summary(Validation.last_of(log))


@pytest.mark.parametrize("content", ["", "{", '{"kind": "start"}', '{"kind": "validation"}', "[]"])
def test_a_log_without_a_validation_is_refused(content: str, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(content, "utf-8")
    with pytest.raises(TrainingError):
        Validation.last_of(log)


@pytest.mark.slow
def test_validations_are_reported_without_a_terminal(pictures: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    arguments = ("--validation", pictures, "--validation-pictures", 1)
    step = [each for each in ONE_STEP if each != "--quiet"]
    result = call("train", pictures, "--run", first, *step, *arguments)
    assert result.exit_code == 0 and "SSIMULACRA 2" in result.stderr and str(first / "checkpoint.pt") in result.stderr
    result = call("train", pictures, "--run", second, *step, *arguments, "--against", first / "log.jsonl")
    assert result.exit_code == 0 and "BD-rate" in result.stderr
    quiet = call("train", pictures, "--run", tmp_path / "third", *ONE_STEP, *arguments)
    assert (quiet.exit_code, quiet.stderr) == (0, "")


@pytest.mark.slow
def test_a_checkpoint_of_another_tuning_is_not_relabelled(pictures: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert call("train", pictures, "--run", run, *ONE_STEP).exit_code == 0
    before = (run / "checkpoint.pt").read_bytes()
    refused = call("train", pictures, "--run", run, *ONE_STEP, "--tune", "visual")
    saved = run / "checkpoint.pt"
    assert_fails(refused, saved, "--resume")
    assert (run / "checkpoint.pt").read_bytes() == before
    other = tmp_path / "other"
    resumed = call("train", pictures, "--run", other, *ONE_STEP, "--tune", "visual", "--resume", run / "checkpoint.pt")
    assert resumed.exit_code == 0


def test_a_comparison_needs_validation_pictures(pictures: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps({"kind": "validation", "qualities": rows(1.0)}), "utf-8")
    refused = call("train", pictures, "--run", tmp_path / "run", *ONE_STEP, "--against", log)
    assert_fails(refused, "validation")


def test_squared_error_alone_is_the_tuning_psnr() -> None:
    with pytest.raises(ValueError, match="psnr"):
        TrainingOptions(steps=1, tune="psnr", mse_share=0.5)
