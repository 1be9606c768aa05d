"""The codecs that can be measured: what they write, what they read, what they say of themselves."""

import io
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import WEIGHTS, photo
from told import one_line

from dcacodec.bench import compressai_zoo
from dcacodec.bench.codec import CodecOptions
from dcacodec.bench.codecs import available, open_codec
from dcacodec.bench.compressai_zoo import CompressAI
from dcacodec.bench.own_codec import Ours
from dcacodec.bench.pillow_codecs import PILLOW_FORMATS
from dcacodec.codec.codec import Codec
from dcacodec.errors import BenchError, WeightsError
from dcacodec.format.reader import parse
from dcacodec.images.picture import Picture
from dcacodec.metrics.psnr import psnr

HERE = available()[1:]


@pytest.mark.parametrize("name", HERE)
def test_formats_code_pictures(name: str) -> None:
    pixels = photo(72, 90)
    codec = open_codec(name, CodecOptions(threads=2))
    settings = codec.settings[0], codec.settings[-1]
    files = [codec.encode(pixels, setting) for setting in settings]
    assert len(files[0]) < len(files[1])
    errors = [psnr(pixels, codec.decode(data)) for data in files]
    assert 10 < errors[0] < errors[1] < 60
    assert codec.decode(files[0]).dtype == np.uint8
    assert codec.streams(files[0]) == {}
    assert codec.identity(settings[0]) != codec.identity(settings[1])


@pytest.mark.parametrize("name", HERE)
def test_settings_rise_and_are_of_the_scale(name: str) -> None:
    codec = open_codec(name, CodecOptions())
    pixels = photo(64, 64)
    for values in (codec.settings, codec.scale[:: len(codec.scale) // 4]):
        sizes = [len(codec.encode(pixels, value)) for value in values]
        assert sizes == sorted(sizes), values
    assert min(codec.scale) <= min(codec.settings) and max(codec.settings) <= max(codec.scale)


def test_what_the_files_are() -> None:
    """What the labels say of the subsampling of colours is so."""
    pixels = photo(64, 64)

    def jpeg_layers(name: str) -> list[tuple[int, int]]:
        with Image.open(io.BytesIO(open_codec(name, CodecOptions()).encode(pixels, 50))) as image:
            return [layer[1:3] for layer in image.layer]  # type: ignore[attr-defined]

    assert jpeg_layers("jpeg") == [(2, 2), (1, 1), (1, 1)]
    if "jpegli" in HERE:
        assert jpeg_layers("jpegli") == [(2, 2), (1, 1), (1, 1)]
    assert jpeg_layers("jpeg-444") == [(1, 1), (1, 1), (1, 1)]
    assert (
        "4:2:0" in open_codec("jpeg", CodecOptions()).label and "4:4:4" in open_codec("jpeg-444", CodecOptions()).label
    )
    for name in {"avif", "avif-psnr", "avif-iq"} & set(HERE):
        # Monochrome and the two subsampling flags of the decoder configuration: all 0 for 4:4:4.
        data = open_codec(name, CodecOptions()).encode(pixels, 50)
        assert data[data.index(b"av1C") + 6] & 0x1C == 0


def test_labels_tell_versions() -> None:
    assert "libjpeg-turbo" in open_codec("jpeg", CodecOptions()).label
    for name in HERE:
        assert any(character.isdigit() for character in open_codec(name, CodecOptions()).label.partition("(")[2])


def test_what_is_missing_is_left_out_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.features.check", lambda feature: feature != "webp")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert {"webp", "jxl", "jpegli"}.isdisjoint(available())
    assert available()[:2] == ("dcacodec", "jpeg")
    with pytest.raises(BenchError, match=r"\bwebp\b.*\bPillow\b"):
        open_codec("webp", CodecOptions())
    with pytest.raises(BenchError, match=r"\bpillow-jxl-plugin\b"):
        open_codec("jxl", CodecOptions())
    with pytest.raises(BenchError, match=r"\bpyjpegli\b"):
        open_codec("jpegli", CodecOptions())
    with pytest.raises(BenchError) as caught:
        open_codec("gif", CodecOptions())
    known = ("dcacodec", "dcacodec-visual", "dcacodec-psnr", "dcacodec:EFFORT", *PILLOW_FORMATS, "jpegli")
    assert all(name in one_line(caught) for name in ("'gif'", *known, "compressai:MODEL"))


@pytest.mark.skipif("avif" not in HERE, reason="Pillow was built without AVIF")
def test_a_tuning_that_libavif_does_not_know_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    old = replace(PILLOW_FORMATS["avif-iq"], options=lambda setting, threads: {"advanced": {"tune": "none-such"}})
    assert old.missing() == "a Pillow whose libavif has tune=iq"
    assert PILLOW_FORMATS["avif"].missing() is PILLOW_FORMATS["avif-psnr"].missing() is None


# ----------------------------------------------------------------------------------------------------------- dcacodec


def test_ours(codec: Codec) -> None:
    ours = open_codec("dcacodec", CodecOptions(weights=WEIGHTS, device="cpu", qualities=(30.0, 60.0)))
    pixels = photo(40, 70)
    data = ours.encode(pixels, 60.0)
    assert data == codec.encode(Picture(pixels), quality=60)
    assert np.array_equal(ours.decode(data), codec.decode(data).pixels)
    streams = dict(ours.streams(data))
    assert list(streams) == ["z_r", "z_g", "z_l", "y_1", "y_2", "y_3", "y_4", "header"]
    assert sum(streams.values()) == len(data)
    assert streams["y_2"] == sum(len(part.streams[4]) for part in parse(data, None).slices)
    assert ours.settings == (30.0, 60.0)
    assert ours.label.endswith(f"tiny ({codec.weights.fingerprint.hex()})")


def test_ours_is_identified_by_its_weights(tmp_path: Path) -> None:
    one = Ours("dcacodec", CodecOptions(weights=WEIGHTS))
    other = tmp_path / "tiny.safetensors"
    other.write_bytes(WEIGHTS.read_bytes() + b"\0")
    assert one.identity(50) == Ours("dcacodec", CodecOptions(weights=WEIGHTS, threads=7)).identity(50)
    assert len({one.identity(50), one.identity(51), Ours("dcacodec", CodecOptions(weights=other)).identity(50)}) == 3


@pytest.mark.parametrize("name", ["dcacodecx", "dcacodec-", "dcacodec-sharp", "dcacodec:0", "dcacodec:x"])
def test_other_names_are_answered_with_the_known_ones(name: str) -> None:
    with pytest.raises(BenchError, match=rf"'{re.escape(name)}'.*\bdcacodec-visual\b"):
        open_codec(name, CodecOptions(weights=WEIGHTS))


def test_ours_without_weights() -> None:
    with pytest.raises(WeightsError, match="'nothing'"):
        open_codec("dcacodec", CodecOptions(preset="nothing"))


# --------------------------------------------------------------------------------------------------------- CompressAI


class FakeModel(torch.nn.Module):
    """Codes a picture as its samples in steps of ``256 / 2**quality``, and tells the sizes that it was given."""

    def __init__(self, quality: int) -> None:
        super().__init__()
        self.step = torch.nn.Parameter(torch.tensor(256.0 / 2**quality))
        self.updated = False

    def update(self) -> None:
        self.updated = True

    def compress(self, x: torch.Tensor) -> dict[str, Any]:
        assert self.updated and not self.training
        assert x.shape[0] == 1 and x.shape[1] == 3 and x.shape[2] % 64 == 0 and x.shape[3] % 64 == 0
        levels = (x[0] * 255 / self.step).round().to(torch.uint8).numpy()
        return {"strings": [[levels.tobytes()], [b"side"]], "shape": torch.Size([x.shape[2] // 64, x.shape[3] // 64])}

    def decompress(self, strings: list[list[bytes]], shape: tuple[int, int]) -> dict[str, torch.Tensor]:
        assert strings[1] == [b"side"]
        levels = np.frombuffer(strings[0][0], np.uint8).reshape(1, 3, shape[0] * 64, shape[1] * 64)
        return {"x_hat": torch.from_numpy(levels.astype(np.float32)) * self.step / 255}


@pytest.fixture
def compressai(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A stand-in for the package; gives the qualities of the models that were loaded."""
    loaded: list[int] = []

    def model(quality: int, metric: str, pretrained: bool) -> FakeModel:
        assert metric == "mse" and pretrained
        if quality == 8:
            raise OSError("no network")
        loaded.append(quality)
        return FakeModel(quality)

    package, zoo = ModuleType("compressai"), ModuleType("compressai.zoo")
    zoo.image_models = {"mbt2018-mean": model, "mbt2018-mean-vbr": model, "cheng2020-attn": model}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "compressai", package)
    monkeypatch.setitem(sys.modules, "compressai.zoo", zoo)
    monkeypatch.setattr(compressai_zoo, "version_of", lambda name: "1.2.8")
    return loaded


def test_compressai_files(compressai: list[int]) -> None:
    codec = open_codec("compressai:mbt2018-mean", CodecOptions(device="cpu"))
    assert codec.label == "mbt2018-mean (CompressAI 1.2.8)"
    assert codec.settings == tuple(map(float, range(1, 9)))
    pixels = photo(70, 100)
    for quality in (2.0, 5.0):
        codec.prepare(quality)
        data = codec.encode(pixels, quality)
        assert len(data) == 10 + 2 * 4 + 3 * 128 * 128 + len(b"side")
        step = 256 / 2**quality
        expected = (np.round(pixels / step) * step).round().clip(0, 255).astype(np.uint8)
        assert np.array_equal(codec.decode(data), expected)
    assert compressai == [2, 5]  # each once, before anything is timed


def test_compressai_as_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "compressai.zoo", None)
    with pytest.raises(BenchError, match=r"\bcompressai:mbt2018\b"):
        open_codec("compressai:mbt2018", CodecOptions())


def test_compressai_models_and_weights(compressai: list[int]) -> None:
    for model in ("nothing", "mbt2018-mean-vbr"):
        with pytest.raises(BenchError, match="cheng2020-attn, mbt2018"):
            CompressAI(f"compressai:{model}", "cpu")
    assert len(CompressAI("compressai:cheng2020-attn", "cpu").settings) == 6
    with pytest.raises(BenchError, match=r"\bquality 8\b"):
        CompressAI("compressai:mbt2018-mean", "cpu").prepare(8)
