"""The words of errors, here and nowhere else: other tests ask for the kind of an error and for one line.

What the commands print is in `test_cli_*.py`, as it is their interface: the prefix, the name of the file, one line.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from codec_messages import CODEC_MESSAGES
from picture_messages import PICTURE, PICTURE_MESSAGES, PLANE, Action, png
from PIL import Image
from told import one_line

from dcacodec.codec.codec import Codec
from dcacodec.coding import best_coder
from dcacodec.errors import CoderWarning, ImageWarning
from dcacodec.images.pillow import from_pillow
from dcacodec.images.reading import read_picture
from dcacodec.images.writing import write_picture

MESSAGES = [*CODEC_MESSAGES, *PICTURE_MESSAGES]


def with_xmp(packet: object) -> Image.Image:
    image = Image.fromarray(PICTURE.pixels)
    image.info["xmp"] = packet
    return image


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
