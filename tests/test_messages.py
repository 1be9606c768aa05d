"""The words of errors, here and nowhere else: other tests ask for the kind of an error and for one line.

What the commands print is in `test_cli_*.py`, as it is their interface: the prefix, the name of the file, one line.
"""

import io
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import TINY, WEIGHTS, drawn_model, photo
from told import one_line

from dcacodec.api import decode, encode
from dcacodec.bench.anchors import PUBLISHED, find_anchor
from dcacodec.bench.codec import CodecOptions
from dcacodec.bench.codecs import open_codec
from dcacodec.bench.datasets import named_dataset
from dcacodec.bench.pillow_codecs import PILLOW_FORMATS
from dcacodec.codec.codec import Codec
from dcacodec.coding import CdfTable, PythonCoder, best_coder, decode_values, encode_values
from dcacodec.errors import (
    BenchError,
    CoderWarning,
    ImageError,
    ImageWarning,
    StreamError,
    SymbolMismatchError,
    TooLargeError,
    TrainingError,
    UnknownModelError,
    WeightsError,
)
from dcacodec.format.reader import parse
from dcacodec.format.writer import pack
from dcacodec.images.alpha import decode_alpha, encode_alpha
from dcacodec.images.colour import cicp_space
from dcacodec.images.formats import format_for
from dcacodec.images.optional import OPTIONAL_FORMATS
from dcacodec.images.picture import Picture
from dcacodec.images.pillow import from_pillow
from dcacodec.images.reading import read_picture
from dcacodec.images.writing import write_picture
from dcacodec.network.config import DCAConfig
from dcacodec.network.dca import DCA
from dcacodec.network.device import choose_device
from dcacodec.pillow_plugin import FORMAT
from dcacodec.training.data import CropSampler
from dcacodec.training.log import read_log
from dcacodec.training.options import TrainingOptions
from dcacodec.weights.export import export
from dcacodec.weights.reader import read_weights
from dcacodec.weights.registry import by_fingerprint, by_preset

PICTURE = Picture(photo(5, 7))
INSTALLED = [each.title for each in OPTIONAL_FORMATS if each.installed]
FORMATS = ", ".join(["PNG, JPEG, TIFF, WEBP, AVIF, PPM, BMP, GIF, QOI", *INSTALLED])
PLANE = PICTURE.pixels[..., 0].copy()
ONE = np.zeros(1, np.int64)
OTHER = bytes.fromhex("01020304")


def table(*row: int, shift: int = 0) -> CdfTable:
    return CdfTable(np.array([row]), np.zeros(1, np.int32), np.array([shift], np.uint8))


TABLE = table(0, 1, 65536)


def png(**options: Any) -> io.BytesIO:
    buffer = io.BytesIO()
    Image.fromarray(PICTURE.pixels).save(buffer, "PNG", **options)
    buffer.seek(0)
    return buffer


def with_xmp(packet: object) -> Image.Image:
    image = Image.fromarray(PICTURE.pixels)
    image.info["xmp"] = packet
    return image


def of_other_weights(codec: Codec) -> bytes:
    container = parse(codec.encode(PICTURE))
    return pack(replace(container, header=replace(container.header, fingerprint=OTHER)))


def with_another_checksum(codec: Codec) -> bytes:
    container = parse(codec.encode(PICTURE, lossless=False))
    return pack(replace(container, slices=(replace(container.slices[0], latent_crc=0),)))


def with_weight(name: str, value: float) -> DCA:
    model = drawn_model(TINY, seed=1)
    model.state_dict()[name].view(-1)[-1] = value  # shares memory with the parameter
    return model


Action = Callable[[Codec], Any]
MESSAGES: list[tuple[Action, type[Exception], str]] = [
    # Coding.
    (lambda codec: codec.encode(PICTURE, quality=101), ValueError, "quality must be 1 to 100, not 101"),
    (lambda codec: codec.encode(PICTURE, effort=-1), ValueError, "effort must be 0 or more, not -1"),
    (
        lambda codec: codec.decode(codec.encode(PICTURE), scale=3),
        ValueError,
        "scale must be 1, 2, 4 or 8, not 3",
    ),
    (
        lambda codec: codec.decode(with_another_checksum(codec)),
        SymbolMismatchError,
        "the decoded latents are not those that were encoded: the file is damaged",
    ),
    (
        lambda codec: codec.decode(of_other_weights(codec)),
        UnknownModelError,
        "the file needs weights 01020304, this codec has bb143dfb",
    ),
    # Streams and their tables.
    (
        lambda _: PythonCoder().encode(TABLE.cdf, ONE, ONE + 7),
        ValueError,
        "a symbol is not in 0 to 1",
    ),
    (
        lambda _: encode_values(ONE + 32768, ONE, TABLE, PythonCoder()),
        ValueError,
        "a value is not in -32767 to 32767",
    ),
    (
        lambda _: decode_values(bytes(23), ONE, TABLE, PythonCoder()),
        StreamError,
        "a chunk of 23 bytes is too long for 1 values",
    ),
    (
        lambda _: decode_values(b"\0", ONE[:0], TABLE, PythonCoder()),
        StreamError,
        "a stream of no values has 1 bytes",
    ),
    (
        lambda _: table(1, 5, 65536),
        WeightsError,
        "CDF table: a row does not rise strictly from 0 to 65536",
    ),
    (
        lambda _: table(0, 1, 65536, shift=16),
        WeightsError,
        "CDF table: a shift is not in 0 to 15",
    ),
    # Weights.
    (
        lambda _: by_fingerprint(OTHER.hex()),
        UnknownModelError,
        "the file needs the weights 01020304, which are not installed; DCACODEC_MODELS can name a folder with them",
    ),
    (lambda _: by_preset("huge"), WeightsError, "no weights are published for the preset 'huge'"),
    (
        lambda _: read_weights(WEIGHTS, "0" * 64),
        WeightsError,
        "tiny.safetensors is damaged: its SHA-256 is not the published one",
    ),
    (
        lambda _: read_weights(Path("none.safetensors")),
        WeightsError,
        "none.safetensors: No such file or directory",
    ),
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
    # Settings.
    (
        lambda _: replace(TINY, order="RR"),
        ValueError,
        "order must name each of R, G, L at most once and one at least, not 'RR'",
    ),
    (lambda _: DCAConfig(latent=18), ValueError, "latent channels must be multiples of 4, not 18, 0"),
    (
        lambda _: DCAConfig(latent=20, latent_linear=20),
        ValueError,
        "of 20 latent channels 20 cannot be linear",
    ),
    (lambda _: DCAConfig(window=3), ValueError, "window must divide 4, not 3"),
    (
        lambda _: choose_device("gpu"),
        ValueError,
        "a device must be auto, cpu, cuda, cuda:0 and so on, not 'gpu'",
    ),
    # Training.
    (
        lambda _: TrainingOptions(steps=1, crop=100),
        ValueError,
        "the crop must be a multiple of 64, not 100",
    ),
    (lambda _: TrainingOptions(), ValueError, "a run needs a length: give --max-minutes or --steps"),
    (
        lambda _: TrainingOptions(steps=1, precision="half"),
        ValueError,
        "the precision must be auto, float32 or bfloat16, not 'half'",
    ),
    (
        lambda _: TrainingOptions(steps=1, learning_rate=math.nan),
        ValueError,
        "learning rate must be a finite number, not nan",
    ),
    (
        lambda _: CropSampler([PICTURE.pixels], (64,), torch.device("cpu"), np.random.default_rng(0)),
        TrainingError,
        "no picture is as large as the crop, 64 pixels",
    ),
    (lambda _: read_log(Path("/dev/null")), TrainingError, "/dev/null is not a training log"),
    # Publishing.
    (
        lambda _: export(with_weight("entropy.starts.2.weight", 1e4)),
        WeightsError,
        "starts.2: the limits of its inputs allow only weights in multiples of 2**3",
    ),
    (
        lambda _: export(with_weight("entropy.head.weight", math.nan)),
        WeightsError,
        "the entropy model holds a value that is not finite",
    ),
    (
        lambda _: export(with_weight("gain.values", math.nan)),
        WeightsError,
        "gain.values holds a value that is not finite, or beyond float16",
    ),
    # Benchmarks.
    (
        lambda _: open_codec("gif", CodecOptions()),
        BenchError,
        (
            "no codec 'gif'; these are known: dcacodec, dcacodec-visual, dcacodec-psnr, dcacodec:EFFORT, "
            f"{', '.join(PILLOW_FORMATS)}, jpegli, compressai:MODEL"
        ),
    ),
    (
        lambda _: named_dataset("kodac", [], print),
        BenchError,
        "no dataset, manifest or folder 'kodac'; known by name: kodak",
    ),
    (lambda _: find_anchor("x", "third", []), BenchError, "no published curve 'x' for third"),
    (
        lambda _: find_anchor("x", "kodak", []),
        BenchError,
        f"no published curve 'x' for kodak; known by name: {', '.join(PUBLISHED['kodak'])}",
    ),
]


@pytest.mark.parametrize(("action", "kind", "message"), MESSAGES, ids=[message for *_, message in MESSAGES])
def test_messages(action: Action, kind: type[Exception], message: str, codec: Codec) -> None:
    with pytest.raises(kind) as caught:
        action(codec)
    assert one_line(caught) == message


WARNINGS: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: write_picture(PICTURE, io.BytesIO(), "jpeg", quality=90),
        "JPEG is lossy: the picture is compressed once more, with quality 90",
    ),
    (
        lambda: from_pillow(Image.fromarray(PLANE.astype(np.uint16))),
        "samples of 16 bits are rounded to 8",
    ),
    (
        lambda: from_pillow(Image.new("CMYK", (7, 5))),
        "CMYK without a usable colour profile is converted to sRGB: colours are approximate",
    ),
    (
        lambda: read_picture(png(save_all=True, append_images=[Image.new("RGB", (7, 5))])),
        "the file holds several pictures: only the first is used",
    ),
    (lambda: from_pillow(with_xmp(5)), "the XMP data are damaged and left out"),
]


@pytest.mark.parametrize(("action", "message"), WARNINGS, ids=[message for _, message in WARNINGS])
def test_warnings(action: Callable[[], Any], message: str) -> None:
    with pytest.warns(ImageWarning) as caught:
        action()
    assert [str(each.message) for each in caught] == [message]


def test_the_warning_about_the_slow_coder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DCACODEC_CACHE", str(tmp_path))
    monkeypatch.setenv("CXX", "none")
    with pytest.warns(CoderWarning) as caught:
        best_coder.__wrapped__()
    assert [str(each.message) for each in caught] == [
        "using the slow entropy coder, because the fast one is not available: there is no C++ compiler (none)"
    ]


def test_what_is_not_one_line_is_found() -> None:
    for text in ("", "two\nlines", "an escape \x1b[0m"):
        with pytest.raises(ValueError) as caught:
            raise ValueError(text)
        with pytest.raises(AssertionError):
            one_line(caught)


def test_a_picture_of_the_tests_is_sound() -> None:
    """Else the errors above could be about something else."""
    assert np.array_equal(read_picture(png()).pixels, PICTURE.pixels)
