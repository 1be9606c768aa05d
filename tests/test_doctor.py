"""The command `dcacodec doctor`: it describes whatever there is, and names what is broken."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from tiny import WEIGHTS
from told import one_line

from dcacodec._version import __version__
from dcacodec.cli.app import cli
from dcacodec.codec.doctor import Diagnosis, examine
from dcacodec.coding import CoderUnavailableError
from dcacodec.errors import WeightsError
from dcacodec.files.paths import models_dir
from dcacodec.network import device, precision
from dcacodec.weights.registry import by_preset, read_index

KEYS = [field.name for field in fields(Diagnosis)]


def unavailable(*_: object) -> None:
    raise CoderUnavailableError("there is no C++ compiler (c++)")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is compiled."""
    monkeypatch.setattr("dcacodec.coding.TorchacCoder", unavailable)


@pytest.fixture
def own(tmp_path: Path, tiny_models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of weights that a test may damage, in place of that of all tests."""
    folder = tmp_path / "own"
    shutil.copytree(tiny_models, folder)
    monkeypatch.setenv("DCACODEC_MODELS", str(folder))
    return folder


def call(*options: str) -> Result:
    return CliRunner().invoke(cli, ["doctor", *options], prog_name="dcacodec")


def facts() -> dict[str, Any]:
    """What --json prints about an installation that works."""
    result = call("--json")
    assert (result.exit_code, result.stderr, result.stdout.count("\n")) == (0, "", 1)
    found: dict[str, Any] = json.loads(result.stdout)
    assert list(found) == KEYS
    assert found["problems"] == []
    return found


def test_what_it_finds_is_what_is_there(own: Path) -> None:
    found = facts()
    assert found["system"]["dcacodec"] == __version__
    assert found["system"]["torch"] == torch.__version__
    released = read_index(models_dir())
    assert [each["fingerprint"] for each in found["weights"][1:]] == list(released.files)
    published = by_preset("small")
    assert found["weights"][0] == {
        "fingerprint": published.fingerprint,
        "tune": "psnr",
        "presets": ["small"],
        "file": str(own / WEIGHTS.name),
        "state": "ok",
    }
    assert {each["state"] for each in found["weights"]} == {"ok"}
    assert found["threads"]["torch"] == torch.get_num_threads()
    assert found["environment"]["DCACODEC_MODELS"] == str(own)
    assert found["packages"]["in Pillow"].keys() >= {"avif", "libtiff"}


def test_a_screen_of_text(own: Path) -> None:
    result = call()
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert len([line for line in lines if not line.startswith("weights ")]) <= 22  # every release adds weights
    assert all(line.isprintable() for line in lines)
    for text in (__version__, torch.__version__, str(own / WEIGHTS.name), "there is no C++ compiler", f"={own}"):
        assert text in result.stdout
    device = facts()["device"]
    bfloat16, exact = ("yes" if device[name] else "no" for name in ("bfloat16", "float32_is_exact"))
    assert f"  bfloat16 {bfloat16}, exact float32 {exact}\n" in result.stdout


def test_packages_are_those_of_the_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    requirements = [
        "torch>=2.6",
        "click!=8.4.0,>=8.2",
        'pillow-heif>=1.1; extra == "formats"',
        "ray[data]<2.64,>=2.51; extra == 'ray'",
        'no-such-package-here; python_version > "3.9" and extra == "formats"',
        'dcacodec[bench]; extra == "bench-more"',
        'pytest>=8.0; extra == "dev"',
    ]
    monkeypatch.setattr(metadata, "requires", lambda name: requirements)
    packages = facts()["packages"]
    assert list(packages) == ["required", "formats", "ray", "compressai", "in Pillow"]
    assert packages["required"] == {"torch": metadata.version("torch"), "click": metadata.version("click")}
    assert list(packages["formats"]) == ["pillow-heif", "no-such-package-here"]
    assert packages["formats"]["no-such-package-here"] is None


def test_a_checkout_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", missing)
    assert "required" not in facts()["packages"]


def test_why_it_is_not_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = facts()["device"]
    assert found["device"] == "cpu"
    assert "no CUDA device" in found["why_no_gpu"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(device, "_device_problem", lambda index: "the CUDA device cannot be used (no kernel)")
    assert "no kernel" in facts()["device"]["why_no_gpu"]


def test_a_gpu_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "gpu_problem", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", str)
    monkeypatch.setattr(precision, "fast_bfloat16", lambda device: device.type == "cuda")
    monkeypatch.setattr(precision, "float32_is_exact", lambda device: device.type != "cuda")
    expected = {"device": "cuda", "name": "cuda", "why_no_gpu": None, "bfloat16": True, "float32_is_exact": False}
    assert facts()["device"] == expected


def test_the_compiled_coder(monkeypatch: pytest.MonkeyPatch) -> None:
    found = facts()["coder"]
    assert (found["name"], found["why_not_compiled"]) == ("python", "there is no C++ compiler (c++)")

    class Compiled:
        name = "torchac"

    monkeypatch.setattr("dcacodec.coding.TorchacCoder", Compiled)
    found = facts()["coder"]
    assert (found["name"], found["why_not_compiled"]) == ("torchac", None)


@pytest.mark.skipif(os.name == "nt", reason="a program is a script with a first line")
def test_the_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "compiler"
    program.write_text("#!/bin/sh\necho compiler 1.2.3\necho more\n")
    program.chmod(0o755)
    monkeypatch.setenv("CXX", f"{program} -pipe")
    found = facts()["coder"]
    assert (found["compiler"], found["compiler_version"]) == (str(program), "compiler 1.2.3")
    program.write_bytes(b"#!/bin/sh\nprintf 'compil\\351 1.2.3\\n'\n")  # of a system whose text is not UTF-8
    assert facts()["coder"]["compiler_version"] == "compil\ufffd 1.2.3"
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    found = facts()["coder"]
    assert (found["compiler"], found["compiler_version"]) == (None, None)


def test_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DCACODEC_CACHE", str(tmp_path / "cache"))
    assert facts()["cache"] == {"folder": str(tmp_path / "cache"), "why_not": None, "bytes": {}}
    (tmp_path / "cache" / "part" / "inner").mkdir(parents=True)
    (tmp_path / "cache" / "part" / "inner" / "file").write_bytes(bytes(300))
    (tmp_path / "cache" / "file").write_bytes(bytes(20))
    assert facts()["cache"]["bytes"] == {"file": 20, "part": 300}

    def homeless() -> Path:
        raise RuntimeError("there is no home folder")

    monkeypatch.setattr("dcacodec.codec.doctor.cache_dir", homeless)
    assert facts()["cache"] == {"folder": None, "why_not": "there is no home folder"}
    assert "there is no home folder" in call().stdout


def test_a_cache_that_is_a_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "cache"
    file.write_bytes(b"")
    monkeypatch.setenv("DCACODEC_CACHE", str(file))
    found = facts()["cache"]
    assert found["folder"] is None and str(file) in found["why_not"]
    assert any(line.startswith("cache ") and found["why_not"] in line for line in call().stdout.splitlines())


def test_control_characters_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compilers colour their messages, and variables hold anything; a terminal would obey."""

    def coloured(*_: object) -> None:
        raise CoderUnavailableError("\x1b[31mit cannot be compiled\x07")

    monkeypatch.setattr("dcacodec.coding.TorchacCoder", coloured)
    monkeypatch.setattr("dcacodec.codec.doctor._compiler_version", lambda path: "\x1b[1mcompiler\x9b1m")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "\x1b]0;title\x07")
    result = call()
    assert result.exit_code == 0 and "it cannot be compiled" in result.stdout
    assert all(line.isprintable() for line in result.stdout.splitlines())


def _damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


BROKEN: dict[str, Callable[[Path], object]] = {
    "a changed weights file": lambda folder: _damage(folder / WEIGHTS.name),
    "a missing weights file": lambda folder: (folder / WEIGHTS.name).unlink(),
    "a damaged index": lambda folder: (folder / "index.json").write_text("{", "utf-8"),
    "no index": lambda folder: (folder / "index.json").unlink(),
    "no folder": shutil.rmtree,
}


@pytest.mark.parametrize("how", BROKEN)
def test_broken_weights_are_named(how: str, own: Path) -> None:
    BROKEN[how](own)
    result = call()
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("dcacodec: error: ") and str(own) in line
    found = call("--json")
    assert (found.exit_code, found.stderr) == (1, result.stderr)
    (problem,) = json.loads(found.stdout)["problems"]
    assert problem in line and problem in result.stdout
    assert str(models_dir()) in result.stdout  # the others are there as before


def test_weights_that_are_as_published_and_no_weights(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as those of a later format."""

    def refused(path: Path, digest: str | None = None) -> None:
        raise WeightsError(f"{path.name} has the format 9")

    monkeypatch.setattr("dcacodec.weights.reader.read_weights", refused)
    found = examine()
    assert {each["state"] for each in found.weights} == {"ok"}
    (problem,) = found.problems
    assert "small" in problem and "has the format 9" in problem


@pytest.mark.parametrize(
    "error",
    [
        OSError("libtorch.so: cannot open shared object file"),
        ImportError("undefined symbol"),
        RuntimeError("bad\nstate"),
    ],
)
def test_a_part_that_fails_leaves_the_others(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("dcacodec.network.precision.float32_is_exact", fail)
    found = examine()
    (problem,) = found.problems
    assert problem.startswith("PyTorch: ") and problem.isprintable()
    assert found.weights and found.coder and found.cache
    result = call()
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "package", ["torch", *(pytest.param(name, marks=pytest.mark.slow) for name in ("numpy", "PIL", "safetensors"))]
)
def test_a_missing_package_is_named(package: str) -> None:
    script = f"import sys\nsys.modules[{package!r}] = None\nfrom dcacodec.cli.app import main\nmain()\n"
    environment = {**os.environ, "CXX": "/no/compiler"}
    command = [sys.executable, "-c", script, "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    found = json.loads(done.stdout)
    assert any(f"import of {package} halted" in problem for problem in found["problems"])
    assert found["system"]["dcacodec"] == __version__
    assert found["weights"]


def test_what_is_missing_otherwise(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same errors as those of encoding."""
    shutil.rmtree(own)
    with pytest.raises(WeightsError) as error:
        by_preset("small")
    assert one_line(error).removeprefix("DCACODEC_MODELS: ") in examine().problems
