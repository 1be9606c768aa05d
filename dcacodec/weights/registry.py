"""Which weights there are: presets by name, every published file by its fingerprint. No torch here.

`models/index.json` lists the published files::

    {"presets": {"small": {"visual": "9f86d081", "psnr": "5f100a88"}},
     "files": {"9f86d081": {"file": "small-visual-9f86d081.safetensors", "sha256": "9f86d081...", "tune": "visual"},
               "5f100a88": ...}}

A release keeps in "files" every file of every earlier release, so that old pictures stay readable (docs/format.md).
Weights of one's own lie in a folder of the same kind, which the environment variable DCACODEC_MODELS names; there they
are looked for first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dcacodec.errors import UnknownModelError, WeightsError
from dcacodec.files.paths import models_dir, own_models_dir
from dcacodec.network.config import TUNINGS, Tuning

INDEX: Final = "index.json"


@dataclass(frozen=True)
class Published:
    """A weights file.

    Attributes:
        path: of the file.
        digest: the SHA-256 (hex) that it must have.
        tune: what it was trained for.
    """

    path: Path
    digest: str
    tune: Tuning


@dataclass(frozen=True)
class Index:
    """The list of weights: fingerprints by preset and tuning, files by fingerprint."""

    presets: dict[str, dict[Tuning, str]]
    files: dict[str, Published]

    def text(self) -> str:
        """As it is written."""
        files = {
            name: {"file": each.path.name, "sha256": each.digest, "tune": each.tune}
            for name, each in self.files.items()
        }
        return json.dumps({"presets": self.presets, "files": files}, indent=1, sort_keys=True) + "\n"


def read_index(folder: Path) -> Index:
    """The list of the weights in a folder.

    Raises:
        WeightsError: it cannot be read or is damaged.
    """
    path = folder / INDEX
    try:
        index = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"the list of weights, {path}, cannot be read: {error}") from error
    try:
        presets = {
            preset: {_tuning(tune): _text(fingerprint) for tune, fingerprint in tunings.items()}
            for preset, tunings in index["presets"].items()
        }
        files = {
            fingerprint: Published(folder / _file_name(entry["file"]), _text(entry["sha256"]), _tuning(entry["tune"]))
            for fingerprint, entry in index["files"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(f"the list of weights, {path}, is damaged") from error
    return Index(presets, files)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _tuning(value: object) -> Tuning:
    for tune in TUNINGS:
        if value == tune:
            return tune
    raise ValueError(f"{value!r} is not a tuning")


def _file_name(value: object) -> str:
    """Of a weights file in the same folder, and nowhere else."""
    name = _text(value)
    if not re.fullmatch(r"[A-Za-z0-9_-]+\.safetensors", name):
        raise ValueError(f"{name!r} is not the name of a weights file")
    return name


def _lists(folder: Path | None) -> Iterator[Index]:
    """That of the folder; where none is given, the user's own and that of this release."""
    if folder is not None:
        yield read_index(folder)
        return
    if (own := own_models_dir()) is not None:
        try:
            yield read_index(own)
        except WeightsError as error:
            raise WeightsError(f"DCACODEC_MODELS: {error}") from error
    yield read_index(models_dir())


def by_fingerprint(fingerprint: str, folder: Path | None = None) -> Published:
    """The weights file of a fingerprint (8 hex digits).

    Raises:
        UnknownModelError: there is no file that has it.
        WeightsError: a list of weights cannot be read or is damaged.
    """
    for index in _lists(folder):
        if fingerprint in index.files:
            return index.files[fingerprint]
    raise UnknownModelError(f"the file was made with weights {fingerprint}, which this installation does not have")


def presets(folder: Path | None = None) -> list[str]:
    """The presets that weights are published for, sorted.

    Raises:
        WeightsError: a list of weights cannot be read or is damaged.
    """
    return sorted({preset for index in _lists(folder) for preset in index.presets})


def by_preset(preset: str, tune: Tuning | None = None, folder: Path | None = None) -> Published:
    """The newest weights of a preset.

    Args:
        preset: its name.
        tune: what the weights were trained for; None for the first of `TUNINGS` that there are weights for.
        folder: of published weights; None for the user's own, and then those of this release.

    Raises:
        WeightsError: none are published, or a list of weights cannot be read or is damaged.
    """
    for index in _lists(folder):
        tunings = index.presets.get(preset, {})
        for wanted in (tune,) if tune else TUNINGS:
            if wanted in tunings:
                fingerprint = tunings[wanted]
                if fingerprint not in index.files:
                    raise WeightsError(
                        f"the list of weights has no file {fingerprint}, which is that of the preset {preset!r}"
                    )
                return index.files[fingerprint]
    tuned = f" with the tuning {tune!r}" if tune else ""
    raise WeightsError(f"no weights are published for the preset {preset!r}{tuned}")
