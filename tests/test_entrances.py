"""What all ways into the package refuse alike: names with a slash, text files, tensors without samples, sizes, folders
that cannot be written.
"""

import codecs
import io
import os
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from tiny import photo
from told import assert_fails, one_line

from dcacodec import decode, decode_array, decode_file, encode, encode_file, read_picture, write_picture
from dcacodec.cli.app import cli
from dcacodec.codec.codec import Codec
from dcacodec.errors import BadDimensionsError, ImageError, TooLargeError, WeightsError
from dcacodec.files.atomic import check_writable
from dcacodec.files.paths import cache_dir
from dcacodec.images.any_image import picture_of
from dcacodec.images.picture import Picture
from dcacodec.weights.registry import presets


def call(*arguments: object) -> Any:
    return CliRunner().invoke(cli, list(map(str, arguments)), prog_name="dcacodec")


@pytest.fixture
def folder(tmp_path: Path, codec: Codec) -> Path:
    """With a picture, a.png, and its file, a.dca."""
    Image.fromarray(photo(16, 24)).save(tmp_path / "a.png")
    encode_file(tmp_path / "a.png", tmp_path / "a.dca", codec=codec)
    return tmp_path


def test_a_slash_at_the_end_is_not_dropped(folder: Path) -> None:
    before = sorted(folder.iterdir())
    with pytest.raises(NotADirectoryError):
        encode_file(f"{folder}/a.png/", f"{folder}/b.dca")
    with pytest.raises(NotADirectoryError):
        encode(f"{folder}/a.png/")
    with pytest.raises(NotADirectoryError):
        decode_file(f"{folder}/a.dca/", f"{folder}/b.png")
    with pytest.raises(FileNotFoundError):
        encode_file(f"{folder}/a.png", f"{folder}/b.dca/")
    with pytest.raises(FileNotFoundError):
        decode_file(f"{folder}/a.dca", f"{folder}/b.png/")
    for command in (
        ("encode", f"{folder}/a.png/", f"{folder}/b.dca"),
        ("encode", f"{folder}/a.png", f"{folder}/b.dca/"),
        ("decode", f"{folder}/a.dca/", f"{folder}/b.png"),
        ("info", f"{folder}/a.dca/"),
        ("batch", f"{folder}/a.png/", f"{folder}/out"),
    ):
        assert_fails(call(*command))
    assert sorted(folder.iterdir()) == before


def test_files_open_as_text_are_refused(folder: Path) -> None:
    for use in (encode, decode, decode_array, read_picture, picture_of):
        name = "a.png" if use in (encode, read_picture, picture_of) else "a.dca"
        with open(folder / name, encoding="latin-1") as file:
            for text in (file, io.StringIO("text"), codecs.getreader("utf-8")(io.BytesIO(b"text"))):
                with pytest.raises(TypeError) as caught:
                    use(text)  # type: ignore[arg-type]
                assert "'rb'" in one_line(caught)
    with open(folder / "b.png", "w") as file, pytest.raises(TypeError) as caught:
        write_picture(Picture(photo(8, 8)), file, "png")  # type: ignore[arg-type]
    assert "'wb'" in one_line(caught)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(3, 8, 8).to_sparse(),
        torch.zeros(3, 8, 8, device="meta"),
        torch.quantize_per_tensor(torch.zeros(3, 8, 8), 1.0, 0, torch.quint8),
        torch.nested.nested_tensor([torch.zeros(8, 8)] * 3, layout=torch.jagged),
        torch.zeros(3, 8, 8, dtype=torch.complex64),
        torch.zeros(3, 8, 8, dtype=torch.bool),
        torch.zeros(8, 8),
    ],
    ids=range(7),
)
def test_tensors_that_hold_no_samples_are_refused_by_name(tensor: torch.Tensor) -> None:
    with pytest.raises(ImageError) as caught:
        picture_of(tensor)
    assert one_line(caught).startswith("a tensor must ")


def test_a_tensor_without_an_array_is_refused_by_name() -> None:
    def inside(tensor: torch.Tensor) -> torch.Tensor:
        with pytest.raises(ImageError) as caught:
            picture_of(tensor)
        one_line(caught)
        return tensor

    torch.func.vmap(inside)(torch.zeros(2, 3, 8, 8))


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.bfloat16, torch.float16, torch.float64])
def test_tensors_of_every_floating_point_type(dtype: torch.dtype) -> None:
    tensor = torch.full((1, 3, 5, 7), 0.5, dtype=torch.float32, requires_grad=True).to(dtype)
    assert (picture_of(tensor).pixels == 128).all()


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((9, 12), np.uint8),
        torch.zeros(3, 9, 12),
        Image.new("L", (12, 9)),
        Picture(np.zeros((9, 12, 3), np.uint8)),
    ],
    ids=lambda image: type(image).__name__,
)
def test_the_limit_of_pixels_holds_for_pictures_in_memory(image: Any, codec: Codec) -> None:
    encode(image, max_pixels=108, codec=codec)
    with pytest.raises(TooLargeError):
        encode(image, max_pixels=107, codec=codec)


def test_the_limit_of_the_format_comes_before_any_memory(tmp_path: Path) -> None:
    """A BMP file that claims 18 terabytes of pixels."""
    header = (
        b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, 3_000_000, 2_000_000, 1, 24, *[0] * 6)
    )
    (tmp_path / "a.bmp").write_bytes(header)
    with pytest.raises(BadDimensionsError):
        with_no_limit(lambda: read_picture(tmp_path / "a.bmp", None))
    result = call("encode", "--max-pixels", 0, tmp_path / "a.bmp", tmp_path / "a.dca")
    assert_fails(result, "3000000x2000000", 1 << 20)


def with_no_limit(read: Any) -> None:
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        read()
    finally:
        Image.MAX_IMAGE_PIXELS = limit


# --------------------------------------------------------------------------------------------------------- targets


@pytest.mark.parametrize("command", ["encode", "decode", "info"])
@pytest.mark.parametrize("there", [True, False])
def test_a_target_that_cannot_be_written_is_found_before_any_work(
    command: str, there: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write everything, so here the system says that it may not."""
    source, target = ("a.png", "b.dca") if command == "encode" else ("a.dca", "b.png")
    if there:
        (folder / target).write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    monkeypatch.setattr("dcacodec.images.reading._read", None)
    monkeypatch.setattr(Codec, "decode", None)
    monkeypatch.setattr(Codec, "encode", None)
    names = ("info", "--preview", folder / target, folder / source)
    assert_fails(call(*(names if command == "info" else (command, folder / source, folder / target))), folder / target)
    if command != "info":
        with pytest.raises(PermissionError):
            (encode_file if command == "encode" else decode_file)(folder / source, folder / target)


def test_what_can_be_written(folder: Path) -> None:
    for path in (folder / "new", folder / "a.png", Path("/dev/null")):
        check_writable(path)
    (folder / "link").symlink_to(folder / "a.png")
    check_writable(folder / "link")
    with pytest.raises(FileNotFoundError):
        check_writable(folder / "missing" / "a")
    with pytest.raises(IsADirectoryError):
        check_writable(folder)
    with pytest.raises(NotADirectoryError):
        check_writable(f"{folder}/a.png/")
    with pytest.raises(FileNotFoundError):
        check_writable(f"{folder}/new/")


def test_the_folder_of_a_file_must_be_writable_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is replaced, that to which a link leads. What is no file is written to directly."""
    (folder / "more").mkdir()
    (folder / "more" / "link").symlink_to(folder / "a.png")
    protected = [os.path.realpath(folder), "/dev"]
    monkeypatch.setattr(os, "access", lambda path, mode: os.path.realpath(path) not in protected)
    for path in (folder / "a.png", folder / "new", folder / "more" / "link"):
        with pytest.raises(PermissionError) as caught:
            check_writable(path)
        assert caught.value.filename == str(path)
    for path in (folder / "more" / "new", Path("/dev/null")):
        check_writable(path)


# ----------------------------------------------------------------------------------------------------- environment


@pytest.mark.skipif(os.name != "posix", reason="XDG_CACHE_HOME is of Unix")
def test_a_relative_cache_folder_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DCACODEC_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_dir() == tmp_path / ".cache" / "dcacodec"


@pytest.mark.skipif(sys.platform != "linux", reason="XDG_CACHE_HOME is of Linux")
def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DCACODEC_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "dcacodec"
    monkeypatch.setenv("DCACODEC_CACHE", str(tmp_path / "own"))
    assert cache_dir() == tmp_path / "own"
    monkeypatch.setenv("DCACODEC_CACHE", "")
    assert cache_dir() == tmp_path / "xdg" / "dcacodec"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DCACODEC_CACHE", "near")
    assert cache_dir() == tmp_path / "near"


@pytest.mark.skipif(os.name != "posix", reason="the home folder is that of Unix")
def test_without_a_home_folder_there_is_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than one in the current folder, with the name ~."""

    def unknown(user: int) -> None:
        raise KeyError(user)

    for name in ("DCACODEC_CACHE", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    for base in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", base)
        with pytest.raises(RuntimeError):
            cache_dir()


def test_a_missing_folder_of_weights_is_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DCACODEC_MODELS", str(tmp_path / "missing"))
    with pytest.raises(WeightsError) as caught:
        presets()
    assert one_line(caught).count(str(tmp_path)) == 1


def test_a_batch_without_weights_starts_no_worker(
    folder: Path, tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcacodec.weights.registry.models_dir", lambda: tiny_models)
    monkeypatch.setattr("dcacodec.batch.local.run_in_processes", None)
    result = call("batch", "--tune", "visual", folder / "a.png", folder / "out")  # the tests' weights are for PSNR
    assert_fails(result, "visual")
    assert not (folder / "out").exists()
