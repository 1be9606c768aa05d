"""Help, the version, and command lines and lists of weights that are wrong."""

from pathlib import Path

import click
import pytest
from commands import FILE, call

from dcacodec._version import __version__
from dcacodec.cli import app as cli_module
from dcacodec.cli.app import cli

pytestmark = pytest.mark.usefixtures("pillow_limit")


def test_version() -> None:
    result = call("--version")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"dcacodec {__version__}\n", "")


def test_help_lists_commands_examples_and_exit_codes() -> None:
    text = call("--help").stdout
    for part in ("encode", "decode", "info", "train", "publish", "Examples:", "Exit codes:", "130"):
        assert part in text
    for name in ("encode", "decode", "info"):
        assert "Examples:" in call(name, "--help").stdout


@pytest.mark.parametrize("name", cli_module._COMMANDS)
def test_lazy_commands_are_there(name: str) -> None:
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    assert found.name == name
    result = call(name, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: dcacodec {name} ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "No such command 'nonsense'."),
        (["encode"], "Missing argument 'IN'."),
        (["encode", "in.png"], "Missing argument 'OUT'."),
        (["encode", "-q", "0", "in.png", "out.dca"], "0 is not in the range 1<=x<=100."),
        (["encode", "-q", "101", "in.png", "out.dca"], "101.0 is not in the range 1<=x<=100."),
        (["encode", "--device", "tpu", "in.png", "out.dca"], "'tpu' is not one of 'auto', 'cpu', 'cuda'."),
        (["decode", "--max-pixels", "-1", "in.dca", "out.png"], "-1 is not in the range x>=0."),
        (["decode", "--format", "gif", "in.dca", "-"], "gif is not one of png, tiff, webp, ppm, pgm, bmp, jpeg, avif."),
    ],
)
def test_a_wrong_command_line(arguments: list[str], message: str) -> None:
    result = call(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Usage: dcacodec")
    assert message in result.stderr


@pytest.mark.parametrize("command", ["encode", "batch"])
def test_a_preset_that_is_not_published(command: str, tmp_path: Path) -> None:
    """Reported before anything is read, like other mistakes in a command line."""
    result = call(command, "--preset", "base", str(tmp_path / "missing.png"), str(tmp_path / "out"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Invalid value for '--preset': no weights are published for 'base', only for small." in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_list_of_weights(published: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "index.json").write_text("{")
    monkeypatch.setattr("dcacodec.weights.registry.models_dir", lambda: tmp_path)
    result = call("encode", "in.png", str(tmp_path / "out.dca"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"dcacodec: error: the list of weights, {tmp_path / 'index.json'}, cannot be read")
    assert result.stderr.count("\n") == 1


def test_a_wrong_folder_of_ones_own_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by `info`, which would say of good weights that they are not there."""
    (tmp_path / "file.dca").write_bytes(FILE)
    monkeypatch.setenv("DCACODEC_MODELS", str(tmp_path / "nowhere"))
    for arguments in (("info", tmp_path / "file.dca"), ("encode", "in.png", tmp_path / "out.dca")):
        result = call(*arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        start = f"DCACODEC_MODELS: the list of weights, {tmp_path / 'nowhere' / 'index.json'}, cannot be read"
        assert start in result.stderr and result.stderr.count("\n") == 1
    assert [each.name for each in tmp_path.iterdir()] == ["file.dca"]
