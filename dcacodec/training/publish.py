"""From a trained network to a weights file: quantise once, make integer tables once, check that nothing overflows."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from tqdm import tqdm

from dcacodec.codec import Codec
from dcacodec.coding import CdfTable, gaussian_table, symbol_counts, table_from_probabilities
from dcacodec.errors import WeightsError
from dcacodec.files import write_atomically
from dcacodec.fixedpoint import (
    ACTIVATION_BITS,
    ACTIVATION_LIMIT,
    SCALE_BITS,
    WEIGHT_BITS,
    WEIGHT_SUM_LIMIT,
    is_exact,
)
from dcacodec.images import Picture
from dcacodec.network.config import QUALITIES, DCAConfig
from dcacodec.network.context import Scales, StepCoder
from dcacodec.network.dca import DCA
from dcacodec.network.priors import LEVELS_PER_E, SCALE_LEVELS, SCALE_MIN, FactorizedPrior
from dcacodec.training.checkpoint import RunFacts, opened_checkpoint
from dcacodec.training.data import whole_blocks
from dcacodec.weights import FORMAT, Weights, fingerprint, read_weights
from dcacodec.zoo import INDEX, Index, Published, read_index

ALPHABET = 33
KEEP_FLOAT32 = ("gain.", "spread.", "priors.", "analysis.patch.", "analysis.down.", "synthesis.patch.", "synthesis.up.")
"""Small, or the skeleton, whose rounding would be heard at the highest quality. All other floats become float16."""
RANGE_QUALITIES = (1, 25, 50, 75, 100)
FIT_QUALITIES = (5, 20, 35, 50, 65, 80, 95)
FIT_PICTURES = 64
FIT_STRENGTH = 1000
"""How many counted residuals the Gaussian weighs as much as, in a fitted row."""


def _integers(name: str, value: Tensor, fraction: int, bits: int) -> Tensor:
    """``round(value * 2**fraction)`` as signed integers of 16 or 32 bits. Of NaN no comparison is true."""
    integer = (value.double() * 2.0**fraction).round()
    if not integer.abs().max() < 2 ** (bits - 1):
        raise WeightsError(f"{name} does not fit {bits} bits: its largest magnitude is {value.abs().max().item():.2f}")
    return integer.to(torch.int16 if bits == 16 else torch.int32)


def _fixed(name: str, value: Tensor) -> Tensor:
    """A parameter of the entropy model as an integer times 2**-12."""
    if not name.endswith(".weight"):
        return _integers(name, value, WEIGHT_BITS, 32)
    if not value.abs().flatten(1).sum(1).max() < WEIGHT_SUM_LIMIT:
        raise WeightsError(f"{name}: the weights of an output do not add up to less than {WEIGHT_SUM_LIMIT:.0f}")
    return _integers(name, value, WEIGHT_BITS, 16)


def _floating(name: str, value: Tensor) -> Tensor:
    """Any other parameter: float32 for some, float16 for most."""
    value = value.float() if name.startswith(KEEP_FLOAT32) else value.half()
    if not value.isfinite().all():
        raise WeightsError(f"{name} holds a value that is not finite, or beyond float16")
    return value


def prior_table(prior: FactorizedPrior) -> CdfTable:
    """The integer table of a factorised prior: rows anchor * channels + channel, regular symbols around the median."""
    half = (ALPHABET - 1) // 2
    double = FactorizedPrior(*prior.weight.shape[:2]).double()
    double.load_state_dict(prior.state_dict())
    anchors, channels = double.weight.shape[:2]
    reach = torch.arange(-512, 513, dtype=torch.float64)
    grid = reach[None, :, None].expand(anchors, -1, channels)
    with torch.no_grad():
        below = double.cumulative(grid - 0.5, torch.arange(anchors)).transpose(1, 2).flatten(0, 1)  # (rows, 1025)
    centre = (below < 0.5).sum(1) - 1  # the bin that the median falls in
    low = (centre - half).clamp(0, len(reach) - ALPHABET)
    edges = below.gather(1, low[:, None] + torch.arange(ALPHABET))
    regular = edges.diff(dim=1)
    escape = 1 - (edges[:, -1] - edges[:, 0])
    first = reach[low].to(torch.int64).numpy()
    return table_from_probabilities(
        regular.clamp(min=0).numpy(), escape.clamp(min=0).numpy(), first, np.zeros(len(first), int)
    )


def gaussian_levels() -> CdfTable:
    """The integer table of y: row i is a Gaussian of sigma SCALE_MIN * exp(i / LEVELS_PER_E)."""
    return gaussian_table(SCALE_MIN * np.exp(np.arange(SCALE_LEVELS) / LEVELS_PER_E), ALPHABET)


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
            symbols = codec.symbols_of(blocks, quality)
            for values, rows in zip(symbols.steps, symbols.rows, strict=True):
                counts += symbol_counts(values, rows, table) + symbol_counts(-values, rows, table)
    return table_from_probabilities(counts[:, :-1], counts[:, -1], table.low, table.shift)


def export(model: DCA, levels: CdfTable | None = None, pixels: int = 0) -> bytes:
    """A trained network as the bytes of a weights file (layout: :mod:`dcacodec.weights`).

    The same arguments always give the same bytes, and so the same fingerprint.

    Args:
        model: the network.
        levels: the table of y; Gaussians if None.
        pixels: how many training has shown it; 0 is not told.

    Raises:
        WeightsError: a weight does not fit its format.
    """
    config = model.config
    tensors: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        value = value.detach().cpu()
        tensors[name] = _fixed(name, value) if name.startswith("entropy.") else _floating(name, value)
    tables = {"y": levels or gaussian_levels()}
    tables |= {letter: prior_table(model.priors[letter].cpu()) for letter in config.order}  # type: ignore[arg-type]
    for name, table in tables.items():
        for part in ("cdf", "low", "shift"):
            tensors[f"table.{name}.{part}"] = torch.from_numpy(np.asarray(getattr(table, part)).astype(np.int32))
    with torch.no_grad():
        position = torch.tensor([config.anchor_position(quality) for quality in QUALITIES])
        scales = model.cpu().scales(position)
    for name, value, bits in zip(Scales._fields, scales, (SCALE_BITS, SCALE_BITS, ACTIVATION_BITS), strict=True):
        tensors[f"scales.{name}"] = _integers(f"scales.{name}", value[:, 0, 0], bits, 32)
    metadata = {"format": FORMAT, "config": json.dumps(config.to_dict())}
    metadata |= {"pixels": str(pixels)} if pixels else {}
    return _in_order(save_tensors({name: value.contiguous() for name, value in tensors.items()}, metadata))


def _in_order(data: bytes) -> bytes:
    """A safetensors file with its header sorted by name: the library writes metadata in an order of chance."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # so that the tensors stay aligned
    return len(header).to_bytes(8, "little") + header + data[end:]


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

    def watch_means(module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
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
                codec.encode(Picture(pixels), quality)
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
    pixels: int = 0,
) -> Path:
    """Write a model's weights into a folder of published weights and make them its preset's newest.

    All that can be wrong with them is found before anything is written there, and the list names them last. Where
    writing fails, what was there is as it was, and nothing else.

    Args:
        model: the network.
        folder: of the published weights; made where there is none.
        pictures: to run the weights on, read back, in fixed point.
        fit: pictures that y gets the table of `fitted_levels` from; none for that of Gaussians.
        replace: remove the preset's previous file and card: right only for weights that no release has had.
        quiet: no progress bar.
        card: makes the text of the card beside the file, from the weights and the bytes of their file.
        pixels: as `export` takes it.

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
    data = export(model, pixels=pixels)
    name = model.config.name
    with tempfile.TemporaryDirectory() as scratch:
        candidate = Path(scratch, "weights.safetensors")
        candidate.write_bytes(data)
        if fit:
            data = export(model, fitted_levels(read_weights(candidate), fit, quiet), pixels)
            candidate.write_bytes(data)
        weights = read_weights(candidate)
        activation_ranges(weights, pictures)
        told = card(weights, len(data)) if card else None

    identity = fingerprint(data).hex()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{identity}.safetensors"
    index = known()  # another run may have published while this one measured
    files = {**index.files, identity: Published(path, hashlib.sha256(data).hexdigest())}
    previous = index.presets.get(name, identity)
    old = files.pop(previous, None) if replace and previous != identity else None
    text = Index({**index.presets, name: identity}, files).text()
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
