"""What the command loads, how it ends while it loads, how its threads wait, and a missing compiler."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import FILE, command, photo
from PIL import Image

from dcacodec._version import __version__
from dcacodec.api import encode_file
from dcacodec.cli.app import let_threads_sleep
from dcacodec.format.reader import parse

pytestmark = pytest.mark.usefixtures("pillow_limit")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--help"],
        ["-h"],
        ["--version"],
        ["encode", "--help"],
        ["decode", "--help"],
        ["info", "--help"],
        ["info"],
        ["train", "photos", "--run", "run-without-a-length"],
    ],
)
def test_nothing_heavy_is_imported_for_help_info_and_a_wrong_command_line(arguments: list[str], tmp_path: Path) -> None:
    if arguments == ["info"]:
        (tmp_path / "file.dca").write_bytes(FILE)
        arguments = ["info", str(tmp_path / "file.dca")]
    script = (
        "import atexit, sys\n"
        "heavy = ('torch', 'numpy', 'PIL', 'torchac', 'safetensors', 'tqdm')\n"
        "atexit.register(lambda: print(sorted(set(heavy) & set(sys.modules)), file=sys.stderr))\n"
        "from dcacodec.cli.app import main\n"
        "sys.argv[0] = 'dcacodec'\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "[]"
    assert done.returncode == (2 if not arguments or "train" in arguments else 0)


def test_modules_are_not_garbage_collected(tmp_path: Path) -> None:
    """Neither while PyTorch is imported nor at the end of the process, and all else is."""
    (tmp_path / "file.dca").write_bytes(FILE)
    script = (
        "import atexit, gc, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *others):\n"
        "        if name == 'torch':\n"
        "            print(gc.isenabled())\n"
        "sys.meta_path.insert(0, Finder())\n"
        "atexit.register(lambda: print(gc.isenabled(), gc.get_freeze_count() > 100_000))\n"
        "from dcacodec.cli.app import main\n"
        "main()\n"
    )
    command = [sys.executable, "-c", script, "--quiet", "decode", str(tmp_path / "file.dca"), str(tmp_path / "b.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["False", "True True"]


@pytest.mark.parametrize("module", ["click", "dcacodec.format.container"])
def test_an_interrupt_while_loading_is_reported_in_a_line(module: str) -> None:
    script = (
        "import sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *others):\n"
        f"        if name == {module!r}:\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from dcacodec.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "dcacodec: error: interrupted\n")


def test_an_interrupt_is_not_reported_on_standard_output(tmp_path: Path) -> None:
    """Where standard error is closed, and `print` would take the other."""
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt", "utf-8")
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from dcacodec.__main__ import main; main()"
    words = [sys.executable, "-c", script]
    done = subprocess.run(["sh", "-c", '"$@" 2>&-', "sh", *words], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (130, b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_the_end_of_the_process_is_not_reported(number: int) -> None:
    """As where a whole group of processes is terminated twice."""
    script = (
        f"import atexit, os\natexit.register(os.kill, os.getpid(), {int(number)})\n"
        "from dcacodec.__main__ import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", script, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (128 + number, "") and __version__ in done.stdout


def test_warnings_as_errors_find_nothing_in_the_streams() -> None:
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run(command("--version"), capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "") and __version__ in done.stdout


def test_what_libraries_print_is_not_among_the_results(tmp_path: Path) -> None:
    """oneDNN and MKL print to the descriptor of standard output."""
    source = tmp_path / "in.png"
    Image.new("RGB", (60, 40)).save(source)
    environment = {**os.environ, "ONEDNN_VERBOSE": "1", "MKL_VERBOSE": "1"}
    done = subprocess.run(command("encode", source, "-"), capture_output=True, env=environment, check=True)
    assert parse(done.stdout).header.width == 60
    lines = subprocess.run(
        command("encode", "--json", source, tmp_path / "out.dca"), capture_output=True, env=environment, check=True
    ).stdout.splitlines()
    assert len(lines) == 1 and json.loads(lines[0])["bytes"] == len(done.stdout)


@pytest.mark.parametrize("then", ["pass", "raise RuntimeError('half loaded')"])
def test_a_signal_that_a_library_loses_while_it_loads_still_ends_it(then: str, tmp_path: Path) -> None:
    """Whether the command runs to its end or fails at something that was only half loaded."""
    script = (
        "import os, signal, sys, time\n"
        "class Finder:\n"
        "    def find_spec(self, name, *others):\n"
        "        if name == 'numpy' and not lost:\n"
        "            try:\n"
        "                os.kill(os.getpid(), signal.SIGTERM)\n"
        "                time.sleep(10)\n"
        "            except BaseException as error:\n"
        "                lost.append(error)\n"
        f"                {then}\n"
        "lost = []\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from dcacodec.__main__ import main\n"
        "main()\n"
    )
    Image.new("RGB", (8, 8)).save(tmp_path / "in.png")
    words = ["encode", str(tmp_path / "in.png"), str(tmp_path / "out.dca")]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (143, "")
    assert "error" not in done.stderr


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "2000"}),
        ({"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "7"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
    ],
)
def test_how_threads_wait_is_set_unless_the_user_has_set_it(before: dict[str, str], after: dict[str, str]) -> None:
    environment = dict(before)
    let_threads_sleep(environment)
    assert environment == after


# ----------------------------------------------------------------------------------------------------------- slow coder


@pytest.mark.parametrize(
    "arguments",
    [
        ("encode", "in/a.png", "a.dca"),
        pytest.param(("batch", "--jobs", "2", "--force", "in", "out"), marks=pytest.mark.slow),
        pytest.param(("batch", "--jobs", "2", "--force", "--decode", "in", "out"), marks=pytest.mark.slow),
    ],
)
def test_that_there_is_no_compiler_is_said_once(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """By all processes together, and not with --quiet."""
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        picture = tmp_path / "in" / f"{name}.png"
        Image.fromarray(photo()).save(picture)
        encode_file(picture, tmp_path / "in" / f"{name}.dca")
    environment = {**os.environ, "CXX": "no-such-compiler", "DCACODEC_CACHE": str(tmp_path / "cache")}
    for quiet in ("--verbose", "--quiet"):
        words = command(*arguments, quiet, "--device", "cpu")
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        if quiet == "--quiet":
            assert done.stderr == ""
        else:
            (line,) = (line for line in done.stderr.splitlines() if "no-such-compiler" in line)
            assert line.startswith("dcacodec: warning: ")
            assert not any("warning" in other for other in done.stderr.splitlines() if other != line)
