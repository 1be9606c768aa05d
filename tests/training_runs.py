"""Short runs of training on the tiny network, and what they leave: what the tests of training share."""

import io
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dcacodec.cli.app import cli
from dcacodec.training.options import TrainingOptions
from dcacodec.training.trainer import Trainer

TESTS = Path(__file__).parent
CPU = torch.device("cpu")
ONE_STEP = ("--preset", "tiny", "--steps", "1", "--crop", "64", "--quiet")
QUICK = TrainingOptions(preset="tiny", steps=6, batch=2, crop=64, warm_up=2, precision="float32", seed=3)


def png(pixels: NDArray[np.uint8], **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", **options)
    return buffer.getvalue()


def call(*arguments: str | Path | float) -> Result:
    return CliRunner().invoke(cli, [str(each) for each in arguments], prog_name="dcacodec")


def state_of(folder: Path) -> dict[str, Any]:
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert isinstance(state, dict)
    return state


def log_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text("utf-8").splitlines()]


def same(left: object, right: object) -> bool:
    """Equality to the bit of nested dictionaries and lists with tensors in them."""
    if isinstance(left, Tensor):
        return isinstance(right, Tensor) and left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, dict):
        return isinstance(right, dict) and left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return isinstance(right, list | tuple) and len(left) == len(right) and all(map(same, left, right))
    return left == right


def stop_at(step: int, stop: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Call `stop` when the optimiser step with this number is about to be done."""
    honest = Trainer.train_step

    def watched(self: Trainer, picture: Tensor, position: Tensor, learning_rate: float) -> dict[str, float]:
        if self.step == step:
            stop()
        return honest(self, picture, position, learning_rate)

    monkeypatch.setattr(Trainer, "train_step", watched)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def read_parts(folder: Path) -> dict[str, Any]:
    """The state in a folder of parts, joined by hand; nothing else may be there but logs and curves."""
    index = json.loads((folder / "checkpoint.pt.json").read_text("utf-8"))
    names = [part["file"] for part in index["parts"]]
    others = {each.name for each in folder.iterdir()} - {"checkpoint.pt.json", "log.jsonl"}
    assert others == set(names)
    state = torch.load(io.BytesIO(b"".join((folder / name).read_bytes() for name in names)), weights_only=True)
    assert isinstance(state, dict)
    return state


def environment() -> dict[str, str]:
    """For a process that finds the package and the tests, one thread and no GPU."""
    path = [str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1"}
