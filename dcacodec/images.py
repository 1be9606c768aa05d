"""Pictures: what Pillow reads as 8-bit arrays, and arrays as lossless picture files.

Nothing is changed behind the user's back. What a `Picture` cannot hold (16-bit samples, further frames, CMYK) is
either refused by an `ImageError` or converted with an `ImageNotice`, a warning of one line.
"""

import io
import os
import re
import struct
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path, PurePath
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin, UnidentifiedImageError

from dcacodec.bounded import read_bounded
from dcacodec.container import DEFAULT_MAX_PIXELS
from dcacodec.errors import DcaError, ImageError, TooLarge

Plane = NDArray[np.uint8]

# Raster formats that start with a signature. Left out on purpose: formats that run other programs (EPS), that are
# recognised by guessing (TGA), and those whose 16-bit samples Pillow drops without a trace (JPEG 2000, SGI).
READABLE: Final = ("PNG", "JPEG", "TIFF", "WEBP", "AVIF", "PPM", "BMP", "GIF", "QOI")

_FLOATS: Final = ".pfm"
"""Of Pillow's format PPM, which is readable, but this kind of it has samples that are not."""
_EXIF_PREFIX: Final = b"Exif\0\0"
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
_SIXTEEN_BIT_MODES: Final = ("I;16", "I;16L", "I;16B", "I;16N")
_WHITE_IS_ZERO: Final = 0
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
# Enough of a file to find how many bits its samples have (an AVIF tells it within its first boxes).
_HEAD_BYTES: Final = 1 << 16
_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
# Length and name of the chunk, width, height, bit depth, colour type, compression, filter, interlace.
_PNG_HEADER: Final = struct.Struct(">I4sIIBBBBB")
_PNG_CHUNK: Final = struct.Struct(">I4s")
# How Pillow calls the samples of a PNG, as in "L;4" and "RGB;16B".
_PNG_SAMPLES: Final = re.compile(r"\w+;(\d+)")


@cache
def picture_suffixes() -> frozenset[str]:
    """Of the names of the pictures that can be read, in lower case, with the dot."""
    known = (suffix for suffix, name in Image.registered_extensions().items() if name in READABLE)
    return frozenset(known) - {_FLOATS}


def has_picture_suffix(path: PurePath) -> bool:
    """Whether a name ends like that of a picture that can be read."""
    return path.suffix.lower() in picture_suffixes()


def has_picture_name(path: PurePath) -> bool:
    """Whether a file that nobody named, one of a folder or archive, is taken for a picture. Hidden ones are not."""
    return has_picture_suffix(path) and not path.name.startswith(".")


class ImageNotice(UserWarning):
    """Something about a picture was converted on reading or left out on writing. The text is one line."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A still picture of 8-bit samples, and what travels with it.

    Attributes:
        pixels: (height, width, 3), red, green and blue, not premultiplied. The three are equal where `gray`.
        gray: whether this is a picture without colour.
        alpha: (height, width), 0 transparent to 255 opaque; None for a picture that has no alpha plane.
        icc: ICC profile that the samples are meant in; None for unknown, which is taken as sRGB.
        exif: EXIF data as in the `eXIf` chunk of a PNG (without the prefix "Exif"), its orientation upright.
        xmp: the XMP packet, which is XML; where it tells an orientation, that is upright.

    Raises:
        ValueError: arrays of another type or shape, no pixels, colour in a picture that is said to be gray, or metadata
            that are not bytes.
    """

    pixels: Plane
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
        for name in ("icc", "exif", "xmp"):
            if not isinstance(getattr(self, name), bytes | None):
                raise ValueError(f"{name} must be bytes or None, not {type(getattr(self, name)).__name__}")
        if self.gray and not all(np.array_equal(self.pixels[..., 0], self.pixels[..., band]) for band in (1, 2)):
            raise ValueError("a gray picture needs three equal bands")

    @property
    def width(self) -> int:
        """Pixels a row."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    @property
    def metadata(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """ICC profile, EXIF data and XMP packet."""
        return self.icc, self.exif, self.xmp

    def stripped(self) -> "Picture":
        """The same without ICC profile, EXIF data and XMP packet."""
        return replace(self, icc=None, exif=None, xmp=None)


# -------------------------------------------------------------------------------------------------------------- reading


def read_picture(source: str | Path | BinaryIO, max_pixels: int | None = DEFAULT_MAX_PIXELS) -> Picture:
    """Read a picture file: its first frame, turned upright as its EXIF orientation says.

    Colour is kept as it is, with the ICC profile; only CMYK is converted to sRGB. Samples of 9 to 16 bits are reduced
    to their upper 8. A transparent colour or palette entry becomes an alpha plane.

    Args:
        source: a path, or a file open for reading, which is read from its start if it can seek.
        max_pixels: refuse larger pictures before they are unpacked; None for no limit but Pillow's own
            (`PIL.Image.MAX_IMAGE_PIXELS`), which holds in any case.

    Raises:
        ImageError: not one of the `READABLE` formats, damaged, or of a kind that cannot become a `Picture`.
        TooLarge: more pixels than allowed, or what cannot seek has more bytes than a file of so many pixels needs.
        OSError: the file cannot be opened.

    Warns:
        ImageNotice: bits, frames, EXIF data, parts of XMP data or CMYK colours were lost.
    """
    if isinstance(source, str | Path):
        with open(source, "rb") as file:
            return _read(file, max_pixels)
    return _read(source if source.seekable() else io.BytesIO(read_bounded(source, max_pixels)), max_pixels)


def _read(file: BinaryIO, max_pixels: int | None) -> Picture:
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    try:
        if head.startswith(_PNG_SIGNATURE):
            _check_png_samples(file)
        with Image.open(file, formats=READABLE) as image:
            if max_pixels is not None and image.width * image.height > max_pixels:
                raise TooLarge(
                    f"a picture of {image.width}x{image.height} pixels is above the limit of {max_pixels} pixels"
                )
            return _unpack(image, _bits_per_sample(image, head))
    except (DcaError, MemoryError, ImageNotice):
        raise
    except UnidentifiedImageError:
        raise ImageError(
            f"not a picture in one of the formats {', '.join(READABLE)}, or damaged at its start"
        ) from None
    except Image.DecompressionBombError as error:
        raise TooLarge(str(error)) from None
    except Exception as error:  # Pillow's readers raise nearly anything when the bytes are wrong
        raise ImageError(f"the picture is damaged or of an unknown kind: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """What an error of Pillow says, in one line; its name where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def _check_png_samples(file: BinaryIO) -> None:
    """Compare the checksums of the coded samples. Pillow skips these alone, and many a flipped bit shows nowhere else.

    A file that ends early is left to Pillow.
    """
    file.seek(len(_PNG_SIGNATURE))
    while len(start := file.read(_PNG_CHUNK.size)) == _PNG_CHUNK.size:
        length, name = _PNG_CHUNK.unpack(start)
        if name == b"IEND":
            return
        if name != b"IDAT":
            file.seek(length + 4, os.SEEK_CUR)
            continue
        crc = zlib.crc32(name)
        while block := file.read(min(length, _HEAD_BYTES)):
            crc = zlib.crc32(block, crc)
            length -= len(block)
        stored = file.read(4)
        if len(stored) == 4 and int.from_bytes(stored, "big") != crc:
            raise ValueError("a checksum of the PNG does not match its content")


def _bits_per_sample(image: Image.Image, head: bytes) -> int:
    """Bits of a sample in the file, which Pillow's mode does not tell: it drops the lower half of 16-bit colour."""
    if image.format == "PNG":
        return _PNG_HEADER.unpack_from(head, len(_PNG_SIGNATURE))[4]  # type: ignore[no-any-return]
    if image.format == "TIFF":
        return max(image.tag_v2.get(258, (1,)))  # type: ignore[attr-defined, no-any-return]
    if image.format == "PPM":
        arguments = image.tile[0][3]  # type: ignore[attr-defined]
        maximum = arguments[1] if isinstance(arguments, tuple) else 65535 if arguments == "I;16B" else 255
        return 16 if maximum > 255 else 8
    if image.format == "AVIF":
        # Third byte of the decoder configuration: tier, high_bitdepth, twelve_bit, ...
        flags = [head[box.end() + 2] for box in re.finditer(b"av1C", head[:-3])]
        return max((12 if flag & 0x20 else 10 if flag & 0x40 else 8 for flag in flags), default=8)
    return 8


def _unpack(image: Image.Image, bits: int) -> Picture:
    """The first frame of an opened file as a `Picture`."""
    if getattr(image, "is_animated", False):
        _notice("the file holds several pictures: only the first is used")
    _sound_xmp(image)
    image.load()
    _sound_xmp(image)  # texts at the end of a PNG file are read with the pixels
    exif = _turn_upright(image)
    return _converted(image, image, bits, exif)


def _converted(image: Image.Image, original: Image.Image, bits: int, exif: bytes | None) -> Picture:
    """An upright image as a `Picture`. If it is a copy, it does not know its format any more; the `original` does."""
    icc = image.info.get("icc_profile") or None
    key = image.info.get("transparency")
    alpha: Plane | None = None
    if image.mode in _SIXTEEN_BIT_MODES or (image.mode == "I" and original.format == "PPM"):
        # Pillow scales the gray of a PPM file to 16 bits whatever its maximum, so that its mode "I" is known to fit.
        samples = np.asarray(image).astype(np.uint16)
        alpha = _keyed_alpha(samples[..., np.newaxis], key)
        if original.format == "TIFF" and original.tag_v2.get(262) == _WHITE_IS_ZERO:  # type: ignore[attr-defined]
            samples = np.uint16((1 << bits) - 1) - samples
        colour = (samples >> (bits - 8)).astype(np.uint8)
    elif image.mode in ("1", "L"):
        colour = _samples(image, "L")
        if key is not None and (image.mode == "1" or bits < 8):
            # The key is in units of the file, the samples are spread to 0..255.
            key = (255 if key else 0) if image.mode == "1" else key * 255 // ((1 << bits) - 1)
        alpha = _keyed_alpha(colour[..., np.newaxis], key)
    elif image.mode in ("LA", "La"):
        bands = _samples(image, "LA")
        colour, alpha = bands[..., 0], bands[..., 1]
    elif image.mode in ("RGB", "YCbCr"):
        if key is not None and bits > 8:
            raise ImageError(f"a {bits}-bit picture with a transparent colour is not supported")
        colour = _samples(image, "RGB")
        alpha = _keyed_alpha(colour, key)
    elif image.mode == "P" and not image.has_transparency_data:
        colour = _samples(image, "RGB")
    elif image.mode in ("RGBA", "P", "PA"):
        bands = _samples(image, "RGBA")
        colour, alpha = bands[..., :3], bands[..., 3]
    elif image.mode == "CMYK":
        colour, icc = np.array(_cmyk_to_srgb(image, icc)), None
    else:
        raise ImageError(f"pictures with samples of Pillow's mode {image.mode} are not supported")
    if bits > 8:
        _notice(f"samples of {bits} bits are reduced to their upper 8")

    gray = colour.ndim == 2
    pixels = np.repeat(colour[..., np.newaxis], 3, axis=2) if gray else np.ascontiguousarray(colour)
    alpha = None if alpha is None else np.ascontiguousarray(alpha)
    return Picture(pixels, gray, alpha, icc, exif, _xmp_of(image))


def _samples(image: Image.Image, mode: str) -> Plane:
    """(height, width[, bands]) in a Pillow mode of 8-bit samples. What has that mode already is not copied first."""
    return np.array(image if image.mode == mode else image.convert(mode))


def _keyed_alpha(samples: NDArray[Any], key: int | tuple[int, int, int] | None) -> Plane | None:
    """Transparent where all bands of `samples` (height, width, bands) equal the key; None where there is no key."""
    if key is None:
        return None
    return np.where((samples == key).all(axis=-1), 0, 255).astype(np.uint8)


def _cmyk_to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """Through the embedded profile where it is a sound one for CMYK, else by Pillow's rule of thumb."""
    if icc is not None:
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            pass
        else:
            assert converted is not None  # it is only with inPlace
            _notice("CMYK is converted to sRGB")
            return converted
    _notice("CMYK without a usable colour profile is converted to sRGB: colours are approximate")
    return image.convert("RGB")


def _turn_upright(image: Image.Image, original: Image.Image | None = None) -> bytes | None:
    """Apply the orientation to a loaded image, in place, and give its EXIF data with an upright orientation.

    Of an image that is a copy, the tags of a TIFF file are only to be had from the `original`.
    """
    stored = image.im
    stored = image.im
    try:
        raw = image.info.get("exif")
        tags = (original if original is not None and original.format == "TIFF" else image).getexif()
        kept = _descriptive_exif(tags) if raw is None else _upright(raw.removeprefix(_EXIF_PREFIX))
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception as error:  # as in _read: metadata are as damaged as their writers are many
        _notice(f"the EXIF data are damaged and left out: {error}")
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


def _sound_xmp(image: Image.Image) -> None:
    """Let the XMP packet in `info` be bytes, or not be there, and its orientation be as Pillow looks for it."""
    if image.info.pop("Raw profile type xmp", None):
        _notice("the XMP data are in a form that is not read, and left out")  # as ImageMagick writes them into a PNG
    packet = image.info.get("xmp") or image.info.get(_XMP_KEY)  # the latter alone where a PNG has it as another text
    if isinstance(packet, str):
        packet = packet.encode()
    image.info.pop(_XMP_KEY, None)
    image.info.pop("xmp", None)
    if isinstance(packet, bytes):
        packet = _XMP_ATTRIBUTE.sub(rb'tiff:Orientation="\g<1>"', packet)
        image.info["xmp"] = _XMP_ELEMENT.sub(rb"<tiff:Orientation>\g<1><", packet)
    elif packet is not None:
        _notice("the XMP data are damaged and left out")


def _xmp_of(image: Image.Image) -> bytes | None:
    """The XMP packet of an upright image."""
    packet: bytes | None = image.info.get("xmp")
    if not packet:
        return None
    if b"HasExtendedXMP" in packet:
        _notice("of the XMP data only the first part is kept")  # those of a JPEG file that are longer than a segment
    return upright_xmp(packet)


def upright_xmp(packet: bytes) -> bytes:
    """The same XMP packet; where it tells an orientation, that is upright."""
    return _XMP_ORIENTATION.sub(rb"\g<1>1", packet)


def _descriptive_exif(tags: Image.Exif, xmp: bytes | None = None) -> bytes | None:
    """EXIF data with what `tags` say about the picture, without what they say about the layout of a TIFF file; besides,
    an XMP packet, as such a file has it.
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
    return kept.tobytes().removeprefix(_EXIF_PREFIX) if len(kept) else None


def _notice(text: str) -> None:
    warnings.warn(" ".join(text.split()), ImageNotice, stacklevel=2)


# -------------------------------------------------------------------------------------------------- Pillow's own images


def from_pillow(image: Image.Image, exif: bytes | None = None) -> Picture:
    """An image that Pillow has, as `read_picture` would give it from a file. The image stays as it is.

    Of the samples' bits in a PNG file, Pillow knows nothing any more once the image is loaded. If they are not 8, a
    transparent colour is then not found.

    Args:
        image: of a mode with samples of 8 bits or fewer, or 16 bits of gray, which are reduced to their upper 8. Of
            several frames, the one it is at. Its ICC profile and EXIF data are those in its `info`.
        exif: EXIF data to take instead of the image's own.

    Raises:
        ImageError: the image has another mode, no pixels, or cannot be loaded.

    Warns:
        ImageNotice: bits, EXIF data or CMYK colours were lost.
    """
    if 0 in image.size:
        raise ImageError(f"a picture has at least one pixel, not {image.width}x{image.height}")
    try:
        bits = _bits_in_memory(image)
        upright = image.copy()
        if exif is not None:
            upright.info["exif"] = exif
        _sound_xmp(upright)
    except (DcaError, MemoryError):
        raise
    except Exception as error:  # as in _read
        raise ImageError(f"the picture is damaged or of an unknown kind: {_reason(error)}") from error
    return _converted(upright, image, bits, _turn_upright(upright, image))


def _bits_in_memory(image: Image.Image) -> int:
    """Bits of a sample, as far as they matter and the image knows them."""
    if image.format == "TIFF":
        return _bits_per_sample(image, b"")
    if image.format == "PNG" and getattr(image, "tile", None):  # not loaded yet
        named = _PNG_SAMPLES.match(str(image.tile[0][3]))  # type: ignore[attr-defined]
        return int(named[1]) if named else 8
    return 16 if image.mode in (*_SIXTEEN_BIT_MODES, "I") else 8


def to_pillow(picture: Picture) -> Image.Image:
    """A picture as an image of mode L, LA, RGB or RGBA; ICC profile, EXIF data and XMP packet in `info`."""
    image = _image_of(picture, picture.gray)
    image.info.update(info_of(*picture.metadata))
    return image


def info_of(icc: bytes | None, exif: bytes | None, xmp: bytes | None) -> dict[str, bytes]:
    """An ICC profile, EXIF data and an XMP packet as Pillow's readers put them into `info`."""
    found = {"icc_profile": icc, "exif": None if exif is None else _EXIF_PREFIX + exif, "xmp": xmp}
    return {key: value for key, value in found.items() if value is not None}


def _image_of(picture: Picture, gray: bool) -> Image.Image:
    """The pixels as an image, with one band or three for the colour, and one for alpha where there is that."""
    bands = picture.pixels[..., :1] if gray else picture.pixels
    if picture.alpha is not None:
        bands = np.dstack((bands, picture.alpha))
    return Image.fromarray(bands[..., 0] if bands.shape[2] == 1 else bands)


# ---------------------------------------------------------------------------------------------------------------- alpha


def encode_alpha(alpha: Plane) -> bytes:
    """A (height, width) alpha plane as a PNG of 8-bit gray: lossless, and readable by anything."""
    buffer = io.BytesIO()
    Image.fromarray(alpha).save(buffer, "PNG", compress_level=9)
    return buffer.getvalue()


def decode_alpha(data: bytes, width: int, height: int) -> Plane:
    """The inverse of `encode_alpha`, for a plane whose size is known beforehand; no other is unpacked.

    Raises:
        ImageError: not a sound PNG of 8-bit gray, or not of this size.
    """
    if not data.startswith(_PNG_SIGNATURE) or len(data) < len(_PNG_SIGNATURE) + _PNG_HEADER.size:
        raise ImageError("the alpha plane is not a PNG")
    _, name, *size, bits, colour_type, _, _, _ = _PNG_HEADER.unpack_from(data, len(_PNG_SIGNATURE))
    if name != b"IHDR":
        raise ImageError("the alpha plane is not a PNG")
    if size != [width, height]:
        raise ImageError(f"the alpha plane has {size[0]}x{size[1]} pixels, the picture {width}x{height}")
    if (bits, colour_type) != (8, 0):
        raise ImageError("the alpha plane is not 8-bit gray")
    try:
        # Not Image.open, which has a limit of pixels of its own.
        with PngImagePlugin.PngImageFile(io.BytesIO(data)) as image:
            if image.size != (width, height) or image.mode != "L":
                raise ImageError("the alpha plane has a second header, unlike the first")
            return np.array(image)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # as in _read
        raise ImageError(f"the alpha plane is damaged: {_reason(error)}") from error


def shrink_alpha(alpha: Plane, shrink: int) -> Plane:
    """The rounded means of shrink x shrink samples; at the right and lower border of those that there are."""
    return alpha if shrink == 1 else np.array(Image.fromarray(alpha).reduce(shrink))


# -------------------------------------------------------------------------------------------------------------- writing


@dataclass(frozen=True)
class OutputFormat:
    """A lossless picture format.

    Attributes:
        pillow: Pillow's name of it.
        suffixes: of file names, in lower case.
        gray, colour, alpha, icc: what it can hold.
        texts: whether it can hold EXIF data and an XMP packet.
        max_side: the widest and tallest picture it can hold, in pixels; None for no limit worth a check.
        options: for Pillow's writer.
    """

    pillow: str
    suffixes: tuple[str, ...]
    gray: bool = True
    colour: bool = True
    alpha: bool = True
    icc: bool = True
    texts: bool = True
    max_side: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


FORMATS: Final[Mapping[str, OutputFormat]] = {
    "png": OutputFormat("PNG", (".png",)),
    "tiff": OutputFormat("TIFF", (".tif", ".tiff"), options={"compression": "tiff_adobe_deflate"}),
    # `exact` keeps the colour of transparent pixels.
    "webp": OutputFormat("WEBP", (".webp",), gray=False, max_side=16383, options={"lossless": True, "exact": True}),
    "ppm": OutputFormat("PPM", (".ppm",), gray=False, alpha=False, icc=False, texts=False),
    "pgm": OutputFormat("PPM", (".pgm",), colour=False, alpha=False, icc=False, texts=False),
    # Pillow writes alpha into BMP, but most programs do not read it there.
    "bmp": OutputFormat("BMP", (".bmp",), alpha=False, icc=False, texts=False),
}
"""The formats that `write_picture` knows, by name."""


def format_for(path: str | Path) -> str:
    """The name of the output format that the suffix of a file name stands for.

    Raises:
        ImageError: the suffix stands for none; the text lists those that do.
    """
    suffix = Path(path).suffix.lower()
    for name, output in FORMATS.items():
        if suffix in output.suffixes:
            return name
    known = ", ".join(suffix for output in FORMATS.values() for suffix in output.suffixes)
    why = "is lossy" if suffix in (".jpg", ".jpeg", ".jpe", ".avif", ".heic") else "is not an output format"
    raise ImageError(f"{suffix or 'a name without suffix'} {why}: pictures are written without loss, as {known}")


def write_picture(picture: Picture, target: BinaryIO, format: str) -> None:
    """Write a picture without loss. `target` need not be able to seek.

    Args:
        picture: what to write.
        target: a file open for writing.
        format: a key of `FORMATS`.

    Raises:
        ImageError: the format is unknown, or cannot hold the alpha plane, colour or size of the picture.
        OSError: `target` cannot be written to.

    Warns:
        ImageNotice: the format cannot hold the ICC profile, EXIF data or XMP packet; the file is written without.
    """
    if format not in FORMATS:
        raise ImageError(f"{format} is not an output format; these are: {', '.join(FORMATS)}")
    output, name = FORMATS[format], format.upper()
    if picture.alpha is not None and not output.alpha:
        keeping = ", ".join(other for other, properties in FORMATS.items() if properties.alpha)
        raise ImageError(f"{name} cannot hold the alpha plane of this picture; these can: {keeping}")
    if not picture.gray and not output.colour:
        raise ImageError(f"{name} holds gray pictures only, and this one has colour")
    if output.max_side is not None and max(picture.width, picture.height) > output.max_side:
        raise ImageError(f"{name} holds up to {output.max_side} pixels a side, not {picture.width}x{picture.height}")

    metadata: dict[str, Any] = {}
    gray = picture.gray and output.gray
    if picture.icc is not None:
        # A profile for gray says nothing about the three bands that gray becomes where a format has only those.
        if output.icc and gray == picture.gray:
            metadata["icc_profile"] = picture.icc
        else:
            _notice(f"{name} cannot hold the ICC profile of this picture: it is left out")
    exif = picture.exif if format != "tiff" or picture.exif is None else _exif_for_tiff(picture.exif)
    if exif is not None and output.texts:
        metadata["exif"] = exif
    elif picture.exif is not None:
        _notice(f"{name} cannot hold the EXIF data of this picture: they are left out")
    if picture.xmp is not None:
        xmp = _xmp_for(format, picture.xmp, exif and picture.exif) if output.texts else None
        if xmp is None:
            _notice(f"{name} cannot hold the XMP data of this picture: they are left out")
        else:
            metadata |= xmp

    image = _image_of(picture, gray)
    buffer = io.BytesIO()
    options = output.options
    if format == "tiff" and "exif" in metadata and _has_directories(metadata["exif"]):
        options = {}  # Pillow compresses by libtiff, which fails on directories; without, it writes all by itself
    image.save(buffer, output.pillow, **options, **metadata)
    target.write(buffer.getbuffer())


def _exif_for_tiff(exif: bytes, xmp: bytes | None = None) -> bytes | None:
    """A TIFF file is itself EXIF data, so foreign tags about a layout must not get there. None where nothing fits."""
    tags = Image.Exif()
    try:
        tags.load(_EXIF_PREFIX + exif)
        return _descriptive_exif(tags, xmp)
    except MemoryError:
        raise
    except Exception:  # as in _turn_upright; the data come from a file that anyone may have written
        return None


def _xmp_for(format: str, xmp: bytes, exif: bytes | None) -> dict[str, Any] | None:
    """Options of Pillow's writer for an XMP packet. None where the format cannot hold it.

    Args:
        format: a key of `FORMATS` that holds texts.
        xmp: the packet.
        exif: the EXIF data to be written with it, which a TIFF file has among the same tags; None for none.
    """
    if format == "webp":
        return {"xmp": xmp}
    if format == "tiff":
        return {"exif": _exif_for_tiff(exif, xmp) if exif is not None else _descriptive_exif(Image.Exif(), xmp)}
    if len(xmp) > _LARGEST_PNG_TEXT:
        return None
    text = PngImagePlugin.PngInfo()
    try:
        text.add_itxt(_XMP_KEY, xmp.decode())
    except UnicodeDecodeError:  # the text of a PNG file is UTF-8
        return None
    return {"pnginfo": text}


def _has_directories(exif: bytes) -> bool:
    """Whether sound EXIF data have more than their first directory."""
    tags = Image.Exif()
    tags.load(_EXIF_PREFIX + exif)
    return ExifTags.IFD.Exif in tags or ExifTags.IFD.GPSInfo in tags
