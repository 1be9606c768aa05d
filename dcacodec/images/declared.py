"""The colours that a picture file declares in another way than by an ICC profile that Pillow finds."""

from __future__ import annotations

import struct
from typing import BinaryIO, Final

from PIL import Image

from dcacodec.errors import ImageError
from dcacodec.images.av1 import av1_colours
from dcacodec.images.bmp import check_bmp
from dcacodec.images.colour import D65, ColourSpace, check_profile, cicp_space, gamma_space, is_whole_profile
from dcacodec.images.isobmff import av1_stream, boxes, head_of, main_picture
from dcacodec.images.jpeg_2000 import bits_of_jpeg_2000
from dcacodec.images.picture import warn_of_change
from dcacodec.images.png import check_png_samples

_SILENT_FORMATS: Final = ("PNG", "AVIF", "HEIF", "BMP", "TIFF", "JPEG2000")
"""Formats whose readers do not show all that a file says about its colours."""
_PROFILES_NOT_FOUND: Final = ("PNG", "JPEG", "MPO", "BMP")
"""Formats that may say that there is a profile where it cannot be put together, or is not there."""
_BMP_HEADER: Final = 14
"""Where the second header of a BMP starts."""
# The kind of colour space, nine coordinates of red, green and blue (2.30), and three exponents (16.16).
_BMP_COLOURS: Final = struct.Struct("<4s9i3I")
_BMP_COLOURS_AT: Final = _BMP_HEADER + 56
_BMP_PROFILE_AT: Final = _BMP_HEADER + 112
_BMP_V4: Final = 108
_BMP_V5: Final = 124
# Kinds of colour boxes in JPEG 2000 files: a code (sRGB, gray, sYCC), two kinds of ICC profiles.
_JP2_CODE: Final = 1
_JP2_SRGB: Final = (16, 17, 18)
_JP2_PROFILES: Final = (2, 3)
_TRANSFER_FUNCTION, _WHITE_POINT, _CHROMATICITIES = 301, 318, 319


def declared_space(
    image: Image.Image, file: BinaryIO, head: bytes, cicp: bytes | None, allow_hdr: bool
) -> ColourSpace | None:
    """The colour space that an opened file declares; None if it has an ICC profile, or is sRGB, or declares nothing.

    The ICC profile of a BMP is put where Pillow puts those of other formats, `info`.

    Args:
        image: the opened file, loaded, so that the chunks of a PNG are known.
        file, head: the same, and what tells about its picture, see `head_of`.
        cicp: the chunk `cICP` of a PNG.
        allow_hdr: accept PQ and HLG.

    Raises:
        ImageError: HDR, a colour space that is not supported, or a JPEG 2000 file that Pillow reads wrongly.

    Warns:
        ImageWarning: the declaration or the ICC profile is invalid, or of a kind that is left out.
    """
    if image.format == "JPEG2000":
        bits_of_jpeg_2000(head, image.mode)  # for an image that the caller opened
        _declared_by_jpeg_2000(image, head)
    if image.format == "BMP":
        check_bmp(image, head)  # likewise
        _declared_by_bmp(image, file, head)
    damaged = _drop_damaged_profile(image)
    space = _declared(image, file, head, cicp, allow_hdr)
    _warn_of_damage(damaged, space)
    return space


def _declared(
    image: Image.Image, file: BinaryIO, head: bytes, cicp: bytes | None, allow_hdr: bool
) -> ColourSpace | None:
    """The colour space by the properties of an AVIF or HEIC file, the chunks of a PNG, the tags of a TIFF."""
    if image.format in ("AVIF", "HEIF"):
        main = main_picture(head)
        if main.cropped and image.format == "AVIF":  # the reader of HEIC files crops them
            raise ImageError("an AVIF of which only a part is to be shown (clean aperture) is not supported")
        codes = main.codes
        if codes is None and image.format == "AVIF":
            codes = av1_colours(av1_stream(file, head))
        if codes is not None and not image.info.get("icc_profile"):
            return cicp_space(*codes, allow_hdr)
    if image.format == "PNG" and cicp is not None:
        return _png_code_points(image, cicp, allow_hdr)
    if image.format == "TIFF" and not image.info.get("icc_profile"):
        tags = image.tag_v2  # type: ignore[attr-defined]
        if _TRANSFER_FUNCTION in tags:
            warn_of_change("the transfer function of the TIFF is left out: its curve is taken for that of sRGB")
        if _CHROMATICITIES in tags:
            image.info["chromaticity"] = (*tags.get(_WHITE_POINT, D65), *tags[_CHROMATICITIES])
    check_profile(image.info.get("icc_profile") or b"", allow_hdr)
    return space_in(image)


def _drop_damaged_profile(image: Image.Image) -> bool:
    """Remove the ICC profile from `info` if it is not whole. Returns whether the picture has lost its colours by that.

    None stands for a profile in a PNG that cannot be unpacked, in a JPEG some of whose parts are missing, and in a BMP
    that ends before it.
    """
    if "icc_profile" not in image.info:
        return False
    icc = image.info["icc_profile"]
    if icc is None and image.format not in _PROFILES_NOT_FOUND:
        return False
    if isinstance(icc, bytes) and (not icc or is_whole_profile(icc)):
        return False
    del image.info["icc_profile"]
    return image.mode != "CMYK"  # of whose conversion another warning tells


def _warn_of_damage(damaged: bool, space: ColourSpace | None) -> None:
    if damaged:
        taken = ": colours are taken for sRGB" if space is None else ""
        warn_of_change(f"the ICC profile is damaged and left out{taken}")


def declared_by_opened(image: Image.Image) -> tuple[ColourSpace | None, bytes | None]:
    """The colour space and the ICC profile of an image: those in its file if it is not loaded yet, or in its `info`.

    Raises, warns:
        As `declared_space`, without HDR.
    """
    file, info = getattr(image, "fp", None), image.info
    image.info = dict(info)
    try:
        if file is not None and getattr(image, "tile", None) and image.format in _SILENT_FORMATS:
            space = _declared_by_file(image, file)
        else:
            damaged = _drop_damaged_profile(image)
            check_profile(image.info.get("icc_profile") or b"", allow_hdr=False)
            _warn_of_damage(damaged, space := space_in(image))
        return space, image.info.get("icc_profile")
    finally:
        image.info = info


def _declared_by_file(image: Image.Image, file: BinaryIO) -> ColourSpace | None:
    """As `declared_space`, for an image that is not loaded. The file is left where it is."""
    place = file.tell()
    try:
        head = head_of(file)
        cicp = check_png_samples(file) if image.format == "PNG" else None
        return declared_space(image, file, head, cicp, allow_hdr=False)
    finally:
        file.seek(place)


def space_in(image: Image.Image) -> ColourSpace | None:
    """The colour space in the `info` of an image, as Pillow reads it from a PNG.

    Warns:
        ImageWarning: there is none with these numbers.
    """
    info = image.info
    if info.get("icc_profile") or "srgb" in info:
        return None
    try:
        return gamma_space(info.get("gamma"), info.get("chromaticity"))
    except (TypeError, ValueError) as error:
        warn_of_change(f"the colours are taken for sRGB, as the description of them is invalid: {error}")
        return None


def _png_code_points(image: Image.Image, cicp: bytes, allow_hdr: bool) -> ColourSpace | None:
    """The colour space of the chunk `cICP`, which overrides all others."""
    if len(cicp) != 4:
        warn_of_change("the chunk cICP of the PNG is invalid and left out")
        return space_in(image)
    primaries, transfer, matrix, full = cicp
    if matrix or full != 1:
        raise ImageError("PNG files of YCbCr samples or of the narrow range of video are not supported")
    space = cicp_space(primaries, transfer, allow_hdr)
    if space is not None:
        image.info.pop("icc_profile", None)
    return space


def _declared_by_jpeg_2000(image: Image.Image, head: bytes) -> None:
    """Put the ICC profile in the header boxes of a JPEG 2000 file, which Pillow ignores, into `info`."""
    header = next((content for name, content in boxes(head) if name == b"jp2h"), b"")
    for name, content in boxes(header):
        if name == b"colr" and len(content) >= 7:
            if content[0] in _JP2_PROFILES:
                image.info["icc_profile"] = content[3:]
                return
            known = content[0] == _JP2_CODE and int.from_bytes(content[3:7], "big") in _JP2_SRGB
            if not known and image.mode != "CMYK":  # of whose conversion a warning tells
                warn_of_change("the colour space of the JPEG 2000 file is taken for sRGB")
            return


def _declared_by_bmp(image: Image.Image, file: BinaryIO, head: bytes) -> None:
    """Put the colours that a header of version 4 or 5 declares into `info`, in the forms that PNG files have there."""
    if len(head) < _BMP_HEADER + 4:
        return
    (size,) = struct.unpack_from("<I", head, _BMP_HEADER)
    if size < _BMP_V4 or len(head) < _BMP_HEADER + size:
        return
    kind, *coordinates = _BMP_COLOURS.unpack_from(head, _BMP_COLOURS_AT)
    kind = kind[::-1]
    if kind == b"LINK" and size >= _BMP_V5:
        warn_of_change("the ICC profile is in another file and left out")
    elif kind == b"MBED" and size >= _BMP_V5:
        offset, length = struct.unpack_from("<II", head, _BMP_PROFILE_AT)
        file.seek(_BMP_HEADER + offset)
        image.info["icc_profile"] = file.read(length) or None
    elif kind == bytes(4) and any(coordinates[:9]) and all(coordinates[9:]):
        points = [coordinates[index : index + 3] for index in (0, 3, 6)]
        if all(sum(point) for point in points):
            xy = [value / sum(point) for point in points for value in point[:2]]
            image.info["chromaticity"] = (*D65, *xy)
        image.info["gamma"] = 3 * 65536 / sum(coordinates[9:])  # the three hardly ever differ
