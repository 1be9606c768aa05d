"""The study from end to end: everything that was done is kept in a folder, and not done again.

::

    OUT/latents.safetensors             the cache; can be deleted
    OUT/own.json                        how the checkpoint's own entropy model does on the same latents
    OUT/variants/NAME-SEED.json         a record for each variant, see `run_variant`
    OUT/variants/NAME-SEED.safetensors  its weights, as published ones are
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
"""Of the square pictures that decoding is timed on, in pixels."""


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

    What a run before has finished is taken from its folder, be it asked for or not.

    Args:
        checkpoint: a training checkpoint or a weights file; its transforms are frozen.
        sources, validation: pictures, see `load_pictures`.
        folder: for all results; made where there is none.
        options: see `train_variant`.
        crops: how many latents are trained on.
        validation_pictures: how many of ``validation``, from its start.
        rounds: of timing all that is finished, together, where this was not done before; 0 for none, and what is
            known stays.

    Returns:
        The records: the checkpoint's own, then those of all finished variants in the order of `VARIANTS`.

    Raises:
        TrainingError: pictures do not suffice, the folder holds results of another study, or a loss is not finite.
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
    # All that is there, before anything is made: what was made in another way must not be mixed up with it.
    kept = {place: place.read() for place in (own, *places.values())}
    latents = read_latents(folder / "latents.safetensors", key, len(pictures))
    if latents is None:
        latents = make_latents(frozen, load_pictures(sources, quiet), pictures, key, device, quiet)
        (folder / "variants").mkdir(parents=True, exist_ok=True)
        save_latents(folder / "latents.safetensors", latents, key)

    records = [kept[own] or _own(frozen, latents, pictures, own, device, quiet)]
    weights: dict[str, Path] = {}
    for variant, place in places.items():
        record = kept[place] if place.weights.exists() else None  # which are timed
        if record is None and variant in variants:
            record = _variant(variant, frozen, latents, pictures, place, options, device, quiet)
        if record is not None:
            records.append(record)
            weights[variant.name] = place.weights
    timing = _timing(folder / "timing.json", weights, pictures[0], rounds, quiet)
    return [record | {"decode_ms": timing.get(record["name"])} for record in records]


@dataclass(frozen=True, eq=False)
class _Place:
    """Where a record is kept, what it is made from, and what is known of it before."""

    path: Path
    made_from: Record
    known: Record

    @property
    def weights(self) -> Path:
        """Of a variant."""
        return self.path.with_suffix(".safetensors")

    def read(self) -> Record | None:
        return read_record(self.path, self.made_from, self.known)

    def keep(self, **measured: object) -> Record:
        """Write what was measured, and return the record that this makes."""
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
    """Train a variant.

    Its record has "name", "label", the fields of `Variant`, "made_from", "parameters" (`sizes`),
    "training" (what `train_variant` tells), "qualities" (`measure`).
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

    They are measured anew where the set or a file has changed. Without rounds, what is known of these very files.
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
    """What decode times were made from, and these; of nothing where there are none, or none that can be read."""
    try:
        record = json.loads(path.read_text("utf-8"))
        before: Record = record["made_from"]
        sides, times = [str(side) for side in before["sides"]], record["milliseconds"]
        known = {name: {side: float(times[name][side]) for side in sides} for name, _ in before["weights"].items()}
        return before, known
    except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return {"weights": {}}, {}
