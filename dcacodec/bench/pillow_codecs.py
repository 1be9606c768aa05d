"""Formats of Pillow and its plugins as codecs of benchmarks."""

from __future__ import annotations

import importlib
import importlib.util
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version as version_of
from typing import Any, Final

import numpy as np
from PIL import Image, features

from dcacodec.bench.codec import BenchCodec
from dcacodec.errors import BenchError
from dcacodec.images.picture import Pixels


@dataclass(frozen=True)
class PillowFormat:
    """A lossy format that Pillow or a plugin writes.

    Attributes:
        title: for the label, with the chosen options.
        form: Pillow's name of the format.
        feature: required feature of Pillow; None for a format of a plugin.
        library: name and version of the library that codes it.
        options: of saving, by setting and number of threads.
        settings, scale: as of `BenchCodec`.
        plugin: module to import first, and its package.
        newer: the requirement to name if the options are rejected.
    """

    title: str
    form: str
    feature: str | None
    library: Callable[[], str]
    options: Callable[[float, int], dict[str, Any]]
    settings: tuple[float, ...]
    scale: tuple[float, ...]
    plugin: tuple[str, str] | None = None
    newer: str | None = None

    def missing(self) -> str | None:
        """The missing requirement, None if there is none."""
        if self.feature is not None and not features.check(self.feature):
            return "a Pillow that was built with it"
        if self.plugin is not None and importlib.util.find_spec(self.plugin[0]) is None:
            return f"the package {self.plugin[1]}"
        if self.newer is not None:
            try:
                Image.new("RGB", (8, 8)).save(io.BytesIO(), self.form, **self.options(self.settings[0], 1))
            except ValueError:
                return self.newer
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


def _avif(tune: str | None) -> PillowFormat:
    """AVIF with the default tuning of libavif, or with another."""
    chosen = {"advanced": {"tune": tune}} if tune else {}

    def options(setting: float, threads: int) -> dict[str, Any]:
        common = {"subsampling": "4:4:4", "speed": 6, "codec": "aom", "max_threads": threads}
        return {"quality": int(setting), **common, **chosen}

    return PillowFormat(
        f"AVIF 4:4:4 speed 6 tune={tune}" if tune else "AVIF 4:4:4 speed 6",
        "AVIF",
        "avif",
        lambda: f"libavif {features.version('avif')}, aom",
        options,
        (5, 20, 35, 50, 65, 80),
        (0, *_QUALITIES[:99]),
        newer=f"a Pillow whose libavif has tune={tune}" if tune else None,
    )


PILLOW_FORMATS: Final[Mapping[str, PillowFormat]] = {
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
    "avif": _avif(None),
    "avif-psnr": _avif("psnr"),
    "avif-iq": _avif("iq"),
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
        """Identified by library and options."""
        return f"{self.label} Pillow {version_of('pillow')} {self._options(setting)}"

    def _options(self, setting: float) -> dict[str, Any]:
        return self._form.options(setting, self._threads)

    def import_packages(self) -> None:
        """Import the plugin."""
        if self._form.plugin:
            importlib.import_module(self._form.plugin[0])

    def encode(self, pixels: Pixels, setting: float) -> bytes:
        """Encode with Pillow's `save`."""
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, self._form.form, **self._options(setting))
        return buffer.getvalue()

    def decode(self, data: bytes) -> Pixels:
        """Decode with Pillow's `open`."""
        with Image.open(io.BytesIO(data), formats=[self._form.form]) as image:
            return np.array(image.convert("RGB"))
