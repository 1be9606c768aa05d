"""Measuring: each figure is what it is called."""

import io
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny import WEIGHTS, photo

from dcacodec.bench import measure
from dcacodec.bench.codec import BenchCodec, CodecOptions, Pixels
from dcacodec.bench.codecs import open_codec
from dcacodec.bench.measure import Measurement
from dcacodec.bench.metrics import METRICS
from dcacodec.bench.results import Failure, Sample
from dcacodec.bench.run import spaced
from dcacodec.codec.codec import Codec
from dcacodec.errors import BenchError
from dcacodec.images.picture import Picture
from dcacodec.metrics.psnr import psnr

OURS = CodecOptions(weights=WEIGHTS, device="cpu")


@pytest.fixture(autouse=True)
def _fresh() -> None:
    """What a process keeps from one task to the next."""
    measure._codec.cache_clear()
    measure._warm.cache_clear()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A picture with an alpha plane, which is no part of any measurement."""
    pixels = photo(40, 70)
    Image.fromarray(np.dstack((pixels, pixels[..., 0]))).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def task(
    path: Path, codec: str = "jpeg", setting: float = 50, options: CodecOptions = OURS, repeat: int = 1
) -> Measurement:
    return Measurement(codec, options, "picture", path, setting, repeat, ("psnr", "ms-ssim"))


def test_a_sample_of_ours(path: Path, codec: Codec, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    found = measure.sample(task(path, "dcacodec", 60), path, scratch)
    assert isinstance(found, Sample)
    pixels = photo(40, 70)
    data = codec.encode(Picture(pixels), quality=60)
    assert (found.picture, found.codec, found.setting, found.width, found.height) == ("picture", "dcacodec", 60, 70, 40)
    assert found.size == len(data)
    assert found.bpp == pytest.approx(len(data) * 8 / (40 * 70), rel=1e-12)
    assert found.quality == {"psnr": psnr(pixels, codec.decode(data).pixels), "ms-ssim": None}  # too small for it
    assert sum(found.streams.values()) == len(data)
    assert found.encode > 0 and found.decode > 0


class Slow(BenchCodec):
    """Takes given times, one after the other; the first, which is that of the warm-up, is long. Loses nothing."""

    name, label, settings, scale = "slow", "Slow", (1.0, 2.0, 3.0), (1.0, 2.0, 3.0)

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.clock = 0.0
        self.times = {"encode": [9.0, 1.0, 2.0, 4.0], "decode": [9.0, 10.0, 50.0, 30.0]}

    def identity(self, setting: float) -> str:
        return "slow"

    def prepare(self, setting: float) -> None:
        self.clock += 1000  # counts in no time
        self.calls.append(f"prepare {setting:g}")

    def _pass(self, what: str) -> None:
        self.calls.append(what)
        self.clock += self.times[what].pop(0)

    def encode(self, pixels: Pixels, setting: float) -> bytes:
        self._pass("encode")
        buffer = io.BytesIO()
        np.save(buffer, pixels)
        return buffer.getvalue()

    def decode(self, data: bytes) -> Pixels:
        self._pass("decode")
        pixels: Pixels = np.load(io.BytesIO(data))
        return pixels


def test_times_are_medians_of_a_warm_codec(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slow = Slow()
    monkeypatch.setattr(measure, "open_codec", lambda name, options: slow)
    monkeypatch.setattr(time, "perf_counter", lambda: slow.clock)
    found = measure.sample(task(path, "slow", 3, repeat=3), path, tmp_path)
    assert isinstance(found, Sample)
    assert (found.encode, found.decode) == (2.0, 30.0)
    assert slow.calls == ["prepare 2", "encode", "decode", "prepare 3", *["encode", "decode"] * 3]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(ValueError("two\nlines"), "ValueError: two lines"), (MemoryError(), "MemoryError")],
)
def test_a_codec_that_fails(
    error: Exception, reason: str, path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Failing(Slow):
        def encode(self, pixels: Pixels, setting: float) -> bytes:
            raise error

    monkeypatch.setattr(measure, "open_codec", lambda name, options: Failing())
    failure = Failure("slow", "picture", 3, reason)
    assert measure.sample(task(path, "slow", 3), path, tmp_path) == failure
    assert measure.memory(task(path, "slow", 3)) == failure
    assert measure.matches(task(path, "slow", 3), (100,)) == failure


def test_a_decoder_that_gives_another_size_fails(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Cropping(Slow):
        def decode(self, data: bytes) -> Pixels:
            return super().decode(data)[1:]

    monkeypatch.setattr(measure, "open_codec", lambda name, options: Cropping())
    failure = measure.sample(task(path, "slow", 3), path, tmp_path)
    assert isinstance(failure, Failure)
    assert failure.reason == "ValueError: shapes must be the same and not empty, not (40, 70, 3) and (39, 70, 3)"


def test_one_bad_warm_up_fails_nothing_else(path: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no picture")
    assert isinstance(measure.sample(task(path), tmp_path / "bad.png", tmp_path), Sample)


def test_memory_is_that_of_coding(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a codec that takes 200 MB and gives them back, in a process that held more before."""
    if not Path("/proc/self/status").exists():
        pytest.skip("only Linux tells")
    held = np.ones(300 << 20, np.uint8)
    del held

    class Hungry(Slow):
        def encode(self, pixels: Pixels, setting: float) -> bytes:
            taken = np.ones(200 << 20, np.uint8)
            assert taken.any()
            return super().encode(pixels, setting)

    monkeypatch.setattr(measure, "open_codec", lambda name, options: Hungry())
    found = measure.memory(task(path, "slow"))
    assert isinstance(found, int)
    assert 198 << 20 <= found <= 290 << 20  # the system counts pages in batches


def test_memory_where_the_system_does_not_tell(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_resident", lambda field: None)
    assert measure.memory(task(path)) is None


# ------------------------------------------------------------------------------------------------------ matched bytes


@pytest.mark.parametrize("name", ["jpeg", "webp"])
def test_the_largest_file_that_is_not_above_the_target(name: str, path: Path) -> None:
    pixels = photo(40, 70)
    codec = open_codec(name, OURS)
    sizes = {setting: len(codec.encode(pixels, setting)) for setting in codec.scale}
    targets = (min(sizes.values()) - 1, 900, 10**6)
    sides = measure.matches(task(path, name), targets)
    assert isinstance(sides, tuple)
    assert sides[0] is None
    for target, side in zip(targets[1:], sides[1:], strict=True):
        assert side is not None
        assert side.size == sizes[side.setting] <= target
        above = [setting for setting in codec.scale if setting > side.setting]
        assert not above or sizes[above[0]] > target
        decoded = codec.decode(codec.encode(pixels, side.setting))
        assert np.array_equal(side.pixels, decoded)
        assert side.quality == {"psnr": psnr(pixels, decoded), "ms-ssim": None}
        assert side.label == codec.label
    last = sides[2]
    assert last is not None and last.setting == codec.scale[-1]


@pytest.mark.parametrize(
    ("length", "count", "places"),
    [
        (24, 2, [0, 23]),
        (7, 3, [0, 3, 6]),
        (6, 3, [0, 2, 5]),
        (3, 3, [0, 1, 2]),
        (2, 3, [0, 1]),
        (1, 2, [0]),
        (5, 1, [0]),
    ],
)
def test_places_are_evenly_spaced(length: int, count: int, places: list[int]) -> None:
    assert spaced(length, count) == places


# ------------------------------------------------------------------------------------------------------------ metrics


def blurred(pixels: Any, radius: int) -> Any:
    from PIL import ImageFilter

    return np.array(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


BEST = {"psnr": math.inf, "ms-ssim": 1, "ssimulacra2": 100, "butteraugli": 0, "cvvdp": 10}
SMALLEST = {"ms-ssim": 161, "ssimulacra2": 8, "butteraugli": 8}


@pytest.mark.parametrize("name", METRICS)
def test_metrics_of_likeness(name: str) -> None:
    metric = METRICS[name]
    if missing := metric.missing():
        pytest.skip(f"needs {missing}")
    assert metric.version()
    pixels = photo(170, 180)
    values = [metric.measure(pixels, other) for other in (pixels, blurred(pixels, 1), blurred(pixels, 3))]
    assert values[0] == pytest.approx(BEST[name], abs=1e-5)
    rising = [metric.rising(value) for value in values if value is not None]
    assert rising[0] > rising[1] > rising[2]
    if side := SMALLEST.get(name):
        assert metric.measure(pixels[:side, :side], pixels[:side, :side]) == pytest.approx(BEST[name], abs=1e-5)
        assert metric.measure(pixels[: side - 1], pixels[: side - 1]) is None
    with pytest.raises(ValueError, match="must be the same"):
        metric.measure(pixels, pixels[1:])


def test_a_program_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "butteraugli_main"
    program.write_text("#!/bin/sh\necho no >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(BenchError, match=r"^butteraugli_main ended with 3: no$"):
        METRICS["butteraugli"].measure(photo(16, 16), photo(16, 16))
