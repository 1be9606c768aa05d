"""Published rate-distortion curves, by name: from a data folder, else downloaded from CompressAI."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from dcacodec.bench.fetch import fetch
from dcacodec.bench.results import Anchor
from dcacodec.errors import BenchError, UnknownNameError
from dcacodec.files.paths import cache_dir
from dcacodec.metrics.curves import load_anchor

COMMIT: Final = "869a9f5d4126d015b7de8f203fe60ee9e1608193"
ADDRESS: Final = f"https://raw.githubusercontent.com/InterDigitalInc/CompressAI/{COMMIT}/results/image"

_MODEL: Final = "compressai-{}_mse_cuda.json"
PUBLISHED: Final[dict[str, dict[str, str]]] = {
    "kodak": {
        "vtm": "vtm.json",
        "hm": "hm.json",
        "bpg": "bpg_444_x265_ycbcr.json",
        "av1": "av1.json",
        "jpeg": "jpeg.json",
        "jpeg2000": "jpeg2000.json",
        "webp": "webp.json",
        **{
            name: _MODEL.format(name)
            for name in (
                "bmshj2018-factorized",
                "bmshj2018-hyperprior",
                "mbt2018-mean",
                "mbt2018",
                "cheng2020-anchor",
                "cheng2020-attn",
            )
        },
        "paper-bmshj2018-hyperprior": "paper-bmshj2018-hyperprior.json",
        "paper-mbt2018": "paper-mbt2018.json",
        "paper-minnen2020-cc10": "paper-minnen2020-cc10_mse.json",
        "paper-cheng2020-checkerboard-6M": "paper-cheng2020-checkerboard-6M_mse.json",
        "paper-elic2022": "paper-elic2022_mse.json",
    }
}
"""The file of each curve in CompressAI's folder of a dataset, by dataset and name."""

DEFAULTS: Final[dict[str, tuple[str, ...]]] = {"kodak": ("jpeg", "webp", "bpg", "vtm")}
"""The default curves of each dataset."""


def find_anchor(name: str, dataset: str, data_folders: Sequence[Path]) -> Anchor:
    """Find a published curve.

    Args:
        name: of a file in CompressAI's results format, or of a curve: ``anchors/NAME.json`` or
            ``anchors/DATASET/NAME.json`` in a data folder or, the latter, beside one; or one of `PUBLISHED`.
        dataset: name of the dataset of the curve.
        data_folders: folders to search.

    Raises:
        UnknownNameError: there is no such curve.
        BenchError: it cannot be downloaded, or the file is invalid.
        OSError: a file cannot be read or written.
    """
    if name.endswith(".json") or "/" in name:
        return _load(Path(name), None)
    for folder in data_folders:
        for place in (folder / "anchors", folder / "anchors" / dataset, folder.parent / "anchors" / dataset):
            path = place / f"{name}.json"
            if path.is_file():
                return _load(path, name)
    published = PUBLISHED.get(dataset, {})
    if name not in published:
        known = f"; known by name: {', '.join(published)}" if published else ""
        raise UnknownNameError(f"no published curve {name!r} for {dataset}{known}")
    try:
        path = cache_dir() / "anchors" / COMMIT[:8] / dataset / published[name]
    except RuntimeError as error:
        raise BenchError("there is no home folder for the cache; set DCACODEC_CACHE to a folder") from error
    if not path.is_file():
        fetch(f"{ADDRESS}/{dataset}/{published[name]}", path, _wrong)
    source = f"CompressAI, results/image/{dataset}/{published[name]} at commit {COMMIT[:8]}"
    return replace(_load(path, name), source=source)


def _load(path: Path, name: str | None) -> Anchor:
    """Load the curve of a file, renamed if a name is given."""
    try:
        curve = load_anchor(path)
        described = json.loads(path.read_text("utf-8")).get("description")
    except ValueError as error:
        raise BenchError(str(error)) from error
    return Anchor(replace(curve, name=name or curve.name), str(described or path.name))


def _wrong(path: Path) -> str | None:
    try:
        load_anchor(path)
    except ValueError as error:
        return str(error)
    return None
