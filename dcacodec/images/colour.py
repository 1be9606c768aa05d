"""Colour spaces that files describe without an ICC profile, and ICC profiles that say the same.

The numbers are those of ITU-T H.273 (coding-independent code points, CICP), which PNG's `cICP` and AVIF's `nclx` name.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dcacodec.errors import ImageError

Chromaticities: TypeAlias = "tuple[float, ...]"
"""x and y of white, red, green and blue: eight numbers."""
Curve: TypeAlias = "tuple[float, ...]"
"""From samples to light. One number g: x^g. Five (g, a, b, c, d): (a x + b)^g from d on, c x below. More: a table."""

D65: Final = (0.3127, 0.329)
"""x and y of the white of daylight, and of sRGB."""
_C: Final = (0.31, 0.316)
_PRIMARIES: Final[Mapping[int, Chromaticities]] = {
    1: (*D65, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06),  # BT.709, sRGB
    4: (*_C, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),  # NTSC 1953
    5: (*D65, 0.64, 0.33, 0.29, 0.6, 0.15, 0.06),  # PAL
    6: (*D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),  # SMPTE 170M
    7: (*D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),  # SMPTE 240M
    8: (*_C, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),  # film
    9: (*D65, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046),  # BT.2020
    11: (0.314, 0.351, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),  # DCI-P3
    12: (*D65, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),  # Display P3
    22: (*D65, 0.63, 0.34, 0.295, 0.605, 0.155, 0.077),  # EBU 3213
}
_BT709: Final = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
_SRGB: Final = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_TRANSFERS: Final[Mapping[int, Curve]] = {
    1: _BT709,
    4: (2.2,),
    5: (2.8,),
    6: _BT709,
    7: (1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 1 / 4, 0.0913),
    8: (1.0,),
    11: _BT709,
    13: _SRGB,
    14: _BT709,
    15: _BT709,
}
_PQ: Final = 16
_HLG: Final = 18
_HDR: Final = {_PQ: "PQ", _HLG: "HLG"}
_UNSPECIFIED: Final = 2
_SRGB_CODES: Final = (1, 13)
_SRGB_GAMMA: Final = 0.45455
"""What PNG files of sRGB have in `gAMA`, for programs that do not know sRGB."""
_TABLE_SIZE: Final = 1024
_TAG: Final = struct.Struct(">4sII")
"""Name, offset and size of a tag of an ICC profile."""
_TAGS_AT: Final = 132
_MAX_TAGS: Final = 100
_D50: Final = (0.9642, 1.0, 0.8249)
_BRADFORD: Final = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


@dataclass(frozen=True)
class ColourSpace:
    """A colour space of three primaries and one curve, other than sRGB.

    Attributes:
        chromaticities: of white, red, green and blue.
        curve: from samples in 0..1 to light in 0..1.
        codes: its numbers of primaries and transfer characteristics in H.273; None for one without.
    """

    chromaticities: Chromaticities
    curve: Curve
    codes: tuple[int, int] | None = None


def cicp_space(primaries: int, transfer: int, allow_hdr: bool = False) -> ColourSpace | None:
    """The colour space of these code points; None if it is sRGB. What is not specified is taken for sRGB's.

    Raises:
        ImageError: one of them is not known, or it is HDR (PQ, HLG) and `allow_hdr` is not set: 8 bits are too few for
            that.
    """
    codes = tuple(
        ours if code == _UNSPECIFIED else code for code, ours in zip((primaries, transfer), _SRGB_CODES, strict=True)
    )
    if codes == _SRGB_CODES:
        return None
    _check_transfer(codes[1], allow_hdr)
    if codes[0] not in _PRIMARIES:
        raise ImageError(f"colour primaries {primaries} of ITU-T H.273 are not supported")
    if codes[1] not in _TRANSFERS and codes[1] not in _HDR:
        raise ImageError(f"transfer characteristics {transfer} of ITU-T H.273 are not supported")
    curve = _hdr_curve(codes[1]) if codes[1] in _HDR else _TRANSFERS[codes[1]]
    return ColourSpace(_PRIMARIES[codes[0]], curve, (codes[0], codes[1]))


def is_whole_profile(icc: bytes) -> bool:
    """Whether an ICC profile has a header and all the bytes that it says it has."""
    return len(icc) >= max(_TAGS_AT, int.from_bytes(icc[:4], "big"))


def check_profile(icc: bytes, allow_hdr: bool) -> None:
    """Refuse an ICC profile that is HDR by its tag `cicp`, unless `allow_hdr` is set. Damaged profiles pass.

    Raises:
        ImageError: it is.
    """
    count = min(int.from_bytes(icc[128:132], "big"), max(0, len(icc) - _TAGS_AT) // _TAG.size, _MAX_TAGS)
    for name, offset, size in _TAG.iter_unpack(icc[_TAGS_AT : _TAGS_AT + _TAG.size * count]):
        if name == b"cicp" and size == 12 and len(icc) >= offset + size:
            _check_transfer(icc[offset + 9], allow_hdr)


def _check_transfer(transfer: int, allow_hdr: bool) -> None:
    if transfer in _HDR and not allow_hdr:
        raise ImageError(
            f"the picture is HDR ({_HDR[transfer]}), for which 8 bits are too few; --allow-hdr encodes it nevertheless"
        )


def gamma_space(gamma: float | None, chromaticities: Chromaticities | None) -> ColourSpace | None:
    """The colour space of PNG's `gAMA` (the exponent from light to samples) and `cHRM`; None if it is sRGB.

    sRGB's primaries with the exponent 1/2.2, which stands for sRGB in old files, are sRGB.

    Raises:
        ValueError: there is no such colour space.
    """
    given = _PRIMARIES[1] if chromaticities is None else tuple(chromaticities)
    same_primaries = np.allclose(given, _PRIMARIES[1], atol=0.0015)
    if same_primaries and (gamma is None or abs(gamma - _SRGB_GAMMA) < 0.001):
        return None
    if gamma is not None and not 0.01 <= gamma <= 100:
        raise ValueError(f"a gamma of {gamma} is out of range")
    space = ColourSpace(_PRIMARIES[1] if same_primaries else given, _SRGB if gamma is None else (1 / gamma,))
    _matrix(space.chromaticities)  # raises
    return space


def icc_profile(space: ColourSpace, gray: bool) -> bytes:
    """An ICC profile of a colour space, with matrix and curve, or for gray the curve alone.

    ICC.1:2022 (version 4.4), with the code points as its tag `cicp` where there are any.

    Raises:
        ValueError: the chromaticities are those of no colour space.
    """
    curve = _curve_tag(space.curve)
    adaptation, columns = _matrix(space.chromaticities)
    tags = {
        b"desc": _text_tag("Colours of the original file"),
        b"cprt": _text_tag("CC0"),
        b"wtpt": _xyz_tag(_D50),
        b"chad": b"sf32" + bytes(4) + _fixed(adaptation.ravel()),
    }
    if gray:
        tags[b"kTRC"] = curve
    else:
        for index, name in enumerate((b"r", b"g", b"b")):
            tags |= {name + b"XYZ": _xyz_tag(columns[:, index]), name + b"TRC": curve}
    if space.codes is not None and not gray:
        tags[b"cicp"] = b"cicp" + bytes(4) + bytes((*space.codes, 0, 1))
    return _profile(b"GRAY" if gray else b"RGB ", tags)


def _matrix(chromaticities: Chromaticities) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The matrix that adapts white to D50 (Bradford), and the adapted XYZ of red, green and blue as columns."""
    xy = np.array(chromaticities, np.float64).reshape(4, 2)
    if not (np.isfinite(xy).all() and (xy[:, 1] > 0).all()):
        raise ValueError("the chromaticities of the picture are those of no colour space")
    white, *others = np.column_stack((xy, 1 - xy.sum(1))) / xy[:, 1:]
    primaries = np.array(others).T
    try:
        weights = np.linalg.solve(primaries, white)
    except np.linalg.LinAlgError:
        raise ValueError("the chromaticities of the picture lie on one line") from None
    gains = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    adaptation = np.linalg.inv(_BRADFORD) @ np.diag(gains) @ _BRADFORD
    columns = adaptation @ (primaries * weights)
    if not (np.abs(columns) < 100).all() or not (np.abs(adaptation) < 100).all():
        raise ValueError("the chromaticities of the picture are those of no colour space")
    return adaptation, columns


def _hdr_curve(transfer: int) -> Curve:
    """From samples to light, as a part of the largest, which is 10,000 cd/m² for PQ."""
    samples = np.linspace(0, 1, _TABLE_SIZE)
    if transfer == _PQ:
        root = samples ** (32 / 2523)
        light = (np.maximum(root - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * root)) ** (16384 / 2610)
    else:
        light = np.where(
            samples <= 0.5, samples**2 / 3, (np.exp((samples - 0.55991073) / 0.17883277) + 0.28466892) / 12
        )
    return tuple(np.clip(light, 0, 1).tolist())


def _curve_tag(curve: Curve) -> bytes:
    if len(curve) > 5:
        return b"curv" + bytes(4) + struct.pack(f">I{len(curve)}H", len(curve), *(round(65535 * y) for y in curve))
    return b"para" + bytes(4) + struct.pack(">HH", 0 if len(curve) == 1 else 3, 0) + _fixed(curve)


def _text_tag(text: str) -> bytes:
    data = text.encode("utf-16-be")
    return b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(data), 28) + data


def _xyz_tag(values: NDArray[np.float64] | tuple[float, ...]) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(values)


def _fixed(values: NDArray[np.float64] | tuple[float, ...]) -> bytes:
    """Numbers as signed 16.16."""
    return struct.pack(f">{len(values)}i", *(round(float(value) * 65536) for value in values))


def _profile(space: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    """A profile of a display with these tags. Equal tags are stored once."""
    start = 128 + 4 + 12 * len(tags)
    places: dict[bytes, int] = {}
    body = b""
    for data in tags.values():
        if data not in places:
            places[data] = start + len(body)
            body += data + bytes(-len(data) % 4)
    table = b"".join(_TAG.pack(name, places[data], len(data)) for name, data in tags.items())
    size = start + len(body)
    head = struct.pack(">I4xI4s4s4s6H4s", size, 0x04400000, b"mntr", space, b"XYZ ", 2026, 1, 1, 0, 0, 0, b"acsp")
    head += bytes(28) + _fixed(_D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body
