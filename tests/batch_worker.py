"""Workers for the tests of batches, in a module that other processes can import without torch.

Their "picture" is a text, its "coded file" the same in capitals. Sources of some names have special powers, once or
always, so that a worker dies at a known moment.
"""

import errno
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dcacodec.batch.plan import Job
from dcacodec.batch.work import Converted, FileWorker
from dcacodec.errors import DcaError, ImageError


def die() -> None:
    """Kill this process with SIGKILL."""
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Capitals:
    """Makes workers.

    Attributes:
        folder: where they note what they do: `ledger` gets a line for each target that was put into its place, with the
            number of the process; `died-NAME` is there once a worker has died with the source of that name; `writing`
            is there once one is at work that takes for ever. Until `room` is there, the disk is full for the source of
            the name `full`.
    """

    folder: Path

    def __call__(self) -> "CapitalsWorker":
        return CapitalsWorker(self.folder)


@dataclass
class CapitalsWorker(FileWorker):
    folder: Path

    def convert(self, source: Path) -> Converted:
        if source.stem == "deadly":
            die()
        if source.stem == "bad":
            raise ImageError("no capitals for it")
        if source.stem == "odd":
            raise RuntimeError("who would\nhave thought")
        data = source.read_text("utf-8").upper().encode()
        if source.stem == "changing" and self._first(source):
            source.write_text("another text")

        def write(file: BinaryIO) -> None:
            file.write(data[:3])
            if source.stem == "half" and self._first(source):
                file.flush()
                die()
            if source.stem == "full" and not (self.folder / "room").exists():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if source.stem == "endless":
                file.flush()
                (self.folder / "writing").touch()
                time.sleep(600)
            file.write(data[3:])

        return Converted(write)

    def write(self, job: Job, write: Callable[[BinaryIO], object]) -> None:
        super().write(job, write)
        with open(self.folder / "ledger", "ab", buffering=0) as file:
            file.write(f"{job.target.name} {os.getpid()}\n".encode())
        if job.source.stem == "whole" and self._first(job.source):
            die()

    def _first(self, source: Path) -> bool:
        mark = self.folder / f"died-{source.name}"
        if mark.exists():
            return False
        mark.touch()
        return True


def no_weights() -> FileWorker:
    raise DcaError("there are\nno weights")


def no_start() -> FileWorker:
    die()
    raise AssertionError
