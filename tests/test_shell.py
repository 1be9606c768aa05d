"""Habits of the shell: completion, --quiet and --verbose, the page of the manual, MIME type and magic."""

import configparser
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as xml
from importlib.metadata import version
from pathlib import Path

import click
import numpy as np
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result
from PIL import Image
from tiny import photo

from dcacodec.cli.app import cli
from dcacodec.cli.console import is_quiet
from dcacodec.format.container import MAGIC, Container, Header, Slice
from dcacodec.format.writer import pack
from dcacodec.weights import registry as zoo

ROOT = Path(__file__).resolve().parent.parent
DCA = pack(Container(Header(b"\x01\x02\xff\x04", 640, 480, "RGB", 73), (Slice((b"",) * 7, 0),)))
NAMES = ["encode", "decode", "info", "completion", "batch", "train", "publish", "bench", "selftest", "doctor"]

_spec = importlib.util.spec_from_file_location("cli_page", ROOT / "scripts" / "cli_page.py")
assert _spec is not None and _spec.loader is not None
cli_page = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cli_page)


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(each) for each in arguments], prog_name="dcacodec")


def needs(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


# ----------------------------------------------------------------------------------------------------------- completion


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """With a command `dcacodec` on the path that is this checkout, in a folder with two files."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "dcacodec"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dcacodec "$@"\n')
    program.chmod(0o755)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "photo one.png").touch()
    (tmp_path / "work" / "photo two.png").touch()
    path = os.pathsep.join((str(tmp_path / "bin"), os.environ["PATH"]))
    modules = os.pathsep.join((str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])))
    return {**os.environ, "PATH": path, "PYTHONPATH": modules, "HOME": str(tmp_path), "TERM": "dumb"}


def run(command: list[str], environment: dict[str, str]) -> list[str]:
    done = subprocess.run(
        command,
        env=environment,
        cwd=Path(environment["HOME"], "work"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


BASH = """
eval "$(dcacodec completion bash)"
compopt() { echo compopt "$@"; }
complete -p dcacodec
try() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    _dcacodec_completion dcacodec
    echo "${COMPREPLY[@]}"
}
try dcacodec ""
try dcacodec en
try dcacodec encode --qu
try dcacodec decode --scale 1/
try dcacodec decode --format p
try dcacodec encode --preset s
try dcacodec encode pho
try dcacodec batch --decode fold
try dcacodec completion ""
"""


@pytest.mark.slow
def test_bash_completes(environment: dict[str, str]) -> None:
    assert run([needs("bash"), "--norc", "-c", BASH], environment) == [
        "complete -o nosort -F _dcacodec_completion dcacodec",
        " ".join(NAMES),
        "encode",
        "--quality --quiet",
        "1/2 1/4 1/8",
        "png ppm pgm",
        "small",
        "compopt -o default",  # names of files are bash's own business
        "",
        "compopt -o default",
        "",
        "bash zsh fish",
    ]


ZSH = """
autoload -Uz compinit && compinit -u
eval "$(dcacodec completion zsh)"
echo $_comps[dcacodec]
_describe() { echo ${(P)3}; }
compadd() { echo compadd $completions; }
_path_files() { echo _path_files $*; }
try() { words=("$@") CURRENT=$#; $_comps[dcacodec]; }
try dcacodec en
try dcacodec decode --scale 1/
try dcacodec encode pho
"""


def test_zsh_completes(environment: dict[str, str]) -> None:
    assert run([needs("zsh"), "-f", "-c", ZSH], environment) == [
        "_dcacodec_completion",
        "encode:Compress the picture IN to the .dca file OUT.",
        "compadd 1/2 1/4 1/8",
        "_path_files -f",
    ]


FISH = """
dcacodec completion fish | source
complete --do-complete 'dcacodec en'
complete --do-complete 'dcacodec decode --scale 1/'
complete --do-complete 'dcacodec encode pho'
"""


@pytest.mark.skipif(version("click") in ("8.4.0", "8.4.1"), reason="the fish script of this version of Click is broken")
def test_fish_completes(environment: dict[str, str]) -> None:
    assert run([needs("fish"), "--no-config", "-c", FISH], environment) == [
        "encode\tCompress the picture IN to the .dca file OUT.",
        "1/2",
        "1/4",
        "1/8",
        "photo one.png",
        "photo two.png",
    ]


def test_completing_imports_nothing_heavy() -> None:
    script = (
        "import atexit, sys\n"
        "heavy = ('torch', 'numpy', 'PIL', 'dcacodec.training', 'dcacodec.batch')\n"
        "atexit.register(lambda: print(sorted(set(heavy) & set(sys.modules)), file=sys.stderr))\n"
        "from dcacodec.cli.app import main\n"
        "sys.argv = ['dcacodec']\n"
        "main()\n"
    )
    variables = {"_DCACODEC_COMPLETE": "bash_complete", "COMP_WORDS": "dcacodec ", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == [f"plain,{name}" for name in NAMES]
    assert done.stderr == "[]\n"


def test_completing_presets_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def completed() -> list[str]:
        shell = ShellComplete(cli, {}, "dcacodec", "_DCACODEC_COMPLETE")
        return [item.value for item in shell.get_completions(["encode", "--preset"], "")]

    assert completed() == zoo.presets()
    monkeypatch.setenv("DCACODEC_MODELS", str(tmp_path))
    assert completed() == []


def test_a_shell_that_is_none() -> None:
    result = call("completion", "tcsh")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'." in result.stderr


# --------------------------------------------------------------------------------------------------- quiet and verbose


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """A picture that causes a warning."""
    path = tmp_path / "wide.png"
    Image.fromarray(photo(24, 32)[..., 0].astype(np.uint16) * 257).save(path)
    return path


@pytest.mark.slow
def test_quiet_and_verbose_before_and_after_the_command(wide: Path, tmp_path: Path) -> None:
    coded, back = tmp_path / "out.dca", tmp_path / "back.png"
    warning = "dcacodec: warning: samples of 16 bits are rounded to 8"
    introduction = rf"weights {zoo.by_preset('small').path.name}, device cpu, entropy coder (torchac|python)"
    summaries = {"encode": r".* -> .*out\.dca \d+ bytes .*", "decode": r".* -> .*back\.png 32x24 pixels .*"}
    for command, *files in (("encode", wide, coded), ("decode", coded, back)):
        options: tuple[str | Path, ...] = ("--device", "cpu", *files)
        summary = summaries[command]
        plain = [warning, summary] if command == "encode" else [summary]
        slices = [r"lossless slices: \d of 1"] if command == "encode" else []
        verbose = [*plain[:-1], introduction, *slices, summary]
        for arguments, expected in (
            ((command, *options), plain),
            (("--quiet", command, *options), []),
            ((command, "--quiet", *options), []),
            (("--verbose", command, *options), verbose),
            ((command, "--verbose", *options), verbose),
        ):
            result = call(*arguments)
            assert (result.exit_code, result.stdout) == (0, "")
            lines = result.stderr.splitlines()
            assert len(lines) == len(expected), arguments
            assert all(re.fullmatch(wanted, line) for wanted, line in zip(expected, lines, strict=True)), lines


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("command", ["encode", "decode", "batch"])
def test_errors_are_never_quiet(command: str, place: int, tmp_path: Path) -> None:
    target = tmp_path / ("out.png" if command == "decode" else "out.dca")
    arguments: list[str | Path] = [command, tmp_path / "missing", target]
    arguments.insert(place, "--quiet")
    result = call(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"dcacodec: error: {tmp_path}/missing: No such file or directory\n"


def test_names_do_not_command_the_terminal(tmp_path: Path) -> None:
    name = "red\x1b[31m\x07\x9b\nlast"
    result = CliRunner().invoke(cli, ["info", str(tmp_path / name)], color=True, prog_name="dcacodec")
    shown = r"red\x1b[31m\x07\x9b last"
    assert (result.exit_code, result.stderr) == (
        1,
        f"dcacodec: error: {tmp_path}/{shown}: No such file or directory\n",
    )


def test_quiet_and_verbose_exclude_each_other(tmp_path: Path) -> None:
    for arguments in (["--quiet", "--verbose", "info", "x"], ["--quiet", "encode", "--verbose", "x", "y"]):
        result = call(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.endswith("Error: --quiet and --verbose exclude each other.\n")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("train", ["x", "--run", "r"]),
        ("publish", [str(ROOT / "LICENSE"), "--models", "m", "--check", "c"]),
        ("bench", []),
    ],
)
def test_quiet_stands_before_or_after_the_command(
    name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    monkeypatch.setattr(command, "callback", lambda **options: seen.append(is_quiet()))
    for order in ([name, *arguments], ["--quiet", name, *arguments], [name, *arguments, "--quiet"]):
        assert call(*order).exit_code == 0
    assert seen == [False, True, True]


# ----------------------------------------------------------------------------------------------------------- the manual


def words(text: str) -> list[str]:
    """Versions of Click break lines at other places."""
    return text.split()


def test_the_page_has_every_command_as_it_is() -> None:
    page = cli_page.PAGE.read_text("utf-8")
    found = cli_page.helps(page)
    assert set(found) == {None, *NAMES} == {None, *cli.list_commands(click.Context(cli))}
    for name, text in found.items():
        assert words(text) == words(cli_page.help_text(name)), f"python scripts/cli_page.py ({name})"
    assert words(cli_page.renewed(page)) == words(page)
    changed = page.replace("--quality", "--qualify")
    assert cli_page.helps(changed) != found
    assert words(cli_page.renewed(changed)) != words(changed)


@pytest.mark.parametrize("name", NAMES)
def test_help_is_that_of_the_page_and_has_examples(name: str) -> None:
    result = CliRunner(env={"COLUMNS": "82"}).invoke(cli, [name, "--help"], prog_name="dcacodec")
    assert (result.exit_code, result.stderr) == (0, "")
    assert words(result.stdout) == words(cli_page.help_text(name))
    assert re.search(rf"^  Examples:\n(    .*\n)*?    .*dcacodec {name} ", result.stdout, re.MULTILINE)


def test_every_option_says_what_it_does() -> None:
    for name in NAMES:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        assert command.help
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{name} {parameter.opts}"


def test_the_example_of_the_summary_has_the_keys_of_the_program() -> None:
    from dcacodec.batch.report import Report

    (block,) = re.findall(
        r"^```json\n(.*?)^```$", (cli_page.PAGE.parent / "batch.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    assert list(json.loads(block)) == list(Report().facts())


# ------------------------------------------------------------------------------------------------- MIME type and magic


def test_file_knows_the_magic(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(DCA)
    (tmp_path / "b").write_bytes(b"DCA" + DCA)
    magic = ["-m", str(ROOT / "desktop" / "dca.magic")]
    command = [needs("file"), "--brief", *magic]
    names = [str(tmp_path / "a"), str(tmp_path / "b")]
    described = subprocess.run([*command, *names], capture_output=True, text=True, check=True)
    assert (described.stdout, described.stderr) == ("DCA picture, version 1, weights 0102ff04\ndata\n", "")
    kinds = subprocess.run([*command, "--mime-type", *names], capture_output=True, text=True, check=True)
    assert kinds.stdout == "image/x-dca\napplication/octet-stream\n"


def test_the_mime_type(tmp_path: Path) -> None:
    path = ROOT / "desktop" / "dcacodec.xml"
    space = "{http://www.freedesktop.org/standards/shared-mime-info}"
    (kind,) = xml.parse(path).getroot().findall(f"{space}mime-type")
    assert kind.get("type") == "image/x-dca"
    specification = (ROOT / "docs" / "reference" / "format.md").read_text("utf-8")
    assert "| MIME type | `image/x-dca` (not registered) |" in specification
    (match,) = kind.iter(f"{space}match")
    assert (match.get("type"), match.get("offset")) == ("string", "0")
    assert str(match.get("value")).encode().decode("unicode_escape").encode("latin-1") == MAGIC

    (tmp_path / "packages").mkdir()
    shutil.copy(path, tmp_path / "packages")
    subprocess.run([needs("update-mime-database"), str(tmp_path)], check=True, capture_output=True)
    assert "50:image/x-dca:*.dca\n" in (tmp_path / "globs2").read_text()
    assert b"[60:image/x-dca]\n>0=\0\4\x89DCA\n" in (tmp_path / "magic").read_bytes()


def test_the_thumbnailer_calls_the_command() -> None:
    entry = configparser.RawConfigParser()
    entry.optionxform = str  # type: ignore[assignment,method-assign]
    entry.read(ROOT / "desktop" / "dcacodec.thumbnailer")
    facts = dict(entry["Thumbnailer Entry"])
    assert facts["MimeType"] == "image/x-dca;"
    name, command, option, *files = facts["Exec"].split()
    assert (name, files) == (facts["TryExec"], ["%o", "%i"])
    found = cli.get_command(click.Context(cli), command)
    assert found is not None and option in [name for each in found.params for name in each.opts]
