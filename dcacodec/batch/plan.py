"""From sources and a folder to the list of pictures to code, all of it before any work. No torch here."""

import errno
import glob
import os
import re
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dcacodec.errors import BatchError, FormatError, reason
from dcacodec.format.container import Header
from dcacodec.format.reader import GLANCE, glance

DCA_SUFFIX: Final = ".dca"

LEFTOVER_SECONDS: Final = 3600
"""A temporary file of this age is no longer being written: that takes seconds."""

_LEFTOVER: Final = re.compile(r"\.dcacodec-[0-9a-f]{16}\.tmp")


@dataclass(frozen=True)
class Stamp:
    """Which content a file has: one that is written anew gets another. Times and numbers are the file system's."""

    inode: int
    modified: int
    size: int

    @classmethod
    def of(cls, path: Path) -> "Stamp | None":
        """Of the file that `path` leads to; None where there is none."""
        try:
            found = path.stat()
        except FileNotFoundError:
            return None
        return cls(found.st_ino, found.st_mtime_ns, found.st_size)


@dataclass(frozen=True)
class Job:
    """A file to make from another.

    Attributes:
        source: what is read.
        target: what is written.
        before: the stamp of the target when the plan was made. A target with another one has been written since, by
            a worker that ended before it could tell: the job is done.
    """

    source: Path
    target: Path
    before: Stamp | None


@dataclass(frozen=True)
class Plan:
    """All that there is to do.

    Attributes:
        jobs: in the order of the sources, the files of a folder sorted by name.
        skipped: those whose targets are there already, not older than their sources.
        failures: folders that cannot be read, and why.
        warnings: about sources that nothing is in, and links that are left out.
        left_out: files that are not taken for pictures, by their names; none when decoding.
    """

    jobs: tuple[Job, ...]
    skipped: tuple[Job, ...]
    failures: tuple[tuple[Path, str], ...]
    warnings: tuple[str, ...]
    left_out: tuple[Path, ...]


@dataclass(frozen=True)
class _Found:
    """A file to code, and where it lies under its source: that is where its target lies under the target folder."""

    path: Path
    place: Path


def make_plan(
    sources: Sequence[str],
    folder: Path,
    suffixes: Collection[str],
    new_suffix: str,
    force: bool = False,
    keep_suffix: bool = False,
) -> Plan:
    """What to make in `folder`.

    A source is a file, a folder, or a pattern with ``*``, ``?``, ``[...]`` and ``**`` for any number of folders. The
    tree of a folder is mirrored in `folder`, that of a pattern from its last folder before the first such sign. Names
    that start with a dot are left out, and so is `folder` itself where it lies inside a source. Links are followed,
    unless they lead back to a folder that they are in.

    Args:
        sources: as the user gave them.
        folder: of the targets. It need not be there.
        suffixes: of the files to take from folders and patterns. A file that is named itself is taken in any case.
        new_suffix: of the targets. That of `.dca` files stands for encoding.
        force: also what is there already, and not older than its source.
        keep_suffix: the new suffix comes after that of the source, not in its place.

    Raises:
        BatchError: a source is not there, nothing was found, or a target would be one of the sources, come from two of
            them, be a folder, or be a picture beside the file that it was coded to.
        OSError: `folder` cannot be one.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    failures: list[tuple[Path, str]] = []
    warnings: list[str] = []
    left_out: list[Path] = []
    walk = _Walk(folder, suffixes, new_suffix == DCA_SUFFIX, failures, warnings, left_out)
    found: dict[Path, _Found] = {}  # by path: what two patterns find is one
    for source in sources:
        before = len(found)
        for each in walk.source(source):
            found.setdefault(each.path, each)
        if len(found) == before and not failures:
            warnings.append(f"{source}: nothing to do in it")
    if not found and not failures:
        raise BatchError(f"nothing to do: no file in {', '.join(sources)} ends in {_listed(suffixes)}")

    jobs, skipped = [], []
    for job, source_time in _targets(found.values(), folder, new_suffix, keep_suffix, failures):
        if not force and job.before is not None and job.before.modified >= source_time:
            skipped.append(job)
        else:
            jobs.append(job)
    others = tuple(path for path in dict.fromkeys(left_out) if path not in found)
    return Plan(tuple(jobs), tuple(skipped), tuple(failures), tuple(warnings), others)


def of_other_quality(files: Iterable[Path], quality: int) -> int:
    """How many of the `.dca` files tell of another quality. What is none, or cannot be read, does not count."""
    return sum(header.quality != quality for header, _ in _glances(files))


def larger_than(files: Iterable[Path], limit: Callable[[Header], int]) -> int:
    """How many of the `.dca` files have more bytes than `limit` gives for them. What is none does not count."""
    return sum(size > limit(header) for header, size in _glances(files))


def _glances(files: Iterable[Path]) -> Iterator[tuple[Header, int]]:
    """The headers of those that are `.dca` files and can be read, and how many bytes they have."""
    for path in files:
        try:
            with path.open("rb") as file:
                header, size = glance(file.read(GLANCE)), os.fstat(file.fileno()).st_size
        except (OSError, FormatError):
            continue
        yield header, size


def remove_leftovers(jobs: Sequence[Job], now: float | None = None) -> int:
    """Remove what killed runs left in the folders of the targets: temporary files that nobody writes any more.

    Args:
        jobs: whose targets' folders are looked at.
        now: seconds since 1970; None for the clock.

    Returns:
        How many were removed.
    """
    removed = 0
    for folder in {job.target.parent for job in jobs}:
        try:
            with os.scandir(folder) as entries:
                old = [entry.path for entry in entries if _is_leftover(entry, now or time.time())]
        except OSError:  # not there yet, or not to be read: what is to be written there will tell
            continue
        for path in old:
            try:
                os.unlink(path)
            except OSError:  # somebody else's: it harms nobody
                continue
            removed += 1
    return removed


def _is_leftover(entry: "os.DirEntry[str]", now: float) -> bool:
    if not _LEFTOVER.fullmatch(entry.name) or not entry.is_file(follow_symlinks=False):
        return False
    return now - entry.stat(follow_symlinks=False).st_mtime > LEFTOVER_SECONDS


def _listed(suffixes: Collection[str]) -> str:
    *most, last = sorted(suffixes)
    return f"{', '.join(most)} or {last}" if most else last


@dataclass(frozen=True)
class _Walk:
    """Finds the files of sources; what goes wrong on the way is written down, not raised."""

    folder: Path
    suffixes: Collection[str]
    encoding: bool
    failures: list[tuple[Path, str]]
    warnings: list[str]
    left_out: list[Path]

    def source(self, source: str) -> Iterator[_Found]:
        """The files of one source, sorted.

        Raises:
            BatchError: it is not there, or nothing a picture could be in.
        """
        path = Path(source)
        if path.is_dir():
            yield from self._tree(path, Path(), ())
        elif path.is_file():
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
            # pathlib's, as `**` there does not follow links, which could lead round in circles.
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
            folder: to look into.
            place: of the folder under the source.
            above: device and inode of the folders on the way here.
        """
        try:
            here = _identity(folder)
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
        except OSError as error:
            self.failures.append((folder, reason(error, folder)))
            return
        if here in above:
            self.warnings.append(f"{folder}: left out, as it is a link to a folder that it lies in")
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
        """Whether to take a file that nobody named. One that is left out by its suffix is written down in encoding."""
        suffix = path.suffix.lower()
        known = suffix in self.suffixes
        if path.name.startswith(".") or (not known and (suffix == DCA_SUFFIX or not self.encoding)):
            return False
        try:
            regular = stat.S_ISREG(path.stat().st_mode)  # pipes and devices would keep a worker waiting for ever
        except OSError:
            return known  # a link that leads nowhere, say: it shall be told
        if regular and not known:
            self.left_out.append(path)
        return regular and known


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _targets(
    found: Collection[_Found], folder: Path, new_suffix: str, keep_suffix: bool, failures: list[tuple[Path, str]]
) -> Iterator[tuple[Job, int]]:
    """The jobs, each with the time of its source, after all of them were looked at.

    Raises:
        BatchError: as `make_plan`.
    """
    real = {os.path.realpath(each.path) for each in found}
    sources: dict[Path, Path] = {}
    clashes = []
    jobs = []
    for each in found:
        target = folder / each.place.with_suffix(each.place.suffix + new_suffix if keep_suffix else new_suffix)
        if os.path.realpath(target) in real:
            raise BatchError(f"{each.path} would become {target}, which is one of the sources")
        if new_suffix != DCA_SUFFIX and os.path.realpath(target.parent) == os.path.realpath(each.path.parent):
            raise BatchError(f"{target} could be the original of {each.path}: decode to another folder")
        if target in sources:
            clashes.append(f"{sources[target]} and {each.path} would both become {target}")
            continue
        if os.path.isdir(target):
            raise BatchError(f"{each.path} would become {target}, which is a folder")
        sources[target] = each.path
        try:
            jobs.append((Job(each.path, target, Stamp.of(target)), each.path.stat().st_mtime_ns))
        except OSError as error:
            failures.append((each.path, reason(error, each.path)))
    if clashes:
        more = f" (and {len(clashes) - 1} more)" if len(clashes) > 1 else ""
        # Two files of one name, from two sources, would clash still.
        helps = new_suffix == DCA_SUFFIX and len({each.place for each in found}) == len(found)
        raise BatchError(clashes[0] + more + ("; --keep-suffix keeps them apart" if helps else ""))
    for target, source in sources.items():
        for parent in target.parents:
            if parent in sources:
                raise BatchError(f"{sources[parent]} would become {parent}, which {source} needs as a folder")
    yield from jobs
