"""`scripts/drawn_pictures.py`: training pictures that are no photographs."""

import shutil
from pathlib import Path
from types import ModuleType

import matplotlib
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from test_attacks import script
from tiny import photo

from dcacodec.training.data import load_pictures

ROOT = Path(__file__).resolve().parent.parent
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
ALL_KINDS = 10
"""The number of pictures after which kinds repeat."""


@pytest.fixture(scope="module")
def drawn_pictures() -> ModuleType:
    return script(ROOT / "scripts" / "drawn_pictures.py")


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    Image.fromarray(photo(200, 300)).save(folder / "photograph.png")
    return folder


def run(drawn_pictures: ModuleType, out: Path, photographs: Path, fonts: Path, seed: int = 1, count: int = 1) -> Result:
    options = ["--fonts", str(fonts), "--count", str(count), "--seed", str(seed)]
    return CliRunner().invoke(drawn_pictures.main, [str(out), str(photographs), *options])


def roughness(picture: np.ndarray) -> float:
    """The mean difference of neighbours in standard deviations: 1.1 for noise, 0 for an area of one colour."""
    return float(np.abs(np.diff(picture.astype(int), axis=1)).mean() / picture.std())


def test_training_reads_what_was_drawn(drawn_pictures: ModuleType, photographs: Path, tmp_path: Path) -> None:
    for name, seed, count in (("first", 1, ALL_KINDS), ("again", 1, 1), ("other", 2, 1)):
        result = run(drawn_pictures, tmp_path / name, photographs, FONTS, seed, count)
        assert result.exit_code == 0, result.output
    first, again, other = (load_pictures([tmp_path / name], quiet=True) for name in ("first", "again", "other"))
    assert [picture.shape for picture in first] == [(512, 768, 3)] * ALL_KINDS
    assert np.array_equal(first[0], again[0])
    assert not np.array_equal(first[0], other[0])
    assert all(0 < roughness(picture) < 0.7 for picture in first)


@pytest.mark.parametrize("size", [(1, 1), (37, 91), (1200, 1600)])
def test_photographs_of_any_size_are_backgrounds(drawn_pictures: ModuleType, size: tuple[int, int]) -> None:
    height, width = size
    ramp = np.broadcast_to(np.linspace(0, 255, width)[None, :, None], (height, width, 3)).astype(np.uint8)
    sampler = drawn_pictures.DrawingSampler(np.random.default_rng(0), [], [ramp])
    found = np.asarray(sampler.photograph(300, 200))
    assert found.shape == (200, 300, 3)
    assert (np.diff(found.astype(int), axis=1) >= -1).all()


def test_fonts_without_letters_are_refused(drawn_pictures: ModuleType, photographs: Path, tmp_path: Path) -> None:
    fonts = tmp_path / "fonts"
    fonts.mkdir()
    (fonts / "broken.ttf").write_bytes(b"no font")
    shutil.copy(FONTS / "STIXSizOneSymReg.ttf", fonts)
    result = run(drawn_pictures, tmp_path / "out", photographs, fonts)
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert FONTS.resolve() / "DejaVuSans.ttf" in drawn_pictures.fonts_in([FONTS])


def test_one_line_for_what_cannot_be_read_or_written(
    drawn_pictures: ModuleType, photographs: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for result in (
        run(drawn_pictures, tmp_path / "out", empty, FONTS),
        run(drawn_pictures, empty, photographs, FONTS),  # a folder that exists: old pictures would stay in it
    ):
        assert result.exit_code == 1
        assert result.output.count("\n") == 1
    assert not any(empty.iterdir())
