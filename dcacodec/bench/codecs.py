"""The codecs that can be measured: dcacodec, what Pillow and its plugins bring, and the models of CompressAI.

All of them are `BenchCodec`s: an array of pixels to the bytes of a file, and back, at a setting.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
import re
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from dcacodec._version import __version__
from dcacodec.errors import BenchError
from dcacodec.format.container import describe
from dcacodec.format.reader import parse
from dcacodec.images.picture import Picture
from dcacodec.weights.registry import by_preset

Pixels = NDArray[np.uint8]

OURS: Final = "dcacodec"
OUR_QUALITIES: Final = (5.0, 20.0, 35.0, 50.0, 65.0, 80.0, 95.0)
OURS_REFINED: Final = "dcacodec:"
COMPRESSAI: Final = "compressai:"


@dataclass(frozen=True)
class Options:
    """How codecs are to run. Plain values: they are sent to other processes.

    Attributes:
        preset: of dcacodec.
        weights: a weights file to take instead.
        device: where networks run: "auto", "cpu" or "cuda".
        threads: processor threads of a codec, for those that let themselves be told.
        qualities: of dcacodec.
    """

    preset: str = "small"
    weights: Path | None = None
    device: str = "auto"
    threads: int = 1
    qualities: tuple[float, ...] = OUR_QUALITIES


class BenchCodec(ABC):
    """A codec at any of its settings.

    Attributes:
        name: short and unique.
        label: for people, with the version and what was chosen.
        settings: to measure, from the smallest files to the largest.
        scale: all there are, from the smallest files to the largest: where a file of a given size is searched.
        network: whether it runs one, on the device of the options.
    """

    name: str
    label: str
    network: bool = False
    settings: tuple[float, ...]
    scale: tuple[float, ...]

    @abstractmethod
    def identity(self, setting: float) -> str:
        """All that decides what the bytes at a setting are, and how fast they are made."""

    def import_packages(self) -> None:  # noqa: B027 (not every codec has any)
        """Import what coding needs, but load no model."""

    def prepare(self, setting: float) -> None:  # noqa: B027 (not every codec has a model)
        """Load what coding at a setting needs, so that it is not counted as coding.

        Raises:
            DcaError: it cannot be had.
        """

    @abstractmethod
    def encode(self, pixels: Pixels, setting: float) -> bytes:
        """(height, width, 3) -> the bytes of a file."""

    @abstractmethod
    def decode(self, data: bytes) -> Pixels:
        """The inverse."""

    def streams(self, data: bytes) -> Mapping[str, int]:
        """The bytes of a file by stream, "header" for all that is in none; empty for codecs that do not tell."""
        return {}


def open_codec(name: str, options: Options) -> BenchCodec:
    """The codec of this name.

    Raises:
        BenchError: there is none, or a package that it needs is missing.
        DcaError: the weights of dcacodec are missing.
    """
    if name == OURS:
        return Ours(options)
    if name.startswith(OURS_REFINED):
        effort = name.removeprefix(OURS_REFINED)
        if not re.fullmatch("[1-9][0-9]{0,3}", effort):
            raise BenchError(f"{name}: an effort is a number from 1 to 9999")
        return Ours(options, int(effort))
    if name in OUTPUT_FORMATS:
        return PillowCodec(name, OUTPUT_FORMATS[name], options.threads)
    if name.startswith(COMPRESSAI):
        return CompressAI(name, options.device)
    known = ", ".join((OURS, f"{OURS_REFINED}EFFORT", *OUTPUT_FORMATS, f"{COMPRESSAI}MODEL"))
    raise BenchError(f"no codec {name!r}; these are known: {known}")


def available() -> tuple[str, ...]:
    """Names of the codecs that this machine has and that need no further choice."""
    return (OURS, *(name for name, form in OUTPUT_FORMATS.items() if form.missing() is None))


# ----------------------------------------------------------------------------------------------------------- dcacodec


class Ours(BenchCodec):
    """dcacodec itself, with or without refinement."""

    network = True
    scale = tuple(map(float, range(1, 101)))

    def __init__(self, options: Options, effort: int = 0) -> None:
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


# ------------------------------------------------------------------------------------------------------------- Pillow


@dataclass(frozen=True)
class PillowFormat:
    """A lossy format that Pillow or a plugin writes.

    Attributes:
        title: for the label, with what was chosen.
        form: Pillow's name of it.
        feature: of Pillow that it needs; None for one of a plugin.
        library: the name and version of what codes it.
        options: of saving, by setting and number of threads.
        settings, scale: as of `BenchCodec`.
        plugin: module to import first, and the package that it is from.
    """

    title: str
    form: str
    feature: str | None
    library: Callable[[], str]
    options: Callable[[float, int], dict[str, Any]]
    settings: tuple[float, ...]
    scale: tuple[float, ...]
    plugin: tuple[str, str] | None = None

    def missing(self) -> str | None:
        """What has to be installed for it, None if nothing."""
        if self.feature is not None and not features.check(self.feature):
            return "a Pillow that was built with it"
        if self.plugin is not None and importlib.util.find_spec(self.plugin[0]) is None:
            return f"the package {self.plugin[1]}"
        return None


_QUALITIES: Final = tuple(map(float, range(1, 101)))


def _jpeg(subsampling: str) -> PillowFormat:
    return PillowFormat(
        f"JPEG {subsampling}",
        "JPEG",
        "jpg",
        lambda: f"libjpeg-turbo {features.version('libjpeg_turbo') or features.version('jpg')}",
        lambda setting, threads: {"quality": int(setting), "subsampling": subsampling, "optimize": True},
        (5, 10, 20, 35, 50, 65, 80, 90, 95),
        _QUALITIES[:95],
    )


OUTPUT_FORMATS: Final[Mapping[str, PillowFormat]] = {
    "jpeg": _jpeg("4:2:0"),
    "jpeg-444": _jpeg("4:4:4"),
    "jpeg2000": PillowFormat(
        "JPEG 2000 4:4:4 9/7",
        "JPEG2000",
        "jpg_2000",
        lambda: f"OpenJPEG {features.version('jpg_2000')}",
        # The setting is a compression ratio. Without mct=1 Pillow leaves the colours as they are, which costs decibels.
        lambda setting, threads: {
            "quality_mode": "rates",
            "quality_layers": [setting],
            "irreversible": True,
            "mct": 1,
            "no_jp2": True,
        },
        (240, 120, 64, 40, 24, 16, 10),
        tuple(round(500 / 1.05**i, 2) for i in range(101)),
    ),
    "webp": PillowFormat(
        "WebP 4:2:0 method 6",
        "WEBP",
        "webp",
        lambda: f"libwebp {features.version('webp')}",
        lambda setting, threads: {"quality": int(setting), "method": 6},
        (1, 10, 30, 50, 70, 85, 95),
        (0, *_QUALITIES),
    ),
    "avif": PillowFormat(
        "AVIF 4:4:4 speed 6 tune=psnr",
        "AVIF",
        "avif",
        lambda: f"libavif {features.version('avif')}, aom",
        lambda setting, threads: {
            "quality": int(setting),
            "subsampling": "4:4:4",
            "speed": 6,
            "codec": "aom",
            "max_threads": threads,
            "advanced": {"tune": "psnr"},
        },
        (5, 20, 35, 50, 65, 80),
        (0, *_QUALITIES[:99]),
    ),
    "jxl": PillowFormat(
        "JPEG XL effort 7",
        "JXL",
        None,
        lambda: f"pillow-jxl-plugin {version_of('pillow-jxl-plugin')}",
        lambda setting, threads: {"quality": int(setting), "effort": 7, "num_threads": threads},
        (5, 20, 40, 60, 75, 85, 93),
        _QUALITIES[:99],
        ("pillow_jxl", "pillow-jxl-plugin"),
    ),
}


class PillowCodec(BenchCodec):
    """A format of Pillow."""

    def __init__(self, name: str, form: PillowFormat, threads: int) -> None:
        if missing := form.missing():
            raise BenchError(f"{name} needs {missing}")
        self.name, self._form, self._threads = name, form, threads
        self.settings, self.scale = tuple(map(float, form.settings)), tuple(map(float, form.scale))
        self.label = f"{form.title} ({form.library()})"
        self.import_packages()

    def identity(self, setting: float) -> str:
        """By library and options."""
        return f"{self.label} Pillow {version_of('pillow')} {self._options(setting)}"

    def _options(self, setting: float) -> dict[str, Any]:
        return self._form.options(setting, self._threads)

    def import_packages(self) -> None:
        """The plugin."""
        if self._form.plugin:
            importlib.import_module(self._form.plugin[0])

    def encode(self, pixels: Pixels, setting: float) -> bytes:
        """Pillow's `save`."""
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, self._form.form, **self._options(setting))
        return buffer.getvalue()

    def decode(self, data: bytes) -> Pixels:
        """Pillow's `open`."""
        with Image.open(io.BytesIO(data), formats=[self._form.form]) as image:
            return np.array(image.convert("RGB"))


# --------------------------------------------------------------------------------------------------------- CompressAI


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
        """By release: the weights belong to it."""
        return f"{self.label} {self._device} {setting:g}"

    def prepare(self, setting: float) -> None:
        """Fetch and load the model of a setting. It stays until another one is asked for."""
        self._model(int(setting))

    def _model(self, quality: int) -> Any:
        if self._loaded and self._loaded[0] == quality:
            return self._loaded[1]
        from dcacodec.network.device import choose_device

        try:
            model = self._zoo.image_models[self._model_name](quality=quality, metric="mse", pretrained=True)
            model = model.eval().to(choose_device(self._device))
        except (OSError, RuntimeError) as error:
            raise BenchError(f"{self.name}: the weights of quality {quality} cannot be had: {error}") from error
        model.update()  # the tables of the entropy coder, where the weights came without
        self._loaded = (quality, model)
        return model

    def encode(self, pixels: Pixels, setting: float) -> bytes:
        """The picture is padded to multiples of 64 with its last row and column."""
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
        """With the model that the header names."""
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
