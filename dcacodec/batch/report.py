"""The summary of a batch: counts, bytes, and what failed."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dcacodec.batch.work import Outcome


@dataclass
class Report:
    """Totals of a batch.

    Attributes:
        skipped: number of files whose targets were up to date.
        kept: number of files that were not decoded because a picture in their place may be the original.
        other_weights: how many of those were made with other weights than requested; 0 when decoding.
        other_quality: how many of those have another quality than requested, or are not lossless as requested; 0 with a
            target, and when decoding.
        above_target: how many of those exceed the target size or rate; 0 without one.
        left_out: number of files that were ignored because of their suffixes.
        done: number of files that were coded.
        bytes_in: their total size before coding.
        bytes_out: their total size after coding.
        misses: the coded files that do not meet the target, and how near they come.
        failures: the files that failed, and why.
        waiting: number of files that are still to do; 0 unless the batch was stopped.
        seconds: wall-clock time.
        decoding: whether files are decoded, not encoded.
    """

    skipped: int = 0
    kept: int = 0
    other_weights: int = 0
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
    decoding: bool = False

    def add(self, outcome: Outcome) -> None:
        """Add the outcome of a waiting file."""
        self.waiting -= 1
        if outcome.error is not None:
            self.failures.append((outcome.job.source, outcome.error))
            return
        if not outcome.target_met:
            self.misses.append((outcome.job.source, outcome.search))
        self.done += 1
        self.bytes_in += outcome.bytes_in
        self.bytes_out += outcome.bytes_out

    @property
    def saved_percent(self) -> float | None:
        """The reduction in size in percent of the sources' bytes; None where no file was encoded."""
        return 100 * (1 - self.bytes_out / self.bytes_in) if self.bytes_in and not self.decoding else None

    def facts(self) -> dict[str, Any]:
        """The summary for JSON. Bytes of a file name that are not UTF-8 become surrogates, as Python has them."""
        return {
            "done": self.done,
            "skipped": self.skipped,
            "kept": self.kept,
            "other_weights": self.other_weights,
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
            "misses": [{"source": os.fspath(path), "result": text} for path, text in self.misses],
            "failures": [{"source": os.fspath(path), "error": error} for path, error in self.failures],
        }

    def line(self) -> str:
        """The summary as a line of text."""
        total = self.done + self.skipped + self.kept + len(self.failures) + self.waiting
        what = "decoded" if self.decoding else "coded"
        parts = [f"{self.done} of {total} files {what}"]
        parts += [f"{len(self.misses)} of them missed the target"] if self.misses else []
        parts += [f"{self.skipped} skipped (up to date)"] if self.skipped else []
        parts += [f"{self.kept} left alone (older pictures)"] if self.kept else []
        parts += [f"{len(self.failures)} failed"] if self.failures else []
        parts += [f"{self.waiting} not yet {what}"] if self.waiting else []
        text = ", ".join(parts)
        if self.done:
            text += f"; {_size(self.bytes_in)} -> {_size(self.bytes_out)}"
        if self.saved_percent is not None:
            saved = self.saved_percent
            text += f", {saved:.1f} % saved" if saved >= 0 else f", {-saved:.1f} % larger"
        return f"{text}; {self.seconds:.1f} s"


def _size(count: int) -> str:
    """A number of bytes as text: 999 B, 1.0 kB, 2.5 MB."""
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
