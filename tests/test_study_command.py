"""The study: the command, that it does nothing twice, and options that it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image
from study_runs import CPU, OPTIONS, TRAIN, VALID
from tiny import TINY, drawn_model, photo

from dcacodec.network.dca import DCA
from dcacodec.training.trainer import Trainer
from dcacodec.weights.export import export
from research.study import run
from research.study.__main__ import study as command
from research.study.variants import Variant, fresh_model, train_variant

pytestmark = pytest.mark.usefixtures("one_thread", "_on_the_processor")


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
def test_damaged_timings_are_measured_anew(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
