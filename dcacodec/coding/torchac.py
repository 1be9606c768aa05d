"""The compiled coder: the C++ part of the package torchac, compiled once and cached.

`import torchac` compiles its C++ part, or checks it with ninja, at every import, prints messages to stdout, and uses
the same build folder for all environments of a user. So that package is never imported. Its C++ file is compiled here
with PyTorch's builder, with optimisation (without which torchac is half as fast), into the cache folder of this
package, and loaded from there afterwards.
"""

import functools
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dcacodec.coding.range_coder import Coder, Integers, PythonCoder, check_indices
from dcacodec.errors import DcaError
from dcacodec.files.paths import cache_dir

if sys.platform != "win32":
    import fcntl

_MODULE: Final = "torchac_backend"
_LIBRARY: Final = _MODULE + (".pyd" if sys.platform == "win32" else ".so")
_FLAGS: Final = ("/O2",) if sys.platform == "win32" else ("-O2",)
_BUILD_SECONDS: Final = 600.0
"""Time limit for a build, and for waiting for the build of another process."""
_BUILD_SCRIPT: Final = """
import sys
from torch.utils.cpp_extension import load
name, source, folder, *flags = sys.argv[1:]
load(name, [source], extra_cflags=flags, build_directory=folder)
"""


class CoderUnavailableError(DcaError):
    """The compiled coder is not available on this machine; the text gives the reason."""


class TorchacCoder:
    """torchac's compiled coder, about twenty times as fast as `PythonCoder`.

    The first instance in an environment compiles it, which takes half a minute to two minutes and prints a line on
    stderr. The result is cached, see `cache_dir`. Nothing is written to stdout.

    Raises:
        CoderUnavailableError: torch, torchac, ninja or a C++ compiler is missing, or the compiled coder does not work.
    """

    name = "torchac"

    def __init__(self) -> None:
        self._backend = _backend()
        # Checked, as a wrong coder would write files that no other machine can read.
        cdf, rows = np.array([[0, 1, 40000, 65535, 65536], [0, 65533, 65534, 65535, 65536]]), np.arange(64) % 2
        symbols = np.arange(64) // 2 % 4
        expected = PythonCoder().encode(cdf, rows, symbols)
        if self.encode(cdf, rows, symbols) != expected or (self.decode(cdf, rows, expected) != symbols).any():
            raise CoderUnavailableError("the compiled torchac does not have the bitstream of this format")

    def __reduce__(self) -> "tuple[type[TorchacCoder], tuple[()]]":
        return TorchacCoder, ()  # another process loads its own

    def encode(self, cdf: Integers, rows: Integers, symbols: Integers) -> bytes:
        """See `Coder.encode`."""
        import torch

        check_indices(cdf, rows, symbols)  # the C++ code does not check, and would read outside the table
        gathered = torch.from_numpy(_gather(cdf, rows))
        return bytes(self._backend.encode_cdf(gathered, torch.from_numpy(symbols.astype(np.int16))))

    def decode(self, cdf: Integers, rows: Integers, data: bytes) -> NDArray[np.int64]:
        """See `Coder.decode`."""
        import torch

        check_indices(cdf, rows)
        symbols: torch.Tensor = self._backend.decode_cdf(torch.from_numpy(_gather(cdf, rows)), data)
        return symbols.numpy().astype(np.int64)


@functools.cache
def best_coder() -> Coder:
    """The compiled coder if available, else the Python coder, with a line on stderr that gives the reason.

    The first call in an environment compiles the coder, see `TorchacCoder`.
    """
    try:
        return TorchacCoder()
    except CoderUnavailableError as error:
        _notify(f"using the slow entropy coder, because the fast one is not available: {error}")
        return PythonCoder()


def _gather(cdf: Integers, rows: Integers) -> NDArray[np.int16]:
    """The row of each symbol, as unsigned 16-bit numbers, which the C++ code takes as signed ones.

    The last column wraps from 65536 to 0; the C++ code does not read it.
    """
    if rows.size * cdf.shape[1] >= 1 << 31:
        raise ValueError(f"{rows.size} symbols at once are too many for torchac")
    # `take` copies whole rows: it is several times as fast as an index, and the result is contiguous.
    return np.take((cdf & 0xFFFF).astype(np.uint16).view(np.int16), rows, axis=0)


def _backend() -> ModuleType:
    """The loaded C++ module, which is compiled if it is not in the cache."""
    try:
        import torch
    except ImportError as error:
        raise CoderUnavailableError(f"PyTorch cannot be imported ({error})") from error
    package = importlib.util.find_spec("torchac")
    if package is None or not package.submodule_search_locations:
        raise CoderUnavailableError("the package torchac is not installed")
    source = Path(package.submodule_search_locations[0]) / "backend" / f"{_MODULE}.cpp"
    try:
        content = source.read_bytes()
        # Everything that a library compiled from this source may depend on.
        key = (content, _FLAGS, torch.__version__, torch.__file__, sys.prefix, sysconfig.get_config_var("EXT_SUFFIX"))
        place = (sys.platform, platform.machine(), platform.libc_ver())
        library = _cache_folder() / "torchac" / hashlib.sha256(repr((key, place)).encode()).hexdigest()[:16] / _LIBRARY
        if not library.exists():
            _build(source, library)
    except OSError as error:
        raise CoderUnavailableError(str(error)) from error
    try:
        spec = importlib.util.spec_from_file_location(_MODULE, library)
        assert spec is not None and spec.loader is not None  # as the suffix is that of an extension module
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError as error:
        raise CoderUnavailableError(f"{library} cannot be loaded ({error}); delete it to have it rebuilt") from error
    return module


def _cache_folder() -> Path:
    try:
        return cache_dir()
    except RuntimeError as error:
        raise CoderUnavailableError("there is no home folder for the cache; set DCACODEC_CACHE to a folder") from error


def _build(source: Path, library: Path) -> None:
    """Compile `source` to `library`, unless another process does so meanwhile.

    A subprocess compiles, so that the output of the tools can be captured. It works in a temporary folder, and the
    library is moved to its place when it is complete: a killed build does no harm, and its files are removed by the
    next one.
    """
    environment = {
        **os.environ,
        # The ninja of this Python environment, even if it is not activated, and the torch of this process.
        "PATH": os.pathsep.join(filter(None, [sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    _check_tools(environment["PATH"])
    library.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _notify("compiling the entropy coder, which is done once and takes a minute or two")
    with _alone(library.parent / "lock") as alone:
        if library.exists():
            return
        if alone:
            for left in library.parent.glob("build-*"):
                shutil.rmtree(left, ignore_errors=True)
        _compile(source, library, environment)


def _compile(source: Path, library: Path, environment: Mapping[str, str]) -> None:
    with tempfile.TemporaryDirectory(prefix="build-", dir=library.parent) as folder:
        command = [sys.executable, "-c", _BUILD_SCRIPT, _MODULE, str(source), folder, *_FLAGS]
        try:
            result = subprocess.run(
                command,
                cwd=folder,  # an empty folder, as Python first searches it for modules
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=_BUILD_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise CoderUnavailableError(f"compiling it took more than {_BUILD_SECONDS:.0f} s") from error
        if result.returncode:
            raise CoderUnavailableError(f"compiling it failed ({_failure(result.stdout)})")
        os.replace(Path(folder) / _LIBRARY, library)


def _check_tools(path: str) -> None:
    """Check for required tools before a build, which would fail only after many seconds.

    Raises:
        CoderUnavailableError: one is missing.
    """
    if sys.platform != "win32":  # there PyTorch finds the compiler
        compiler = os.environ.get("CXX") or "c++"
        if shutil.which(compiler.split()[0], path=path) is None:
            raise CoderUnavailableError(f"there is no C++ compiler ({compiler})")
    if shutil.which("ninja", path=path) is None:
        raise CoderUnavailableError("there is no ninja (pip install ninja)")
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.exists():
        raise CoderUnavailableError(f"the C headers of Python are not installed ({header})")


@contextmanager
def _alone(lock: Path) -> Iterator[bool]:
    """Hold a lock in the block, after waiting for other processes. Locks end with their process, so none is ever stale.

    Yields whether the lock is held. It is not if the system has no such locks, or after the time limit. Then two
    processes may build at once, and it does not matter whose library remains.
    """
    with open(lock, "ab") as file:
        yield _lock(file.fileno(), time.monotonic() + _BUILD_SECONDS)


def _lock(file: int, deadline: float) -> bool:
    if sys.platform != "win32":
        while time.monotonic() < deadline:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                time.sleep(0.2)
            except OSError:  # a file system without locks
                return False
    return False


def _failure(output: str) -> str:
    """The most informative line in the output of a failed build."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return next((line for line in lines if re.search(r"\berror: ", line)), lines[-1] if lines else "no message")


def _notify(message: str) -> None:
    if sys.stderr is not None:  # otherwise print would use stdout, which is for results
        with suppress(OSError):
            print(f"dcacodec: {message}", file=sys.stderr, flush=True)  # noqa: T201
