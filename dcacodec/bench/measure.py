"""The work of one process of a benchmark: one codec, one picture, one setting.

Tasks and results are plain data. An error of a codec becomes a `Failure`, not an exception.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from dcacodec.bench.codec import BenchCodec, CodecOptions
from dcacodec.bench.codecs import open_codec
from dcacodec.bench.exhibits import Side
from dcacodec.bench.metrics import METRICS
from dcacodec.bench.results import Failure, Sample
from dcacodec.images.picture import Pixels
from dcacodec.images.reading import read_picture

T = TypeVar("T")


@dataclass(frozen=True)
class Measurement:
    """A picture to be coded.

    Attributes:
        codec: its name.
        options: of the codec.
        picture: name of the picture.
        path: of the picture.
        setting: of the codec.
        repeat: number of timed runs.
        metrics: names of the metrics to compute.
    """

    codec: str
    options: CodecOptions
    picture: str
    path: Path
    setting: float
    repeat: int
    metrics: tuple[str, ...]


def worker(work: Callable[..., T], threads: int) -> Callable[[tuple[int, tuple[Any, ...]]], T]:
    """Set up this process, and return the function that does a numbered task in it."""
    warnings.simplefilter("ignore")  # the parent process has reported those about the pictures
    # Libraries read this when they are imported, which has not happened yet.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    return lambda numbered: work(*numbered[1])


@cache
def _codec(name: str, options: CodecOptions) -> BenchCodec:
    return open_codec(name, options)


@cache
def _warm(name: str, options: CodecOptions, path: Path) -> None:
    """Code a picture once as a warm-up: the first run is slower, as memory is allocated and kernels are selected."""
    codec = _codec(name, options)
    setting = codec.settings[len(codec.settings) // 2]
    with suppress(Exception):  # reported with the sample of this picture
        codec.prepare(setting)
        codec.decode(codec.encode(read_picture(path).pixels, setting))


def sample(task: Measurement, warm_up: Path, folder: Path) -> Sample | Failure:
    """Encode a picture to a file, decode it, and compare.

    Args:
        warm_up: the picture that each process codes first, untimed.
        folder: of the temporary file.
    """
    return _guarded(task, lambda: _sample(task, warm_up, folder))


def _guarded(task: Measurement, work: Callable[[], T]) -> T | Failure:
    try:
        return work()
    except Exception as error:  # an error of one codec must not stop the others
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
    """Peak memory in bytes of this process while it loads a codec and codes a picture; None if it is not available.

    The memory in use after all packages are imported and the picture is read is subtracted. Needs a new process.
    """
    return _guarded(task, lambda: _memory(task))


def _memory(task: Measurement) -> int | None:
    codec = _codec(task.codec, task.options)
    codec.import_packages()
    original = read_picture(task.path).pixels
    before = _resident("VmRSS")
    if before is None:
        return None
    # Resets the peak, so that it does not include imports. Not all systems allow this, and it rarely matters.
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    codec.prepare(task.setting)
    codec.decode(codec.encode(original, task.setting))
    peak = _resident("VmHWM")
    return None if peak is None else max(0, peak - before)


def _resident(field: str) -> int | None:
    """A value in bytes of this process's /proc/self/status; None on other systems than Linux."""
    try:
        status = Path("/proc/self/status").read_text("ascii")
    except OSError:
        return None
    (line,) = (line for line in status.splitlines() if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024


def matches(task: Measurement, targets: tuple[int, ...]) -> tuple[Side | None, ...] | Failure:
    """For each target, the largest file of at most this many bytes, decoded; None where all files are larger.

    Args:
        task: its setting is ignored.
        targets: bytes.
    """
    return _guarded(task, lambda: _matches(task, targets))


def _matches(task: Measurement, targets: tuple[int, ...]) -> tuple[Side | None, ...]:
    codec = _codec(task.codec, task.options)
    original = read_picture(task.path).pixels

    def side(found: tuple[float, bytes]) -> Side:
        setting, data = found
        codec.prepare(setting)
        decoded = codec.decode(data)
        quality = {name: METRICS[name].measure(original, decoded) for name in task.metrics}
        return Side(codec.label, setting, len(data), quality, decoded)

    return tuple(found and side(found) for found in largest_within(codec, original, targets))


def largest_within(codec: BenchCodec, pixels: Pixels, limits: Sequence[int]) -> tuple[tuple[float, bytes] | None, ...]:
    """For each limit in bytes, the setting and the content of the largest file within it. None where all are larger.

    Sizes rise along the scale of a codec, except at a few steps. Near these, the file that is found may not be the
    largest one, but it is never above the limit.
    """

    @cache
    def coded(index: int) -> bytes:
        codec.prepare(codec.scale[index])
        return codec.encode(pixels, codec.scale[index])

    def found(limit: int) -> tuple[float, bytes] | None:
        low, high = -1, len(codec.scale)
        while high - low > 1:
            middle = (low + high) // 2
            if len(coded(middle)) <= limit:
                low = middle
            else:
                high = middle
        return (codec.scale[low], coded(low)) if low >= 0 else None

    return tuple(map(found, limits))
