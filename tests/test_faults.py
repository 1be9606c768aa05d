"""What goes wrong around us: killed, interrupted, out of memory, disk full, many at once. Files stay whole."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from tiny import photo, symbols_of

from dcacodec.cli.app import cli
from dcacodec.cli.batch import NO_SPACE
from dcacodec.codec.codec import Codec
from dcacodec.codec.operating_point import OperatingPoint
from dcacodec.coding import VALUE_LIMIT
from dcacodec.images.picture import Picture
from dcacodec.images.writing import write_picture

ROOT = Path(__file__).resolve().parent.parent
WORKER = Path(__file__).with_name("fault_worker.py")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs fork, /proc and limits of Linux")
root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount")

pytestmark = linux


@pytest.fixture(autouse=True)
def _pillow_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """`encode` lifts Pillow's limit for its process; here that is the process of the tests."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)


def environment() -> dict[str, str]:
    paths = [os.environ.get("PYTHONPATH"), str(ROOT), str(WORKER.parent)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}


def worker(*arguments: object) -> Any:
    """What a worker prints."""
    command = [sys.executable, str(WORKER), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(each) for each in arguments], prog_name="dcacodec")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A picture in a folder of its own."""
    path = tmp_path / "source" / "in.png"
    path.parent.mkdir()
    with open(path, "wb") as file:
        write_picture(Picture(photo(90, 70)), file, "png")
    return path


@pytest.fixture
def coded(
    source: Path,
) -> Path:
    """The same as a `.dca` file."""
    path = source.with_name("in.dca")
    assert call("encode", "--device", "cpu", source, path).exit_code == 0
    return path


def both_ways(source: Path, coded: Path, folder: Path) -> list[tuple[str, Path, Path]]:
    return [("encode", source, folder / "out.dca"), ("decode", coded, folder / "out.png")]


# ------------------------------------------------------------------------------------------- killed, crowded, starved


@pytest.mark.slow
def test_kill_9_at_any_moment(tmp_path: Path) -> None:
    """The names hold nothing, what they held, or a whole new file. Nothing else is left."""
    found = worker("kill", tmp_path, 16)
    assert sum(found["states"].values()) == 32
    assert set(found["states"]) <= {"absent", "old", "whole"}
    assert found["states"]["whole"] > 0
    # Between taking a temporary name and that of the old file, a whole file has one: microseconds that may be hit.
    assert len(found["left"]) <= 1
    assert set(found["left"].values()) <= {"whole"}


@pytest.mark.slow
def test_two_encoders_of_one_path(tmp_path: Path) -> None:
    found = worker("crowd", tmp_path, 15)
    assert set(found["seen"]) == {"0", "1"}  # and never "damaged"
    assert found["left"] == ["out.dca"]


@pytest.mark.slow
def test_out_of_memory(tmp_path: Path, tiny_models: Path) -> None:
    """With too little memory one line and the old file; with enough the new one. Never anything else.

    Libraries for products of matrices may end the process themselves (SIGSEGV) where they get no memory for a buffer
    of theirs. That leaves no time for a line, but the old file stays.
    """
    runs = worker("starve", tmp_path, tiny_models, 0, 24, 300)
    for run in runs:
        assert run["left"] == ["in.dca", "in.png"]
        if run["exit"] in (-signal.SIGSEGV, -signal.SIGABRT):
            assert run["old"]
        elif run["exit"]:
            assert (run["exit"], run["stderr"], run["old"]) == (1, "dcacodec: error: not enough memory\n", True)
        else:
            assert (run["stderr"], run["old"]) == ("", False)
    by_limit = {(run["command"], run["limit"]): run["exit"] for run in runs}
    assert all(exit for (_, limit), exit in by_limit.items() if limit == 0)
    assert {exit for (_, limit), exit in by_limit.items() if limit == 300} == {0}


@pytest.mark.parametrize("words", ["[enforce fail] can't allocate memory: you tried", "could not create a primitive"])
def test_what_pytorch_and_onednn_call_out_of_memory(
    words: str, source: Path, coded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()

    def fail(*arguments: object) -> None:
        raise RuntimeError(words)

    monkeypatch.setattr(OperatingPoint, "latent_of", fail)
    monkeypatch.setattr(OperatingPoint, "pixels_of", fail)
    for name, given, target in both_ways(source, coded, out):
        result = call(name, "--device", "cpu", given, target)
        assert (result.exit_code, result.stdout, result.stderr) == (1, "", "dcacodec: error: not enough memory\n")
    assert list(out.iterdir()) == []


@pytest.mark.slow
def test_many_encodes_do_not_leak() -> None:
    """`fault_worker.py leak 1000` is the long form."""
    found = worker("leak", 60)
    assert found["resident"] < 8 << 20
    assert abs(found["objects"]) < 100
    assert (found["files"], found["threads"]) == (0, 0)


@pytest.mark.slow
def test_many_threads_share_a_codec(codec: Codec) -> None:
    """Eight of them, pictures of one slice and of several, whole and in part."""
    pictures = [Picture(photo(40 + 30 * seed, 90, seed)) for seed in range(6)] + [Picture(photo(270, 260))]
    sizes = [None] * 6 + [8]
    files = [codec.encode(picture, quality=60, slice_log2=size) for picture, size in zip(pictures, sizes, strict=True)]
    whole = [codec.decode(data).pixels for data in files]
    start = threading.Barrier(8)

    def work(number: int) -> list[bool]:
        start.wait(timeout=60)
        good = []
        for turn in range(len(files)):
            index = (turn + number) % len(files)
            if number % 2:
                good.append(codec.encode(pictures[index], quality=60, slice_log2=sizes[index]) == files[index])
            else:
                part = codec.decode(files[index], region=(10, 5, 60, 30)).pixels
                good.append(np.array_equal(part, whole[index][5:35, 10:70]))
        return good

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(work, range(8)))
    assert results == [[True] * len(files)] * 8


# -------------------------------------------------------------------------------------------------------- interrupted


@pytest.mark.parametrize("place", ["dcacodec.codec.operating_point.OperatingPoint.run_steps", "os.fsync"])
def test_ctrl_c_in_the_middle(
    place: str, source: Path, coded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the network runs, and when all but the last step of writing is done."""
    out = tmp_path / "out"
    out.mkdir()

    def interrupt(*arguments: object, **options: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(place, interrupt)
    for name, given, target in both_ways(source, coded, out):
        for old in (None, b"old"):
            if old is not None:
                target.write_bytes(old)
            result = call(name, "--device", "cpu", given, target)
            assert (result.exit_code, result.stdout, result.stderr) == (130, "", "dcacodec: error: interrupted\n")
            assert [path.read_bytes() for path in out.iterdir()] == ([] if old is None else [old])
        target.unlink()


@pytest.mark.slow
def test_a_closed_pipe_ends_the_command_quietly(source: Path, coded: Path, tiny_models: Path) -> None:
    for name, given in (("encode", source), ("decode", coded)):
        reading, writing = os.pipe()
        os.close(reading)
        command = [sys.executable, str(WORKER), "cli", str(tiny_models), name, "--device", "cpu", str(given), "-"]
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environment(), check=False)
        os.close(writing)
        assert (done.returncode, done.stderr) == (1, b"")


# ------------------------------------------------------------------------------------------------- disks, full or not


@contextmanager
def longest_file(size: int) -> Iterator[None]:
    """No file can be made longer than so many bytes. (Python ignores the signal that goes with it.)"""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 100])
def test_a_file_that_cannot_grow(size: int, source: Path, coded: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name, given, target in both_ways(source, coded, out):
        target.write_bytes(b"old")
        with longest_file(size):
            result = call(name, "--device", "cpu", given, target)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == f"dcacodec: error: {target}: File too large\n"
        assert target.read_bytes() == b"old"
    assert len(list(out.iterdir())) == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """A folder `disk` on a file system of 16 KiB; gives what mounts it anew, with other options."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> None:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip("this system mounts nothing")

    mount("size=16k")
    try:
        yield mount
    finally:
        subprocess.run(["umount", folder], check=True)


@root
def test_a_full_disk(source: Path, coded: Path, tmp_path: Path, small_disk: Callable[[str], None]) -> None:
    folder = tmp_path / "disk"
    (folder / "filler").write_bytes(bytes(8192))
    for _, _, target in both_ways(source, coded, folder):
        target.write_bytes(b"old")  # the last page but one, and the last
    for name, given, target in both_ways(source, coded, folder):
        result = call(name, "--device", "cpu", given, target)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == f"dcacodec: error: {target}: No space left on device\n"
        assert target.read_bytes() == b"old"
    assert len(list(folder.iterdir())) == 3


@pytest.mark.slow
@root
def test_a_batch_stops_at_a_full_disk_and_resumes(
    source: Path, tmp_path: Path, small_disk: Callable[[str], None]
) -> None:
    folder = tmp_path / "disk"
    for name in ("b", "c", "d"):
        shutil.copy(source, source.with_name(f"{name}.png"))
    source.rename(source.with_name("a.png"))
    (folder / "filler").write_bytes(bytes(12288))  # one page is left, and each file takes one
    command = ("batch", "--jobs", "1", "--device", "cpu", source.parent, folder)
    result = call(*command)
    *errors, summary, stop = result.stderr.splitlines()
    why = "No space left on device"
    assert errors == [f"dcacodec: error: {source.parent}/{name}.png: {folder}/{name}.dca: {why}" for name in "bc"]
    assert summary.startswith("1 of 4 files coded, 2 failed, 1 not yet coded; ")
    assert stop == f"dcacodec: error: {NO_SPACE}"
    assert (result.exit_code, result.stdout) == (1, "")
    assert sorted(path.name for path in folder.iterdir()) == ["a.dca", "filler"]
    (folder / "filler").unlink()
    result = call(*command)
    assert result.exit_code == 0
    assert result.stderr.startswith("3 of 4 files coded, 1 skipped (up to date); ")
    assert len({path.read_bytes() for path in folder.iterdir()}) == 1


@root
def test_a_disk_that_is_read_only(source: Path, coded: Path, tmp_path: Path, small_disk: Callable[[str], None]) -> None:
    folder = tmp_path / "disk"
    (folder / "out.dca").write_bytes(b"old")
    small_disk("remount,ro")
    for name, given, target in both_ways(source, coded, folder):  # a file that is there, and one that is not
        result = call(name, "--device", "cpu", given, target)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == f"dcacodec: error: {target}: Read-only file system\n"
    assert [(path.name, path.read_bytes()) for path in folder.iterdir()] == [("out.dca", b"old")]


def test_values_keep_within_what_a_stream_holds(codec: Codec) -> None:
    """However loud the picture: checkerboards of the extreme colours, at the best quality."""
    board = np.indices((64, 64)).sum(0) % 2 * np.uint8(255)
    symbols = symbols_of(codec, np.repeat(board[..., None].astype(np.uint8), 3, -1), 100)
    for values in (*symbols.hyper.values(), *symbols.steps):
        assert np.abs(values).max(initial=0) <= VALUE_LIMIT
