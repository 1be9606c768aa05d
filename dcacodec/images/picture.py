"""The picture type of this package: 8-bit samples with metadata.

No change is silent: properties that a `Picture` cannot hold (16-bit samples, further frames, CMYK) are either refused
with an `ImageError`, or converted with an `ImageWarning`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dcacodec.errors import ImageWarning, warn
from dcacodec.format.metadata import METADATA_KINDS, Metadata

Plane = NDArray[np.uint8]
"""(height, width)."""
Pixels = NDArray[np.uint8]
"""(height, width, 3)."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A still picture of 8-bit samples, with metadata.

    Attributes:
        pixels: (height, width, 3), red, green and blue, not premultiplied. The three are equal if `gray`.
        gray: whether the picture is grayscale.
        alpha: (height, width), 0 transparent to 255 opaque; None without an alpha plane.
        icc: ICC profile of the samples; None if unknown, which is interpreted as sRGB.
        exif: EXIF data as in the `eXIf` chunk of a PNG (without the prefix "Exif"), with orientation 1.
        xmp: XMP packet (XML), with orientation 1 if it has an orientation.

    Raises:
        ValueError: arrays of another type or shape, no pixels, unequal bands in a gray picture, or metadata that are
            not bytes.
    """

    pixels: Pixels
    gray: bool = False
    alpha: Plane | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 3 or self.pixels.shape[2] != 3:
            raise ValueError(f"pixels must be uint8 (height, width, 3), not {self.pixels.dtype} {self.pixels.shape}")
        if not self.pixels.size:
            raise ValueError(f"a picture has at least one pixel, not {self.width}x{self.height}")
        if self.alpha is not None and (self.alpha.dtype != np.uint8 or self.alpha.shape != self.pixels.shape[:2]):
            raise ValueError(f"alpha must be uint8 (height, width), not {self.alpha.dtype} {self.alpha.shape}")
        for name in METADATA_KINDS:
            if not isinstance(getattr(self, name), bytes | None):
                raise ValueError(f"{name} must be bytes or None, not {type(getattr(self, name)).__name__}")
        if self.gray and not all(np.array_equal(self.pixels[..., 0], self.pixels[..., band]) for band in (1, 2)):
            raise ValueError("a gray picture needs three equal bands")

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.pixels.shape[0])

    @property
    def metadata(self) -> Metadata:
        """ICC profile, EXIF data and XMP packet."""
        return self.icc, self.exif, self.xmp

    def stripped(self, kinds: Collection[str] = METADATA_KINDS) -> Picture:
        """The same picture without the metadata of these kinds, "icc", "exif" or "xmp"."""
        if unknown := set(kinds) - set(METADATA_KINDS):
            raise ValueError(f"kinds of metadata are {', '.join(METADATA_KINDS)}, not {', '.join(sorted(unknown))}")
        return Picture(
            self.pixels,
            self.gray,
            self.alpha,
            *(None if kind in kinds else getattr(self, kind) for kind in METADATA_KINDS),
        )


def warn_of_change(text: str) -> None:
    """Issue an `ImageWarning` about a change of a picture."""
    warn(" ".join(text.split()), ImageWarning)
