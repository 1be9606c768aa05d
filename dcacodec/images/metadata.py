"""EXIF data and XMP packets: the orientation is applied on reading, and the data are adapted to formats on writing."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from PIL import ExifTags, Image, ImageOps, PngImagePlugin

from dcacodec.images.exif_bytes import EXIF_PREFIX, Directory, Entry, entry_of, text_entry, upright_exif, with_tags
from dcacodec.images.picture import warn_of_change
from dcacodec.images.resolution import is_resolution, is_unit, resolution_tags

_QUARTER_TURNS: Final = (5, 6, 7, 8)
"""Values of the orientation."""
_TEXT_TAGS: Final = {
    "Description": ExifTags.Base.ImageDescription,
    "Title": ExifTags.Base.DocumentName,
    "Author": ExifTags.Base.Artist,
    "Copyright": ExifTags.Base.Copyright,
    "Software": ExifTags.Base.Software,
}
"""Keywords of texts in a PNG file, and the EXIF tags for the same."""
_XMP_KEY: Final = "XML:com.adobe.xmp"
"""Keyword of the text in a PNG file that is an XMP packet."""
XMP_TAG: Final = 700
"""Tag of the XMP packet in a TIFF file."""
_METADATA_TEXTS: Final = (_XMP_KEY, "Raw profile type exif", "Raw profile type xmp")
"""Keywords of texts in a PNG file that are read as EXIF data and XMP packets."""
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
_PLAIN_BYTES: Final = (
    ExifTags.GPS.GPSVersionID,
    ExifTags.GPS.GPSAltitudeRef,
    ExifTags.Base.XPTitle,
    ExifTags.Base.XPComment,
    ExifTags.Base.XPAuthor,
    ExifTags.Base.XPKeywords,
    ExifTags.Base.XPSubject,
)
"""Tags whose bytes are of the type BYTE; others are UNDEFINED."""


def turn_upright(image: Image.Image, original: Image.Image) -> bytes | None:
    """Apply the orientation to a loaded image, in place, and return its EXIF data with orientation 1.

    The print resolution and the texts of a PNG are added to them. If the image is a copy, `original` provides what
    belongs to its file format.
    """
    stored = image.im
    try:
        raw = image.info.get("exif")
        turned = _is_turned(image, original)
        kept = descriptive_exif((original if original.format == "TIFF" else image).getexif()) if raw is None else raw
        if kept is not None:
            applied = original.info.get("original_orientation") or 1  # by the reader of HEIC files
            kept = upright_exif(kept.removeprefix(EXIF_PREFIX), turned, applied)
        kept = with_tags(kept, resolution_tags(image.info, original.format, turned) | _text_tags(original))
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises many kinds of exceptions for damaged metadata
        warn_of_change(f"the EXIF data are damaged and left out: {error}")
        for key in ("exif", "Raw profile type exif"):
            image.info.pop(key, None)
        image._exif = None  # Pillow's cache
        if image.im is stored and image.format != "TIFF":  # Pillow has already transposed TIFF images on loading
            ImageOps.exif_transpose(image, in_place=True)  # by the orientation in the XMP packet
        return None
    return kept


def _is_turned(image: Image.Image, original: Image.Image) -> bool:
    """Whether the orientation exchanges width and height. Pillow has turned loaded TIFF images already."""
    if original.format == "TIFF":
        tags = original.tag_v2  # type: ignore[attr-defined]
        sides = tags.get(ExifTags.Base.ImageWidth), tags.get(ExifTags.Base.ImageLength)
        return sides == original.size[::-1] != original.size
    if original.info.get("original_orientation") in _QUARTER_TURNS:  # the reader of HEIC files has turned it
        return True
    return image.getexif().get(ExifTags.Base.Orientation) in _QUARTER_TURNS


def ignore_orientation(image: Image.Image) -> None:
    """Set the orientation in the EXIF data of a loaded JPEG XL image to 1.

    What counts there is the orientation in the codestream, which the decoder has applied.
    """
    exif = image.info.get("exif")
    if exif and not getattr(image, "jpeg", False):  # but for a JPEG inside, which Pillow reads as such
        with suppress(KeyError, struct.error):  # damaged data are dealt with later
            image.info["exif"] = EXIF_PREFIX + upright_exif(exif.removeprefix(EXIF_PREFIX), turned=False)


def ignore_xmp_orientation(image: Image.Image, format: str | None) -> None:
    """Set the orientation in the XMP packet of an AVIF to 1: only that of its boxes counts, which Pillow applies."""
    if format == "AVIF" and "xmp" in image.info:
        image.info["xmp"] = upright_xmp(image.info["xmp"])


def _text_tags(image: Image.Image) -> dict[int, Entry]:
    """The texts of a loaded PNG as EXIF tags. Warns about those for which there is none."""
    texts: dict[str, str] = getattr(image, "text", {}) if image.format == "PNG" else {}
    lost = [name for name in texts if name not in (*_TEXT_TAGS, *_METADATA_TEXTS)]
    if lost:
        warn_of_change(f"texts of the PNG are left out: {', '.join(lost)[:200]}")
    return {tag: text_entry(texts[name]) for name, tag in _TEXT_TAGS.items() if texts.get(name)}


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


def descriptive_exif(tags: Image.Exif) -> bytes | None:
    """EXIF data with those of `tags` that describe the picture, without those about the layout of a TIFF file."""
    return with_tags(None, _descriptive(tags))


def _descriptive(tags: Image.Exif) -> dict[int, Entry | Directory]:
    kept: dict[int, Entry | Directory] = {}
    kept |= _entries({tag: tags[tag] for tag in _DESCRIPTIVE_TAGS if tag in tags and not _is_invalid(tag, tags[tag])})
    for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        # Interop is an offset in the old file.
        inner = {tag: value for tag, value in tags.get_ifd(directory).items() if tag != ExifTags.IFD.Interop}
        if entries := _entries(inner):
            kept[directory] = entries
    return kept


def _entries(values: Mapping[int, object]) -> dict[int, Entry]:
    found = {tag: entry_of(value, tag in _PLAIN_BYTES) for tag, value in values.items()}
    return {tag: entry for tag, entry in found.items() if entry is not None}


def _is_invalid(tag: int, value: object) -> bool:
    """Whether this is no resolution, or no unit of one. A TIFF with it could not be written."""
    if tag == ExifTags.Base.ResolutionUnit:
        return not is_unit(value)
    return tag in (ExifTags.Base.XResolution, ExifTags.Base.YResolution) and not is_resolution(value)


def info_of(icc: bytes | None, exif: bytes | None, xmp: bytes | None) -> dict[str, bytes]:
    """An ICC profile, EXIF data and an XMP packet as Pillow's readers put them into `info`."""
    found = {"icc_profile": icc, "exif": None if exif is None else EXIF_PREFIX + exif, "xmp": xmp}
    return {key: value for key, value in found.items() if value is not None}


def tags_for_tiff(exif: bytes) -> dict[int, Entry | Directory]:
    """The EXIF data that can be written to a TIFF file, empty if there are none.

    A TIFF file consists of EXIF tags itself, so tags about the layout of another file must not be copied to it.
    """
    tags = Image.Exif()
    try:
        tags.load(EXIF_PREFIX + exif)
        kept = _descriptive(tags)
        if kept and any(_is_invalid(tag, tags[tag]) for tag in tags):
            warn_of_change("the EXIF data hold an invalid resolution, which is left out")
        return kept
    except MemoryError:
        raise
    except Exception:  # Pillow raises many kinds of exceptions for damaged metadata
        return {}


def xmp_for(format: str, xmp: bytes) -> dict[str, Any] | None:
    """Options of Pillow's writer for an XMP packet, None if the format (PNG, WebP, JPEG or AVIF) cannot hold it."""
    if format != "png":
        return {"xmp": xmp}
    text = PngImagePlugin.PngInfo()
    try:
        text.add_itxt(_XMP_KEY, xmp.decode())
    except UnicodeDecodeError:  # the text of a PNG file is UTF-8
        return None
    return {"pnginfo": text}
