"""Training: the log, and what is printed while a run lasts."""

import io
import json
import math
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import TINY
from training_runs import CPU, ONE_STEP, QUICK, call, log_of

from dcacodec.errors import TrainingError
from dcacodec.training import loop
from dcacodec.training.data import load_pictures
from dcacodec.training.log import read_log
from dcacodec.training.loop import train
from dcacodec.training.options import TrainingOptions
from dcacodec.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread", "_tiny_on_the_processor", "_usual_signals")


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


def test_a_torn_line_of_the_log_is_not_gone_on_with(tmp_path: Path) -> None:
    trainer = Trainer(TrainingOptions(steps=1), tmp_path, TINY, torch.device("cpu"))
    (tmp_path / "log.jsonl").write_text('{"kind": "start", "pixels": 0}\n{"kind": "tr', "utf-8")
    trainer.log("end")
    assert [line["kind"] for line in read_log(tmp_path / "log.jsonl")] == ["start", "end"]


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
