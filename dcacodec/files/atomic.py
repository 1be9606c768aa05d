"""Writing files so that nothing ever finds half of one."""

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

Write = Callable[[BinaryIO], object]
"""Gets a file, open for writing, and writes the content. It may be called again, with another file."""

_OPEN_FILES: Final = "/proc/self/fd"
_DESCRIPTOR_FOLDERS: Final = (Path("/dev"), Path("/dev/fd"), Path(_OPEN_FILES))


def write_atomically(path: str | Path, write: Write) -> None:
    """Write a file so that the path holds either what it held before or all of the new content, never a part.

    The content goes to a file in the same folder, to the disk, and then to its name, with the permissions of the file
    that was there. Any exception (Ctrl-C too) leaves all as it was.

    On Linux, that file has no name until it is whole, so a process that is killed leaves nothing behind, but for the
    microseconds in which a whole file has a temporary name, to take the place of another. Where files without a name
    cannot be had, it has one from the start. Such names are ``.dcacodec-*.tmp``.

    Symbolic links are followed; a path that ends in a slash is one of a folder. What is not a regular file (a terminal,
    a pipe, /dev/null) is written to directly.

    Args:
        path: of the file to write.
        write: writes the content.

    Raises:
        OSError: the file cannot be written; whatever `write` raises is passed on.
    """
    if str(path).endswith(("/", os.sep)):  # which `Path` would leave out
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path = Path(path)
    with _told_as(path):
        old_mode = _mode(path)
        # Replacing what /dev/stdout stands for would take the file away under the one who redirected to it.
        if (old_mode is not None and not stat.S_ISREG(old_mode)) or path.parent in _DESCRIPTOR_FOLDERS:
            with open(path, "wb") as file:
                write(file)
            return
        final = Path(os.path.realpath(path))
        temporary = final.with_name(f".dcacodec-{secrets.token_hex(8)}.tmp")
        try:
            # The name is known before the file is there, so that no interrupt falls between its creation and this.
            if not _write_nameless(final, temporary, old_mode, write):
                with open(temporary, "xb") as file:
                    _fill(file, temporary, old_mode, write)
                os.replace(temporary, final)
        except BaseException:
            with suppress(OSError):  # not there, or nothing can be removed from the folder: the first error says more
                temporary.unlink()
            raise


def is_same_file(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Whether both are there and lead to the same file."""
    return os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other)


def no_space_left(error: Exception) -> bool:
    """Whether an error says that a disk is full, or the share of it that one may have."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def append_line(path: Path, line: str) -> None:
    """Add a line to a text file, on a line of its own even where the last one was torn when its writer was killed.

    Raises:
        OSError: it cannot be written.
    """
    with open(path, "a+b") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = "\n" + line
        file.write(line.encode() + b"\n")


@contextmanager
def _told_as(path: Path) -> Iterator[None]:
    """Errors about a file that is not named, or called as we call it, name the path that the user knows."""
    try:
        yield
    except OSError as error:
        named = Path(os.fsdecode(error.filename)) if isinstance(error.filename, (str, bytes, os.PathLike)) else None
        ours = named is None or named.name.startswith(".dcacodec-") or str(named.parent) == _OPEN_FILES
        if error.errno is None or not ours:
            raise
        raise type(error)(error.errno, error.strerror, str(path)) from error


def _mode(path: Path) -> int | None:
    """Kind and permissions of a file; None where there is none.

    Raises:
        OSError: it may not be written.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            os.close(os.open(path, os.O_WRONLY))
    except FileNotFoundError:
        return None
    return mode


def _fill(file: BinaryIO, name: Path, old_mode: int | None, write: Write) -> None:
    """Write the content to a new file, and that to the disk."""
    if old_mode is not None:
        os.chmod(file.fileno() if os.chmod in os.supports_fd else name, stat.S_IMODE(old_mode))
    write(file)
    file.flush()
    os.fsync(file.fileno())


def _open_nameless(folder: Path) -> BinaryIO | None:
    """A new file on the file system of a folder; None where that does not have it."""
    kind = getattr(os, "O_TMPFILE", None)
    if kind is None:
        return None
    try:
        return open(folder, "wb", opener=lambda name, _: os.open(name, kind | os.O_WRONLY | os.O_CLOEXEC, 0o666))
    except OSError:  # if it is not about O_TMPFILE, creating one with a name fails as well, and the user is told
        return None


def _write_nameless(final: Path, temporary: Path, old_mode: int | None, write: Write) -> bool:
    """Write a file that gets its name last; False where the system does not have that, or does not allow it."""
    nameless = _open_nameless(final.parent)
    if nameless is None:
        return False
    with nameless as file:
        _fill(file, final, old_mode, write)
        folder = os.open(final.parent, os.O_PATH | os.O_DIRECTORY)
        # With a folder's descriptor, the link in /proc is followed to the file on every version of Python.
        link = partial(os.link, f"{_OPEN_FILES}/{file.fileno()}", dst_dir_fd=folder, follow_symlinks=True)
        try:
            try:
                link(final.name)
            except FileExistsError:
                link(temporary.name)
                os.replace(temporary.name, final.name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError as error:
            if no_space_left(error):
                raise
            with suppress(OSError):
                temporary.unlink()
            return False
        finally:
            os.close(folder)
    return True
