"""Times of dcacodec and of Pillow's AVIF, in turns::

    python benchmarks/beside_avif.py
    python benchmarks/beside_avif.py --large 8000 6000 --rounds 3

Without --large: encoding and decoding of 1920x1080 pixels in this process, with one thread each. With it: whole
commands, `dcacodec encode` and `decode` beside a Python program that does the same with Pillow, from a PNG file to a
PNG file and back; their processor time includes starting Python, and PyTorch. AVIF has speed 6, its default quality for
Pillow (75), and 4:2:0. dcacodec has its default quality. Prints medians of processor time, and the median over the
rounds of the ratio of dcacodec to AVIF.

The pictures are scikit-image's astronaut and cup of coffee, side by side and extended by mirroring.
"""

from __future__ import annotations

import io
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import click
import numpy as np
from large import draw
from PIL import Image
from tqdm import tqdm

AVIF_SPEED: Final = 6
_ENCODE: Final = f"from PIL import Image; Image.open('in.png').save('out.avif', speed={AVIF_SPEED}, max_threads=1)"
_DECODE: Final = "from PIL import Image; Image.open('out.avif').save('out.png')"
COMMANDS: Final = {
    "encode": (["-m", "dcacodec", "encode", "in.png", "out.dca", "--quiet"], ["-c", _ENCODE]),
    "decode": (["-m", "dcacodec", "decode", "out.dca", "out.png", "--quiet"], ["-c", _DECODE]),
}
"""Arguments of Python for dcacodec and for AVIF."""

Work = Callable[[], object]


def of_call(work: Work) -> float:
    """Processor seconds of a call in this process."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def of_command(arguments: list[str], folder: Path) -> float:
    """Processor seconds of a Python process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, check=False, env=environment)
    if done.returncode:
        raise click.ClickException(done.stderr.decode(errors="replace"))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def in_process(path: Path) -> dict[str, tuple[Work, Work]]:
    """What is timed on a picture in this process, by name: dcacodec's work and AVIF's."""
    import torch

    import dcacodec

    torch.set_num_threads(1)
    picture = Image.open(path)
    pixels, codec = np.asarray(picture), dcacodec.Codec.load(device="cpu")

    def avif() -> bytes:
        file = io.BytesIO()
        picture.save(file, "AVIF", speed=AVIF_SPEED, max_threads=1)
        return file.getvalue()

    ours, theirs = dcacodec.encode(pixels, codec=codec), avif()
    return {
        "encode": (lambda: dcacodec.encode(pixels, codec=codec), avif),
        "decode": (lambda: dcacodec.decode(ours, codec=codec), lambda: Image.open(io.BytesIO(theirs)).load()),
    }


@click.command(context_settings={"show_default": True})
@click.option("--large", nargs=2, type=click.IntRange(1), help="Whole commands on a picture of this width and height.")
@click.option("--rounds", type=click.IntRange(1), default=9, help="Turns of each.")
def main(large: tuple[int, int] | None, rounds: int) -> None:
    """Time dcacodec and AVIF on the same picture."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        draw(str(folder / "in.png"), *(large or (1920, 1080)))
        works: dict[str, list[Callable[[], float]]] = {}
        if large:
            for name, commands in COMMANDS.items():
                works[name] = [partial(of_command, command, folder) for command in commands]
        else:
            for name, pair in in_process(folder / "in.png").items():
                works[name] = [partial(of_call, work) for work in pair]
        for name, (ours, theirs) in works.items():
            turns = [
                (ours(), theirs())
                for _ in tqdm(range(rounds), desc=name, unit="round", disable=not sys.stderr.isatty(), leave=False)
            ]
            first, second = (median(column) for column in zip(*turns, strict=True))
            ratio = median(a / b for a, b in turns)
            click.echo(f"{name}: dcacodec {first:.3f} s, AVIF {second:.3f} s, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
