"""Export of a trained network to a weights file, with an exact entropy model and integer tables."""

from __future__ import annotations

import copy
import json

import numpy as np
import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from dcacodec.coding import CdfTable, gaussian_table, table_from_probabilities
from dcacodec.errors import WeightsError
from dcacodec.network.config import QUALITIES
from dcacodec.network.context import Scales
from dcacodec.network.dca import DCA
from dcacodec.network.fixed_point import LATENT_BITS, SCALE_BITS, SIGNIFICANT_BITS
from dcacodec.network.priors import LEVELS_PER_E, SCALE_LEVELS, SCALE_MIN, FactorizedPrior
from dcacodec.weights.bounds import Limits, round_parameters, set_limits
from dcacodec.weights.reader import FORMAT, Provenance

ALPHABET = 33
DEFAULT_LIMIT = 64.0
"""Of activations, where none were measured (see :mod:`dcacodec.training.limits`)."""
KEEP_FLOAT32 = ("gain.", "spread.", "priors.", "analysis.patch.", "analysis.down.", "synthesis.patch.", "synthesis.up.")
"""Small tensors, and the linear layers, whose rounding would be visible at the highest qualities. All other
floating-point tensors become float16."""


def _integers(name: str, value: Tensor, fraction: int, bits: int) -> Tensor:
    """``round(value * 2**fraction)`` as int32, with so many bits at most."""
    integer = (value.double() * 2.0**fraction).round()
    # Written so that NaN fails.
    if not integer.abs().max() < 2 ** (bits - 1):
        raise WeightsError(f"{name} does not fit {bits} bits: its largest magnitude is {value.abs().max().item():.2f}")
    return integer.to(torch.int32)


def _exact(name: str, value: Tensor) -> Tensor:
    """A rounded parameter of the entropy model in float16 (matrices, filters and gains) or float32."""
    stored = value.half() if name.endswith((".weight", ".gain")) else value.float()
    if not torch.equal(stored.double(), value.double()):  # not an assertion: the file would be another network
        raise WeightsError(f"{name} is not exact in {stored.dtype}")
    return stored


def _floating(name: str, value: Tensor) -> Tensor:
    """Any other parameter in float16, or in float32 for `KEEP_FLOAT32`."""
    value = value.float() if name.startswith(KEEP_FLOAT32) else value.half()
    if not value.isfinite().all():
        raise WeightsError(f"{name} holds a value that is not finite, or beyond float16")
    return value


def prior_table(prior: FactorizedPrior) -> CdfTable:
    """The integer table of a factorised prior: row anchor * channels + channel, regular symbols around the median."""
    half = (ALPHABET - 1) // 2
    with torch.device("cpu"):
        double = FactorizedPrior(*prior.weight.shape[:2]).double()
    double.load_state_dict(prior.state_dict())
    anchors, channels = double.weight.shape[:2]
    reach = torch.arange(-512, 513, dtype=torch.float64, device="cpu")
    grid = reach[None, :, None].expand(anchors, -1, channels)
    with torch.no_grad():
        below = double.cumulative(grid - 0.5, torch.arange(anchors, device="cpu"))
    below = below.transpose(1, 2).flatten(0, 1)  # (rows, 1025)
    centre = (below < 0.5).sum(1) - 1  # the bin of the median
    low = (centre - half).clamp(0, len(reach) - ALPHABET)
    edges = below.gather(1, low[:, None] + torch.arange(ALPHABET, device="cpu"))
    regular = edges.diff(dim=1)
    escape = 1 - (edges[:, -1] - edges[:, 0])
    first = reach[low].to(torch.int64).numpy()
    return table_from_probabilities(
        regular.clamp(min=0).numpy(), escape.clamp(min=0).numpy(), first, np.zeros(len(first), int)
    )


def gaussian_levels() -> CdfTable:
    """The integer table of y: row i is a Gaussian of sigma SCALE_MIN * exp(i / LEVELS_PER_E)."""
    return gaussian_table(SCALE_MIN * np.exp(np.arange(SCALE_LEVELS) / LEVELS_PER_E), ALPHABET)


def export(
    model: DCA,
    *,
    levels: CdfTable | None = None,
    provenance: Provenance = Provenance(),
    limits: Limits | float = DEFAULT_LIMIT,
) -> bytes:
    """Export a trained network to the bytes of a weights file (layout: :mod:`dcacodec.weights.reader`).

    The same arguments always give the same bytes, and so the same fingerprint.

    Args:
        model: the network.
        levels: the table of y; None for Gaussians.
        provenance: how the network was trained.
        limits: of the entropy model's activations.

    Raises:
        WeightsError: a weight does not fit its format.
    """
    config, model = model.config, copy.deepcopy(model).cpu()
    if not all(value.isfinite().all() for value in model.entropy.parameters()):
        raise WeightsError("the entropy model holds a value that is not finite")
    set_limits(model.entropy, limits)
    round_parameters(model.entropy)
    tensors: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        value = value.detach()
        tensors[name] = _exact(name, value) if name.startswith("entropy.") else _floating(name, value)
    tables = {"y": levels or gaussian_levels()}
    tables |= {letter: prior_table(model.priors[letter]) for letter in config.order}  # type: ignore[arg-type]
    for name, table in tables.items():
        for part in ("cdf", "low", "shift"):
            tensors[f"table.{name}.{part}"] = torch.from_numpy(np.asarray(getattr(table, part)).astype(np.int32))
    with torch.no_grad():
        place = [config.anchor_position(quality) for quality in QUALITIES]
        position = torch.tensor(place, dtype=torch.float32, device="cpu")
        scales = model.scales(position)
    # Levels are read as float32.
    for name, value, fraction, bits in zip(
        Scales._fields, scales, (SCALE_BITS, SCALE_BITS, LATENT_BITS), (32, 32, SIGNIFICANT_BITS), strict=True
    ):
        tensors[f"scales.{name}"] = _integers(f"scales.{name}", value[:, 0, 0], fraction, bits)
    metadata = {"format": FORMAT, "config": json.dumps(config.to_dict())}
    metadata |= provenance.metadata
    return _in_order(save_tensors({name: value.contiguous() for name, value in tensors.items()}, metadata))


def _in_order(data: bytes) -> bytes:
    """A safetensors file with a sorted header: the library writes metadata in random order."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # so that the tensors stay aligned
    return len(header).to_bytes(8, "little") + header + data[end:]
