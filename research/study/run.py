"""The study from end to end. Finished parts are kept in a folder, and reused when the study is resumed.

::

    OUT/latents.safetensors             the cache; can be deleted
    OUT/own.json                        a record for the checkpoint's own entropy model on the same latents
    OUT/variants/NAME-SEED.json         a record for each variant, see `run_variant`
    OUT/variants/NAME-SEED.safetensors  its weights, in the published format
    OUT/timing.json                     decode times of these weights
    OUT/report.json, report.md, *.svg   see :mod:`research.study.report`
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dcacodec.files.atomic import write_atomically
from dcacodec.network.dca import DCA
from dcacodec.network.device import choose_device, memory_errors
from dcacodec.training.data import digest_of, load_pictures, require_blocks
from dcacodec.training.options import TrainingOptions
from dcacodec.weights.export import export
from research.study.latents import CacheKey, Latents, digest, load_frozen, make_latents, read_latents, save_latents
from research.study.records import Record, read_record, write_json
from research.study.timing import decode_times
from research.study.variants import VARIANTS, Variant, describe, measure, sizes, train_variant, used_options

TIMED_SIDES = (512, 1024, 2048)
"""Sides of the square pictures that decoding is timed on, in pixels."""


@memory_errors()
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
    """Train, measure and time the variants.

    Results of earlier runs are taken from the folder, also those of variants that are not requested.

    Args:
        checkpoint: a training checkpoint or a weights file; its transforms are frozen.
        sources, validation: pictures, see `load_pictures`.
        folder: for all results; created if it does not exist.
        options: see `train_variant`.
        crops: number of training crops.
        validation_pictures: number of pictures taken from the start of ``validation``.
        rounds: timing rounds over all finished variants, if they have not been timed together yet; 0 for none, and
            earlier times are kept.

    Returns:
        The records: the checkpoint's own, then those of all finished variants in the order of `VARIANTS`.

    Raises:
        TrainingError: there are too few or too small pictures, the folder holds results of another study, or a loss is
            not finite.
        ImageError, WeightsError, OSError: a file cannot be read, or written.
    """
    device = choose_device("auto")
    frozen = load_frozen(checkpoint)
    pictures = load_pictures(validation, quiet)[:validation_pictures]
    require_blocks(pictures)
    source = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    key = CacheKey(source, digest_of(sources), crops, digest(pictures), options.seed)
    own = _Place(folder / "own.json", {"latents": asdict(key)}, {"name": "checkpoint"})
    places = {
        variant: _Place(
            folder / "variants" / f"{variant.name}.json",
            {"latents": asdict(key), "options": used_options(replace(options, seed=variant.seed))},
            {"name": variant.name, **describe(variant)},
        )
        for variant in dict.fromkeys([*VARIANTS, *variants])
    }
    # All records are read before anything is made, since records of another study must not be mixed with these.
    existing = {place: place.read() for place in (own, *places.values())}
    latents = read_latents(folder / "latents.safetensors", key, len(pictures))
    if latents is None:
        latents = make_latents(frozen, load_pictures(sources, quiet), pictures, key, device, quiet)
        (folder / "variants").mkdir(parents=True, exist_ok=True)
        save_latents(folder / "latents.safetensors", latents, key)

    records = [existing[own] or _own(frozen, latents, pictures, own, device, quiet)]
    weights: dict[str, Path] = {}
    for variant, place in places.items():
        record = existing[place] if place.weights.exists() else None  # the weights are needed for timing
        if record is None and variant in variants:
            record = _variant(variant, frozen, latents, pictures, place, options, device, quiet)
        if record is not None:
            records.append(record)
            weights[variant.name] = place.weights
    timing = _timing(folder / "timing.json", weights, pictures[0], rounds, quiet)
    return [record | {"decode_ms": timing.get(record["name"])} for record in records]


@dataclass(frozen=True, eq=False)
class _Place:
    """The path of a record, its inputs, and fields that are known in advance."""

    path: Path
    made_from: Record
    known: Record

    @property
    def weights(self) -> Path:
        """The path of the weights of a variant."""
        return self.path.with_suffix(".safetensors")

    def read(self) -> Record | None:
        return read_record(self.path, self.made_from, self.known)

    def keep(self, **measured: object) -> Record:
        """Write a record with these measurements, and return it."""
        record = {"made_from": self.made_from, **self.known, **measured}
        write_json(self.path, record)
        return record


def _own(
    frozen: DCA,
    latents: Latents,
    pictures: Sequence[NDArray[np.uint8]],
    place: _Place,
    device: torch.device,
    quiet: bool,
) -> Record:
    qualities = measure(frozen, latents, pictures, device, quiet)
    return place.keep(parameters=sizes(frozen), qualities=qualities)


def _variant(
    variant: Variant,
    frozen: DCA,
    latents: Latents,
    pictures: Sequence[NDArray[np.uint8]],
    place: _Place,
    options: TrainingOptions,
    device: torch.device,
    quiet: bool,
) -> Record:
    """Train and measure a variant.

    Its record has "name", "label", the fields of `Variant`, "made_from", "parameters" (`sizes`), "training"
    (`train_variant`) and "qualities" (`measure`).
    """
    model, training = train_variant(frozen, variant, latents, options, device, quiet)
    qualities = measure(model, latents, pictures, device, quiet)
    data = export(model)
    write_atomically(place.weights, lambda file: file.write(data))
    return place.keep(parameters=sizes(model), training=training, qualities=qualities)


def _timing(
    path: Path, weights: dict[str, Path], picture: NDArray[np.uint8], rounds: int, quiet: bool
) -> dict[str, dict[str, float]]:
    """Decode times of all the weights, measured together.

    They are measured again if a file or the set of files has changed. Without rounds, only known times are returned.
    """
    digests = {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in weights.items()}
    made_from = {"rounds": rounds, "sides": list(TIMED_SIDES), "threads": torch.get_num_threads(), "weights": digests}
    before, known = _known_times(path)
    if rounds and before != made_from:
        known = decode_times(weights, picture, TIMED_SIDES, rounds, quiet)
        write_json(path, {"made_from": made_from, "milliseconds": known})
        before = made_from
    return {name: known[name] for name, digest in digests.items() if before["weights"].get(name) == digest}


def _known_times(path: Path) -> tuple[Record, dict[str, dict[str, float]]]:
    """The inputs of recorded decode times, and the times; both empty if there is no readable record."""
    try:
        record = json.loads(path.read_text("utf-8"))
        before: Record = record["made_from"]
        sides, times = [str(side) for side in before["sides"]], record["milliseconds"]
        known = {name: {side: float(times[name][side]) for side in sides} for name, _ in before["weights"].items()}
        return before, known
    except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return {"weights": {}}, {}
