"""dcacodec as a codec of benchmarks."""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

from dcacodec._version import __version__
from dcacodec.bench.codec import BenchCodec, CodecOptions
from dcacodec.format.container import describe
from dcacodec.format.reader import parse
from dcacodec.images.picture import Picture, Pixels
from dcacodec.network.config import TUNINGS, Tuning
from dcacodec.weights.registry import by_preset

OURS: Final = "dcacodec"
OUR_NAMES: Final = re.compile(rf"{OURS}(?:-(?P<tune>{'|'.join(TUNINGS)}))?(?::(?P<effort>[1-9][0-9]{{0,3}}))?")


class Ours(BenchCodec):
    """dcacodec with one of its tunings, with or without refinement.

    Args:
        name: "dcacodec" for the tuning that is the default, "dcacodec-psnr" or "dcacodec-visual"; with ":40" behind it
            for 40 refinement iterations.
        options: of the codec. A weights file in them replaces the weights of the tuning.

    Raises:
        ValueError: the name is none of these.
        DcaError: the weights are missing.
    """

    network = True
    scale = tuple(map(float, range(1, 101)))

    def __init__(self, name: str, options: CodecOptions) -> None:
        parts = OUR_NAMES.fullmatch(name)
        if parts is None:
            raise ValueError(f"not a name of {OURS}: {name!r}")
        self.name, self._options, self._effort = name, options, int(parts["effort"] or 0)
        self._tune: Tuning | None = next((tune for tune in TUNINGS if tune == parts["tune"]), None)
        self.settings = options.qualities
        path = options.weights or by_preset(options.preset, self._tune).path
        self._digest = hashlib.sha256(path.read_bytes()).hexdigest()
        stem, fingerprint = path.stem, self._digest[:8]
        self.label = f"dcacodec {__version__}, {stem if fingerprint in stem else f'{stem} ({fingerprint})'}"
        if self._effort:
            self.label += f", effort {self._effort}"

    def identity(self, setting: float) -> str:
        """Identified by version, weights and a digest of the code, which changes more often than the version."""
        return f"{self.label} {self._digest} {_code_digest()} quality {setting:g}"

    def import_packages(self) -> None:
        """Import PyTorch."""
        importlib.import_module("dcacodec.codec.codec")

    def prepare(self, setting: float) -> None:
        """Load the network, which serves all qualities."""
        _ = self._codec

    @cached_property
    def _codec(self) -> Any:
        from dcacodec.codec.codec import Codec
        from dcacodec.network.device import choose_device
        from dcacodec.weights.reader import read_weights

        if self._options.weights is None:
            return Codec.load(self._options.preset, tune=self._tune, device=self._options.device)
        return Codec(read_weights(self._options.weights), choose_device(self._options.device))

    def encode(self, pixels: Pixels, setting: float) -> bytes:
        """Encode the colours only, without an alpha plane or metadata."""
        data: bytes = self._codec.encode(Picture(pixels), quality=int(setting), effort=self._effort)
        return data

    def decode(self, data: bytes) -> Pixels:
        """Decode without a limit of size: these are our own files."""
        pixels: Pixels = self._codec.decode(data, max_pixels=None).pixels
        return pixels

    def streams(self, data: bytes) -> Mapping[str, int]:
        """The bytes of z_r to y_4, and all others as the header."""
        streams: dict[str, int] = describe(parse(data, None), len(data))["streams"]
        return {**streams, "header": len(data) - sum(streams.values())}


@cache
def _code_digest() -> str:
    """SHA-256 over the modules that code pictures."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).parts[0] not in ("batch", "bench", "cli", "plotting", "training"):
            digest.update(path.read_bytes())
    return digest.hexdigest()
