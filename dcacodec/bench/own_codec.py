"""dcacodec among the codecs that are measured."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

from dcacodec._version import __version__
from dcacodec.bench.codec import BenchCodec, CodecOptions, Pixels
from dcacodec.format.container import describe
from dcacodec.format.reader import parse
from dcacodec.images.picture import Picture
from dcacodec.weights.registry import by_preset

OURS: Final = "dcacodec"
OURS_REFINED: Final = "dcacodec:"


class Ours(BenchCodec):
    """dcacodec itself, with or without refinement."""

    network = True
    scale = tuple(map(float, range(1, 101)))

    def __init__(self, options: CodecOptions, effort: int = 0) -> None:
        self._options, self._effort = options, effort
        self.name = f"{OURS_REFINED}{effort}" if effort else OURS
        self.settings = options.qualities
        path = options.weights or by_preset(options.preset).path
        self._digest = hashlib.sha256(path.read_bytes()).hexdigest()
        stem, fingerprint = path.stem, self._digest[:8]
        self.label = f"dcacodec {__version__}, {stem if fingerprint in stem else f'{stem} ({fingerprint})'}"
        if effort:
            self.label += f", effort {effort}"

    def identity(self, setting: float) -> str:
        """By version, weights and the code itself, which changes faster than the version."""
        return f"{self.label} {self._digest} {_code_digest()} quality {setting:g}"

    def import_packages(self) -> None:
        """PyTorch."""
        importlib.import_module("dcacodec.codec.codec")

    def prepare(self, setting: float) -> None:
        """One network serves all qualities."""
        _ = self._codec

    @cached_property
    def _codec(self) -> Any:
        from dcacodec.codec.codec import Codec
        from dcacodec.network.device import choose_device
        from dcacodec.weights.reader import read_weights

        if self._options.weights is None:
            return Codec.load(self._options.preset, device=self._options.device)
        return Codec(read_weights(self._options.weights), choose_device(self._options.device))

    def encode(self, pixels: Pixels, setting: float) -> bytes:
        """Colour alone: no alpha plane, no metadata."""
        data: bytes = self._codec.encode(Picture(pixels), quality=int(setting), effort=self._effort)
        return data

    def decode(self, data: bytes) -> Pixels:
        """Of any size: these are our own files."""
        pixels: Pixels = self._codec.decode(data, max_pixels=None).pixels
        return pixels

    def streams(self, data: bytes) -> Mapping[str, int]:
        """z_r to y_4, and the header, which is all else."""
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
