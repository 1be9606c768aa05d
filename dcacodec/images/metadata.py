"""EXIF data and XMP packets: the orientation is applied on reading, and the data are adapted to formats on writing."""

from __future__ import annotations

import re
import struct
from typing import Any, Final

from PIL import ExifTags, Image, ImageOps, PngImagePlugin

from dcacodec.images.picture import warn_of_change

EXIF_PREFIX: Final = b"Exif\0\0"
_SHORT: Final = 3
_XMP_KEY: Final = "XML:com.adobe.xmp"
"""Keyword of the text in a PNG file that is an XMP packet."""
_XMP_TAG: Final = 700
"""Tag of the XMP packet in a TIFF file."""
_LARGEST_PNG_TEXT: Final = 8_000_000
"""Bytes. By default libpng ignores longer texts; Pillow's limit is far higher."""
# XML allows white space and both kinds of quotes.
_XMP_ATTRIBUTE: Final = re.compile(rb"""tiff:Orientation\s*=\s*["']\s*([0-9])\s*["']""")
_XMP_ELEMENT: Final = re.compile(rb"<tiff:Orientation\s*>\s*([0-9])\s*<")
_XMP_ORIENTATION: Final = re.compile(rb"(tiff:Orientation\s*(?:=\s*[\"']|>)\s*)[0-9]")
# The tags of a TIFF file that describe the picture; the others describe the layout of that file.
_DESCRIPTIVE_TAGS: Final = (
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.Copyright,
    ExifTags.Base.DocumentName,
    ExifTags.Base.HostComputer,
    ExifTags.Base.XResolution,
    ExifTags.Base.YResolution,
    ExifTags.Base.ResolutionUnit,
    ExifTags.Base.Rating,
    ExifTags.Base.RatingPercent,
    ExifTags.Base.XPTitle,
    ExifTags.Base.XPComment,
    ExifTags.Base.XPAuthor,
    ExifTags.Base.XPKeywords,
    ExifTags.Base.XPSubject,
)


def turn_upright(image: Image.Image, original: Image.Image | None = None) -> bytes | None:
    """Apply the orientation to a loaded image, in place, and return its EXIF data with orientation 1.

    If the image is a copy, `original` provides the tags of a TIFF file.
    """
    stored = image.im
    try:
        raw = image.info.get("exif")
        tags = (original if original is not None and original.format == "TIFF" else image).getexif()
        kept = _descriptive_exif(tags) if raw is None else _upright(raw.removeprefix(EXIF_PREFIX))
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception as error:  # as in `_read`, any exception can mean damaged metadata
        warn_of_change(f"the EXIF data are damaged and left out: {error}")
        for key in ("exif", "Raw profile type exif"):
            image.info.pop(key, None)
        image._exif = None  # Pillow's cache
        if image.im is stored and image.format != "TIFF":  # Pillow has already transposed TIFF images on loading
            ImageOps.exif_transpose(image, in_place=True)  # by the orientation in the XMP packet
        return None
    return kept


def _upright(exif: bytes) -> bytes:
    """The same data with orientation 1. All other bytes are unchanged: offsets, maker notes, the thumbnail."""
    order = {b"II": "<", b"MM": ">"}[exif[:2]]
    (start,) = struct.unpack_from(order + "I", exif, 4)
    (count,) = struct.unpack_from(order + "H", exif, start)
    upright = bytearray(exif)
    for position in range(start + 2, start + 2 + 12 * count, 12):
        (tag,) = struct.unpack_from(order + "H", exif, position)
        if tag == ExifTags.Base.Orientation:
            struct.pack_into(order + "HHIHH", upright, position, tag, _SHORT, 1, 1, 0)
    return bytes(upright)


def normalise_xmp(image: Image.Image) -> None:
    """Make the XMP packet in `info` bytes, or remove it, and write its orientation in the form that Pillow expects."""
    if image.info.pop("Raw profile type xmp", None):  # written by ImageMagick into PNG files
        warn_of_change("the XMP data are in an unsupported form and left out")
    packet = image.info.get("xmp") or image.info.get(_XMP_KEY)  # the latter if a PNG has it in another kind of text
    if isinstance(packet, str):
        packet = packet.encode()
    image.info.pop(_XMP_KEY, None)
    image.info.pop("xmp", None)
    if isinstance(packet, bytes):
        packet = _XMP_ATTRIBUTE.sub(rb'tiff:Orientation="\g<1>"', packet)
        image.info["xmp"] = _XMP_ELEMENT.sub(rb"<tiff:Orientation>\g<1><", packet)
    elif packet is not None:
        warn_of_change("the XMP data are damaged and left out")


def xmp_of(image: Image.Image) -> bytes | None:
    """The XMP packet of an upright image."""
    packet: bytes | None = image.info.get("xmp")
    if not packet:
        return None
    if b"HasExtendedXMP" in packet:  # in JPEG files, XMP data may be longer than a segment
        warn_of_change("only the first part of the XMP data is kept")
    return upright_xmp(packet)


def upright_xmp(packet: bytes) -> bytes:
    """The same XMP packet with orientation 1, if it has an orientation."""
    return _XMP_ORIENTATION.sub(rb"\g<1>1", packet)


def _descriptive_exif(tags: Image.Exif, xmp: bytes | None = None) -> bytes | None:
    """EXIF data with those of `tags` that describe the picture, without those about the layout of a TIFF file.

    An XMP packet is added as in TIFF files.
    """
    kept = Image.Exif()
    for tag in _DESCRIPTIVE_TAGS:
        if tag in tags:
            kept[tag] = tags[tag]
    for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        entries = tags.get_ifd(directory)
        if entries:
            # Interop is an offset in the old file, from which Pillow would read.
            kept[directory] = {tag: value for tag, value in entries.items() if tag != ExifTags.IFD.Interop}
    if xmp is not None:
        kept[_XMP_TAG] = xmp
    return kept.tobytes().removeprefix(EXIF_PREFIX) if len(kept) else None


def info_of(icc: bytes | None, exif: bytes | None, xmp: bytes | None) -> dict[str, bytes]:
    """An ICC profile, EXIF data and an XMP packet as Pillow's readers put them into `info`."""
    found = {"icc_profile": icc, "exif": None if exif is None else EXIF_PREFIX + exif, "xmp": xmp}
    return {key: value for key, value in found.items() if value is not None}


def exif_for_tiff(exif: bytes, xmp: bytes | None = None) -> bytes | None:
    """The EXIF data that can be written to a TIFF file, None if there are none.

    A TIFF file consists of EXIF tags itself, so tags about the layout of another file must not be copied to it.
    """
    tags = Image.Exif()
    try:
        tags.load(EXIF_PREFIX + exif)
        return _descriptive_exif(tags, xmp)
    except MemoryError:
        raise
    except Exception:  # as in `turn_upright`; the data come from an untrusted file
        return None


def xmp_for(format: str, xmp: bytes, exif: bytes | None) -> dict[str, Any] | None:
    """Options of Pillow's writer for an XMP packet, None if the format cannot hold it.

    Args:
        format: a key of `OUTPUT_FORMATS` that supports texts.
        xmp: the packet.
        exif: the EXIF data that are written with it (TIFF files have both among the same tags), None for none.
    """
    if format == "webp":
        return {"xmp": xmp}
    if format == "tiff":
        return {"exif": exif_for_tiff(exif, xmp) if exif is not None else _descriptive_exif(Image.Exif(), xmp)}
    if len(xmp) > _LARGEST_PNG_TEXT:
        return None
    text = PngImagePlugin.PngInfo()
    try:
        text.add_itxt(_XMP_KEY, xmp.decode())
    except UnicodeDecodeError:  # the text of a PNG file is UTF-8
        return None
    return {"pnginfo": text}


def has_directories(exif: bytes) -> bool:
    """Whether valid EXIF data have more than one directory."""
    tags = Image.Exif()
    tags.load(EXIF_PREFIX + exif)
    return ExifTags.IFD.Exif in tags or ExifTags.IFD.GPSInfo in tags
