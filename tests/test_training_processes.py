"""Training in several processes."""

import math
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import TINY, photo
from torch import Tensor
from training_runs import CPU, TESTS, environment, log_of, png, same, state_of
from training_worker import BATCH, OPTIONS
from training_worker import steps as worker_steps
from training_worker import tensors as all_tensors

from dcacodec.training.trainer import Trainer
from dcacodec.training.workers import Workers

pytestmark = pytest.mark.usefixtures("one_thread", "_tiny_on_the_processor", "_usual_signals")


def distance(left: dict[str, Tensor], right: dict[str, Tensor], part: str) -> float:
    """Euclidean, over all tensors of a part."""
    assert left.keys() == right.keys()
    return math.sqrt(sum((left[k] - right[k]).double().square().sum().item() for k in left if k.startswith(part)))


@pytest.mark.slow
@pytest.mark.usefixtures("_no_noise")
def test_two_processes_train_as_one_with_both_batches(pictures: Path, tmp_path: Path) -> None:
    shutil.copytree(pictures, tmp_path / "pictures")
    (tmp_path / "pictures" / "large.png").write_bytes(png(photo(140, 128, 9)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(TESTS / "training_worker.py"), str(tmp_path)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr

    def of(name: str) -> dict[str, Tensor]:
        found = torch.load(tmp_path / f"{name}.pt", weights_only=True)
        assert isinstance(found, dict)
        return found

    first, second = of("steps-0"), of("steps-1")
    assert same(first, second)
    trainer = worker_steps(Workers(), tmp_path, slice(None))
    alone, half = all_tensors(trainer), all_tensors(worker_steps(Workers(), tmp_path, slice(0, None, 2)))
    assert trainer.pixels == 3 * BATCH * 64 * 64
    fresh = Trainer(OPTIONS, tmp_path, TINY, CPU)
    fresh.start([photo(96, 128, n) for n in range(6)])
    start = {name: value for name, value in all_tensors(fresh).items() if name in alone} | {
        name: torch.zeros_like(value) for name, value in alone.items() if name.startswith("grad.")
    }
    for part in ("grad.", "model.", "average."):
        moved = distance(alone, start, part)
        assert moved > 0.01
        assert distance(alone, first, part) < 1e-3 * moved, part
        assert distance(alone, half, part) > 0.05 * moved, part  # which is what no averaging would give

    # A whole run, which the signal that one process got ended at the same step in both.
    left, right = of("run-0"), of("run-1")
    assert left.pop("shapes") == right.pop("shapes") == [(4, 64, 64, 3)] * 2 + [(1, 128, 128, 3)] * 2
    for drawn in ("picture", "noise"):
        assert not torch.equal(left.pop(drawn), right.pop(drawn))
    assert same(left, right)
    assert left.pop("number").item() == signal.SIGTERM
    assert [(tmp_path / f"told-{rank}").read_text("utf-8") for rank in (0, 1)] == [
        f"interrupted at step 4; {held}, and the same command resumes the run"
        for held in (f"{tmp_path / 'run' / 'checkpoint.pt'} holds it", "the first process saves it")
    ]
    state = state_of(tmp_path / "run")
    assert (state["step"], state["pixels"]) == (4, 4 * 2 * 4 * 64 * 64)
    for part in ("model", "average"):
        assert same(state[part], {name[len(part) + 1 :]: left[name] for name in left if name.startswith(f"{part}.")})
    lines = log_of(tmp_path / "run")
    assert [(line["kind"], line["step"]) for line in lines] == [("start", 0), ("train", 4), ("interrupted", 4)]
    assert lines[0]["processes"] == 2
