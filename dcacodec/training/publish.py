"""Publishing of trained networks: the exact entropy model and integer tables are made once, and checked."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from operator import methodcaller
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from dcacodec.codec.codec import Codec
from dcacodec.codec.source import Source
from dcacodec.coding import CdfTable, symbol_counts, table_from_probabilities
from dcacodec.errors import DcaError, WeightsError
from dcacodec.files.atomic import write_atomically
from dcacodec.images.picture import Picture
from dcacodec.network.config import DCAConfig
from dcacodec.network.dca import DCA
from dcacodec.training.checkpoint import RunFacts, opened_checkpoint
from dcacodec.training.data import whole_blocks
from dcacodec.training.limits import measured_limits
from dcacodec.weights.export import DEFAULT_LIMIT, export
from dcacodec.weights.reader import Provenance, Weights, parse_weights
from dcacodec.weights.registry import INDEX, Index, Published, read_index

CHECK_QUALITIES = (1, 25, 50, 75, 100)
FIT_QUALITIES = (5, 20, 35, 50, 65, 80, 95)
FIT_PICTURES = 64
FIT_STRENGTH = 1000
"""Weight of the Gaussian in a fitted row, as a number of residuals."""


def fitted_levels(weights: Weights, pictures: Sequence[NDArray[np.uint8]], quiet: bool = False) -> CdfTable:
    """The table of y, with every row fitted to the residuals of pictures at its scale level, over `FIT_QUALITIES`.

    A level is the network's best Gaussian; the error of its scale makes the tails of the residuals heavier than those
    of a Gaussian. Residuals are counted with both signs, since rows are symmetric, and the Gaussian is added with the
    weight of `FIT_STRENGTH` residuals, so that rarely used levels keep it.

    Args:
        weights: with the table of Gaussians.
        pictures: each (H, W, 3); they are cropped to multiples of 64 pixels, and smaller ones are ignored.
        quiet: no progress bar.
    """
    table, codec = weights.y_table, Codec(weights)
    counts = FIT_STRENGTH * np.diff(table.cdf, axis=1) / table.cdf[:, -1:]
    for pixels in tqdm(pictures, desc="fitting tables", unit="picture", disable=quiet or not pictures or None):
        blocks = whole_blocks(pixels)
        for quality in FIT_QUALITIES if blocks.size else ():
            picture = Picture(blocks)
            header = codec.header_for(Source(picture), quality=quality, lossless=False)
            for encoded in codec.encode_slices(picture, header):
                for values, rows in zip(encoded.symbols.steps, encoded.symbols.rows, strict=True):
                    counts += symbol_counts(values, rows, table) + symbol_counts(-values, rows, table)
    return table_from_probabilities(counts[:, :-1], counts[:, -1], table.low, table.shift)


def check_files(weights: Weights, pictures: Sequence[NDArray[np.uint8]]) -> None:
    """Check that files of pictures decode, each at one of `CHECK_QUALITIES` in turn: their latents have checksums.

    Raises:
        WeightsError: one does not.
    """
    codec = Codec(weights)
    for number, pixels in enumerate(pictures):
        quality = CHECK_QUALITIES[number % len(CHECK_QUALITIES)]
        try:
            codec.decode(codec.encode(Picture(pixels), quality=quality, lossless=False))
        except DcaError as error:
            raise WeightsError(f"picture {number} at quality {quality} does not decode: {error}") from error


def load_checkpoint(path: Path) -> tuple[DCA, RunFacts]:
    """The averaged network of a training checkpoint, and facts about the run.

    Raises:
        WeightsError: the file is not a checkpoint, or one of a network that this version does not have.
        OSError: it cannot be read.
    """
    with opened_checkpoint(path) as state:
        with torch.device("cpu"):
            model = DCA(DCAConfig(**state["config"])).float()
        model.load_state_dict(state["average"])
        return model.eval(), RunFacts.of(state)


def publish(
    model: DCA,
    folder: Path,
    pictures: Sequence[NDArray[np.uint8]],
    *,
    fit: Sequence[NDArray[np.uint8]] = (),
    replace: bool = False,
    quiet: bool = False,
    card: Callable[[Weights, int], str] | None = None,
    provenance: Provenance = Provenance(),
) -> Path:
    """Publish a model's weights in a folder, as the current ones of its preset and tuning.

    The weights are checked before anything is written, and the index is updated last. If writing fails, the folder is
    unchanged.

    Args:
        model: the network.
        folder: of the published weights; created if it does not exist.
        pictures: to check the published weights on: each is encoded and decoded.
        fit: pictures that the limits of activations are measured on, and that the table of y is fitted to, see
            `fitted_levels`. Empty for a table of Gaussians, and limits from `pictures`.
        replace: remove the previous file and card of preset and tuning, which must not have been released.
        quiet: no progress bar.
        card: makes the text of the model card, from the weights and the size of their file in bytes.
        provenance: how the model was trained.

    Returns:
        The path of the weights file; that of the card has the suffix ".md".

    Raises:
        WeightsError: a weight does not fit its format, a picture fails the check, or the index is damaged.
        OSError: a file cannot be written.
    """
    listing = folder / INDEX

    def current_index() -> Index:
        return read_index(folder) if listing.exists() else Index({}, {})

    current_index()  # a damaged index is reported before any work
    limits = measured_limits(model, fit or pictures, quiet) or DEFAULT_LIMIT
    data = export(model, provenance=provenance, limits=limits)
    name = model.config.name
    weights = parse_weights(data, name)
    if fit:
        levels = fitted_levels(weights, fit, quiet)
        data = export(model, levels=levels, provenance=provenance, limits=limits)
        weights = parse_weights(data, name)
    check_files(weights, pictures)
    card_text = card(weights, len(data)) if card else None

    identity = weights.fingerprint.hex()
    folder.mkdir(parents=True, exist_ok=True)
    tune = provenance.tune
    path = folder / f"{name}-{tune}-{identity}.safetensors"
    index = current_index()  # another process may have published meanwhile
    files = {**index.files, identity: Published(path, hashlib.sha256(data).hexdigest(), tune)}
    tunings = index.presets.get(name, {})
    previous = tunings.get(tune, identity)
    old = files.pop(previous, None) if replace and previous != identity else None
    text = Index({**index.presets, name: {**tunings, tune: identity}}, files).text()
    cards = {path.with_suffix(".md"): card_text.encode()} if card_text else {}
    contents = {path: data, **cards, listing: text.encode()}
    created = [each for each in contents if not os.path.lexists(each)]
    try:
        for each, content in contents.items():
            write_atomically(each, methodcaller("write", content))
    except BaseException:
        for each in created:
            each.unlink(missing_ok=True)
        raise
    if old is not None and old.path != path:  # only now that the index does not name it any more
        old.path.unlink(missing_ok=True)
        old.path.with_suffix(".md").unlink(missing_ok=True)
    return path
