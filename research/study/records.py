"""The study's records: JSON files, each with what it was made from."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from dcacodec.errors import TrainingError
from dcacodec.files.atomic import write_atomically
from dcacodec.format.container import STREAMS
from dcacodec.training.loop import VALIDATION_QUALITIES
from research.study.variants import TRAINED

Record = dict[str, Any]

STEP_NAMES = [name for name in STREAMS if name.startswith("y_")]
SURPRISES = [f"surprise_{step + 1}" for step in range(len(STEP_NAMES))]


def write_json(path: Path, content: object) -> None:
    """Put JSON in place of what is there.

    Raises:
        OSError: it cannot be written.
    """
    text = json.dumps(content, indent=1) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def read_record(path: Path, made_from: Record, known: Record) -> Record | None:
    """A record of measures, or None where there is none.

    Args:
        path: of the JSON file.
        made_from: what "made_from" in it must be.
        known: what else is known of it: "name", and of a variant what `describe` tells.

    Raises:
        TrainingError: it is damaged, or was made in another way: from another checkpoint, on other latents, with other
            options. Such records say nothing about each other.
        OSError: it cannot be read.
    """
    try:
        record: Record = json.loads(path.read_text("utf-8"))
        same = record["made_from"] == made_from
        sound = record.items() >= known.items() and _is_whole(record)
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
        sound = same = False
    if not sound:
        raise TrainingError(f"{path}: damaged; without it, what it told is done anew")
    if not same:
        raise TrainingError(
            f"{path} was made from another checkpoint, other pictures or with other options; name another folder"
        )
    return record


def _is_whole(record: Record) -> bool:
    """Whether a record, or what `json` made of a damaged one, has all that tables and figures show.

    Raises:
        LookupError, TypeError, ValueError, ArithmeticError: it does not.
    """
    rows = record["qualities"]
    needed = {"quality", "bpp", "psnr", *STEP_NAMES, *SURPRISES}
    numbers = [row[name] for row in rows for name in {*rows[0], *needed}]
    numbers += [record["parameters"][part] for part in TRAINED]
    if "seed" in record:
        training = record["training"]
        numbers += [training[name] for name in ("steps", "seconds", "cpu_seconds")]
        numbers += [number for step, loss in training["curve"] for number in (step, loss)]
    return (
        [row["quality"] for row in rows] == [*VALIDATION_QUALITIES]
        and all(math.isfinite(number) for number in numbers)
        and all(row["bpp"] > 0 for row in rows)
    )
