"""EXIF data and XMP packets: made upright on reading, fitted to the format on writing."""

from __future__ import annotations

import re
import struct
from typing import Any, Final

from PIL import ExifTags, Image, ImageOps, PngImagePlugin

from dcacodec.images.picture import warn_of_change

EXIF_PREFIX: Final = b"Exif\0\0"
_SHORT: Final = 3
_XMP_KEY: Final = "XML:com.adobe.xmp"
"""Of the text of a PNG file that is an XMP packet."""
_XMP_TAG: Final = 700
"""Of a TIFF file."""
_LARGEST_PNG_TEXT: Final = 8_000_000
"""Bytes. What is longer, libpng leaves out unless it is told otherwise, and Pillow refuses far above."""
# With blanks and either kind of quotes, as XML has it.
_XMP_ATTRIBUTE: Final = re.compile(rb"""tiff:Orientation\s*=\s*["']\s*([0-9])\s*["']""")
_XMP_ELEMENT: Final = re.compile(rb"<tiff:Orientation\s*>\s*([0-9])\s*<")
_XMP_ORIENTATION: Final = re.compile(rb"(tiff:Orientation\s*(?:=\s*[\"']|>)\s*)[0-9]")
# The tags of a TIFF file that tell about the picture; the others tell how that file was laid out.
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
    """Apply the orientation to a loaded image, in place, and give its EXIF data with an upright orientation.

    Of an image that is a copy, the tags of a TIFF file are only to be had from the `original`.
    """
    stored = image.im
    stored = image.im
    try:
        raw = image.info.get("exif")
        tags = (original if original is not None and original.format == "TIFF" else image).getexif()
        kept = _descriptive_exif(tags) if raw is None else _upright(raw.removeprefix(EXIF_PREFIX))
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception as error:  # as in _read: metadata are as damaged as their writers are many
        warn_of_change(f"the EXIF data are damaged and left out: {error}")
        for key in ("exif", "Raw profile type exif"):
            image.info.pop(key, None)
        image._exif = None  # what Pillow has read of them
        if image.im is stored and image.format != "TIFF":  # which Pillow has turned when it was loaded
            ImageOps.exif_transpose(image, in_place=True)  # as the XMP packet says
        return None
    return kept


def _upright(exif: bytes) -> bytes:
    """The same data with orientation 1. All else stays byte by byte: other offsets, maker's notes, the thumbnail."""
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
    """Let the XMP packet in `info` be bytes, or not be there, and its orientation be as Pillow looks for it."""
    if image.info.pop("Raw profile type xmp", None):
        warn_of_change(
            "the XMP data are in a form that is not read, and left out"
        )  # as ImageMagick writes them into a PNG
    packet = image.info.get("xmp") or image.info.get(_XMP_KEY)  # the latter alone where a PNG has it as another text
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
    if b"HasExtendedXMP" in packet:
        warn_of_change(
            "of the XMP data only the first part is kept"
        )  # those of a JPEG file that are longer than a segment
    return upright_xmp(packet)


def upright_xmp(packet: bytes) -> bytes:
    """The same XMP packet; where it tells an orientation, that is upright."""
    return _XMP_ORIENTATION.sub(rb"\g<1>1", packet)


def _descriptive_exif(tags: Image.Exif, xmp: bytes | None = None) -> bytes | None:
    """EXIF data with what `tags` say about the picture, without what they say about the layout of a TIFF file.

    Besides, an XMP packet, as such a file has it.
    """
    kept = Image.Exif()
    for tag in _DESCRIPTIVE_TAGS:
        if tag in tags:
            kept[tag] = tags[tag]
    for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        entries = tags.get_ifd(directory)
        if entries:
            # The number of this one is an offset in the old file, and Pillow would read what is there.
            kept[directory] = {tag: value for tag, value in entries.items() if tag != ExifTags.IFD.Interop}
    if xmp is not None:
        kept[_XMP_TAG] = xmp
    return kept.tobytes().removeprefix(EXIF_PREFIX) if len(kept) else None


def info_of(icc: bytes | None, exif: bytes | None, xmp: bytes | None) -> dict[str, bytes]:
    """An ICC profile, EXIF data and an XMP packet as Pillow's readers put them into `info`."""
    found = {"icc_profile": icc, "exif": None if exif is None else EXIF_PREFIX + exif, "xmp": xmp}
    return {key: value for key, value in found.items() if value is not None}


def exif_for_tiff(exif: bytes, xmp: bytes | None = None) -> bytes | None:
    """A TIFF file is itself EXIF data, so foreign tags about a layout must not get there. None where nothing fits."""
    tags = Image.Exif()
    try:
        tags.load(EXIF_PREFIX + exif)
        return _descriptive_exif(tags, xmp)
    except MemoryError:
        raise
    except Exception:  # as in turn_upright; the data come from a file that anyone may have written
        return None


def xmp_for(format: str, xmp: bytes, exif: bytes | None) -> dict[str, Any] | None:
    """Options of Pillow's writer for an XMP packet. None where the format cannot hold it.

    Args:
        format: a key of `OUTPUT_FORMATS` that holds texts.
        xmp: the packet.
        exif: the EXIF data to be written with it, which a TIFF file has among the same tags; None for none.
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
    """Whether sound EXIF data have more than their first directory."""
    tags = Image.Exif()
    tags.load(EXIF_PREFIX + exif)
    return ExifTags.IFD.Exif in tags or ExifTags.IFD.GPSInfo in tags
