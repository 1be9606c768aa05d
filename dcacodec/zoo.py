"""Which weights there are: presets by name, every published file by its fingerprint. No torch here.

`models/index.json` lists the published files::

    {"presets": {"small": "9f86d081"},
     "files": {"9f86d081": {"file": "small-9f86d081.safetensors", "sha256": "9f86d081..."}}}

A release keeps in "files" every file of every earlier release, so that old pictures stay readable (docs/format.md).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from dcacodec._paths import models_dir
from dcacodec.errors import UnknownModel, WeightsError


@dataclass(frozen=True)
class Published:
    """A weights file and the SHA-256 (hex) that it must have."""

    path: Path
    digest: str


def _index(folder: Path) -> dict[str, dict[str, str | dict[str, str]]]:
    try:
        index: dict[str, dict[str, str | dict[str, str]]] = json.loads((folder / "index.json").read_text("utf-8"))
        return index
    except (OSError, ValueError) as error:
        raise WeightsError(f"the list of weights, {folder / 'index.json'}, cannot be read: {error}") from error


def by_fingerprint(fingerprint: str, folder: Path | None = None) -> Published:
    """The weights file of a fingerprint (8 hex digits).

    Raises:
        UnknownModel: no file of this release has it.
        WeightsError: the list of weights cannot be read.
    """
    folder = folder or models_dir()
    entry = _index(folder)["files"].get(fingerprint)
    if not isinstance(entry, dict):
        raise UnknownModel(f"the file was made with weights {fingerprint}, which this installation does not have")
    return Published(folder / entry["file"], entry["sha256"])


def by_preset(preset: str, folder: Path | None = None) -> Published:
    """The newest weights of a preset.

    Raises:
        WeightsError: none are published, or the list of weights cannot be read.
    """
    folder = folder or models_dir()
    fingerprint = _index(folder)["presets"].get(preset)
    if not isinstance(fingerprint, str):
        raise WeightsError(f"no weights are published for the preset {preset!r}")
    return by_fingerprint(fingerprint, folder)
