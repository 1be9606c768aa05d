"""Publishing: what a checkpoint must hold, the card that is made of it, and the command."""

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from publishing import PICTURES, changed
from tiny import TINY

from dcacodec.cli.app import cli
from dcacodec.codec.codec import Codec
from dcacodec.coding import PythonCoder
from dcacodec.errors import WeightsError
from dcacodec.format.container import STREAMS
from dcacodec.format.reader import parse
from dcacodec.images.picture import Picture
from dcacodec.metrics.arrays import of_arrays
from dcacodec.metrics.psnr import psnr
from dcacodec.network.dca import DCA
from dcacodec.training.card import CARD_QUALITIES, make_card
from dcacodec.training.checkpoint import RunFacts
from dcacodec.training.limits import measured_limits
from dcacodec.training.options import TrainingOptions
from dcacodec.training.publish import load_checkpoint, publish
from dcacodec.training.trainer import Trainer
from dcacodec.weights.export import export
from dcacodec.weights.reader import Provenance, read_weights


def save_checkpoint(model: DCA, folder: Path) -> Path:
    """A run's checkpoint whose moving average is the model."""
    folder.mkdir(exist_ok=True)
    options = TrainingOptions(preset="tiny", steps=900, batch=3, crop=128)
    trainer = Trainer(options, folder, model.config, torch.device("cpu"))
    trainer.average.load_state_dict(model.state_dict())
    trainer.step, trainer.seconds, trainer.pixels = 1234, 330.0, 5_600_000
    trainer.save()
    return trainer.checkpoint


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(each) for each in arguments], prog_name="dcacodec")


def test_a_checkpoints_average_is_published(model: DCA, tmp_path: Path) -> None:
    path = save_checkpoint(model, tmp_path)
    loaded, facts = load_checkpoint(path)
    assert not loaded.training
    assert loaded.config == TINY
    expected = model.state_dict()
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, expected[name])
    assert facts == RunFacts(minutes=5.5, steps=1234, batch=3, crop=128, provenance=Provenance(5_600_000))


@pytest.mark.parametrize("name", ["step", "seconds", "pixels", "options", "config", "average"])
def test_a_checkpoint_without_what_the_card_tells_is_refused(name: str, model: DCA, tmp_path: Path) -> None:
    path = save_checkpoint(model, tmp_path)
    state = torch.load(path, weights_only=True)
    del state[name]
    torch.save(state, path)
    with pytest.raises(WeightsError, match=r"checkpoint\.pt"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "change",
    [{"name": "../evil"}, {"name": ""}, {"lambda_min": math.nan}, {"lambda_max": math.inf}, {"lambda_min": 0.0}],
)
def test_a_checkpoint_of_an_impossible_network_is_refused(change: dict[str, Any], model: DCA, tmp_path: Path) -> None:
    path = save_checkpoint(model, tmp_path)
    state = torch.load(path, weights_only=True)
    state["config"].update(change)
    torch.save(state, path)
    with pytest.raises(WeightsError, match=r"checkpoint\.pt"):
        load_checkpoint(path)


def table_of(card: str) -> list[list[str]]:
    """The rows of the card's last table, its head first."""
    lines = card.rstrip("\n").rpartition("\n\n")[2].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_command_publishes_with_a_card(model: DCA, tmp_path: Path) -> None:
    checkpoint, models = save_checkpoint(model, tmp_path / "run"), tmp_path / "models"
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, pixels in enumerate(PICTURES):
        Image.fromarray(pixels).save(pictures / f"{number}.png")
    sources: list[str | Path] = ["--check", pictures, "--measure", pictures]
    result = call("publish", checkpoint, "--models", models, *sources, "--trained-on", "made-up ones")
    assert result.exit_code == 0, result.output
    data = export(model, provenance=Provenance(5_600_000), limits=measured_limits(model, PICTURES))
    identity = hashlib.sha256(data).hexdigest()[:8]
    assert result.stdout == f"{models / f'tiny-psnr-{identity}.safetensors'}\n{models / f'tiny-psnr-{identity}.md'}\n"
    assert f"DCACODEC_MODELS={models}" in result.stderr.splitlines()[-1]
    assert sorted(path.name for path in models.iterdir()) == sorted(
        ["index.json", f"tiny-psnr-{identity}.md", f"tiny-psnr-{identity}.safetensors"]
    )
    card = (models / f"tiny-psnr-{identity}.md").read_text("utf-8")
    assert card.startswith(f"# tiny-psnr-{identity}\n\nWeights of the preset `tiny` of dcacodec")
    for row in (
        f"| parameters | {sum(p.numel() for p in model.parameters()) / 1e6:.2f} million |",
        f"| file | {len(data):,} bytes, fingerprint `{identity}` |",
        "| last schedule | 6 minutes, 1,234 steps, batch 3 a process, crops of 128 pixels |",
        "| pixels seen in all | 6 million |",
        "| training pictures | made-up ones |",
    ):
        assert f"\n{row}\n" in card
    assert "means over 2 pictures" in card

    head, line, *rows = table_of(card)
    assert head == ["quality", "bpp", "PSNR dB", "SSIMULACRA 2", *STREAMS]
    assert line == ["---"] * len(head)
    assert [int(row[0]) for row in rows] == list(CARD_QUALITIES)
    codec = Codec(read_weights(models / f"tiny-psnr-{identity}.safetensors"), coder=PythonCoder())
    for quality, *values in (rows[0], rows[-1]):
        files = [codec.encode(Picture(pixels), quality=int(quality)) for pixels in PICTURES]
        areas = [pixels.shape[0] * pixels.shape[1] for pixels in PICTURES]
        decoded = [codec.decode(file).pixels for file in files]
        measured = [np.mean([8 * len(file) / area for file, area in zip(files, areas, strict=True)])]
        measured.append(np.mean([psnr(p, d) for p, d in zip(PICTURES, decoded, strict=True)]))
        measured.append(np.mean([of_arrays("ssimulacra2", p, d) or 0 for p, d in zip(PICTURES, decoded, strict=True)]))
        streams = [parse(file).slices[0].streams for file in files]
        for number in range(len(STREAMS)):
            measured.append(np.mean([8 * len(s[number]) / area for s, area in zip(streams, areas, strict=True)]))
        assert values == [f"{value:.{({1: 2, 2: 1}).get(place, 4)}f}" for place, value in enumerate(measured)]


def test_a_card_without_a_table(model: DCA, tmp_path: Path) -> None:
    weights = read_weights(publish(model, tmp_path, PICTURES))
    _, facts = load_checkpoint(save_checkpoint(model, tmp_path / "run"))
    text = make_card(weights, 1000, facts, "not recorded", [])
    assert "quality |" not in text
    assert text.endswith("training pictures may have had terms of their own |\n")


def test_the_command_finds_what_is_missing_before_it_publishes(model: DCA, tmp_path: Path) -> None:
    checkpoint, missing = save_checkpoint(model, tmp_path / "run"), tmp_path / "missing"
    Image.fromarray(PICTURES[0]).save(tmp_path / "a.png")
    for check, measure in ((missing, tmp_path / "a.png"), (tmp_path / "a.png", missing)):
        result = call("publish", checkpoint, "--models", tmp_path / "models", "--check", check, "--measure", measure)
        assert (result.exit_code, result.stdout) == (1, "")
        error = result.stderr.splitlines()[-1]
        assert error.startswith("dcacodec: error: ") and str(missing) in error
        assert not (tmp_path / "models").exists()
    result = call("publish", checkpoint, "--models", tmp_path / "models")
    assert result.exit_code == 2
    assert "'--check'" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("there", "taken"), [(1, [0]), (3, [0, 1, 2]), (4, [0, 2]), (7, [0, 3, 6])], ids=["one", "most", "more", "many"]
)
def test_of_many_pictures_to_fit_to_some_from_all_over_are_taken(
    there: int, taken: list[int], model: DCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def note(*_: object, fit: list[Any], **__: object) -> Path:
        found.extend(int(picture[0, 0, 0]) for picture in fit)
        return tmp_path / "tiny.safetensors"

    found: list[int] = []
    monkeypatch.setattr("dcacodec.training.publish.FIT_PICTURES", 3)
    monkeypatch.setattr("dcacodec.training.publish.publish", note)
    paths = [tmp_path / f"{number}.png" for number in range(there)]
    for number, path in enumerate(paths):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
    options: list[str | Path] = ["--models", tmp_path, "--check", paths[0]]
    for path in paths:
        options += ["--fit", path]
    assert call("publish", save_checkpoint(model, tmp_path / "run"), *options).exit_code == 0
    assert found == taken


def test_the_command_refuses_weights_that_are_too_large_in_one_line(model: DCA, tmp_path: Path) -> None:
    checkpoint = save_checkpoint(changed(model, "entropy.head.weight", 1e4), tmp_path / "run")
    Image.fromarray(PICTURES[0]).save(tmp_path / "a.png")
    result = call("publish", checkpoint, "--models", tmp_path / "models", "--check", tmp_path / "a.png")
    assert (result.exit_code, result.stdout) == (1, "")
    error = result.stderr.splitlines()[-1]
    assert error.startswith("dcacodec: error: head: ")
    assert not (tmp_path / "models").exists()
