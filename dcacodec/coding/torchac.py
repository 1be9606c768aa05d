"""The compiled coder: the C++ part of the package torchac, compiled once and cached.

`import torchac` compiles its C++ part with PyTorch's builder, which takes half a minute, and checks it at every import;
so that package is never imported. The arithmetic in its C++ file needs nothing of PyTorch: with the small stand-ins in
the folder `native` for what the file includes, any C++ compiler makes a plain library of it in a second or two, which
is called with NumPy arrays. A process that finds another one compiling waits for it: coding even a small picture in
Python meanwhile would take as long.
"""

import ctypes
import functools
import hashlib
import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np
from numpy.ctypeslib import ndpointer
from numpy.typing import NDArray

from dcacodec.coding.arithmetic_coder import Coder, Integers, PythonCoder, check_indices
from dcacodec.errors import CoderUnavailableError, CoderWarning, reason, warn
from dcacodec.files.lock import locked
from dcacodec.files.paths import cache_dir

_NATIVE: Final = Path(__file__).parent / "native"
_LIBRARY: Final = "torchac_library" + (".dll" if sys.platform == "win32" else ".so")
_FLAGS: Final = ("-std=c++17", "-O2", "-shared", *(() if sys.platform == "win32" else ("-fPIC",)))
_BUILD_SECONDS: Final = 60.0
"""Time limit for a build, and for waiting for the build of another process."""


class TorchacCoder:
    """torchac's compiled coder, many times as fast as `PythonCoder`.

    The first instance on a machine compiles it, which takes a second or two. The result is cached, see `cache_dir`.

    Raises:
        CoderUnavailableError: torchac or a C++ compiler is missing, or the compiled coder does not work.

    Warns:
        CoderWarning: the coder was compiled.
    """

    name = "torchac"

    def __init__(self) -> None:
        self._library = _library()
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
        check_indices(cdf, rows, symbols)  # the C++ code does not check, and would read outside the table
        gathered = _gather(cdf, rows)
        # A symbol takes at most 16 bits, and less than a hundredth of a bit that is lost to rounding.
        data = np.empty(3 * rows.size + 16, np.uint8)
        length = self._library.dcacodec_encode(gathered, *gathered.shape, symbols.astype(np.int16), data, data.size)
        if length < 0:
            raise MemoryError(f"no memory to encode {rows.size} symbols")
        if length > data.size:
            raise ValueError("a row of the table is not increasing")
        return data[:length].tobytes()

    def decode(self, cdf: Integers, rows: Integers, data: bytes) -> NDArray[np.int64]:
        """See `Coder.decode`."""
        check_indices(cdf, rows)
        gathered = _gather(cdf, rows)
        symbols = np.empty(rows.size, np.int16)
        if self._library.dcacodec_decode(gathered, *gathered.shape, data, len(data), symbols):
            raise MemoryError(f"no memory to decode {rows.size} symbols")
        return symbols.astype(np.int64)


@functools.cache
def best_coder() -> Coder:
    """The compiled coder if available, else the Python coder.

    The first call on a machine compiles the coder, see `TorchacCoder`.

    Warns:
        CoderWarning: the coder was compiled, or is not available, and why.
    """
    try:
        return TorchacCoder()
    except CoderUnavailableError as error:
        warn(f"using the slow entropy coder, because the fast one is not available: {error}", CoderWarning)
        return PythonCoder()


def _gather(cdf: Integers, rows: Integers) -> NDArray[np.int16]:
    """The row of each symbol, as unsigned 16-bit numbers, which the C++ code takes as signed ones.

    The last column wraps from 65536 to 0; the C++ code does not read it.
    """
    if rows.size * cdf.shape[1] >= 1 << 31:
        raise ValueError(f"{rows.size} symbols at once are too many for torchac")
    # `take` copies whole rows: it is several times as fast as an index, and the result is contiguous.
    return np.take((cdf & 0xFFFF).astype(np.uint16).view(np.int16), rows, axis=0)


def _library() -> ctypes.CDLL:
    """The loaded library, which is compiled if it is not in the cache."""
    package = importlib.util.find_spec("torchac")
    if package is None or not package.submodule_search_locations:
        raise CoderUnavailableError("the package torchac is not installed")
    source = Path(package.submodule_search_locations[0]) / "backend" / "torchac_backend.cpp"
    try:
        sources = [path.read_bytes() for path in (source, *sorted(_NATIVE.rglob("*.*")))]
        # Everything that the library depends on.
        key = (sources, _FLAGS, sys.platform, platform.machine(), platform.libc_ver())
        path = _cache_folder() / "torchac" / hashlib.sha256(repr(key).encode()).hexdigest()[:16] / _LIBRARY
        if not _is_intact(path):
            _build(source.parent, path)
    except OSError as error:
        raise CoderUnavailableError(reason(error)) from error
    try:
        library = ctypes.CDLL(str(path))
        integers, rows = ndpointer(np.int16, 1, flags="C"), ndpointer(np.int16, 2, flags="C")
        number, text, octets = ctypes.c_int64, ctypes.c_char_p, ndpointer(np.uint8, 1, flags="C")
        library.dcacodec_encode.argtypes = rows, number, number, integers, octets, number
        library.dcacodec_decode.argtypes = rows, number, number, text, number, integers
        library.dcacodec_encode.restype = library.dcacodec_decode.restype = number
    except (OSError, AttributeError) as error:
        raise CoderUnavailableError(f"{path} cannot be loaded ({error}); delete it to have it rebuilt") from error
    return library


def _cache_folder() -> Path:
    try:
        return cache_dir()
    except RuntimeError as error:
        raise CoderUnavailableError("there is no home folder for the cache; set DCACODEC_CACHE to a folder") from error


def _build(include: Path, library: Path) -> None:
    """Compile `library` from torchac's C++ file in the folder `include`, unless another process does so meanwhile.

    It is compiled in a temporary folder, and moved to its place when it is complete: a killed build does no harm, and
    its files are removed by the next one. Its digest follows it: until then, it counts as damaged.
    """
    compiler = compiler_command()
    library.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Without the lock two processes may build at once, and it does not matter whose library remains.
    with locked(library.parent / "lock", _BUILD_SECONDS) as alone:
        if _is_intact(library):
            return
        if alone:
            for left in library.parent.glob("build-*"):
                shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="build-", dir=library.parent) as folder:
            output = Path(folder) / library.name
            # Our folder comes first, as it stands in for the headers of PyTorch.
            files = "-I", str(_NATIVE), "-I", str(include), str(_NATIVE / "torchac_library.cpp"), "-o", str(output)
            _run([*compiler, *_FLAGS, *files], folder)
            digest = Path(folder) / "digest"
            digest.write_bytes(hashlib.sha256(output.read_bytes()).digest())
            os.replace(output, library)
            os.replace(digest, _digest_of(library))
    # At the end: as an error it comes once, and not at every attempt.
    warn("the entropy coder was compiled, which is done once", CoderWarning)


def _is_intact(library: Path) -> bool:
    """Whether a library is there as it was built. Loading one that is cut off can end the process (SIGBUS)."""
    with suppress(OSError):
        return hashlib.sha256(library.read_bytes()).digest() == _digest_of(library).read_bytes()
    return False


def _digest_of(library: Path) -> Path:
    """The file with the SHA-256 of a library."""
    return library.with_suffix(".sha256")


def compiler_command() -> list[str]:
    """The command of the C++ compiler, with the options of GCC and Clang: that of CXX, else the usual names.

    Raises:
        CoderUnavailableError: there is none.
    """
    named = os.environ.get("CXX")
    try:
        commands = [shlex.split(named)] if named else [["c++"], ["g++"], ["clang++"]]
    except ValueError as error:
        raise CoderUnavailableError(f"the variable CXX, {named}, is not a command: {error}") from None
    for command in commands:
        if command and shutil.which(command[0]):
            return command
    raise CoderUnavailableError(f"there is no C++ compiler ({named or 'c++'})")


def _run(command: Sequence[str], folder: str) -> None:
    """Run a compiler, whose output is captured; the folder is for its own files.

    Raises:
        CoderUnavailableError: it fails, or takes too long.
    """
    try:
        result = subprocess.run(
            command,
            env={**os.environ, "LC_ALL": "C", "TMPDIR": folder},  # messages in English
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


def _failure(output: str) -> str:
    """The most informative line in the output of a failed build."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return next((line for line in lines if re.search(r"\berror: ", line)), lines[-1] if lines else "no message")
