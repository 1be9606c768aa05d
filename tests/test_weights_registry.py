"""The list of published weights: by preset, tuning and fingerprint, and lists that are damaged."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from tiny import TINY, WEIGHTS, drawn_model, picture
from told import one_line

from dcacodec.codec.codec import Codec
from dcacodec.errors import UnknownModelError, WeightsError
from dcacodec.format.reader import parse
from dcacodec.weights import registry as zoo
from dcacodec.weights.export import export
from dcacodec.weights.reader import read_weights
from dcacodec.weights.registry import by_fingerprint, by_preset, presets, read_index


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of published weights, with two models of one preset; the second is the newest."""
    index: dict[str, dict[str, Any]] = {"presets": {}, "files": {}}
    for seed in (6, 7):
        data = export(drawn_model(TINY, seed))
        digest = hashlib.sha256(data).hexdigest()
        name = digest[:8]
        (tmp_path / f"{name}.safetensors").write_bytes(data)
        index["files"][name] = {
            "file": f"{name}.safetensors",
            "sha256": digest,
            "tune": "psnr",
        }
        index["presets"]["tiny"] = {"psnr": name}
    (tmp_path / "index.json").write_text(json.dumps(index), "utf-8")
    monkeypatch.setattr(zoo, "models_dir", lambda: tmp_path)
    monkeypatch.delenv("DCACODEC_MODELS")
    return tmp_path


def test_published_models_are_found_by_preset_and_by_file(models: Path) -> None:
    new = by_preset("tiny")
    (old,) = (by_fingerprint(path.stem) for path in models.glob("*.safetensors") if path != new.path)
    assert by_fingerprint(new.path.stem) == new
    assert Codec.load("tiny", device="cpu").weights.fingerprint.hex() == new.path.stem

    source = picture(20, 20)
    data = Codec.from_published(old, device="cpu").encode(source, quality=50)
    reader = Codec.for_container(parse(data), device="cpu")
    assert reader.weights.fingerprint.hex() == old.path.stem
    assert reader.decode(data).pixels.shape == source.pixels.shape


def test_weights_by_tuning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a tuning, the visual ones where there are any."""
    files = {
        name: {"file": f"{name}.safetensors", "sha256": name.ljust(64, "0"), "tune": tune}
        for name, tune in (("0000000a", "psnr"), ("0000000b", "visual"), ("0000000c", "psnr"))
    }
    presets_of = {"both": {"psnr": "0000000a", "visual": "0000000b"}, "one": {"psnr": "0000000c"}}
    (tmp_path / "index.json").write_text(json.dumps({"presets": presets_of, "files": files}), "utf-8")
    monkeypatch.setenv("DCACODEC_MODELS", str(tmp_path))
    assert by_preset("both").path.stem == by_preset("both", "visual").path.stem == "0000000b"
    assert by_preset("both", "psnr").path.stem == "0000000a"
    assert by_preset("one").path.stem == "0000000c"
    with pytest.raises(WeightsError, match="visual"):
        by_preset("one", "visual")


def test_weights_of_ones_own(models: Path, tiny_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They come first, and those of the release stay."""
    assert presets() == ["tiny"]
    released = by_preset("tiny")
    monkeypatch.setenv("DCACODEC_MODELS", str(tiny_models))
    own = by_preset("small")
    assert own.path.parent == tiny_models
    assert by_fingerprint(read_weights(own.path).fingerprint.hex()) == own
    assert (presets(), by_preset("tiny"), by_fingerprint(released.path.stem)) == (["small", "tiny"], released, released)

    monkeypatch.setattr(zoo, "models_dir", lambda: tiny_models)
    monkeypatch.setenv("DCACODEC_MODELS", str(models))
    index = json.loads((models / "index.json").read_text("utf-8"))
    index["presets"]["small"] = index["presets"]["tiny"]
    (models / "index.json").write_text(json.dumps(index), "utf-8")
    assert by_preset("small") == released

    monkeypatch.setenv("DCACODEC_MODELS", str(models / "nowhere"))
    with pytest.raises(WeightsError) as error:
        by_preset("small")
    text = one_line(error)
    assert "DCACODEC_MODELS" in text and str(models / "nowhere" / "index.json") in text


def test_unknown_fingerprint(models: Path, sound: bytes) -> None:
    name = read_weights(WEIGHTS).fingerprint.hex()
    with pytest.raises(UnknownModelError) as error:
        Codec.for_container(parse(sound), device="auto")
    assert name in one_line(error)


def test_damaged_published_weights(models: Path) -> None:
    path = by_preset("tiny").path
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(WeightsError) as error:
        Codec.load("tiny")
    text = one_line(error)
    assert path.name in text and "SHA-256" in text


def test_unknown_preset(models: Path) -> None:
    with pytest.raises(WeightsError) as error:
        Codec.load("huge")
    assert "huge" in one_line(error)


@pytest.mark.parametrize("content", [None, "{", "[" * 100_000], ids=["missing", "no JSON", "deep"])
def test_unreadable_list_of_weights(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "index.json").write_text(content)
    with pytest.raises(WeightsError) as error:
        read_index(tmp_path)
    assert str(tmp_path / "index.json") in one_line(error)


ENTRY = {"file": "tiny.safetensors", "sha256": "0" * 64, "tune": "psnr"}


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"presets": {}},
        {"files": {}},
        {"presets": [], "files": {}},
        {"presets": {"tiny": 3}, "files": {}},
        {"presets": {"tiny": {"psnr": 3}}, "files": {}},
        {"presets": {"tiny": {"loud": "00000000"}}, "files": {}},
        {"presets": {}, "files": {"00000000": "tiny.safetensors"}},
        {"presets": {}, "files": {"00000000": {"file": "tiny.safetensors"}}},
        {"presets": {}, "files": {"00000000": ENTRY | {"file": 3}}},
        {"presets": {}, "files": {"00000000": ENTRY | {"sha256": None}}},
        {"presets": {}, "files": {"00000000": ENTRY | {"tune": "loud"}}},
        {"presets": {}, "files": {"00000001": ENTRY}},
    ],
)
def test_a_damaged_list_of_weights(content: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "index.json"
    path.write_text(json.dumps(content))
    monkeypatch.setenv("DCACODEC_MODELS", str(tmp_path))
    for find, name in ((by_preset, "tiny"), (by_fingerprint, "00000000")):
        with pytest.raises(WeightsError) as error:
            find(name)
        assert str(path) in one_line(error)


def test_a_preset_without_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "index.json").write_text(
        json.dumps({"presets": {"tiny": {"psnr": "01234567"}}, "files": {"00000000": ENTRY}})
    )
    monkeypatch.setenv("DCACODEC_MODELS", str(tmp_path))
    with pytest.raises(WeightsError) as error:
        by_preset("tiny")
    assert "01234567" in one_line(error)
