"""Training: what a validation measures and tells."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import TINY, photo
from told import assert_fails
from training_runs import CPU, ONE_STEP, QUICK, call

from dcacodec.errors import TrainingError
from dcacodec.format.container import STREAMS
from dcacodec.metrics.ssimulacra2 import ssimulacra2
from dcacodec.training.trainer import Trainer
from dcacodec.training.validation import Validation

pytestmark = pytest.mark.usefixtures("one_thread", "_tiny_on_the_processor", "_usual_signals")


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


def test_a_comparison_needs_validation_pictures(pictures: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps({"kind": "validation", "qualities": rows(1.0)}), "utf-8")
    refused = call("train", pictures, "--run", tmp_path / "run", *ONE_STEP, "--against", log)
    assert_fails(refused, "validation")
