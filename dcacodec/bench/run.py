"""Execution of a benchmark: from a plan to results.

::

    BenchPlan -- tasks not in the journal --> processes --> journal --> Results
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from dcacodec.bench import measure
from dcacodec.bench.codec import BenchCodec, CodecOptions
from dcacodec.bench.datasets import Dataset, Member, Warn
from dcacodec.bench.exhibits import Exhibit, Side
from dcacodec.bench.metrics import METRICS
from dcacodec.bench.results import Anchor, Failure, MeasuredCodec, Results, Sample
from dcacodec.bench.store import Journal, sample_from_json, sample_to_json
from dcacodec.bench.summary import deficits
from dcacodec.images.reading import read_picture
from dcacodec.processes import pool

SHOWCASE_BPP: Final = (0.15, 0.3, 0.6)
"""Bits per pixel at which decoded pictures are shown side by side."""


@dataclass(frozen=True)
class BenchPlan:
    """What is to be measured.

    Attributes:
        dataset: the pictures.
        codecs: the first one is compared with all others.
        settings: by name of the codec, from the smallest files to the largest.
        options: how the codecs are to run.
        anchors: published curves to compare with.
        metrics: names of those to compute.
        repeat: how often coding is timed.
        jobs: processes.
        quiet: no progress bars.
    """

    dataset: Dataset
    codecs: tuple[BenchCodec, ...]
    settings: Mapping[str, tuple[float, ...]]
    options: CodecOptions
    anchors: tuple[Anchor, ...]
    metrics: tuple[str, ...]
    repeat: int
    jobs: int
    quiet: bool

    def task(self, codec: BenchCodec, member: Member, setting: float) -> measure.Measurement:
        """The task of coding a picture."""
        return measure.Measurement(
            codec.name, self.options, member.name, member.path, setting, self.repeat, self.metrics
        )

    def middle(self, codec: BenchCodec) -> float:
        """The setting at which memory is measured."""
        settings = self.settings[codec.name]
        return settings[len(settings) // 2]


def run(plan: BenchPlan, journal: Journal, warn: Warn) -> Results:
    """Measure everything that is not in the journal yet.

    Args:
        warn: called for each failure.
    """
    versions = {metric: METRICS[metric].version() for metric in plan.metrics}
    machine = _machine(plan, versions)

    def key(kind: str, codec: BenchCodec, member: Member, setting: float) -> str:
        where = {name: value for name, value in machine.items() if name != "device" or codec.network}
        parts = [kind, codec.identity(setting), member.name, member.digest, plan.repeat, versions, where]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    wanted = [
        (codec, setting, member)
        for codec in plan.codecs
        for setting in plan.settings[codec.name]
        for member in plan.dataset.pictures
    ]
    keys = [key("sample", codec, member, setting) for codec, setting, member in wanted]
    samples = {number: sample_from_json(journal[each]) for number, each in enumerate(keys) if each in journal}
    first = plan.dataset.pictures[0]
    failures: dict[int, Failure] = {}

    def failed(number: int, failure: Failure) -> None:
        failures[number] = failure
        warn(f"{failure.codec} at {failure.setting:g} failed on {failure.picture}: {failure.reason}")

    missing = [number for number in range(len(wanted)) if number not in samples]
    with tempfile.TemporaryDirectory(prefix="dcacodec-bench-") as folder, _bar(plan, len(wanted), len(samples)) as bar:
        tasks = [
            (plan.task(codec, member, setting), first.path, Path(folder))
            for codec, setting, member in map(wanted.__getitem__, missing)
        ]
        with closing(_spread(measure.sample, tasks, plan)) as results:
            for index, result in results:
                number = missing[index]
                if isinstance(result, Sample):
                    samples[number] = result
                    journal.add(keys[number], sample_to_json(result))
                else:
                    failed(number, result)
                codec, setting, member = wanted[number]
                bar.set_postfix_str(f"{codec.name} {setting:g} {member.name!r}")  # names can hold control characters
                bar.update()

    codecs: list[MeasuredCodec] = []
    for codec in tqdm(plan.codecs, desc="peak memory", unit="codec", disable=plan.quiet or None):
        setting = plan.middle(codec)
        memory_key = key("memory", codec, first, setting)
        if memory_key not in journal:
            ((_, result),) = _spread(measure.memory, [(plan.task(codec, first, setting),)], replace(plan, jobs=1))
            if isinstance(result, Failure):
                if not any((one.codec, one.picture) == (codec.name, first.name) for one in failures.values()):
                    failed(len(wanted) + len(codecs), result)
            else:
                journal.add(memory_key, result)
        codecs.append(MeasuredCodec(codec.name, codec.label, plan.settings[codec.name], journal.get(memory_key)))

    return Results(
        dataset=plan.dataset.name,
        pictures=tuple(member.name for member in plan.dataset.pictures),
        codecs=tuple(codecs),
        samples=tuple(samples[number] for number in sorted(samples)),
        anchors=plan.anchors,
        failures=tuple(failures[number] for number in sorted(failures)),
        machine=machine,
    )


def _bar(plan: BenchPlan, total: int, done: int) -> Any:
    return tqdm(total=total, initial=done, desc="measuring", unit="file", disable=plan.quiet or None)


def _spread(work: Any, tasks: Sequence[tuple[Any, ...]], plan: BenchPlan) -> Generator[tuple[int, Any], None, None]:
    """Index and result of each task as they become ready; a task that kills its process has a `Failure` as result."""
    make = partial(measure.worker, work, plan.options.threads)
    with closing(pool.run(enumerate(tasks), make, plan.jobs)) as results:
        for (index, (task, *_)), result in results:
            lost = isinstance(result, pool.Lost)
            yield index, Failure(task.codec, task.picture, task.setting, str(result)) if lost else result


def showcase(plan: BenchPlan, results: Results, count: int, warn: Warn) -> tuple[Exhibit, ...]:
    """Decoded pictures at matched bytes, `SHOWCASE_BPP`, of each codec: those where the first codec loses most.

    Args:
        results: of the plan. Where nothing in them can be compared, pictures are taken evenly spaced.
        count: of pictures.
        warn: called for each codec that failed.
    """
    by_name = {member.name: member for member in plan.dataset.pictures}
    worst = [by_name[deficit.picture] for deficit in deficits(results)[1]]
    members = worst[:count] or [plan.dataset.pictures[place] for place in spaced(len(plan.dataset.pictures), count)]
    targets = [tuple(round(bpp * member.width * member.height / 8) for bpp in SHOWCASE_BPP) for member in members]
    wanted = [(number, codec) for number in range(len(members)) for codec in plan.codecs]
    tasks = [(plan.task(codec, members[number], 0), targets[number]) for number, codec in wanted]
    found: dict[tuple[int, str], tuple[Side | None, ...]] = {}
    with (
        tqdm(total=len(tasks), desc="pictures at matched bytes", unit="search", disable=plan.quiet or None) as bar,
        closing(_spread(measure.matches, tasks, plan)) as searched,
    ):
        for index, result in searched:
            number, codec = wanted[index]
            if isinstance(result, Failure):
                warn(f"{codec.name} failed on {result.picture}, which is to be shown: {result.reason}")
            else:
                found[number, codec.name] = result
            bar.update()
    exhibits = []
    for number, member in enumerate(members):
        original = read_picture(member.path).pixels
        for place, target in enumerate(targets[number]):
            rows = [found[number, codec.name] for codec in plan.codecs if (number, codec.name) in found]
            sides = tuple(side for row in rows if (side := row[place]) is not None)
            if sides:
                exhibits.append(Exhibit(member.name, original, target, sides))
    return tuple(exhibits)


def spaced(length: int, count: int) -> list[int]:
    """Up to ``count`` places in a sequence, evenly spaced, from the first to the last."""
    count = min(length, count)
    return [round(i * (length - 1) / max(1, count - 1)) for i in range(count)]


def _machine(plan: BenchPlan, versions: Mapping[str, str]) -> dict[str, str]:
    """The hardware, the versions of software (those of the metrics are given), and the options of a benchmark."""
    facts = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "jobs": str(plan.jobs),
        "threads per job": str(plan.options.threads),
        **({"device": _device(plan.options.device)} if any(codec.network for codec in plan.codecs) else {}),
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
    }
    packages = {"NumPy": "numpy", "Pillow": "pillow", "PyTorch": "torch"}
    return {
        **facts,
        **{name: _version(package) for name, package in packages.items()},
        **{METRICS[name].title: version for name, version in versions.items() if METRICS[name].is_outside},
    }


def _device(name: str) -> str:
    from dcacodec.network.device import choose_device

    device = choose_device(name)
    if device.type != "cuda":
        return device.type
    import torch

    return f"cuda, {torch.cuda.get_device_name(device)}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str:
    try:
        return version_of(package)
    except PackageNotFoundError:
        return "not installed"
