"""Pictures there and back, and what `encode` and `decode` say about it."""

import io
import json
import re
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import assert_fails, call, command, photo, png
from numpy.typing import NDArray
from picture_files import profile
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dcacodec.coding import best_coder
from dcacodec.format.container import Chunk, Container
from dcacodec.format.writer import pack
from dcacodec.images.alpha import encode_alpha
from dcacodec.images.picture import Picture
from dcacodec.images.reading import read_picture
from dcacodec.weights.registry import by_preset

pytestmark = pytest.mark.usefixtures("pillow_limit")


def psnr(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> float:
    return float(10 * np.log10(255**2 / np.mean((left.astype(float) - right.astype(float)) ** 2)))


def decoded(path: Path) -> Picture:
    return read_picture(path)


def test_a_picture_there_and_back(tmp_path: Path) -> None:
    source, coded, back = tmp_path / "in.png", tmp_path / "out.dca", tmp_path / "back.png"
    source.write_bytes(png(photo()))
    for target in (coded, back):
        target.write_bytes(b"old")

    result = call("encode", "--device", "cpu", source, coded)
    assert (result.exit_code, result.stdout) == (0, "")
    size = coded.stat().st_size
    line = rf"{source} -> {coded} {size} bytes {size * 8 / (48 * 80):.3f} bpp \d+\.\d\d s\n"
    assert re.fullmatch(line, result.stderr)

    result = call("decode", "--device", "cpu", coded, back)
    assert (result.exit_code, result.stdout) == (0, "")
    assert re.fullmatch(rf"{coded} -> {back} 80x48 pixels \d+\.\d\d s\n", result.stderr)
    assert psnr(decoded(back).pixels, photo()) > 25
    assert sorted(tmp_path.iterdir()) == sorted([source, coded, back])

    facts = json.loads(call("info", "--json", coded).stdout)
    assert (facts["width"], facts["height"], facts["mode"], facts["quality"]) == (80, 48, "RGB", 50)
    assert facts["weights"] is not None


def test_verbose_tells_what_computes(tmp_path: Path) -> None:
    coded, back = tmp_path / "out.dca", tmp_path / "back.png"
    used = f"weights {by_preset('small').path.name}, device cpu, entropy coder {best_coder().name}"
    for words in (("encode", "-", coded), ("decode", coded, back)):
        assert used not in call(*words, "--device", "cpu", stdin=png(photo())).stderr
        lines = call(*words, "--device", "cpu", "--verbose", stdin=png(photo())).stderr.splitlines()
        assert lines[0] == used


def test_pipes_carry_the_same_as_files(tmp_path: Path) -> None:
    source, coded, back = tmp_path / "in.png", tmp_path / "out.dca", tmp_path / "back.ppm"
    source.write_bytes(png(photo()))
    assert call("encode", "--device", "cpu", source, coded).exit_code == 0
    assert call("decode", "--device", "cpu", coded, back).exit_code == 0

    piped = call("encode", "--device", "cpu", "-", "-", stdin=source.read_bytes())
    assert piped.stdout_bytes == coded.read_bytes()
    assert re.fullmatch(r"stdin -> stdout \d+ bytes .+\n", piped.stderr)
    piped = call("decode", "--device", "cpu", "--format", "ppm", "-", "-", stdin=coded.read_bytes())
    assert piped.stdout_bytes == back.read_bytes()
    piped = call("decode", "--device", "cpu", "-", "-", stdin=coded.read_bytes())
    assert piped.stdout_bytes.startswith(b"\x89PNG\r\n\x1a\n")


def test_standard_output_is_clean_in_a_fresh_process(tmp_path: Path) -> None:
    source, coded = tmp_path / "in.png", tmp_path / "out.dca"
    source.write_bytes(png(photo()))
    assert call("encode", "--device", "cpu", source, coded).exit_code == 0
    done = subprocess.run(
        command("encode", "--device", "cpu", "-", "-"), input=png(photo()), capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, coded.read_bytes())
    assert re.fullmatch(rb"stdin -> stdout \d+ bytes .+\n", done.stderr)


def test_what_travels_with_a_picture(tmp_path: Path) -> None:
    alpha = photo(bands=4)[..., 3]
    exif = b"II*\0\x08\0\0\0\1\0\x0f\1\2\0\4\0\0\0Me!\0\0\0\0\0"
    source, coded, back = tmp_path / "in.png", tmp_path / "out.dca", tmp_path / "back.png"
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", "<x/>")
    source.write_bytes(png(np.dstack((photo(), alpha)), exif=exif, icc_profile=profile(), pnginfo=text))
    assert call("encode", "--device", "cpu", source, coded).exit_code == 0
    assert call("decode", "--device", "cpu", coded, back).exit_code == 0
    picture = decoded(back)
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, alpha)
    assert (picture.icc, picture.exif, picture.xmp, picture.gray) == (profile(), exif, b"<x/>", False)

    bitmap = tmp_path / "back.bmp"
    message = "BMP cannot hold the alpha plane of this picture; these can: png, tiff, webp"
    assert_fails(call("decode", "--device", "cpu", coded, bitmap), 1, f"{bitmap}: {message}")
    assert not bitmap.exists()


def test_decoding_to_a_lossy_format_is_told(tmp_path: Path) -> None:
    source, coded = tmp_path / "in.png", tmp_path / "out.dca"
    source.write_bytes(png(photo()))
    assert call("encode", "--device", "cpu", source, coded).exit_code == 0
    for suffix in (".jpg", ".avif"):
        sizes = []
        for quality in ("20", "95"):
            back = tmp_path / f"back{quality}{suffix}"
            result = call("decode", "--device", "cpu", "--quality", quality, coded, back)
            warning, _ = result.stderr.splitlines()
            assert (result.exit_code, warning.startswith("dcacodec: warning: ")) == (0, True)
            assert "lossy" in warning and quality in warning
            sizes.append(back.stat().st_size)
            with Image.open(back) as image:
                assert (image.format, image.size) == ({".jpg": "JPEG", ".avif": "AVIF"}[suffix], (80, 48))
        assert sizes[0] < sizes[1]
    result = call("decode", "--quality", "90", coded, tmp_path / "back.png")
    assert (result.exit_code, "--quality" in result.stderr) == (2, True)
    assert not (tmp_path / "back.png").exists()


@pytest.mark.parametrize("tag", [282, 283, 296])
def test_an_invalid_resolution_does_not_end_decoding_to_tiff(tag: int, tmp_path: Path) -> None:
    """Through a process: libtiff's own lines would reach standard error."""
    value = struct.pack(">HHII", 296, 3, 1, 42 << 16) if tag == 296 else struct.pack(">HHII", tag, 5, 1, 26)
    exif = b"MM\0*\0\0\0\x08\0\1" + value + bytes(4) + bytes(8)
    source, coded, back = tmp_path / "in.png", tmp_path / "out.dca", tmp_path / "back.tif"
    source.write_bytes(png(photo(), exif=exif))
    assert call("encode", "--device", "cpu", source, coded).exit_code == 0
    done = subprocess.run(
        command("decode", "--device", "cpu", coded, back), capture_output=True, check=False, text=True
    )
    assert done.returncode == 0
    warning, _ = done.stderr.splitlines()
    assert warning.startswith("dcacodec: warning: ") and "EXIF" in warning
    assert decoded(back).pixels.shape == (48, 80, 3)


def test_a_gray_picture_stays_gray(tmp_path: Path) -> None:
    source, coded, back = tmp_path / "in.png", tmp_path / "out.dca", tmp_path / "back.pgm"
    source.write_bytes(png(photo(bands=1)[..., 0]))
    assert call("encode", "--device", "cpu", source, coded).exit_code == 0
    assert call("decode", "--device", "cpu", coded, back).exit_code == 0
    assert back.read_bytes().startswith(b"P5\n80 48\n255\n")
    assert psnr(decoded(back).pixels[..., 0], photo(bands=1)[..., 0]) > 25


def test_a_warning_is_one_line(tmp_path: Path) -> None:
    wide = Image.fromarray(photo(bands=1)[..., 0].astype(np.uint16) * 257)
    buffer = io.BytesIO()
    wide.save(buffer, "PNG")
    result = call("encode", "--device", "cpu", "-", tmp_path / "out.dca", stdin=buffer.getvalue())
    assert result.exit_code == 0
    warning, summary = result.stderr.splitlines()
    assert warning == "dcacodec: warning: samples of 16 bits are rounded to 8"
    assert summary.startswith("stdin -> ")


def test_a_line_stays_one_whatever_the_name(tmp_path: Path) -> None:
    result = call("encode", "--device", "cpu", "-", tmp_path / "two\nlines.dca", stdin=png(photo()))
    assert result.exit_code == 0
    assert re.fullmatch(r"stdin -> \S+/two lines\.dca \d+ bytes .+\n", result.stderr)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-7], "the file is truncated or damaged: it has only"),
        (lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:], "the file is damaged: its checksum"),
    ],
)
def test_a_damaged_file_leaves_no_picture(change: Callable[[bytes], bytes], message: str, tmp_path: Path) -> None:
    coded = tmp_path / "out.dca"
    assert call("encode", "--device", "cpu", "-", coded, stdin=png(photo())).exit_code == 0
    coded.write_bytes(change(coded.read_bytes()))
    result = call("decode", "--device", "cpu", coded, tmp_path / "back.png")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"dcacodec: error: {coded}: {message}")
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == [coded]


def test_an_alpha_plane_of_another_size_is_an_error(tmp_path: Path) -> None:
    from dcacodec.format.reader import parse

    whole = parse(call("encode", "--device", "cpu", "-", "-", stdin=png(photo())).stdout_bytes)
    chunks = (Chunk("ALPH", encode_alpha(np.zeros((3, 2), np.uint8))),)
    data = pack(Container(whole.header, whole.slices, chunks))
    result = call("decode", "--device", "cpu", "-", "-", stdin=data)
    assert_fails(result, 1, "standard input: the alpha plane has 2x3 pixels, the picture 80x48")


# JSON of encode and decode.


def test_encode_and_decode_tell_what_they_did_as_json(tmp_path: Path) -> None:
    source, coded, back = (tmp_path / name for name in ("in.png", "out.dca", "back.ppm"))
    Image.fromarray(photo()).save(source)
    result = call("encode", "--json", "--quality", "30", source, coded)
    facts = json.loads(result.stdout)
    size = coded.stat().st_size
    assert result.exit_code == 0 and facts.pop("seconds") > 0
    assert facts == {
        "source": str(source),
        "target": str(coded),
        "width": 80,
        "height": 48,
        "quality": 30,
        "lossless": False,
        "bytes": size,
        "bpp": size * 8 / (80 * 48),
        "slices": 1,
        "lossless_slices": 0,
    }
    aimed = json.loads(call("encode", "--json", "--target-size", str(size), source, coded).stdout)
    assert aimed["bytes"] == coded.stat().st_size <= size
    assert aimed["quality"] == json.loads(call("info", "--json", coded).stdout)["quality"]

    result = call("decode", "--json", "--scale", "1/2", coded, back)
    facts = json.loads(result.stdout)
    assert result.exit_code == 0 and facts.pop("seconds") > 0
    assert facts == {"source": str(coded), "target": str(back), "width": 40, "height": 24, "format": "ppm"}
    for name in ("encode", "decode"):
        refused = call(name, "--json", coded, "-")
        assert refused.exit_code == 2 and refused.stdout == ""
        assert "both would be standard output" in refused.stderr
