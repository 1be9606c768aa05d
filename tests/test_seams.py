"""The benchmark of the seams between slices. What it finds of the published weights is not for tests to judge."""

from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner
from test_benchmarks import script as benchmark
from tiny import WEIGHTS


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return benchmark("seams")


def test_differences_across_lines(script: ModuleType) -> None:
    """A step of 3 where slices meet, in one of two directions, and of 1 at a line inside."""
    plane = np.zeros((512, 768, 3))
    plane[:, 256:] += 3
    plane[:, 512:] += 3
    plane[:, 16:] += 1
    at_border, elsewhere = script.across_lines(plane)
    assert at_border == pytest.approx(4 * 3 / 7)  # four sides of slices above each other, three beside
    assert elsewhere == pytest.approx(2 * 1 / (45 * 2 + 30 * 3))


def test_offsets_along_lines(script: ModuleType) -> None:
    """What changes its sign along a border is no offset."""
    plane = np.zeros((512, 768, 3))
    plane[:256, 256:] += 4
    plane[4:124, 512:] += 5
    plane[124:244, 512:] -= 5
    at_border, elsewhere = script.along_lines(plane)
    assert at_border == pytest.approx((3 * 4**2 / 7) ** 0.5)  # one side beside, two below
    assert elsewhere == 0


def test_quality_in_slices(script: ModuleType) -> None:
    """An error of 1 everywhere, but of 2 in one slice of six."""
    error, one_error = np.ones((512, 768, 3)), np.ones((512, 768, 3))
    error[256:, :256] = 2
    psnr, cost, worst = script.levels_of_quality(error, one_error)
    decibels = [10 * np.log10(255**2 / square) for square in (9 / 6, 1.0, 4.0)]
    assert (psnr, psnr + cost, worst) == pytest.approx(tuple(decibels))


def test_what_would_be_seen_is_reported(script: ModuleType) -> None:
    sound = script.Steps(0.4, 0.45, 0.4, 0.4, 0.2, 0.25, 0.2, 0.25, 40.0, 0.02, 38.0)
    assert script.faults([sound] * 3, [sound] * 2) == []
    bad = {
        "steps": {"border": 0.52},
        "offsets": {"offset_border": 0.4},
        "a slice": {"worst": 18.0},
        "slices cost": {"cost": 0.2},
    }
    for name, change in bad.items():
        found = script.faults([sound, replace(sound, **change)], [sound])
        assert len(found) == 1 and name in found[0]
    assert len(script.faults([sound, replace(sound, border=0.56), replace(sound, border=0.3)], [sound])) == 1
    for change in ({"offset_border": 0.5}, {"cost": 0.2}):
        assert len(script.faults([sound], [replace(sound, **change)])) == 1


@pytest.mark.slow
def test_the_command(script: ModuleType) -> None:
    """With a network that was never trained, and does not pass."""
    arguments = [str(WEIGHTS), "--qualities", "50", "--check"]
    result = CliRunner().invoke(script.main, arguments, catch_exceptions=False)
    lines = [line for line in (result.stdout + result.stderr).splitlines() if "one slice" in line]
    assert [line.split()[0] for line in lines[:10]] == [*script.SMOOTH, "smooth", *script.PHOTOGRAPHS, "photographs"]
    assert result.exit_code == 1 and "a slice of a smooth picture has " in result.stderr
