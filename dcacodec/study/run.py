"""The study from end to end: everything that was done is kept in a folder, and not done again.

::

    OUT/latents.safetensors             the cache; can be deleted
    OUT/own.json                        how the checkpoint's own entropy model does on the same latents
    OUT/variants/NAME-SEED.json         a record for each variant, see `run_variant`
    OUT/variants/NAME-SEED.safetensors  its weights, as published ones are
    OUT/timing.json                     decode times
    OUT/report.json, report.md, *.svg   see :mod:`dcacodec.study.report`
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dcacodec.errors import TrainingError
from dcacodec.files import write_atomically
from dcacodec.network.config import REGIONAL_STRIDE
from dcacodec.network.dca import DCA
from dcacodec.study.latents import CacheKey, Latents, digest, load_frozen, make_latents, read_latents, save_latents
from dcacodec.study.timing import decode_times
from dcacodec.study.variants import Variant, describe, measure, sizes, train_variant
from dcacodec.training.data import digest_of, load_pictures
from dcacodec.training.loop import TrainingOptions
from dcacodec.training.publish import export

Record = dict[str, Any]

TIMED_SIDES = (512, 1024, 2048)
"""Of the square pictures that decoding is timed on, in pixels."""


def write_json(path: Path, content: object) -> None:
    """Put JSON in place of what is there."""
    text = json.dumps(content, indent=1) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def read_record(path: Path, made_from: Record) -> Record | None:
    """A record, or None where there is none.

    Raises:
        TrainingError: it is damaged, or was made in another way: from another checkpoint, on other latents, with other
            options. Such records say nothing about each other.
    """
    try:
        record = json.loads(path.read_text("utf-8"))
        same = record["made_from"] == made_from
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path}: damaged; without it, what it told is done anew") from error
    if not same:
        raise TrainingError(f"{path} was made from another checkpoint, other pictures or with other options; "
                            "name another folder")
    assert isinstance(record, dict)
    return record


def study(
    checkpoint: Path,
    sources: Sequence[str],
    validation: Sequence[str],
    folder: Path,
    options: TrainingOptions,
    variants: Sequence[Variant],
    crops: int,
    validation_pictures: int,
    rounds: int,
    quiet: bool = False,
) -> list[Record]:
    """Train, measure and time the variants; what a run before has finished is taken from its folder.

    Args:
        checkpoint: a training checkpoint or a weights file; its transforms are frozen.
        sources, validation: pictures, see `load_pictures`.
        folder: for all results; made where there is none.
        options: see `train_variant`.
        crops: how many latents are trained on.
        validation_pictures: how many of ``validation``, from its start.
        rounds: of timing; 0 for none.

    Returns:
        The records: the checkpoint's own, then those of the variants in their order.

    Raises:
        TrainingError: pictures do not suffice, the folder holds results of another study, or a loss is not finite.
        ImageError, WeightsError, OSError: a file cannot be read, or written.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    frozen = load_frozen(checkpoint)
    pictures = load_pictures(validation, quiet)[:validation_pictures]
    if any(min(picture.shape[:2]) < REGIONAL_STRIDE for picture in pictures):
        raise TrainingError(f"pictures to validate on need {REGIONAL_STRIDE} pixels at least to each side")
    source = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    key = CacheKey(source, digest_of(sources), crops, digest(pictures), options.seed)
    (folder / "variants").mkdir(parents=True, exist_ok=True)
    latents = read_latents(folder / "latents.safetensors", key)
    if latents is None:
        latents = make_latents(frozen, load_pictures(sources, quiet), pictures, key, device, quiet)
        save_latents(folder / "latents.safetensors", latents, key)

    records = [_own(frozen, latents, pictures, folder / "own.json", {"latents": asdict(key)}, device, quiet)]
    for variant in variants:
        made_from = {"latents": asdict(key), "options": asdict(replace(options, seed=variant.seed))}
        place = folder / "variants" / f"{variant.name}.json"
        records.append(_variant(variant, frozen, latents, pictures, place, options, made_from, device, quiet))
    if rounds:
        weights = {variant.name: folder / "variants" / f"{variant.name}.safetensors" for variant in variants}
        timing = _timing(folder / "timing.json", weights, pictures[0], rounds, quiet)
        for record, name in zip(records[1:], weights, strict=True):
            record["decode_ms"] = timing[name]
    return records


def _own(
    frozen: DCA, latents: Latents, pictures: Sequence[NDArray[np.uint8]], path: Path, made_from: Record,
    device: torch.device, quiet: bool,
) -> Record:
    record = read_record(path, made_from)
    if record is None:
        record = {"name": "checkpoint", "made_from": made_from, "parameters": sizes(frozen),
                  "qualities": measure(frozen, latents, pictures, device, quiet)}
        write_json(path, record)
    return record


def _variant(
    variant: Variant, frozen: DCA, latents: Latents, pictures: Sequence[NDArray[np.uint8]], path: Path,
    options: TrainingOptions, made_from: Record, device: torch.device, quiet: bool,
) -> Record:
    """A finished variant's record, or that of training it now.

    It has "name", "label", the fields of `Variant`, "made_from", "parameters" (`sizes`), "training" (what
    `train_variant` tells), "qualities" (`measure`).
    """
    record = read_record(path, made_from)
    if record is None:
        model, training = train_variant(frozen, variant, latents, options, device, quiet)
        qualities = measure(model, latents, pictures, device, quiet)
        data = export(model)
        write_atomically(path.with_suffix(".safetensors"), lambda file: file.write(data))
        record = {"name": variant.name, **describe(variant), "made_from": made_from, "parameters": sizes(model),
                  "training": training, "qualities": qualities}
        write_json(path, record)
    return record


def _timing(
    path: Path, weights: dict[str, Path], picture: NDArray[np.uint8], rounds: int, quiet: bool
) -> dict[str, dict[str, float]]:
    """Decode times of all the weights, measured together: anew where the set or a file has changed."""
    made_from = {"rounds": rounds, "sides": list(TIMED_SIDES), "threads": torch.get_num_threads(),
                 "weights": {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in weights.items()}}
    try:
        record = json.loads(path.read_text("utf-8"))
        times = record["milliseconds"] if record["made_from"] == made_from else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        times = None
    if times is None:
        times = decode_times(weights, picture, TIMED_SIDES, rounds, quiet)
        write_json(path, {"made_from": made_from, "milliseconds": times})
    assert isinstance(times, dict)
    return times
