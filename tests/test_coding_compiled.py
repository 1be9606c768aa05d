"""How the compiled coder comes about: building, caching, and what it does without a compiler."""

import errno
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dcacodec.coding import CoderUnavailableError, TorchacCoder
from dcacodec.coding import torchac as compiled

ROOT = Path(__file__).parents[1]

USE = """
import json, warnings
from dcacodec.coding import best_coder
from dcacodec.errors import CoderWarning
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    name = best_coder().name
assert all(each.category is CoderWarning for each in caught)
print(json.dumps([name, *(str(each.message) for each in caught)]))
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own. An empty value takes a variable away."""
    variables = {key: value for key, value in {**os.environ, **environment}.items() if value or key == "PATH"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=True)


def used(code: str = USE, **environment: str) -> list[str]:
    """The coder that a process of its own uses, and the texts of the warnings about it, a line each."""
    result = run(code, **environment)
    assert result.stderr == ""
    name, *warned = json.loads(result.stdout)
    assert all(text.isprintable() for text in warned)
    return [name, *warned]


def test_coder_does_not_need_torch(torchac: TorchacCoder) -> None:
    code = "import sys; from dcacodec.coding import TorchacCoder; TorchacCoder()"
    assert run(f"{code}; print({{'torch', 'torchac'}} & {{*sys.modules}})").stdout == "set()\n"


def test_coder_is_silent_once_built(torchac: TorchacCoder) -> None:
    assert used() == ["torchac"]


def test_no_compiler(tmp_path: Path) -> None:
    name, why = used(PATH="", CXX="", DCACODEC_CACHE=str(tmp_path))
    assert name == "python"
    assert "c++" in why
    assert list(tmp_path.iterdir()) == []


def test_a_compiler_that_is_no_command(tmp_path: Path) -> None:
    name, why = used(CXX='"c++', DCACODEC_CACHE=str(tmp_path))
    assert name == "python"
    assert "CXX" in why


@pytest.mark.skipif(sys.platform == "win32", reason="the fake compiler is a shell script")
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo noise; echo 'a.cpp:1: error: no'; echo more; exit 1", "a.cpp:1: error: no"),
        ("exit 1", ""),
        ("exit 0", os.strerror(errno.ENOENT)),
    ],
)
def test_compiler_that_fails(script: str, reason: str, tmp_path: Path) -> None:
    compiler = tmp_path / "c++"
    compiler.write_text(f"#!/bin/sh\n{script}\n")
    compiler.chmod(0o755)
    cache = tmp_path / "cache"
    name, why = used(CXX=f"{compiler} -pipe", DCACODEC_CACHE=str(cache))
    assert name == "python"
    assert reason in why
    assert "noise" not in why and "more" not in why
    assert [path.name for path in cache.rglob("*") if path.is_file()] == ["lock"]


@pytest.mark.skipif(sys.platform == "win32", reason="the fake compiler is a shell script")
def test_compiler_that_never_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\nexec sleep 600\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setenv("DCACODEC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compiled, "_BUILD_SECONDS", 0.3)
    with pytest.raises(CoderUnavailableError, match="more than"):
        TorchacCoder()
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == ["lock"]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
def test_two_processes_compile_once(torchac: TorchacCoder, tmp_path: Path) -> None:
    command = [sys.executable, "-c", USE]
    environment = {**os.environ, "DCACODEC_CACHE": str(tmp_path)}
    processes = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    reports = sorted((json.loads(process.communicate()[0]) for process in processes), key=len)
    assert [name for name, *_ in reports] == ["torchac"] * 2
    assert [len(warned) for _, *warned in reports] == [0, 1]
    files = (path for path in tmp_path.rglob("*") if path.is_file())
    assert sorted(path.suffix or path.name for path in files) == [".sha256", ".so", "lock"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not run a changed library")
def test_a_damaged_library_is_compiled_again(torchac: TorchacCoder, tmp_path: Path) -> None:
    """Loading a library that is cut off behind its headers ends the process."""
    cache = {"DCACODEC_CACHE": str(tmp_path)}
    assert len(used(**cache)) == 2
    (library,) = tmp_path.rglob("*.so")
    whole = library.read_bytes()
    killed = library.parent / "build-killed" / "part"  # of a build that was
    killed.parent.mkdir()
    killed.touch()
    for damaged in (whole[: len(whole) // 4], b"", whole[:-1] + b"x"):
        library.unlink()  # not in place, as a process may have it in its memory
        library.write_bytes(damaged)
        name, _compiled = used(**cache)
        assert [name] == used(**cache) == ["torchac"]
    assert not killed.parent.exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [("cache |= bit;", "cache |= !bit;"), ("out_[i] = (int16_t)sym_i;", "out_[i] = (int16_t)sym_i ^ (i == 40);")],
    ids=["encoder", "decoder"],
)
def test_compiled_coder_of_another_bitstream(torchac: TorchacCoder, old: str, new: str, tmp_path: Path) -> None:
    """A release of torchac that writes each bit inverted, or reads one symbol as another."""
    installed = importlib.util.find_spec("torchac")
    assert installed is not None and installed.origin is not None
    source = (Path(installed.origin).parent / "backend" / "torchac_backend.cpp").read_text("utf-8")
    assert old in source
    backend = tmp_path / "torchac" / "backend"
    backend.mkdir(parents=True)
    (backend.parent / "__init__.py").touch()
    (backend / "torchac_backend.cpp").write_text(source.replace(old, new), "utf-8")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{USE}"
    name, _compiled, why = used(code, DCACODEC_CACHE=str(tmp_path / "cache"))
    assert name == "python"
    assert "bitstream" in why


def test_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, torchac: TorchacCoder, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DCACODEC_CACHE", str(tmp_path / "file"))
    with pytest.raises(CoderUnavailableError, match=r"Not a directory|cannot find the path"):
        TorchacCoder()


def test_damaged_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def build(include: Path, library: Path) -> None:
        library.parent.mkdir(parents=True)
        library.write_bytes(b"no library")

    monkeypatch.setenv("DCACODEC_CACHE", str(tmp_path))
    monkeypatch.setattr(compiled, "_build", build)
    with pytest.raises(CoderUnavailableError, match="delete it"):
        TorchacCoder()


def test_torchac_that_is_missing() -> None:
    """None in sys.modules makes an import fail. PyTorch is not needed."""
    name, why = used(f"import sys; sys.modules['torch'] = sys.modules['torchac'] = None\n{USE}")
    assert name == "python"
    assert "torchac" in why
