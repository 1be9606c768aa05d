"""Files that are missing, in the way or of the wrong kind, and the line that each failure is."""

import errno
import os
import re
import warnings
import zlib
from pathlib import Path

import pytest
from click.testing import CliRunner
from commands import FILE, assert_fails, call, photo, png
from PIL import Image

from dcacodec.cli.app import cli
from dcacodec.cli.failures import failure_of
from dcacodec.cli.streams import opened
from dcacodec.errors import DcaError
from dcacodec.format.container import Container, Header, Slice
from dcacodec.format.writer import pack

pytestmark = pytest.mark.usefixtures("pillow_limit")


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


def test_other_packages_warnings_are_shown_with_debug_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def warns(*arguments: object, **options: object) -> None:
        warnings.warn("of another package", DeprecationWarning, stacklevel=1)
        raise DcaError("the end")

    monkeypatch.setattr("dcacodec.cli.streams.read_container", warns)
    assert_fails(call("info", "-", stdin=FILE), 1, "standard input: the end")
    assert "dcacodec: warning: of another package\n" in call("--debug", "info", "-", stdin=FILE).stderr


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
        (
            ImportError("no part of it"),
            3,
            "internal error: ImportError: no part of it ('dcacodec --debug ...' shows the traceback)",
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
