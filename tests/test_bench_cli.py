"""The command `dcacodec bench`: from pictures to files and a table."""

import csv
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from tiny import WEIGHTS, photo
from told import assert_fails

from dcacodec.bench import anchors as anchors_module
from dcacodec.bench import datasets
from dcacodec.bench.codec import OUR_QUALITIES, CodecOptions
from dcacodec.bench.codecs import open_codec
from dcacodec.bench.datasets import Entry, Manifest
from dcacodec.bench.pillow_codecs import PILLOW_FORMATS
from dcacodec.bench.store import load_results
from dcacodec.bench.summary import conventions
from dcacodec.cli import bench as cli_module
from dcacodec.cli.app import cli
from dcacodec.cli.bench import parse_qualities
from dcacodec.codec.codec import Codec
from dcacodec.images.picture import Picture
from dcacodec.metrics.curves import load_anchor
from dcacodec.metrics.psnr import psnr
from dcacodec.network.config import TUNINGS


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is found or written but in the test's folder."""
    monkeypatch.delenv("DCACODEC_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """For what would be fetched. (Elsewhere the cache stays, and with it the compiled entropy coder.)"""
    monkeypatch.setenv("DCACODEC_CACHE", str(tmp_path / "cache"))


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["bench", *map(str, arguments)], prog_name="dcacodec")


def save(pixels: Any, path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.slow
def test_from_pictures_to_results(tmp_path: Path, codec: Codec) -> None:
    pictures = [photo(64, 80, seed) for seed in (1, 2)]
    for number, pixels in enumerate(pictures):
        save(pixels, tmp_path / "mine" / f"{number}.png")
    anchor = {"name": "itself", "description": "made up", "results": {"bpp": [0.01, 100.0], "psnr": [1.0, 90.0]}}
    (tmp_path / "anchor.json").write_text(json.dumps(anchor), "utf-8")
    options = ["--codecs", "dcacodec,jpeg", "--weights", str(WEIGHTS), "--device", "cpu", "--threads", "1",
               "--repeat", "1", "--anchor", "anchor.json", "--metrics", "psnr", "--out", "out", "mine"]  # fmt: skip
    result = call("--qualities", "10,40", "--showcase", "1", *options)
    assert result.exit_code == 0, result.output
    assert result.stdout == Path("out", "report.txt").read_text("utf-8")

    # Every figure is that of a file.
    results = load_results(Path("out", "results.json"))
    assert results.dataset == "mine"
    assert results.pictures == ("0", "1")
    jpeg = open_codec("jpeg", CodecOptions())
    expected: dict[tuple[str, float, int], tuple[int, float]] = {}
    for number, pixels in enumerate(pictures):
        for quality in (10, 40):
            data = codec.encode(Picture(pixels), quality=quality)
            expected["dcacodec", quality, number] = len(data), psnr(pixels, codec.decode(data).pixels)
        for setting in jpeg.settings:
            data = jpeg.encode(pixels, setting)
            expected["jpeg", setting, number] = len(data), psnr(pixels, jpeg.decode(data))
    found = {(one.codec, one.setting, int(one.picture)): (one.size, one.quality["psnr"]) for one in results.samples}
    assert found == expected
    assert [one.name for one in results.codecs] == ["dcacodec", "jpeg"]
    assert results.machine["threads per job"] == "1"
    if sys.platform == "linux":
        assert all(one.memory for one in results.codecs)

    # The curves and the table are its means.
    curve = load_anchor(Path("out", "curves", "dcacodec.json"))
    for place, quality in enumerate((10, 40)):
        sizes, values = zip(*(expected["dcacodec", quality, number] for number in (0, 1)), strict=True)
        assert curve.bpp[place] == pytest.approx(sum(sizes) * 8 / (2 * 64 * 80), rel=1e-12)
        assert curve.quality[place] == pytest.approx(np.mean(values), rel=1e-12)
        row = [str(quality), f"{curve.bpp[place]:.4f}", f"{curve.quality[place]:.3f}"]
        assert any(line.split()[:3] == row for line in result.stdout.splitlines())
    assert all(line in result.stdout.splitlines() for line in conventions(results))
    rates = json.loads(Path("out", "bd-rate.json").read_text("utf-8"))
    assert [(other["name"], other["source"]) for other in rates["against"]] == [("jpeg", None), ("itself", "made up")]
    assert re.search(r"^ *itself \(published\) +[+-]\d+\.\d\d  ", result.stdout, re.MULTILINE)
    assert "bytes: the means rise at every step; the values of single pictures rise at 2 of 2 steps" in result.stdout
    with open(Path("out", "samples.csv"), newline="") as file:
        assert len(list(csv.DictReader(file))) == len(expected)
    assert Path("out", "index.html").stat().st_size > 10_000
    assert {path.name for path in Path("out", "plots").iterdir()} >= {"rate-psnr.png", "rate-psnr.svg"}

    # Once more: nothing is measured again but what stood in the journal's last line, which was torn.
    journal = Path("out", "journal.jsonl")
    journal.write_bytes(journal.read_bytes()[:-20])
    options[1] = "jpeg"
    again = call("--showcase", "0", *options)
    assert again.exit_code == 0, again.output
    old = [one for one in results.samples if one.codec == "jpeg"]  # with the times that were measured
    assert list(load_results(Path("out", "results.json")).samples) == old


@pytest.mark.slow
def test_a_failing_codec_does_not_end_the_run(tmp_path: Path) -> None:
    save(photo(2, 16400), tmp_path / "wide\x1b.png")  # wider than WebP can be, and with a control character
    save(photo(30, 40), tmp_path / "narrow\x1b.png")
    result = call("wide\x1b.png", "narrow\x1b.png", "--codecs", "jpeg,webp", "--metrics", "psnr", "--repeat", "1",
                  "--showcase", "0", "--jobs", "2", "--out", "out")  # fmt: skip
    assert result.exit_code == 1
    results = load_results(Path("out", "results.json"))
    assert results.machine["jobs"] == "2"
    settings = open_codec("webp", CodecOptions()).settings
    assert [(one.codec, one.picture, one.setting) for one in results.failures] == [
        ("webp", "wide\x1b", setting) for setting in settings
    ]
    assert {(one.codec, one.picture) for one in results.samples} == {
        ("jpeg", "wide\x1b"), ("jpeg", "narrow\x1b"), ("webp", "narrow\x1b"),
    }  # fmt: skip
    lines = [line for line in re.split(r"[\r\n]", result.stderr) if line.startswith("dcacodec: ")]
    assert len(lines) == len(settings)
    assert all(re.match(r"dcacodec: warning: .*\bwebp\b.*\bwide\\x1b", line) for line in lines)
    assert not re.search("(wide|narrow)\x1b", result.stderr)
    assert r"webp at 95 on wide\x1b: ValueError" in result.stdout
    assert "webp by PSNR: none, as webp: a curve needs two points or more" in result.stdout  # none over all pictures


@pytest.mark.slow
def test_quick(tmp_path: Path) -> None:
    for number in range(4):
        save(photo(40, 40, number), tmp_path / "many" / f"{number}.png")
    Path("many", "3.png").rename(os.fsdecode(b"many/\xff.png"))  # no text in UTF-8
    result = call("--quick", "--dataset", "many", "--codecs", "jpeg,webp", "--quiet")
    assert result.exit_code == 0, result.output
    results = load_results(Path("bench", "results.json"))
    assert results.dataset == "many"
    assert results.pictures == ("0", os.fsdecode(b"\xff"))
    assert [(one.name, one.settings) for one in results.codecs] == [("jpeg", (5, 50, 95)), ("webp", (1, 50, 95))]
    assert len(results.samples) == 2 * 2 * 3


# ------------------------------------------------------------------------------------------------------- interruptions


@pytest.mark.slow
def test_an_interrupted_run_resumes(tmp_path: Path) -> None:
    for number in range(3):
        save(photo(300, 400, number), tmp_path / "mine" / f"{number}.png")
    command = [sys.executable, "-m", "dcacodec", "bench", "mine", "--codecs", "webp", "--metrics", "psnr",
               "--showcase", "0", "--repeat", "4", "--out", "out", "--quiet"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    journal = Path("out", "journal.jsonl")
    while not journal.exists() or journal.read_bytes().count(b"\n") < 3:
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does: to all processes at once
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (130, "", "dcacodec: error: interrupted\n")
    with pytest.raises(ProcessLookupError):  # none of its processes is left
        for _ in range(3000):
            os.killpg(process.pid, 0)
            time.sleep(0.01)
    assert list(tmp_path.glob("dcacodec-bench-*")) == []
    assert [path.name for path in Path("out").iterdir()] == ["journal.jsonl"]

    before = {line["key"]: line["value"] for line in map(json.loads, journal.read_text("utf-8").splitlines())}
    assert 3 <= len(before) < 21
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    after = [json.loads(line) for line in journal.read_text("utf-8").splitlines()]
    assert len(after) == 21 + 1  # and the memory
    assert {line["key"]: line["value"] for line in after[: len(before)]} == before


# ---------------------------------------------------------------------------------------------------- the command line


@pytest.mark.parametrize(
    ("text", "qualities"), [("50", (50,)), ("80,20,50,20", (20, 50, 80)), ("1-3,99-100", (1, 2, 3, 99, 100))]
)
def test_qualities(text: str, qualities: tuple[int, ...]) -> None:
    assert parse_qualities(text) == qualities


@pytest.mark.parametrize(
    "text", ["", "0", "101", "50-", "-50", "60-50", "60-50,20", "1-999999999999", "a", "1.5", "20,,30"]
)
def test_other_qualities(text: str) -> None:
    with pytest.raises(ValueError):
        parse_qualities(text)
    result = call("--qualities", text, "x")
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--dataset", "kodak", "picture.png"], ["--dataset", "PICTURES"]),
        (["--quick", "--anchor", "vtm", "picture.png"], ["--quick", "--anchor"]),
        (["missing.png"], ["'missing.png'"]),
        (["--codecs", "jpeg,,webp", "picture.png"], ["--codecs"]),
        (["--preset", "nothing", "picture.png"], ["'nothing'"]),
        (["--metrics", "vmaf", "picture.png"], ["vmaf", "psnr", "ms-ssim", "ssimulacra2", "butteraugli", "cvvdp"]),
        (["--window", "1", "0.5", "picture.png"], ["LOW", "HIGH"]),
        (["--window", "1", "inf", "picture.png"], ["LOW", "HIGH"]),  # JSON has none
        (["--codecs", "jpeg,gif", "picture.png"], ["'gif'", *PILLOW_FORMATS, "jpegli", "compressai:MODEL"]),
        (["--codecs", "jpeg", "--dataset", "kodac"], ["'kodac'", "kodak"]),
        (["--codecs", "jpeg", "--anchor", "x", "picture.png"], ["'x'", "picture.png"]),
    ],
)
def test_a_wrong_command_line(arguments: list[str], named: list[str], tmp_path: Path) -> None:
    save(photo(8, 8), tmp_path / "picture.png")
    result = call("--quiet", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    error = result.stderr.splitlines()[-1]
    assert error.startswith("Error: ") and all(each in error for each in named), error
    assert not Path("bench").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--weights", "picture.png", "picture.png"], ["picture.png"]),
        (["--codecs", "jpeg", "bad.png"], ["bad.png"]),
        (["--codecs", "jpeg", "--anchor", "x.json", "picture.png"], ["x.json"]),
    ],
)
def test_what_cannot_be_had_is_reported_before_any_work(
    arguments: list[str], named: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(photo(8, 8), tmp_path / "picture.png")
    (tmp_path / "bad.png").write_text("no picture")
    assert_fails(call("--quiet", *arguments), *named)
    assert not Path("bench").exists()


def test_missing_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(photo(8, 8), tmp_path / "picture.png")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = call("picture.png")
    assert_fails(result, "bjontegaard", "jinja2", "matplotlib", "pooch", "dcacodec[bench]")
    monkeypatch.setattr(cli_module, "_check_packages", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    for metric, needed in (("cvvdp", "cvvdp"), ("butteraugli", "butteraugli_main")):
        assert_fails(call("picture.png", "--metrics", f"psnr,{metric}"), needed)


@pytest.mark.slow
def test_offline_without_kodak(empty_cache: None, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Entry("a.png", "0" * 64, "http://127.0.0.1:9/a.png")
    monkeypatch.setattr(datasets, "packaged", lambda: {"kodak": Manifest("kodak", (entry,))})
    result = call("--codecs", "jpeg", "--quiet")
    assert_fails(result, "http://127.0.0.1:9/a.png", "kodak/", "--data-dir", "DCACODEC_DATA")


@pytest.mark.slow
def test_anchors_that_nobody_asked_for(empty_cache: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Those that are measured are left out, and those that are not available are reported."""
    curve = {"name": "BPG", "description": "there", "results": {"bpp": [0.1, 0.2], "psnr": [30.0, 32.0]}}
    (tmp_path / "anchors").mkdir()
    (tmp_path / "anchors" / "bpg.json").write_text(json.dumps(curve), "utf-8")
    lines: list[str] = []
    monkeypatch.setattr(cli_module, "_warn", lines.append)
    monkeypatch.setattr(anchors_module, "ADDRESS", "http://127.0.0.1:9")
    found = cli_module._anchors((), "kodak", ["dcacodec", "jpeg", "webp"], [tmp_path])
    assert [anchor.curve.name for anchor in found] == ["bpg"]
    assert len(lines) == 1 and "http://127.0.0.1:9/kodak/vtm.json" in lines[0]
    assert cli_module._anchors((), "other", [], [tmp_path]) == ()
    assert cli_module._anchors(("none",), "kodak", [], [tmp_path]) == ()


def test_data_folders(empty_cache: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """--data-dir comes before the environment variable."""
    pixels = photo(8, 8)
    entry = Entry("a.png", hashlib.sha256(pixels.tobytes()).hexdigest(), None)
    monkeypatch.setattr(datasets, "packaged", lambda: {"kodak": Manifest("kodak", (entry,))})
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        save(pixels, tmp_path / name / "kodak" / "a.png")
    monkeypatch.setenv("DCACODEC_DATA", str(tmp_path / "two"))
    (tmp_path / "kodak").mkdir()  # a folder by chance where the command is given: ./kodak would be it
    options = ["--codecs", "jpeg", "--dataset", "kodak", "--metrics", "psnr", "--showcase", "0", "--anchor", "none",
               "--quiet"]  # fmt: skip
    shutil.rmtree(tmp_path / "one" / "kodak")
    assert call(*options, "--data-dir", "one").exit_code == 0
    (tmp_path / "two" / "kodak" / "a.png").unlink()
    save(pixels, tmp_path / "one" / "kodak" / "a.png")
    result = call(*options, "--data-dir", "one")
    assert (result.exit_code, result.stderr) == (0, "")
    shutil.rmtree(tmp_path / "one" / "kodak")
    result = call(*options[:-1])
    assert result.exit_code == 1
    assert "a.png" in result.stderr


def test_help_names_every_codec() -> None:
    text = call("--help").stdout
    for name in (*PILLOW_FORMATS, "jpegli", "dcacodec", *(f"dcacodec-{tune}" for tune in TUNINGS), "compressai:MODEL"):
        assert re.search(rf"\b{name}\b", text)
    assert ",".join(f"{quality:g}" for quality in OUR_QUALITIES) in text


def test_nothing_heavy_is_imported_for_help() -> None:
    script = (
        "import sys\n"
        "from dcacodec.cli.app import cli\n"
        "cli.main(['bench', '--help'], standalone_mode=False)\n"
        "heavy = ('torch', 'numpy', 'PIL', 'matplotlib', 'jinja2', 'tqdm', 'multiprocessing', 'urllib.request')\n"
        "print(sorted(set(heavy) & set(sys.modules)), file=sys.stderr)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "[]\n")
    assert done.stdout.startswith("Usage: ")
