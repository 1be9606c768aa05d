"""The scripts in `benchmarks`: what they measure is what it is called."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import TINY, WEIGHTS, photo

from dcacodec.bench.metrics import load_anchor, psnr
from dcacodec.codec import Codec
from dcacodec.container import parse
from dcacodec.images import Picture
from dcacodec.network.dca import DCA

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


def script(name: str) -> ModuleType:
    """One of the benchmarks as a module."""
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture
def kodak() -> Iterator[Any]:
    threads = torch.get_num_threads()
    yield script("kodak")
    torch.set_num_threads(threads)


def test_kodak_measures_files(kodak: Any, codec: Codec, tmp_path: Path) -> None:
    pixels = photo(40, 70)
    # The alpha plane is no part of the measurement.
    Image.fromarray(np.dstack((pixels, pixels[..., 0]))).save(tmp_path / "picture.png")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    found = kodak.measure(kodak.Setting("none", WEIGHTS, "cpu", 1, scratch), tmp_path / "picture.png", 60)
    data = codec.encode(Picture(pixels), 60)
    assert found.bpp == pytest.approx(len(data) * 8 / (40 * 70), rel=1e-12)
    assert found.psnr == psnr(pixels, codec.decode(data).pixels)
    lengths = [len(stream) for stream in parse(data).slices[0].streams]
    assert found.streams == pytest.approx([length * 8 / (40 * 70) for length in lengths], rel=1e-12)
    assert found.overhead == pytest.approx((len(data) - sum(lengths)) * 8 / (40 * 70), rel=1e-9)
    assert found.encode > 0 and found.decode > 0
    assert not list(scratch.iterdir())


def test_kodak_takes_plain_means(kodak: Any, tmp_path: Path) -> None:
    one = kodak.Measurement(1.0, 30.0, 2.0, 4.0, (0.25, 0.5))
    other = kodak.Measurement(3.0, 40.0, 4.0, 8.0, (0.75, 1.5))
    assert kodak.Measurement.mean([one, other]) == kodak.Measurement(2.0, 35.0, 3.0, 6.0, (0.5, 1.0))
    seven = [kodak.Measurement(bpp, value, 0.0, 0.0, (bpp / 8,) * 7) for bpp, value in ((0.5, 30.0), (1.5, 36.0))]
    results = kodak.as_results("codec", [20, 60], seven, 24)
    (tmp_path / "results.json").write_text(json.dumps(results), "utf-8")
    curve = load_anchor(tmp_path / "results.json")  # its own format is that of the anchors
    assert (curve.name, curve.bpp, curve.psnr) == ("codec", (0.5, 1.5), (30.0, 36.0))
    assert results["results"]["quality"] == [20, 60]
    assert results["results"]["bpp_y_4"] == [0.0625, 0.1875]


@pytest.mark.parametrize(
    ("text", "qualities"), [("50", [50]), ("80,20,50,20", [20, 50, 80]), ("1-3,99-100", [1, 2, 3, 99, 100])]
)
def test_kodak_reads_qualities(kodak: Any, text: str, qualities: list[int]) -> None:
    assert kodak.parse_qualities(text) == qualities


@pytest.mark.parametrize("text", ["", "0", "101", "50-", "-50", "60-50", "a", "1.5", "20,,30"])
def test_kodak_refuses_other_qualities(kodak: Any, text: str) -> None:
    with pytest.raises(ValueError):
        kodak.parse_qualities(text)


def test_kodak_from_pictures_to_table(tmp_path: Path, codec: Codec) -> None:
    pictures = [photo(64, 64, seed) for seed in (1, 2)]
    for number, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    anchor = {"name": "itself", "results": {"bpp": [0.01, 100.0], "psnr": [1.0, 90.0]}}
    anchored, out = tmp_path / "anchor.json", tmp_path / "out.json"
    anchored.write_text(json.dumps(anchor), "utf-8")
    options = ["--qualities", "30,90", "--weights", WEIGHTS, "--anchor", anchored, "--out", out, "--quiet"]
    command = [sys.executable, *map(str, (FOLDER / "kodak.py", tmp_path, *options))]
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (result.returncode, result.stderr) == (0, "")
    coded = [[codec.encode(Picture(pixels), quality) for pixels in pictures] for quality in (30, 90)]
    written = json.loads(out.read_text("utf-8"))["results"]
    assert written["bpp"] == pytest.approx([sum(map(len, row)) * 8 / (2 * 64 * 64) for row in coded], rel=1e-12)
    means = [
        np.mean([psnr(pixels, codec.decode(data).pixels) for pixels, data in zip(pictures, row, strict=True)])
        for row in coded
    ]
    assert written["psnr"] == pytest.approx(means, rel=1e-12)
    lines = result.stdout.splitlines()
    for quality, bpp, value in zip((30, 90), written["bpp"], means, strict=True):
        assert any(line.split()[:3] == [str(quality), f"{bpp:.4f}", f"{value:.3f}"] for line in lines)
    assert "bytes: the means rise at every step; of single pictures, 0 of 2 steps do not rise" in lines
    assert lines[-1].startswith("itself ")


def test_complexity_counts_every_parameter_once() -> None:
    complexity = script("complexity")
    found = complexity.parts(TINY)
    assert [part.name for part in found[:-1]] == [
        "f_a", "r_a", "g_a", "l_a", "r_s", "g_s", "l_s", "c", "priors, gains, spreads",
    ]  # fmt: skip
    totals = complexity.totals(found)
    assert totals["parameters"] == sum(parameter.numel() for parameter in DCA(TINY).parameters())
    macs = {part.name: part.macs for part in found}
    # The skeleton of f_a (patches to 12, cells of 4 x 12 to 16), a block of 12 at 1/8 and one of 16 at 1/16, and once
    # for the picture, 12 scales from 4 anchors.
    blocks = sum((8 * width * width + 9 * width) / area for width, area in ((12, 64), (16, 256)))
    assert macs["f_a"] == pytest.approx(192 * 12 / 64 + 48 * 16 / 256 + blocks + 12 * 4 / (768 * 512), rel=1e-12)
    assert macs["g_s"] == pytest.approx(3 * 16 * 16 / (768 * 512), rel=1e-12)
    assert totals["encoder_macs"] == pytest.approx(sum(macs.values()) - macs["f_s"], rel=1e-12)
    decoding = sum(macs[name] for name in ("r_s", "g_s", "l_s", "c", "f_s"))
    assert totals["decoder_macs"] == pytest.approx(decoding, rel=1e-12)


def test_speed_takes_any_picture(tmp_path: Path) -> None:
    speed = script("speed")
    assert speed.picture_at(None).shape == (512, 768, 3)
    exact = photo(512, 768)
    Image.fromarray(exact).save(tmp_path / "exact.png")
    assert np.array_equal(speed.picture_at(tmp_path / "exact.png"), exact)
    # Of a picture that is too tall, the middle is kept.
    tall = np.zeros((512 + 200, 768, 3), np.uint8)
    tall[100:612] = exact
    Image.fromarray(tall).save(tmp_path / "tall.png")
    assert np.array_equal(speed.picture_at(tmp_path / "tall.png"), exact)


def test_speed_times_in_turns() -> None:
    calls: list[tuple[str, str]] = []

    class Fake:
        def __init__(self, name: str) -> None:
            self.name = name

        def encode(self, pixels: Any) -> Any:
            calls.append((self.name, "encode"))
            return pixels

        def decode(self, coded: Any) -> Any:
            calls.append((self.name, "decode"))
            return coded

        def size(self, coded: Any) -> int:
            return 0

    times = script("speed").race({"a": Fake("a"), "b": Fake("b")}, photo(4, 4), rounds=2, quiet=True)
    assert calls == [(name, what) for name in "ab" for what in ("encode", "decode")] * 3
    assert {name: {what: len(values) for what, values in row.items()} for name, row in times.items()} == {
        name: {"encode": 2, "decode": 2} for name in "ab"
    }
