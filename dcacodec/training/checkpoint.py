"""Checkpoints: a training run's state in one file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from dcacodec.errors import DcaError, WeightsError
from dcacodec.images import write_atomically


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Put a state in place of the one before it; whatever goes wrong, one of the two is there, whole.

    Raises:
        OSError: the file cannot be written.
    """
    buffer = io.BytesIO()  # torch.save would hide why a file cannot be written
    torch.save(state, buffer)
    write_atomically(path, lambda file: file.write(buffer.getbuffer()))


@contextmanager
def opened_checkpoint(path: Path, device: torch.device) -> Iterator[dict[str, Any]]:
    """The state in a checkpoint, for a block that takes it over.

    Raises:
        WeightsError: the file is no checkpoint, or the block found that its content does not fit.
        OSError: it cannot be read.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        if not isinstance(state, dict):
            raise TypeError(f"it holds a {type(state).__name__}")
        yield state
    except (DcaError, OSError, MemoryError):
        raise
    except Exception as error:  # PyTorch raises nearly anything where bytes are wrong or tensors do not fit
        raise WeightsError(f"{path}: not a checkpoint, or one of a network that this version does not have") from error
