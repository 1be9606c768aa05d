"""Hostile files: those of the folder `attacks`, and a short run of the fuzzer, whose judge is judged as well."""

import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from forge import Forged, varint
from PIL import Image
from tiny import GOLDEN

from dcacodec import errors
from dcacodec.codec.codec import Codec
from dcacodec.files.bounded import read_bounded
from dcacodec.format.container import LARGEST_SLICE
from dcacodec.format.reader import parse
from dcacodec.images.picture import Picture

ROOT = Path(__file__).resolve().parent.parent
ATTACKS = ROOT / "attacks"
TABLE = dict(re.findall(r"^\| `([^`]+)` \| .* \| ([^|]+) \|$", (ATTACKS / "README.md").read_text(), re.MULTILINE))
DECODES = "none, decodes"
VALUES_OF_A_PIXEL = 16 / 256 + 4 / 256 + 8 / 4096
"""That the tiny network's entropy model codes: y-hat, z_l, z_r. z_g has 48 for each slice."""

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is measured in /proc")


@pytest.fixture(autouse=True)
def _pillow_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """`encode` lifts Pillow's limit for its process; here that is the process of the tests."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)


def script(path: Path) -> ModuleType:
    """A module of a file that is in no package."""
    name = f"dcacodec_{path.parent.name}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


# -------------------------------------------------------------------------------------------------------------- attacks


@pytest.fixture(scope="module")
def outcomes(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of each attack, in a process of its own."""
    worker = Path(__file__).with_name("attack_worker.py")
    folder = tmp_path_factory.mktemp("attacks")
    paths = [os.environ.get("PYTHONPATH"), str(ROOT), str(worker.parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(worker), str(tiny_models), str(folder), *(str(ATTACKS / name) for name in TABLE)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {Path(name).name: outcome for name, outcome in json.loads(done.stdout).items()}


def test_the_table_lists_the_files_and_names_errors() -> None:
    files = {path.name for path in ATTACKS.iterdir() if path.suffix not in (".py", ".md", "")}
    assert set(TABLE) == files and len(files) > 60
    for error in set(TABLE.values()) - {DECODES}:
        assert issubclass(getattr(errors, error), errors.DcaError)
    # Every error that a file can cause has an attack; a region is not in a file.
    caused = {each.__name__ for each in errors.FormatError.__subclasses__() + errors.BadHeaderError.__subclasses__()}
    caused |= {
        "BadVarintError",
        "StreamError",
        "SymbolMismatchError",
        "TooLargeError",
        "UnknownModelError",
        "ImageError",
    }
    assert caused - set(TABLE.values()) == {"BadHeaderError"}  # the base of others


def test_the_files_are_those_that_the_script_makes() -> None:
    """But for what zlib packs: it may pack in another way one day."""
    packed = re.compile(r"alpha-|twice-alpha|icc-|.*\.png")
    for each in script(ATTACKS / "make.py").attacks():
        assert TABLE[each.name] == each.error
        assert packed.match(each.name) or (ATTACKS / each.name).read_bytes() == each.data, each.name


@linux
@pytest.mark.parametrize("name", TABLE)
def test_attack(name: str, outcomes: dict[str, Any]) -> None:
    """The error by name, one line and no file, with little memory and no more work than a valid file takes."""
    outcome, expected = outcomes[name], TABLE[name]
    assert outcome["api"] == expected
    assert outcome["stdout"] == ""
    if expected == DECODES:
        assert (outcome["exit"], outcome["stderr"], outcome["left"]) == (0, "", ["out.png"])
    else:
        assert (outcome["exit"], outcome["left"]) == (1, [])
        line = rf"dcacodec: error: {re.escape(str(ATTACKS / name))}: [^\n\x1b]+\n"
        assert re.fullmatch(line, outcome["stderr"]) and len(outcome["stderr"]) < 400
    assert outcome["growth"] < 128 << 20
    assert outcome["values"] <= VALUES_OF_A_PIXEL * LARGEST_SLICE + 48
    if name not in ("empty-slice.dca", "empty-slices.dca"):  # small files that claim little, cost little
        assert outcome["values"] <= VALUES_OF_A_PIXEL * 256 * 256 * 4 + 48


@pytest.mark.parametrize("name", ["absurd.dca"])
def test_a_file_that_claims_much_is_refused_without_a_limit_too(name: str, codec: Codec) -> None:
    with pytest.raises(errors.BadLengthError):
        codec.decode((ATTACKS / name).read_bytes(), max_pixels=None)


def test_loud_file_gives_a_picture_of_its_size(codec: Codec) -> None:
    """Whatever leaves its range on the way."""
    picture = codec.decode((ATTACKS / "loud.dca").read_bytes())
    assert picture.pixels.shape == (64, 64, 3)


@linux
def test_libraries_in_c_do_not_write_lines_of_their_own(tmp_path: Path) -> None:
    """libtiff does: past Python, so that only another process sees it."""
    command = [sys.executable, "-m", "dcacodec", "encode", str(ATTACKS / "strips.tif"), str(tmp_path / "out.dca")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 1
    assert re.fullmatch(rb"dcacodec: error: \S+strips\.tif: [^\n]+\n", done.stderr)
    shown = subprocess.run([*command[:3], "--debug", *command[3:]], capture_output=True, env=environment, check=False)
    assert b"TIFFFillStrip" in shown.stderr


# ------------------------------------------------------------------------------------------------------ endless streams


class Endless(io.RawIOBase):
    """A file that never ends; counts what is read of it."""

    taken = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        assert size >= 0, "all of it"
        self.taken += size
        return bytes(size)


def test_what_never_ends_is_read_to_a_limit() -> None:
    file: Any = Endless()
    with pytest.raises(errors.TooLargeError, match="more than 67108944 bytes"):
        read_bounded(file, 10, b"12")
    assert file.taken <= 67108944 + (1 << 20)


def test_the_limit_itself_is_not_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcacodec.files.bounded._BYTES_BESIDES", 1000)
    assert read_bounded(io.BytesIO(bytes(1078)), 10, b"12") == b"12" + bytes(1078)
    with pytest.raises(errors.TooLargeError):
        read_bounded(io.BytesIO(bytes(1079)), 10, b"12")


def test_what_ends_in_time_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    for limit in (0, 1, None):
        with open(path, "rb") as file:
            assert read_bounded(file, limit, b"the ") == b"the content"


@pytest.mark.parametrize("arguments", [["decode", "-", "OUT"], ["info", "-"], ["encode", "-", "OUT.dca"]])
def test_an_endless_pipe_ends_a_command(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcacodec.files.bounded._BYTES_BESIDES", 1000)
    names = {"OUT": "out.png", "OUT.dca": "out.dca"}
    arguments = [str(tmp_path / names[each]) if each in names else each for each in arguments]
    from dcacodec.cli.app import cli

    class Pipe(Endless):
        def read(self, size: int = -1) -> bytes:
            start = b"" if self.taken else b"\x89DCA"[:size]
            return (start + super().read(size))[:size]

    arguments = [arguments[0], "--max-pixels", "1", *arguments[1:]]
    result = CliRunner().invoke(cli, arguments, input=Pipe(), prog_name="dcacodec")  # type: ignore[arg-type]
    assert (result.exit_code, result.stdout) == (1, "")
    assert re.fullmatch(r"dcacodec: error: standard input: more than 1008 bytes.*\n", result.stderr)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------------------------- the fuzzer


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    return script(ROOT / "scripts" / "fuzz.py")


def test_forged_files_are_the_sound_ones_where_nothing_is_forged(fuzz: ModuleType) -> None:
    for sample in fuzz.samples():
        assert Forged.of(sample.data).written() == sample.data
    assert varint(300) == b"\xac\x02" and varint(300, 1) == b"\xac\x82\x00" and varint(0, 2) == b"\x80\x80\x00"


def test_a_seed_makes_the_same_files_again(fuzz: ModuleType) -> None:
    known = fuzz.samples()
    files = [fuzz.mutant(number, 5, known) for number in range(50)]
    assert files == [fuzz.mutant(number, 5, known) for number in range(50)]
    assert len({each.data for each in files}) > 45
    assert files != [fuzz.mutant(number, 6, known) for number in range(50)]


@linux
def test_short_run_of_the_fuzzer(fuzz: ModuleType, tmp_path: Path) -> None:
    known = fuzz.samples()
    judge = fuzz.Judge(known, seconds=600)
    outcomes = {}
    for number in range(180):
        each = fuzz.mutant(number, 2024, known)
        outcomes[number] = judge(each.data, each.sample.data)
    assert not [number for number, (_, found) in outcomes.items() if found]
    names = {name for name, _ in outcomes.values()}
    assert {"BadChecksumError", "BadLengthError", "StreamError", "SymbolMismatchError", fuzz.SAME, fuzz.OTHER} <= names
    assert {name for name in names if hasattr(errors, name)} | {fuzz.SAME, fuzz.OTHER} == names


def test_every_length_and_many_bytes_of_a_file(fuzz: ModuleType, codec: Codec) -> None:
    """`--exhaustive` is all of it; here every length, and at every place one of the 255 other values."""
    sample = next(each for each in fuzz.samples() if each.name == "17x5-RGBA-q50-chunks")
    every = list(fuzz.exhaustive([sample]))
    assert len(every) == 256 * len(sample.data) and len({each.data for each in every}) == len(every)
    for each in every[::255] + every[-len(sample.data) :]:
        with pytest.raises(errors.FormatError):
            codec.decode(each.data)


class Broken:
    """A codec with a fault."""

    def __init__(self, codec: Any, decode: Any) -> None:
        self._codec, self._decode = codec, decode

    def decode(self, *arguments: Any, **options: Any) -> Any:
        return self._decode(self._codec, *arguments, **options)

    def at(self, quality: int) -> Any:
        return self._codec.at(quality)


def test_the_judge_finds_faults(fuzz: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    known = [each for each in fuzz.samples() if "-RGB-" in each.name][:3]
    judge = fuzz.Judge(known, seconds=600)
    sound, data = judge._codec, known[0].data
    assert judge(data, data) == (fuzz.SAME, False)
    assert judge(data, None) == (fuzz.OTHER, False)
    # Integers that no encoder stored: an honest file to a decoder, which no change of the fuzzer makes.
    assert judge((ATTACKS / "loud.dca").read_bytes(), None)[1]

    def fails(outcome: str, decode: Any) -> None:
        judge._codec = Broken(sound, decode)
        found = judge(data, data)
        assert found[1] and found[0].startswith(outcome)

    def raising(error: BaseException) -> Any:
        def decode(*arguments: Any, **options: Any) -> Any:
            raise error

        return decode

    def changed(codec: Codec, *arguments: Any, **options: Any) -> Picture:
        pixels = codec.decode(*arguments, **options).pixels.copy()
        pixels[-1, -1, -1] ^= 1
        return Picture(pixels)

    fails("IndexError: why", raising(IndexError("why")))
    fails("memory", raising(MemoryError()))
    fails("DcaError: a text that is not one line", raising(errors.DcaError("two\nlines")))
    fails("wrong picture: not of the size", lambda codec, *rest, **options: Picture(np.zeros((3, 3, 3), np.uint8)))
    fails("wrong picture: other pixels", changed)
    fails(
        "wrong picture: its metadata",
        lambda codec, *rest, **options: Picture(codec.decode(*rest, **options).pixels, icc=b"x"),
    )
    before = signal.signal(signal.SIGALRM, fuzz._too_long)
    try:
        judge._seconds = 0.05
        fails("hang", lambda *rest, **options: time.sleep(60))
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("again", [True, False])
def test_files_that_a_process_dies_with_are_findings(
    fuzz: ModuleType, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    """The other files are still checked. A crash that happens only once is a finding, too."""
    mutants = [fuzz.Mutant(number, fuzz.Sample("sample", b""), "change", b"data") for number in range(450)]
    deadly = {5, 6, 250}

    def outcome(group: list[Any]) -> Any:
        if deadly.isdisjoint(each.number for each in group) or (len(group) == 1 and not again):
            return fuzz.Verdict(Counter(judged=len(group)), [], 0)
        return fuzz.pool.Lost(1, -11)

    def run(groups: Iterable[list[Any]], make: object, jobs: int, timeout: float, attempts: int) -> Iterator[Any]:
        assert (jobs, attempts) == (3, 1)
        yield from ((group, outcome(group)) for group in groups)

    monkeypatch.setattr(fuzz.pool, "run", run)
    found: list[Any] = []
    summary = fuzz.run(iter(mutants), 450, 3, 60.0, found.append)
    assert summary.findings == found
    if again:
        crash = "crash: its worker process ended once (killed by signal 11); is there enough memory?"
        assert [(each.number, each.outcome) for each in found] == [(number, crash) for number in sorted(deadly)]
        assert summary.counts == {"judged": 447, "crash": 3}
    else:
        crash = "crash: with one of 200 files from this one on, with none alone"
        assert [(each.number, each.outcome) for each in found] == [(0, crash), (200, crash)]
        assert summary.counts == {"judged": 450}


def test_golden_files_are_those_of_the_fuzzer(fuzz: ModuleType) -> None:
    names = {path.stem for path in GOLDEN.glob("*.dca")}
    assert {sample.name for sample in fuzz.samples()} == names | {"17x5-RGBA-q50-chunks"}
    assert len(parse(next(each.data for each in fuzz.samples() if each.name.endswith("n8"))).slices) == 4


def test_the_page_tells_what_the_kept_results_say() -> None:
    """And these found nothing."""
    page = (ROOT / "docs" / "explanation" / "security.md").read_text("utf-8")
    results = ROOT / "benchmarks" / "results"
    fuzz, every, matrix = (
        json.loads((results / f"{name}.json").read_text("utf-8")) for name in ("fuzz", "fuzz-exhaustive", "exactness")
    )
    assert (fuzz["findings"], every["findings"], matrix["differing"]) == (0, 0, [])
    assert (fuzz["files"], fuzz["seed"]) == (6_000, 1)
    other = fuzz["outcomes"]["another picture, as its header or chunks say"]
    assert sum(hasattr(errors, name) for name in fuzz["outcomes"]) == len(fuzz["outcomes"]) - 2
    for text in (
        f"{len(fuzz['outcomes']) - 2} kinds of named errors",
        f"{other:,} of the {fuzz['files']:,}",
        f"| {every['files']:,} files",
        f"{len(matrix['settings'])} settings encode",
        f"{matrix['files']} files, {matrix['decodings']:,} decodings, and {matrix['oracle_decodings']} by",
    ):
        assert text in page, text
