"""jpegli as a codec of benchmarks: JPEG files with adaptive quantisation."""

from __future__ import annotations

import importlib
import importlib.util
import io
from importlib.metadata import version as version_of
from typing import Any, Final

import numpy as np
from PIL import Image

from dcacodec.bench.codec import BenchCodec
from dcacodec.errors import BenchError
from dcacodec.images.picture import Pixels

JPEGLI: Final = "jpegli"
_PACKAGE: Final = "pyjpegli"


def jpegli_is_installed() -> bool:
    """Whether the package pyjpegli is installed."""
    return importlib.util.find_spec(_PACKAGE) is not None


class Jpegli(BenchCodec):
    """The encoder of pyjpegli, which always subsamples chroma, and the decoder of Pillow."""

    name = JPEGLI
    settings = (5.0, 10.0, 20.0, 35.0, 50.0, 65.0, 80.0, 90.0, 95.0)
    scale = tuple(map(float, range(1, 101)))

    def __init__(self) -> None:
        if not jpegli_is_installed():
            raise BenchError(f"{JPEGLI} needs the package {_PACKAGE}")
        self.label = f"JPEG 4:2:0 by jpegli ({_PACKAGE} {version_of(_PACKAGE)})"
        self._package: Any = importlib.import_module(_PACKAGE)

    def identity(self, setting: float) -> str:
        """Identified by the versions of the packages."""
        return f"{self.label} Pillow {version_of('pillow')} {setting:g}"

    def encode(self, pixels: Pixels, setting: float) -> bytes:
        """Encode at a quality."""
        height, width = pixels.shape[:2]
        data: bytes = self._package.encode(pixels.tobytes(), width, height, int(setting))
        return data

    def decode(self, data: bytes) -> Pixels:
        """Decode with Pillow."""
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            return np.array(image.convert("RGB"))
