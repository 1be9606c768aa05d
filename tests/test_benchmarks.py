"""The scripts in `benchmarks`: what they measure is what it is called."""

import importlib
import json
import math
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from pretend_gpu import pretended
from tiny import TINY, photo

from dcacodec.codec.codec import Codec
from dcacodec.codec.parallel import threads
from dcacodec.codec.source import Source
from dcacodec.errors import TrainingError
from dcacodec.images.picture import Picture
from dcacodec.metrics.curves import Curve
from dcacodec.network.dca import DCA

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


def script(name: str) -> ModuleType:
    """One of the benchmarks as a module."""
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(FOLDER))


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


def test_the_choice_of_lossless_slices_is_timed(codec: Codec) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (150, 300, 3), np.uint8)
    (found,) = script("lossless_choice").judged(codec, Source(Picture(noise)), 50)
    assert found.coding > 0 and found.choosing > 0 and found.decodings == 1
    assert found.signs["flatness"] == 0 and found.signs["roughness"] > 1000


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


def test_coldstart_counts_round_by_round() -> None:
    coldstart = script("coldstart")
    calls: list[str] = []
    work = {name: lambda name=name: calls.append(name) for name in ("import", "decode", "broken", "in process")}
    times = coldstart.measure(work, rounds=2, quiet=True)
    assert calls == list(work) * 3
    assert {name: len(values) for name, values in times.items()} == dict.fromkeys(work, 2)
    seconds = {"import": [2.0, 4.0], "decode": [2.5, 4.5], "broken": [9.0, 9.0], "in process": [0.5, 2.0]}
    assert coldstart.ratios(seconds) == [1.0, 0.75]


def test_coldstart_lists_imports() -> None:
    rows = script("coldstart").slowest_imports([sys.executable, "-c", "import colorsys"], 10_000)
    assert "colorsys" in dict(rows)
    assert [own for _, own in rows] == sorted((own for _, own in rows), reverse=True)


def test_the_analysis_is_not_the_same_at_every_quality(codec: Codec) -> None:
    picture = torch.from_numpy(photo(64, 64))[None].float() / 255
    assert script("shared_analysis").change(codec, picture) > 0.001


def test_throughput_times_every_picture_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    throughput = script("throughput")
    monkeypatch.setattr(throughput, "SIZES", ((48, 32), (70, 30)))
    calls: list[tuple[str, int, int]] = []

    def noted(run: Any, argument: Any) -> tuple[float, Any]:
        result = run(argument)
        decoded = isinstance(argument, bytes)
        picture = result if decoded else argument
        calls.append(("decode" if decoded else "encode", picture.width, picture.height))
        return (0.5 if decoded else 0.25) if picture.width == 48 else 2.0, result

    monkeypatch.setattr(throughput, "timed", noted)
    result = CliRunner().invoke(throughput.main, ["--device", "cpu", "--rounds", "2", "--quiet"])
    assert result.exit_code == 0, result.output
    assert calls == [(what, *size) for size in ((48, 32), (70, 30)) for _ in range(3) for what in ("encode", "decode")]
    assert [line.split() for line in result.output.splitlines()[-2:]] == [
        ["48x32", "4.00", "2.00"],
        ["70x30", "0.50", "0.50"],
    ]


@pytest.mark.slow
def test_throughput_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the command on a pretended one; its times would be the processor's."""
    throughput = script("throughput")
    monkeypatch.setattr(throughput, "SIZES", ((48, 32), (70, 30)))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "pretended")
    with pretended() as gpu:
        result = CliRunner().invoke(throughput.main, ["--device", "cuda", "--rounds", "1", "--quiet"])
        assert gpu.sent > 0
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[0].startswith("pretended; quality 50, ")
    assert [line.split()[0] for line in result.output.splitlines()[-2:]] == ["48x32", "70x30"]


def test_large_measures_what_it_runs(tmp_path: Path) -> None:
    large = script("large")
    assert large._mirrored(3, 8).tolist() == [0, 1, 2, 2, 1, 0, 0, 1]
    large.draw(str(tmp_path / "drawn.ppm"), 1500, 1000)
    assert Image.open(tmp_path / "drawn.ppm").size == (1500, 1000)
    eater = "import sys; block = bytearray(b'x') * (200 << 20); print('done 1.25 s', file=sys.stderr)"
    cost = large.cost_of(["-c", eater], {}, tmp_path)
    assert cost.codec == 1.25
    assert cost.peak > 200 << 20
    with pytest.raises(click.ClickException, match="a reason"):
        large.cost_of(["-c", "raise SystemExit('a reason')"], {}, tmp_path)
    rows = [large.Row(1000, 1000 * size, 10**5, cost, cost) for size in (1, 2)]
    large.plot(rows, tmp_path / "plot.png", "caption")
    assert Image.open(tmp_path / "plot.png").size == (900, 400)


def test_the_kept_figures_of_the_campaign_can_be_continued() -> None:
    """Also on a processor that rounds the last bit of a mean another way; but not with other files of the peers."""
    campaign, kept = script("campaign"), FOLDER / "results" / "campaign.json"
    peers = {name: Curve(**figures) for name, figures in json.loads(kept.read_text("utf-8"))["peers"].items()}

    def scaled(factor: float) -> dict[str, Curve]:
        return {name: replace(peer, bpp=tuple(factor * bpp for bpp in peer.bpp)) for name, peer in peers.items()}

    points = campaign.earlier_points(kept, scaled(1 + 1e-15))
    assert len(points) > 10 and [point.pixels for point in points] == sorted({point.pixels for point in points})
    with pytest.raises(TrainingError, match="other pictures"):
        campaign.earlier_points(kept, scaled(1 + 1e-6))


def test_campaign_compares_with_files_of_the_same_pictures(tmp_path: Path) -> None:
    """A run whose estimates are JPEG's own rates is level with it, and one with half of them has half."""
    campaign = script("campaign")
    pictures = [photo(64, 192, seed) for seed in range(2)]
    (tmp_path / "held-out").mkdir()
    for number, pixels in enumerate(pictures):  # some rows and columns more, which validation leaves out
        larger = np.pad(pixels, ((0, 30), (0, 50), (0, 0)), mode="reflect")
        Image.fromarray(larger).save(tmp_path / "held-out" / f"{number}.png")
    jpeg = campaign.peer_curve("jpeg", pictures, quiet=True)
    (tmp_path / "run").mkdir()
    log = tmp_path / "run" / "log.jsonl"
    with log.open("w") as file:
        for number, share in enumerate((1.0, 0.5), 1):
            rows = [{"bpp": share * bpp, "psnr": value} for bpp, value in zip(jpeg.bpp, jpeg.quality, strict=True)]
            head = {"kind": "validation", "step": 1, "minutes": 20.0 * number, "pixels": 7_000_000 * number}
            file.write(json.dumps(head | {"loss": 9.5 / number, "qualities": rows}) + "\n")
    arguments = [str(tmp_path / "held-out"), str(log), "--quiet", "--out", str(tmp_path / "out.json")]
    result = CliRunner().invoke(campaign.main, [*arguments, "--plot", str(tmp_path / "out.png")])
    assert result.exit_code == 0, result.output
    webp = [point["bd_rate"]["webp"] for point in json.loads((tmp_path / "out.json").read_text())["points"]]
    assert 1 + webp[1] / 100 == pytest.approx((1 + webp[0] / 100) / 2, abs=1e-4)
    assert result.stdout.splitlines()[2:] == [
        f"| 7 | run, 20 | 9.500 | +0.0 %, {webp[0]:+.1f} % |",
        f"| 14 | run, 40 | 4.750 | -50.0 %, {webp[1]:+.1f} % |",
    ]
    with Image.open(tmp_path / "out.png") as drawn:
        assert drawn.size == (900, 400)

    # The written figures can be continued without the log.
    later = tmp_path / "later" / "log.jsonl"
    later.parent.mkdir()
    later.write_text(log.read_text("utf-8").splitlines()[1].replace("14000000", "21000000") + "\n", "utf-8")
    before = ["--before", str(tmp_path / "out.json"), "--out", str(tmp_path / "both.json"), "--quiet"]
    both = CliRunner().invoke(campaign.main, [arguments[0], str(later), *before])
    assert both.stdout == result.stdout + f"| 21 | later, 40 | 4.750 | -50.0 %, {webp[1]:+.1f} % |\n"
    first, second = (json.loads((tmp_path / name).read_text("utf-8")) for name in ("out.json", "both.json"))
    assert second["peers"] == first["peers"] and second["points"][:2] == first["points"]

    def refused(*changed: str, log_text: str = "") -> str:
        (tmp_path / "bad.jsonl").write_text(log_text, "utf-8")
        failed = CliRunner().invoke(campaign.main, [*changed, "--quiet"], catch_exceptions=False)
        assert failed.exit_code == 1
        assert failed.stderr.startswith("Error: ") and failed.stderr.count("\n") == 1
        return failed.stderr

    bad = str(tmp_path / "bad.jsonl")
    assert bad in refused(arguments[0], bad)
    sound = {"kind": "validation", "minutes": 1, "pixels": 1, "loss": 1, "qualities": rows}
    wrong: list[dict[str, Any]] = [{"minutes": "a"}, {"pixels": None}, {"pixels": math.inf}]
    for change in (*wrong, {"qualities": [{"bpp": 1}]}, {"qualities": [{"bpp": "a"}]}):
        lacking = json.dumps(sound | change).replace("Infinity", "1e999")
        assert bad in refused(arguments[0], bad, log_text=lacking)
    # A validation that is among the figures already counts once.
    twice = CliRunner().invoke(campaign.main, [*arguments, "--before", str(tmp_path / "out.json")])
    assert twice.stdout == result.stdout

    point = first["points"][0]
    damages: list[Any] = [[point | {"pixels": math.inf}], [point | {"pixels": None}], [{"run": "a"}], [[]], {}]
    texts = [json.dumps({**first, "points": damage}) for damage in damages]
    for damaged in ("[]", '{"points": []}', "[" * 100_000, *texts, texts[0].replace("Infinity", "1e999")):
        assert bad in refused(*arguments, "--before", bad, log_text=damaged)
    first["peers"]["jpeg"]["bpp"][0] += 0.1
    assert bad in refused(*arguments, "--before", bad, log_text=json.dumps(first))
    flat = json.dumps(sound | {"qualities": [{"bpp": 1, "psnr": 30}] * 3})
    assert "point 1" in refused(arguments[0], bad, log_text=flat)
    assert str(tmp_path / "out.xyz") in refused(*arguments, "--plot", str(tmp_path / "out.xyz"))
    (tmp_path / "empty").mkdir()
    assert str(tmp_path / "empty") in refused(str(tmp_path / "empty"), str(log))


def test_colour_of_blocks_ignores_detail() -> None:
    """A drift of two levels in one channel is found, a checkerboard of any contrast is not."""
    errors = script("block_colour").block_errors
    flat = np.full((70, 100, 3), 100, np.uint8)
    board = flat + np.where(np.indices((70, 100)).sum(0) % 2, 20, -20)[..., None].astype(np.uint8)
    assert errors(flat, board).tolist() == [0.0] * (2 * 3 * 3)
    drifted = flat.copy()
    drifted[:32, 32:64, 1] += 2
    assert sorted(errors(flat, drifted).tolist()) == [0.0] * (2 * 3 * 3 - 1) + [2.0]
    drifted[64:], drifted[:, 96:] = 0, 0  # outside of whole blocks
    assert errors(flat, drifted).sum() == 2.0


def test_colour_of_blocks_at_equal_bytes(tmp_path: Path) -> None:
    Image.fromarray(photo(96, 128)).save(tmp_path / "a.png")
    arguments = [str(tmp_path), "--codecs", "jpeg,webp", "--quiet"]
    result = CliRunner().invoke(script("block_colour").main, [*arguments, "--bpp", "2,4"])
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines()[1:]]
    assert [row[:2] for row in rows] == [["2", "jpeg"], ["2", "webp"], ["4", "jpeg"], ["4", "webp"]]
    assert all(0.8 * float(row[0]) < float(row[2]) <= float(row[0]) for row in rows)
    assert all(0 < float(row[3]) < float(row[4]) <= float(row[5]) for row in rows)
    assert float(rows[0][3]) > float(rows[2][3])
    tight = CliRunner().invoke(script("block_colour").main, [*arguments, "--bpp", "0.01"])
    assert tight.exit_code == 1
    assert all(word in tight.stderr for word in ("jpeg", "0.01", "a.png"))
    assert CliRunner().invoke(script("block_colour").main, [*arguments, "--bpp", "none"]).exit_code == 2


def test_times_by_part_add_up_to_the_whole() -> None:
    with threads(torch.get_num_threads()):
        result = CliRunner().invoke(script("time_by_part").main, ["--size", "80", "64", "--rounds", "1"])
    assert result.exit_code == 0, result.output
    for line, name in zip(result.stdout.splitlines(), ("encode", "decode"), strict=True):
        whole, _, parts = line.partition(" ms = ")
        times = [int(part.rpartition(" ")[2]) for part in parts.split(" + ")]
        assert whole.split(": ")[0] == name
        assert abs(int(whole.split()[1]) - sum(times)) <= len(times) / 2 + 1  # each is rounded


@pytest.mark.slow
def test_times_beside_avif_and_of_revisions(tmp_path: Path) -> None:
    avif = CliRunner().invoke(script("beside_avif").main, ["--large", "64", "48", "--rounds", "1"])
    assert avif.exit_code == 0, avif.output
    assert [line.split(":")[0] for line in avif.stdout.splitlines()] == ["encode", "decode"]
    Image.fromarray(photo(48, 64)).save(tmp_path / "a.png")
    arguments = [str(FOLDER.parent), "--picture", str(tmp_path / "a.png"), "--rounds", "1"]
    revisions = CliRunner().invoke(script("revisions").main, arguments)
    assert revisions.exit_code == 0, revisions.output
    sizes = re.findall(r"[\d,]+", revisions.stdout.splitlines()[-1].replace(", before", " "))
    assert len(sizes) == 2 and sizes[0] == sizes[1]
