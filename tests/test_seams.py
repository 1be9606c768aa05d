"""No line shows where slices meet: the published weights on smooth pictures and on a photograph.

`benchmarks/seams.py` prints the same for more pictures and qualities.
"""

from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from test_benchmarks import script as benchmark
from tiny import WEIGHTS

from dcacodec.codec.codec import Codec
from dcacodec.format.reader import parse
from dcacodec.images.picture import Picture
from dcacodec.tiling.seams import smooth

LEVEL = 0.1
"""What cannot be seen, of 0..255."""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return benchmark("seams")


@pytest.fixture(scope="module")
def small() -> Codec:
    return Codec.load("small", device="cpu")


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


def test_no_lines_in_smooth_pictures(script: ModuleType, small: Codec) -> None:
    found = [
        script.steps(small, script.SMOOTH[name](), quality)
        for name in ("waves", "radial", "sky")
        for quality in (20, 50, 80)
    ]
    mean = script.Steps.mean(found)
    assert mean.border <= mean.elsewhere
    assert mean.offset_border <= mean.offset_elsewhere
    assert max(each.border - each.elsewhere for each in found) < LEVEL


@pytest.fixture(scope="module")
def photographs(script: ModuleType, small: Codec) -> list[tuple[bytes, NDArray[np.float64]]]:
    """Coded in slices, and decoded from one slice: they have edges of their own, which cancel in the difference."""
    return [
        (
            small.encode(Picture(pixels), quality=quality, slice_log2=script.SLICE_LOG2),
            small.decode(small.encode(Picture(pixels), quality=quality, slice_log2=0)).pixels.astype(float),
        )
        for pixels in (make() for make in script.PHOTOGRAPHS.values())
        for quality in (20, 80)
    ]


def offset(
    script: ModuleType, small: Codec, photographs: list[tuple[bytes, NDArray[np.float64]]], added: float = 0.0
) -> float:
    """Along borders, of what slices do to photographs, and of every other slice being so much brighter."""
    y, x = np.mgrid[: script.HEIGHT, : script.WIDTH] >> script.SLICE_LOG2
    brighter = added * ((y + x) % 2)[..., None]
    return float(
        np.mean([script.along_lines(small.decode(data).pixels - one + brighter)[0] for data, one in photographs])
    )


def test_no_lines_in_photographs(
    script: ModuleType, small: Codec, photographs: list[tuple[bytes, NDArray[np.float64]]]
) -> None:
    """Half a level would be found."""
    assert offset(script, small, photographs) < 5 * LEVEL < offset(script, small, photographs, added=0.5)


@pytest.mark.parametrize("times", [-2, 4])
def test_smoothing_does_photographs_no_harm(
    times: int,
    script: ModuleType,
    small: Codec,
    photographs: list[tuple[bytes, NDArray[np.float64]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There is next to nothing to smooth there. The wrong way, or too much of it, would be found."""

    def with_smoothing(amount: int) -> float:
        def changed(latent: torch.Tensor, *others: Any) -> torch.Tensor:
            return latent + amount * (smooth(latent.clone(), *others) - latent)

        monkeypatch.setattr("dcacodec.codec.decoder.smooth", changed)
        return offset(script, small, photographs)

    without = with_smoothing(0)
    assert with_smoothing(1) < 1.1 * without < with_smoothing(times)


def test_what_the_smoothing_is_for(script: ModuleType, small: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it there are lines in smooth pictures: the test above would find them."""

    def as_it_is(latent: torch.Tensor, *others: object) -> torch.Tensor:
        return latent

    source = script.SMOOTH["sky"]()
    data = small.encode(Picture(source), quality=20, slice_log2=8)
    assert len(parse(data).slices) == 6
    monkeypatch.setattr("dcacodec.codec.decoder.smooth", as_it_is)
    border, elsewhere = script.across_lines(small.decode(data).pixels.astype(float))
    assert border > elsewhere + LEVEL


def test_the_command(script: ModuleType) -> None:
    result = CliRunner().invoke(script.main, [str(WEIGHTS), "--qualities", "50"], catch_exceptions=False)
    lines = [line for line in (result.stdout or result.stderr).splitlines() if "one slice" in line]
    assert [line.split()[0] for line in lines] == [*script.SMOOTH, "smooth", *script.PHOTOGRAPHS, "photographs"]
