"""Alpha planes, coded and decoded."""

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from picture_files import COLOUR, PLANE, PLANES, WIDE, png, saved
from PIL import Image
from told import one_line

from dcacodec.errors import ImageError
from dcacodec.images.alpha import decode_alpha, encode_alpha


@given(PLANES)
@settings(max_examples=50, deadline=None)
def test_alpha_comes_back(alpha: NDArray[np.uint8]) -> None:
    assert np.array_equal(decode_alpha(encode_alpha(alpha), alpha.shape[1], alpha.shape[0]), alpha)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"PNG", "PNG"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (saved(PLANE, "BMP").getvalue(), "PNG"),
        (encode_alpha(PLANE).replace(b"IHDR", b"IDAT"), "PNG"),
        (encode_alpha(PLANE.T), "5x7"),
        (png((60000, 60000, 8, 0), b"").getvalue(), "60000x60000"),
        (saved(COLOUR, "PNG").getvalue(), "8-bit gray"),
        (saved(WIDE[..., 0], "PNG").getvalue(), "8-bit gray"),
        (encode_alpha(PLANE)[:-40], "truncated"),
    ],
)
def test_a_bad_alpha_plane_is_an_error(data: bytes, expected: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode_alpha(data, 7, 5)
    text = one_line(caught)
    assert "alpha" in text and expected in text


@pytest.mark.parametrize("header", [(8, 5, 8, 0), (7, 5, 16, 0), (7, 5, 8, 2), (60000, 60000, 8, 0)])
def test_a_second_header_in_an_alpha_plane_is_an_error(header: tuple[int, int, int, int]) -> None:
    """Pillow takes the last one; what was checked is the first."""
    second = png(header, b"").getvalue()[8:33]
    data = encode_alpha(PLANE)
    with pytest.raises(ImageError) as caught:
        decode_alpha(data[:33] + second + data[33:], 7, 5)
    assert "second header" in one_line(caught)


def test_pillows_limit_of_pixels_is_not_that_of_alpha(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert np.array_equal(decode_alpha(encode_alpha(PLANE), 7, 5), PLANE)
