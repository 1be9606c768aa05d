"""Batches: the command, there and back, and what it keeps, leaves out and names."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from batch_runs import call, fill, picture_tree
from PIL import ExifTags, Image, ImageCms
from tiny import photo

from dcacodec import Codec, Picture, read_picture, write_picture
from dcacodec.errors import ImageWarning


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return picture_tree(tmp_path_factory.mktemp("batch"))


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec.load("small", device="cpu")


@pytest.mark.slow
def test_libraries_do_not_write_to_standard_error_by_themselves(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    buffer = io.BytesIO()
    Image.fromarray(photo(64, 64)).save(buffer, "TIFF", compression="tiff_lzw")
    data = bytearray(buffer.getvalue())
    data[40:400] = bytes(360)  # of this libtiff has something to say
    (tmp_path / "in" / "bad.tif").write_bytes(data)
    folders = (str(tmp_path / "in"), str(tmp_path / "out"))
    command = [sys.executable, "-m", "dcacodec", "batch", "--quiet", "-j", "1", *folders]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"dcacodec: error: {tmp_path}/in/bad.tif: the picture is damaged")


def test_there_and_back(pictures: Path, codec: Codec) -> None:
    root, options = pictures, ("--jobs", "1", "--device", "cpu")
    result = call("--json", "--quality", "30", *options, root / "in", root / "out")
    facts = json.loads(result.stdout)
    assert result.exit_code == 1
    error, warning, summary = result.stderr.splitlines()
    head, why = error.split(f"{root}/in/bad.png: ")  # it names the formats, which depend on what is installed
    assert head == "dcacodec: error: "
    assert warning == f"dcacodec: warning: {root}/in/deep/wide.png: samples of 16 bits are rounded to 8"
    assert summary.startswith("3 of 4 files coded, 1 failed; ")

    done = {"a.png": "a.dca", "deep/b.tif": "deep/b.dca", "deep/wide.png": "deep/wide.dca"}
    for source, target in done.items():
        with pytest.warns(ImageWarning) if "wide" in source else nullcontext():
            expected = codec.encode(read_picture(root / "in" / source), quality=30)
        assert (root / "out" / target).read_bytes() == expected
    written = sorted(path for path in (root / "out").rglob("*") if path.is_file())
    assert written == sorted(root / "out" / target for target in done.values())
    sizes = [sum(path.stat().st_size for path in paths) for paths in ([root / "in" / name for name in done], written)]
    assert facts.pop("seconds") > 0
    assert facts == {
        "done": 3,
        "skipped": 0,
        "kept": 0,
        "other_weights": 0,
        "other_quality": 0,
        "above_target": 0,
        "left_out": 0,
        "missed": 0,
        "failed": 1,
        "waiting": 0,
        "bytes_in": sizes[0],
        "bytes_out": sizes[1],
        "saved_percent": round(100 - 100 * sizes[1] / sizes[0], 2),
        "misses": [],
        "failures": [{"source": f"{root}/in/bad.png", "error": why}],
    }

    result = call("--quiet", "--decode", *options, root / "out", root / "back")
    assert (result.exit_code, result.output) == (0, "")
    for source, target in done.items():
        picture = codec.decode((root / "out" / target).read_bytes())
        back = read_picture((root / "back" / source).with_suffix(".png"))
        assert np.array_equal(back.pixels, picture.pixels)
        assert back.gray == picture.gray

    # What is done is not done again, and no worker is started for it: the weights could be missing.
    before = {path: path.stat().st_mtime_ns for path in written}
    (root / "in" / "bad.png").unlink()
    again = call("--json", "--verbose", "--quality", "90", "--device", "cuda", root / "in", root / "out")
    facts = json.loads(again.stdout)
    assert (again.exit_code, facts["done"], facts["skipped"], facts["other_quality"]) == (0, 0, 3, 3)
    *lines, warning, summary = again.stderr.splitlines()
    assert lines == [
        f"{root}/in/{source} skipped: {root}/out/{target} is up to date" for source, target in done.items()
    ]
    assert warning == (
        "dcacodec: warning: 3 of the skipped files are of another quality than 90; --force encodes them again"
    )
    assert re.fullmatch(r"0 of 3 files coded, 3 skipped \(up to date\); \d+\.\d s", summary)
    assert {path: path.stat().st_mtime_ns for path in written} == before
    again = call("--json", "--decode", root / "out", root / "back")
    facts = json.loads(again.stdout)
    assert (again.exit_code, facts["skipped"], facts["other_quality"], facts["left_out"]) == (0, 3, 0, 0)
    assert len(again.stderr.splitlines()) == 1


def test_decoding_into_the_folder_of_the_originals_keeps_them(tmp_path: Path, codec: Codec) -> None:
    """Also if it is tried again; what has no original is decoded, and --force replaces all."""
    coded, originals = tmp_path / "coded", tmp_path / "originals"
    for folder in (coded, originals):
        folder.mkdir()
    for name in "abc":
        (coded / f"{name}.dca").write_bytes(codec.encode(Picture(photo(24, 24))))
    for name in "ab":
        Image.fromarray(photo(24, 24)).save(originals / f"{name}.png")
        os.utime(originals / f"{name}.png", (1000, 1000))
    before = (originals / "a.png").read_bytes()
    command = ("--decode", "--json", "--jobs", "1", "--device", "cpu", coded, originals)
    for done in (1, 0):
        result = call("--quiet", *command)
        facts = json.loads(result.stdout)
        assert result.exit_code == 1
        assert (facts["done"], facts["skipped"], facts["kept"], facts["failed"]) == (done, 1 - done, 2, 0)
        (line,) = result.stderr.splitlines()
        assert line.startswith(f"dcacodec: error: {originals}/a.png (and 1 more): ") and "--force" in line
        assert (originals / "a.png").read_bytes() == before
    told = call("--verbose", *command).stderr.splitlines()
    assert [line for line in told if f"{coded}/b.dca" in line and f"{originals}/b.png" in line]
    forced = call("--force", *command)
    facts = json.loads(forced.stdout)
    assert (forced.exit_code, facts["done"], facts["kept"]) == (0, 3, 0)
    assert (originals / "a.png").read_bytes() != before


@pytest.mark.parametrize("quality", [None, 90])
def test_lossy_pictures_have_a_quality_and_one_warning(quality: int | None, tmp_path: Path, codec: Codec) -> None:
    picture = Picture(photo(24, 24), xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + b" " * 70_000)
    fill(tmp_path, "in/a.dca", "in/b.dca")
    for path in (tmp_path / "in").iterdir():
        path.write_bytes(codec.encode(picture))
    options = () if quality is None else ("--quality", str(quality))
    result = call(
        "--decode", "--format", "jpeg", *options, "--jobs", "1", "--device", "cpu", tmp_path / "in", tmp_path / "out"
    )
    assert result.exit_code == 0
    lossy, first, second, _ = result.stderr.splitlines()  # each file has a warning about the packet, too
    assert "lossy" in lossy and str(quality or 75) in lossy and str(tmp_path) not in lossy
    assert "a.dca" in first and "b.dca" in second
    expected = io.BytesIO()
    with pytest.warns(ImageWarning):
        write_picture(codec.decode((tmp_path / "in" / "a.dca").read_bytes()), expected, "jpeg", quality)
    assert [(tmp_path / "out" / f"{name}.jpg").read_bytes() for name in "ab"] == [expected.getvalue()] * 2


@pytest.mark.parametrize(
    ("names", "warning"),
    [
        (["note.md"], "1 file is ignored: its suffix is not that of a picture format"),
        (["note.md", "x/b.c"], "2 files are ignored: their suffixes are not those of picture formats"),
    ],
)
def test_what_is_left_out_is_reported(names: list[str], warning: str, tmp_path: Path) -> None:
    fill(tmp_path, "in/a.png", "in/.hidden", "out/a.dca", *(f"in/{name}" for name in names))
    for options, expected in (
        ((), [f"dcacodec: warning: {warning}"]),
        (
            ("--verbose",),
            [
                f"dcacodec: warning: {warning}",
                *(f"{tmp_path}/in/{name} ignored" for name in names),
                f"{tmp_path}/in/a.png skipped: {tmp_path}/out/a.dca is up to date",
            ],
        ),
    ):
        result = call("--json", *options, tmp_path / "in", tmp_path / "out")
        facts = json.loads(result.stdout)
        assert (result.exit_code, facts["skipped"], facts["left_out"]) == (0, 1, len(names))
        *lines, summary = result.stderr.splitlines()
        assert lines == expected
        assert summary.startswith("0 of 1 files coded, 1 skipped (up to date); ")
    assert call("--quiet", tmp_path / "in", tmp_path / "out").output == ""


@pytest.mark.slow
def test_profile_and_exif_data_are_kept_unless_strip_and_so_is_the_suffix_if_asked_for(
    tmp_path: Path, codec: Codec
) -> None:
    (tmp_path / "in").mkdir()
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name in ("a.png", "a.jpg"):
        Image.fromarray(photo(16, 24)).save(tmp_path / "in" / name, exif=exif, icc_profile=icc)
    for options, kept in (((), True), (("--strip", "all"), False)):
        out = tmp_path / f"out{kept}"
        result = call("--quiet", "--keep-suffix", *options, "-j", "1", "--device", "cpu", tmp_path / "in", out)
        assert (result.exit_code, result.output) == (0, "")
        assert sorted(path.name for path in out.iterdir()) == ["a.jpg.dca", "a.png.dca"]
        for name in ("a.png", "a.jpg"):
            picture = read_picture(tmp_path / "in" / name)
            assert picture.icc == icc and picture.exif
            expected = codec.encode(picture if kept else picture.stripped(), quality=50)
            data = (out / f"{name}.dca").read_bytes()
            assert data == expected
            assert (b"somebody" in data) == kept


@pytest.mark.slow
def test_names_of_any_bytes(pictures: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"two\nlines \xff")
    (tmp_path / "in").mkdir()
    shutil.copy(pictures / "in" / "a.png", tmp_path / "in" / f"{name}.png")
    (tmp_path / "in" / f"{name}2.png").write_bytes(b"no picture")
    result = call("--json", "--jobs", "1", "--device", "cpu", tmp_path / "in", tmp_path / "out")
    assert result.exit_code == 1
    assert os.listdir(tmp_path / "out") == [f"{name}.dca"]
    (failure,) = json.loads(result.stdout)["failures"]
    assert failure["source"] == f"{tmp_path}/in/{name}2.png"
    error, summary = result.stderr.splitlines()
    assert re.match(r"dcacodec: error: .*/two lines .*2\.png: not a picture in one", error)
    assert summary.startswith("1 of 2 files coded, 1 failed; ")


def test_a_source_that_may_not_be_read_is_an_error_of_its_own(pictures: Path, tmp_path: Path) -> None:
    for name in ("locked.tif", "b.tif"):
        shutil.copy(pictures / "in" / "deep" / "b.tif", tmp_path / name)
    (tmp_path / "locked.tif").chmod(0)
    if os.access(tmp_path / "locked.tif", os.R_OK):
        pytest.skip("this user may read everything")
    result = call("--jobs", "1", tmp_path / "locked.tif", tmp_path / "b.tif", tmp_path / "out")
    assert result.exit_code == 1
    assert f"dcacodec: error: {tmp_path}/locked.tif: Permission denied\n" in result.stderr
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["b.dca"]
