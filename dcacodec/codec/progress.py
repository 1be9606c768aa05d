"""Progress reports of encoding and decoding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias, TypeVar

Progress: TypeAlias = Callable[[int, int], object]
"""A callback with the number of steps done and their total: (0, n) first, (n, n) last."""

Part = TypeVar("Part")


class ProgressReporter:
    """Reports progress, in the caller's thread only.

    Args:
        progress: the callback; None for no reports.
        parts: number of parts of the work.
        iterations: of each part. They are reported if there is a single part, which the caller's thread does.
    """

    def __init__(self, progress: Progress | None, parts: int, iterations: int = 1) -> None:
        self._progress, self._parts, self._iterations, self._done = progress, parts, iterations, 0
        self._report(0)

    def _report(self, done: int) -> None:
        self._done = done
        if self._progress is not None:
            self._progress(done, self._parts * self._iterations)

    def tick(self) -> None:
        """Report the end of an iteration."""
        if self._parts == 1:
            self._report(self._done + 1)

    def all(self, parts: Iterable[Part]) -> Iterator[Part]:
        """Yield the parts, and report each."""
        for number, each in enumerate(parts, 1):
            self._report(number * self._iterations)
            yield each
