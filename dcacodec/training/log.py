"""The log of a training run: its name, and reading it, also where a killed run left it incomplete.

:mod:`dcacodec.training.loop` describes the lines.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from dcacodec.errors import TrainingError

LOG_NAME: Final = "log.jsonl"


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log, in order, without steps that a killed run logged after the checkpoint it later resumed from.

    Incomplete lines, which a killed run may leave, are skipped.

    Raises:
        TrainingError: a line does not belong to a training log, or all lines are incomplete.
        OSError: the file cannot be read.
    """
    lines: list[dict[str, Any]] = []
    for number, text in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
        try:
            line = json.loads(text, parse_constant=reject_constant)
        except (ValueError, RecursionError):
            continue
        try:
            if line["kind"] == "start":
                lines = [each for each in lines if each["pixels"] <= line["pixels"]]
            lines.append(line)
        except (KeyError, TypeError) as error:
            raise TrainingError(f"{path}: line {number} does not belong to a training log") from error
    if not lines:
        raise TrainingError(f"{path} is not a training log")
    return lines


def reject_constant(name: str) -> float:
    """Reject NaN and infinities, which JSON does not have but Python's reader accepts."""
    raise ValueError(f"{name} is not JSON")
