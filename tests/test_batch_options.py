"""Batches: arguments of the command that are refused."""

from pathlib import Path

import pytest
from batch_runs import call
from PIL import Image
from tiny import photo


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
