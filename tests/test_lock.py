"""`locked`: one process at a time, and no lock outlives its process."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dcacodec.files.lock import locked

HOLD = """
import sys, time
from pathlib import Path
from dcacodec.files.lock import locked
with locked(Path(sys.argv[1]), 60) as held:
    print(held, flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == "True\n"
            with locked(path, 0.3) as held:
                assert not held
        finally:
            holder.kill()
    for _ in range(2):  # the end of the block frees it, too
        with locked(path, 60) as held:
            assert held


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
def test_a_file_system_without_locks_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    with locked(tmp_path / "lock", 60) as held:
        assert not held
