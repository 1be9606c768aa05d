"""The records of the study: JSON files, each with the inputs it was made from."""

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
    """Write a JSON file, atomically.

    Raises:
        OSError: it cannot be written.
    """
    text = json.dumps(content, indent=1) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def read_record(path: Path, made_from: Record, known: Record) -> Record | None:
    """Read a record; None if there is none.

    Args:
        path: of the JSON file.
        made_from: the value that "made_from" must have in it.
        known: other fields that it must have: "name", and for a variant the values of `describe`.

    Raises:
        TrainingError: it is damaged, or was made from another checkpoint or other latents, or with other options, and
            so cannot be compared.
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
        raise TrainingError(f"{path}: damaged; delete it to have its measurements made again")
    if not same:
        raise TrainingError(
            f"{path} was made from another checkpoint, other pictures or with other options; choose another folder"
        )
    return record


def _is_whole(record: Record) -> bool:
    """Whether a record, which may be damaged, has all values that tables and figures show.

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
