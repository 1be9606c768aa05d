"""Checkpoints: the state of a training run in one file, or in parts of a given size.

In parts, ``checkpoint.pt`` becomes an index, ``checkpoint.pt.json``, and the files that it names::

    {"bytes": 30000000, "sha256": "...",
     "parts": [{"file": "checkpoint.pt.5e884898.000", "bytes": 15000000, "sha256": "..."}, ...]}

The checkpoint is the concatenation of its parts. Their names contain the first digits of its SHA-256, so that the parts
of a new checkpoint can be written beside those of the old one before the index is replaced, atomically.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path
from typing import Any

import torch

from dcacodec.errors import DcaError, WeightsError
from dcacodec.files.atomic import write_atomically
from dcacodec.metrics.distortion import DISTORTIONS
from dcacodec.network.device import memory_errors
from dcacodec.weights.reader import Provenance

MOST_PARTS = 1000


@dataclass(frozen=True)
class RunFacts:
    """Facts about a training run, from its checkpoint.

    Attributes:
        minutes, steps: length of its last schedule.
        batch: crops per step and process.
        crop: side of the crops in pixels.
        provenance: pixels seen in total, including those of earlier runs, and the distortion trained for.
    """

    minutes: float
    steps: int
    batch: int
    crop: int
    provenance: Provenance

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> RunFacts:
        """The facts in the state of a checkpoint."""
        options = state["options"]
        batch, crop = (int(options[name]) for name in ("batch", "crop"))
        tune = options.get("tune", "psnr")
        share = options.get("mse_share")
        provenance = Provenance(int(state["pixels"]), tune, DISTORTIONS[tune].mse_share if share is None else share)
        return cls(float(state["seconds"]) / 60, int(state["step"]), batch, crop, provenance)


def index_of(path: Path) -> Path:
    """The path of the index of a checkpoint's parts."""
    return path.with_name(path.name + ".json")


def newest_checkpoint(path: Path) -> Path | None:
    """The checkpoint file, or the index of its parts, whichever was written last; None where there is neither."""
    # Both exist only if a process was killed while it changed from one to the other.
    found = [each for each in (path, index_of(path)) if each.exists()]
    return max(found, key=lambda each: each.stat().st_mtime_ns, default=None)


def write_checkpoint(path: Path, state: dict[str, Any], part_size: int = 0) -> Path:
    """Replace a checkpoint. Whatever goes wrong, either the old one or the new one is complete.

    Args:
        path: of the file, also where it is written in parts.
        part_size: bytes of each part but the last, or 0 for one file.

    Returns:
        The file, or the index of its parts.

    Raises:
        OSError: a file cannot be written.
        ValueError: there would be more than `MOST_PARTS` parts.
    """
    buffer = io.BytesIO()  # torch.save would hide why a file cannot be written
    torch.save(state, buffer)
    content = buffer.getbuffer()
    if not part_size:
        write_atomically(path, lambda file: file.write(content))
        index_of(path).unlink(missing_ok=True)
        _remove_parts(path, keep=set())
        return path
    if len(content) > MOST_PARTS * part_size:
        raise ValueError(f"{len(content)} bytes in parts of {part_size}: these would be more than {MOST_PARTS}")
    digest = hashlib.sha256(content).hexdigest()
    parts: list[dict[str, Any]] = []
    made: list[Path] = []
    try:
        for begin in range(0, len(content), part_size):
            part = content[begin : begin + part_size]
            target = path.with_name(f"{path.name}.{digest[:8]}.{len(parts):03}")
            if not target.exists():  # else it belongs to an identical checkpoint, which must survive an error
                made.append(target)
            write_atomically(target, methodcaller("write", part))
            parts.append({"file": target.name, "bytes": len(part), "sha256": hashlib.sha256(part).hexdigest()})
        text = json.dumps({"bytes": len(content), "sha256": digest, "parts": parts}, indent=1) + "\n"
        write_atomically(index_of(path), lambda file: file.write(text.encode()))
    except BaseException:
        for target in made:
            target.unlink(missing_ok=True)
        raise
    path.unlink(missing_ok=True)
    _remove_parts(path, keep={part["file"] for part in parts})
    return index_of(path)


def _remove_parts(path: Path, keep: set[str]) -> None:
    """Remove the parts of older and of incomplete checkpoints."""
    pattern = re.compile(re.escape(path.name) + r"\.[0-9a-f]{8}\.[0-9]{3}")
    for each in path.parent.iterdir():
        if pattern.fullmatch(each.name) and each.name not in keep:
            each.unlink()


def _joined(index: Path) -> bytes:
    """The concatenated parts of an index."""
    try:
        content = json.loads(index.read_text("utf-8"))
        parts = [(str(part["file"]), str(part["sha256"])) for part in content["parts"]]
        total = str(content["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{index}: not an index of a checkpoint's parts") from error
    joined = bytearray()
    for name, digest in parts:
        if Path(name).name != name:
            raise WeightsError(f"{index}: {name!r} is not the name of a file beside it")
        try:
            part = index.with_name(name).read_bytes()
        except FileNotFoundError as error:
            raise WeightsError(f"{index}: the part {name} is missing") from error
        if hashlib.sha256(part).hexdigest() != digest:
            raise WeightsError(f"{index}: the part {name} is damaged, its SHA-256 is not the one in the index")
        joined += part
    if hashlib.sha256(joined).hexdigest() != total:
        raise WeightsError(f"{index}: the parts do not make the checkpoint, its SHA-256 is not the one in the index")
    return bytes(joined)


@contextmanager
def opened_checkpoint(path: Path) -> Iterator[dict[str, Any]]:
    """The state in a checkpoint, on the CPU, for the block that loads it.

    Args:
        path: of the file, or of the index of its parts (``.json``).

    Raises:
        WeightsError: the file is not a checkpoint, a part is missing or damaged, or its content does not fit (any other
            exception of the block).
        OSError: it cannot be read.
    """
    try:
        with memory_errors():
            source = io.BytesIO(_joined(path)) if path.suffix == ".json" else path
            state = torch.load(source, map_location="cpu", weights_only=True)
            if not isinstance(state, dict):
                raise TypeError(f"it holds a {type(state).__name__}")
            yield state
    except (DcaError, OSError, MemoryError):
        raise
    except Exception as error:  # PyTorch raises many kinds of errors for damaged files and for tensors that do not fit
        raise WeightsError(f"{path}: not a checkpoint, or one of a network that this version does not have") from error
