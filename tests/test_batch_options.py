"""Batches: refused arguments of the command, the number of workers, and what their settings do to a file."""

import io
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_runs import call
from drawings import text
from picture_files import exif_with, png, profile
from PIL import Image
from tiny import photo

from dcacodec import Codec, Picture, write_picture
from dcacodec.batch.plan import Job
from dcacodec.batch.work import Decoding, Encoding
from dcacodec.cli.options import cores
from dcacodec.errors import DcaError, ImageWarning, WeightsError
from dcacodec.ratecontrol import MaxBytes, MinPsnr, encode_to


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["in"], 2, "Missing argument 'SRC...'."),
        (["--format", "png", "in", "out"], 2, "--format requires --decode."),
        (["--decode", "--quality", "50", "in", "out"], 2, "--quality is for lossy formats, and png is lossless."),
        (["--decode", "--format", "jpeg", "--quality", "5.5", "in", "out"], 2, "5.5 is not a whole number"),
        (["--decode", "--preset", "small", "in", "out"], 2, "--preset cannot be combined with --decode."),
        (["--decode", "--keep-suffix", "in", "out"], 2, "--keep-suffix cannot be combined with --decode."),
        (["--decode", "--strip", "all", "in", "out"], 2, "--strip cannot be combined with --decode."),
        (["--decode", "--target-bpp", "1", "in", "out"], 2, "--target-bpp cannot be combined with --decode."),
        (["--decode", "--target-size", "1KB", "in", "out"], 2, "--target-size cannot be combined with --decode."),
        (["--decode", "--target-psnr", "30", "in", "out"], 2, "--target-psnr cannot be combined with --decode."),
        (["-q", "50", "--target-psnr", "30", "in", "out"], 2, "--quality and --target-psnr exclude each other."),
        (
            ["--target-size", "1KB", "--target-bpp", "1", "in", "out"],
            2,
            "--target-bpp and --target-size exclude each other.",
        ),
        (["--target-size", "1XB", "in", "out"], 2, "'1XB' is not a size such as 200KB, 1.5MB, 180KiB or 200000."),
        (["--target-bpp", "0", "in", "out"], 2, "0.0 is not a number above 0."),
        (
            ["--decode", "--format", "gif", "in", "out"],
            2,
            "gif is not one of png, tiff, webp, ppm, pgm, bmp, jpeg, avif.",
        ),
        (["--jobs", "0", "in", "out"], 2, "0 is not in the range x>=1."),
        (["--quiet", "--verbose", "in", "out"], 2, "--quiet and --verbose exclude each other."),
        (["missing", "out"], 1, "missing: No such file or directory"),
        (["empty", "out"], 1, "nothing to do: no file in empty ends in .apng"),
        (["--decode", "in", "out"], 1, "nothing to do: no file in in ends in .dca"),
        (["in", "in/a.png"], 1, "in/a.png: Not a directory"),
    ],
)
def test_one_line_says_what_is_wrong(
    arguments: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"")
    result = call(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr.splitlines()[-1]
    if code == 1:
        assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("names", [("", "out"), ("in", "")])
def test_empty_names_do_not_mean_the_current_folder(
    names: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo(8, 8)).save("photo.png")
    result = call(*names)
    assert (result.exit_code, result.stdout) == (2, "")
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


SHOWN = np.full((60, 70), 255, np.uint8)
SHOWN[:, 40:] = 0
SOURCE = Picture(text(60, 70), alpha=SHOWN, icc=profile(), exif=exif_with(1))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """To encode `SOURCE`."""
    with open(tmp_path / "a.png", "wb") as file:
        write_picture(SOURCE, file, "png")
    return Job(tmp_path / "a.png", tmp_path / "deep" / "a.dca", None)


@pytest.mark.parametrize(
    "options", [{}, {"quality": 20}, {"lossless": True}, {"lossless": False}, {"keep_hidden": True}]
)
def test_a_worker_encodes_as_its_settings_say(options: dict[str, Any], job: Job) -> None:
    outcome = Encoding(device="cpu", **options)()(job)
    data = job.target.read_bytes()
    codec = Codec.load(device="cpu")
    assert data == codec.encode(SOURCE, **options)
    assert not options or data != codec.encode(SOURCE)
    assert (outcome.error, outcome.bytes_in, outcome.bytes_out) == (None, job.source.stat().st_size, len(data))


@pytest.mark.parametrize("effort", [0, 2])
def test_the_effort_of_a_worker(effort: int, tmp_path: Path) -> None:
    Image.fromarray(photo(64, 64)).save(tmp_path / "a.png")
    codec = Codec.load(device="cpu")
    files = [codec.encode(Picture(photo(64, 64)), effort=each) for each in (0, 2)]
    assert files[0] != files[1]
    Encoding(device="cpu", effort=effort)()(Job(tmp_path / "a.png", tmp_path / "a.dca", None))
    assert (tmp_path / "a.dca").read_bytes() == files[effort // 2]


@pytest.mark.parametrize("keep_hidden", [False, True])
@pytest.mark.parametrize("target", [MaxBytes(900), MinPsnr(300)])
def test_a_worker_with_a_target(target: MaxBytes | MinPsnr, keep_hidden: bool, job: Job) -> None:
    outcome = Encoding(device="cpu", target=target, keep_hidden=keep_hidden)()(job)
    expected = encode_to(Codec.load(device="cpu"), SOURCE, target, keep_hidden=keep_hidden)
    assert job.target.read_bytes() == expected.data
    assert outcome.target_met == expected.target_met
    assert f"quality {expected.quality}: " in outcome.search


def test_a_worker_takes_no_other_weights_or_device(tiny_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' weights are for PSNR, and the tests have no GPU."""
    monkeypatch.setattr("dcacodec.weights.registry.models_dir", lambda: tiny_models)
    with pytest.raises(WeightsError):
        Encoding(device="cpu", tune="visual")()
    for make in (Encoding(device="cuda"), Decoding(device="cuda")):
        with pytest.raises(DcaError):
            make()


def test_a_worker_leaves_metadata_out(job: Job) -> None:
    Encoding(device="cpu", strip=("exif",))()(job)
    codec = Codec.load(device="cpu")
    assert codec.decode(job.target.read_bytes()).metadata == (SOURCE.icc, None, None)


@pytest.mark.parametrize(
    ("name", "options", "refused"),
    [
        ("a.png", {"max_pixels": 60 * 70 - 1}, "70x60"),
        ("a.png", {"max_pixels": 60 * 70}, None),
        ("hdr.png", {}, "HDR"),
        ("hdr.png", {"allow_hdr": True}, None),
    ],
)
def test_what_a_worker_refuses(name: str, options: dict[str, Any], refused: str | None, job: Job) -> None:
    hdr = png((2, 1, 8, 0), bytes(3), (b"cICP", bytes((9, 16, 0, 1))))
    (job.source.parent / "hdr.png").write_bytes(hdr.getvalue())
    outcome = Encoding(device="cpu", **options)()(Job(job.source.with_name(name), job.target, None))
    assert (outcome.error is None) == job.target.exists() == (refused is None)
    assert refused is None or refused in str(outcome.error)


@pytest.mark.parametrize("quality", [None, 20])
def test_a_worker_decodes_to_its_format(quality: int | None, tmp_path: Path) -> None:
    codec = Codec.load(device="cpu")
    data, expected = codec.encode(Picture(photo(40, 56))), io.BytesIO()
    (tmp_path / "a.dca").write_bytes(data)
    outcome = Decoding(format="jpeg", quality=quality, device="cpu")()(
        Job(tmp_path / "a.dca", tmp_path / "a.jpg", None)
    )
    with pytest.warns(ImageWarning) as caught:
        write_picture(codec.decode(data), expected, "jpeg", quality)
    assert (tmp_path / "a.jpg").read_bytes() == expected.getvalue()
    assert outcome.warnings == (str(caught[0].message),)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_processors_that_this_process_may_not_use_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 5, 6} if process == 0 else set())
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert cores() == 3
