"""From a trained network to a weights file: quantise once, make integer tables once, check that nothing overflows."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from dcacodec.codec.codec import Codec
from dcacodec.coding import CdfTable, symbol_counts, table_from_probabilities
from dcacodec.errors import WeightsError
from dcacodec.files.atomic import write_atomically
from dcacodec.images.picture import Picture
from dcacodec.network.config import DCAConfig
from dcacodec.network.context import StepCoder
from dcacodec.network.dca import DCA
from dcacodec.network.fixed_point import (
    ACTIVATION_LIMIT,
    is_exact,
)
from dcacodec.training.checkpoint import RunFacts, opened_checkpoint
from dcacodec.training.data import whole_blocks
from dcacodec.weights.export import export
from dcacodec.weights.reader import Provenance, Weights, fingerprint, read_weights
from dcacodec.weights.registry import INDEX, Index, Published, read_index

RANGE_QUALITIES = (1, 25, 50, 75, 100)
FIT_QUALITIES = (5, 20, 35, 50, 65, 80, 95)
FIT_PICTURES = 64
FIT_STRENGTH = 1000
"""How many counted residuals the Gaussian weighs as much as, in a fitted row."""


def fitted_levels(weights: Weights, pictures: Sequence[NDArray[np.uint8]], quiet: bool = False) -> CdfTable:
    """The table of y with every row fitted to the residuals that pictures have at it, over `FIT_QUALITIES`.

    A level is the best Gaussian the network knows of; what it does not know makes the residuals' tails heavier than a
    Gaussian's. Residuals count with both signs, as rows are to be symmetric, and the Gaussian row counts as
    `FIT_STRENGTH` more of them, so that a level hardly ever met keeps it.

    Args:
        weights: with the table of Gaussians.
        pictures: each (H, W, 3); the last rows and columns beyond a multiple of 64 are left out, and what is smaller
            altogether.
        quiet: no progress bar.
    """
    table, codec = weights.y_table, Codec(weights)
    counts = FIT_STRENGTH * np.diff(table.cdf, axis=1) / table.cdf[:, -1:]
    for pixels in tqdm(pictures, desc="fitting tables", unit="picture", disable=quiet or not pictures):
        blocks = whole_blocks(pixels)
        for quality in FIT_QUALITIES if blocks.size else ():
            symbols = codec.encoder_at(quality).encode_whole(blocks).symbols
            for values, rows in zip(symbols.steps, symbols.rows, strict=True):
                counts += symbol_counts(values, rows, table) + symbol_counts(-values, rows, table)
    return table_from_probabilities(counts[:, :-1], counts[:, -1], table.low, table.shift)


def activation_ranges(weights: Weights, pictures: Sequence[NDArray[np.uint8]]) -> dict[str, float]:
    """Largest magnitudes in the entropy model in fixed point, over pictures and `RANGE_QUALITIES`.

    Returns:
        For each module inside, by name, that of its input and output; under "mean" that of the predicted means.

    Raises:
        WeightsError: one reaches the clamp at `ACTIVATION_LIMIT`.
    """
    largest: dict[str, float] = {}

    def note(name: str, *tensors: object) -> None:
        for tensor in tensors:
            if isinstance(tensor, Tensor) and is_exact(tensor):
                largest[name] = max(largest.get(name, 0.0), tensor.abs().max().item())

    def watch_module(name: str) -> Any:
        return lambda module, arguments, output: note(name, *arguments, output)

    def watch_means(_module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        code: StepCoder = arguments[-1]

        def noted(step: int, mean: Tensor, level: Tensor) -> Tensor:
            note("mean", mean)
            return code(step, mean, level)

        return (*arguments[:-1], noted)

    entropy = weights.network.entropy
    # Not the whole: its result, y_hat, is not clamped.
    hooks = [module.register_forward_hook(watch_module(name)) for name, module in entropy.named_modules() if name]
    hooks.append(entropy.register_forward_pre_hook(watch_means))
    try:
        codec = Codec(weights)
        for pixels in pictures:
            for quality in RANGE_QUALITIES:
                codec.encode(Picture(pixels), quality=quality)
    finally:
        for hook in hooks:
            hook.remove()
    for name, value in largest.items():
        if value >= ACTIVATION_LIMIT:
            raise WeightsError(f"{name} reaches the clamp of activations at {ACTIVATION_LIMIT:.0f}")
    return largest


def load_checkpoint(path: Path) -> tuple[DCA, RunFacts]:
    """The averaged network of a training checkpoint, and what the checkpoint tells of the run.

    Raises:
        WeightsError: the file is no checkpoint, or one of networks that this version does not have.
        OSError: it cannot be read.
    """
    with opened_checkpoint(path) as state:
        model = DCA(DCAConfig(**state["config"]))
        model.load_state_dict(state["average"])
        return model.eval(), RunFacts.of(state)


def publish(
    model: DCA,
    folder: Path,
    pictures: Sequence[NDArray[np.uint8]],
    fit: Sequence[NDArray[np.uint8]] = (),
    replace: bool = False,
    quiet: bool = False,
    card: Callable[[Weights, int], str] | None = None,
    provenance: Provenance = Provenance(),
) -> Path:
    """Write a model's weights into a folder of published weights and make them the newest of its preset and tuning.

    All that can be wrong with them is found before anything is written there, and the list names them last. Where
    writing fails, what was there is as it was, and nothing else.

    Args:
        model: the network.
        folder: of the published weights; made where there is none.
        pictures: to run the weights on, read back, in fixed point.
        fit: pictures that y gets the table of `fitted_levels` from; none for that of Gaussians.
        replace: remove the previous file and card of preset and tuning: right only for weights that no release has had.
        quiet: no progress bar.
        card: makes the text of the card beside the file, from the weights and the bytes of their file.
        provenance: how it was trained.

    Returns:
        The path of the weights file; that of the card has the suffix ".md".

    Raises:
        WeightsError: a weight does not fit its format, an activation reaches its clamp, or the list of published
            weights is damaged.
        OSError: a file cannot be written.
    """
    listing = folder / INDEX

    def known() -> Index:
        return read_index(folder) if listing.exists() else Index({}, {})

    known()  # a damaged one is told before any work
    data = export(model, provenance=provenance)
    name = model.config.name
    with tempfile.TemporaryDirectory() as scratch:
        candidate = Path(scratch, "weights.safetensors")
        candidate.write_bytes(data)
        if fit:
            data = export(model, fitted_levels(read_weights(candidate), fit, quiet), provenance)
            candidate.write_bytes(data)
        weights = read_weights(candidate)
        activation_ranges(weights, pictures)
        told = card(weights, len(data)) if card else None

    identity = fingerprint(data).hex()
    folder.mkdir(parents=True, exist_ok=True)
    tune = provenance.tune
    path = folder / f"{name}-{tune}-{identity}.safetensors"
    index = known()  # another run may have published while this one measured
    files = {**index.files, identity: Published(path, hashlib.sha256(data).hexdigest(), tune)}
    tunings = index.presets.get(name, {})
    previous = tunings.get(tune, identity)
    old = files.pop(previous, None) if replace and previous != identity else None
    text = Index({**index.presets, name: {**tunings, tune: identity}}, files).text()
    contents = {path: data, **({path.with_suffix(".md"): told.encode()} if told else {}), listing: text.encode()}
    made = [each for each in contents if not os.path.lexists(each)]
    try:
        for each, content in contents.items():
            write_atomically(each, lambda file, content=content: file.write(content))  # type: ignore[misc]
    except BaseException:
        for each in made:
            each.unlink(missing_ok=True)
        raise
    if old is not None and old.path != path:  # only now that nothing names it any more
        old.path.unlink(missing_ok=True)
        old.path.with_suffix(".md").unlink(missing_ok=True)
    return path
