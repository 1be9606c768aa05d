"""Atomic writing of files."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from dcacodec.files.temporary import PREFIX, temporary_beside

Write = Callable[[BinaryIO], object]
"""Writes the content to an open file. It may be called again, with another file."""

_OPEN_FILES: Final = "/proc/self/fd"
_DESCRIPTOR_FOLDERS: Final = (Path("/dev"), Path("/dev/fd"), Path(_OPEN_FILES))


def write_atomically(path: str | Path, write: Write) -> None:
    """Write a file atomically: the path holds either its old content or all of the new content, never a part.

    The content is written to a temporary file in the same folder, flushed to the disk, and then moved to the path, with
    the permissions of the old file. After any exception (Ctrl-C too) the old file is unchanged.

    On Linux the temporary file has no name until it is complete, so a killed process leaves nothing behind, except
    within the microseconds in which a complete file has a temporary name before it replaces another. Where the file
    system does not support files without a name, it has one from the start. Such names are ``.dcacodec-*.tmp``.

    Symbolic links are followed; a path that ends in a slash is a folder, and refused. What is not a regular file (a
    terminal, a pipe, /dev/null) is written to directly.

    Args:
        path: of the file to write.
        write: writes the content.

    Raises:
        OSError: the file cannot be written; whatever `write` raises is passed on.
    """
    _check_name(path)
    path = Path(path)
    with _errors_about(path):
        old_mode = _mode(path)
        # /dev/stdout may be a regular file that somebody redirects to; replacing it would not write to that file.
        if (old_mode is not None and not stat.S_ISREG(old_mode)) or path.parent in _DESCRIPTOR_FOLDERS:
            with open(path, "wb") as file:
                write(file)
            return
        final = Path(os.path.realpath(path))
        temporary = temporary_beside(final)
        try:
            # The name is chosen before the file is created, so that no interrupt falls in between.
            if not _write_nameless(final, temporary, old_mode, write):
                with open(temporary, "xb") as file:
                    _fill(file, temporary, old_mode, write)
                os.replace(temporary, final)
        except BaseException:
            with suppress(OSError):  # missing, or the folder is read-only: the first error says more
                temporary.unlink()
            raise


def check_writable(path: str | Path) -> None:
    """Check that `write_atomically` can write a file, as far as this is known before; nothing is written.

    Raises:
        OSError: the path is a folder, or its folder does not exist; the file or folder is not writable.
    """
    _check_name(path)
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))
    replaced = path.is_file() and path.parent not in _DESCRIPTOR_FOLDERS
    folder = Path(os.path.realpath(path)).parent
    for needed in ([path] if path.exists() else []) + ([folder] if replaced or not path.exists() else []):
        if not os.access(needed, os.W_OK):
            code = errno.EROFS if _is_read_only(needed) else errno.EACCES
            raise OSError(code, os.strerror(code), str(path))


def _check_name(path: str | Path) -> None:
    """Refuse a path that ends in a slash, which `Path` would drop."""
    if str(path).endswith(("/", os.sep)):
        os.stat(path)  # fails with a better reason where there is no such folder
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))


def is_same_file(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Whether both paths exist and lead to the same file."""
    return os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other)


def no_space_left(error: Exception) -> bool:
    """Whether an error means that the disk is full or a quota is exceeded."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def append_line(path: Path, line: str) -> None:
    """Append a line to a text file, on a new line even if the last line is incomplete because its writer was killed.

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
def _errors_about(path: Path) -> Iterator[None]:
    """Make errors about temporary files name the path that the user knows."""
    try:
        yield
    except OSError as error:
        named = Path(os.fsdecode(error.filename)) if isinstance(error.filename, (str, bytes, os.PathLike)) else None
        ours = named is None or named.name.startswith(PREFIX) or str(named.parent) == _OPEN_FILES
        if error.errno is None or not ours:
            raise
        raise type(error)(error.errno, error.strerror, str(path)) from error


def _mode(path: Path) -> int | None:
    """Type and permissions of a file; None if it does not exist.

    Raises:
        OSError: it is not writable.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            os.close(os.open(path, os.O_WRONLY))
    except FileNotFoundError:
        return None
    return mode


def _fill(file: BinaryIO, name: Path, old_mode: int | None, write: Write) -> None:
    """Write the content to a new file, and flush it to the disk."""
    if old_mode is not None:
        os.chmod(file.fileno() if os.chmod in os.supports_fd else name, stat.S_IMODE(old_mode))
    write(file)
    file.flush()
    os.fsync(file.fileno())


def _open_nameless(folder: Path) -> BinaryIO | None:
    """A new file without a name in the file system of a folder; None if that is not supported."""
    kind = getattr(os, "O_TMPFILE", None)
    if kind is None:
        return None
    try:
        return open(folder, "wb", opener=lambda name, _: os.open(name, kind | os.O_WRONLY | os.O_CLOEXEC, 0o666))
    except OSError:  # any other cause than O_TMPFILE makes the creation of a named file fail too, and is reported then
        return None


def _write_nameless(final: Path, temporary: Path, old_mode: int | None, write: Write) -> bool:
    """Write a file that gets its name last; False if the system does not support or allow that."""
    nameless = _open_nameless(final.parent)
    if nameless is None:
        return False
    with nameless as file:
        _fill(file, final, old_mode, write)
        folder = os.open(final.parent, os.O_PATH | os.O_DIRECTORY)
        # With dir_fd, every version of Python follows the link in /proc to the file.
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


def _is_read_only(path: Path) -> bool:
    """Whether a file or folder is on a file system that is mounted read-only."""
    return hasattr(os, "statvfs") and bool(os.statvfs(path).f_flag & os.ST_RDONLY)
