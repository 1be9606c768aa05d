"""From a trained network to a weights file: quantise once, make integer tables once, check that nothing overflows."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from dcacodec.codec import Codec
from dcacodec.coding import CdfTable, gaussian_table, table_from_probabilities
from dcacodec.errors import WeightsError
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
from dcacodec.network.context import Scales
from dcacodec.network.dca import DCA
from dcacodec.network.priors import LEVELS_PER_E, SCALE_LEVELS, SCALE_MIN, FactorizedPrior
from dcacodec.weights import FORMAT, Weights, fingerprint, read_weights

ALPHABET = 33
KEEP_FLOAT32 = ("gain.", "spread.", "priors.", "analysis.patch.", "analysis.down.", "synthesis.patch.", "synthesis.up.")
"""Small, or the skeleton, whose rounding would be heard at the highest quality. All other floats become float16."""
RANGE_QUALITIES = (1, 25, 50, 75, 100)


def _fixed(name: str, value: Tensor) -> Tensor:
    """A parameter of the entropy model as an integer times 2**-12."""
    integer = (value.double() * 2.0**WEIGHT_BITS).round()
    if not name.endswith(".weight"):
        if integer.abs().max() >= 2**31:
            raise WeightsError(f"{name} does not fit 32 bits")
        return integer.to(torch.int32)
    if integer.abs().max() >= 2**15:
        raise WeightsError(f"{name} does not fit 16 bits: the largest weight is {value.abs().max().item():.2f}")
    if value.abs().flatten(1).sum(1).max() >= WEIGHT_SUM_LIMIT:
        raise WeightsError(f"{name}: the weights of an output add up to {WEIGHT_SUM_LIMIT:.0f} or more")
    return integer.to(torch.int16)


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


def export(model: DCA) -> bytes:
    """A trained network as the bytes of a weights file (layout: :mod:`dcacodec.weights`).

    Raises:
        WeightsError: a weight does not fit its fixed-point format.
    """
    config = model.config
    tensors: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        value = value.detach().cpu()
        if name.startswith("entropy."):
            tensors[name] = _fixed(name, value)
        else:
            tensors[name] = value.float() if name.startswith(KEEP_FLOAT32) else value.half()
    tables = {"y": gaussian_levels()}
    tables |= {letter: prior_table(model.priors[letter].cpu()) for letter in config.order}  # type: ignore[arg-type]
    for name, table in tables.items():
        for part in ("cdf", "low", "shift"):
            tensors[f"table.{name}.{part}"] = torch.from_numpy(np.asarray(getattr(table, part)).astype(np.int32))
    with torch.no_grad():
        position = torch.tensor([config.anchor_position(quality) for quality in QUALITIES])
        scales = model.cpu().scales(position)
    for name, value, bits in zip(Scales._fields, scales, (SCALE_BITS, SCALE_BITS, ACTIVATION_BITS), strict=True):
        tensors[f"scales.{name}"] = (value[:, 0, 0].double() * 2.0**bits).round().to(torch.int32)
    metadata = {"format": FORMAT, "config": json.dumps(config.to_dict())}
    return save_tensors({name: value.contiguous() for name, value in sorted(tensors.items())}, metadata)


def activation_ranges(weights: Weights, pictures: Sequence[NDArray[np.uint8]]) -> dict[str, float]:
    """Largest magnitude that each module of the entropy model puts out in fixed point, over pictures and qualities.

    Raises:
        WeightsError: one reaches the clamp at `ACTIVATION_LIMIT`.
    """
    largest: dict[str, float] = {}

    def watch(name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if isinstance(output, Tensor) and is_exact(output):
                largest[name] = max(largest.get(name, 0.0), output.abs().max().item())

        return hook

    entropy = weights.network.entropy
    # The last result, y_hat, is not clamped: only the modules inside are watched.
    hooks = [module.register_forward_hook(watch(name)) for name, module in entropy.named_modules() if name]
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
            raise WeightsError(f"the output of {name} reaches the clamp at {ACTIVATION_LIMIT:.0f}")
    return largest


def load_checkpoint(path: Path) -> tuple[DCA, dict[str, Any]]:
    """The averaged network of a training checkpoint, and the checkpoint's other entries."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    model = DCA(DCAConfig(**state["config"]))
    model.load_state_dict(state.pop("average"))
    return model.eval(), state


def publish(model: DCA, folder: Path, pictures: Sequence[NDArray[np.uint8]], replace: bool = False) -> Path:
    """Write a model's weights into a folder of published weights and make them its preset's newest.

    The file is written, read back and run on ``pictures`` before the index names it. With ``replace`` the preset's
    previous file and card are removed: right only for weights that no release has had.

    Returns:
        The path of the weights file.
    """
    data = export(model)
    name = model.config.name
    identity = fingerprint(data).hex()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{identity}.safetensors"
    _replace(path, data)
    try:
        activation_ranges(read_weights(path), pictures)
    except WeightsError:
        path.unlink()
        raise
    listing = folder / "index.json"
    index = json.loads(listing.read_text("utf-8")) if listing.exists() else {"presets": {}, "files": {}}
    previous = index["presets"].get(name)
    if replace and previous not in (None, identity):
        old = folder / index["files"].pop(previous)["file"]
        old.unlink(missing_ok=True)
        old.with_suffix(".md").unlink(missing_ok=True)
    index["presets"][name] = identity
    index["files"][identity] = {"file": path.name, "sha256": hashlib.sha256(data).hexdigest()}
    _replace(listing, (json.dumps(index, indent=1, sort_keys=True) + "\n").encode())
    return path


def _replace(path: Path, data: bytes) -> None:
    partial = path.with_suffix(".part")
    partial.write_bytes(data)
    os.replace(partial, path)
