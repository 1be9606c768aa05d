"""The registry of published weights: presets by name, files by fingerprint. No torch here.

`models/index.json` lists the published files::

    {"presets": {"small": {"visual": "9f86d081", "psnr": "5f100a88"}},
     "files": {"9f86d081": {"file": "small-visual-9f86d081.safetensors", "sha256": "9f86d081...", "tune": "visual"},
               "5f100a88": ...}}

A release keeps the files of all earlier releases in "files", so that old pictures remain decodable
(docs/reference/format.md).
The environment variable DCACODEC_MODELS can name a folder of the same layout with the user's own weights, which take
precedence.
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
from dcacodec.format.container import FINGERPRINT_BYTES
from dcacodec.network.config import TUNINGS, Tuning

INDEX: Final = "index.json"


@dataclass(frozen=True)
class Published:
    """A weights file.

    Attributes:
        path: of the file.
        digest: its expected SHA-256, in hex.
        tune: the tuning that it was trained for.
    """

    path: Path
    digest: str
    tune: Tuning

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the file, 8 hex digits."""
        return self.digest[: 2 * FINGERPRINT_BYTES]


@dataclass(frozen=True)
class Index:
    """The index of published weights: fingerprints by preset and tuning, files by fingerprint."""

    presets: dict[str, dict[Tuning, str]]
    files: dict[str, Published]

    def text(self) -> str:
        """The content of the index file."""
        files = {
            name: {"file": each.path.name, "sha256": each.digest, "tune": each.tune}
            for name, each in self.files.items()
        }
        return json.dumps({"presets": self.presets, "files": files}, indent=1, sort_keys=True) + "\n"


def read_index(folder: Path) -> Index:
    """Read the index of a folder of weights.

    Raises:
        WeightsError: it cannot be read or is damaged.
    """
    path = folder / INDEX
    try:
        index = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        raise WeightsError(f"the list of weights, {path}, cannot be read: {why}") from error
    try:
        presets = {
            preset: {_tuning(tune): _text(fingerprint) for tune, fingerprint in tunings.items()}
            for preset, tunings in index["presets"].items()
        }
        files = {
            fingerprint: Published(folder / _file_name(entry["file"]), _text(entry["sha256"]), _tuning(entry["tune"]))
            for fingerprint, entry in index["files"].items()
        }
        if any(not published.digest.startswith(fingerprint) for fingerprint, published in files.items()):
            raise ValueError("a fingerprint is not the start of the SHA-256")
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
    """Check that a value is the name of a weights file, without a folder."""
    name = _text(value)
    if not re.fullmatch(r"[A-Za-z0-9_-]+\.safetensors", name):
        raise ValueError(f"{name!r} is not the name of a weights file")
    return name


def _lists() -> Iterator[Index]:
    """The user's own index, if there is one, and that of the release."""
    if (own := own_models_dir()) is not None:
        try:
            yield read_index(own)
        except WeightsError as error:
            raise WeightsError(f"DCACODEC_MODELS: {error}") from error
    yield read_index(models_dir())


def by_fingerprint(fingerprint: str) -> Published:
    """The weights file of a fingerprint (8 hex digits).

    Raises:
        UnknownModelError: there is no such file.
        WeightsError: an index cannot be read or is damaged.
    """
    for index in _lists():
        if fingerprint in index.files:
            return index.files[fingerprint]
    raise UnknownModelError(
        f"the file needs the weights {fingerprint}, which are not installed; "
        "DCACODEC_MODELS can name a folder with them"
    )


def presets() -> list[str]:
    """The presets with published weights, sorted.

    Raises:
        WeightsError: an index cannot be read or is damaged.
    """
    return sorted({preset for index in _lists() for preset in index.presets})


def by_preset(preset: str, tune: Tuning | None = None) -> Published:
    """The current weights of a preset.

    Args:
        preset: its name.
        tune: the tuning; None for the first of `TUNINGS` that is published.

    Raises:
        WeightsError: no such weights are published, or an index cannot be read or is damaged.
        ValueError: that is no tuning.
    """
    if tune is not None and tune not in TUNINGS:
        raise ValueError(f"a tuning is {' or '.join(TUNINGS)}, not {tune!r}")
    for index in _lists():
        tunings = index.presets.get(preset, {})
        for wanted in (tune,) if tune else TUNINGS:
            if wanted in tunings:
                fingerprint = tunings[wanted]
                if fingerprint not in index.files:
                    raise WeightsError(
                        f"the list of weights has no file {fingerprint}, which is that of the preset {preset!r}"
                    )
                return index.files[fingerprint]
    others = sorted({other for index in _lists() for other in index.presets.get(preset, {})})
    tuned = f" with the tuning {tune}, only with {', '.join(others)}" if tune and others else ""
    raise WeightsError(f"no weights are published for the preset {preset!r}{tuned}")
