"""All weights of this release do what weights are for. How well, the benchmarks tell: these limits are far away."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from click.testing import CliRunner
from cuda_exactness import assert_same_symbols
from PIL import Image

from dcacodec.cli.app import cli
from dcacodec.codec.codec import Codec
from dcacodec.coding import PythonCoder
from dcacodec.files.paths import models_dir
from dcacodec.format.reader import parse
from dcacodec.images.picture import Picture
from dcacodec.metrics.psnr import psnr
from dcacodec.weights.registry import Published, by_preset, read_index

pytestmark = pytest.mark.usefixtures("published")
PICTURE = Picture(np.ascontiguousarray(skimage.data.astronaut()[:300, 100:400]))


FILES = read_index(models_dir()).files.values()


@pytest.mark.parametrize("weights", FILES, ids=[each.path.stem for each in FILES])
@pytest.mark.parametrize(
    ("quality", "slice_log2", "effort", "floor"),
    [(5, 0, 0, 15), (50, 8, 0, 20), pytest.param(90, 0, 2, 25, marks=pytest.mark.slow)],
)
def test_files_decode_to_the_symbols_and_near_the_picture(
    weights: Published, quality: int, slice_log2: int, effort: int, floor: float
) -> None:
    codec = Codec.from_published(weights, device="cpu")
    data = codec.encode(PICTURE, quality=quality, slice_log2=slice_log2, effort=effort, lossless=False)
    container = parse(data)
    coders = [codec.at(quality), replace(codec, coder=PythonCoder()).at(quality)]
    for index, part in enumerate(container.slices):
        first, second = (coder.read_slice(container, index) for coder in coders)
        assert_same_symbols(first, second)
        assert first.checksum() == part.latent_crc  # which the encoder wrote
        assert [coder.streams_of(first) for coder in coders] == [part.streams] * 2
    found = psnr(PICTURE.pixels, codec.decode(data).pixels)
    assert found > floor
    assert psnr(PICTURE.pixels, np.roll(codec.decode(data).pixels, 40, 1)) < found - 5  # noise would be as good


def test_the_command_there_and_back(tmp_path: Path) -> None:
    source, coded, back = (tmp_path / name for name in ("in.png", "out.dca", "back.png"))
    Image.fromarray(PICTURE.pixels).save(source)
    for name, *files in (("encode", source, coded), ("decode", coded, back)):
        result = CliRunner().invoke(cli, [name, "--device", "cpu", "--quiet", *map(str, files)])
        assert (result.exit_code, result.output) == (0, "")
    assert parse(coded.read_bytes()).header.fingerprint.hex() == by_preset("small").fingerprint
    with Image.open(back) as image:
        assert psnr(PICTURE.pixels, np.asarray(image)) > 20
