"""The check that a GPU computes the same as the CPU: it finds differences, and runs where there is a GPU."""

import os
import subprocess
import sys
from pathlib import Path

import cuda_exactness
import pytest
import torch
from tiny import WEIGHTS

from dcacodec.weights.reader import read_weights

CPU = torch.device("cpu")
TESTS = Path(__file__).parent


@pytest.mark.slow
def test_the_gpu_check_itself() -> None:
    """The check that runs on machines with a GPU, here between the CPU and the CPU; and it finds a difference."""
    assert cuda_exactness.compare(read_weights(WEIGHTS), read_weights(WEIGHTS), CPU) > 90_000
    other = read_weights(WEIGHTS)
    other.network.entropy.head.bias[5] += 2.0**-5
    with pytest.raises(AssertionError):
        cuda_exactness.compare(read_weights(WEIGHTS), other, CPU)


def test_the_gpu_check_of_refinement_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    same = read_weights(WEIGHTS), read_weights(WEIGHTS), CPU
    cuda_exactness.check_short_products(*same)
    cuda_exactness.check_refinement(*same)
    monkeypatch.setattr(
        "dcacodec.codec.encoder.refine", lambda network, latent, inside, *_: latent[:, inside[0], inside[1]]
    )
    with pytest.raises(AssertionError):
        cuda_exactness.check_refinement(*same)


@pytest.mark.slow
def test_cuda_computes_the_same(with_gpus: dict[str, str]) -> None:
    """In a process of its own: this one sees no GPU."""
    path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    command = [sys.executable, str(TESTS / "cuda_exactness.py")]
    result = subprocess.run(
        command, env=with_gpus | {"PYTHONPATH": path}, capture_output=True, text=True, check=False, timeout=1200
    )
    if result.stderr == "no CUDA device was found\n":
        pytest.skip("there is no CUDA device")
    assert result.returncode == 0, result.stderr
    assert "numbers equal to the CPU's" in result.stdout
