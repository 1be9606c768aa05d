"""The study: the cache of latents, training and measuring variants, records that are kept, the report, the command."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from tiny import TINY, drawn_model, photo
from told import one_line
from torch import Tensor

from dcacodec.codec.slice_coder import SliceCoder
from dcacodec.errors import TrainingError, WeightsError
from dcacodec.format.container import STREAMS
from dcacodec.metrics.curves import Curve
from dcacodec.network.config import DCAConfig
from dcacodec.network.dca import DCA
from dcacodec.training.loop import VALIDATION_QUALITIES
from dcacodec.training.options import TrainingOptions
from dcacodec.training.trainer import Trainer
from dcacodec.weights.export import export
from research.study import report, run, variants
from research.study.__main__ import study as command
from research.study.latents import (
    CACHED_CROP,
    CacheKey,
    Latents,
    digest,
    load_frozen,
    make_latents,
    read_latents,
    save_latents,
)
from research.study.records import read_record
from research.study.report import compare, curve_of, summarise, write_report
from research.study.timing import decode_times, square_of
from research.study.variants import FROZEN, TRAINED, VARIANTS, Variant, fresh_model, measure, sizes, train_variant

CPU = torch.device("cpu")
OPTIONS = TrainingOptions(steps=4, batch=2, crop=64, warm_up=2, ema=0.9, precision="float32")
TRAIN = [photo(CACHED_CROP, CACHED_CROP + 20, 1), photo(300, CACHED_CROP, 2)]
VALID = [photo(64, 130, 3), photo(128, 64, 4)]
KEY = CacheKey("0" * 64, "1" * 64, 5, digest(VALID), 0)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def _on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture(scope="module")
def frozen() -> DCA:
    return drawn_model(TINY, 5).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def latents(frozen: DCA) -> Latents:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("research.study.latents.fast_bfloat16", lambda device: False)
        return make_latents(frozen, TRAIN, VALID, KEY, CPU, quiet=True)


def same(left: Latents, right: Latents) -> bool:
    return (
        torch.equal(left.train, right.train)
        and torch.equal(left.position, right.position)
        and left.valid.keys() == right.valid.keys()
        and all(
            len(left.valid[q]) == len(right.valid[q]) and all(map(torch.equal, left.valid[q], right.valid[q]))
            for q in left.valid
        )
    )


# -------------------------------------------------------------------------------------------------------------- latents


def test_latents_are_what_the_analysis_makes(frozen: DCA, latents: Latents) -> None:
    side = CACHED_CROP // 16
    assert (latents.train.shape, latents.train.dtype) == ((5, side, side, TINY.latent), torch.float16)
    assert (latents.position.shape, latents.position.dtype) == ((5,), torch.float32)
    assert len(set(latents.position.tolist())) == 5
    assert list(latents.valid) == list(VALIDATION_QUALITIES)
    for quality, each in latents.valid.items():
        at = torch.tensor([TINY.anchor_position(quality)])
        for picture, y in zip(VALID, each, strict=True):
            height, width = (64 * (length // 64) for length in picture.shape[:2])
            x = torch.from_numpy(picture[:height, :width])[None].float() / 255
            with torch.no_grad():
                assert torch.equal(y, frozen.latent(x, at)[0].half())


def test_latents_are_kept(latents: Latents, tmp_path: Path) -> None:
    path = tmp_path / "latents.safetensors"
    assert read_latents(path, KEY, len(VALID)) is None
    save_latents(path, latents, KEY)
    kept = read_latents(path, KEY, len(VALID))
    assert kept is not None
    assert same(kept, latents)
    for other in ({"source": "1" * 64}, {"sources": "2" * 64}, {"crops": 6}, {"pictures": "1" * 64}, {"seed": 1}):
        assert read_latents(path, replace(KEY, **other), len(VALID)) is None
    with pytest.raises(WeightsError, match=r"damaged; delete it to have the latents made again$"):
        read_latents(path, KEY, len(VALID) + 1)
    for content in (path.read_bytes()[:-10], b"", b"text" * 50):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=r"damaged; delete it to have the latents made again$"):
            read_latents(path, KEY, len(VALID))
    path.unlink()
    path.mkdir()
    with pytest.raises(IsADirectoryError) as error:
        read_latents(path, KEY, len(VALID))
    assert error.value.filename == str(path)


def test_digests_tell_pictures_apart() -> None:
    array = photo(4, 6)
    assert digest([array]) == digest([array.copy()])
    others = [[array[:, ::-1]], [array.reshape(6, 4, 3)], [array, array], []]
    assert len({digest([array]), *(digest([np.ascontiguousarray(a) for a in other]) for other in others)}) == 5


@pytest.mark.slow
def test_transforms_come_from_a_checkpoint_or_from_published_weights(frozen: DCA, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(export(frozen))
    published = load_frozen(path)
    trainer = Trainer(replace(OPTIONS, steps=1), tmp_path, TINY, CPU)
    trainer.average.load_state_dict(frozen.state_dict())
    trainer.save()
    trained = load_frozen(tmp_path / "checkpoint.pt")
    for name, value in frozen.state_dict().items():
        assert torch.equal(trained.state_dict()[name], value), name
        near = published.state_dict()[name]
        assert near.dtype == torch.float32
        assert torch.allclose(near, value, rtol=2**-8, atol=2**-7), name
    (tmp_path / "text.pt").write_bytes(b"text")
    with pytest.raises(WeightsError):
        load_frozen(tmp_path / "text.pt")


# ------------------------------------------------------------------------------------------------------------- variants


def test_the_variants_are_those_of_the_paper() -> None:
    labels = [variant.label for variant in VARIANTS]
    assert {"R", "RL", "RG", "GL", "RGL", "RGL merged"} <= set(labels)
    assert {"".join(order) for order in permutations("RGL")} <= set(labels)
    names = [variant.name for variant in VARIANTS]
    assert len(set(names)) == len(names) == 13
    assert [variant.name for variant in VARIANTS if variant.seed] == ["R-1", "RGL-1"]
    assert Variant("RGL", False, 2).name == "RGL-merged-2"


@pytest.mark.slow
@pytest.mark.parametrize("variant", [Variant("R"), Variant("GL"), Variant("LGR"), Variant("RGL", adaptive=False)])
def test_training_changes_the_entropy_model_and_nothing_else(frozen: DCA, latents: Latents, variant: Variant) -> None:
    start = fresh_model(frozen, variant)
    assert (start.config.order, start.config.adaptive) == (variant.order, variant.adaptive)
    trained, facts = train_variant(frozen, variant, latents, OPTIONS, CPU, quiet=True)
    before, after = start.state_dict(), trained.state_dict()
    assert before.keys() == after.keys()
    for name, value in after.items():
        part = name.split(".")[0]
        assert part in FROZEN + TRAINED
        if part in FROZEN:
            assert torch.equal(value, frozen.state_dict()[name])
            assert torch.equal(before[name], value)
    for part in TRAINED:
        assert any(not torch.equal(before[name], after[name]) for name in after if name.startswith(part))
    assert (facts["steps"], facts["pixels"]) == (4, 4 * 2 * 64 * 64)
    assert [step for step, _ in facts["curve"]] == [1, 2, 3, 4]
    assert sizes(trained) == {
        part: sum(value.numel() for name, value in after.items() if name.startswith(f"{part}.")) for part in TRAINED
    }


@pytest.mark.slow
def test_training_follows_from_the_seed_and_shows_all_variants_the_same(
    frozen: DCA, latents: Latents, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    honest = DCA.hyper_latents

    def watched(self: DCA, y: Tensor, position: Tensor) -> dict[str, Tensor]:
        seen.append(torch.cat([y.flatten(), position]))
        return honest(self, y, position)

    monkeypatch.setattr(DCA, "hyper_latents", watched)

    def trained(variant: Variant) -> tuple[dict[str, Tensor], Tensor]:
        seen.clear()
        model = train_variant(frozen, variant, latents, OPTIONS, CPU, quiet=True)[0]
        return model.state_dict(), torch.stack(seen)

    (first, crops), (again, _), (_, of_other), (_, of_seed) = map(
        trained, (Variant("R"), Variant("R"), Variant("GL"), Variant("R", seed=1))
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert torch.equal(crops, of_other)
    assert crops.shape == of_seed.shape and not torch.equal(crops, of_seed)
    # Every crop is one of a cached latent, at a place of the 2x2 grid.
    windows = {
        tuple(latents.train[n, top : top + 4, left : left + 4].flatten().tolist())
        for n in range(5)
        for top in range(0, 13, 2)
        for left in range(0, 13, 2)
    }
    size = 4 * 4 * TINY.latent
    assert all(tuple(row[n * size : (n + 1) * size].tolist()) in windows for row in crops for n in range(2))


@pytest.mark.slow
def test_training_lowers_the_rate(frozen: DCA, latents: Latents) -> None:
    """On the one latent that it sees."""
    quality = 1 + 99 * latents.position[0].item() / (TINY.anchors - 1)
    one = Latents(latents.train[:1], latents.position[:1], {quality: [latents.train[0]]})  # type: ignore[dict-item]

    def rate(model: DCA) -> float:
        (row,) = measure(model, one, [photo(CACHED_CROP, CACHED_CROP)], CPU, quiet=True)
        return row["bpp"]

    options = replace(OPTIONS, steps=100, crop=128, learning_rate=5e-3, warm_up=5)
    trained, facts = train_variant(frozen, Variant("RL"), one, options, CPU, quiet=True)
    assert [step for step, _ in facts["curve"]] == list(range(5, 101, 5))
    assert rate(trained) < 0.9 * rate(fresh_model(frozen, Variant("RL")))


def test_a_loss_that_is_not_finite_ends_the_training(frozen: DCA, latents: Latents) -> None:
    bad = replace(latents, train=torch.full_like(latents.train, math.nan))
    with pytest.raises(TrainingError) as caught:
        train_variant(frozen, Variant("R"), bad, OPTIONS, CPU, quiet=True)
    text = one_line(caught)
    assert "R-0" in text and "step 0" in text


@pytest.mark.slow
def test_measures_are_those_of_a_validation(frozen: DCA, latents: Latents, tmp_path: Path) -> None:
    """The same by another way: from pictures, in training's validation, but for the rounding of latents to half."""
    trainer = Trainer(OPTIONS, tmp_path, TINY, CPU)
    trainer.average.load_state_dict(frozen.state_dict())
    rows = measure(frozen, latents, VALID, CPU, quiet=True)
    assert [row["quality"] for row in rows] == list(VALIDATION_QUALITIES)
    for row in rows:
        expected = trainer.validate(VALID, int(row["quality"]))
        assert row.keys() == expected.keys() - {"loss"}
        for name, value in row.items():
            # SSIMULACRA 2 of what an untrained network decodes is far below 0, where small differences count much.
            slack = 2.0 if name == "ssimulacra2" else 0.002
            assert value == pytest.approx(expected[name], rel=0.02, abs=slack), name


# --------------------------------------------------------------------------------------------------------------- timing


def test_squares_of_a_picture() -> None:
    picture = photo(5, 8)
    assert np.array_equal(square_of(picture, 4), picture[:4, :4])
    square = square_of(picture, 13)
    assert square.shape == (13, 13, 3)
    assert np.array_equal(square[:5, :8], picture)
    assert np.array_equal(square[5:10, :8], picture[::-1])
    assert np.array_equal(square[10:, :8], picture[:3])
    assert np.array_equal(square[:5, 8:], picture[:, :2:-1])


@pytest.mark.slow
def test_decoding_is_timed_in_turns_and_on_the_streams_of_each(
    frozen: DCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {}
    for variant in (Variant("R"), Variant("RGL")):
        weights[variant.name] = tmp_path / f"{variant.name}.safetensors"
        weights[variant.name].write_bytes(export(fresh_model(frozen, variant).eval()))
    calls: list[tuple[str, int]] = []
    clock = iter(range(10**6))
    honest = SliceCoder.read_streams

    def watched(self: SliceCoder, streams: Any, width: int, height: int, *rest: Any) -> Any:
        calls.append((self.point.weights.config.order, width))
        symbols = honest(self, streams, width, height, *rest)
        assert symbols.latent.shape[1:3] == (height // 16, width // 16)
        for _ in range({"R": 1, "RGL": 2}[self.point.weights.config.order] - 1 + len(calls)):
            next(clock)
        return symbols

    monkeypatch.setattr(SliceCoder, "read_streams", watched)
    monkeypatch.setattr(time, "process_time", lambda: next(clock) / 1000)
    times = decode_times(weights, photo(60, 90), (64, 128), 2, quiet=True)
    turns = [(order, side) for side in (64, 128) for _ in range(2) for order in ("R", "RGL")]
    assert calls == turns
    # By hand: call n (from 1) of R takes n + 1 ticks of the clock, one of RGL n + 2; the first of two is the least.
    assert times == {"R-0": {"64": 2.0, "128": 6.0}, "RGL-0": {"64": 4.0, "128": 8.0}}


# --------------------------------------------------------------------------------------------------------------- report


def record(variant: Variant, bits: float, psnr: float = 0.0) -> dict[str, Any]:
    """Made up: so many times the bits of a curve, and so many dB more."""
    names = [name for name in STREAMS if not name.startswith("z_") or name[2].upper() in variant.order]
    rows = []
    for number, quality in enumerate(VALIDATION_QUALITIES):
        bpp = bits * 0.1 * 1.6**number
        streams = {name: bpp / len(names) for name in names}
        surprise = {f"surprise_{step}": 0.5 + 0.01 * step for step in range(1, 5)}
        rows.append({"quality": quality, **streams, "psnr": 25 + 2.5 * number + psnr, "bpp": bpp, **surprise})
    return {
        "name": variant.name,
        **variants.describe(variant),
        "parameters": {"entropy": 1000, "hyper_analysis": 200, "priors": 30},
        "training": {"steps": 10, "pixels": 5, "seconds": 60.0, "cpu_seconds": 30.0, "curve": [[5, 2.0], [10, 1.0]]},
        "qualities": rows,
        "decode_ms": {"64": 1.5},
    }


def test_comparisons_by_hand() -> None:
    base, fewer, finer = record(Variant("R"), 1.0), record(Variant("RGL"), 0.9), record(Variant("RL"), 1.0, 2.5)
    found = compare(fewer, base)
    assert found["bits"] == pytest.approx(-10)
    assert found["bd_rate"] == pytest.approx(-10)
    assert found["by_quality"] == pytest.approx({str(quality): -10.0 for quality in VALIDATION_QUALITIES})
    # A BD-rate takes curves that rise, bits at equal quality do not.
    fewer["qualities"][3]["psnr"] = 0.0
    assert compare(fewer, base) == found | {"bd_rate": None}
    # As many bits at equal quality, but 2.5 dB more, which is a factor of 1.6 in bits.
    found = compare(finer, base)
    assert (found["bits"], found["bd_rate"]) == pytest.approx((0, 100 / 1.6 - 100))
    assert curve_of(base) == Curve("R-0", tuple(0.1 * 1.6**n for n in range(7)), tuple(25 + 2.5 * n for n in range(7)))


def test_every_variant_is_compared_with_the_baseline_of_its_seed() -> None:
    own = {name: value for name, value in record(Variant("RGL"), 0.5).items() if name in ("parameters", "qualities")}
    records = [
        {"name": "checkpoint", **own},
        record(Variant("R"), 1.0),
        record(Variant("RGL"), 0.9),
        record(Variant("R", seed=1), 2.0),
        record(Variant("RGL", seed=1), 1.9),
        record(Variant("RL", seed=2), 1.1),
    ]
    summary = summarise(records)
    bits = {name: row["against_baseline"]["bits"] for name, row in summary.items()}
    assert bits == pytest.approx({"checkpoint": -50, "R-0": 0, "RGL-0": -10, "R-1": 0, "RGL-1": -5, "RL-2": 10})
    assert summarise(records[2:3])["RGL-0"]["against_baseline"] is None
    assert list(summary["RGL-0"]["streams"]) == list(STREAMS)
    assert list(summary["R-0"]["streams"]) == ["z_r", "y_1", "y_2", "y_3", "y_4"]
    assert summary["R-0"]["surprise"] == pytest.approx([0.51, 0.52, 0.53, 0.54])


@pytest.mark.slow
def test_the_report(tmp_path: Path) -> None:
    records = [record(Variant("R"), 1.0), record(Variant("RGL"), 0.95)]
    paths = write_report(records, tmp_path)
    assert {path.name for path in paths} == {each.name for each in tmp_path.iterdir()}
    names = {"bits", "bd-rate", "surprise", "training"}
    assert {path.name for path in paths} == {
        "report.json",
        "report.md",
        *(f"{name}.{form}" for name in names for form in ("png", "svg")),
    }
    assert json.loads((tmp_path / "report.json").read_text("utf-8"))["records"] == records
    lines = (tmp_path / "report.md").read_text("utf-8").splitlines()
    assert "| RGL-0 | -5.00 | -5.00" + " | -5.00" * 7 + " |" in lines
    assert "| R-0 | 1,000 | 200 | 30 | 10 | 1.0 | 0.5 | 2 |" in lines
    drawn = {plot.name: plot.figure for plot in report.draw(records, summarise(records))}
    line = next(each for each in drawn["bits"].axes[0].get_lines() if each.get_gid() == "RGL-0")
    assert line.get_xydata() == pytest.approx(np.array([[quality, -5.0] for quality in VALIDATION_QUALITIES]))
    # Without a baseline there is nothing to compare with.
    assert {plot.name for plot in report.draw(records[1:], summarise(records[1:]))} == {"surprise", "training"}


# -------------------------------------------------------------------------------------------------------------- command


@pytest.fixture(scope="module")
def place(frozen: DCA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint and pictures."""
    folder = tmp_path_factory.mktemp("study")
    for name, pictures in (("train", TRAIN), ("valid", VALID)):
        (folder / name).mkdir()
        for number, pixels in enumerate(pictures):
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    trainer = Trainer(OPTIONS, folder, TINY, CPU)
    trainer.average.load_state_dict(frozen.state_dict())
    trainer.save()
    return folder


def call(place: Path, out: Path, *more: str | int) -> Result:
    arguments = [place / "checkpoint.pt", place / "train", "--validation", place / "valid", "--out", out,
                 "--cached", 4, "--steps", 3, "--batch", 2, "--crop", 64, "--quiet", *more]  # fmt: skip
    return CliRunner().invoke(command, [str(each) for each in arguments])


@pytest.mark.slow
def test_the_command_and_that_nothing_is_done_twice(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "TIMED_SIDES", (64,))
    result = call(place, tmp_path, "--only", "R-0,RGL-0", "--rounds", 1)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split(" | ")[0] for line in lines] == ["| entropy model", "| ---", "| checkpoint", "| R-0", "| RGL-0"]
    assert lines[3].endswith("| +0.00" + " | +0.00" * 7 + " |")
    results = {"own.json", "timing.json", "report.json", "report.md", "latents.safetensors", "variants"}
    assert results <= {each.name for each in tmp_path.iterdir()}
    files = {f"{name}.{ending}" for name in ("R-0", "RGL-0") for ending in ("json", "safetensors")}
    assert {each.name for each in (tmp_path / "variants").iterdir()} == files
    kept = json.loads((tmp_path / "variants" / "RGL-0.json").read_text("utf-8"))
    assert (kept["order"], kept["adaptive"], kept["seed"], kept["training"]["steps"]) == ("RGL", True, 0, 3)
    assert kept["made_from"]["options"]["batch"] == 2

    # All of it is there: to train, analyse, measure or time again would fail.
    def fail(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("this was done before")

    with monkeypatch.context() as patch:
        for name in ("train_variant", "make_latents", "measure", "decode_times"):
            patch.setattr(run, name, fail)
        again = call(place, tmp_path, "--only", "R-0,RGL-0", "--rounds", 1)
    assert (again.exit_code, again.stdout) == (0, result.stdout)

    # A further variant is added; those that are there are not trained again.
    trained: list[str] = []
    honest = train_variant

    def watched(frozen: DCA, variant: Variant, *arguments: Any) -> Any:
        trained.append(variant.name)
        return honest(frozen, variant, *arguments)

    monkeypatch.setattr(run, "train_variant", watched)
    more = call(place, tmp_path, "--only", "R-0,RGL-0,GL-0", "--rounds", 0)
    assert (more.exit_code, trained) == (0, ["GL-0"])
    assert more.stdout.splitlines()[:5] == lines
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))["summary"]
    timed = json.loads((tmp_path / "timing.json").read_text("utf-8"))["milliseconds"]
    assert timed.keys() == {"R-0", "RGL-0"}
    assert {name: row["decode_ms"] for name, row in report.items()} == {"checkpoint": None, **timed, "GL-0": None}

    # Without its weights, which are to be timed, a variant is not finished.
    (tmp_path / "variants" / "RGL-0.safetensors").unlink()
    anew = call(place, tmp_path, "--only", "RGL-0", "--rounds", 0)
    assert (anew.exit_code, trained) == (0, ["GL-0", "RGL-0"])
    assert anew.stdout == more.stdout

    # Results of other options are not mixed in.
    before = (tmp_path / "variants" / "R-0.json").read_bytes()
    other = call(place, tmp_path, "--only", "R-0", "--batch", 1)
    message = "was made from another checkpoint, other pictures or with other options; choose another folder"
    assert (other.exit_code, other.stdout) == (1, "")
    assert other.stderr == f"dcacodec: error: {tmp_path / 'variants' / 'R-0.json'} {message}\n"
    assert (tmp_path / "variants" / "R-0.json").read_bytes() == before
    (tmp_path / "variants" / "R-0.json").write_bytes(before[:-20])
    damaged = call(place, tmp_path, "--only", "R-0")
    assert damaged.exit_code == 1
    assert damaged.stderr.startswith(f"dcacodec: error: {tmp_path / 'variants' / 'R-0.json'}: damaged; ")
    (tmp_path / "variants" / "R-0.json").write_bytes(before)

    # One that is not asked for is reported with the others, and spoils nothing where it does not belong to them.
    alone = call(place, tmp_path, "--only", "GL-0", "--rounds", 0)
    assert (alone.exit_code, alone.stdout) == (0, more.stdout)
    held = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for changed in (("--only", "RL-0", "--batch", 1), ("--only", "RL-0", "--cached", 3)):
        mixed = call(place, tmp_path, *changed)
        assert (mixed.exit_code, mixed.stdout) == (1, "")
        assert mixed.stderr.endswith(f"{message}\n")
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == held


DAMAGES: list[Callable[[dict[str, Any]], object]] = [
    lambda it: it.pop("made_from"),
    lambda it: it.pop("training"),
    lambda it: it.pop("seed"),
    lambda it: it.update(name="RGL-0"),
    lambda it: it.update(parameters={}),
    lambda it: it.update(qualities=[]),
    lambda it: it["qualities"].pop(),
    lambda it: it["qualities"].reverse(),
    lambda it: it["qualities"][2].pop("z_r"),
    lambda it: it["qualities"][2].pop("surprise_4"),
    lambda it: it["qualities"][2].update(bpp=0),
    lambda it: it["qualities"][2].update(bpp=math.nan),
    lambda it: it["qualities"][2].update(bpp=10**400),
    lambda it: it["qualities"][2].update(psnr="much"),
    lambda it: it["training"].update(seconds=None),
    lambda it: it["training"].update(curve=[[5]]),
]


def whole_record() -> dict[str, Any]:
    return {"made_from": {"options": 1}, **record(Variant("R"), 1.0)}


def read(path: Path) -> dict[str, Any] | None:
    return read_record(path, {"options": 1}, {"name": "R-0", **variants.describe(Variant("R"))})


@pytest.mark.parametrize("damage", [*DAMAGES, "{", "[" * 100_000, "[]", "{}"])
def test_damaged_records_are_reported_by_name(damage: str | Callable[[Any], object], tmp_path: Path) -> None:
    path = tmp_path / "R-0.json"
    if not isinstance(damage, str):
        content = whole_record()
        path.write_text(json.dumps(content), "utf-8")
        assert read(path) == content
        damage(content)
        damage = json.dumps(content)
    path.write_text(damage, "utf-8")
    with pytest.raises(TrainingError) as error:
        read(path)
    assert str(path) in one_line(error)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[" * 100_000,
        "[]",
        '{"made_from": {}}',
        '{"milliseconds": {"R-0": []}}',
        '{"made_from": {"sides": [64], "weights": ["R-0"]}, "milliseconds": {"R-0": {"64": 1}}}',
    ],
)
def test_damaged_timings_are_measured_anew(
    text: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "TIMED_SIDES", (64,))
    weights = {"R-0": tmp_path / "R-0.safetensors"}
    weights["R-0"].write_bytes(export(fresh_model(drawn_model(TINY, 1), Variant("R"))))
    path = tmp_path / "timing.json"
    first = run._timing(path, weights, VALID[0], 1, quiet=True)
    assert run._timing(path, weights, VALID[0], 1, quiet=True) == first
    path.write_text(text, "utf-8")
    assert run._timing(path, weights, VALID[0], 1, quiet=True).keys() == {"R-0"}
    assert json.loads(path.read_text("utf-8"))["milliseconds"].keys() == {"R-0"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--only", "R-0,RR"], 2, "Invalid value for '--only': RR is not one of R-0, RGL-0, R-1,"),
        (["--crop", "320"], 2, "Invalid value for '--crop': must be 256 at most."),
        (["--crop", "100"], 2, "Error: the crop must be a multiple of 64, not 100."),
        (["--validation", "nowhere"], 1, "dcacodec: error: nowhere: No such file or directory"),
    ],
)
def test_bad_options(arguments: list[str], code: int, message: str, place: Path, tmp_path: Path) -> None:
    result = call(place, tmp_path / "out", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_pictures_that_are_too_small(place: Path, tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    Image.fromarray(photo(200, 63)).save(tmp_path / "small" / "a.png")
    result = call(place, tmp_path / "out", "--validation", str(tmp_path / "small"), "--validation-pictures", "9")
    assert result.stderr == "dcacodec: error: validation pictures must have at least 64x64 pixels\n"


def test_the_config_of_a_variant_differs_in_nothing_else(frozen: DCA) -> None:
    config: DCAConfig = fresh_model(frozen, Variant("LGR", adaptive=False)).config
    assert config == replace(TINY, order="LGR", adaptive=False)
