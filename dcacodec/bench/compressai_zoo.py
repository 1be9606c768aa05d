"""CompressAI's models as codecs of benchmarks."""

from __future__ import annotations

import importlib
import struct
from importlib.metadata import version as version_of
from typing import Any, Final

import numpy as np

from dcacodec.bench.codec import BenchCodec
from dcacodec.errors import BenchError
from dcacodec.images.picture import Pixels

COMPRESSAI: Final = "compressai:"


class CompressAI(BenchCodec):
    """A pretrained model of CompressAI's zoo, trained for MSE. A file is its strings behind a header.

    The header: quality (1 byte), width and height of the picture, height and width of the latent (2 bytes each), number
    of strings (1), length of each (4).
    """

    network = True
    _SIZES: Final = struct.Struct(">B4HB")
    _MULTIPLE: Final = 64

    def __init__(self, name: str, device: str) -> None:
        self.name, self._device = name, device
        self._model_name = name.removeprefix(COMPRESSAI)
        try:
            self._zoo: Any = importlib.import_module("compressai.zoo")
        except (ImportError, OSError, RuntimeError) as error:  # the latter two: a torchvision for another torch
            raise BenchError(f"{name} needs the package compressai, which cannot be imported: {error}") from error
        models = [model for model in self._zoo.image_models if not model.endswith("-vbr")]  # these are coded otherwise
        if self._model_name not in models:
            raise BenchError(f"{name}: no such model of one rate in CompressAI; it has {', '.join(sorted(models))}")
        highest = 6 if self._model_name.startswith("cheng2020") else 8
        self.settings = self.scale = tuple(map(float, range(1, highest + 1)))
        self.label = f"{self._model_name} (CompressAI {version_of('compressai')})"
        self._loaded: tuple[int, Any] | None = None

    def identity(self, setting: float) -> str:
        """Identified by the release, which determines the weights."""
        return f"{self.label} {self._device} {setting:g}"

    def prepare(self, setting: float) -> None:
        """Download and load the model of a setting. It stays in memory until another one is requested."""
        self._model(int(setting))

    def _model(self, quality: int) -> Any:
        if self._loaded and self._loaded[0] == quality:
            return self._loaded[1]
        from dcacodec.network.device import choose_device

        try:
            model = self._zoo.image_models[self._model_name](quality=quality, metric="mse", pretrained=True)
            model = model.eval().to(choose_device(self._device))
        except (OSError, RuntimeError) as error:
            raise BenchError(f"{self.name}: the weights of quality {quality} cannot be loaded: {error}") from error
        model.update()  # the tables of the entropy coder, where the weights came without
        self._loaded = (quality, model)
        return model

    def encode(self, pixels: Pixels, setting: float) -> bytes:
        """Encode, with sides padded to multiples of 64 by repeating the last row and column."""
        import torch

        height, width = pixels.shape[:2]
        padding = ((0, -height % self._MULTIPLE), (0, -width % self._MULTIPLE), (0, 0))
        padded = torch.from_numpy(np.pad(pixels, padding, mode="edge")).permute(2, 0, 1)[None]
        model = self._model(int(setting))
        with torch.inference_mode():
            coded = model.compress(padded.to(next(model.parameters()).device).float() / 255)
        strings = [stream[0] for stream in coded["strings"]]
        header = self._SIZES.pack(int(setting), width, height, *coded["shape"], len(strings))
        return b"".join((header, *(struct.pack(">I", len(string)) for string in strings), *strings))

    def decode(self, data: bytes) -> Pixels:
        """Decode with the model that the header names."""
        import torch

        quality, width, height, down, across, count = self._SIZES.unpack_from(data)
        place = self._SIZES.size + 4 * count
        strings = []
        for length in struct.unpack_from(f">{count}I", data, self._SIZES.size):
            strings.append([data[place : place + length]])
            place += length
        with torch.inference_mode():
            picture = self._model(quality).decompress(strings, (down, across))["x_hat"][0]
            samples = (picture.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        pixels: Pixels = np.ascontiguousarray(samples[:height, :width])
        return pixels
