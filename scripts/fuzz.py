"""Decode many damaged and forged files, and check the results.

    PYTHONPATH=.:tests python scripts/fuzz.py --count 200000 --seed 1 --out build/fuzz

makes files from the golden files of the tests. Mutations depend only on the seed and the number of the file: any file
can be reproduced (`--first N --count 1 --keep`). Half of the mutations ignore the format: bits and bytes are
changed, and parts removed, duplicated or taken from another file. The others use it: they change streams, lengths, the
slice table, dimensions, quality, chunks and latent checksums, and correct the checksum of the file. A few do both.

Each file must either raise a `DcaError`, or give the integers that an encoder stored under the latent checksums in it;
if header, slices and chunks are those of the original, it must give the same picture. Anything else is a finding:
another exception, a crash, a hang (each file has a time limit), too much memory (address space and growth are limited),
a wrong picture. Findings are written to the folder `--out`, and the exit code is then 1.

No mutation computes the latent checksum of changed streams, since that would be a valid file of another picture. Fields
outside of the slices can differ from the original in a valid way; the result is then "another picture".

`--exhaustive` instead sets every byte of every golden file to each of the 255 other values, and truncates every file to
every length. `--atheris` searches with the package atheris, guided by the branches that each file takes.
"""

from __future__ import annotations

import json
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from types import FrameType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final

import click
import numpy as np
import torch
from forge import Forged, ForgedChunk, ForgedSlice, sealed
from tiny import GOLDEN, WEIGHTS
from tqdm import tqdm

from dcacodec.codec.codec import Codec
from dcacodec.coding import best_coder
from dcacodec.errors import DcaError
from dcacodec.format.container import Chunk, Container
from dcacodec.format.metadata import metadata_of
from dcacodec.format.reader import parse
from dcacodec.format.writer import pack
from dcacodec.images.picture import Picture
from dcacodec.processes import pool
from dcacodec.tiling.grid import Grid
from dcacodec.weights.reader import read_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_PIXELS: Final = 1 << 20
"""Files that claim more are `TooLargeError`, so that a correct decoder needs little memory for any of them."""
HEADROOM: Final = 1 << 30
"""Bytes of address space that a file may take beyond what the process has when it begins."""
GROWTH: Final = 256 << 20
"""Bytes by which the resident memory of a process may grow over all of its files."""
BATCH: Final = 200
"""Files that a process is sent at a time."""
SAME: Final = "the same picture"
OTHER: Final = "another picture, as its header or chunks say"

Change = Callable[[random.Random, Forged, "Sequence[Sample]"], None]


@dataclass(frozen=True)
class Sample:
    """A valid file."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Mutant:
    """A file to check: the sample, and what was changed."""

    number: int
    sample: Sample
    changes: str
    data: bytes


@dataclass(frozen=True)
class Finding:
    """A result that a file must not have."""

    number: int
    name: str
    changes: str
    outcome: str
    data: bytes


class Finished(BaseException):
    """A file took too long. Not an `Exception`, so that no other code catches it."""


# -------------------------------------------------------------------------------------------------- samples and changes


def samples() -> list[Sample]:
    """The golden files, and one with every kind of chunk."""
    found = [Sample(path.stem, path.read_bytes()) for path in sorted(GOLDEN.glob("*.dca"))]
    container = parse(next(sample.data for sample in found if sample.name == "17x5-RGBA-q50"))
    more = (
        Chunk("icCP", b"a profile"),
        Chunk("exIF", b"II*\0\x08\0\0\0\0\0"),
        Chunk("xmPP", b"<x/>"),
        Chunk("teSt", bytes(range(40))),
    )
    whole = Container(container.header, container.slices, container.chunks + more)
    return [*found, Sample("17x5-RGBA-q50-chunks", pack(whole))]


def mutant(number: int, seed: int, known: Sequence[Sample]) -> Mutant:
    """The mutant with this number."""
    draw = random.Random(f"{seed}:{number}")
    sample = draw.choice(known)
    done: list[str] = []
    data = sample.data
    kind = draw.random()
    if kind < 0.55:
        forged = Forged.of(data)
        for _ in range(draw.choice((1, 1, 1, 2, 3))):
            change = draw.choice(CHANGES)
            change(draw, forged, known)
            done.append(change.__name__)
        data = forged.written()
    if kind >= 0.5:
        for _ in range(draw.choice((1, 1, 2, 4))):
            blind = draw.choice(BLIND)
            data = blind(draw, data, known)
            done.append(blind.__name__)
        if kind > 0.8:  # the same under a right checksum: what comes first is then the parser
            data = sealed(data[:-4])
            done.append("sealed")
    return Mutant(number, sample, " ".join(done), data)


def flip_bits(draw: random.Random, data: bytes, known: Sequence[Sample]) -> bytes:
    """Flip one bit or a few."""
    if not data:
        return data
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8))):
        changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def set_bytes(draw: random.Random, data: bytes, known: Sequence[Sample]) -> bytes:
    """Set one byte or a run of them, to random or extreme values."""
    at, length = draw.randrange(len(data) + 1), draw.choice((1, 1, 4, 16))
    fill = bytes([draw.choice((0, 1, 127, 128, 255))]) * length
    return data[:at] + draw.choice((fill, draw.randbytes(length))) + data[at + length :]


def truncate(draw: random.Random, data: bytes, known: Sequence[Sample]) -> bytes:
    """Keep only the beginning."""
    return data[: draw.randrange(len(data) + 1)]


def remove(draw: random.Random, data: bytes, known: Sequence[Sample]) -> bytes:
    """Remove a part from the middle."""
    at = draw.randrange(len(data) + 1)
    return data[:at] + data[at + draw.choice((1, 2, 7, 64)) :]


def insert(draw: random.Random, data: bytes, known: Sequence[Sample]) -> bytes:
    """Insert a few bytes."""
    at = draw.randrange(len(data) + 1)
    return data[:at] + draw.randbytes(draw.choice((1, 1, 4, 300))) + data[at:]


def double(draw: random.Random, data: bytes, known: Sequence[Sample]) -> bytes:
    """Duplicate a part."""
    at = draw.randrange(len(data) + 1)
    end = min(len(data), at + draw.choice((1, 4, 40, 400)))
    return data[:end] + data[at:end] + data[end:]


def splice(draw: random.Random, data: bytes, known: Sequence[Sample]) -> bytes:
    """Join the beginning of this file and the end of another."""
    other = draw.choice(known).data
    return data[: draw.randrange(len(data) + 1)] + other[draw.randrange(len(other)) :]


def damage_stream(draw: random.Random, file: Forged, known: Sequence[Sample]) -> None:
    part, index = _any_stream(draw, file)
    part.streams[index] = draw.choice((flip_bits, set_bytes, truncate, remove, insert, double))(
        draw, part.streams[index], known
    )


def replace_stream(draw: random.Random, file: Forged, known: Sequence[Sample]) -> None:
    part, index = _any_stream(draw, file)
    length = len(part.streams[index])
    donor, other = _any_stream(draw, Forged.of(draw.choice(known).data))
    part.streams[index] = draw.choice(
        (b"", bytes(length), b"\xff" * length, draw.randbytes(length), draw.randbytes(4000), donor.streams[other])
    )


def swap_streams(draw: random.Random, file: Forged, known: Sequence[Sample]) -> None:
    (one, first), (other, second) = _any_stream(draw, file), _any_stream(draw, file)
    one.streams[first], other.streams[second] = other.streams[second], one.streams[first]


def lie_about_length(draw: random.Random, file: Forged, known: Sequence[Sample]) -> None:
    part, index = _any_stream(draw, file)
    part.lengths = [len(stream) for stream in part.streams]
    part.lengths[index] = _other_number(draw, part.lengths[index])


def change_latent_crc(draw: random.Random, file: Forged, known: Sequence[Sample]) -> None:
    part = draw.choice(file.slices)
    part.latent_crc = draw.choice((0, 0xFFFFFFFF, part.latent_crc ^ 1 << draw.randrange(32), draw.getrandbits(32)))


def change_slice_table(draw: random.Random, file: Forged, known: Sequence[Sample]) -> None:
    at = draw.randrange(len(file.slices))
    how = draw.randrange(4)
    if how == 0 and len(file.slices) > 1:
        del file.slices[at]
    elif how == 1:
        file.slices.insert(at, ForgedSlice([b""] * 7, draw.getrandbits(32)))
    elif how == 2:
        draw.shuffle(file.slices)
    else:
        file.slices = file.slices * draw.choice((2, 5))
    if draw.random() < 0.5 and file.slice_count is not None:
        file.slice_count = len(file.slices)


def change_slice_count(draw: random.Random, file: Forged, known: Sequence[Sample]) -> None:
    file.slice_count = draw.choice((None, _other_number(draw, file.slice_count or 1)))


def change_side(draw: random.Random, file: Forged, known: Sequence[Sample]) -> None:
    if draw.random() < 0.5:
        file.width = _other_number(draw, file.width)
    else:
        file.height = _other_number(draw, file.height)


def swap_sides(draw: random.Random, file: Forged, known: Sequence[Sample]) -> None:
    file.width, file.height = file.height, file.width


def change_layout(draw: random.Random, file: Forged, known: Sequence[Sample]) -> None:
    file.layout = draw.choice(
        (file.layout ^ 0x10, file.layout & 0xF0 | draw.choice((0, 8, 9, 10, 11)), draw.randrange(256))
    )


def change_quality(draw: random.Random, file: Forged, known: Sequence[Sample]) -> None:
    anywhere = draw.randint(10, 1000) / 10
    file.quality = draw.choice((file.quality + 1, file.quality - 0.1, draw.randrange(256), anywhere))


def change_identity(draw: random.Random, file: Forged, known: Sequence[Sample]) -> None:
    if draw.random() < 0.5:
        file.version = draw.choice((0, 2, 255))
    else:
        file.fingerprint = flip_bits(draw, file.fingerprint, known)


def write_longer(draw: random.Random, file: Forged, known: Sequence[Sample]) -> None:
    file.longer = draw.choice(("width", "height", "slice_count", "length"))


def add_chunk(draw: random.Random, file: Forged, known: Sequence[Sample]) -> None:
    tag = draw.choice(
        (b"ALPH", b"FULL", b"icCP", b"exIF", b"xmPP", b"icCZ", b"exIZ", b"teSt", b"NEWs", b"a\0b1", draw.randbytes(4))
    )
    others = [chunk.data for sample in known for chunk in Forged.of(sample.data).chunks]
    data = draw.choice((b"", draw.randbytes(60), draw.choice(others)))
    file.chunks.insert(draw.randrange(len(file.chunks) + 1), ForgedChunk(tag, data))


def change_chunk(draw: random.Random, file: Forged, known: Sequence[Sample]) -> None:
    if not file.chunks:
        return
    at = draw.randrange(len(file.chunks))
    chunk = file.chunks[at]
    how = draw.randrange(5)
    if how == 0:
        chunk.length = _other_number(draw, len(chunk.data))
    elif how == 1:
        chunk.tag = set_bytes(draw, chunk.tag, known)[:4]
    elif how == 2:
        file.chunks.append(chunk)
    elif how == 3:
        del file.chunks[at]
    else:
        chunk.data = draw.choice((flip_bits, set_bytes, truncate, remove, insert, splice))(draw, chunk.data, known)


def change_end(draw: random.Random, file: Forged, known: Sequence[Sample]) -> None:
    if draw.random() < 0.3:
        file.end = b""
    else:
        file.tail = draw.randbytes(draw.choice((1, 4, 50)))


BLIND: Final = (flip_bits, set_bytes, truncate, remove, insert, double, splice)
CHANGES: Final[tuple[Change, ...]] = (
    damage_stream,
    damage_stream,
    damage_stream,
    replace_stream,
    replace_stream,
    swap_streams,
    lie_about_length,
    change_latent_crc,
    change_slice_table,
    change_slice_count,
    change_side,
    swap_sides,
    change_layout,
    change_quality,
    change_identity,
    write_longer,
    add_chunk,
    change_chunk,
    change_chunk,
    change_end,
)


def _any_stream(draw: random.Random, file: Forged) -> tuple[ForgedSlice, int]:
    return draw.choice(file.slices), draw.randrange(7)


def _other_number(draw: random.Random, number: int) -> int:
    near = max(0, number + draw.choice((-64, -2, -1, 1, 2, 64)))
    return draw.choice((near, near, number * 2, number * 256, 0, 1 << draw.randrange(36), (1 << 32) - 1, 1 << 32))


def exhaustive(known: Sequence[Sample]) -> Iterator[Mutant]:
    """Mutants with every other value of every byte, and with every length, of every file."""
    number = 0
    for sample in known:
        for at in range(len(sample.data)):
            for value in range(256):
                if value != sample.data[at]:
                    data = sample.data[:at] + bytes([value]) + sample.data[at + 1 :]
                    yield Mutant(number, sample, f"byte {at} = {value}", data)
                    number += 1
        for length in range(len(sample.data)):
            yield Mutant(number, sample, f"cut off at {length}", sample.data[:length])
            number += 1


# ------------------------------------------------------------------------------------------------------------ the judge


class Judge:
    """Decodes files and classifies each: the name of an error, `SAME`, `OTHER`, or a finding.

    Args:
        known: the valid files.
        seconds: the limit for one file.
    """

    def __init__(self, known: Sequence[Sample], seconds: float) -> None:
        torch.set_num_threads(1)
        self._codec = Codec(read_weights(WEIGHTS), coder=best_coder())
        self._seconds = seconds
        self._latents: dict[int, NDArray[np.int64]] = {}
        self._pictures: dict[bytes, Picture] = {}
        for sample in known:
            self._pictures[sample.data] = self._codec.decode(sample.data)
            for crc, latent in self._integers(sample.data):
                self._latents[crc] = latent

    def __call__(self, data: bytes, original: bytes | None) -> tuple[str, bool]:
        """The outcome, and whether it is a finding.

        Args:
            data: the file.
            original: the file it was made from, None if there is none.
        """
        signal.setitimer(signal.ITIMER_REAL, self._seconds)
        try:
            picture = self._codec.decode(data, max_pixels=MAX_PIXELS)
        except DcaError as error:
            text = str(error)
            if len(text.splitlines()) != 1 or len(text) > 300:
                return f"{type(error).__name__}: a text that is not one line of up to 300 characters", True
            return type(error).__name__, False
        except MemoryError:
            return "memory", True
        except Finished:
            return f"hang: more than {self._seconds} s", True
        except Exception as error:
            return f"{type(error).__name__}: {error}", True
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return self._judged(data, picture, original)

    def _judged(self, data: bytes, picture: Picture, original: bytes | None) -> tuple[str, bool]:
        container = parse(data, MAX_PIXELS)
        header = container.header
        if picture.pixels.shape != (header.height, header.width, 3) or picture.gray != (header.mode == "L"):
            return "wrong picture: not of the size or mode in its header", True
        if (picture.alpha is None) != (container.chunk("ALPH") is None):
            return "wrong picture: alpha is lost or made up", True
        kept = picture.icc, picture.exif, picture.xmp
        if kept != metadata_of(container):
            return "wrong picture: its metadata are not those of the file", True
        for crc, latent in self._integers(data):
            if crc not in self._latents or not np.array_equal(latent, self._latents[crc]):
                return "wrong picture: integers that no encoder stored under this checksum", True
        if original is None:
            return OTHER, False
        first = parse(original)
        if (header, container.slices) != (first.header, first.slices):
            return OTHER, False
        expected = self._pictures[original]
        if not np.array_equal(picture.pixels, expected.pixels):
            return "wrong picture: other pixels from the same slices", True
        if {chunk.tag: chunk.data for chunk in container.chunks} != {chunk.tag: chunk.data for chunk in first.chunks}:
            return OTHER, False
        if (
            picture.alpha is not None
            and expected.alpha is not None
            and not np.array_equal(picture.alpha, expected.alpha)
        ):
            return "wrong picture: another alpha plane from the same chunk", True
        return SAME, False

    def _integers(self, data: bytes) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """The latent checksum of each slice, and all that it decodes to, in one row, in units of 2**-9."""
        container = parse(data, None)
        grid = Grid(container.header)
        for index, coded in enumerate(container.slices):
            if container.is_lossless(index):
                continue
            area = grid.area(index).common(grid.picture)
            coder = self._codec.at(container.header.quality)
            symbols = coder.read_streams(coded.streams, area.width, area.height, container.is_full(index))
            latent = (symbols.latent.numpy() * 512).astype(np.int64)
            parts: list[NDArray[Any]] = [*symbols.hyper.values(), latent]
            yield coded.latent_crc, np.concatenate([part.reshape(-1) for part in parts])


def _too_long(number: int, frame: FrameType | None) -> None:
    raise Finished


def _address_space() -> int:
    """Bytes of this process's address space."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _resident_peak() -> int:
    """Peak memory of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@dataclass(frozen=True)
class Verdict:
    """Results of some files.

    Attributes:
        counts: number of files by outcome.
        findings: those among them.
        growth: bytes by which the memory of the process has grown since its start.
    """

    counts: Counter[str]
    findings: list[Finding]
    growth: int


class Jury:
    """Checks files in a separate process with limited memory."""

    def __init__(self, seconds: float) -> None:
        signal.signal(signal.SIGALRM, _too_long)
        known = samples()
        self._judge = Judge(known, seconds)
        for sample in known:
            assert self._judge(sample.data, sample.data) == (SAME, False)
        limit = _address_space() + HEADROOM
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        self._begin = self._before = _resident_peak()

    def __call__(self, mutants: Sequence[Mutant]) -> Verdict:
        """The results of some files."""
        counts: Counter[str] = Counter()
        findings = []
        for each in mutants:
            outcome, found = self._judge(each.data, each.sample.data)
            if not found and _resident_peak() - self._before > GROWTH:
                outcome, found = f"memory: grown by more than {GROWTH >> 20} MiB", True
                self._before = _resident_peak()
            counts[outcome] += 1
            if found:
                findings.append(finding(each, outcome))
        return Verdict(counts, findings, _resident_peak() - self._begin)


def finding(mutant: Mutant, outcome: str) -> Finding:
    """A finding, with its file."""
    return Finding(mutant.number, mutant.sample.name, mutant.changes, outcome, mutant.data)


# -------------------------------------------------------------------------------------------------------------- the run


@dataclass(frozen=True)
class Summary:
    """Results of a run."""

    counts: Counter[str]
    findings: list[Finding]
    growth: int


def run(mutants: Iterator[Mutant], total: int, jobs: int, seconds: float, keep: Callable[[Finding], None]) -> Summary:
    """Check files in processes, many at a time.

    If a process dies or hangs, its files are checked again one by one; those that fail again are findings.
    """
    counts: Counter[str] = Counter()
    findings: list[Finding] = []
    growth = 0

    def found(each: Finding) -> None:
        findings.append(each)
        keep(each)

    with tqdm(total=total, unit="file", mininterval=2) as bar:

        def judge(groups: Iterable[list[Mutant]]) -> list[tuple[list[Mutant], pool.Lost]]:
            """Count the results of all files. Returns those with which a process died, which are not counted."""
            nonlocal growth
            lost = []
            limit = 5 * seconds + 60  # for hangs that no signal ends
            with closing(pool.run(groups, partial(Jury, seconds), jobs, timeout=limit, attempts=1)) as verdicts:
                for group, verdict in verdicts:
                    if isinstance(verdict, pool.Lost):
                        lost.append((group, verdict))
                        continue
                    counts.update(verdict.counts)
                    for each in verdict.findings:
                        found(each)
                    growth = max(growth, verdict.growth)
                    bar.update(len(group))
            return lost

        for group, _ in judge(iter(lambda: list(islice(mutants, BATCH)), [])):
            deaths = judge([each] for each in group)
            for (each,), death in deaths:
                found(finding(each, f"crash: {death}"))
                counts["crash"] += 1
                bar.update(1)
            if not deaths:
                found(finding(group[0], f"crash: with one of {len(group)} files from this one on, with none alone"))
    return Summary(counts, findings, growth)


def guided(seconds_in_all: int, seconds: float, out: Path) -> None:
    """Search with atheris, which ends this process. Its inputs are files without their checksum."""
    import atheris

    signal.signal(signal.SIGALRM, _too_long)
    known = samples()
    judge = Judge(known, seconds)

    prefixes = tuple(f"dcacodec.{name}." for name in ("format", "codec", "images", "coding"))
    for module in [module for name, module in sys.modules.items() if name.startswith(prefixes)]:
        for function in _functions_of(module):
            atheris.instrument_func(function)

    def try_one(body: bytes) -> None:
        data = sealed(body)
        outcome, found = judge(data, None)
        if found:
            (out / "atheris.dca").write_bytes(data)
            raise AssertionError(outcome)

    corpus = out / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for sample in known:
        (corpus / sample.name).write_bytes(sample.data[:-4])
    options = [f"-max_total_time={seconds_in_all}", "-max_len=8000", "-rss_limit_mb=3000", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], try_one)
    atheris.Fuzz()


def _functions_of(module: ModuleType) -> Iterator[FunctionType]:
    """The functions that a module defines, and the methods of its classes."""
    own = [each for each in vars(module).values() if getattr(each, "__module__", None) == module.__name__]
    inner = [each for owner in own if isinstance(owner, type) for each in vars(owner).values()]
    return (each for each in own + inner if isinstance(each, FunctionType))


@click.command()
@click.option("--count", type=click.IntRange(min=1), default=1000, show_default=True, help="Number of files.")
@click.option("--first", type=click.IntRange(min=0), default=0, show_default=True, help="Number of the first file.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the changes.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Number of processes.")
@click.option("--seconds", type=float, default=60.0, show_default=True, help="Time limit per file.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/fuzz"), help="Folder for findings.")
@click.option("--keep", is_flag=True, help="Keep all files, not only findings.")
@click.option(
    "--exhaustive", "all_of_them", is_flag=True, help="Try all changes of a byte and all lengths of the golden files."
)
@click.option("--atheris", "minutes", type=int, metavar="MINUTES", help="Fuzz with atheris instead.")
def main(
    count: int,
    first: int,
    seed: int,
    jobs: int,
    seconds: float,
    out: Path,
    keep: bool,
    all_of_them: bool,
    minutes: int | None,
) -> None:
    """Check damaged and forged files; print a JSON object with the number of files by result."""
    out.mkdir(parents=True, exist_ok=True)
    if minutes is not None:
        guided(60 * minutes, seconds, out)
        return
    known = samples()
    if all_of_them:
        mutants, count = exhaustive(known), 256 * sum(len(sample.data) for sample in known)
    else:
        mutants = (mutant(number, seed, known) for number in range(first, first + count))
    if keep:
        mutants = _kept(mutants, out)

    def note(finding: Finding) -> None:
        path = out / f"finding-{seed}-{finding.number}.dca"
        path.write_bytes(finding.data)
        tqdm.write(f"{path}: {finding.name}, {finding.changes}: {finding.outcome}", file=sys.stderr)

    start = time.perf_counter()
    summary = run(mutants, count, jobs, seconds, note)
    taken = time.perf_counter() - start
    report = {
        "files": summary.counts.total(),
        "seed": None if all_of_them else seed,
        "findings": len(summary.findings),
        "outcomes": dict(summary.counts.most_common()),
        "growth_mib": round(summary.growth / 2**20, 1),
        "files_per_second": round(count / taken, 1),
        "torch": torch.__version__,
    }
    click.echo(json.dumps(report))
    raise SystemExit(1 if summary.findings else 0)


def _kept(mutants: Iterator[Mutant], folder: Path) -> Iterator[Mutant]:
    for each in mutants:
        (folder / f"{each.number}.dca").write_bytes(each.data)
        yield each


if __name__ == "__main__":
    main()
