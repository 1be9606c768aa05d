"""Training: the curves that are drawn from the log."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from told import assert_fails, one_line
from training_runs import ONE_STEP, QUICK, call, state_of

from dcacodec.errors import TrainingError
from dcacodec.training.curves import draw_curves, write_curves
from dcacodec.training.log import read_log
from dcacodec.training.loop import train

pytestmark = pytest.mark.usefixtures("one_thread", "_tiny_on_the_processor", "_usual_signals")


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


def test_curves_without_matplotlib_are_refused_before_training(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = call("train", pictures, "--run", tmp_path / "run", *ONE_STEP, "--plot")
    assert_fails(result, "Matplotlib", "dcacodec[bench]")
    assert not (tmp_path / "run").exists()
