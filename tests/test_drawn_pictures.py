"""`scripts/drawn_pictures.py`: training pictures that are no photographs."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from tiny import photo

from dcacodec.training.data import load_pictures

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("drawn_pictures", ROOT / "scripts" / "drawn_pictures.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fonts() -> Path:
    matplotlib = pytest.importorskip("matplotlib")
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def draw(script: ModuleType, out: Path, fonts: Path, seed: int) -> Result:
    photograph = out.parent / "photograph.png"
    Image.fromarray(photo(200, 300)).save(photograph)
    options = ["--fonts", str(fonts), "--count", "10", "--seed", str(seed)]
    return CliRunner().invoke(script.main, [str(out), str(photograph), *options])


def test_training_reads_what_was_drawn(script: ModuleType, fonts: Path, tmp_path: Path) -> None:
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        assert draw(script, tmp_path / name, fonts, seed).exit_code == 0
    first, again, other = (load_pictures([tmp_path / name], quiet=True) for name in ("first", "again", "other"))
    assert [picture.shape for picture in first] == [(512, 768, 3)] * 10
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    drawn = [*first, *other]
    assert len({picture.tobytes() for picture in drawn}) == len(drawn)
    assert min(float(picture.std()) for picture in drawn) > 1


def test_letters_are_required(script: ModuleType, tmp_path: Path) -> None:
    fonts = tmp_path / "fonts"
    fonts.mkdir()
    (fonts / "broken.ttf").write_bytes(b"no font")
    result = draw(script, tmp_path / "out", fonts, 0)
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert not (tmp_path / "out").exists()
