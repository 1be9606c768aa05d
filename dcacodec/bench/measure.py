"""One codec, one picture, one setting: the work that is given to other processes.

What goes there and comes back is plain data. A codec that fails there is a `Failure`, not an exception.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, TypeVar

from dcacodec.bench.codec import BenchCodec, CodecOptions
from dcacodec.bench.codecs import open_codec
from dcacodec.bench.metrics import METRICS
from dcacodec.bench.results import Failure, Sample
from dcacodec.images.reading import read_picture

if TYPE_CHECKING:
    from dcacodec.bench.page import Side


T = TypeVar("T")


@dataclass(frozen=True)
class Measurement:
    """A picture to be coded.

    Attributes:
        codec: its name.
        options: how it is to run.
        picture: its name.
        path: where it is.
        setting: of the codec.
        repeat: how often coding is timed.
        metrics: names of those to compute.
    """

    codec: str
    options: CodecOptions
    picture: str
    path: Path
    setting: float
    repeat: int
    metrics: tuple[str, ...]


def worker(work: Callable[..., T], threads: int) -> Callable[[tuple[int, tuple[Any, ...]]], T]:
    """Set up this process, and give what does one of numbered tasks in it."""
    warnings.simplefilter("ignore")  # the parent has told what there is to tell about the pictures
    # Read when a library is loaded, which none is yet that has threads.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    return lambda numbered: work(*numbered[1])


@cache
def _codec(name: str, options: CodecOptions) -> BenchCodec:
    return open_codec(name, options)


@cache
def _warm(name: str, options: CodecOptions, path: Path) -> None:
    """Code a picture once: the first time is slower, as memory is taken and kernels are chosen."""
    codec = _codec(name, options)
    setting = codec.settings[len(codec.settings) // 2]
    with suppress(Exception):  # of this picture's own sample it will be told
        codec.prepare(setting)
        codec.decode(codec.encode(read_picture(path).pixels, setting))


def sample(task: Measurement, warm_up: Path, folder: Path) -> Sample | Failure:
    """Code a picture to a file and back, and compare.

    Args:
        warm_up: the picture that each process codes first, without a clock.
        folder: where the file goes while it is measured.
    """
    return _guarded(task, lambda: _sample(task, warm_up, folder))


def _guarded(task: Measurement, work: Callable[[], T]) -> T | Failure:
    try:
        return work()
    except Exception as error:  # whatever a codec may raise: the others go on
        reason = " ".join(str(error).split())
        name = type(error).__name__
        return Failure(task.codec, task.picture, task.setting, f"{name}: {reason}" if reason else name)


def _sample(task: Measurement, warm_up: Path, folder: Path) -> Sample:
    codec = _codec(task.codec, task.options)
    _warm(task.codec, task.options, warm_up)
    codec.prepare(task.setting)
    original = read_picture(task.path).pixels  # no alpha plane, no metadata: they are not what is measured
    encode, decode = [], []
    file = folder / f"coded-{os.getpid()}"
    for _ in range(task.repeat):
        begin = time.perf_counter()
        data = codec.encode(original, task.setting)
        encode.append(time.perf_counter() - begin)
        file.write_bytes(data)
        size, data = file.stat().st_size, file.read_bytes()
        begin = time.perf_counter()
        decoded = codec.decode(data)
        decode.append(time.perf_counter() - begin)
    height, width = original.shape[:2]
    return Sample(
        picture=task.picture,
        codec=task.codec,
        setting=task.setting,
        width=width,
        height=height,
        size=size,
        quality={name: METRICS[name].measure(original, decoded) for name in task.metrics},
        encode=median(encode),
        decode=median(decode),
        streams=codec.streams(data),
    )


def memory(task: Measurement) -> int | Failure | None:
    """Peak bytes of this process while it loads a codec and codes a picture. None where the system does not tell.

    What it holds once all packages are imported and the picture is read is not counted. For a fresh process.
    """
    return _guarded(task, lambda: _memory(task))


def _memory(task: Measurement) -> int | None:
    codec = _codec(task.codec, task.options)
    codec.import_packages()
    original = read_picture(task.path).pixels
    before = _resident("VmRSS")
    if before is None:
        return None
    # So that what importing took for a moment is not the peak. Not all systems allow it, and it seldom matters.
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    codec.prepare(task.setting)
    codec.decode(codec.encode(original, task.setting))
    peak = _resident("VmHWM")
    return None if peak is None else max(0, peak - before)


def _resident(field: str) -> int | None:
    """A line of Linux's account of this process's memory, in bytes."""
    try:
        status = Path("/proc/self/status").read_text("ascii")
    except OSError:
        return None
    (line,) = (line for line in status.splitlines() if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024


def matches(task: Measurement, targets: tuple[int, ...]) -> tuple[Side | None, ...] | Failure:
    """For each target, the largest file of at most this many bytes, and what it looks like. None where all are larger.

    Args:
        task: its setting does not count.
        targets: bytes.
    """
    return _guarded(task, lambda: _matches(task, targets))


def _matches(task: Measurement, targets: tuple[int, ...]) -> tuple[Side | None, ...]:
    from dcacodec.bench.page import Side  # brings Matplotlib, which the other kinds of work have no use for

    codec = _codec(task.codec, task.options)
    original = read_picture(task.path).pixels

    @cache
    def coded(index: int) -> bytes:
        codec.prepare(codec.scale[index])
        return codec.encode(original, codec.scale[index])

    sides: list[Side | None] = []
    for target in targets:
        # Sizes rise along the scale, but for some steps, so that this finds a file near the target, never above it.
        low, high = -1, len(codec.scale)
        while high - low > 1:
            middle = (low + high) // 2
            if len(coded(middle)) <= target:
                low = middle
            else:
                high = middle
        if low < 0:
            sides.append(None)
            continue
        codec.prepare(codec.scale[low])
        decoded = codec.decode(coded(low))
        quality = {name: METRICS[name].measure(original, decoded) for name in task.metrics}
        sides.append(Side(codec.label, codec.scale[low], len(coded(low)), quality, decoded))
    return tuple(sides)
