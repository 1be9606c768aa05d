"""No line shows where slices meet: the published weights on smooth pictures and on a photograph.

`benchmarks/seams.py` prints the same for more pictures and qualities.
"""

from types import ModuleType

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from test_benchmarks import script as benchmark
from tiny import WEIGHTS

from dcacodec.codec import Codec
from dcacodec.container import parse
from dcacodec.images import Picture

LEVEL = 0.1
"""What cannot be seen, of 0..255."""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return benchmark("seams")


@pytest.fixture(scope="module")
def small() -> Codec:
    return Codec.load("small", "cpu")


def test_differences_across_lines(script: ModuleType) -> None:
    """A step of 3 where slices meet, in one of two directions, and of 1 at a line inside."""
    plane = np.zeros((512, 768, 3))
    plane[:, 256:] += 3
    plane[:, 512:] += 3
    plane[:, 16:] += 1
    at_border, elsewhere = script.across_lines(plane)
    assert at_border == pytest.approx(2 * 3 / 3)  # two columns and one row of borders
    assert elsewhere == pytest.approx(1 / (47 - 2 + 31 - 1))


def test_no_lines_in_smooth_pictures(script: ModuleType, small: Codec) -> None:
    found = [
        script.steps(small, script.SMOOTH[name](), quality)
        for name in ("waves", "radial", "sky")
        for quality in (20, 50, 80)
    ]
    mean = script.Steps.mean(found)
    assert mean.border <= mean.elsewhere
    assert mean.error_border <= mean.error_elsewhere
    assert max(each.border - each.elsewhere for each in found) < LEVEL


def test_no_lines_in_photographs(script: ModuleType, small: Codec) -> None:
    """They have edges of their own, so the same lines of the picture in one slice tell what to expect."""
    found = script.Steps.mean(
        [script.steps(small, make(), quality) for make in script.PHOTOGRAPHS.values() for quality in (20, 80)]
    )
    assert found.border / found.one_border < 1.02 * found.elsewhere / found.one_elsewhere


def test_what_the_smoothing_is_for(script: ModuleType, small: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it there are lines in smooth pictures: the test above would find them."""

    def as_it_is(latent: torch.Tensor, *others: object) -> torch.Tensor:
        return latent

    source = script.SMOOTH["sky"]()
    data = small.encode(Picture(source), 20, slice_log2=8)
    assert len(parse(data).slices) == 6
    monkeypatch.setattr("dcacodec.codec.smooth", as_it_is)
    border, elsewhere = script.across_lines(small.decode(data).pixels.astype(float))
    assert border > elsewhere + LEVEL


def test_the_command(script: ModuleType) -> None:
    result = CliRunner().invoke(script.main, [str(WEIGHTS), "--qualities", "50"], catch_exceptions=False)
    lines = [line for line in (result.stdout or result.stderr).splitlines() if "one slice" in line]
    assert [line.split()[0] for line in lines] == [*script.SMOOTH, "smooth", *script.PHOTOGRAPHS, "photographs"]
