"""The compiled coder: the C++ part of the torchac package, built once and kept.

`import torchac` compiles its C++ part, or checks it with ninja, at every import, writes about it to stdout, and lets
all environments of a user share one build folder in turn. So that package is never imported. Its C++ file is compiled
here with PyTorch's own builder, with optimisation (torchac does without, which makes it half as fast), into a cache
folder of our own, and what comes out is loaded from there from then on.
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
"""A build that takes longer is given up; so is waiting for that of another process."""
_BUILD_SCRIPT: Final = """
import sys
from torch.utils.cpp_extension import load
name, source, folder, *flags = sys.argv[1:]
load(name, [source], extra_cflags=flags, build_directory=folder)
"""


class CoderUnavailableError(DcaError):
    """The compiled coder cannot be had on this machine; the text says why."""


class TorchacCoder:
    """torchac's compiled coder, some twenty times as fast as `PythonCoder`.

    The first one ever made in an environment compiles it: half a minute to two, and a line on stderr. The result is
    kept in the folder that the environment variable DCACODEC_CACHE names, else in the user's cache folder. Nothing is
    ever written to stdout.

    Raises:
        CoderUnavailableError: torch, torchac, ninja or a C++ compiler is missing, or what they make does not work.
    """

    name = "torchac"

    def __init__(self) -> None:
        self._backend = _backend()
        # A wrong coder would write files that only this machine can read.
        cdf, rows = np.array([[0, 1, 40000, 65535, 65536], [0, 65533, 65534, 65535, 65536]]), np.arange(64) % 2
        symbols = np.arange(64) // 2 % 4
        expected = PythonCoder().encode(cdf, rows, symbols)
        if self.encode(cdf, rows, symbols) != expected or (self.decode(cdf, rows, expected) != symbols).any():
            raise CoderUnavailableError("the compiled torchac does not make the bitstream of this format")

    def __reduce__(self) -> "tuple[type[TorchacCoder], tuple[()]]":
        return TorchacCoder, ()  # a process that it is sent to loads its own

    def encode(self, cdf: Integers, rows: Integers, symbols: Integers) -> bytes:
        """See `Coder.encode`."""
        import torch

        check_indices(cdf, rows, symbols)  # the C++ code does not, and would read any memory
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
    """The compiled coder, or else, with a line on stderr that says why, the Python one.

    The first call in a process takes time, and the first one in an environment long, see `TorchacCoder`.
    """
    try:
        return TorchacCoder()
    except CoderUnavailableError as error:
        _notify(f"using the slow entropy coder, because the fast one is not available: {error}")
        return PythonCoder()


def _gather(cdf: Integers, rows: Integers) -> NDArray[np.int16]:
    """A row for each symbol, as the unsigned 16-bit numbers that the C++ code takes in the guise of signed ones.

    The last column wraps from 65536 to 0; the C++ code knows its value and does not read it.
    """
    if rows.size * cdf.shape[1] >= 1 << 31:
        raise ValueError(f"{rows.size} symbols at once are more than torchac can count")
    # The C++ code takes for granted that rows lie one after the other; NumPy promises no order for what it gathers.
    return np.ascontiguousarray((cdf & 0xFFFF).astype(np.uint16).view(np.int16)[rows])


def _backend() -> ModuleType:
    """The loaded C++ module, which is compiled where there is none yet."""
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
        # Whatever a library may depend on that was built from this source.
        key = (content, _FLAGS, torch.__version__, torch.__file__, sys.prefix, sysconfig.get_config_var("EXT_SUFFIX"))
        place = (sys.platform, platform.machine(), platform.libc_ver())
        library = _cache_folder() / "torchac" / hashlib.sha256(repr((key, place)).encode()).hexdigest()[:16] / _LIBRARY
        if not library.exists():
            _build(source, library)
    except OSError as error:
        raise CoderUnavailableError(str(error)) from error
    try:
        spec = importlib.util.spec_from_file_location(_MODULE, library)
        assert spec is not None and spec.loader is not None  # as the file ends like an extension module
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError as error:
        raise CoderUnavailableError(f"{library} cannot be loaded ({error}); delete it to have it built anew") from error
    return module


def _cache_folder() -> Path:
    try:
        return cache_dir()
    except RuntimeError as error:
        raise CoderUnavailableError("there is no home folder to keep it in; set DCACODEC_CACHE to a folder") from error


def _build(source: Path, library: Path) -> None:
    """Compile `source` to `library`, unless another process has done so by then.

    A process of its own does it, so that whatever the tools print can be caught. It works in a folder of its own, and
    the library appears under its name only when complete: a build that is killed does no harm, and what it left behind
    goes with the next one.
    """
    environment = {
        **os.environ,
        # The ninja of this Python environment, which may not be activated, and the very torch of this process.
        "PATH": os.pathsep.join(filter(None, [sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    _check_tools(environment["PATH"])
    library.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _notify("compiling the entropy coder, once; this takes a minute or two")
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
                cwd=folder,  # Python looks for modules there first: it is empty
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
    """Name what is missing, where that can be told without a build of many seconds that fails in the end."""
    if sys.platform != "win32":  # where PyTorch itself finds the compiler
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
    """Wait while another process holds the lock. It goes when that process ends, however it ends: none is ever stale.

    Yields whether we hold it. We do not where the system has no such locks, or after too long a wait. Then two may
    build the same at once, and it does not matter whose library stays.
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
    """The line of a failed build that tells most."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return next((line for line in lines if re.search(r"\berror: ", line)), lines[-1] if lines else "no message")


def _notify(message: str) -> None:
    if sys.stderr is not None:  # else print would take stdout, which is for results
        with suppress(OSError):
            print(f"dcacodec: {message}", file=sys.stderr, flush=True)  # noqa: T201
