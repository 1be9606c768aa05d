"""The script of the exactness matrix: its two ways to say what a file holds agree, and it tells when they do not."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from oracle import Oracle
from test_attacks import script
from tiny import GOLDEN, WEIGHTS

from dcacodec.codec.codec import Codec
from dcacodec.codec.selftest import digest_of, slices_of
from dcacodec.errors import DcaError
from dcacodec.weights.reader import read_weights

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def matrix() -> ModuleType:
    return script(ROOT / "scripts" / "exactness_matrix.py")


@pytest.mark.parametrize("name", ["17x5-RGBA-q50", "300x270-RGB-q50-n8"])
def test_codec_and_oracle_give_one_digest(name: str, matrix: ModuleType, codec: Codec) -> None:
    data = (GOLDEN / f"{name}.dca").read_bytes()
    digest = digest_of(slices_of(codec, data))[1]
    assert digest_of(slices_of(codec, data, backwards=True))[1] == digest
    assert matrix.digest_of_oracle(Oracle(WEIGHTS.read_bytes()).decode(data)) == digest


def test_a_wrong_bit_is_found(matrix: ModuleType, codec: Codec) -> None:
    data = (GOLDEN / "17x5-RGBA-q50.dca").read_bytes()
    weights = read_weights(WEIGHTS)
    weights.network.entropy.head.bias[5] += 2.0**-9
    weights = replace(weights, constants=weights.network.entropy.constants())
    with pytest.raises(DcaError):
        slices_of(Codec(weights, coder=codec.coder), data)


def test_a_setting_in_a_process_of_its_own(matrix: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here without the process: the layout of the weights is another one, and what was encoded is decoded."""
    monkeypatch.setattr(matrix, "jobs", lambda: iter([("tiny", "1 wide", 50), ("tiny", "extreme", 100)]))
    monkeypatch.setattr(matrix.torch, "set_num_threads", lambda count: None)
    plain, other = matrix.Setting("plain"), matrix.Setting("other", layout="columns", backwards=True, coder="python")
    matrix.work(plain, 0, tmp_path, 0)
    names = ["0-tiny-1_wide-50.dca", "0-tiny-extreme-100.dca"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    first, second = matrix.work(plain, 0, tmp_path, 1), matrix.work(other, 1, tmp_path, 1)
    assert first == second and set(names) < set(first)
    assert all(len(first[name]) == 64 for name in names)
    (tmp_path / names[0]).write_bytes(b"")
    assert matrix.work(plain, 0, tmp_path, 1)[names[0]].startswith("TruncatedError: ")


def test_another_setting_is_given_to_the_process(matrix: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def run(command: list[str], **options: Any) -> Any:
        seen.append((command, options["env"]))
        return type("Done", (), {"returncode": 0, "stdout": "{}"})

    monkeypatch.setattr(matrix.subprocess, "run", run)
    setting = next(each for each in matrix.settings(("other/python",)) if each.name == "Python 1")
    matrix.process(setting, 7, Path("folder"), 8)
    matrix.process(matrix.Setting("old", threads=3, environment={"A": "B"}), 1, Path("folder"), 0)
    (one, _), (two, environment) = seen
    assert one[0] == "other/python" and two[0] == sys.executable
    assert (environment["OMP_NUM_THREADS"], environment["A"]) == ("3", "B")
    fields, number, folder, writers = json.loads(one[-1])
    assert matrix.Setting(**fields) == setting and (number, folder, writers) == (7, "folder", 8)
