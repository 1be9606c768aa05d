"""Training: options that make no run, and the help."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from told import one_line
from training_runs import QUICK, call

from dcacodec.cli.app import cli
from dcacodec.training.options import TrainingOptions

pytestmark = pytest.mark.usefixtures("one_thread", "_tiny_on_the_processor", "_usual_signals")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"crop": 100}, "100"),
        ({"crop": 0}, " 0"),
        ({"final_crop": 100}, "100"),
        ({"final_share": 1.5}, "1.5"),
        ({"decay_share": 0.0}, "0.0"),
        ({"decay_share": 1.5}, "1.5"),
        ({"steps": 0}, "steps"),
        ({"minutes": -1.0}, "steps"),
        ({"batch": 0}, "batch"),
        ({"warm_up": 0}, "warm-up"),
        ({"precision": "half"}, "'half'"),
    ],
)
def test_options_that_make_no_run(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError) as caught:
        replace(QUICK, **change)
    assert named in one_line(caught)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--crop", 100, "--steps", 1], ["crop", "100"]),
        (["--crop", 64], ["minutes", "steps"]),
        (["--steps", -1], ["'--steps'", "-1"]),
        (["--steps", 1, "--decay-share", 0], ["'--decay-share'", "0.0"]),
        (["--steps", 1, "--decay-share", "nan"], ["decay share", "nan"]),
        (["--max-minutes", -1], ["'--max-minutes'", "-1"]),
        (["--batch", 0], ["'--batch'", "0"]),
        (["--seed", -1], ["'--seed'", "-1"]),
        (["--threads", 10**11], ["'--threads'", "100000000000"]),
        (["--steps", 1, "--learning-rate", "nan"], ["learning rate", "nan"]),
        (["--steps", 1, "--learning-rate", "inf"], ["learning rate", "inf"]),
        (["--steps", 1, "--ema", "nan"], ["ema", "nan"]),
        (["--max-minutes", "nan"], ["minutes", "nan"]),
        (["--steps", 1, "--save-every", "nan"], ["save every", "nan"]),
        (["--steps", 1, "--part-size", "x"], ["'--part-size'", "'x'"]),
        (["--preset", "x"], ["'--preset'", "'x'"]),
        (["--resume", "none"], ["'--resume'", "'none'"]),
    ],
)
def test_bad_options(arguments: list[Any], named: list[str], pictures: Path, tmp_path: Path) -> None:
    result = call("train", pictures, "--run", tmp_path / "run", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    error = result.stderr.splitlines()[-1]
    assert error.startswith("Error: ") and all(each in error for each in named), error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["train", "publish"])
def test_help(name: str) -> None:
    result = call(name, "--help")
    assert (result.exit_code, result.stderr) == (0, "")
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    for option in command.params:
        assert option.param_type_name == "argument" or option.opts[0] in result.stdout
    assert f"Examples:\n    dcacodec {name} " in result.stdout


def test_squared_error_alone_is_the_tuning_psnr() -> None:
    with pytest.raises(ValueError, match="psnr"):
        TrainingOptions(steps=1, tune="psnr", mse_share=0.5)
