"""Pictures to measure on: a named dataset, which is found or fetched and always checked, or any files and folders.

::

    name or manifest --> Manifest -- found in a data folder, else fetched --+
    files, folders --------------------------------------------------------+--> Dataset
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Final

from tqdm import tqdm

from dcacodec.bench.fetch import fetch
from dcacodec.errors import BenchError, DcaError
from dcacodec.files.paths import cache_dir
from dcacodec.images.formats import has_picture_name
from dcacodec.images.reading import read_picture

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")

Tell = Callable[[str], object]
"""Takes a line for the user that is no result."""


@dataclass(frozen=True)
class Entry:
    """A picture of a manifest.

    Attributes:
        file: its name, without folder.
        digest: SHA-256 (hex) of its decoded pixels, RGB of 8 bits, row by row.
        address: where it can be fetched; None if nowhere.
    """

    file: str
    digest: str
    address: str | None


@dataclass(frozen=True)
class Manifest:
    """What a named dataset consists of.

    ::

        {"name": "kodak", "pictures": [{"file": "kodim01.png", "sha256": "...", "address": "https://..."}]}

    Attributes:
        name: also that of its folder.
        pictures: in order.
    """

    name: str
    pictures: tuple[Entry, ...]


@dataclass(frozen=True)
class Member:
    """A picture of a dataset that is there and can be read.

    Attributes:
        name: unique in the dataset.
        path: of its file.
        digest: as in `Entry`.
        width, height: pixels.
    """

    name: str
    path: Path
    digest: str
    width: int
    height: int


@dataclass(frozen=True)
class Dataset:
    """Pictures to measure on, at least one."""

    name: str
    pictures: tuple[Member, ...]


def packaged() -> dict[str, Manifest]:
    """The datasets that are known by name."""
    folder = files("dcacodec.bench").joinpath("manifests")
    manifests = (_manifest(path.read_text("utf-8"), path.name) for path in folder.iterdir())
    return {manifest.name: manifest for manifest in manifests}


def load_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        BenchError: it is none.
        OSError: it cannot be read.
    """
    return _manifest(path.read_text("utf-8", "replace"), path.name)


def _manifest(text: str, name: str) -> Manifest:
    try:
        content = json.loads(text)
        pictures = tuple(Entry(each["file"], each["sha256"], each.get("address")) for each in content["pictures"])
        manifest = Manifest(content["name"], pictures)
        _check(manifest)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BenchError(f"{name} is not the manifest of a dataset: {one_line(error)}") from error
    return manifest


def _check(manifest: Manifest) -> None:
    names = [manifest.name, *(entry.file for entry in manifest.pictures)]
    for name in names:  # names of files: nothing that leads to another folder
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a name")
    if not manifest.pictures:
        raise ValueError("it lists no pictures")
    if twice := [name for name, count in Counter(names[1:]).items() if count > 1]:
        raise ValueError(f"{twice[0]} is listed twice")
    for entry in manifest.pictures:
        if not isinstance(entry.digest, str) or not _DIGEST.fullmatch(entry.digest):
            raise ValueError(f"{entry.file}: {entry.digest!r} is not a SHA-256 in hexadecimal")
        if entry.address is not None and not isinstance(entry.address, str):
            raise ValueError(f"{entry.file}: {entry.address!r} is not an address")


def one_line(error: Exception) -> str:
    """What an error in a manifest says; a KeyError names the key alone."""
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def named_dataset(name: str, data_folders: Sequence[Path], tell: Tell, quiet: bool = False) -> Dataset:
    """A dataset by name: from the first data folder that has it whole, else from the cache, else fetched.

    Args:
        name: one of `packaged`, or the path of a manifest.
        data_folders: where a folder of the dataset's name may be.
        tell: gets a line for each folder of this name that could not be taken.
        quiet: no progress bar.

    Raises:
        BenchError: there is no such dataset, or it cannot be fetched.
        OSError: a file cannot be read or written.
    """
    known = packaged()
    if name in known:
        manifest = known[name]
    elif Path(name).is_file():
        manifest = load_manifest(Path(name))
    else:
        raise BenchError(f"no dataset, manifest or folder {name!r}; known by name: {', '.join(known)}")
    for folder in (data_folder / manifest.name for data_folder in data_folders):
        if not folder.is_dir():
            continue
        try:
            return _read(manifest, folder)
        except BenchError as error:
            tell(f"{folder} is not taken: {error}")
    return _fetched(manifest, quiet)


def _read(manifest: Manifest, folder: Path) -> Dataset:
    """The dataset from a folder.

    Raises:
        BenchError: a picture is missing or not as it should be.
    """
    members = []
    for entry in manifest.pictures:
        path = folder / entry.file
        if wrong := _wrong(entry, path):
            raise BenchError(f"{entry.file} {wrong}")
        members.append(_member(path.stem, path))
    return Dataset(manifest.name, tuple(members))


def _wrong(entry: Entry, path: Path) -> str | None:
    """What is wrong with a picture, None if nothing is."""
    if not path.is_file():
        return "is missing"
    try:
        found = _member(entry.file, path)
    except DcaError as error:
        return f"is not the picture of the manifest: {error}"
    return None if found.digest == entry.digest else "is not the picture of the manifest: it has other pixels"


def _fetched(manifest: Manifest, quiet: bool) -> Dataset:
    """The dataset from the cache, which is completed if need be."""
    try:
        folder = cache_dir() / "datasets" / manifest.name
    except RuntimeError as error:
        raise BenchError("there is no home folder to keep pictures in; set DCACODEC_CACHE to a folder") from error
    missing = [entry for entry in manifest.pictures if _wrong(entry, folder / entry.file)]
    for entry in tqdm(missing, desc=f"fetching {manifest.name}", unit="picture", disable=quiet or not missing):
        if entry.address is None:
            raise BenchError(f"{manifest.name}: {entry.file} is in no data folder, and the manifest has no address")
        try:
            fetch(entry.address, folder / entry.file, partial(_wrong, entry))
        except BenchError as error:
            hint = f"a folder that has {manifest.name}/ can be named with --data-dir or DCACODEC_DATA"
            raise BenchError(f"{error} ({hint})") from error
    return _read(manifest, folder)


def files_dataset(name: str, paths: Sequence[Path], quiet: bool = False) -> Dataset:
    """The pictures of files and folders.

    Of a folder, those files that are called like a picture; not those in further folders.

    Raises:
        BenchError: a folder has no pictures.
        DcaError: a picture cannot be read.
        OSError: a file is not there.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = [each for each in sorted(path.iterdir()) if has_picture_name(each) and each.is_file()]
        if not inside:
            raise BenchError(f"{path}: no pictures in it")
        found += inside
    members = []
    for short, path in tqdm(
        zip(_names(found), found, strict=True), "reading pictures", len(found), unit="picture", disable=quiet
    ):
        try:
            members.append(_member(short, path))
        except DcaError as error:
            raise BenchError(f"{path}: {error}") from error
    return Dataset(name, tuple(members))


def _names(paths: Sequence[Path]) -> list[str]:
    """Short names: without suffix where that is enough to tell them apart, else with it, else the whole paths.

    Raises:
        BenchError: a path is there twice.
    """
    for names in ([path.stem for path in paths], [path.name for path in paths], [str(path) for path in paths]):
        counts = Counter(names)
        if len(counts) == len(names):
            return names
    raise BenchError(f"{counts.most_common(1)[0][0]} is named twice")


def _member(name: str, path: Path) -> Member:
    picture = read_picture(path)
    digest = hashlib.sha256(picture.pixels.tobytes()).hexdigest()
    return Member(name, path, digest, picture.width, picture.height)
