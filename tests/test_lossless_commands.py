"""Lossless files by the commands, by Pillow, and by the functions on files."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from drawings import sticker, text
from forge import Forged
from PIL import Image
from tiny import photo
from told import assert_fails

import dcacodec
import dcacodec.pillow_plugin
from dcacodec.cli.app import cli
from dcacodec.codec.codec import Codec
from dcacodec.images.picture import Picture


def run(arguments: list[str]) -> Result:
    return CliRunner().invoke(cli, arguments, prog_name="dcacodec")


@pytest.fixture
def drawing(tmp_path: Path) -> Path:
    path = tmp_path / "drawing.png"
    Image.fromarray(text(90, 130)).save(path)
    return path


def test_commands_report_lossless_slices(drawing: Path) -> None:
    target = drawing.with_suffix(".dca")
    for options in ([], ["--lossless"]):
        told = run(["--verbose", "encode", *options, "--json", str(drawing), str(target)])
        assert told.exit_code == 0, told.stderr
        facts = json.loads(told.stdout)
        assert (facts["slices"], facts["lossless_slices"], facts["lossless"]) == (1, 1, True)
        assert "lossless slices: 1 of 1" in told.stderr
        back = drawing.with_name("back.png")
        assert run(["decode", str(target), str(back)]).exit_code == 0
        assert np.array_equal(np.array(Image.open(back)), np.array(Image.open(drawing)))
    shown = run(["info", str(target)])
    assert "1 of 1 slices" in shown.stdout
    facts = json.loads(run(["info", "--json", str(target)]).stdout)
    assert (facts["lossless_slices"], facts["lossless"]) == (1, True)


@pytest.mark.parametrize(
    "other", [["--quality", "60"], ["--effort", "3"], ["--target-psnr", "30"], ["--target-size", "2KB"]]
)
def test_lossless_excludes_other_aims(drawing: Path, other: list[str]) -> None:
    for command, target in (("encode", drawing.with_suffix(".dca")), ("batch", drawing.with_name("out"))):
        told = run([command, "--lossless", *other, str(drawing), str(target)])
        assert told.exit_code == 2 and not target.exists()
        assert "--lossless" in told.stderr and other[0] in told.stderr and "Traceback" not in told.stderr


def test_damaged_blocks_on_the_command_line(codec: Codec, drawing: Path) -> None:
    file = Forged.of(codec.encode(Picture(text(90, 130)), lossless=True))
    file.chunks[0].data = file.chunks[0].data[:-40]
    target = drawing.with_suffix(".dca")
    target.write_bytes(file.written())
    assert_fails(run(["decode", str(target), str(drawing.with_name("new.png"))]), target)
    assert not drawing.with_name("new.png").exists()


@pytest.mark.slow
def test_batch_is_lossless_on_request(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pixels = photo(60, 70)
    Image.fromarray(pixels).save(tmp_path / "in" / "a.png")
    told = run(["batch", "--jobs", "1", "--lossless", str(tmp_path / "in"), str(tmp_path / "out")])
    assert told.exit_code == 0, told.stderr
    assert np.array_equal(dcacodec.decode_array(tmp_path / "out" / "a.dca"), pixels)


def test_pillow_saves_and_opens_lossless_files() -> None:
    source = sticker()
    assert source.alpha is not None
    image = Image.fromarray(np.dstack((source.pixels, source.alpha)))
    buffer = io.BytesIO()
    image.save(buffer, "DCA", lossless=True)
    with Image.open(buffer) as opened:
        assert opened.mode == "RGBA"
        assert opened.tobytes() == image.tobytes()


def test_files_of_arrays_are_exact(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (33, 44, 4), dtype=np.uint8)
    Image.fromarray(array).save(tmp_path / "a.png")
    dcacodec.encode_file(tmp_path / "a.png", tmp_path / "a.dca", lossless=True)
    assert np.array_equal(dcacodec.decode_array(tmp_path / "a.dca"), array)
