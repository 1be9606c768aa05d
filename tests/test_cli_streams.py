"""Standard streams: pipes, terminals, closed ones and full disks, and signals."""

import array
import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from commands import FILE, assert_fails, call, command, photo, png
from PIL import Image

pytestmark = pytest.mark.usefixtures("pillow_limit")


def test_a_pipe_that_nobody_reads_is_no_news() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command("info", "-"), input=FILE, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


def in_shell(redirection: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """The command with something about its standard streams changed by a shell."""
    return subprocess.run(
        ["sh", "-c", f'"$@" {redirection}', "sh", *command(*arguments)], capture_output=True, check=False
    )


def test_closed_standard_streams_are_reported() -> None:
    done = in_shell("<&-", "info", "-")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"dcacodec: error: standard input is closed\n")
    done = in_shell(">&-", "encode", "in.png", "-")
    assert (done.returncode, done.stderr) == (1, b"dcacodec: error: standard output is closed\n")


@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="standard output has no name here")
def test_the_names_of_standard_output_are_standard_output(coded: Path) -> None:
    """Its descriptor leads to standard error, where libraries print."""
    expected = in_shell("", "decode", "--format", "ppm", coded, "-").stdout
    for name in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
        done = in_shell("", "decode", "--format", "ppm", "--quiet", coded, name)
        assert (done.returncode, done.stdout, done.stderr) == (0, expected, b""), name
    done = in_shell("", "info", "--preview", "/dev/stdout", coded)
    assert (done.returncode, done.stdout[1:4], done.stderr) == (0, b"PNG", b"")


@pytest.mark.parametrize("arguments", [("info", "FILE"), ("info", "--json", "FILE"), ("completion", "bash")], ids=str)
def test_a_result_that_cannot_be_printed_is_reported(arguments: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "photo.dca").write_bytes(FILE)
    words = [str(tmp_path / "photo.dca") if word == "FILE" else word for word in arguments]
    done = in_shell(">&-", *words)
    assert (done.returncode, done.stderr) == (1, b"dcacodec: error: standard output: closed\n")
    if os.path.exists("/dev/full"):
        done = in_shell(">/dev/full", *words)
        assert done.returncode == 1
        assert done.stderr == b"dcacodec: error: standard output: No space left on device\n"


def test_what_the_encoding_of_standard_output_lacks_is_escaped() -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    words = [sys.executable, "-c", "from dcacodec.cli.console import print_result; print_result('m\\xfc \\u20ac')"]
    done = subprocess.run(words, capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"m\\xfc \\u20ac\n", b"")


@pytest.mark.parametrize("unbuffered", ["", pytest.param("1", marks=pytest.mark.slow)])
def test_what_is_written_in_part_is_reported(unbuffered: str, coded: Path, tmp_path: Path) -> None:
    """The disk is full halfway. Unbuffered, the system says how much it took, and that is no error of its own."""
    limited = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); "
        "from dcacodec.cli.app import main; main()"
    )
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    for words in (["decode", "--format", "ppm", str(coded), "-"], ["completion", "bash"]):
        with open(tmp_path / "out", "wb") as out:
            done = subprocess.run(
                [sys.executable, "-c", limited, *words],
                stdout=out,
                stderr=subprocess.PIPE,
                env=environment,
                check=False,
            )
        assert (done.returncode, done.stderr) == (1, b"dcacodec: error: standard output: File too large\n"), words
        assert (tmp_path / "out").stat().st_size <= 100


@pytest.mark.slow
def test_nothing_but_results_reaches_standard_output_where_standard_error_is_closed(tmp_path: Path) -> None:
    Image.fromarray(photo()).save(tmp_path / "in.png")
    open_, closed = (
        in_shell(redirection, *words).stdout
        for redirection in ("2>/dev/null", "2>&-")
        for words in [("encode", "--verbose", "--device", "cpu", str(tmp_path / "in.png"), "-")]
    )
    assert open_ == closed and closed.startswith(b"\x89DCA")
    # GNU's OpenMP prints its settings, and oneDNN what it does, to the descriptors 2 and 1.
    others = {"OMP_DISPLAY_ENV": "TRUE", "ONEDNN_VERBOSE": "1"}
    for redirection, target in (("<&- 2>&-", "-"), (">&- 2>&-", str(tmp_path / "out.dca"))):
        words = [f"{name}={value}" for name, value in others.items()]
        words += command("encode", "--device", "cpu", tmp_path / "in.png", target)
        done = subprocess.run(["sh", "-c", f'env "$@" {redirection}', "sh", *words], capture_output=True, check=False)
        found = done.stdout if target == "-" else Path(target).read_bytes()
        assert done.returncode == 0 and found == open_
    done = in_shell("2>&-", "batch", "--json", "-j", "1", str(tmp_path / "in.png"), str(tmp_path / "out"))
    assert (done.returncode, json.loads(done.stdout)["done"]) == (0, 1)


needs_dev_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")


@needs_dev_full
def test_help_to_a_full_disk() -> None:
    done = in_shell(">/dev/full", "--help")
    assert (done.returncode, done.stderr) == (1, b"dcacodec: error: No space left on device\n")


@needs_dev_full
def test_a_full_disk_is_reported_with_the_name_of_the_file() -> None:
    result = call("encode", "--device", "cpu", "-", "/dev/full", stdin=png(photo()))
    assert_fails(result, 1, "/dev/full: No space left on device")


@needs_dev_full
def test_that_nothing_can_be_said_does_not_spoil_the_work(tmp_path: Path) -> None:
    source, coded = tmp_path / "in.png", tmp_path / "out.dca"
    source.write_bytes(png(photo()[..., :1].repeat(2, -1)))  # gray with alpha
    done = in_shell("2>/dev/full", "encode", "--device", "cpu", source, coded)
    assert done.returncode == 0
    assert call("info", coded).exit_code == 0


def test_what_is_no_dca_file_is_not_read_to_its_end() -> None:
    with subprocess.Popen(
        command("info", "-"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stderr is not None
        process.stdin.write(b"MThd")
        process.stdin.flush()  # and not closed: more could come
        assert process.stderr.read().startswith(b"dcacodec: error: standard input: not a .dca file")
        assert process.wait(30) == 1


def test_binary_output_to_a_terminal_is_refused() -> None:
    keyboard, terminal = os.openpty()
    done = subprocess.run(
        command("encode", "-", "-"), input=png(photo()), stdout=terminal, stderr=subprocess.PIPE, check=False
    )
    os.close(terminal)
    os.close(keyboard)
    assert done.returncode == 2
    assert done.stderr.endswith(b"Error: OUT is '-', but standard output is a terminal.\n")


def wait_until_it_reads(process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    """Until all that stands in its pipe is taken, and it sleeps: so it waits for more."""
    end = time.monotonic() + seconds
    state, left = "", array.array("i", [1])
    while (state, left[0]) != ("S", 0):
        assert process.poll() is None and process.stdin is not None and time.monotonic() < end
        time.sleep(0.01)
        fcntl.ioctl(process.stdin, termios.FIONREAD, left)
        state = Path(f"/proc/{process.pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="this system does not tell what a process does")
@pytest.mark.parametrize(
    ("number", "code", "message"),
    [(signal.SIGINT, 130, b"dcacodec: error: interrupted\n"), (signal.SIGTERM, 143, b""), (signal.SIGHUP, 129, b"")],
)
def test_a_signal_ends_it_quietly(number: signal.Signals, code: int, message: bytes, tmp_path: Path) -> None:
    target = tmp_path / "out.dca"
    target.write_bytes(b"old")
    with subprocess.Popen(command("encode", "-", target), stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stderr is not None
        process.stdin.write(bytes(1 << 20))
        process.stdin.flush()
        wait_until_it_reads(process)
        process.send_signal(number)
        assert process.wait(30) == code
        assert process.stderr.read() == message
    assert [(each, each.read_bytes()) for each in tmp_path.iterdir()] == [(target, b"old")]


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="this system does not tell what a process does")
def test_a_signal_that_is_ignored_ends_nothing(tmp_path: Path) -> None:
    """As with nohup."""
    target, source = tmp_path / "out.dca", png(photo())
    words = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *command("encode", "--device", "cpu", "-", target)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(source[:-1])
        process.stdin.flush()
        wait_until_it_reads(process)
        process.send_signal(signal.SIGHUP)
        process.communicate(source[-1:], 60)
        assert process.returncode == 0
    assert call("info", target).exit_code == 0
