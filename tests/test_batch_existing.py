"""Batches: the files that are there already, and how many of them were made otherwise than asked for."""

import json
import os
from pathlib import Path

import pytest
from batch_runs import call, fill
from tiny import photo

from dcacodec import Codec, Picture
from dcacodec.batch.existing import count_larger, count_other_quality, count_other_weights
from dcacodec.format.container import Container, Header, Slice
from dcacodec.format.writer import pack


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec.load("small", device="cpu")


def test_files_that_are_too_large_are_counted(tmp_path: Path) -> None:
    """By their own sizes and those of their pictures; what is none does not count."""
    files = [tmp_path / name for name in ("8", "16", "no picture", "missing")]
    for path in files[:2]:
        path.write_bytes(pack(Container(Header(bytes(4), int(path.name), 8, "RGB", 50), (Slice((b"",) * 7, 0),))))
    files[2].write_bytes(b"\x89PNG" * 100)
    size = files[0].stat().st_size
    assert files[1].stat().st_size == size
    assert count_larger(files, lambda header: size) == 0
    assert count_larger(files, lambda header: size - header.width // 16) == 1
    assert count_larger(files, lambda header: size - 1) == 2


def test_files_of_another_quality_are_counted(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("30", "90", "no picture", "empty", "missing")]
    for path in files[:2]:
        slices = (Slice((b"",) * 7, 0),)
        path.write_bytes(pack(Container(Header(bytes(4), 9, 9, "RGB", int(path.name)), slices)))
    files[2].write_bytes(b"\x89PNG")
    files[3].touch()
    assert [count_other_quality(files, quality) for quality in (30, 90, 50)] == [1, 1, 2]
    assert count_other_quality(files, None) == 0  # as they have no streams
    assert [count_other_weights(files, weights) for weights in ("00000000", "00000001")] == [0, 2]


@pytest.mark.parametrize("side", [24, 300])
def test_lossless_is_a_quality(side: int, codec: Codec, tmp_path: Path) -> None:
    """A batch of either kind tells what is of the other, but not what is lossless at the quality that it asks for."""
    picture = Picture(photo(side, side))
    (tmp_path / "out").mkdir()
    for name, lossless in (("lossy", False), ("exact", True)):
        fill(tmp_path, f"in/{name}.png")
        (tmp_path / "out" / f"{name}.dca").write_bytes(codec.encode(picture, lossless=lossless, slice_log2=8))
    for options, other, words in (
        (("--lossless",), 1, "1 of the skipped files is not lossless; --force encodes it again"),
        (("--quality", "50"), 0, ""),
        (("--quality", "70"), 2, "2 of the skipped files are of another quality than 70; --force encodes them again"),
    ):
        result = call("--json", *options, tmp_path / "in", tmp_path / "out")
        facts = json.loads(result.stdout)
        assert (result.exit_code, facts["skipped"], facts["other_quality"]) == (0, 2, other)
        assert words in result.stderr and ("warning" in result.stderr) == bool(other)


def test_the_command_removes_and_tells_what_killed_runs_left(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.png", f"out/.dcacodec-{'0' * 16}.tmp")
    os.utime(tmp_path / "out" / f".dcacodec-{'0' * 16}.tmp", (0, 0))
    result = call("--jobs", "1", "--device", "cpu", tmp_path / "in", tmp_path / "out")
    assert "dcacodec: warning: removed 1 unfinished file " in result.stderr
    assert list((tmp_path / "out").iterdir()) == []  # a.png is no picture
