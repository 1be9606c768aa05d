"""Reading of published weights: a safetensors file, with fixed-point numbers where values must be exact.

========================  =========  ===================================================================================
name                      dtype      meaning
========================  =========  ===================================================================================
entropy.*.weight, .gain   float16    matrices, filters and gains of the entropy model
entropy.* (all others)    float32    its biases, and the limits of its activations
scales.inward, .outward   int32      X.16 (100, M), see `Scales`; one row per quality
scales.level              int32      X.9 (100, M)
table.y.*                 int32      the `CdfTable` of y, one row per scale level
table.R.*, .G.*, .L.*     int32      those of the hyper latents, one row per anchor and channel
all others                float16/32 transforms, hyper analysis, gains, priors: ordinary floating point
========================  =========  ===================================================================================

The metadata are "format", "config" (JSON of the `DCAConfig`) and the fields of `Provenance` that differ from their
defaults: "pixels", "tune" and "mse_share". The SHA-256 of the file identifies it: its first four bytes are the
fingerprint in the header of `.dca` files.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from dcacodec.coding import CdfTable
from dcacodec.errors import WeightsError
from dcacodec.format.container import FINGERPRINT_BYTES
from dcacodec.format.quality import TENTHS, tenths_of
from dcacodec.metrics.distortion import Distortion
from dcacodec.network.config import QUALITIES, TUNINGS, DCAConfig, Tuning
from dcacodec.network.context import Constants, EntropyModel, Scales
from dcacodec.network.dca import DCA
from dcacodec.network.device import to_device
from dcacodec.network.fixed_point import LATENT_BITS, SCALE_BITS, Snap
from dcacodec.network.priors import SCALE_LEVELS
from dcacodec.weights.bounds import remove_limits

FORMAT = "dcacodec-weights-3"
_EXPECTED_ZERO = 0.999
"""Above this probability of 0, nothing else is expected. It is below 1 as all symbols of a row have a count."""
_LARGEST_SIZE = 4096
"""Limit for sizes in the configuration: building a huge network takes long, even where its tensors are missing."""


@dataclass(frozen=True)
class Provenance:
    """How weights were trained.

    Attributes:
        pixels: number of pixels seen in training, by all runs; 0 if unknown.
        tune: name of the distortion trained for.
        mse_share: of the distortion, see `Distortion`.

    Raises:
        ValueError: a number is out of range, or the tuning is unknown.
    """

    pixels: int = 0
    tune: Tuning = "psnr"
    mse_share: float = 1.0

    def __post_init__(self) -> None:
        if self.pixels < 0:
            raise ValueError(f"trained on {self.pixels} pixels")
        if self.tune not in TUNINGS:
            raise ValueError(f"{self.tune!r} is not a tuning")
        Distortion(self.mse_share)

    @property
    def distortion(self) -> Distortion:
        """The distortion in the training loss, which refinement uses too."""
        return Distortion(self.mse_share)

    @property
    def metadata(self) -> dict[str, str]:
        """The fields that differ from their defaults, as text."""
        return {
            field.name: str(value) for field in fields(self) if (value := getattr(self, field.name)) != field.default
        }


@dataclass(frozen=True, eq=False)
class Weights:
    """The weights of a codec.

    Attributes:
        config: sizes of the network.
        network: in float32 and in evaluation mode; `entropy` has limits: it is exact.
        scale_tables: inward, outward, level: int32 (100, M), row q-1 for quality q.
        y_table: rows by scale level.
        z_tables: by letter; rows anchor * channels + channel.
        fingerprint: 4 bytes.
        constants: of the entropy model.
        provenance: how the network was trained.
    """

    config: DCAConfig
    network: DCA
    scale_tables: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]
    y_table: CdfTable
    z_tables: Mapping[str, CdfTable]
    fingerprint: bytes
    constants: Constants
    provenance: Provenance = Provenance()

    @torch.inference_mode(False)  # refinement has gradients
    def on(self, device: torch.device) -> Weights:
        """The same weights with a copy of the network on a device."""
        if device.type == "cpu":
            return self
        network = copy.deepcopy(self.network).to(device)
        return replace(self, network=network, constants=network.entropy.constants())

    @cached_property
    def inactive(self) -> frozenset[str]:
        """The hyper latents for which training found no use: their tables expect every element to be 0.

        Each element then costs less than 0.0015 bits. An encoder need not compute them: of photographs they are 0, and
        what the analysis makes of noise or of patterns of single pixels costs more than it gains.
        """
        return frozenset(
            letter for letter, table in self.z_tables.items() if table.zero_probabilities.min() > _EXPECTED_ZERO
        )

    @cached_property
    def in_bfloat16(self) -> DCA:
        """The network for inference, with the transforms' residual branches in bfloat16. It shares the parameters."""
        return self.network.prepared(torch.bfloat16)

    @cached_property
    def in_float32(self) -> DCA:
        """The network for inference, with the transforms in float32. It shares the parameters."""
        return self.network.prepared(torch.float32)

    @cached_property
    def entropy_in_float64(self) -> EntropyModel:
        """The entropy model in float64, which gives the same numbers where float32 products are not exact."""
        return copy.deepcopy(self.network.entropy).double()

    def floating_point(self) -> DCA:
        """The network as in training, without fixed-point arithmetic. It shares the parameters."""
        network = copy.deepcopy(self.network, memo={id(each): each for each in self.network.parameters()})
        remove_limits(network.entropy)
        return network

    def scales(self, quality: float, device: torch.device) -> Scales:
        """The fixed-point scales of a quality, each (1, 1, 1, M); interpolated between whole qualities.

        In float64, those of levels in float32.
        """
        rows = [
            _row(table, tenths_of(quality)).astype(np.float64) * 2.0**-bits
            for table, bits in zip(self.scale_tables, (SCALE_BITS, SCALE_BITS, LATENT_BITS), strict=True)
        ]
        inward, outward, level = to_device(np.stack(rows), device)[:, None, None, None]
        return Scales(inward, outward, level.float())


def _row(table: NDArray[np.int32], tenths: int) -> NDArray[np.int64]:
    """The row of a quality in tenths, in integers: halves are rounded up."""
    whole, tenth = divmod(tenths, TENTHS)
    first, second = (table[min(quality, len(table)) - 1].astype(np.int64) for quality in (whole, whole + 1))
    row: NDArray[np.int64] = (first * (TENTHS - tenth) + second * tenth + TENTHS // 2) // TENTHS
    return row


def read_weights(path: Path, digest: str | None = None) -> Weights:
    """Read a weights file.

    Args:
        path: the safetensors file.
        digest: its expected SHA-256, in hex.

    Raises:
        WeightsError: the file cannot be read, is not a weights file, or is damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path.name}: {error.strerror or error}") from error
    return parse_weights(data, path.name, digest)


@torch.inference_mode(False)  # refinement has gradients
def parse_weights(data: bytes, name: str, digest: str | None = None) -> Weights:
    """Parse the content of a weights file.

    Args:
        data: the content.
        name: of the file, for errors.
        digest: the expected SHA-256, in hex.

    Raises:
        WeightsError: it is not a weights file, or is damaged.
    """
    sha256 = hashlib.sha256(data)
    if digest is not None and sha256.hexdigest() != digest:
        raise WeightsError(f"{name} is damaged: its SHA-256 is not the published one")
    try:
        tensors = load_tensors(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        if header["format"] != FORMAT:
            raise WeightsError(f"{name} has the format {header['format']}, not {FORMAT}")
        config = DCAConfig(**json.loads(header["config"]))
        if any(isinstance(size, int) and size > _LARGEST_SIZE for size in config.to_dict().values()):
            raise WeightsError(f"{name} describes a network of sizes beyond {_LARGEST_SIZE}")
        pixels, share = int(header.get("pixels", 0)), float(header.get("mse_share", 1))
        provenance = Provenance(pixels, header.get("tune", "psnr"), share)
        return replace(_assemble(config, tensors, sha256.digest()[:FINGERPRINT_BYTES]), provenance=provenance)
    except (SafetensorError, KeyError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]  # PyTorch lists the tensors of a state that does not fit
        raise WeightsError(f"{name} is not a weights file of this program: {reason}") from error


def _assemble(config: DCAConfig, tensors: dict[str, Tensor], identity: bytes) -> Weights:
    def table(name: str) -> CdfTable:
        return CdfTable(*(tensors.pop(f"table.{name}.{part}").numpy() for part in ("cdf", "low", "shift")))

    y_table, z_tables = table("y"), {letter: table(letter) for letter in config.order}
    inward, outward, level = (tensors.pop(f"scales.{name}").numpy() for name in Scales._fields)
    for name, scales in zip(Scales._fields, (inward, outward, level), strict=True):
        if scales.dtype != np.int32 or scales.shape != (len(QUALITIES), config.latent):
            raise ValueError(f"scales.{name} is {scales.dtype} {scales.shape}")
    rows = {letter: config.anchors * config.hyper_channels[letter] for letter in config.order}
    if y_table.rows != SCALE_LEVELS or any(z_tables[letter].rows != rows[letter] for letter in rows):
        raise ValueError("a CDF table has a wrong number of rows")
    with torch.device("meta"):  # no time is spent on the initialisation
        network = DCA(config)
    for name, value in tensors.items():
        if not (value.is_floating_point() and value.isfinite().all()):
            raise ValueError(f"{name} holds a value that is not a finite floating-point number")
    for name, module in network.named_modules():
        if name.startswith("entropy.") and isinstance(module, Snap):
            module.set_limit(tensors[f"{name}.limit"].float())
    network.load_state_dict({name: value.float() for name, value in tensors.items()}, assign=True)
    network.requires_grad_(False).eval()
    return Weights(config, network, (inward, outward, level), y_table, z_tables, identity, network.entropy.constants())
