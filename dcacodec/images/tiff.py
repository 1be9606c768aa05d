"""TIFF files that Pillow reads wrongly, or not at all."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO, Final

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImagePalette, TiffImagePlugin

from dcacodec.errors import ImageError, TooLargeError
from dcacodec.format.container import check_pixels
from dcacodec.images.exif_bytes import EXIF_PREFIX, short_entry, with_tags
from dcacodec.images.metadata import XMP_TAG, descriptive_exif
from dcacodec.images.optional import EXTRA
from dcacodec.images.picture import warn_of_change
from dcacodec.images.rounding import divided_by_alpha, to_8_bits
from dcacodec.images.tiff_planes import is_planar

_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
"""Value of PlanarConfiguration: each band in a plane of its own."""
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _YCBCR = 0, 1, 2, 6
_COLOURS: Final = {_RGB: 3, 5: 4, _YCBCR: 3, 8: 3}
"""How many bands of colour there are, by the photometric interpretation: of 5, CMYK, and 8, CIELAB; else 1."""
_PREMULTIPLIED, _STRAIGHT, _COREL_ALPHA = 1, 2, 999
_LARGEST_DEPTH: Final = 32
_LIBTIFF: Final = (False,) if int(PIL.__version__.split(".")[0]) >= 13 else ("raw", False)
"""What Pillow's decoder takes between raw mode and offset: until version 12 the compression, and no file."""
_MOST_BANDS: Final = 6
"""As in Pillow. It bounds the memory that a file takes."""
_YCBCR_COEFFICIENTS: Final = 529
_FULL_RANGE: Final = (0, 255, 128, 255, 128, 255)
"""What Y, Cb and Cr are at black and at white."""
_ICC_TAG: Final = 34675
_NEW_SUBFILE_TYPE, _DNG_VERSION = 254, 50706
_CANON_RAW: Final = b"\x10\0\0\0CR\2"
"""The offset of the first directory, and what stands before that. Samples may stand there in any other TIFF."""
_LONGEST_REASON: Final = 120
"""Characters of tifffile's messages, which may contain all tags of a damaged file."""

Tags = TiffImagePlugin.ImageFileDirectory_v2


def first_directory(file: BinaryIO) -> Tags | None:
    """The tags of the first picture of a TIFF file; None if it is no TIFF, or damaged."""
    file.seek(0)
    start = file.read(8)
    if not start.startswith(tuple(TiffImagePlugin.PREFIXES)):
        return None
    try:
        if start.startswith(b"II\x2b"):  # BigTIFF
            start += file.read(8)
        tags = Tags(start)
        if start.startswith(b"MM\0\x2b"):  # BigTIFF, which Pillow takes for a TIFF
            tags._bigtiff, tags.next = True, int.from_bytes(file.read(8), "big")
        file.seek(tags.next)
        tags.load(file)
    except (OSError, SyntaxError, ValueError, struct.error):
        return None
    return tags if TiffImagePlugin.IMAGEWIDTH in tags and TiffImagePlugin.IMAGELENGTH in tags else None


def depth_of(tags: Tags) -> int:
    """Bits per sample."""
    return int(max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))))


def kind_of(tags: Tags) -> str:
    """The samples of a TIFF, in words."""
    bits, formats = (
        set(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))),
        set(tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,))),
    )
    names = {_UNSIGNED: "", _SIGNED: "signed ", _FLOAT: "floating-point "}
    name = names.get(formats.pop(), "undefined ") if len(formats) == 1 else "mixed "
    bands = tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)
    planes = " in separate planes" if bands > 1 and is_planar(tags) else ""
    # A damaged file has any number of them.
    depth = "-".join(map(str, sorted(bits))) if len(bits) <= _MOST_BANDS else "mixed"
    return f"a TIFF of {bands} band{'s' * (bands != 1)} of {name}{depth}-bit samples{planes}"


def check_not_raw(head: bytes) -> None:
    """Refuse a raw photograph of Canon, whose first picture is a preview that its tags do not tell from a picture.

    Raises:
        ImageError: the first bytes of a TIFF are those of such a file.
    """
    if head[4:].startswith(_CANON_RAW):
        raise ImageError("a raw photograph (CR2) is not supported; develop it first")


def check_layout(tags: Tags, max_pixels: int | None) -> None:
    """Refuse a TIFF whose first picture is a thumbnail, or whose strips or tiles do not fit its dimensions.

    Raw photographs begin with a thumbnail. A decoder takes memory for a whole tile, and what no strip or tile holds
    would become black, or whatever bytes the file begins with.

    Raises:
        TooLargeError: a tile has more than `max_pixels` pixels; None for no limit.
        ImageError: a raw photograph, or another file that begins with a smaller version of its picture; strips or tiles
            are missing, or left out as in sparse files, which do not say what is there.
    """
    if _DNG_VERSION in tags:
        raise ImageError("a raw photograph (DNG) is not supported; develop it first")
    if tags.get(_NEW_SUBFILE_TYPE, 0) & 1:
        raise ImageError("a TIFF that begins with a thumbnail, as raw photographs do, is not supported")
    layouts = []
    strips = tags.get(TiffImagePlugin.STRIPOFFSETS, ())
    if strips:
        rows = tags.get(TiffImagePlugin.ROWSPERSTRIP) or tags[TiffImagePlugin.IMAGELENGTH]
        layouts.append(("strips", len(strips), tags[TiffImagePlugin.IMAGEWIDTH], rows))
    if TiffImagePlugin.TILEWIDTH in tags:  # their offsets may be where those of strips are
        columns, rows = tags[TiffImagePlugin.TILEWIDTH] or 1, tags.get(TiffImagePlugin.TILELENGTH) or 1
        if max_pixels is not None and columns * rows > max_pixels:
            raise TooLargeError(f"a tile of {columns}x{rows} pixels is above the limit of {max_pixels} pixels")
        layouts.append(("tiles", len(tags.get(TiffImagePlugin.TILEOFFSETS, strips)), columns, rows))
    planes = tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1) if is_planar(tags) else 1
    for parts, found, columns, rows in layouts:
        across, down = -(-tags[TiffImagePlugin.IMAGEWIDTH] // columns), -(-tags[TiffImagePlugin.IMAGELENGTH] // rows)
        if found < (needed := across * down * planes):
            raise ImageError(f"the TIFF is damaged: it has {found} of the {needed} {parts} of its dimensions")
    for tag in (TiffImagePlugin.STRIPOFFSETS, TiffImagePlugin.TILEOFFSETS):
        if 0 in tags.get(tag, ()):
            raise ImageError("a TIFF in which strips or tiles are left out (sparse) is not supported")


def _warn_of_other_bands(tags: Tags) -> None:
    """Tell of bands that are neither colour nor alpha. GraphicsMagick writes alpha as such a band."""
    extra = _extra(tags)
    if len(extra) > bool({_PREMULTIPLIED, _STRAIGHT} & set(extra)):
        warn_of_change("bands of the TIFF that are neither colour nor alpha are left out")


def is_misread(image: Image.Image) -> bool:
    """Whether Pillow decodes an opened TIFF wrongly, by what its tags say about the samples."""
    tags: Tags = image.tag_v2  # type: ignore[attr-defined]
    if set(tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,))) - {_UNSIGNED} or depth_of(tags) > 16:
        return True  # it takes signed samples for unsigned ones, or gives samples that no picture here can have
    if not is_planar(tags) or len(image.getbands()) == 1:
        return False
    # libtiff's planes are put into the bands of RGBA, whatever they are, and alpha that is multiplied is not divided.
    return image.mode not in ("RGB", "RGBA", "CMYK", "YCbCr") or _PREMULTIPLIED in _extra(tags)


def correct_tiff(image: Image.Image) -> None:
    """Make Pillow read an opened TIFF that is not `is_misread` as its tags say, and tell of bands that are left out."""
    _warn_of_other_bands(image.tag_v2)  # type: ignore[attr-defined]
    decode_with_libtiff(image)
    _correct_palette(image)


def decode_with_libtiff(image: Image.Image) -> None:
    """Make Pillow read an opened, uncompressed TIFF of separate planes or YCbCr by libtiff, as it does compressed ones.

    By itself it takes the samples of a plane for 8 bits in the usual order of bits, and YCbCr for that of JPEG files
    or, until version 12, for RGB.
    """
    tags: Tags = image.tag_v2  # type: ignore[attr-defined]
    if image.use_load_libtiff or len(image.getbands()) == 1:  # type: ignore[attr-defined]
        return
    bits = depth_of(tags)
    if tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == _YCBCR:
        if image.mode == "YCbCr" and not is_planar(tags) and _is_plain_ycbcr(tags):
            return
        image._mode, raw_mode = "RGB", "RGBX"
    else:
        plain = bits == 8 and tags.get(TiffImagePlugin.FILLORDER, 1) == 1 and image.mode in ("RGB", "RGBA", "CMYK")
        if plain or not is_planar(tags):
            return
        raw_mode = image.mode if bits == 8 else f"{image.mode};16N"
    image.use_load_libtiff = True  # type: ignore[attr-defined]
    area = (0, 0, tags[TiffImagePlugin.IMAGEWIDTH], tags[TiffImagePlugin.IMAGELENGTH])
    image.tile = [ImageFile._Tile("libtiff", area, 0, (raw_mode, *_LIBTIFF, tags.offset))]  # type: ignore[attr-defined]


def _is_plain_ycbcr(tags: Tags) -> bool:
    """Whether samples are those that Pillow expects: of the matrix and the range of JPEG files, not subsampled."""
    full = tags.get(TiffImagePlugin.REFERENCEBLACKWHITE, _FULL_RANGE) == _FULL_RANGE
    return full and _YCBCR_COEFFICIENTS not in tags and tags.get(TiffImagePlugin.YCBCRSUBSAMPLING) == (1, 1)


def _correct_palette(image: Image.Image) -> None:
    """Give an opened TIFF the palette that its tags mean by values of 8 bits, which Pillow takes for 16 bits: black.

    As libtiff does. Old programs have written such files.
    """
    values = image.tag_v2.get(TiffImagePlugin.COLORMAP, ())  # type: ignore[attr-defined]
    if image.palette is not None and values and max(values) < 1 << 8:
        image.palette = ImagePalette.raw("RGB;L", bytes(values))


def load_without_mapping(image: Image.Image) -> None:
    """Load a TIFF that was opened by its name, without mapping the file into memory.

    Pillow confuses the sides of a mapped one that is to be turned.
    """
    name = image.filename  # type: ignore[attr-defined]
    try:
        image.filename = ""  # type: ignore[attr-defined]
        image.load()
    finally:
        image.filename = name  # type: ignore[attr-defined]


def has_tifffile() -> bool:
    """Whether `read_with_tifffile` can be called."""
    try:
        import tifffile  # noqa: F401
    except ImportError:
        return False
    return True


def read_with_tifffile(file: BinaryIO, tags: Tags, max_pixels: int | None) -> Image.Image:
    """Read the first picture of a TIFF with tifffile: gray or RGB of 1 to 32 unsigned bits, with or without alpha.

    Returns:
        An image of 8 bits, with samples rounded, and with EXIF data, ICC profile and XMP packet in `info`.

    Raises:
        ImageError: tifffile is not installed, or the TIFF is of another kind or damaged.
        TooLargeError: more than `max_pixels` pixels.
    """
    kind = kind_of(tags)
    width, height = tags[TiffImagePlugin.IMAGEWIDTH], tags[TiffImagePlugin.IMAGELENGTH]
    check_pixels(width, height, max_pixels)
    check_layout(tags, max_pixels)
    bits = set(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    photometric = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, _WHITE_IS_ZERO)
    if (
        set(tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,))) != {_UNSIGNED}
        or len(bits) != 1
        or max(bits) > _LARGEST_DEPTH
        or tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1) > _MOST_BANDS
        or photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB)
    ):
        raise ImageError(f"{kind} is not supported")
    if not has_tifffile():
        raise ImageError(f"{kind} is read with the package tifffile: {EXTRA}")
    import tifffile

    file.seek(0)
    try:
        with tifffile.TiffFile(file) as opened:
            page = opened.pages[0]
            samples = np.asarray(page.asarray())
            axes = page.axes
    except MemoryError:
        raise
    except Exception as error:  # tifffile raises many kinds
        raise ImageError(f"{kind} cannot be read: {' '.join(str(error).split())[:_LONGEST_REASON]}") from error
    if "S" in axes:
        samples = np.moveaxis(samples, axes.index("S"), -1)
    if samples.size % (width * height):
        raise ImageError(f"{kind} is not supported")
    _warn_of_other_bands(tags)
    return _image(_straight(samples.reshape(height, width, -1), bits.pop(), photometric, _extra(tags)), file, tags)


def _straight(samples: NDArray[Any], bits: int, photometric: int, extra: tuple[int, ...]) -> NDArray[np.uint8]:
    """Samples of gray or RGB (H, W, bands) to 8 bits, with alpha if there is any, that is not premultiplied."""
    colours = _COLOURS.get(photometric, 1)
    place = next((place for place, kind in enumerate(extra) if kind in (_PREMULTIPLIED, _STRAIGHT)), len(extra))
    shown, alpha = samples[..., :colours], samples[..., colours + place : colours + place + 1]
    premultiplied = extra[place : place + 1] == (_PREMULTIPLIED,)
    narrow = divided_by_alpha(shown, alpha, bits) if premultiplied else to_8_bits(shown, bits)
    if photometric == _WHITE_IS_ZERO:
        narrow = 255 - narrow
    return np.concatenate((narrow, to_8_bits(alpha, bits)), -1) if alpha.size else narrow


def _image(bands: NDArray[np.uint8], file: BinaryIO, tags: Tags) -> Image.Image:
    """An image of these bands, with the metadata of the TIFF."""
    image = Image.fromarray(np.ascontiguousarray(bands[..., 0] if bands.shape[-1] == 1 else bands))
    kept = descriptive_exif(_exif(file, tags))
    if ExifTags.Base.Orientation in tags:
        kept = with_tags(kept, {ExifTags.Base.Orientation: short_entry(tags[ExifTags.Base.Orientation])})
    found: dict[str, Any] = {
        "exif": kept and EXIF_PREFIX + kept,
        "xmp": tags.get(XMP_TAG),
        "icc_profile": tags.get(_ICC_TAG),
    }
    image.info.update({key: value for key, value in found.items() if value})
    return image


def _exif(file: BinaryIO, tags: Tags) -> Image.Exif:
    """The tags of a TIFF as EXIF data, which have the same form."""
    exif = Image.Exif()
    inner = {ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo}
    file.seek(0)
    try:
        if tags._bigtiff:  # Pillow would take its directories for those of a TIFF
            exif.update({tag: tags[tag] for tag in tags if tag not in inner})
        else:
            exif.load(EXIF_PREFIX + file.read())
    except MemoryError:
        raise
    except Exception:  # as in `turn_upright`
        warn_of_change("the EXIF data are damaged and left out")
    if tags._bigtiff and inner & set(tags):
        warn_of_change("the EXIF data of the BigTIFF are left out, but for those of its first directory")
    return exif


def _extra(tags: Tags) -> tuple[int, ...]:
    """What each band behind the colours is. If nothing says it, a single one behind RGB is alpha, as in Pillow."""
    declared = tags.get(TiffImagePlugin.EXTRASAMPLES, ())
    if declared:
        return tuple(_STRAIGHT if kind == _COREL_ALPHA else kind for kind in declared)
    photometric = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, _WHITE_IS_ZERO)
    others = tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1) - _COLOURS.get(photometric, 1)
    return (_STRAIGHT,) if photometric == _RGB and others == 1 else (0,) * others
