"""The words of errors about pictures: in files, from Python code, and by Pillow's plugin."""

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from tiny import photo

from dcacodec.api import decode, encode
from dcacodec.codec.codec import Codec
from dcacodec.errors import ImageError, TooLargeError
from dcacodec.format.reader import parse
from dcacodec.format.writer import pack
from dcacodec.images.alpha import decode_alpha, encode_alpha
from dcacodec.images.colour import cicp_space
from dcacodec.images.formats import format_for
from dcacodec.images.optional import OPTIONAL_FORMATS
from dcacodec.images.picture import Picture
from dcacodec.images.reading import read_picture
from dcacodec.images.writing import write_picture
from dcacodec.pillow_plugin import FORMAT

Action = Callable[[Codec], Any]

PICTURE = Picture(photo(5, 7))
INSTALLED = [each.title for each in OPTIONAL_FORMATS if each.installed]
FORMATS = ", ".join(["PNG, JPEG, TIFF, WEBP, AVIF, PPM, BMP, GIF, QOI", *INSTALLED])
PLANE = PICTURE.pixels[..., 0].copy()
OTHER = bytes.fromhex("01020304")


def png(**options: Any) -> io.BytesIO:
    buffer = io.BytesIO()
    Image.fromarray(PICTURE.pixels).save(buffer, "PNG", **options)
    buffer.seek(0)
    return buffer


def of_other_weights(codec: Codec) -> bytes:
    container = parse(codec.encode(PICTURE))
    return pack(replace(container, header=replace(container.header, fingerprint=OTHER)))


PICTURE_MESSAGES: list[tuple[Action, type[Exception], str]] = [
    # Pictures.
    (
        lambda _: read_picture(png(), max_pixels=34),
        TooLargeError,
        "a picture of 7x5 pixels is above the limit of 34 pixels",
    ),
    (
        lambda _: format_for("x.gif"),
        ImageError,
        (
            ".gif is not an output format; pictures are written as "
            ".png, .tif, .tiff, .webp, .ppm, .pgm, .bmp, .jpg, .jpeg, .avif"
        ),
    ),
    (
        lambda _: read_picture(io.BytesIO(b"text")),
        ImageError,
        f"not a picture in one of the formats {FORMATS}, or its beginning is damaged",
    ),
    (
        lambda _: read_picture(io.BytesIO(b"\x89DCA and more")),
        ImageError,
        "a .dca file is compressed already; decode it first",
    ),
    (
        lambda _: Picture(PICTURE.pixels[0]),
        ValueError,
        "pixels must be uint8 (height, width, 3), not uint8 (7, 3)",
    ),
    (lambda _: Picture(PICTURE.pixels, gray=True), ValueError, "a gray picture needs three equal bands"),
    (
        lambda _: decode_alpha(encode_alpha(PLANE.T), 7, 5),
        ImageError,
        "the alpha plane has 5x7 pixels, the picture 7x5",
    ),
    (lambda _: decode_alpha(b"PNG", 7, 5), ImageError, "the alpha plane is not a PNG"),
    (
        lambda _: write_picture(PICTURE, io.BytesIO(), "gif"),
        ImageError,
        "gif is not an output format; these are: png, tiff, webp, ppm, pgm, bmp, jpeg, avif",
    ),
    (
        lambda _: write_picture(PICTURE, io.BytesIO(), "pgm"),
        ImageError,
        "PGM holds gray pictures only, and this one has colour",
    ),
    (
        lambda _: write_picture(Picture(PICTURE.pixels, alpha=PLANE), io.BytesIO(), "bmp"),
        ImageError,
        "BMP cannot hold the alpha plane of this picture; these can: png, tiff, webp",
    ),
    (
        lambda _: write_picture(PICTURE, io.BytesIO(), "png", quality=50),
        ValueError,
        "a quality of 1 to 100 is for lossy formats, and not 50 for PNG",
    ),
    (
        lambda _: cicp_space(9, 16),
        ImageError,
        "the picture is HDR (PQ), for which 8 bits are too few; --allow-hdr encodes it nevertheless",
    ),
    # What Python code gives.
    (
        lambda _: encode(PICTURE.pixels[..., :2]),
        ImageError,
        (
            "an array must be uint8 of shape (height, width), (height, width, 3) or (height, width, 4), "
            "not uint8 (5, 7, 2)"
        ),
    ),
    (
        lambda _: encode(torch.zeros(3, 8, 8, dtype=torch.int64)),
        ImageError,
        (
            "a tensor must be uint8 or floating point of shape (3, height, width) or (1, 3, height, width), "
            "not int64 (3, 8, 8)"
        ),
    ),
    (
        lambda _: encode(torch.full((3, 8, 8), 1.001)),
        ImageError,
        "a floating-point tensor must have all its values in 0 to 1: clamp it",
    ),
    (lambda _: encode(np.zeros((0, 3), np.uint8)), ImageError, "a picture has at least one pixel, not 3x0"),
    (
        lambda _: encode(Image.new("HSV", (4, 4))),
        ImageError,
        "pictures with samples of Pillow's mode HSV are not supported",
    ),
    (
        lambda _: decode(None),  # type: ignore[arg-type]
        TypeError,
        "a path, a file or bytes is needed, not NoneType",
    ),
    # The plugin of Pillow, whose errors are Pillow's.
    (
        lambda _: Image.new("F", (4, 4)).save(io.BytesIO(), FORMAT),
        OSError,
        "cannot write this image as DCA: pictures with samples of Pillow's mode F are not supported",
    ),
    (
        lambda _: Image.fromarray(PICTURE.pixels).save(io.BytesIO(), FORMAT, xmp="<x/>"),
        OSError,
        "cannot write this image as DCA: an XMP packet must be bytes, not str",
    ),
    (
        lambda codec: Image.open(io.BytesIO(codec.encode(PICTURE)[:30]), formats=[FORMAT]),
        OSError,
        "the file is truncated or damaged: it has only 30 bytes",
    ),
    (
        lambda codec: Image.open(io.BytesIO(of_other_weights(codec))).load(),
        OSError,
        "the file needs the weights 01020304, which are not installed; DCACODEC_MODELS can name a folder with them",
    ),
]
