"""Training: signals, and what an interrupt leaves."""

import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from training_runs import ONE_STEP, QUICK, call, environment, interrupt, log_of, same, state_of, stop_at
from waiting import wait_for

from dcacodec.training.loop import train
from dcacodec.training.signals import Interrupted, Signals
from dcacodec.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread", "_tiny_on_the_processor", "_usual_signals")


@pytest.mark.parametrize("name", Signals.NAMES)
def test_a_signal_waits_and_a_second_one_does_not(name: str) -> None:
    number = getattr(signal, name)
    before = signal.signal(number, signal.default_int_handler)
    try:
        with Signals() as signals:
            assert signals.number == 0
            os.kill(os.getpid(), number)
            assert signals.number == number
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
        assert signal.getsignal(number) is signal.default_int_handler
        signal.signal(number, signal.SIG_IGN)
        with Signals() as signals:
            os.kill(os.getpid(), number)  # as with nohup
            assert signals.number == 0
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


@pytest.mark.slow
def test_training_outside_the_main_thread(uninterrupted: dict[str, Any], pictures: Path, tmp_path: Path) -> None:
    thread = threading.Thread(target=train, args=([str(pictures)], tmp_path, QUICK), kwargs={"quiet": True})
    thread.start()
    thread.join()
    assert same(state_of(tmp_path)["average"], uninterrupted["average"])


@pytest.mark.slow
def test_an_interrupt_names_the_index_of_parts(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any) -> dict[str, float]:
        interrupt()
        return {"loss": 0.0}

    monkeypatch.setattr(Trainer, "validate", interrupted)
    with pytest.raises(Interrupted, match=r"step 6\b.*/checkpoint\.pt\.json "):
        train([str(pictures)], tmp_path, replace(QUICK, part_size=30_000), [str(pictures)], quiet=True)


@pytest.mark.slow
def test_an_interrupt_does_not_wait_for_a_validation(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Trainer.validate
    qualities: list[int] = []

    def watched(self: Trainer, held_out: Any, quality: int) -> dict[str, Any]:
        qualities.append(quality)
        if len(qualities) == 9:  # in the second validation
            interrupt()
        return honest(self, held_out, quality)

    monkeypatch.setattr(Trainer, "validate", watched)
    options = replace(QUICK, validate_every=0.0)
    with pytest.raises(Interrupted, match=r"step 3\b.*/checkpoint\.pt "):
        train([str(pictures)], tmp_path, options, [str(pictures)], validation_pictures=1, quiet=True)
    kinds = [(line["kind"], line["step"]) for line in log_of(tmp_path)]
    assert kinds == [("start", 0), ("validation", 1), ("train", 3), ("interrupted", 3)]
    assert len(qualities) == 9
    assert state_of(tmp_path)["step"] == 3


def assert_interrupted(code: int, message: str, number: int, folder: Path) -> None:
    """What a signal leaves behind, on stderr and in the run's folder."""
    state = state_of(folder)
    assert code == 128 + number
    assert re.fullmatch(r"dcacodec: \S.*\n", message), message
    assert f"step {state['step']}" in message and str(folder / "checkpoint.pt") in message
    assert sorted(each.name for each in folder.iterdir()) == ["checkpoint.pt", "log.jsonl"]
    last = log_of(folder)[-1]
    assert (last["kind"], last["step"]) == ("interrupted", state["step"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_command(
    number: signal.Signals, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(2, lambda: os.kill(os.getpid(), number), monkeypatch)
    result = call("train", pictures, "--run", tmp_path, *ONE_STEP, "--steps", 1000)
    assert result.stdout == ""
    assert_interrupted(result.exit_code, result.stderr, number, tmp_path)
    assert state_of(tmp_path)["step"] == 3


@pytest.mark.slow
def test_a_signal_to_a_process_of_its_own(pictures: Path, tmp_path: Path) -> None:
    """At no step in particular."""
    script = (
        "from dcacodec.network.config import PRESETS\n"
        "from tiny import TINY\n"
        "PRESETS['tiny'] = TINY\n"
        "from dcacodec.cli.app import main\n"
        "main()\n"
    )
    arguments = ["train", str(pictures), "--run", str(tmp_path), *ONE_STEP, "--steps", "1000000", "--save-every", "0"]
    command = [sys.executable, "-c", script, *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment(), text=True) as process:
        wait_for((tmp_path / "checkpoint.pt").exists)
        process.send_signal(signal.SIGTERM)
        _, message = process.communicate(timeout=60)
    assert_interrupted(process.returncode, message, signal.SIGTERM, tmp_path)
