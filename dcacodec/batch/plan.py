"""The plan of a batch: the sources and targets of all files, found before any work starts. No torch here."""

import errno
import glob
import os
import stat
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from unicodedata import normalize

from dcacodec.errors import BatchError, reason
from dcacodec.files.temporary import PREFIX

DCA_SUFFIX: Final = ".dca"


@dataclass(frozen=True)
class Stamp:
    """Identifies the content of a file: rewriting the file changes it. Values are those of the file system."""

    inode: int
    modified: int
    size: int

    @classmethod
    def of(cls, path: Path) -> "Stamp | None":
        """The stamp of a file, symbolic links followed; None if it does not exist."""
        try:
            found = path.stat()
        except FileNotFoundError:
            return None
        return cls(found.st_ino, found.st_mtime_ns, found.st_size)


@dataclass(frozen=True)
class Job:
    """A file to convert.

    Attributes:
        source: the file to read.
        target: the file to write.
        before: the stamp of the target when the plan was made. If the target has another one now, a worker has written
            it and died before it could report that: the job is done.
    """

    source: Path
    target: Path
    before: Stamp | None


@dataclass(frozen=True)
class Plan:
    """The jobs of a batch.

    Attributes:
        jobs: to do, in the order of the sources, the files of a folder sorted by name.
        skipped: those whose targets exist and are not older than their sources.
        kept: when decoding, those whose targets are older than their sources: the originals, or earlier results.
        failures: folders that cannot be read, and why.
        warnings: about sources without files, and links that are left out.
        left_out: files that are ignored because of their suffixes; none when decoding.
    """

    jobs: tuple[Job, ...]
    skipped: tuple[Job, ...]
    kept: tuple[Job, ...]
    failures: tuple[tuple[Path, str], ...]
    warnings: tuple[str, ...]
    left_out: tuple[Path, ...]


@dataclass(frozen=True)
class _Found:
    """A file to convert, and its path relative to its source, which its target has relative to the target folder."""

    path: Path
    place: Path


def make_plan(
    sources: Sequence[str],
    folder: Path,
    suffixes: Collection[str],
    new_suffix: str,
    *,
    force: bool = False,
    keep_suffix: bool = False,
) -> Plan:
    """Find all sources and their targets.

    A source is a file, a folder, or a pattern with ``*``, ``?``, ``[...]`` and ``**`` for any number of folders. The
    tree of a folder is mirrored in `folder`; that of a pattern starts at the last folder before its first wildcard.
    Names that start with a dot are ignored, and so is `folder` itself if it lies inside a source. Links are followed,
    unless they lead back to a folder that contains them.

    Args:
        sources: as given by the user.
        folder: of the targets. It need not exist.
        suffixes: of the files to take from folders and patterns. Files that are sources themselves are always taken.
        new_suffix: of the targets; ".dca" means encoding.
        force: include all jobs whose targets exist.
        keep_suffix: append the new suffix instead of replacing that of the source.

    Raises:
        BatchError: a source does not exist, no file was found, or a target would be one of the sources, have two
            sources (also by names that its file system does not tell apart), be a folder, or be a decoded picture
            beside its `.dca` file.
        OSError: `folder` exists and is not a folder.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    failures: list[tuple[Path, str]] = []
    warnings: list[str] = []
    left_out: list[Path] = []
    walk = _Walk(folder, suffixes, new_suffix == DCA_SUFFIX, failures, warnings, left_out)
    found: dict[Path, _Found] = {}  # by path, since two patterns may find the same file
    for source in sources:
        files = list(walk.source(source))
        if not files and not failures:
            warnings.append(f"{source}: no files to code in it")
        for each in files:
            found.setdefault(each.path, each)
    if not found and not failures:
        raise BatchError(f"nothing to do: no file in {', '.join(sources)} ends in {_listed(suffixes)}")

    jobs, skipped, kept = [], [], []
    for job, source_time in _targets(found.values(), folder, new_suffix, keep_suffix, failures):
        if force or job.before is None:
            jobs.append(job)
        elif job.before.modified >= source_time:
            skipped.append(job)
        elif new_suffix == DCA_SUFFIX:
            jobs.append(job)
        else:  # an original is older than its .dca file, and cannot be made again
            kept.append(job)
    others = tuple(path for path in dict.fromkeys(left_out) if path not in found)
    return Plan(tuple(jobs), tuple(skipped), tuple(kept), tuple(failures), tuple(warnings), others)


def _listed(suffixes: Collection[str]) -> str:
    *most, last = sorted(suffixes)
    return f"{', '.join(most)} or {last}" if most else last


@dataclass(frozen=True)
class _Walk:
    """Finds the files of sources. Problems are collected, not raised."""

    folder: Path
    suffixes: Collection[str]
    encoding: bool
    failures: list[tuple[Path, str]]
    warnings: list[str]
    left_out: list[Path]

    def source(self, source: str) -> Iterator[_Found]:
        """The files of one source, sorted.

        Raises:
            BatchError: it does not exist, or is neither a file nor a folder.
        """
        path = Path(source)
        if path.is_dir():
            yield from self._tree(path, Path(), ())
        elif os.path.isfile(source):  # not of the path, which has lost a slash at the end
            yield _Found(path, Path(path.name))
        elif os.path.lexists(source):
            raise BatchError(f"{source}: not a file and not a folder")
        elif glob.has_magic(source):
            yield from self._pattern(source)
        else:
            raise BatchError(f"{source}: {os.strerror(errno.ENOENT)}")

    def _pattern(self, pattern: str) -> Iterator[_Found]:
        parts = Path(pattern).parts
        start = next(place for place, part in enumerate(parts) if glob.has_magic(part))
        base = Path(*parts[:start])
        try:
            # pathlib's glob, because its `**` does not follow links, which could form a cycle.
            matches = sorted(base.glob(str(Path(*parts[start:]))))
        except ValueError as error:
            raise BatchError(f"{pattern}: {error}") from error
        if not matches:
            raise BatchError(f"{pattern}: no file matches")
        for path in matches:
            place = path.relative_to(base)
            above = [base / parent for parent in place.parents]
            if any(part.startswith(".") for part in place.parts) or any(map(self._is_target, (path, *above[:-1]))):
                continue
            if os.path.isdir(path):
                yield from self._tree(path, place, tuple(map(_identity, above)))
            elif self._wanted(path):
                yield _Found(path, place)

    def _tree(self, folder: Path, place: Path, above: tuple[tuple[int, int], ...]) -> Iterator[_Found]:
        """The files below a folder.

        Args:
            folder: to search.
            place: its path relative to the source.
            above: device and inode of the folders that contain it.
        """
        try:
            here = _identity(folder)
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
        except OSError as error:
            self.failures.append((folder, reason(error, folder)))
            return
        if here in above:
            self.warnings.append(f"{folder}: ignored, as it is a link to a folder that contains it")
            return
        for name in names:
            path = folder / name
            if os.path.isdir(path):
                if not self._is_target(path):
                    yield from self._tree(path, place / name, (*above, here))
            elif self._wanted(path):
                yield _Found(path, place / name)

    def _is_target(self, folder: Path) -> bool:
        return os.path.isdir(folder) and self.folder.is_dir() and os.path.samefile(folder, self.folder)

    def _wanted(self, path: Path) -> bool:
        """Whether to take a file found in a folder. When encoding, files ignored for their suffix are collected."""
        suffix = path.suffix.lower()
        known = suffix in self.suffixes
        if path.name.startswith(".") or (not known and (suffix == DCA_SUFFIX or not self.encoding)):
            return False
        try:
            regular = stat.S_ISREG(path.stat().st_mode)  # reading a pipe or device could block a worker forever
        except OSError:
            return known  # for example a broken link, which is then reported as an error
        if regular and not known:
            self.left_out.append(path)
        return regular and known


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _targets(
    found: Collection[_Found], folder: Path, new_suffix: str, keep_suffix: bool, failures: list[tuple[Path, str]]
) -> Iterator[tuple[Job, int]]:
    """Yield the jobs, each with the modification time of its source, after checking all of them.

    Raises:
        BatchError: as `make_plan`.
    """
    real = {os.path.realpath(each.path) for each in found}
    sources: dict[Path, Path] = {}
    taken: dict[str, Path] = {}  # the same by real targets, as two of them may be links to one file or folder
    clashes = []
    jobs = []
    for each in found:
        target = folder / each.place.with_suffix(each.place.suffix + new_suffix if keep_suffix else new_suffix)
        if (place := os.path.realpath(target)) in real:
            raise BatchError(f"{each.path} would become {target}, which is one of the sources")
        if new_suffix != DCA_SUFFIX and os.path.realpath(target.parent) == os.path.realpath(each.path.parent):
            raise BatchError(f"{target} could be the original of {each.path}: decode to another folder")
        if place in taken:
            clashes.append(f"{taken[place]} and {each.path} would both become {target}")
            continue
        if os.path.isdir(target):
            raise BatchError(f"{each.path} would become {target}, which is a folder")
        sources[target] = taken[place] = each.path
        try:
            jobs.append((Job(each.path, target, Stamp.of(target)), each.path.stat().st_mtime_ns))
        except OSError as error:
            failures.append((each.path, reason(error, each.path)))
    if clashes:
        more = f" (and {len(clashes) - 1} more)" if len(clashes) > 1 else ""
        # --keep-suffix does not help where two sources contain files of the same name.
        helps = new_suffix == DCA_SUFFIX and len({each.place for each in found}) == len(found)
        raise BatchError(clashes[0] + more + ("; --keep-suffix keeps them apart" if helps else ""))
    for target, source in sources.items():
        for parent in target.parents:
            if parent in sources:
                raise BatchError(f"{sources[parent]} would become {parent}, which {source} needs as a folder")
    _check_similar(taken)
    yield from jobs


def _check_similar(taken: Mapping[str, Path]) -> None:
    """Refuse two targets whose names are the same for their file system, as A.dca and a.dca on exFAT, NTFS and APFS.

    Args:
        taken: the sources by the real paths of their targets.

    Raises:
        BatchError: there are two such targets.
    """
    similar: dict[str, str] = {}
    probed = set()
    for place, source in taken.items():
        other = similar.setdefault(normalize("NFC", normalize("NFD", place).casefold()), place)
        if other == place:
            continue
        folder = Path(os.path.commonpath((other, place)))
        one, another = (Path(each).relative_to(folder).parts[0] for each in (other, place))
        if (folder, one, another) not in probed:
            probed.add((folder, one, another))
            if _is_one_name(folder, one, another):
                raise BatchError(f"{taken[other]} and {source} would both become {place} on this file system")


def _is_one_name(folder: Path, one: str, other: str) -> bool:
    """Whether two names are that of one file in a folder, or in the one where it will be made. It is tried there."""
    while not folder.is_dir():
        folder = folder.parent
    try:
        with tempfile.TemporaryDirectory(prefix=PREFIX, dir=folder) as probe:
            Path(probe, one).touch()
            return Path(probe, other).exists()
    except OSError:  # nothing can be written there, which is reported for each file
        return False
