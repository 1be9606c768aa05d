"""The command `dcacodec selftest`: that it compares, and that it finds what is wrong."""

import configparser
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from publishing import PICTURES, drawn
from test_attacks import script
from tiny import GOLDEN
from tiny import TINY as CONFIG

from dcacodec.cli.app import cli
from dcacodec.codec import selftest as module
from dcacodec.codec.codec import Codec
from dcacodec.codec.selftest import (
    TINY,
    Golden,
    Setting,
    checks,
    digest_of,
    golden_files,
    means_of,
    settings,
    slices_of,
)
from dcacodec.coding import CoderUnavailableError, PythonCoder
from dcacodec.errors import DcaError
from dcacodec.files.paths import models_dir
from dcacodec.training.publish import publish
from dcacodec.weights.reader import Weights
from dcacodec.weights.registry import read_index

ROOT = Path(__file__).resolve().parent.parent
NAMES = [
    "17x5-RGBA-q50.dca",
    "130x70-L-q50.dca",
    "300x270-RGB-q50-n8.dca",
    "300x270-RGB-q20-n8.dca",
    "astronaut-small-q60.dca",
    "cat-small-q25.dca",
    "astronaut-918ce74d-q60.dca",
    "cat-918ce74d-q25.dca",
]


@pytest.fixture(autouse=True)
def _no_weights_are_kept() -> Iterator[None]:
    yield
    module._weights.cache_clear()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the golden files of the tiny network, in place of all."""
    path = tmp_path / "golden"
    shutil.copytree(module.GOLDEN, path)
    index = json.loads((path / "index.json").read_text("utf-8"))
    (path / "index.json").write_text(json.dumps({name: index[name] for name in NAMES[:2]}), "utf-8")
    monkeypatch.setattr(module, "GOLDEN", path)
    return path


@pytest.fixture
def python_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quick: one coder, and that of one thread and of two."""

    def unavailable() -> None:
        raise CoderUnavailableError("it is not to be")

    monkeypatch.setattr("dcacodec.coding.TorchacCoder", unavailable)
    monkeypatch.setattr("os.cpu_count", lambda: 2)


def call(*options: str) -> Any:
    return CliRunner().invoke(cli, ["selftest", "--device", "cpu", *options], prog_name="dcacodec")


def test_the_files_are_there_and_those_of_the_tests() -> None:
    assert [golden.name for golden in golden_files()] == NAMES
    assert sorted(path.name for path in module.GOLDEN.iterdir()) == sorted([*NAMES, TINY, "index.json"])
    for name in (TINY, *NAMES[:4]):
        assert (module.GOLDEN / name).read_bytes() == (GOLDEN / name).read_bytes()


def test_new_weights_get_golden_files(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, by the script for it, and others stay what they are."""
    maker = script(ROOT / "scripts" / "selftest_files.py")
    models = tmp_path / "models"
    monkeypatch.setattr(maker, "GOLDEN", folder)
    monkeypatch.setattr(maker, "models_dir", lambda: models)
    publish(drawn(CONFIG, 5), models, PICTURES, quiet=True)
    maker.main()
    made = [golden for golden in golden_files() if golden.name not in NAMES]
    assert len(made) == 2 and {golden.weights for golden in made} == set(read_index(models).files)
    setting = Setting("python", "cpu", 1, PythonCoder())
    monkeypatch.setenv("DCACODEC_MODELS", str(models))
    assert all(module._integers(golden, setting)[1] for golden in made)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.dca")}
    maker.main()
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("*.dca")}


def test_recorded_digests_are_those_of_the_recorded_arrays() -> None:
    """From the arrays that the tests keep, without any decoder."""
    golden = next(each for each in golden_files() if each.name == "130x70-L-q50.dca")
    with np.load(GOLDEN / "130x70-L-q50.npz", allow_pickle=False) as file:
        names = [
            "R",
            "G",
            "L",
            *(f"step_{step}" for step in range(4)),
            *(f"level_{step}" for step in range(4)),
            "latent",
        ]
        arrays = [file[name] for name in names]
    digest = hashlib.sha256(b"".join(array.astype("<i4").tobytes() for array in arrays)).hexdigest()
    assert (golden.integers, golden.digest) == (sum(array.size for array in arrays), digest)


def test_it_passes_here_and_says_what_was_compared(folder: Path, python_only: None) -> None:
    result = call()
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "ok    the compiled coder is not available, the slow one is used: it is not to be"
    assert lines[1:5] == [
        f"ok    {name}, python coder, {threads}: {count} integers as recorded, and encoded to the same bytes"
        for threads in ("1 thread", "2 threads")
        for name, count in (("17x5-RGBA-q50.dca", 888), ("130x70-L-q50.dca", 5088))
    ]
    assert re.fullmatch(r"ok    17x5-RGBA-q50\.dca, picture: mean samples within [01] of 255 of those .+", lines[5])
    assert re.fullmatch(
        r"ok    made here: python coder, 1 thread -> python coder, 2 threads: \d+ integers equal", lines[7]
    )
    assert lines[9:] == ["9 of 9 checks passed"]
    quiet = call("--quiet")
    assert (quiet.exit_code, quiet.output) == (0, "")


def test_published_weights_are_checked_too() -> None:
    """What users have: the files of a published network, by one setting."""
    setting = Setting("python", "cpu", 1, PythonCoder())
    checked = [each for each in golden_files() if each.weights in read_index(models_dir()).files]
    if not checked:  # before a release, weights may take the place of those that the golden files are of
        pytest.skip("no golden file is of weights that are published")
    for golden in checked:
        text, passed = module._integers(golden, setting)
        assert passed, text
        text, passed = module._picture(golden, setting)
        assert passed, text


def failing(stdout: str) -> list[str]:
    return [line for line in stdout.splitlines() if line.startswith("FAIL")]


@pytest.mark.slow
@pytest.mark.parametrize("place", ["head.bias", "stages.L.block.feed.out.weight", "synthesis.G.linear.weight"])
def test_one_wrong_bit_in_the_arithmetic_is_found(
    place: str, folder: Path, python_only: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(fingerprint: str) -> Weights:
        from dcacodec.weights.reader import read_weights

        weights = read_weights(folder / TINY)
        entropy = weights.network.entropy
        entropy.get_parameter(place).view(-1)[3] += 2.0**-9
        return replace(weights, constants=entropy.constants())

    monkeypatch.setattr(module, "_weights", wrong)
    result = call()
    assert result.exit_code == 1
    # Both sides of what is made here are as wrong.
    assert len(failing(result.stdout)) >= 2
    assert result.stdout.splitlines()[-1] != "9 of 9 checks passed"
    assert result.stderr == ""


@pytest.mark.slow
def test_a_wrong_picture_is_found(folder: Path, python_only: None, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels_of = Codec.pixels_of
    monkeypatch.setattr(Codec, "pixels_of", lambda *arguments, **named: pixels_of(*arguments, **named) // 2)
    result = call()
    assert result.exit_code == 1
    assert all(", picture: mean samples within" in line for line in failing(result.stdout))
    assert len(failing(result.stdout)) == 2
    assert call("--quiet").stdout.splitlines() == [*failing(result.stdout), result.stdout.splitlines()[-1]]


def test_a_wrong_digest_is_found(folder: Path) -> None:
    golden = golden_files(folder)[0]
    for other in (Golden(**vars(golden) | {"digest": "0" * 64}), Golden(**vars(golden) | {"integers": 887})):
        text, passed = module._integers(other, Setting("python", "cpu", 1, PythonCoder()))
        assert (text, passed) == ("the integers differ from those recorded", False)


def test_means_may_differ_by_one(codec: Codec) -> None:
    golden, setting = golden_files()[0], Setting("python", "cpu", 1, PythonCoder())
    means = np.array(means_of(codec.decode(golden.data).pixels))
    for other, allowed in ((means, True), (means - 1, True), (means + 1, True), (means - 2, False), (means + 2, False)):
        assert module._picture(replace(golden, means=other.tolist()), setting)[1] == allowed


@pytest.mark.parametrize("damage", ["file", "index", "missing", "no facts"])
def test_a_damaged_installation_is_an_error_of_one_line(damage: str, folder: Path) -> None:
    if damage == "file":
        (folder / NAMES[0]).write_bytes(b"other")
    elif damage == "index":
        (folder / "index.json").write_text("[", "utf-8")
    elif damage == "no facts":
        (folder / "index.json").write_text(json.dumps({NAMES[0]: {}}), "utf-8")
    else:
        (folder / NAMES[1]).unlink()
    with pytest.raises(DcaError):
        golden_files(folder)
    result = call()
    assert (result.exit_code, result.stdout) == (1, "")
    assert re.fullmatch(r"dcacodec: error: the golden file[^\n]+\n", result.stderr)


def test_missing_weights_fail(published: None, folder: Path, python_only: None) -> None:
    (folder / TINY).unlink()
    result = call()
    assert result.exit_code == 1
    assert len(failing(result.stdout)) == 8  # every check but the line about the coder
    assert "which are not installed" in result.stdout


def test_settings_are_every_coder_with_one_thread_and_with_many() -> None:
    found = [each for each in settings("cpu") if isinstance(each, Setting)]
    assert {each.threads for each in found} >= {1} and len({each.threads for each in found}) == 2
    assert next(each.name for each in found if each.coder.name == "python") == "python coder, 1 thread"


def test_a_gpu_is_one_more_setting(python_only: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcacodec.network.device.choose_device", lambda device: torch.device("cuda"))
    found = [(each.name, each.device) for each in settings("auto") if isinstance(each, Setting)]
    here = [("python coder, 1 thread", "cpu"), ("python coder, 2 threads", "cpu")]
    assert found == [*here, ("python coder, CUDA", "cuda")]


@pytest.mark.slow
def test_threads_are_as_they_were(folder: Path, python_only: None) -> None:
    before = torch.get_num_threads()
    assert all(check.passed for check in checks("cpu"))
    assert torch.get_num_threads() == before


def test_damaged_files_are_found(codec: Codec) -> None:
    data = (GOLDEN / "17x5-RGBA-q50.dca").read_bytes()
    assert digest_of(slices_of(codec, data))[0] == 888
    with pytest.raises(DcaError):
        slices_of(codec, data[:-1])


def test_means_of_a_picture() -> None:
    pixels = np.zeros((16, 3, 3), np.uint8)
    pixels[:2] = 10
    pixels[15, 2] = (1, 2, 6)
    means = means_of(pixels)
    assert len(means) == 8 and [len(row) for row in means] == [3] * 8
    assert means[0] == [[10, 10, 10]] * 3 and means[1] == [[0, 0, 0]] * 3
    assert means[7] == [[0, 0, 0], [0, 0, 0], [0, 1, 3]]


def test_the_files_are_part_of_the_package() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    patterns = [each.strip() for each in setup["options.package_data"]["dcacodec"].split(",")]
    assert "golden/*" in patterns
