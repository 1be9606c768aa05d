"""`write_atomically`: a name holds what it held, or all of the new content, and nothing else is left."""

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from dcacodec.files.atomic import no_space_left, write_atomically

NAMELESS = sys.platform.startswith("linux")
WITHOUT = "import os; vars(os).pop('O_TMPFILE', None)\n"


@pytest.fixture(params=["nameless", "named"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of writing, wherever a test runs."""
    name = str(request.param)
    if name == "named":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    elif not NAMELESS:
        pytest.skip("files without a name are had on Linux alone")
    return name


def put(data: bytes) -> Callable[[BinaryIO], object]:
    return lambda file: file.write(data)


@pytest.fixture
def umask() -> Iterator[None]:
    old = os.umask(0o027)
    yield
    os.umask(old)


def test_a_new_file_gets_the_usual_permissions(tmp_path: Path, umask: None) -> None:
    path = tmp_path / "new"
    write_atomically(path, put(b"content"))
    assert path.read_bytes() == b"content"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_was_there_keeps_its_permissions(tmp_path: Path, umask: None) -> None:
    path = tmp_path / "old"
    path.write_bytes(b"old")
    path.chmod(0o604)
    write_atomically(str(path), put(b"new"))
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


def test_the_longest_of_names(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    write_atomically(path, put(b"content"))
    assert path.read_bytes() == b"content"


def test_a_file_has_no_name_until_it_is_whole(tmp_path: Path, way: str) -> None:
    seen: list[int] = []

    def write(file: BinaryIO) -> None:
        file.write(b"content")
        file.flush()
        seen.append(len(list(tmp_path.iterdir())))

    write_atomically(tmp_path / "new", write)
    write_atomically(tmp_path / "new", write)
    assert seen == ([0, 1] if way == "nameless" else [1, 2])
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_who_comes_last_wins(tmp_path: Path) -> None:
    """Another program creates the file while we write."""
    path = tmp_path / "new"

    def write(file: BinaryIO) -> None:
        path.write_bytes(b"theirs")
        file.write(b"ours")

    write_atomically(path, write)
    assert [(each, each.read_bytes()) for each in tmp_path.iterdir()] == [(path, b"ours")]


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EISDIR])
def test_a_file_system_without_files_without_names(
    tmp_path: Path, way: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, kind = os.open, getattr(os, "O_TMPFILE", 0)
    asked: list[int] = []

    def refuse(path: str, flags: int, *rest: int, **options: int) -> int:
        if kind and flags & kind == kind:
            asked.append(flags)
            raise OSError(number, os.strerror(number), path)
        return opened(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", refuse)
    path = tmp_path / "new"
    write_atomically(path, put(b"content"))
    assert [(each, each.read_bytes()) for each in tmp_path.iterdir()] == [(path, b"content")]
    assert len(asked) == (way == "nameless")


@pytest.mark.parametrize("error", [OSError("no space"), KeyboardInterrupt(), SystemExit(143), MemoryError()])
@pytest.mark.parametrize("old", [None, b"old"])
def test_an_exception_leaves_all_as_it_was(tmp_path: Path, error: BaseException, old: bytes | None) -> None:
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)

    def write(file: BinaryIO) -> None:
        file.write(b"a part")
        file.flush()
        raise error

    with pytest.raises(type(error)) as caught:
        write_atomically(path, write)
    assert caught.value is error
    assert [(each, each.read_bytes()) for each in tmp_path.iterdir()] == ([] if old is None else [(path, old)])


def test_the_first_error_is_reported_where_the_cleaning_up_fails_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read-only file system refuses to remove even what is not there."""

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise OSError(30, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "unlink", refuse)
    path = tmp_path / "missing" / "file"
    with pytest.raises(FileNotFoundError) as caught:
        write_atomically(path, put(b"content"))
    assert caught.value.filename == str(path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_leaves_all_as_it_was(tmp_path: Path, way: str, number: signal.Signals) -> None:
    """But for SIGKILL, where the file has a name."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    script = (WITHOUT if way == "named" else "") + (
        "import signal, sys, time; from dcacodec.files.atomic import write_atomically\n"
        "def stop(number, frame): sys.exit(9)\n"
        "signal.signal(signal.SIGTERM, stop); signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        # Many short naps: a signal that comes just before a long one would not cut it short.
        "def nap(): [time.sleep(0.1) for _ in range(600)]\n"
        "def write(file): file.write(b'part'); file.flush(); print('ready', flush=True); nap()\n"
        "write_atomically(sys.argv[1], write)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.wait(30) in (9, -signal.SIGINT, -signal.SIGKILL)
    left = [each for each in tmp_path.iterdir() if each != path]
    if way == "named" and number == signal.SIGKILL:
        assert [(each.suffix, each.read_bytes()) for each in left] == [(".tmp", b"part")]
    else:
        assert left == []
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("old", [None, b"old"])
def test_a_file_that_cannot_be_put_into_its_place(
    tmp_path: Path, way: str, old: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk has no room for the entry, say. The error names the file, not what we call it."""
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)

    def refuse(source: object, target: object, **options: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source), None, str(target))

    for each in ("link", "replace"):
        monkeypatch.setattr(os, each, refuse)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_atomically(path, put(b"new"))
    assert (caught.value.filename, caught.value.filename2) == (str(path), None)
    assert [(each, each.read_bytes()) for each in tmp_path.iterdir()] == ([] if old is None else [(path, old)])


def test_which_errors_say_that_no_space_is_left() -> None:
    for number, expected in ((errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EFBIG, False), (errno.EACCES, False)):
        assert no_space_left(OSError(number, os.strerror(number), "file")) == expected
    assert not no_space_left(OSError("No space left on device"))
    assert not no_space_left(ValueError(errno.ENOSPC))


@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.ENOENT])
def test_a_system_that_refuses_links(
    tmp_path: Path, way: str, old: bytes | None, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sandbox, say, or one without /proc. It is written once more, with a name."""
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    asked: list[str] = []

    def refuse(source: object, target: str, **options: int) -> None:
        asked.append(target)
        raise OSError(number, os.strerror(number), str(source), None, target)

    monkeypatch.setattr(os, "link", refuse)
    write_atomically(path, put(b"new"))
    assert [(each, each.read_bytes()) for each in tmp_path.iterdir()] == [(path, b"new")]
    assert asked == (["file"] if way == "nameless" else [])


def test_a_system_that_refuses_to_rename_in_an_open_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written once more, with a name. The one that was not renamed is gone."""
    replace, path = os.replace, tmp_path / "file"
    path.write_bytes(b"old")

    def refuse(source: str, target: str, **options: int) -> None:
        if options:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM), source, None, target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    write_atomically(path, put(b"new"))
    assert [(each, each.read_bytes()) for each in tmp_path.iterdir()] == [(path, b"new")]


@pytest.mark.skipif(not NAMELESS, reason="the list of open files is that of Linux")
def test_nothing_stays_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        write_atomically(tmp_path / "file", put(b"content"))
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_error_without_a_name_gets_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def write(file: BinaryIO) -> None:
        raise OSError(errno.EFBIG, "File too large")

    with pytest.raises(OSError, match="File too large") as caught:
        write_atomically(path, write)
    assert caught.value.filename == str(path)

    def read_another(file: BinaryIO) -> None:
        (tmp_path / "missing").read_bytes()

    with pytest.raises(FileNotFoundError) as missing:
        write_atomically(path, read_another)
    assert missing.value.filename == str(tmp_path / "missing") and list(tmp_path.iterdir()) == []


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    real, link = tmp_path / "folder" / "real", tmp_path / "link"
    link.symlink_to(real)
    for content in (b"first", b"second"):
        write_atomically(link, put(content))
        assert link.is_symlink()
        assert real.read_bytes() == content
    assert list((tmp_path / "folder").iterdir()) == [real]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "file"
    with pytest.raises(FileNotFoundError) as caught:
        write_atomically(path, put(b""))
    assert caught.value.filename == str(path)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path, put(b""))
    assert list(tmp_path.iterdir()) == []


def test_a_path_with_a_slash_at_its_end_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"old")
    kinds = {"folder": IsADirectoryError, "new": FileNotFoundError, "file": NotADirectoryError}
    for name, kind in kinds.items():
        with pytest.raises(kind) as error:
            write_atomically(f"{tmp_path}/{name}/", lambda file: file.write(b"new"))
        assert error.value.filename == f"{tmp_path}/{name}/"
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "file"}
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_write_protected_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o400)
    with pytest.raises(PermissionError):
        write_atomically(path, put(b"new"))
    assert path.read_bytes() == b"old"


def test_a_pipe_is_written_to_directly(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    write_atomically(path, put(b"content"))
    reader.join(30)
    assert got == [b"content"]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_devices_stay_devices() -> None:
    write_atomically("/dev/null", put(b"content"))
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_standard_output_that_is_a_file_is_not_replaced(tmp_path: Path, way: str) -> None:
    path = tmp_path / "out"
    script = (WITHOUT if way == "named" else "") + (
        "from dcacodec.files.atomic import write_atomically\n"
        "write_atomically('/dev/stdout', lambda file: file.write(b'content'))"
    )
    with open(path, "wb") as file:
        inode = path.stat().st_ino
        subprocess.run([sys.executable, "-c", script], stdout=file, check=True)
    assert path.read_bytes() == b"content"
    assert path.stat().st_ino == inode
