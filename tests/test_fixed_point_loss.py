"""The script that measures what fixed point costs, on a network that was never trained for it."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image
from tiny import WEIGHTS, photo

from dcacodec.codec.codec import Codec
from dcacodec.format.reader import parse
from dcacodec.images.picture import Picture


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    return importlib.import_module("fixed_point_loss")


def test_costs_are_those_of_the_files(script: Any, codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of files without full slices, which the estimate knows nothing of."""
    monkeypatch.setattr("dcacodec.codec.encoder.SKIPPED", float("inf"))
    pixels = photo(128, 192, seed=1)
    floating = codec.weights.floating_point()
    for quality in (10, 90):
        found = script.costs(codec, floating, pixels, quality)
        container = parse(codec.encode(Picture(pixels, False, None, None, None), quality=quality))
        assert found.bytes == 8 * sum(map(len, container.slices[0].streams[3:]))
        assert found.tables < found.bytes < 1.01 * found.tables + 4 * 40
        assert abs(found.network / found.floating - 1) < 0.01
        assert abs(found.levels / found.network - 1) < 0.003
        assert found.elements == 8 * 12 * codec.weights.config.latent
        assert abs(found.skipped - found.skipped_floating) < 0.02 * found.elements


def test_command(script: Any, tmp_path: Path) -> None:
    for index in range(2):
        Image.fromarray(photo(64, 64, index)).save(tmp_path / f"{index}.png")
    result = CliRunner().invoke(script.main, [str(WEIGHTS), str(tmp_path), "--qualities", "20,80", "--quiet"])
    assert (result.exit_code, result.stderr) == (0, "")
    rows = re.findall(r"^ *(\w+) +[\d.]+(?: +[+-][\d.]+){4}(?: +[\d.]+){2}$", result.stdout, re.MULTILINE)
    assert rows == ["20", "80", "all"]
