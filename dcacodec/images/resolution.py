"""The print resolution, which formats store in different places: in a picture here, it is in the EXIF data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from PIL import ExifTags, Image

from dcacodec.images.exif_bytes import EXIF_PREFIX, Entry, ratio_entry, short_entry

_NO_UNIT, _INCH, _CENTIMETRE = 1, 2, 3
_TAGS: Final = (ExifTags.Base.XResolution, ExifTags.Base.YResolution, ExifTags.Base.ResolutionUnit)
_CENTIMETRES_PER_INCH: Final = 2.54
_METRE_IN_PNG: Final = 0.0254
"""Metres per inch, as Pillow computes with for PNG files."""
_INCHES_IN_BMP: Final = 39.3701
"""Inches per metre, as Pillow computes with for BMP files."""
_JPEG: Final = ("JPEG", "MPO")
"""A JPEG file of one picture, and of several."""
_DEFAULTS: Final = ((72, 72, _INCH), (3780, 3780, _CENTIMETRE))
"""What EXIF data without a resolution mean, and the 96 dpi of BMP files that say nothing: these are not stored."""


def resolution_tags(info: Mapping[str | tuple[int, int], object], format: str | None, turned: bool) -> dict[int, Entry]:
    """The EXIF tags for the resolution that Pillow found in a PNG, JPEG or BMP; none if there is none.

    Args:
        info: of the image.
        format: Pillow's name of the format.
        turned: whether the picture was turned by a quarter since.
    """
    found = _stored(info, format)
    if found is None or found in _DEFAULTS:
        return {}
    across, down, unit = found
    if not (0 < across < 1 << 32 and 0 < down < 1 << 32) or (unit == _NO_UNIT and across == down):
        return {}
    if turned:
        across, down = down, across
    parts = 100 if unit == _CENTIMETRE and format not in _JPEG else 1  # others count pixels per metre
    return {
        ExifTags.Base.XResolution: ratio_entry(across, parts),
        ExifTags.Base.YResolution: ratio_entry(down, parts),
        ExifTags.Base.ResolutionUnit: short_entry(unit),
    }


def _stored(info: Mapping[str | tuple[int, int], object], format: str | None) -> tuple[int, int, int] | None:
    """Pixels across and down as the file counts them, and the unit."""
    dpi, unit = info.get("dpi"), _CENTIMETRE
    if format in _JPEG:
        dpi, unit = info.get("jfif_density"), {1: _INCH, 2: _CENTIMETRE}.get(info.get("jfif_unit"), _NO_UNIT)  # type: ignore[call-overload]
        factor = 1.0
    elif format == "PNG":
        factor = 1 / _METRE_IN_PNG
        if "aspect" in info:
            dpi, unit, factor = info["aspect"], _NO_UNIT, 1.0
    elif format == "BMP":
        factor = _INCHES_IN_BMP
    else:
        return None
    if not isinstance(dpi, tuple) or len(dpi) != 2 or not all(math.isfinite(each) for each in dpi):
        return None
    return round(dpi[0] * factor), round(dpi[1] * factor), unit


def dots_per_inch(exif: bytes | None) -> tuple[float, float] | None:
    """The resolution in EXIF data without the prefix "Exif"; None if there is none, or none with a unit."""
    tags = _tags(exif)
    unit = tags.get(ExifTags.Base.ResolutionUnit, _INCH)
    values = [tags.get(tag) for tag in _TAGS[:2]]
    if unit not in (_INCH, _CENTIMETRE) or not all(map(is_resolution, values)):
        return None
    factor = _CENTIMETRES_PER_INCH if unit == _CENTIMETRE else 1.0
    across, down = (float(value) * factor for value in values)  # type: ignore[arg-type]
    return across, down


def holds_resolution_alone(exif: bytes) -> bool:
    """Whether the EXIF data say nothing else than what `dots_per_inch` returns."""
    return dots_per_inch(exif) is not None and set(_tags(exif)) <= set(_TAGS)


def _tags(exif: bytes | None) -> dict[int, object]:
    """The first directory of EXIF data; empty if they are damaged."""
    tags = Image.Exif()
    try:
        tags.load(EXIF_PREFIX + (exif or b""))
        return dict(tags)
    except MemoryError:
        raise
    except Exception:  # Pillow raises many kinds of exceptions for damaged metadata
        return {}


def is_resolution(value: object) -> bool:
    """Whether the value of an EXIF tag is a positive, finite number."""
    try:
        return 0 < float(value) < 1 << 31  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        return False


def is_unit(value: object) -> bool:
    """Whether the value of the EXIF tag ResolutionUnit is one of those that there are."""
    return value in (_NO_UNIT, _INCH, _CENTIMETRE)
