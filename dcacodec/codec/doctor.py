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
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Final

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

    system: dict[str, Any] = field(default_factory=dict)
    weights: list[dict[str, Any]] = field(default_factory=list)
    device: dict[str, Any] = field(default_factory=dict)
    coder: dict[str, Any] = field(default_factory=dict)
    threads: dict[str, Any] = field(default_factory=dict)
    cache: dict[str, Any] = field(default_factory=dict)
    packages: dict[str, dict[str, str | None]] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return asdict(self)


def examine() -> Diagnosis:
    """Examine this installation. The entropy coder is compiled if it is not in the cache."""
    found = Diagnosis()
    parts: tuple[tuple[str, Callable[[Diagnosis], None]], ...] = (
        ("the installation", _system),
        ("the environment", _environment),
        ("the packages", _packages),
        ("the weights", _weights),
        ("PyTorch", _torch),
        ("the entropy coder", _coder),
        ("the cache", _cache),
        (f"the preset {PRESET}", _preset),
    )
    for name, part in parts:
        try:
            part(found)
        except Exception as error:  # a broken package can raise anything when it is imported
            found.problems.append(f"{name}: {_line(error)}")
    return found


def _line(error: Exception) -> str:
    if isinstance(error, ImportError):
        return " ".join(f"{type(error).__name__}: {error}".split())
    return reason(error)


def _system(found: Diagnosis) -> None:
    found.system.update(
        dcacodec=__version__,
        folder=str(Path(__file__).resolve().parents[1]),
        python=platform.python_version(),
        prefix=sys.prefix,
        platform=platform.platform(),
    )


def _environment(found: Diagnosis) -> None:
    found.environment.update({name: os.environ[name] for name in _VARIABLES if name in os.environ})


def _packages(found: Diagnosis) -> None:
    try:
        requirements = metadata.requires("dcacodec") or []
    except metadata.PackageNotFoundError:  # a checkout on the path
        requirements = []
    for requirement in requirements:
        match = _REQUIREMENT.match(requirement)
        if match is not None and match["name"] != "dcacodec" and match["extra"] not in _DEVELOPMENT:
            group = found.packages.setdefault(match["extra"] or "required", {})
            group[match["name"]] = _version(match["name"])
    found.packages["compressai"] = {"compressai": _version("compressai")}
    from PIL import features

    found.packages["in Pillow"] = {name: features.version(name) for name in _PILLOW_PARTS}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _weights(found: Diagnosis) -> None:
    own = own_models_dir()
    for folder in (models_dir(),) if own is None else (own, models_dir()):
        try:
            index = read_index(folder)
        except DcaError as error:
            found.problems.append(reason(error))
            continue
        for fingerprint, published in index.files.items():
            presets = [name for name, tunings in index.presets.items() if fingerprint in tunings.values()]
            try:
                digest = hashlib.sha256(published.path.read_bytes()).hexdigest()
                state = "ok" if digest == published.digest else "its SHA-256 is not the published one"
            except OSError as error:
                state = reason(error, published.path)
            if state != "ok":
                found.problems.append(f"the weights {fingerprint}, {published.path}: {state}")
            facts = {"fingerprint": fingerprint, "tune": published.tune, "presets": presets}
            found.weights.append({**facts, "file": str(published.path), "state": state})


def _preset(found: Diagnosis) -> None:
    from dcacodec.weights.reader import read_weights

    if not found.problems:  # else they are the reason
        published = by_preset(PRESET)
        read_weights(published.path, published.digest)


def _torch(found: Diagnosis) -> None:
    import torch

    from dcacodec.network.device import gpu_problem
    from dcacodec.network.precision import fast_bfloat16, float32_is_exact

    found.system.update(torch=torch.__version__, cuda=torch.version.cuda or torch.version.hip)
    affinity = getattr(os, "sched_getaffinity", None)
    processors = len(affinity(0)) if affinity is not None else os.cpu_count()
    found.threads.update(torch=torch.get_num_threads(), processors=processors)
    with warnings.catch_warnings(record=True) as caught:  # of a driver that is too old, for example
        warnings.simplefilter("always")
        problem = gpu_problem()
    details = [" ".join(str(each.message).split()) for each in caught]
    if found.system["cuda"] is None:
        details.append("PyTorch is built without CUDA")
    device = torch.device("cpu" if problem else "cuda")
    found.device.update(
        device=device.type,
        name=None if problem else torch.cuda.get_device_name(device),
        why_no_gpu="; ".join([problem, *details]) if problem else None,
        bfloat16=fast_bfloat16(device),
        float32_is_exact=float32_is_exact(device),
    )


def _coder(found: Diagnosis) -> None:
    from dcacodec.coding import CoderUnavailableError, TorchacCoder, compiler_command

    try:
        path = shutil.which(compiler_command()[0])
    except CoderUnavailableError:
        path = None
    found.coder.update(
        name="python", why_not_compiled=None, compiler=path, compiler_version=path and _compiler_version(path)
    )
    try:
        found.coder["name"] = TorchacCoder().name
    except CoderUnavailableError as error:
        found.coder["why_not_compiled"] = reason(error)


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


def _cache(found: Diagnosis) -> None:
    try:
        folder = cache_dir()
    except RuntimeError as error:  # the entropy coder is then compiled nowhere, and datasets are not kept
        found.cache.update(folder=None, why_not=str(error))
        return
    if folder.exists() and not folder.is_dir():
        found.cache.update(folder=None, why_not=f"{folder} is not a folder")
        return
    found.cache.update(folder=str(folder), why_not=None)
    found.cache["bytes"] = {each.name: _size(each) for each in sorted(folder.iterdir())} if folder.is_dir() else {}


def _size(path: Path) -> int:
    files = [Path(folder) / name for folder, _, names in os.walk(path) for name in names] if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files)
