"""The time of `dcacodec decode` and `encode` from a cold start, compared with that of its necessary parts::

    python benchmarks/coldstart.py

Timed in turns: `python -c "import torch"`, the command `decode`, the same on a truncated file (an error that is
reported before PyTorch is imported), decoding in a process that has loaded the codec, the command `encode`, and that on
a machine where it compiles the entropy coder first. Prints medians, and that of the ratio, taken in each round, of the
command `decode` to the import plus the decoding, which should not exceed 1.25. On a busy machine the ratio is more
reliable than the times.
"""

from __future__ import annotations

import importlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import numpy as np
from PIL import Image
from tqdm import tqdm

from dcacodec import Codec, encode
from dcacodec.format.reader import parse

SIZE = (768, 512)
LIMIT = 1.25


def seconds_of(work: Callable[[], object]) -> float:
    """Wall time of a call."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def command(*arguments: str) -> list[str]:
    """The command `dcacodec` of this Python."""
    return [sys.executable, "-m", "dcacodec", *arguments]


def run(arguments: Sequence[str], code: int = 0, **environment: str) -> None:
    """Run a command. Any other exit code than this is an error."""
    done = subprocess.run(arguments, env={**os.environ, **environment}, capture_output=True, check=False)
    if done.returncode != code:
        raise click.ClickException(done.stderr.decode(errors="replace"))


def run_first(arguments: Sequence[str]) -> None:
    """Run a command with an empty cache, so that it compiles the entropy coder."""
    with tempfile.TemporaryDirectory() as cache:
        run(arguments, DCACODEC_CACHE=cache)


def slowest_imports(arguments: Sequence[str], count: int) -> list[tuple[str, float]]:
    """The modules whose own code takes longest at import, with milliseconds, by `-X importtime`."""
    python, *rest = arguments
    done = subprocess.run([python, "-X", "importtime", *rest], capture_output=True, text=True, check=True)
    rows = [line.removeprefix("import time:").split("|") for line in done.stderr.splitlines() if line.count("|") == 2]
    times = [(name.strip(), int(own) / 1000) for own, _, name in rows if own.strip().isdigit()]
    return sorted(times, key=lambda row: -row[1])[:count]


def measure(work: dict[str, Callable[[], object]], rounds: int, quiet: bool) -> dict[str, list[float]]:
    """Seconds of each, in turns, after a warm-up round."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for number in tqdm(range(rounds + 1), unit="round", disable=quiet or None):
        for name, each in work.items():
            seconds = seconds_of(each)
            if number:
                times[name].append(seconds)
    return times


def ratios(times: dict[str, list[float]]) -> list[float]:
    """For every round, the ratio of the command's time to that of its necessary parts."""
    columns = (times[name] for name in ("decode", "import", "in process"))
    return [cold / (torch + warm) for cold, torch, warm in zip(*columns, strict=True)]


@click.command(context_settings={"show_default": True})
@click.option("--rounds", type=click.IntRange(1), default=9, help="Number of timing rounds.")
@click.option("--imports", type=click.IntRange(0), default=0, metavar="N", help="Also list the N slowest imports.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def main(rounds: int, imports: int, quiet: bool) -> None:
    """Time a cold start."""
    pixels = importlib.import_module("skimage.data").coffee()
    picture = np.array(Image.fromarray(pixels[:400]).resize(SIZE, Image.Resampling.LANCZOS))
    data = encode(picture)
    codec = Codec.for_container(parse(data))
    with tempfile.TemporaryDirectory() as folder:
        names = "photo.png", "photo.dca", "broken.dca", "out.png", "out.dca"
        photo, file, broken, out, coded = (os.path.join(folder, name) for name in names)
        Image.fromarray(picture).save(photo)
        Path(file).write_bytes(data)
        Path(broken).write_bytes(data[:-1])
        decode, encode_it = command("--quiet", "decode", file, out), command("--quiet", "encode", photo, coded)
        times = measure(
            {
                "import": lambda: run([sys.executable, "-c", "import torch"]),
                "decode": lambda: run(decode),
                "broken": lambda: run(command("decode", broken, out), code=1),
                "in process": lambda: codec.decode(data),
                "encode": lambda: run(encode_it),
                "first": lambda: run_first(encode_it),
            },
            rounds,
            quiet,
        )
        slowest = slowest_imports(decode, imports)
    click.echo(f"{rounds} rounds, a picture of {SIZE[0]}x{SIZE[1]} pixels, {len(data)} bytes; medians")
    texts = {
        "import": 'python -c "import torch"',
        "decode": "dcacodec decode",
        "broken": "the same, of a cut-off file",
        "in process": "decoding, codec loaded",
        "encode": "dcacodec encode",
        "first": "the same, compiling the coder",
    }
    for name, values in times.items():
        click.echo(f"{texts[name]:<30}{statistics.median(values):7.2f} s")
    found = ratios(times)
    click.echo(
        f"dcacodec decode / (import + decoding): {statistics.median(found):.2f} "
        f"({min(found):.2f} to {max(found):.2f}), limit {LIMIT}"
    )
    for name, milliseconds in slowest:
        click.echo(f"{milliseconds:7.0f} ms  {name}")


if __name__ == "__main__":
    main()
