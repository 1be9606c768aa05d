"""Writing files so that nothing ever finds half of one."""

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

_OPEN_FILES: Final = Path("/proc/self/fd")
_DESCRIPTOR_FOLDERS: Final = (Path("/dev"), Path("/dev/fd"), _OPEN_FILES)


def write_atomically(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that the path holds either what it held before or all of the new content, never a part.

    The content goes to a file in the same folder, to the disk, and then to its name, with the permissions of the file
    that was there. Any exception (Ctrl-C too) leaves all as it was.

    On Linux, that file has no name until it is whole, so a process that is killed leaves nothing behind. (But for the
    moment in which a whole one takes the place of another.) Where this cannot be had, it is called
    ``.dcacodec-*.tmp``, and killing leaves it there.

    Symbolic links are followed. What is not a regular file (a terminal, a pipe, /dev/null) is written to directly.

    Args:
        path: of the file to write.
        write: gets the file, open for writing, and writes the content.

    Raises:
        OSError: the file cannot be written; whatever `write` raises is passed on.
    """
    path = Path(path)
    try:
        old_mode = path.stat().st_mode
    except FileNotFoundError:
        old_mode = None
    # Replacing what /dev/stdout stands for would take the file away under the one who redirected to it.
    if (old_mode is not None and not stat.S_ISREG(old_mode)) or path.parent in _DESCRIPTOR_FOLDERS:
        with open(path, "wb") as file:
            write(file)
        return
    if old_mode is not None and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    final = Path(os.path.realpath(path))
    temporary = final.with_name(f".dcacodec-{secrets.token_hex(8)}.tmp")
    try:
        # The name is known before the file is there, so that no interrupt falls between its creation and this block.
        nameless = _create_nameless(final.parent)
        with nameless or _create(temporary, path) as file:
            if old_mode is not None:
                os.chmod(file.fileno() if os.chmod in os.supports_fd else temporary, stat.S_IMODE(old_mode))
            write(file)
            file.flush()
            os.fsync(file.fileno())
            with _told_as(path):
                if nameless and _named(file, final):
                    return
                if nameless:
                    _named(file, temporary)
        with _told_as(path):
            os.replace(temporary, final)
    except BaseException:
        with suppress(OSError):  # not there, or in a folder that nothing can be removed from: the first error says more
            temporary.unlink()
        raise


def _create(temporary: Path, path: Path) -> BinaryIO:
    with _told_as(path):
        return open(temporary, "xb")


@contextmanager
def _told_as(path: Path) -> Iterator[None]:
    """Errors name the path that the user knows."""
    try:
        yield
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from None


def _create_nameless(folder: Path) -> BinaryIO | None:
    """A new file on the file system of a folder; None where the system or the folder does not have it."""
    kind = getattr(os, "O_TMPFILE", None)
    if kind is None or not _OPEN_FILES.is_dir():
        return None
    try:
        return open(folder, "wb", opener=lambda name, _: os.open(name, kind | os.O_WRONLY | os.O_CLOEXEC, 0o666))
    except OSError:  # if it is not about O_TMPFILE, creating one with a name fails as well, and the user is told
        return None


def _named(file: BinaryIO, path: Path) -> bool:
    """Give a file without a name one; False where that is taken."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        # With a folder that is open, Python follows the link in /proc to the file; without, it would link the link.
        os.link(_OPEN_FILES / str(file.fileno()), path.name, dst_dir_fd=folder)
    except FileExistsError:
        return False
    finally:
        os.close(folder)
    return True
