"""Measuring: each figure is what it is called."""

import importlib.util
import io
import math
import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tiny import WEIGHTS, photo

import dcacodec.metrics
from dcacodec.bench import measure, metrics
from dcacodec.bench.codec import BenchCodec, CodecOptions
from dcacodec.bench.codecs import open_codec
from dcacodec.bench.datasets import files_dataset
from dcacodec.bench.measure import Measurement, largest_within
from dcacodec.bench.metrics import METRICS, Metric
from dcacodec.bench.results import Failure, Sample
from dcacodec.bench.run import BenchPlan, run, spaced
from dcacodec.bench.store import Journal, sample_to_json
from dcacodec.codec.codec import Codec
from dcacodec.errors import BenchError
from dcacodec.images.picture import Picture, Pixels
from dcacodec.metrics.psnr import psnr

ROOT = Path(__file__).resolve().parent.parent
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


def open_any(name: str) -> BenchCodec:
    return open_codec(name, OURS)


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


class Linear(Slow):
    """Its files have ten bytes at setting 1, twenty at 2, and so on. It has to be prepared for a setting."""

    def encode(self, pixels: Pixels, setting: float) -> bytes:
        assert self.calls[-1] == f"prepare {setting:g}"
        return bytes(10 * int(setting))


def test_the_largest_files_within_limits() -> None:
    found = largest_within(Linear(), photo(8, 8), (9, 10, 25, 29, 30, 99))
    assert found == (None, (1, bytes(10)), (2, bytes(20)), (2, bytes(20)), (3, bytes(30)), (3, bytes(30)))


def test_the_comparison_leaves_out_what_does_not_fit(path: Path, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("comparison", ROOT / "scripts" / "comparison.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    jpeg, webp = (len(codec.encode(photo(40, 70), codec.scale[0])) for codec in map(open_any, ("jpeg", "webp")))
    assert webp < jpeg
    options = ["--picture", str(path), "--codecs", "jpeg,webp", "--crop", "0,0,30,20", "--bpp"]
    for limit, names in ((jpeg - 1, ["webp"]), (jpeg, ["jpeg", "webp"])):
        result = CliRunner().invoke(script.main, [str(tmp_path / "out.png"), *options, str(limit * 8 / (40 * 70))])
        assert result.exit_code == 0, result.output
        assert [line.partition(":")[0] for line in result.stdout.splitlines()] == names
        left_out = [name for name in ("jpeg", "webp") if name not in names]
        for name, line in zip(left_out, result.stderr.splitlines(), strict=True):
            assert name in line and str(limit) in line
        with Image.open(tmp_path / "out.png") as sheet:
            assert sheet.size == ((1 + len(names)) * 30, 20 + script.MARGIN)


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
SMALLEST = {"ms-ssim": 161, "ssimulacra2": 8, "butteraugli": 8, "cvvdp": 2}


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
    with pytest.raises(ValueError, match=r"\(169, 180, 3\)"):
        metric.measure(pixels, pixels[1:])


def test_the_version_of_our_metrics_is_that_of_their_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = METRICS["ssimulacra2"].version()
    copy = tmp_path / "metrics"
    shutil.copytree(dcacodec.metrics.__path__[0], copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(dcacodec.metrics, "__path__", [str(copy)])
    assert METRICS["ssimulacra2"].version() == before
    with open(copy / "ssimulacra2.py", "a") as file:
        file.write("# a change\n")
    assert METRICS["ssimulacra2"].version() != before


class Full(Journal):
    """Everything has been measured."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked: set[object] = set()

    def __contains__(self, key: object) -> bool:
        self.asked.add(key)
        return True

    def __getitem__(self, key: str) -> Any:
        return sample_to_json(Sample("picture", "jpeg", 50, 70, 40, 100, {"psnr": 30.0}, 1.0, 1.0, {}))


def test_only_what_was_measured_in_the_same_way_is_taken_from_an_earlier_run(path: Path) -> None:
    def asked(title: str = "one", repeat: int = 1, jobs: int = 1, threads: int = 1, of: Path = path) -> set[object]:
        journal = Full(path.with_suffix(".jsonl"))
        plan = BenchPlan(
            files_dataset(title, [of], quiet=True), (open_any("jpeg"),), {"jpeg": (5.0, 50.0)},
            replace(OURS, threads=threads), (), ("psnr",), repeat, jobs, quiet=True,
        )  # fmt: skip
        run(plan, journal, pytest.fail)
        return journal.asked

    first = asked()
    assert len(first) == 2 + 1  # and the memory
    assert asked(title="another title") == first
    other = Path(shutil.copy(path, path.with_name("other.png")))
    for changed in (asked(repeat=2), asked(jobs=2), asked(threads=2), asked(of=other)):
        assert len(changed - first) == 3
    Image.fromarray(photo(40, 70, 1)).save(path)
    assert len(asked() - first) == 3


def test_the_version_of_a_metric_is_found_once_a_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be the digest of a large program."""
    asked: list[str] = []

    def version(metric: Metric) -> str:
        asked.append(metric.title)
        return "1"

    monkeypatch.setattr(Metric, "version", version)
    monkeypatch.setattr(Metric, "is_outside", True)
    codecs = open_any("jpeg"), open_any("webp")
    plan = BenchPlan(
        files_dataset("one", [path], quiet=True), codecs, {codec.name: codec.settings for codec in codecs}, OURS, (),
        ("psnr", "ms-ssim"), 1, 1, quiet=True,
    )  # fmt: skip
    results = run(plan, Full(path.with_suffix(".jsonl")), pytest.fail)
    assert len(results.samples) == sum(len(codec.settings) for codec in codecs)
    assert results.machine["MS-SSIM"] == "1"
    assert asked == ["PSNR", "MS-SSIM"]


def test_a_program_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "butteraugli_main"
    program.write_text("#!/bin/sh\necho no >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(BenchError, match=r"\bbutteraugli_main\b.*\b3\b.*\bno\b"):
        METRICS["butteraugli"].measure(photo(16, 16), photo(16, 16))


def test_which_picture_is_the_decoded_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """ColorVideoVDP takes it first."""
    calls: list[Any] = []

    class Model:
        def __init__(self, display_name: str, quiet: bool, device: Any) -> None:
            calls.append((display_name, device.type))

        def predict(self, test: Pixels, reference: Pixels, dim_order: str) -> tuple[float, None]:
            calls.append((test[0, 0].tolist(), reference[0, 0].tolist(), dim_order))
            return 9.5, None

    monkeypatch.setitem(sys.modules, "pycvvdp", SimpleNamespace(cvvdp=Model))
    metrics._cvvdp_model.cache_clear()
    reference = np.full((4, 6, 3), 7, np.uint8)
    assert [METRICS["cvvdp"].measure(reference, reference + 1) for _ in range(2)] == [9.5, 9.5]
    metrics._cvvdp_model.cache_clear()
    assert calls == [("standard_fhd", "cpu"), *[([8, 8, 8], [7, 7, 7], "HWC")] * 2]
