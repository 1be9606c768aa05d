"""Publishing: the list of weights and the files it names, and what failures leave of them."""

import errno
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from publishing import PICTURES, changed, drawn
from tiny import TINY
from told import one_line

from dcacodec.errors import UnknownModelError, WeightsError
from dcacodec.files.atomic import write_atomically
from dcacodec.network.dca import DCA
from dcacodec.training.limits import measured_limits
from dcacodec.training.publish import publish
from dcacodec.weights.export import export
from dcacodec.weights.reader import Provenance, Weights, read_weights
from dcacodec.weights.registry import Index, by_fingerprint, by_preset, read_index


def test_a_refused_model_changes_nothing_that_was_published(model: DCA, tmp_path: Path) -> None:
    publish(model, tmp_path, PICTURES)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(WeightsError):
        publish(changed(model, "entropy.head.weight", 1e4), tmp_path, PICTURES, replace=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_is_published_is_found(model: DCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "models"
    monkeypatch.setenv("DCACODEC_MODELS", str(folder))
    path = publish(model, folder, PICTURES)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path == folder / f"tiny-psnr-{digest[:8]}.safetensors"
    assert path.read_bytes() == export(model, limits=measured_limits(model, PICTURES))
    assert json.loads((folder / "index.json").read_text("utf-8")) == {
        "presets": {"tiny": {"psnr": digest[:8]}},
        "files": {digest[:8]: {"file": path.name, "sha256": digest, "tune": "psnr"}},
    }
    for found in (by_preset("tiny"), by_fingerprint(digest[:8])):
        assert (found.path, found.digest) == (path, digest)
        assert read_weights(found.path, found.digest).fingerprint.hex() == digest[:8]


@pytest.mark.slow
def test_tunings_stand_beside_each_other(model: DCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replacing the weights of one leaves those of the other, and each file knows what it was trained for."""
    monkeypatch.setenv("DCACODEC_MODELS", str(tmp_path))
    plain = publish(model, tmp_path, PICTURES)
    visual = Provenance(7, "visual", 0.25)
    publish(drawn(TINY, seed=7), tmp_path, PICTURES, provenance=visual)
    newer = publish(drawn(TINY, seed=8), tmp_path, PICTURES, replace=True, provenance=visual)
    assert by_preset("tiny").path == by_preset("tiny", "visual").path == newer
    assert by_preset("tiny", "psnr").path == plain
    assert {each.path for each in read_index(tmp_path).files.values()} == {plain, newer}
    assert read_weights(newer).provenance == visual and read_weights(plain).provenance == Provenance()


@pytest.mark.slow
def test_newer_weights_stand_beside_or_take_the_place_of_older_ones(
    model: DCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DCACODEC_MODELS", str(tmp_path))
    first = publish(model, tmp_path, PICTURES)
    first.with_suffix(".md").write_text("card")
    other = publish(drawn(replace(TINY, name="other"), seed=6), tmp_path, PICTURES)
    second = publish(drawn(TINY, seed=7), tmp_path, PICTURES)
    identities = [path.stem.rpartition("-")[2] for path in (first, other, second)]
    index = json.loads((tmp_path / "index.json").read_text("utf-8"))
    assert index["presets"] == {"tiny": {"psnr": identities[2]}, "other": {"psnr": identities[1]}}
    assert index["files"].keys() == set(identities)
    assert first.exists() and first.with_suffix(".md").exists()

    second.with_suffix(".md").write_text("card")
    last = drawn(TINY, seed=8)
    third = publish(last, tmp_path, PICTURES, replace=True)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(["index.json", first.name, f"{first.stem}.md", other.name, third.name])
    assert by_preset("tiny").path == third
    assert by_fingerprint(identities[0]).path == first
    with pytest.raises(UnknownModelError):
        by_fingerprint(identities[2])

    for replaced in (False, True):  # once more the same: nothing is lost
        assert publish(last, tmp_path, PICTURES, replace=replaced) == third
        assert sorted(path.name for path in tmp_path.iterdir()) == names
        assert by_preset("tiny").path == third


def test_nothing_is_published_where_the_card_cannot_be_made(model: DCA, tmp_path: Path) -> None:
    def fail(weights: Weights, size: int) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish(model, tmp_path / "models", PICTURES, card=fail)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("ending", ["safetensors", "md", "json"])
def test_a_full_disk_leaves_all_as_it_was(
    ending: str, model: DCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At whichever file it becomes full: they are written in this order, so the list names none that is not there."""
    written: list[str] = []

    def full(path: Path, write: Any) -> None:
        written.append(path.name.rpartition(".")[2])
        if path.suffix == f".{ending}":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write_atomically(path, write)

    publish(drawn(TINY, seed=7), tmp_path, PICTURES, card=lambda weights, size: "first")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr("dcacodec.training.publish.write_atomically", full)
    with pytest.raises(OSError) as caught:
        publish(model, tmp_path, PICTURES, card=lambda weights, size: "second", replace=True)
    assert caught.value.errno == errno.ENOSPC
    order = ["safetensors", "md", "json"]
    assert written == order[: order.index(ending) + 1]
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_list_that_leads_nowhere_is_left_alone(model: DCA, tmp_path: Path) -> None:
    (tmp_path / "index.json").symlink_to(tmp_path / "nowhere" / "index.json")
    with pytest.raises(FileNotFoundError):
        publish(model, tmp_path, PICTURES)
    assert [path.name for path in tmp_path.iterdir()] == ["index.json"]


def test_two_that_publish_at_once_lose_nothing(model: DCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one has published while another measured stays in the list."""
    monkeypatch.setenv("DCACODEC_MODELS", str(tmp_path))
    others: list[Path] = []

    def card(weights: Weights, size: int) -> str:
        others.append(publish(drawn(TINY, seed=7), tmp_path, PICTURES))
        return "card"

    path = publish(model, tmp_path, PICTURES, card=card)
    assert {each.path for each in read_index(tmp_path).files.values()} == {path, *others}
    assert by_preset("tiny").path == path


@pytest.mark.parametrize("text", ['{"presets": {', "{}", "[]", '{"presets": {}, "files": {"a": 1}}'])
def test_a_damaged_list_of_weights_is_reported_before_any_work(text: str, model: DCA, tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text(text, "utf-8")
    with pytest.raises(WeightsError) as caught:
        publish(model, tmp_path, [], fit=[np.zeros((0, 0, 3), np.uint8)])
    assert str(tmp_path / "index.json") in one_line(caught)
    assert [path.name for path in tmp_path.iterdir()] == ["index.json"]


def test_a_list_names_files_in_its_folder_only(tmp_path: Path) -> None:
    entry = {"file": "small-psnr-aaaaaaaa.safetensors", "sha256": 64 * "a", "tune": "psnr"}

    def listed(**changes: str) -> Index:
        index = {"presets": {}, "files": {"aaaaaaaa": entry | changes}}
        (tmp_path / "index.json").write_text(json.dumps(index), "utf-8")
        return read_index(tmp_path)

    assert listed().files["aaaaaaaa"].path == tmp_path / entry["file"]
    other_files = ["../other/small.safetensors", "/small.safetensors", "..", "index.json", "a\0.safetensors", ""]
    for changes in [*({"file": name} for name in other_files), {"sha256": 64 * "b"}, {"tune": "other"}]:
        with pytest.raises(WeightsError) as caught:
            listed(**changes)
        assert str(tmp_path / "index.json") in one_line(caught)
