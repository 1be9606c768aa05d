"""Parts of a picture: regions and scales, and the progress over slices."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import assert_fails, call

from dcacodec.cli.streams import progress_bar
from dcacodec.images.reading import read_picture

pytestmark = pytest.mark.usefixtures("pillow_limit")


def test_a_region_and_a_smaller_picture(coded: Path, tmp_path: Path) -> None:
    targets = [tmp_path / name for name in ("whole.png", "part.png", "small.png", "small-part.png")]
    parts = [[], ["--region", "40,10,70,33"], ["--scale", "1/4"], ["--region", "40,10,70,33", "--scale", "1/4"]]
    for target, options in zip(targets, parts, strict=True):
        assert call("decode", *options, coded, target).exit_code == 0
    whole, part, small, small_part = (read_picture(target).pixels for target in targets)
    assert (whole.shape, small.shape) == ((90, 130, 3), (23, 33, 3))
    np.testing.assert_array_equal(part, whole[10:43, 40:110])
    np.testing.assert_array_equal(small_part, small[2:11, 10:28])


def test_a_region_outside_of_the_picture(coded: Path, tmp_path: Path) -> None:
    message = f"{coded}: the region 100,10,31,5 is not inside the picture of 130x90 pixels"
    assert_fails(call("decode", "--region", "100,10,31,5", coded, tmp_path / "out.png"), 1, message)
    assert list(tmp_path.iterdir()) == []


NO_REGIONS = ["", "1,2,3", "1,2,3,4,5", "1,2,3,-4", "1,2,3,x", "1,2,3,\u0664", "1;2;3;4", "1,2,3," + "9" * 5000]


@pytest.mark.parametrize("text", NO_REGIONS, ids=range(len(NO_REGIONS)))
def test_a_region_that_is_not_four_numbers(text: str, coded: Path) -> None:
    result = call("decode", "--region", text, coded, "-")
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"Invalid value for '--region': {text!r} is not X,Y,W,H, four whole numbers from 0 up." in result.stderr


def test_a_scale_that_there_is_not(coded: Path) -> None:
    result = call("decode", "--scale", "1/3", coded, "-")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'1/3' is not one of '1', '1/2', '1/4', '1/8'" in result.stderr


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "total", "shown"), [(Terminal, 3, True), (Terminal, 1, False), (io.StringIO, 3, False)]
)
def test_progress_is_shown_for_several_slices_on_a_terminal(
    stream: type[io.StringIO], total: int, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = stream()
    monkeypatch.setattr(sys, "stderr", stderr)
    with progress_bar() as progress:
        for done in range(total + 1):
            progress(done, total)
    assert ("0/3" in stderr.getvalue()) == shown
    assert shown or stderr.getvalue() == ""
