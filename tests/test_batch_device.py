"""Batches: which device, and how many processes on it."""

from pathlib import Path

import pytest
from batch_runs import call, fill
from pretend_gpu import pretended

from dcacodec.batch.plan import Job
from dcacodec.batch.work import Encoding, Outcome, Outcomes
from dcacodec.cli.batch import _resolved


@pytest.mark.parametrize(
    ("options", "works", "processes", "device"),
    [
        ((), True, 1, "cuda"),
        ((), False, 3, "cpu"),
        (("--device", "cpu"), True, 3, "cpu"),
        (("--device", "cuda", "--jobs", "2"), True, 2, "cuda"),
    ],
)
def test_a_gpu_has_one_process_if_no_number_is_asked_for(
    options: tuple[str, ...],
    works: bool,
    processes: int,
    device: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A driver is there; the GPU may be one that PyTorch cannot use."""
    asked: list[tuple[str, int]] = []

    def run(jobs: tuple[Job, ...], make: Encoding, *, processes: int, threads: int, retried: object) -> Outcomes:
        asked.append((make.device, processes))
        return (Outcome(job, bytes_in=1, bytes_out=1) for job in jobs)

    monkeypatch.setattr("dcacodec.batch.local.run_in_processes", run)
    monkeypatch.setattr("dcacodec.cli.batch._GPU_DEVICE_FILES", (str(tmp_path),))
    monkeypatch.setattr("dcacodec.cli.batch.cores", lambda: 3)
    fill(tmp_path, *(f"in/{number}.png" for number in range(5)))
    with pretended():
        monkeypatch.setattr("dcacodec.network.device._device_problem", lambda index: "" if works else "no")
        result = call(*options, tmp_path / "in", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert asked == [(device, processes)]


def test_where_there_is_no_driver_pytorch_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcacodec.cli.batch._GPU_DEVICE_FILES", (str(tmp_path / "none"),))
    monkeypatch.setattr("dcacodec.network.device.choose_device", lambda name: pytest.fail("asked"))
    assert _resolved("auto") == "auto"
