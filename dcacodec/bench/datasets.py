"""Datasets: a named one, which is found or downloaded and always verified, or any files and folders.

::

    name or manifest --> Manifest -- found in a data folder, else fetched --+
    files, folders --------------------------------------------------------+--> Dataset
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from dcacodec.bench.fetch import fetch
from dcacodec.errors import BenchError, DcaError, UnknownNameError
from dcacodec.files.paths import cache_dir
from dcacodec.images.formats import has_picture_name
from dcacodec.images.reading import read_picture

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")

Warn = Callable[[str], object]
"""A function that reports a warning of one line to the user."""


@dataclass(frozen=True)
class Entry:
    """A picture of a manifest.

    Attributes:
        file: its name, without folder.
        digest: SHA-256 (hex) of its decoded pixels, 8-bit RGB, row by row.
        address: to download it from; None if there is none.
        size: bytes of that download; None if they are not known.
    """

    file: str
    digest: str
    address: str | None
    size: int | None = None


@dataclass(frozen=True)
class Manifest:
    """The pictures of a named dataset.

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
    """A picture of a dataset that has been read successfully.

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
    """The pictures of a benchmark, at least one."""

    name: str
    pictures: tuple[Member, ...]


def packaged() -> dict[str, Manifest]:
    """The datasets known by name, whose manifests are part of the package."""
    folder = files("dcacodec.bench").joinpath("manifests")
    manifests = (_manifest(path.read_text("utf-8"), path.name) for path in folder.iterdir())
    return {manifest.name: manifest for manifest in manifests}


def load_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        BenchError: the file is not a manifest.
        OSError: it cannot be read.
    """
    return _manifest(path.read_text("utf-8", "replace"), path.name)


def _manifest(text: str, name: str) -> Manifest:
    try:
        content = json.loads(text)
        pictures = tuple(_entry(each) for each in content["pictures"])
        manifest = Manifest(content["name"], pictures)
        _check(manifest)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BenchError(f"{name} is not the manifest of a dataset: {one_line(error)}") from error
    return manifest


def _entry(each: dict[str, Any]) -> Entry:
    return Entry(each["file"], each["sha256"], each.get("address"), each.get("bytes"))


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
        if entry.size is not None and not (isinstance(entry.size, int) and 0 <= entry.size < 1 << 63):
            raise ValueError(f"{entry.file}: {entry.size!r} is not a number of bytes")


def one_line(error: Exception) -> str:
    """The message of an error in a manifest; that of a KeyError is only the key."""
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def named_dataset(name: str, data_folders: Sequence[Path], warn: Warn, quiet: bool = False) -> Dataset:
    """A dataset by name: from the first data folder that has all of it, else from the cache, else downloaded.

    Args:
        name: one of `packaged`, or the path of a manifest.
        data_folders: folders to search for a folder with the name of the dataset.
        warn: called for each folder of this name that cannot be used.
        quiet: no progress bar.

    Raises:
        UnknownNameError: there is no such dataset.
        BenchError: it cannot be fetched.
        OSError: a file cannot be read or written.
    """
    known = packaged()
    if name in known:
        manifest = known[name]
    elif Path(name).is_file():
        manifest = load_manifest(Path(name))
    else:
        raise UnknownNameError(f"no dataset, manifest or folder {name!r}; known by name: {', '.join(known)}")
    for folder in (data_folder / manifest.name for data_folder in data_folders):
        if not folder.is_dir():
            continue
        try:
            return _read(manifest, folder)
        except BenchError as error:
            warn(f"{folder} is not used: {error}")
    return _fetched(manifest, quiet)


def _read(manifest: Manifest, folder: Path) -> Dataset:
    """Read the dataset from a folder.

    Raises:
        BenchError: a picture is missing, or not that of the manifest.
    """
    members = []
    for entry in manifest.pictures:
        path = folder / entry.file
        if wrong := _wrong(entry, path):
            raise BenchError(f"{entry.file} {wrong}")
        members.append(_member(path.stem, path))
    return Dataset(manifest.name, tuple(members))


def _wrong(entry: Entry, path: Path) -> str | None:
    """The problem with a picture, None if there is none."""
    if not path.is_file():
        return "is missing"
    try:
        found = _member(entry.file, path)
    except DcaError as error:
        return f"is not the picture of the manifest: {error}"
    return None if found.digest == entry.digest else "is not the picture of the manifest: it has other pixels"


def _fetched(manifest: Manifest, quiet: bool) -> Dataset:
    """Read the dataset from the cache, after downloading missing pictures, which is announced on standard error."""
    try:
        folder = cache_dir() / "datasets" / manifest.name
    except RuntimeError as error:
        raise BenchError("there is no home folder for the cache; set DCACODEC_CACHE to a folder") from error
    missing = [entry for entry in manifest.pictures if _wrong(entry, folder / entry.file)]
    if missing and not quiet:
        sizes = [entry.size for entry in missing if entry.size is not None]
        amount = f", {sum(sizes) / 1e6:.1f} MB," if len(sizes) == len(missing) else ""
        tqdm.write(f"downloading {len(missing)} pictures of {manifest.name}{amount} to {folder}", file=sys.stderr)
    for entry in tqdm(missing, desc=f"fetching {manifest.name}", unit="picture", disable=quiet or not missing or None):
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

    Of a folder, the files with the suffix of a picture format, without subfolders.

    Raises:
        BenchError: a folder contains no pictures.
        DcaError: a picture cannot be read.
        OSError: a file does not exist.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = [each for each in sorted(path.iterdir()) if has_picture_name(each) and each.is_file()]
        if not inside:
            raise BenchError(f"{path}: contains no pictures")
        found += inside
    members = []
    for short, path in tqdm(
        zip(_names(found), found, strict=True), "reading pictures", len(found), unit="picture", disable=quiet or None
    ):
        try:
            members.append(_member(short, path))
        except DcaError as error:
            raise BenchError(f"{path}: {error}") from error
    return Dataset(name, tuple(members))


def _names(paths: Sequence[Path]) -> list[str]:
    """Unique short names: without suffix if these are unique, else with suffix, else the whole paths.

    Raises:
        BenchError: a path is given twice.
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
