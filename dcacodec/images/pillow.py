"""Conversion between Pillow images and `Picture`s."""

from __future__ import annotations

import io
import re
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, TiffImagePlugin

from dcacodec.errors import DcaError, ImageError
from dcacodec.images.colour import ColourSpace, icc_profile
from dcacodec.images.declared import declared_by_opened
from dcacodec.images.isobmff import head_of, main_picture
from dcacodec.images.jpeg_2000 import bits_of_jpeg_2000
from dcacodec.images.jxl import jxl_header
from dcacodec.images.metadata import ignore_xmp_orientation, info_of, normalise_xmp, turn_upright, xmp_of
from dcacodec.images.picture import Picture, Plane, warn_of_change
from dcacodec.images.png import PNG_HEADER, PNG_SIGNATURE
from dcacodec.images.rounding import is_deep, load_rounded, reopened, to_8_bits
from dcacodec.images.tiff import (
    check_layout,
    check_not_raw,
    correct_tiff,
    decode_with_libtiff,
    is_misread,
    kind_of,
    load_without_mapping,
)

_SIXTEEN_BIT_MODES: Final = ("I;16", "I;16L", "I;16B", "I;16N")
ROUNDING_FORMATS: Final = ("AVIF", "HEIF", "PPM")
"""Formats whose readers round samples of more bits to 8."""
_WHITE_IS_ZERO: Final = 0
# Pillow's raw modes of PNG samples, such as "L;4" and "RGB;16B".
_PNG_SAMPLES: Final = re.compile(r"\w+;(\d+)")


def one_line(error: Exception) -> str:
    """The message of a Pillow error in one line; its type if it has no message."""
    return " ".join(str(error).split()) or type(error).__name__


def bits_per_sample(image: Image.Image, head: bytes) -> int:
    """Bits per sample in the file. Pillow's mode does not show them: 16-bit colour is reduced to 8 bits."""
    if image.format == "PNG":
        return PNG_HEADER.unpack_from(head, len(PNG_SIGNATURE))[4]  # type: ignore[no-any-return]
    if image.format == "TIFF":
        return max(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))  # type: ignore[attr-defined, no-any-return]
    if image.format == "PPM":
        arguments = image.tile[0][3]  # type: ignore[attr-defined]
        maximum = arguments[1] if isinstance(arguments, tuple) else 65535 if arguments == "I;16B" else 255
        return 16 if maximum > 255 else 8
    if image.format == "AVIF":
        return main_picture(head).bits
    if image.format == "HEIF":
        return int(image.info.get("bit_depth", 8))
    if image.format == "JPEG2000":
        return bits_of_jpeg_2000(head, image.mode)
    if image.format == "JXL":
        header = jxl_header(head)
        return 16 if image.mode in _SIXTEEN_BIT_MODES else 8 if header is None else header.bits
    return 8


def to_picture(
    image: Image.Image,
    original: Image.Image,
    bits: int,
    exif: bytes | None,
    space: ColourSpace | None = None,
    rounded: bool = False,
) -> Picture:
    """Convert an upright image to a `Picture`.

    Args:
        image: upright.
        original: the opened file, or the image itself.
        bits: per sample in the file.
        exif: its EXIF data.
        space: its colour space if there is no ICC profile; None for sRGB.
        rounded: samples of more than 8 bits were rounded to 8, and not cut. Those of gray are rounded here.
    """
    icc = image.info.get("icc_profile") or None
    key = image.info.get("transparency")
    alpha: Plane | None = None
    if image.mode in _SIXTEEN_BIT_MODES or (image.mode == "I" and original.format == "PPM"):
        # Pillow scales gray samples of PPM files to 16 bits, so values of mode "I" fit.
        samples = np.asarray(image).astype(np.uint16)
        alpha = _keyed_alpha(samples[..., np.newaxis], key)
        if original.format == "TIFF" and original.tag_v2.get(262) == _WHITE_IS_ZERO:  # type: ignore[attr-defined]
            samples = np.uint16((1 << bits) - 1) - samples
        colour, rounded = to_8_bits(samples, bits), True
    elif image.mode in ("1", "L"):
        colour = _samples(image, "L")
        if key is not None and (image.mode == "1" or bits < 8):
            # The transparent value is in units of the file, while the samples are scaled to 0..255.
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
        warn_of_change(f"samples of {bits} bits are {'rounded to 8' if rounded else 'reduced to 8 by Pillow'}")

    if colour.ndim == 3 and (icc or b"")[16:20] == b"GRAY" and (colour == colour[..., :1]).all():
        colour = colour[..., 0]  # of AVIF and HEIC files with alpha, whose readers give three bands for gray
    gray = colour.ndim == 2
    if space is not None and image.mode != "CMYK":
        icc = icc_profile(space, gray)
    pixels = np.repeat(colour[..., np.newaxis], 3, axis=2) if gray else np.ascontiguousarray(colour)
    alpha = None if alpha is None else np.ascontiguousarray(alpha)
    return Picture(pixels, gray, alpha, icc, exif, xmp_of(image))


def _samples(image: Image.Image, mode: str) -> Plane:
    """Samples (height, width[, bands]) in a Pillow mode of 8 bits, without a conversion if the image has that mode."""
    return np.array(image if image.mode == mode else image.convert(mode))


def _keyed_alpha(samples: NDArray[Any], key: int | tuple[int, int, int] | None) -> Plane | None:
    """Alpha plane that is 0 where all bands of `samples` (height, width, bands) equal the key; None without a key."""
    if key is None:
        return None
    return np.where((samples == key).all(axis=-1), 0, 255).astype(np.uint8)


def _cmyk_to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """Convert CMYK to sRGB, with the embedded profile if it is valid for CMYK, else with Pillow's approximation."""
    if icc is not None:
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            pass
        else:
            assert converted is not None  # it is None only with inPlace
            warn_of_change("CMYK is converted to sRGB")
            return converted
    warn_of_change("CMYK without a usable colour profile is converted to sRGB: colours are approximate")
    return image.convert("RGB")


def from_pillow(image: Image.Image, exif: bytes | None = None, cmyk_icc: bytes | None = None) -> Picture:
    """Convert a Pillow image to a `Picture`, like `read_picture` does for a file. The image is not changed.

    Pillow cuts colours of 16 bits to 8. They are rounded instead as long as the image is not loaded, which it is not
    here, either; those of later frames are cut, with a warning. Once an image is loaded, Pillow does not know the
    number of bits of its PNG samples; if it is not 8, a transparent colour is then not recognised.

    Args:
        image: of a mode with samples of 8 bits or fewer, or 16 bits of gray, which are rounded to 8. If there are
            several frames, the current one is used. ICC profile and EXIF data are those in its `info`,
            and so is what a PNG says about its colours. What else the file says about them is known as long as it is
            open, that is, until the image is loaded.
        exif: EXIF data to use instead of the image's own.
        cmyk_icc: ICC profile to use instead of that of a CMYK image; empty for none.

    Raises:
        ImageError: the image has another mode, no pixels, or cannot be loaded.

    Warns:
        ImageWarning: bits, EXIF data or CMYK colours were lost.
    """
    if 0 in image.size:
        raise ImageError(f"a picture has at least one pixel, not {image.width}x{image.height}")
    try:
        bits = _bits_in_memory(image)
        space, icc = declared_by_opened(image)
        is_tiff = image.format == "TIFF" and getattr(image, "tile", None)  # and not loaded yet
        if is_tiff:
            if is_misread(image):
                raise ImageError(f"{kind_of(image.tag_v2)} is not read correctly by Pillow")  # type: ignore[attr-defined]
            check_not_raw(_head_in_memory(image) or b"")
            check_layout(image.tag_v2, None)  # type: ignore[attr-defined]
            correct_tiff(image)
        rounded = _rounded(image)
        source = image if rounded is None else rounded
        if is_tiff and rounded is None:
            load_without_mapping(image)
        upright = source.copy()
        upright.info.pop("icc_profile", None)
        if cmyk_icc is not None and image.mode == "CMYK":
            icc = cmyk_icc
        if icc is not None:
            upright.info["icc_profile"] = icc
        if exif is not None:
            upright.info["exif"] = exif
        normalise_xmp(upright)
        ignore_xmp_orientation(upright, image.format)
    except (DcaError, MemoryError):
        raise
    except Exception as error:  # as in _read
        raise ImageError(f"the picture is damaged or of an unknown kind: {one_line(error)}") from error
    is_rounded = rounded is not None or image.format in ROUNDING_FORMATS
    return to_picture(upright, source, bits, turn_upright(upright, source), space, is_rounded)


def _rounded(image: Image.Image) -> Image.Image | None:
    """An opened file once more, its samples rounded, if Pillow would cut them in loading it; None if it would not.

    The image stays as it is, not loaded, so that it gives the same picture the next time. None, too, if a later frame
    was chosen: its samples are cut.
    """
    file = getattr(image, "fp", None)
    if file is None or not is_deep(image) or image.tell():
        return None
    place = file.tell()
    try:
        again = reopened(image, file)
        if again.format == "TIFF":
            decode_with_libtiff(again)
        early = set(again.info)
        load_rounded(again, file)
        # Of a PNG, what stands after the pixels is known only now. All else may have been changed by the caller.
        again.info = {key: value for key, value in again.info.items() if key not in early} | image.info
        return again
    finally:
        file.seek(place)


def _bits_in_memory(image: Image.Image) -> int:
    """Bits per sample, as far as they are known and relevant."""
    if image.format == "TIFF":
        return bits_per_sample(image, b"")
    if image.format == "PNG" and getattr(image, "tile", None):  # not loaded yet
        named = _PNG_SAMPLES.match(str(image.tile[0][3]))  # type: ignore[attr-defined]
        return int(named[1]) if named else 8
    if image.format in ROUNDING_FORMATS and (head := _head_in_memory(image)) is not None:
        return bits_per_sample(image, head)
    return 16 if image.mode in (*_SIXTEEN_BIT_MODES, "I") or is_deep(image) else 8


def _head_in_memory(image: Image.Image) -> bytes | None:
    """What `head_of` gives of an opened file; None once it is loaded."""
    if image.format == "HEIF":
        return b""  # whose bits are in `info`
    file = getattr(image, "fp", None)
    if file is None or not getattr(image, "tile", None):
        return None
    place = file.tell()
    try:
        return head_of(file)
    finally:
        file.seek(place)


def to_pillow(picture: Picture) -> Image.Image:
    """Convert to a Pillow image of mode L, LA, RGB or RGBA, with ICC profile, EXIF data and XMP packet in `info`."""
    image = image_of(picture, picture.gray)
    image.info.update(info_of(*picture.metadata))
    return image


def image_of(picture: Picture, gray: bool) -> Image.Image:
    """The pixels as a Pillow image, with one or three bands of colour, and one for alpha if there is an alpha plane."""
    bands = picture.pixels[..., :1] if gray else picture.pixels
    if picture.alpha is not None:
        bands = np.dstack((bands, picture.alpha))
    return Image.fromarray(bands[..., 0] if bands.shape[2] == 1 else bands)
