"""Publishing: what is rounded how, what is refused, the tables, the list of weights, the card."""

import errno
import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load as load_tensors
from tiny import TINY, drawn_model, photo, published, symbols_of
from told import one_line
from torch import Tensor

from dcacodec.cli.app import cli
from dcacodec.codec.codec import Codec
from dcacodec.codec.parallel import threads
from dcacodec.codec.source import Source
from dcacodec.coding import PythonCoder, ideal_bits
from dcacodec.errors import UnknownModelError, WeightsError
from dcacodec.files.atomic import write_atomically
from dcacodec.format.container import STREAMS
from dcacodec.format.reader import parse
from dcacodec.images.picture import Picture
from dcacodec.metrics.arrays import of_arrays
from dcacodec.metrics.psnr import psnr
from dcacodec.network.config import DCAConfig
from dcacodec.network.dca import DCA
from dcacodec.network.fixed_point import LARGEST_LIMIT, Snap
from dcacodec.network.priors import SCALE_LEVELS, FactorizedPrior, gaussian_bits
from dcacodec.training.card import CARD_QUALITIES, make_card
from dcacodec.training.checkpoint import RunFacts
from dcacodec.training.limits import MARGIN, measured_limits
from dcacodec.training.options import TrainingOptions
from dcacodec.training.publish import (
    FIT_QUALITIES,
    FIT_STRENGTH,
    fitted_levels,
    load_checkpoint,
    publish,
)
from dcacodec.training.trainer import Trainer
from dcacodec.weights.export import ALPHABET, KEEP_FLOAT32, export, gaussian_levels, prior_table
from dcacodec.weights.reader import Provenance, Weights, parse_weights, read_weights
from dcacodec.weights.registry import by_fingerprint, by_preset, read_index

Floats = NDArray[np.floating[Any]]

PICTURES = [photo(64, 64, 1), photo(50, 70, 2)]


@pytest.fixture(scope="module")
def model() -> DCA:
    return drawn(TINY, seed=5)


@pytest.fixture(scope="module")
def data(model: DCA) -> bytes:
    return export(model)


def drawn(config: DCAConfig, seed: int, loudness: float = 1.0) -> DCA:
    """As `drawn_model`, with PyTorch's own draws from the seed too."""
    torch.manual_seed(seed)
    return drawn_model(config, seed, loudness)


def changed(model: DCA, name: str, value: float) -> DCA:
    """A copy with one element set."""
    other = DCA(model.config)
    other.load_state_dict(model.state_dict())
    other.state_dict()[name].view(-1)[-1] = value  # shares memory with the parameter
    return other.eval()


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


# ------------------------------------------------------------------------------------------------------------- rounding


def test_the_entropy_model_is_rounded_to_grids_of_its_rows(model: DCA, data: bytes) -> None:
    """Weights and gains as float16, all else as float32, and neither loses anything."""
    tensors, network = load_tensors(data), parse_weights(data, "tiny").network.state_dict()
    names = {name for name in model.state_dict() if name.startswith("entropy.")}
    limits = {f"entropy.{name}.limit" for name, module in model.entropy.named_modules() if isinstance(module, Snap)}
    assert {name for name in tensors if name.startswith("entropy.")} == names | limits
    assert len(names) > 50
    for name in names | limits:
        stored = tensors[name]
        assert stored.dtype == (torch.float16 if name.endswith((".weight", ".gain")) else torch.float32), name
        assert network[name].dtype == torch.float32 and torch.equal(network[name], stored.float()), name
        if name in names:
            original = model.state_dict()[name].flatten(1) if stored.dim() > 1 else model.state_dict()[name][:, None]
            error = (stored.float().flatten(1) if stored.dim() > 1 else stored.float()[:, None]) - original
            # 11 significant bits of the largest value of a row, of some rows one or two less.
            assert (error.abs().amax(1) <= torch.maximum(original.abs().amax(1) * 2.0**-8, torch.tensor(2.0**-7))).all()


@pytest.mark.slow
def test_the_same_arguments_give_the_same_fingerprint(model: DCA, data: bytes) -> None:
    with threads(2):
        assert export(model) == data
    assert export(model, limits=63.0) != data


def test_all_else_is_kept_or_halved(model: DCA, data: bytes) -> None:
    tensors, network = load_tensors(data), parse_weights(data, "tiny").network.state_dict()
    assert network.keys() >= model.state_dict().keys()
    kept = 0
    for name, value in model.state_dict().items():
        if name.startswith("entropy."):
            continue
        keep = name.startswith(KEEP_FLOAT32)
        kept += keep
        assert tensors[name].dtype == (torch.float32 if keep else torch.float16)
        assert torch.equal(tensors[name], value if keep else value.half()), name
        assert network[name].dtype == torch.float32
        assert torch.equal(network[name], tensors[name].float()), name
    # gain, spread, three parameters of three priors, weight and bias of four linear layers
    assert kept == 1 + 1 + 9 + 8


def test_scales_are_what_the_network_trains_with(model: DCA, data: bytes) -> None:
    inward, outward, level = parse_weights(data, "tiny").scale_tables
    anchors = model.spread.values.detach().double().numpy()
    for quality in (1, 2, 50, 99, 100):
        place = (quality - 1) / 99 * (TINY.anchors - 1)
        below = min(int(place), TINY.anchors - 2)
        spread = anchors[below] + (place - below) * (anchors[below + 1] - anchors[below])
        wanted = (1 / np.sqrt(np.exp(2 * spread) + 0.3), np.exp(spread), 16 * (spread - math.log(0.11)))
        for table, value, unit in zip((inward, outward, level), wanted, (2**16, 2**16, 2**9), strict=True):
            assert table.shape == (100, TINY.latent)
            # Training computes them in float32.
            assert table[quality - 1] == pytest.approx(value * unit, rel=3e-6, abs=0.51)


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("entropy.starts.2.weight", 300.0, "multiples of 2**"),
        ("entropy.starts.2.weight", -300.0, "multiples of 2**"),
        ("entropy.starts.2.bias", 2.0**19, "multiples of 2**"),
        ("entropy.starts.2.bias", math.nan, "finite"),
        ("entropy.stages.R.block.depthwise.weight", math.inf, "finite"),
        ("entropy.head.weight", math.nan, "finite"),
        ("analysis.blocks.0.mix.weight", 70000.0, "float16"),
        ("analysis.patch.weight", math.inf, "finite"),
        ("gain.values", math.nan, "finite"),
    ],
)
def test_a_weight_that_does_not_fit(model: DCA, name: str, value: float, named: str, tmp_path: Path) -> None:
    told = "" if named == "finite" else name.removeprefix("entropy.").removesuffix(".weight").removesuffix(".bias")
    with pytest.raises(WeightsError) as caught:
        publish(changed(model, name, value), tmp_path, [])
    assert told in one_line(caught) and named in one_line(caught)
    assert list(tmp_path.iterdir()) == []


def test_a_scale_that_does_not_fit(model: DCA) -> None:
    with pytest.raises(WeightsError, match=r"scales\.outward.*\b363\d\d\.\d\d\b"):
        export(changed(model, "spread.values", 10.5))
    with pytest.raises(WeightsError, match=r"scales\.level does not fit 24 bits"):
        export(changed(model, "spread.values", -1100.0))


# --------------------------------------------------------------------------------------------------------------- tables


def assert_near_ideal(counts: Floats, ideal: Floats) -> None:
    """Counts (rows, symbols) of 65536 are those of the probabilities, but for rounding and for the least count, 1."""
    assert (counts.sum(1) == 65536).all()
    assert (counts >= 1).all()
    assert ideal.sum(1) == pytest.approx(1.0, abs=1e-9)
    # What symbols get above their share, by rounding or as the least count, is taken from all others in proportion.
    given = np.maximum(1 - ideal * 65536, 0).sum(1, keepdims=True) + ALPHABET / 2
    assert (np.abs(counts - ideal * 65536) <= 1 + ideal * given).all()
    bits = ideal * np.log2(np.maximum(ideal, 1e-300) / counts * 65536)
    assert bits.sum(1).max() < 1e-3  # lost per symbol


def logistic_mixture(prior: FactorizedPrior, x: Floats) -> Floats:
    """P(z < x) for x (rows, points), in float64, by hand."""
    weight, centre, log_scale = (p.detach().double().flatten(0, 1).numpy()[:, None] for p in prior.parameters())
    logistic = 1 / (1 + np.exp(-(x[:, :, None] - centre) / np.exp(np.maximum(log_scale, -3.0))))
    mixture: Floats = (np.exp(weight) * logistic).sum(2) / np.exp(weight).sum(2)
    return mixture


@pytest.mark.parametrize("centre", [0.0, 40.0, -300.0])
def test_the_table_of_a_prior_is_its_density(model: DCA, centre: float) -> None:
    prior = changed(model, "priors.R.centre", centre).priors["R"]  # one component of one row, which need not be about 0
    assert isinstance(prior, FactorizedPrior)
    with torch.no_grad():
        prior.weight[-1, -1, -1] = 3.0  # and has most of the probability
    table = prior_table(prior)
    assert (table.rows, table.alphabet) == (TINY.anchors * TINY.regional, ALPHABET)
    assert not table.shift.any()
    low = table.low.astype(np.float64)[:, None]
    below = logistic_mixture(prior, low + np.arange(ALPHABET) - 0.5)
    ideal = np.concatenate([np.diff(below, axis=1), 1 - (below[:, -1:] - below[:, :1])], axis=1)
    assert_near_ideal(np.diff(table.cdf, axis=1), ideal)
    # The regular symbols lie about the median, which is where there is half of the probability below.
    middle = low + (ALPHABET - 1) // 2
    assert (logistic_mixture(prior, middle - 0.5) < 0.5).all()
    assert (logistic_mixture(prior, middle + 0.5) >= 0.5).all()
    assert abs(middle[-1, 0] - centre) <= 1


def test_the_table_of_y_is_the_gaussian_of_training() -> None:
    table = gaussian_levels()
    assert (table.rows, table.alphabet) == (SCALE_LEVELS, ALPHABET)
    ideal = np.zeros((SCALE_LEVELS, ALPHABET))
    for row in range(SCALE_LEVELS):
        shift, sigma = int(table.shift[row]), 0.11 * math.exp(row / 16)
        assert sigma <= 4 * 2**shift
        assert shift == 0 or sigma > 2 * 2**shift
        assert table.low[row] == -(ALPHABET - 1) // 2
        values = (torch.arange((ALPHABET - 1) << shift) + (int(table.low[row]) << shift)).double()
        bits = gaussian_bits(values, torch.tensor(float(row), dtype=torch.float64))
        shares = torch.exp2(-bits).masked_fill(bits > 23.9, 0.0)  # from 24 bits on it tells no difference
        ideal[row, :-1] = shares.view(ALPHABET - 1, -1).sum(1).numpy()
    ideal[:, -1] = 1 - ideal.sum(1)
    assert_near_ideal(np.diff(table.cdf, axis=1), ideal)


@pytest.mark.parametrize(("width", "slice_log2"), [(150, 0), (340, 8)])
def test_fitted_rows_are_what_was_counted_beside_the_gaussian(
    width: int, slice_log2: int, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a picture that is too large for a single slice."""
    for limit in ("dcacodec.format.container.LARGEST_SLICE", "dcacodec.tiling.grid.LARGEST_WHOLE"):
        monkeypatch.setattr(limit, 64 * 256)
    monkeypatch.setattr("dcacodec.tiling.grid.USUAL_SLICE_LOG2", 8)
    weights = parse_weights(data, "tiny")
    codec, gaussian = Codec(weights, coder=PythonCoder()), weights.y_table
    picture = photo(70, width, 3)
    counting = Picture(picture[:64, : width // 64 * 64])
    counted: dict[int, list[int]] = {}
    for quality in FIT_QUALITIES:
        header = codec.header_for(Source(counting), quality=quality, slice_log2=slice_log2)
        assert header.slice_count == (2 if slice_log2 else 1)
        for symbols in (each.symbols for each in codec.encode_slices(counting, header)):
            for values, rows in zip(symbols.steps, symbols.rows, strict=True):
                for value, row in zip(values.tolist(), rows.tolist(), strict=True):
                    counted.setdefault(row, []).extend((value, -value))
    fitted = fitted_levels(weights, [picture])
    assert (fitted.low == gaussian.low).all() and (fitted.shift == gaussian.shift).all()
    assert 20 < len(counted) < SCALE_LEVELS
    for row in range(SCALE_LEVELS):
        if row not in counted:
            assert (fitted.cdf[row] == gaussian.cdf[row]).all()
            continue
        shares = FIT_STRENGTH * np.diff(gaussian.cdf[row]) / 65536
        for value in counted[row]:
            symbol = (value >> int(gaussian.shift[row])) - int(gaussian.low[row])
            shares[symbol if 0 <= symbol < ALPHABET - 1 else ALPHABET - 1] += 1
        # Counts are whole, and at least 1 each: they are near their shares of 65536, no nearer.
        assert np.abs(np.diff(fitted.cdf[row]) - 65536 * shares / shares.sum()).max() < ALPHABET


@pytest.mark.slow
def test_fitted_tables_are_published_and_cost_less(model: DCA, tmp_path: Path) -> None:
    picture = photo(64, 128, 3)
    plain = published(model, measured_limits(model, [picture]))
    fitted = read_weights(publish(model, tmp_path / "fitted", PICTURES, fit=[picture]))
    assert plain.fingerprint != fitted.fingerprint
    assert (fitted.y_table.cdf == fitted_levels(plain, [picture]).cdf).all()
    total = {True: 0.0, False: 0.0}
    for quality in FIT_QUALITIES:
        symbols = symbols_of(Codec(plain), picture, quality)
        for values, rows in zip(symbols.steps, symbols.rows, strict=True):
            for which, weights in ((True, fitted), (False, plain)):
                total[which] += ideal_bits(values, rows, weights.y_table)
    assert total[True] < total[False]
    codec = Codec(fitted, coder=PythonCoder())
    file = codec.encode(Picture(picture), quality=50)
    assert (
        codec.decode(file).pixels == Codec(plain).decode(Codec(plain).encode(Picture(picture), quality=50)).pixels
    ).all()


# ---------------------------------------------------------------------------------------------------------- activations


def test_limits_leave_room_above_what_pictures_give(model: DCA) -> None:
    limits = measured_limits(model, [*PICTURES, photo(64, 128, 3)])
    assert limits.keys() == {name for name, module in model.entropy.named_modules() if isinstance(module, Snap)}
    assert not any(module._forward_hooks for module in model.modules())
    fewer = measured_limits(model, PICTURES[:1])
    assert all((fewer[name] <= limit).all() for name, limit in limits.items())
    assert any((fewer[name] < limit).any() for name, limit in limits.items())
    seen: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: seen.update({name: output.abs()}))
        for name, module in model.entropy.named_modules()
        if isinstance(module, Snap)
    ]
    with torch.no_grad():
        model(torch.from_numpy(PICTURES[0])[None].float() / 255, torch.tensor([model.config.anchor_position(50)]))
    for hook in hooks:
        hook.remove()
    assert seen.keys() == limits.keys()
    assert all((seen[name] * MARGIN <= limit * (1 + 1e-5)).all() for name, limit in limits.items())


@pytest.mark.parametrize("order", ["R", "G", "GL", "RGL"])
@pytest.mark.parametrize("adaptive", [True, False])
def test_limits_are_measured_of_every_variant(order: str, adaptive: bool) -> None:
    drawn = drawn_model(replace(TINY, order=order, adaptive=adaptive), 21)
    limits = measured_limits(drawn, PICTURES[:1], quiet=True)
    assert limits.keys() == {name for name, module in drawn.entropy.named_modules() if isinstance(module, Snap)}
    export(drawn, limits=limits)


def test_a_published_model_has_measured_limits(model: DCA, tmp_path: Path) -> None:
    weights = read_weights(publish(model, tmp_path, PICTURES))
    wanted = measured_limits(model, PICTURES)
    for name, module in weights.network.entropy.named_modules():
        if isinstance(module, Snap):
            assert module.limit is not None and (module.limit <= LARGEST_LIMIT).all()
            if not name.endswith(("triple.snap", "read.keys.snap", "read.biases.snap", "read.values.snap")):
                assert (module.limit - wanted[name] >= 0).all() and (module.limit - wanted[name] <= 2.0**-6).all()


def test_a_refused_model_changes_nothing_that_was_published(model: DCA, tmp_path: Path) -> None:
    publish(model, tmp_path, PICTURES)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(WeightsError):
        publish(changed(model, "entropy.head.weight", 1e4), tmp_path, PICTURES, replace=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# -------------------------------------------------------------------------------------------------- the list of weights


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


# ---------------------------------------------------------------------------------------------------- card, and command


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


def test_the_command_refuses_weights_that_are_too_large_in_one_line(model: DCA, tmp_path: Path) -> None:
    checkpoint = save_checkpoint(changed(model, "entropy.head.weight", 1e4), tmp_path / "run")
    Image.fromarray(PICTURES[0]).save(tmp_path / "a.png")
    result = call("publish", checkpoint, "--models", tmp_path / "models", "--check", tmp_path / "a.png")
    assert (result.exit_code, result.stdout) == (1, "")
    error = result.stderr.splitlines()[-1]
    assert error.startswith("dcacodec: error: head: ")
    assert not (tmp_path / "models").exists()


@pytest.mark.slow
def test_one_tensor_per_name_and_no_more(data: bytes, model: DCA) -> None:
    tables = {f"table.{name}.{part}" for name in ("y", *TINY.order) for part in ("cdf", "low", "shift")}
    scales = {"scales.inward", "scales.outward", "scales.level"}
    tensors: dict[str, Tensor] = load_tensors(data)
    limits = {f"entropy.{name}.limit" for name, module in model.entropy.named_modules() if isinstance(module, Snap)}
    assert tensors.keys() == model.state_dict().keys() | limits | tables | scales
    assert {tensors[name].dtype for name in tables | scales} == {torch.int32}
    for _ in range(8):  # to the byte, whatever order a hash table has
        assert export(model) == data
    assert int.from_bytes(data[:8], "little") % 8 == 0


@pytest.mark.parametrize(
    "text",
    [
        '{"presets": {',
        "{}",
        "[]",
        '{"presets": {}, "files": {"a": 1}}',
        '{"presets": {}, "files": {"a": {"file": "../other/small.safetensors", "sha256": ""}}}',
        '{"presets": {}, "files": {"a": {"file": "..", "sha256": ""}}}',
        '{"presets": {}, "files": {"a": {"file": "index.json", "sha256": ""}}}',
        '{"presets": {}, "files": {"a": {"file": "a\\u0000.safetensors", "sha256": ""}}}',
    ],
)
def test_a_damaged_list_of_weights_is_reported_before_any_work(text: str, model: DCA, tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text(text, "utf-8")
    with pytest.raises(WeightsError) as caught:
        publish(model, tmp_path, [], fit=[np.zeros((0, 0, 3), np.uint8)])
    assert str(tmp_path / "index.json") in one_line(caught)
    assert [path.name for path in tmp_path.iterdir()] == ["index.json"]


@pytest.mark.slow
def test_pictures_too_small_to_fit_to_are_left_out(model: DCA, tmp_path: Path) -> None:
    """The tables are those of the other pictures."""
    large = photo(128, 64, seed=3)
    paths = [
        publish(model, tmp_path / name, [], fit=fit)
        for name, fit in (("with", [photo(63, 200, seed=4), large]), ("without", [large]))
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()
