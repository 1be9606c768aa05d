"""The names of files that are not complete yet, and the removal of those that killed processes have left."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

PREFIX: Final = ".dcacodec-"
LEFTOVER_SECONDS: Final = 3600
"""Age from which a temporary file is regarded as abandoned: writing takes seconds."""

_NAME: Final = re.compile(rf"{re.escape(PREFIX)}[0-9a-f]{{16}}\.tmp")


def temporary_beside(path: Path) -> Path:
    """A new path in the folder of a file, to be renamed to that file once it is complete."""
    return path.with_name(f"{PREFIX}{secrets.token_hex(8)}.tmp")


def remove_leftovers(folders: Iterable[Path], *, now: float | None = None) -> int:
    """Remove abandoned temporary files from folders, not from their subfolders.

    Args:
        folders: to search. Those that are missing or cannot be read are left out.
        now: seconds since 1970; None for the current time.

    Returns:
        The number of files removed.
    """
    latest = (time.time() if now is None else now) - LEFTOVER_SECONDS
    removed = 0
    for folder in folders:
        try:
            with os.scandir(folder) as entries:
                old = [entry.path for entry in entries if _is_leftover(entry, latest)]
        except OSError:  # an error is reported when a file is written there
            continue
        for path in old:
            try:
                os.unlink(path)
            except OSError:  # it belongs to another user
                continue
            removed += 1
    return removed


def _is_leftover(entry: os.DirEntry[str], latest: float) -> bool:
    if not _NAME.fullmatch(entry.name) or not entry.is_file(follow_symlinks=False):
        return False
    return entry.stat(follow_symlinks=False).st_mtime < latest
