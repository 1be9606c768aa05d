"""The command: what it prints where, how it exits, and what it leaves behind."""

import array
import errno
import fcntl
import io
import json
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dcacodec._version import __version__
from dcacodec.api import default_codec, encode_file
from dcacodec.cli import app as cli_module
from dcacodec.cli.app import cli, let_threads_sleep
from dcacodec.cli.failures import failure_of
from dcacodec.cli.streams import opened, progress_bar
from dcacodec.format.container import Chunk, Container, Header, Slice
from dcacodec.format.reader import parse
from dcacodec.format.writer import pack
from dcacodec.images.alpha import encode_alpha
from dcacodec.images.picture import Picture
from dcacodec.images.reading import read_picture

FILE = pack(
    Container(
        Header(b"\x01\x02\xff\x04", 640, 480, "RGB", 73, 9),
        (Slice((b"r", b"", b"lll", b"1", b"22", b"", b"4444"), 5), Slice((b"",) * 7, 6)),
        (Chunk("ALPH", b"alpha"), Chunk("icCP", b"profile"), Chunk("teSt", b"")),
    )
)


@pytest.fixture(autouse=True)
def _pillow_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """`encode` lifts Pillow's limit for its process; here that is the process of the tests."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)


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


# ---------------------------------------------------------------------------------------------- help, and what it costs


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--help"],
        ["-h"],
        ["--version"],
        ["encode", "--help"],
        ["decode", "--help"],
        ["info", "--help"],
        ["info"],
        ["train", "photos", "--run", "run-without-a-length"],
    ],
)
def test_nothing_heavy_is_imported_for_help_info_and_a_wrong_command_line(arguments: list[str], tmp_path: Path) -> None:
    if arguments == ["info"]:
        (tmp_path / "file.dca").write_bytes(FILE)
        arguments = ["info", str(tmp_path / "file.dca")]
    script = (
        "import atexit, sys\n"
        "heavy = ('torch', 'numpy', 'PIL', 'torchac', 'safetensors', 'tqdm')\n"
        "atexit.register(lambda: print(sorted(set(heavy) & set(sys.modules)), file=sys.stderr))\n"
        "from dcacodec.cli.app import main\n"
        "sys.argv[0] = 'dcacodec'\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "[]"
    assert done.returncode == (2 if not arguments or "train" in arguments else 0)


def test_modules_are_not_garbage_collected(tmp_path: Path) -> None:
    """Neither while PyTorch is imported nor at the end of the process, and all else is."""
    (tmp_path / "file.dca").write_bytes(FILE)
    script = (
        "import atexit, gc, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *others):\n"
        "        if name == 'torch':\n"
        "            print(gc.isenabled())\n"
        "sys.meta_path.insert(0, Finder())\n"
        "atexit.register(lambda: print(gc.isenabled(), gc.get_freeze_count() > 100_000))\n"
        "from dcacodec.cli.app import main\n"
        "main()\n"
    )
    command = [sys.executable, "-c", script, "--quiet", "decode", str(tmp_path / "file.dca"), str(tmp_path / "b.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["False", "True True"]


@pytest.mark.parametrize("module", ["click", "dcacodec.format.container"])
def test_an_interrupt_while_loading_is_reported_in_a_line(module: str) -> None:
    script = (
        "import sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *others):\n"
        f"        if name == {module!r}:\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from dcacodec.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "dcacodec: error: interrupted\n")


def test_an_interrupt_is_not_reported_on_standard_output(tmp_path: Path) -> None:
    """Where standard error is closed, and `print` would take the other."""
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt", "utf-8")
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from dcacodec.__main__ import main; main()"
    words = [sys.executable, "-c", script]
    done = subprocess.run(["sh", "-c", '"$@" 2>&-', "sh", *words], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (130, b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_the_end_of_the_process_is_not_reported(number: int) -> None:
    """As where a whole group of processes is terminated twice."""
    script = (
        f"import atexit, os\natexit.register(os.kill, os.getpid(), {int(number)})\n"
        "from dcacodec.__main__ import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", script, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (128 + number, "") and __version__ in done.stdout


def test_warnings_as_errors_find_nothing_in_the_streams() -> None:
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run(command("--version"), capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "") and __version__ in done.stdout


def test_what_libraries_print_is_not_among_the_results(tmp_path: Path) -> None:
    """oneDNN and MKL print to the descriptor of standard output."""
    source = tmp_path / "in.png"
    Image.new("RGB", (60, 40)).save(source)
    environment = {**os.environ, "ONEDNN_VERBOSE": "1", "MKL_VERBOSE": "1"}
    done = subprocess.run(command("encode", source, "-"), capture_output=True, env=environment, check=True)
    assert parse(done.stdout).header.width == 60
    lines = subprocess.run(
        command("encode", "--json", source, tmp_path / "out.dca"), capture_output=True, env=environment, check=True
    ).stdout.splitlines()
    assert len(lines) == 1 and json.loads(lines[0])["bytes"] == len(done.stdout)


@pytest.mark.parametrize("then", ["pass", "raise RuntimeError('half loaded')"])
def test_a_signal_that_a_library_loses_while_it_loads_still_ends_it(then: str, tmp_path: Path) -> None:
    """Whether the command runs to its end or fails at something that was only half loaded."""
    script = (
        "import os, signal, sys, time\n"
        "class Finder:\n"
        "    def find_spec(self, name, *others):\n"
        "        if name == 'numpy' and not lost:\n"
        "            try:\n"
        "                os.kill(os.getpid(), signal.SIGTERM)\n"
        "                time.sleep(10)\n"
        "            except BaseException as error:\n"
        "                lost.append(error)\n"
        f"                {then}\n"
        "lost = []\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from dcacodec.__main__ import main\n"
        "main()\n"
    )
    Image.new("RGB", (8, 8)).save(tmp_path / "in.png")
    words = ["encode", str(tmp_path / "in.png"), str(tmp_path / "out.dca")]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (143, "")
    assert "error" not in done.stderr


def test_version() -> None:
    result = call("--version")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"dcacodec {__version__}\n", "")


def test_help_lists_commands_examples_and_exit_codes() -> None:
    text = call("--help").stdout
    for part in ("encode", "decode", "info", "train", "publish", "Examples:", "Exit codes:", "130"):
        assert part in text
    for name in ("encode", "decode", "info"):
        assert "Examples:" in call(name, "--help").stdout


@pytest.mark.parametrize("name", cli_module._COMMANDS)
def test_lazy_commands_are_there(name: str) -> None:
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    assert found.name == name
    result = call(name, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: dcacodec {name} ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "No such command 'nonsense'."),
        (["encode"], "Missing argument 'IN'."),
        (["encode", "in.png"], "Missing argument 'OUT'."),
        (["encode", "-q", "0", "in.png", "out.dca"], "0 is not in the range 1<=x<=100."),
        (["encode", "-q", "101", "in.png", "out.dca"], "101.0 is not in the range 1<=x<=100."),
        (["encode", "--device", "tpu", "in.png", "out.dca"], "'tpu' is not one of 'auto', 'cpu', 'cuda'."),
        (["decode", "--max-pixels", "-1", "in.dca", "out.png"], "-1 is not in the range x>=0."),
        (["decode", "--format", "gif", "in.dca", "-"], "gif is not one of png, tiff, webp, ppm, pgm, bmp, jpeg, avif."),
    ],
)
def test_a_wrong_command_line(arguments: list[str], message: str) -> None:
    result = call(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Usage: dcacodec")
    assert message in result.stderr


@pytest.mark.parametrize("command", ["encode", "batch"])
def test_a_preset_that_is_not_published(command: str, tmp_path: Path) -> None:
    """Reported before anything is read, like other mistakes in a command line."""
    result = call(command, "--preset", "base", str(tmp_path / "missing.png"), str(tmp_path / "out"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Invalid value for '--preset': no weights are published for 'base', only for small." in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_list_of_weights(published: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "index.json").write_text("{")
    monkeypatch.setattr("dcacodec.weights.registry.models_dir", lambda: tmp_path)
    result = call("encode", "in.png", str(tmp_path / "out.dca"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"dcacodec: error: the list of weights, {tmp_path / 'index.json'}, cannot be read")
    assert result.stderr.count("\n") == 1


def test_a_wrong_folder_of_ones_own_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by `info`, which would say of good weights that they are not there."""
    (tmp_path / "file.dca").write_bytes(FILE)
    monkeypatch.setenv("DCACODEC_MODELS", str(tmp_path / "nowhere"))
    for arguments in (("info", tmp_path / "file.dca"), ("encode", "in.png", tmp_path / "out.dca")):
        result = call(*arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        start = f"DCACODEC_MODELS: the list of weights, {tmp_path / 'nowhere' / 'index.json'}, cannot be read"
        assert start in result.stderr and result.stderr.count("\n") == 1
    assert [each.name for each in tmp_path.iterdir()] == ["file.dca"]


# ----------------------------------------------------------------------------------------------------------------- info


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


# ----------------------------------------------------------------------------------------------------- files and errors


def test_a_missing_input(tmp_path: Path) -> None:
    path = tmp_path / "missing"
    for name, target in (("info", []), ("encode", [tmp_path / "out.dca"]), ("decode", [tmp_path / "out.png"])):
        assert_fails(call(name, path, *target), 1, f"{path}: No such file or directory")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_as_input(tmp_path: Path) -> None:
    for name in ("info", "encode", "decode"):
        target = {"info": [], "encode": [tmp_path / "out.dca"], "decode": [tmp_path / "out.png"]}[name]
        result = call(name, tmp_path, *target)
        if name == "info":
            assert_fails(result, 1, f"{tmp_path}: Is a directory")
        else:
            assert result.exit_code == 1 and str(tmp_path) in result.stderr and "dcacodec batch" in result.stderr


def test_a_folder_as_output_is_reported_before_any_work(tmp_path: Path) -> None:
    for name in ("encode", "decode"):
        assert_fails(call(name, "is-not-there", tmp_path), 1, f"{tmp_path}: Is a directory")
        assert_fails(call(name, "is-not-there", f"{tmp_path}/new/"), 1, f"{tmp_path}/new/: No such file or directory")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_output_folder_is_reported_before_any_work(tmp_path: Path) -> None:
    folder = tmp_path / "missing"
    for name in ("encode", "decode"):
        assert_fails(call(name, "neither-is-this", folder / "out.png"), 1, f"{folder}: No such file or directory")


@pytest.mark.parametrize("name", ["encode", "decode"])
def test_in_and_out_must_differ(name: str, tmp_path: Path) -> None:
    path, link = tmp_path / "file.png", tmp_path / "link.png"
    path.write_bytes(b"content")
    link.symlink_to(path)
    for target in (path, link, tmp_path / "." / "file.png"):
        result = call(name, path, target)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.endswith("Error: IN and OUT are the same file.\n")
    assert path.read_bytes() == b"content"


def test_a_bad_picture_leaves_the_output_as_it_was(tmp_path: Path) -> None:
    source, target = tmp_path / "in.png", tmp_path / "out.dca"
    source.write_bytes(png(photo())[:-50])
    target.write_bytes(b"old")
    assert_fails(
        call("encode", source, target),
        1,
        f"{source}: the picture is damaged or of an unknown kind: image file is truncated",
    )
    assert target.read_bytes() == b"old"
    result = call("encode", "-", target, stdin=b"text")
    assert result.exit_code == 1
    assert re.fullmatch(r"dcacodec: error: standard input: not a picture in one of .+\n", result.stderr)
    assert sorted(tmp_path.iterdir()) == [source, target]


def test_other_packages_warnings_are_not_shown() -> None:
    tiff = io.BytesIO()
    Image.fromarray(photo()).save(tiff, "TIFF")
    result = call("encode", "-", "-", stdin=tiff.getvalue()[:-30])  # Pillow warns about it first
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1


def test_the_limit_of_pixels() -> None:
    message = "a picture of 80x48 pixels is above the limit of 3839 pixels"
    assert_fails(call("encode", "--max-pixels", "3839", "-", "-", stdin=png(photo())), 1, f"standard input: {message}")
    message = "a picture of 640x480 pixels is above the limit of 307199 pixels"
    assert_fails(call("decode", "--max-pixels", "307199", "-", "-", stdin=FILE), 1, f"standard input: {message}")


def test_a_limit_above_pillows_own_holds_for_encode(tmp_path: Path) -> None:
    """Pillow refuses 200 million pixels with its own message; here only our limit applies."""
    picture = bytearray(png(photo()))
    picture[16:24] = (20000).to_bytes(4, "big") + (10000).to_bytes(4, "big")
    picture[29:33] = zlib.crc32(picture[12:29]).to_bytes(4, "big")
    result = call("encode", "-", "-", stdin=bytes(picture))
    assert_fails(result, 1, "standard input: a picture of 20000x10000 pixels is above the limit of 178956970 pixels")


def test_an_output_format_that_is_not_one(tmp_path: Path) -> None:
    source, target = tmp_path / "in.dca", tmp_path / "out.gif"
    source.write_bytes(FILE)
    result = call("decode", source, target)
    assert (result.exit_code, result.stdout) == (2, "")
    known = ".png, .tif, .tiff, .webp, .ppm, .pgm, .bmp, .jpg, .jpeg, .avif"
    assert f"\nError: {target}: .gif is not an output format; pictures are written as {known}\n" in result.stderr


@pytest.mark.parametrize(
    ("named", "target"), [("ppm", "x.png"), ("png", "x.JPEG"), ("pgm", "x.ppm"), ("png", "x.gif"), ("png", "other.dca")]
)
def test_a_format_that_contradicts_the_name_is_refused_before_any_work(named: str, target: str, tmp_path: Path) -> None:
    """Also `dcacodec decode --format png *.dca` in a folder of two files."""
    result = call("decode", "--format", named, tmp_path / "missing.dca", tmp_path / target)
    assert (result.exit_code, result.stdout) == (2, "")
    assert str(tmp_path / target) in result.stderr and f"--format {named}" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("named", "target", "written"),
    [
        ("PNG", "x", "PNG"),
        ("png", "x.jpg.tmp", "PNG"),
        ("tif", "x.TIFF", "TIFF"),
        ("jpg", "x.jpeg", "JPEG"),
        ("Jpeg", "x.jfif", "JPEG"),
        ("ppm", "x.pnm", "PPM"),
    ],
)
def test_formats_have_the_names_of_suffixes_too(
    named: str, target: str, written: str, coded: Path, tmp_path: Path
) -> None:
    assert call("decode", "--format", named, coded, tmp_path / target).exit_code == 0
    with Image.open(tmp_path / target) as image:
        assert image.format == written


@pytest.mark.parametrize("name", ["other.png", "other.JPG", "other.tiff", ".hidden.png"])
def test_a_picture_is_not_overwritten_by_what_is_none(name: str, tmp_path: Path) -> None:
    """`dcacodec encode *.png` in a folder of two pictures."""
    source, target = tmp_path / "a.png", tmp_path / name
    for path in (source, target):
        path.write_bytes(png(photo()))
    result = call("encode", source, target)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.endswith(
        f"Error: OUT, {target}, has the suffix of a picture, but a .dca file would be written.\n"
    )
    assert source.read_bytes() == target.read_bytes() == png(photo())


def test_a_picture_that_the_format_cannot_hold_names_where_it_was_to_go(coded: Path) -> None:
    message = "standard output: PGM holds gray pictures only, and this one has colour"
    assert_fails(call("decode", coded, "-", "--format", "pgm"), 1, message)


@pytest.mark.parametrize(("name", "scale"), [("a.jpg", "1"), ("a.ppm", "1"), ("a.pgm", "1"), ("wide.webp", "1/2")])
def test_what_a_format_cannot_hold_is_known_before_decoding(name: str, scale: str, tmp_path: Path) -> None:
    """Of files whose weights are not there. The wide picture fits when it is reduced further."""
    wide = pack(Container(Header(bytes(4), 40000, 16, "RGB", 50, slice_log2=11), (Slice((b"",) * 7, 0),) * 20))
    result = call("decode", "--scale", scale, "-", tmp_path / name, stdin=wide if "wide" in name else FILE)
    assert result.exit_code == 1 and result.stderr.startswith(f"dcacodec: error: {tmp_path / name}: ")
    if "wide" in name:
        reduced = call("decode", "--scale", "1/4", "-", tmp_path / name, stdin=wide)
        assert reduced.stderr.startswith("dcacodec: error: standard input: ") and "00000000" in reduced.stderr
    assert list(tmp_path.iterdir()) == []


def test_unknown_weights(tmp_path: Path) -> None:
    result = call("decode", "-", tmp_path / "out.png", stdin=FILE)
    assert (result.exit_code, result.stdout) == (1, "")
    assert re.fullmatch(r"dcacodec: error: standard input: .*0102ff04.*\n", result.stderr)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            RuntimeError("two\n lines"),
            3,
            "internal error: RuntimeError: two lines ('dcacodec --debug ...' shows the traceback)",
        ),
        (MemoryError(), 1, "not enough memory"),
        (
            ImportError("a.so: failed to map segment"),
            1,
            "a.so: failed to map segment: there is not enough memory, or nothing may be executed on its file system",
        ),
        (OSError(28, "No space left on device", "file"), 1, "file: No space left on device"),
        (OSError(5, "Input/output error"), 1, "standard input: Input/output error"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_every_failure_is_one_line(
    error: BaseException, code: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("dcacodec.cli.streams.read_container", fail)
    assert_fails(call("info", "-", stdin=FILE), code, message)


def test_debug_shows_where(monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("why")

    def fail(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("dcacodec.cli.streams.read_container", fail)
    assert call("--debug", "info", "-", stdin=FILE).exception is error


def test_a_pipe_that_nobody_reads_is_no_news() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command("info", "-"), input=FILE, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


def in_shell(redirection: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """The command with something about its standard streams changed by a shell."""
    return subprocess.run(
        ["sh", "-c", f'"$@" {redirection}', "sh", *command(*arguments)], capture_output=True, check=False
    )


def test_closed_standard_streams_are_reported() -> None:
    done = in_shell("<&-", "info", "-")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"dcacodec: error: standard input is closed\n")
    done = in_shell(">&-", "encode", "in.png", "-")
    assert (done.returncode, done.stderr) == (1, b"dcacodec: error: standard output is closed\n")


@pytest.mark.parametrize("arguments", [("info", "FILE"), ("info", "--json", "FILE"), ("completion", "bash")], ids=str)
def test_a_result_that_cannot_be_printed_is_reported(arguments: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "photo.dca").write_bytes(FILE)
    words = [str(tmp_path / "photo.dca") if word == "FILE" else word for word in arguments]
    done = in_shell(">&-", *words)
    assert (done.returncode, done.stderr) == (1, b"dcacodec: error: standard output: closed\n")
    if os.path.exists("/dev/full"):
        done = in_shell(">/dev/full", *words)
        assert done.returncode == 1
        assert done.stderr == b"dcacodec: error: standard output: No space left on device\n"


def test_what_the_encoding_of_standard_output_lacks_is_escaped() -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    words = [sys.executable, "-c", "from dcacodec.cli.console import print_result; print_result('m\\xfc \\u20ac')"]
    done = subprocess.run(words, capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"m\\xfc \\u20ac\n", b"")


@pytest.mark.parametrize("unbuffered", ["", pytest.param("1", marks=pytest.mark.slow)])
def test_what_is_written_in_part_is_reported(unbuffered: str, coded: Path, tmp_path: Path) -> None:
    """The disk is full halfway. Unbuffered, the system says how much it took, and that is no error of its own."""
    limited = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); "
        "from dcacodec.cli.app import main; main()"
    )
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    for words in (["decode", "--format", "ppm", str(coded), "-"], ["completion", "bash"]):
        with open(tmp_path / "out", "wb") as out:
            done = subprocess.run(
                [sys.executable, "-c", limited, *words],
                stdout=out,
                stderr=subprocess.PIPE,
                env=environment,
                check=False,
            )
        assert (done.returncode, done.stderr) == (1, b"dcacodec: error: standard output: File too large\n"), words
        assert (tmp_path / "out").stat().st_size <= 100


@pytest.mark.slow
def test_nothing_but_results_reaches_standard_output_where_standard_error_is_closed(tmp_path: Path) -> None:
    Image.fromarray(photo()).save(tmp_path / "in.png")
    open_, closed = (
        in_shell(redirection, *words).stdout
        for redirection in ("2>/dev/null", "2>&-")
        for words in [("encode", "--verbose", "--device", "cpu", str(tmp_path / "in.png"), "-")]
    )
    assert open_ == closed and closed.startswith(b"\x89DCA")
    # GNU's OpenMP prints its settings, and oneDNN what it does, to the descriptors 2 and 1.
    others = {"OMP_DISPLAY_ENV": "TRUE", "ONEDNN_VERBOSE": "1"}
    for redirection, target in (("<&- 2>&-", "-"), (">&- 2>&-", str(tmp_path / "out.dca"))):
        words = [f"{name}={value}" for name, value in others.items()]
        words += command("encode", "--device", "cpu", tmp_path / "in.png", target)
        done = subprocess.run(["sh", "-c", f'env "$@" {redirection}', "sh", *words], capture_output=True, check=False)
        found = done.stdout if target == "-" else Path(target).read_bytes()
        assert done.returncode == 0 and found == open_
    done = in_shell("2>&-", "batch", "--json", "-j", "1", str(tmp_path / "in.png"), str(tmp_path / "out"))
    assert (done.returncode, json.loads(done.stdout)["done"]) == (0, 1)


needs_dev_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")


@needs_dev_full
def test_help_to_a_full_disk() -> None:
    done = in_shell(">/dev/full", "--help")
    assert (done.returncode, done.stderr) == (1, b"dcacodec: error: No space left on device\n")


@needs_dev_full
def test_a_full_disk_is_reported_with_the_name_of_the_file() -> None:
    result = call("encode", "--device", "cpu", "-", "/dev/full", stdin=png(photo()))
    assert_fails(result, 1, "/dev/full: No space left on device")


@needs_dev_full
def test_that_nothing_can_be_said_does_not_spoil_the_work(tmp_path: Path) -> None:
    source, coded = tmp_path / "in.png", tmp_path / "out.dca"
    source.write_bytes(png(photo()[..., :1].repeat(2, -1)))  # gray with alpha
    done = in_shell("2>/dev/full", "encode", "--device", "cpu", source, coded)
    assert done.returncode == 0
    assert call("info", coded).exit_code == 0


def test_what_is_no_dca_file_is_not_read_to_its_end() -> None:
    with subprocess.Popen(
        command("info", "-"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stderr is not None
        process.stdin.write(b"MThd")
        process.stdin.flush()  # and not closed: more could come
        assert process.stderr.read().startswith(b"dcacodec: error: standard input: not a .dca file")
        assert process.wait(30) == 1


def test_binary_output_to_a_terminal_is_refused() -> None:
    keyboard, terminal = os.openpty()
    done = subprocess.run(
        command("encode", "-", "-"), input=png(photo()), stdout=terminal, stderr=subprocess.PIPE, check=False
    )
    os.close(terminal)
    os.close(keyboard)
    assert done.returncode == 2
    assert done.stderr.endswith(b"Error: OUT is '-', but standard output is a terminal.\n")


def wait_until_it_reads(process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    """Until all that stands in its pipe is taken, and it sleeps: so it waits for more."""
    end = time.monotonic() + seconds
    state, left = "", array.array("i", [1])
    while (state, left[0]) != ("S", 0):
        assert process.poll() is None and process.stdin is not None and time.monotonic() < end
        time.sleep(0.01)
        fcntl.ioctl(process.stdin, termios.FIONREAD, left)
        state = Path(f"/proc/{process.pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="this system does not tell what a process does")
@pytest.mark.parametrize(
    ("number", "code", "message"),
    [(signal.SIGINT, 130, b"dcacodec: error: interrupted\n"), (signal.SIGTERM, 143, b""), (signal.SIGHUP, 129, b"")],
)
def test_a_signal_ends_it_quietly(number: signal.Signals, code: int, message: bytes, tmp_path: Path) -> None:
    target = tmp_path / "out.dca"
    target.write_bytes(b"old")
    with subprocess.Popen(command("encode", "-", target), stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stderr is not None
        process.stdin.write(bytes(1 << 20))
        process.stdin.flush()
        wait_until_it_reads(process)
        process.send_signal(number)
        assert process.wait(30) == code
        assert process.stderr.read() == message
    assert [(each, each.read_bytes()) for each in tmp_path.iterdir()] == [(target, b"old")]


# -------------------------------------------------------------------------------------------------- with the real codec


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
    source.write_bytes(png(np.dstack((photo(), alpha)), exif=exif, icc_profile=b"a profile", pnginfo=text))
    assert call("encode", "--device", "cpu", source, coded).exit_code == 0
    assert call("decode", "--device", "cpu", coded, back).exit_code == 0
    picture = decoded(back)
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, alpha)
    assert (picture.icc, picture.exif, picture.xmp, picture.gray) == (b"a profile", exif, b"<x/>", False)

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


# --------------------------------------------------------------------------------------------------- parts of a picture


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("coded") / "photo.dca"
    assert call("encode", "-", path, stdin=png(photo(90, 130))).exit_code == 0
    return path


def test_a_region_and_a_smaller_picture(coded: Path, tmp_path: Path) -> None:
    targets = [tmp_path / name for name in ("whole.png", "part.png", "small.png", "small-part.png")]
    parts = [[], ["--region", "40,10,70,33"], ["--scale", "1/4"], ["--region", "40,10,70,33", "--scale", "1/4"]]
    for target, options in zip(targets, parts, strict=True):
        assert call("decode", *options, coded, target).exit_code == 0
    whole, part, small, small_part = (read_picture(target).pixels for target in targets)
    assert (whole.shape, small.shape) == ((90, 130, 3), (23, 33, 3))
    np.testing.assert_array_equal(part, whole[10:43, 40:110])
    np.testing.assert_array_equal(small_part, small[2:11, 10:28])


def test_a_region_outside_of_the_picture(coded: Path, tmp_path: Path) -> None:
    message = f"{coded}: the region 100,10,31,5 is not inside the picture of 130x90 pixels"
    assert_fails(call("decode", "--region", "100,10,31,5", coded, tmp_path / "out.png"), 1, message)
    assert list(tmp_path.iterdir()) == []


NO_REGIONS = ["", "1,2,3", "1,2,3,4,5", "1,2,3,-4", "1,2,3,x", "1,2,3,\u0664", "1;2;3;4", "1,2,3," + "9" * 5000]


@pytest.mark.parametrize("text", NO_REGIONS, ids=range(len(NO_REGIONS)))
def test_a_region_that_is_not_four_numbers(text: str, coded: Path) -> None:
    result = call("decode", "--region", text, coded, "-")
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"Invalid value for '--region': {text!r} is not X,Y,W,H, four whole numbers from 0 up." in result.stderr


def test_a_scale_that_there_is_not(coded: Path) -> None:
    result = call("decode", "--scale", "1/3", coded, "-")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'1/3' is not one of '1', '1/2', '1/4', '1/8'" in result.stderr


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "total", "shown"), [(Terminal, 3, True), (Terminal, 1, False), (io.StringIO, 3, False)]
)
def test_progress_is_shown_for_several_slices_on_a_terminal(
    stream: type[io.StringIO], total: int, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = stream()
    monkeypatch.setattr(sys, "stderr", stderr)
    with progress_bar() as progress:
        for done in range(total + 1):
            progress(done, total)
    assert ("0/3" in stderr.getvalue()) == shown
    assert shown or stderr.getvalue() == ""


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


def test_the_system_says_what_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Click asks beforehand and calls it a wrong command line."""
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    (tmp_path / "in.dca").write_bytes(b"text")
    result = CliRunner().invoke(cli, ["info", str(tmp_path / "in.dca")], prog_name="dcacodec")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith(f"dcacodec: error: {tmp_path}/in.dca: not a .dca file")


@pytest.mark.parametrize(
    "arguments", [("encode", "in.png", "\x1b[31mx.png"), ("decode", "in.dca", "\x1b[31mx"), ("\x1b[31m",)]
)
def test_usage_errors_do_not_command_the_terminal(arguments: tuple[str, ...]) -> None:
    result = call(*arguments)
    assert result.exit_code == 2 and "\\x1b[31m" in result.stderr and "\x1b" not in result.stderr


def test_names_are_shown_in_the_direction_of_the_text(tmp_path: Path) -> None:
    result = call("info", tmp_path / "photo\u202egnp.dca")
    assert result.exit_code != 0 and "photo\\u202egnp.dca" in result.stderr


def test_an_error_in_reading_names_the_file(tmp_path: Path) -> None:
    """That of an open file, as on a damaged disk, does not."""
    (tmp_path / "photo.png").touch()
    with pytest.raises(OSError, match="photo") as caught, opened(str(tmp_path / "photo.png")):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    assert "photo.png" in failure_of(caught.value).message


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "2000"}),
        ({"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "7"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
    ],
)
def test_how_threads_wait_is_set_unless_the_user_has_set_it(before: dict[str, str], after: dict[str, str]) -> None:
    environment = dict(before)
    let_threads_sleep(environment)
    assert environment == after


# ----------------------------------------------------------------------------------------------------------- slow coder


@pytest.mark.parametrize(
    "arguments",
    [
        ("encode", "in/a.png", "a.dca"),
        pytest.param(("batch", "--jobs", "2", "--force", "in", "out"), marks=pytest.mark.slow),
        pytest.param(("batch", "--jobs", "2", "--force", "--decode", "in", "out"), marks=pytest.mark.slow),
    ],
)
def test_that_there_is_no_compiler_is_said_once(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """By all processes together, and not with --quiet."""
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        picture = tmp_path / "in" / f"{name}.png"
        Image.fromarray(photo()).save(picture)
        encode_file(picture, tmp_path / "in" / f"{name}.dca")
    environment = {**os.environ, "CXX": "no-such-compiler", "DCACODEC_CACHE": str(tmp_path / "cache")}
    for quiet in ("--verbose", "--quiet"):
        words = command(*arguments, quiet, "--device", "cpu")
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        if quiet == "--quiet":
            assert done.stderr == ""
        else:
            (line,) = (line for line in done.stderr.splitlines() if "no-such-compiler" in line)
            assert line.startswith("dcacodec: warning: ")
            assert not any("warning" in other for other in done.stderr.splitlines() if other != line)
