"""The command as the tests of the command line call it, and what they give it."""

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image

from dcacodec.cli.app import cli
from dcacodec.format.container import Chunk, Container, Header, Slice
from dcacodec.format.writer import pack

FILE = pack(
    Container(
        Header(b"\x01\x02\xff\x04", 640, 480, "RGB", 73, 9),
        (Slice((b"r", b"", b"lll", b"1", b"22", b"", b"4444"), 5), Slice((b"",) * 7, 6)),
        (Chunk("ALPH", b"alpha"), Chunk("icCP", b"profile"), Chunk("teSt", b"")),
    )
)


def call(*arguments: str | Path, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(cli, [str(each) for each in arguments], input=stdin, prog_name="dcacodec")


def command(*arguments: str | Path) -> list[str]:
    """The command in a process of its own."""
    return [sys.executable, "-m", "dcacodec", *map(str, arguments)]


def assert_fails(result: Result, code: int, message: str) -> None:
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", f"dcacodec: error: {message}\n")


def photo(height: int = 48, width: int = 80, bands: int = 3) -> NDArray[np.uint8]:
    """Smooth colours with some texture."""
    y, x, band = np.mgrid[:height, :width, :bands]
    wave = 127 + 60 * np.sin(x / 9 + band) + 50 * np.cos(y / 7 - band) + np.random.default_rng(0).normal(0, 3, y.shape)
    texture: NDArray[np.uint8] = wave.clip(0, 255).astype(np.uint8)
    return texture


def png(array: NDArray[np.uint8], **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", **options)
    return buffer.getvalue()
