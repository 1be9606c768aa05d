"""Batches: every picture is coded to a target."""

import json
import re
from pathlib import Path

import pytest
from batch_runs import call, picture_tree

from dcacodec import Codec, read_picture
from dcacodec.codec.targets import outcome
from dcacodec.format.reader import parse
from dcacodec.ratecontrol import MaxBpp, MaxBytes, MinPsnr, Target, encode_to
from dcacodec.weights.reader import Weights


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return picture_tree(tmp_path_factory.mktemp("batch"))


@pytest.mark.parametrize(
    ("option", "target", "kept"),
    [
        pytest.param(("--target-size", "0.1KB"), MaxBytes(100), [False, False], marks=pytest.mark.slow),
        pytest.param(("--target-bpp", "0.59"), MaxBpp(0.59), [True, False], marks=pytest.mark.slow),
        pytest.param(("--target-psnr", "26"), MinPsnr(26), [True, True], marks=pytest.mark.slow),
        pytest.param(("--target-psnr", "20"), MinPsnr(20), [True, True], marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_every_picture_is_coded_to_the_target(
    option: tuple[str, str],
    target: Target,
    kept: list[bool],
    pictures: Path,
    weights: Weights,
    tmp_path: Path,
) -> None:
    """As `encode` does; files that miss it are written, reported and counted."""
    out, sources = tmp_path / "out", [pictures / "in" / "a.png", pictures / "in" / "deep" / "b.tif"]
    options = ("--json", "--verbose", "--jobs", "1", "--device", "cpu", "--effort", "1")
    result = call(*options, *option, *sources, out)
    facts = json.loads(result.stdout)
    lines, taken = [], {}
    for source in sources:
        picture = read_picture(source)
        best = encode_to(Codec(weights), picture, target, effort=1)
        coded = out / source.with_suffix(".dca").name
        assert coded.read_bytes() == best.data
        line = f"quality {best.quality}: {outcome(target, best, picture)}"
        summary = f"{source} -> {coded} {len(best.data)} bytes"
        if best.target_met:
            lines.append(f"{summary}; {line}")
        else:
            lines += [f"dcacodec: warning: {source}: {line}", summary]
            taken[str(source)] = line
    assert [str(source) not in taken for source in sources] == kept
    *found, last = result.stderr.splitlines()
    assert (result.exit_code, found) == (0, lines)
    missed = len(taken)
    assert last.startswith("2 of 2 files coded" + (f", {missed} of them missed the target; " if missed else "; "))
    assert (facts["done"], facts["missed"], facts["failed"]) == (2, missed, 0)
    assert facts["misses"] == [{"source": source, "result": line} for source, line in taken.items()]

    # What is there is skipped. Whether it keeps to a PSNR cannot be seen, whether it is too large can.
    again = call("--json", *option, *sources, out)
    facts, large = json.loads(again.stdout), 0 if isinstance(target, MinPsnr) else missed
    assert (again.exit_code, facts["skipped"], facts["above_target"], facts["other_quality"]) == (0, 2, large, 0)
    *warnings, last = again.stderr.splitlines()
    assert len(warnings) == bool(large)
    assert all(re.match(rf"dcacodec: warning: {large} .* larger than the target; --force", line) for line in warnings)
    assert last.startswith("0 of 2 files coded, 2 skipped (up to date); ")
    assert call("--quiet", *option, *sources, out).output == ""


@pytest.mark.slow
def test_targets_are_missed_quietly_if_asked(pictures: Path, tmp_path: Path) -> None:
    options = ("--quiet", "--jobs", "1", "--device", "cpu", "--target-size", "1")
    result = call(*options, pictures / "in" / "a.png", tmp_path / "out")
    assert (result.exit_code, result.output) == (0, "")
    assert parse((tmp_path / "out" / "a.dca").read_bytes(), None).header.quality == 1
