"""Times of two revisions of dcacodec, in turns::

    git worktree add ../before v0.1.0
    python benchmarks/revisions.py ../before --rounds 9
    python benchmarks/revisions.py ../before --effort 20 --rounds 3

Each revision runs in a process of its own, with its own default weights, and codes the same picture when it is its
turn. Prints medians of processor time with one thread, and the median over the rounds of the ratio of this revision to
the other. On a busy machine ratios are more reliable than times.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Final

import click
from large import draw
from tqdm import tqdm

HERE: Final = Path(__file__).resolve().parent.parent

WORKER: Final = """
import sys, time, json
import numpy as np, torch
from PIL import Image
import dcacodec
torch.set_num_threads(1)
path, quality, effort, tune = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
pixels = np.asarray(Image.open(path).convert("RGB"))
codec = dcacodec.Codec.load(tune=tune, device="cpu")
for _ in sys.stdin:
    begin = time.process_time()
    data = dcacodec.encode(pixels, quality=quality, effort=effort, codec=codec)
    middle = time.process_time()
    dcacodec.decode(data, codec=codec)
    print(json.dumps([middle - begin, time.process_time() - middle, len(data)]), flush=True)
"""


class Revision:
    """A process that codes with the code of a folder."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", WORKER, *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def turn(self) -> tuple[float, float, int]:
        """Seconds of encoding and of decoding, and the bytes of the file."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise click.ClickException("a revision cannot code the picture; its message is above")
        encoding, decoding, size = json.loads(line)
        return encoding, decoding, size

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


@click.command(context_settings={"show_default": True})
@click.argument("other", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--picture", type=click.Path(exists=True, dir_okay=False), help="Instead of a generated one of 768x512.")
@click.option("--quality", type=click.IntRange(1, 100), default=50, help="Quality of both.")
@click.option("--effort", type=click.IntRange(0), default=0, help="Number of refinement iterations.")
@click.option("--tune", type=click.Choice(["visual", "psnr"]), default="psnr", help="Weights of both.")
@click.option("--rounds", type=click.IntRange(1), default=9, help="Turns of each, after one to warm up.")
def main(other: Path, picture: str | None, quality: int, effort: int, tune: str, rounds: int) -> None:
    """Compare this revision with that of the checkout OTHER."""
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.abspath(picture or os.path.join(scratch, "picture.png"))
        if not picture:
            draw(path, 768, 512)
        arguments = (path, str(quality), str(effort), tune)
        revisions = [Revision(HERE, *arguments), Revision(other.resolve(), *arguments)]
        try:
            turns = [
                [revision.turn() for revision in revisions]
                for _ in tqdm(range(rounds + 1), desc="rounds", disable=not sys.stderr.isatty())
            ][1:]
        finally:
            for revision in revisions:
                revision.close()
    for part, name in enumerate(("encode", "decode")):
        this, that = ([1000 * turn[side][part] for turn in turns] for side in range(2))
        ratio = median(a / b for a, b in zip(this, that, strict=True))
        click.echo(f"{name}: {median(this):.0f} ms, before {median(that):.0f} ms, ratio {ratio:.2f}")
    click.echo(f"bytes: {turns[0][0][2]:,}, before {turns[0][1][2]:,}")


if __name__ == "__main__":
    main()
