"""The study's records: JSON files, each with what it was made from."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from dcacodec.container import STREAMS
from dcacodec.errors import TrainingError
from dcacodec.files import write_atomically

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


def read_record(path: Path, made_from: Record) -> Record | None:
    """A record of measures, or None where there is none.

    Raises:
        TrainingError: it is damaged, or was made in another way: from another checkpoint, on other latents, with other
            options. Such records say nothing about each other.
        OSError: it cannot be read.
    """
    try:
        record: Record = json.loads(path.read_text("utf-8"))
        same = record["made_from"] == made_from
        rows, measures = record["qualities"], ("quality", "bpp", "psnr", *SURPRISES)
        sound = rows and all(math.isfinite(row[name]) for row in rows for name in measures)
        sound = sound and all(row["bpp"] > 0 for row in rows) and {"name", "parameters"} <= record.keys()
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        sound = same = False
    if not sound:
        raise TrainingError(f"{path}: damaged; without it, what it told is done anew")
    if not same:
        raise TrainingError(f"{path} was made from another checkpoint, other pictures or with other options; "
                            "name another folder")
    return record
