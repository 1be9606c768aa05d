"""How far a work has come, told to whoever asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias, TypeVar

Progress: TypeAlias = Callable[[int, int], object]
"""Called with how much of the work is done, and how much there is: (0, n) first, (n, n) last."""

Part = TypeVar("Part")


class ProgressReporter:
    """Reports progress in the caller's thread alone.

    Args:
        progress: see `Progress`; None for nobody.
        parts: of the work.
        rounds: of each part. Of a single part, which the caller's thread does, each round is reported.
    """

    def __init__(self, progress: Progress | None, parts: int, rounds: int = 1) -> None:
        self._progress, self._parts, self._rounds, self._done = progress, parts, rounds, 0
        self._report(0)

    def _report(self, done: int) -> None:
        self._done = done
        if self._progress is not None:
            self._progress(done, self._parts * self._rounds)

    def tick(self) -> None:
        """A round is done."""
        if self._parts == 1:
            self._report(self._done + 1)

    def all(self, parts: Iterable[Part]) -> Iterator[Part]:
        """The same parts as they are done."""
        for number, each in enumerate(parts, 1):
            self._report(number * self._rounds)
            yield each
