"""Facts about this installation and this machine, for bug reports: the command `dcacodec doctor`.

Each part is examined on its own: one that cannot be, because a package is broken, is listed among the problems and
leaves the others as they are. Nothing heavy is imported with this module.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from dcacodec._version import __version__
from dcacodec.codec.defaults import PRESET
from dcacodec.errors import DcaError, reason
from dcacodec.files.paths import cache_dir, models_dir, own_models_dir
from dcacodec.weights.registry import by_preset, read_index

_VARIABLES: Final = (
    "CUDA_VISIBLE_DEVICES",
    "CXX",
    "DCACODEC_CACHE",
    "DCACODEC_DATA",
    "DCACODEC_MODELS",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "ONEDNN_MAX_CPU_ISA",
)
_DEVELOPMENT: Final = frozenset({"browser", "dev", "docs"})
"""Extras that only development needs."""
_PILLOW_PARTS: Final = ("libjpeg_turbo", "libtiff", "webp", "avif", "jpg_2000", "littlecms2")
_REQUIREMENT: Final = re.compile(r"(?P<name>[\w.-]+)[^;]*(?:;.*\bextra == ['\"](?P<extra>[\w-]+)['\"])?")
_COMPILER_SECONDS: Final = 10.0

Facts: TypeAlias = Mapping[str, Any]
"""Values of JSON's types by name."""
Result = TypeVar("Result")


@dataclass(frozen=True)
class Diagnosis:
    """What `examine` found. The values are of JSON's types.

    Attributes:
        system: versions of dcacodec, Python and PyTorch, and the platform.
        weights: one entry per weights file and preset; "state" is "ok" or what is wrong.
        device: that "auto" chooses, and why it is not a GPU.
        coder: the entropy coder, why it is not the compiled one, and the C++ compiler.
        threads: of PyTorch, and processors.
        cache: its folder, and the bytes in each of its subfolders.
        packages: versions of what dcacodec needs and can use, null for what is not installed.
        environment: the variables that change what dcacodec does.
        problems: what makes encoding or decoding impossible, one line each.
    """

    system: Facts
    weights: Sequence[Facts]
    device: Facts
    coder: Facts
    threads: Facts
    cache: Facts
    packages: Facts
    environment: Mapping[str, str]
    problems: Sequence[str]

    def facts(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return asdict(self)


def examine() -> Diagnosis:
    """Examine this installation. The entropy coder is compiled if it is not in the cache."""
    problems: list[str] = []
    nothing: Facts = {}
    unread: tuple[list[Facts], list[str]] = ([], [])

    def found_by(part: Callable[[], Result], name: str, otherwise: Result) -> Result:
        try:
            return part()
        except Exception as error:  # a broken package can raise anything when it is imported
            problems.append(f"{name}: {_line(error)}")
            return otherwise

    system = found_by(_system, "the installation", nothing)
    packages = found_by(_packages, "the packages", nothing)
    in_pillow = found_by(_pillow, "Pillow", nothing)
    weights, damaged = found_by(_weights, "the weights", unread)
    problems += damaged
    pytorch = found_by(_pytorch, "PyTorch", nothing)
    device = found_by(_device, "PyTorch", nothing) if pytorch else nothing
    threads = found_by(_threads, "PyTorch", nothing) if pytorch else nothing
    coder = found_by(_coder, "the entropy coder", nothing)
    cache = found_by(_cache, "the cache", nothing)
    if not problems:  # else they are the reason
        found_by(_read_preset, f"the preset {PRESET}", None)
    return Diagnosis(
        system={**system, **pytorch},
        weights=weights,
        device=device,
        coder=coder,
        threads=threads,
        cache=cache,
        packages={**packages, **in_pillow},
        environment={name: os.environ[name] for name in _VARIABLES if name in os.environ},
        problems=problems,
    )


def _line(error: Exception) -> str:
    if isinstance(error, ImportError):
        return " ".join(f"{type(error).__name__}: {error}".split())
    return reason(error)


def _system() -> Facts:
    return {
        "dcacodec": __version__,
        "folder": str(Path(__file__).resolve().parents[1]),
        "python": platform.python_version(),
        "prefix": sys.prefix,
        "platform": platform.platform(),
    }


def _packages() -> Facts:
    """Versions by the extra that needs them."""
    try:
        requirements = metadata.requires("dcacodec") or []
    except metadata.PackageNotFoundError:  # a checkout on the path
        requirements = []
    found: dict[str, dict[str, str | None]] = {}
    for requirement in requirements:
        match = _REQUIREMENT.match(requirement)
        if match is not None and match["name"] != "dcacodec" and match["extra"] not in _DEVELOPMENT:
            found.setdefault(match["extra"] or "required", {})[match["name"]] = _version(match["name"])
    return {**found, "compressai": {"compressai": _version("compressai")}}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _pillow() -> Facts:
    from PIL import features

    return {"in Pillow": {name: features.version(name) for name in _PILLOW_PARTS}}


def _weights() -> tuple[list[Facts], list[str]]:
    """The weights files, and what is wrong with them."""
    own = own_models_dir()
    found: list[Facts] = []
    problems = []
    for folder in (models_dir(),) if own is None else (own, models_dir()):
        try:
            index = read_index(folder)
        except DcaError as error:
            problems.append(reason(error))
            continue
        for fingerprint, published in index.files.items():
            presets = [name for name, tunings in index.presets.items() if fingerprint in tunings.values()]
            try:
                digest = hashlib.sha256(published.path.read_bytes()).hexdigest()
                state = "ok" if digest == published.digest else "its SHA-256 is not the published one"
            except OSError as error:
                state = reason(error, published.path)
            if state != "ok":
                problems.append(f"the weights {fingerprint}, {published.path}: {state}")
            facts = {"fingerprint": fingerprint, "tune": published.tune, "presets": presets}
            found.append({**facts, "file": str(published.path), "state": state})
    return found, problems


def _read_preset() -> None:
    from dcacodec.weights.reader import read_weights

    published = by_preset(PRESET)
    read_weights(published.path, published.digest)


def _pytorch() -> Facts:
    import torch

    return {"torch": torch.__version__, "cuda": torch.version.cuda or torch.version.hip}


def _threads() -> Facts:
    import torch

    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "torch": torch.get_num_threads(),
        "processors": len(affinity(0)) if affinity is not None else os.cpu_count(),
    }


def _device() -> Facts:
    import torch

    from dcacodec.network.device import gpu_problem
    from dcacodec.network.precision import fast_bfloat16, float32_is_exact

    with warnings.catch_warnings(record=True) as caught:  # of a driver that is too old, for example
        warnings.simplefilter("always")
        problem = gpu_problem()
    details = [" ".join(str(each.message).split()) for each in caught]
    if (torch.version.cuda or torch.version.hip) is None:
        details.append("PyTorch is built without CUDA")
    device = torch.device("cpu" if problem else "cuda")
    return {
        "device": device.type,
        "name": None if problem else torch.cuda.get_device_name(device),
        "why_no_gpu": "; ".join([problem, *details]) if problem else None,
        "bfloat16": fast_bfloat16(device),
        "float32_is_exact": float32_is_exact(device),
    }


def _coder() -> Facts:
    from dcacodec.coding import CoderUnavailableError, TorchacCoder, compiler_command

    try:
        path = shutil.which(compiler_command()[0])
    except CoderUnavailableError:
        path = None
    name, why_not = "python", None
    try:
        name = TorchacCoder().name
    except CoderUnavailableError as error:
        why_not = reason(error)
    version = path and _compiler_version(path)
    return {"name": name, "why_not_compiled": why_not, "compiler": path, "compiler_version": version}


def _compiler_version(path: str) -> str | None:
    """The first line that `--version` prints."""
    try:
        result = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_COMPILER_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return next(iter(result.stdout.splitlines()), None)


def _cache() -> Facts:
    try:
        folder = cache_dir()
    except RuntimeError as error:  # the entropy coder is then compiled nowhere, and datasets are not kept
        return {"folder": None, "why_not": str(error)}
    if folder.exists() and not folder.is_dir():
        return {"folder": None, "why_not": f"{folder} is not a folder"}
    sizes = {each.name: _size(each) for each in sorted(folder.iterdir())} if folder.is_dir() else {}
    return {"folder": str(folder), "why_not": None, "bytes": sizes}


def _size(path: Path) -> int:
    files = [Path(folder) / name for folder, _, names in os.walk(path) for name in names] if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files)
