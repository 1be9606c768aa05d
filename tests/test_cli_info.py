"""`dcacodec info`, as text and as JSON, and of malformed files."""

import json
from pathlib import Path

import numpy as np
import pytest
from commands import FILE, assert_fails, call

from dcacodec.api import default_codec
from dcacodec.format.container import Container, Header, Slice
from dcacodec.format.writer import pack
from dcacodec.images.picture import Picture

pytestmark = pytest.mark.usefixtures("pillow_limit")


def test_info_as_text(tmp_path: Path) -> None:
    path = tmp_path / "file.dca"
    path.write_bytes(FILE)
    result = call("info", path)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "format      version 1\n"
        "weights     0102ff04, not installed\n"
        "picture     640x480 RGB with alpha, quality 73\n"
        f"file        {len(FILE)} bytes, {len(FILE) * 8 / (640 * 480):.3f} bpp\n"
        "slices      2 of up to 512x512 pixels\n"
        "stream z_r  1 byte\n"
        "stream z_g  0 bytes\n"
        "stream z_l  3 bytes\n"
        "stream y_1  1 byte\n"
        "stream y_2  2 bytes\n"
        "stream y_3  0 bytes\n"
        "stream y_4  4 bytes\n"
        "chunk ALPH  5 bytes\n"
        "chunk icCP  7 bytes\n"
        "chunk teSt  0 bytes\n"
        f"overhead    {len(FILE) - 23} bytes\n"
    )


def test_info_of_a_picture_in_one_slice() -> None:
    data = pack(Container(Header(bytes(4), 7, 5, "L", 1), (Slice((b"",) * 7, 0),)))
    lines = call("info", "-", stdin=data).stdout.splitlines()
    assert lines[2] == "picture     7x5 L, quality 1"
    assert lines[4] == "slices      1, the whole picture"


def test_info_of_a_lossless_picture() -> None:
    picture = Picture(np.arange(105, dtype=np.uint8).reshape(5, 7, 3))
    data = default_codec().encode(picture, lossless=True)
    lines = call("info", "-", stdin=data).stdout.splitlines()
    assert "picture     7x5 RGB, lossless" in lines
    assert not any(line.startswith("stream") for line in lines)


def test_info_as_json_from_standard_input() -> None:
    result = call("info", "--json", "-", stdin=FILE)
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {
        "version": 1,
        "fingerprint": "0102ff04",
        "weights": None,
        "tune": None,
        "width": 640,
        "height": 480,
        "mode": "RGB",
        "alpha": True,
        "quality": 73,
        "lossless": False,
        "slices": 2,
        "slice_size": 512,
        "lossless_slices": 0,
        "streams": {"z_r": 1, "z_g": 0, "z_l": 3, "y_1": 1, "y_2": 2, "y_3": 0, "y_4": 4},
        "chunks": [{"tag": "ALPH", "bytes": 5}, {"tag": "icCP", "bytes": 7}, {"tag": "teSt", "bytes": 0}],
        "overhead_bytes": len(FILE) - 23,
        "file_bytes": len(FILE),
        "bpp": len(FILE) * 8 / (640 * 480),
    }


def test_the_limit_of_pixels_holds_for_info() -> None:
    header = Header(bytes(4), 1 << 20, 256, "RGB", 50, slice_log2=11)
    data = pack(Container(header, (Slice((b"",) * 7, 0),) * header.slice_count))
    message = "standard input: a picture of 1048576x256 pixels is above the limit of 178956970 pixels"
    assert_fails(call("info", "-", stdin=data), 1, message)
    found = call("info", "--max-pixels", "0", "-", stdin=data)
    assert "picture     1048576x256 RGB, quality 50\n" in found.stdout


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"GIF89a", "not a .dca file: it does not start with the bytes 89 44 43 41"),
        (FILE[:-5], f"the file is truncated or damaged: it has only {len(FILE) - 5} bytes"),
        (FILE + b"x", "1 bytes after the end of the picture"),
        (FILE[:5] + b"\0" + FILE[6:], "the file is damaged: its checksum does not match its content"),
    ],
)
def test_a_malformed_file_is_an_error(data: bytes, message: str, tmp_path: Path) -> None:
    assert_fails(call("info", "-", stdin=data), 1, f"standard input: {message}")
    path = tmp_path / "file.dca"
    path.write_bytes(data)
    assert_fails(call("info", path), 1, f"{path}: {message}")
    assert_fails(call("decode", path, tmp_path / "out.png"), 1, f"{path}: {message}")
    assert list(tmp_path.iterdir()) == [path]
