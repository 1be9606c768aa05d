"""What a batch came to: counts, bytes, and the list of what failed."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dcacodec.batch.work import Outcome


@dataclass
class Report:
    """Counts outcomes.

    Attributes:
        skipped: files whose targets were there, and not older.
        other_quality: how many of those are of another quality than asked for; 0 with a target, and when decoding.
        above_target: how many of those are larger than a target size or rate allows; 0 without one.
        left_out: files that were not taken for pictures, by their names.
        done: files that were coded.
        bytes_in: size of those.
        bytes_out: size of what they became.
        misses: of the files that were coded, those that do not keep to the target, and how near they come.
        failures: what failed, and why.
        waiting: files that are still to do; 0 unless the batch was stopped.
        seconds: how long it took.
    """

    skipped: int = 0
    other_quality: int = 0
    above_target: int = 0
    left_out: int = 0
    done: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    misses: list[tuple[Path, str]] = field(default_factory=list)
    failures: list[tuple[Path, str]] = field(default_factory=list)
    waiting: int = 0
    seconds: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """Count one of those that were waiting."""
        self.waiting -= 1
        if outcome.error is not None:
            self.failures.append((outcome.job.source, outcome.error))
            return
        if not outcome.kept:
            self.misses.append((outcome.job.source, outcome.taken))
        self.done += 1
        self.bytes_in += outcome.bytes_in
        self.bytes_out += outcome.bytes_out

    @property
    def saved_percent(self) -> float | None:
        """By how much the files became smaller, of the sources' bytes; None where none was coded."""
        return 100 * (1 - self.bytes_out / self.bytes_in) if self.bytes_in else None

    def facts(self) -> dict[str, Any]:
        """For JSON. Bytes of a name that are no UTF-8 are surrogates, as Python has them."""
        return {
            "done": self.done,
            "skipped": self.skipped,
            "other_quality": self.other_quality,
            "above_target": self.above_target,
            "left_out": self.left_out,
            "missed": len(self.misses),
            "failed": len(self.failures),
            "waiting": self.waiting,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "saved_percent": None if self.saved_percent is None else round(self.saved_percent, 2),
            "seconds": round(self.seconds, 3),
            "misses": [{"source": os.fspath(path), "taken": taken} for path, taken in self.misses],
            "failures": [{"source": os.fspath(path), "error": error} for path, error in self.failures],
        }

    def line(self) -> str:
        """For a person."""
        total = self.done + self.skipped + len(self.failures) + self.waiting
        parts = [f"{self.done} of {total} files coded"]
        parts += [f"{len(self.misses)} of them off the target"] if self.misses else []
        parts += [f"{self.skipped} skipped as up to date"] if self.skipped else []
        parts += [f"{len(self.failures)} failed"] if self.failures else []
        parts += [f"{self.waiting} still to do"] if self.waiting else []
        text = ", ".join(parts)
        if self.saved_percent is not None:
            change = (
                f"{self.saved_percent:.1f} % saved" if self.saved_percent >= 0 else f"{-self.saved_percent:.1f} % more"
            )
            text += f"; {_size(self.bytes_in)} -> {_size(self.bytes_out)}, {change}"
        return f"{text}; {self.seconds:.1f} s"


def _size(count: int) -> str:
    """Bytes in the largest unit of which there is at least one: 999 B, 1.0 kB, 2.5 MB."""
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
