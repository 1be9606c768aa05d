"""Pictures to measure on: found, fetched, checked, refused."""

import hashlib
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny import photo
from told import one_line
from web import Site, serve

from dcacodec.bench.datasets import Dataset, files_dataset, load_manifest, named_dataset, packaged
from dcacodec.errors import BenchError

PICTURES = {f"{name}.png": photo(20, 30, seed) for seed, name in enumerate(("first", "second", "third"))}


def png(pixels: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def digest(pixels: Any) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    """A server that has the pictures; the cache is in the test's folder."""
    monkeypatch.setenv("DCACODEC_CACHE", str(tmp_path / "cache"))
    with serve({f"/{name}": png(pixels) for name, pixels in PICTURES.items()}) as site:
        yield site


@pytest.fixture
def manifest(site: Site, tmp_path: Path) -> Path:
    """The pictures' manifest."""
    entries = [
        {"file": name, "sha256": digest(pixels), "address": f"{site.address}/{name}"}
        for name, pixels in PICTURES.items()
    ]
    path = tmp_path / "set.json"
    path.write_text(json.dumps({"name": "set", "pictures": entries}), "utf-8")
    return path


def never(line: str) -> None:
    raise AssertionError(line)


def check(dataset: Dataset, folder: Path) -> None:
    """It has the three pictures of this folder."""
    assert dataset.name == "set"
    assert [member.name for member in dataset.pictures] == ["first", "second", "third"]
    for member, (name, pixels) in zip(dataset.pictures, PICTURES.items(), strict=True):
        assert (member.path, member.digest, member.width, member.height) == (folder / name, digest(pixels), 30, 20)


def fill(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, pixels in PICTURES.items():
        (folder / name).write_bytes(png(pixels))
    return folder


# ------------------------------------------------------------------------------------------------------ found, fetched


def test_a_data_folder_comes_first(site: Site, manifest: Path, tmp_path: Path) -> None:
    folder = fill(tmp_path / "data" / "set")
    dataset = named_dataset(str(manifest), [tmp_path / "nowhere", tmp_path / "data"], never, quiet=True)
    check(dataset, folder)
    assert site.requests == []
    assert not (tmp_path / "cache").exists()


def test_without_one_it_is_fetched_once(site: Site, manifest: Path, tmp_path: Path) -> None:
    for _ in range(2):
        check(named_dataset(str(manifest), [tmp_path], never, quiet=True), tmp_path / "cache" / "datasets" / "set")
    assert site.requests == [f"/{name}" for name in PICTURES]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_download_is_announced_and_on_a_terminal_counted(
    terminal: bool, manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    content = json.loads(manifest.read_text("utf-8"))
    for entry in content["pictures"]:
        entry["bytes"] = 1_000_000
    manifest.write_text(json.dumps(content), "utf-8")
    named_dataset(str(manifest), [], never)
    told = capsys.readouterr().err
    assert re.search(r"^.* 3 .*\bset\b.* 3\.0 MB.*\n", told)
    assert bool(re.search(r"\n(.|\n)*fetching set: 100%.* 3/3 ", told)) == terminal
    named_dataset(str(manifest), [], never)
    assert capsys.readouterr().err == ""


def test_after_an_interruption_only_what_is_missing_is_fetched(site: Site, manifest: Path, tmp_path: Path) -> None:
    site.cuts = [10**6, 100, 0, 0]  # the first picture, a part of the second
    with pytest.raises(BenchError, match=r"second\.png"):
        named_dataset(str(manifest), [], never, quiet=True)
    site.requests.clear()
    check(named_dataset(str(manifest), [], never, quiet=True), tmp_path / "cache" / "datasets" / "set")
    assert site.requests == ["/second.png", "/third.png"]


def test_a_damaged_picture_in_the_cache_is_fetched_again(site: Site, manifest: Path, tmp_path: Path) -> None:
    folder = fill(tmp_path / "cache" / "datasets" / "set")
    (folder / "second.png").write_bytes(png(PICTURES["first.png"]))
    check(named_dataset(str(manifest), [], never, quiet=True), folder)
    assert site.requests == ["/second.png"]
    assert np.array_equal(np.array(Image.open(folder / "second.png")), PICTURES["second.png"])


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(png(PICTURES["first.png"])),
        lambda path: path.write_bytes(path.read_bytes()[:60]),
    ],
    ids=["missing", "other pixels", "short"],
)
def test_a_data_folder_with_other_pictures_is_not_taken(
    damage: Any, site: Site, manifest: Path, tmp_path: Path
) -> None:
    folder = fill(tmp_path / "data" / "set")
    damage(folder / "second.png")
    lines: list[str] = []
    dataset = named_dataset(str(manifest), [tmp_path / "data"], lines.append, quiet=True)
    check(dataset, tmp_path / "cache" / "datasets" / "set")
    assert len(lines) == 1
    assert str(folder) in lines[0] and "second.png" in lines[0]


def test_the_same_pixels_in_another_file_will_do(site: Site, manifest: Path, tmp_path: Path) -> None:
    folder = fill(tmp_path / "data" / "set")
    Image.fromarray(PICTURES["third.png"]).save(folder / "third.png", compress_level=1)
    check(named_dataset(str(manifest), [tmp_path / "data"], never, quiet=True), folder)


def test_wrong_content_on_the_web(site: Site, manifest: Path, tmp_path: Path) -> None:
    site.files = {**site.files, "/second.png": png(PICTURES["first.png"])}
    with pytest.raises(BenchError, match=r"second\.png"):
        named_dataset(str(manifest), [], never, quiet=True)
    kept = [path.name for path in (tmp_path / "cache" / "datasets" / "set").iterdir()]
    assert kept == ["first.png"]


def test_not_on_the_web(site: Site, manifest: Path, tmp_path: Path) -> None:
    site.files = {}
    with pytest.raises(BenchError) as caught:
        named_dataset(str(manifest), [], never, quiet=True)
    named = (f"{site.address}/first.png", "404", "set/", "--data-dir", "DCACODEC_DATA")
    assert all(each in one_line(caught) for each in named)


def test_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DCACODEC_CACHE", str(tmp_path / "cache"))
    entries = [{"file": "first.png", "sha256": digest(PICTURES["first.png"])}]
    (tmp_path / "own.json").write_text(json.dumps({"name": "own", "pictures": entries}), "utf-8")
    with pytest.raises(BenchError, match=r"\bown\b.*\bfirst\.png\b"):
        named_dataset(str(tmp_path / "own.json"), [tmp_path], never, quiet=True)


# ----------------------------------------------------------------------------------------------------------- manifests


def test_kodak_is_known() -> None:
    kodak = packaged()["kodak"]
    assert [entry.file for entry in kodak.pictures] == [f"kodim{number:02}.png" for number in range(1, 25)]
    assert all(entry.address == f"https://r0k.us/graphics/kodak/kodak/{entry.file}" for entry in kodak.pictures)
    assert len({entry.digest for entry in kodak.pictures}) == 24
    assert sum(entry.size or 0 for entry in kodak.pictures) == 15_394_305


def test_an_unknown_name() -> None:
    with pytest.raises(BenchError, match=r"'kodac'.*\bkodak\b"):
        named_dataset("kodac", [], never)


GOOD: dict[str, Any] = {"file": "a.png", "sha256": "0" * 64, "address": "http://localhost/a.png"}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("not JSON", ""),
        ([], ""),
        ({"pictures": [GOOD]}, "'name'"),
        ({"name": "set"}, "'pictures'"),
        ({"name": "set", "pictures": []}, ""),
        ({"name": "set", "pictures": [{"file": "a.png"}]}, "'sha256'"),
        ({"name": "set", "pictures": [GOOD, GOOD]}, "a.png"),
        ({"name": "../set", "pictures": [GOOD]}, "'../set'"),
        ({"name": "set", "pictures": [{**GOOD, "file": "/etc/passwd"}]}, "'/etc/passwd'"),
        ({"name": "set", "pictures": [{**GOOD, "file": ".."}]}, "'..'"),
        ({"name": "set", "pictures": [{**GOOD, "file": 1}]}, "1"),
        ({"name": "set", "pictures": [{**GOOD, "sha256": "0" * 63}]}, "0" * 63),
        ({"name": "set", "pictures": [{**GOOD, "sha256": None}]}, "None"),
        ({"name": "set", "pictures": [{**GOOD, "address": 1}]}, "1"),
        ({"name": "set", "pictures": [{**GOOD, "bytes": "1 MB"}]}, "'1 MB'"),
        ({"name": "set", "pictures": [{**GOOD, "bytes": 10**400}]}, "bytes"),
    ],
)
def test_no_manifest(content: Any, named: str, tmp_path: Path) -> None:
    path = tmp_path / "set.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    with pytest.raises(BenchError) as caught:
        load_manifest(path)
    assert "set.json" in one_line(caught) and named in one_line(caught)


# --------------------------------------------------------------------------------------------------- files and folders


def test_a_folder_as_it_is(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pictures")
    (folder / "notes.txt").write_text("no picture")
    (folder / "folder.png").mkdir()
    Image.fromarray(photo(8, 8)).save(folder / "fourth.JPG", "JPEG")
    fill(folder / "deeper")
    dataset = files_dataset("mine", [folder], quiet=True)
    assert dataset.name == "mine"
    assert [member.name for member in dataset.pictures] == ["first", "fourth", "second", "third"]
    assert dataset.pictures[0].digest == digest(PICTURES["first.png"])


def test_names_are_as_short_as_they_can_be(tmp_path: Path) -> None:
    one, other = fill(tmp_path / "one"), fill(tmp_path / "other")
    again = one / "first.bmp"
    Image.fromarray(photo(8, 8)).save(again)
    dataset = files_dataset("mine", [one / "first.png", again], quiet=True)
    assert [member.name for member in dataset.pictures] == ["first.png", "first.bmp"]
    dataset = files_dataset("mine", [one / "first.png", other / "first.png"], quiet=True)
    assert [member.name for member in dataset.pictures] == [str(one / "first.png"), str(other / "first.png")]
    with pytest.raises(BenchError, match=r"first\.png"):
        files_dataset("mine", [one / "first.png", one / "first.png"], quiet=True)


def test_what_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BenchError, match=r"\bempty\b"):
        files_dataset("mine", [tmp_path / "empty"], quiet=True)
    (tmp_path / "bad.png").write_text("no picture")
    with pytest.raises(BenchError, match=r"bad\.png"):
        files_dataset("mine", [tmp_path / "bad.png"], quiet=True)
    with pytest.raises(FileNotFoundError):
        files_dataset("mine", [tmp_path / "missing.png"], quiet=True)
