"""Time and memory of `dcacodec encode` and `decode` from one to a hundred megapixels::

    python benchmarks/large.py --out benchmarks/results/large.json --plot docs/images/large.png
    python benchmarks/large.py --sizes 1,10 --threads 2 --format ppm

Every command runs in a separate process, for which the system reports wall time, CPU time (both including the import of
PyTorch and the picture file) and peak memory. The time of the codec alone is that printed by the command. On a busy
machine wall time is unreliable; with one thread, CPU time can replace it.

The pictures are scikit-image's astronaut and cup of coffee, side by side and extended by mirroring.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import linear_regression
from typing import Any, Final

import click

# This process must stay small, because the memory of a parent process counts as that of its children.

SIZES: Final = (1, 2, 5, 10, 20, 50, 100)
GIBIBYTE: Final = 1 << 30
LIMIT: Final = 2.5
"""Limit for the memory of the largest picture, in GiB."""


@dataclass(frozen=True)
class Cost:
    """The time and memory of a command.

    Attributes:
        codec: seconds of wall time that coding alone took.
        wall, processor: seconds of the whole process.
        peak: bytes of memory.
    """

    codec: float
    wall: float
    processor: float
    peak: int


@dataclass(frozen=True)
class Row:
    """One picture: its size in pixels, the size of its file in bytes, and the costs of coding it."""

    width: int
    height: int
    file_bytes: int
    encode: Cost
    decode: Cost

    @property
    def megapixels(self) -> float:
        """Millions of pixels."""
        return self.width * self.height / 1e6


def draw(path: str, width: int, height: int) -> None:
    """Write a picture in the format of the suffix."""
    import numpy as np
    from PIL import Image
    from skimage import data

    cell = np.concatenate([data.astronaut()[:400], data.coffee()], 1)
    rows, columns = (_mirrored(side, length) for side, length in zip(cell.shape, (height, width), strict=False))
    Image.fromarray(cell[rows][:, columns]).save(path)


def _mirrored(side: int, length: int) -> Any:
    """The indices 0, 1, .. side - 1, side - 1, .. 1, 0, 0, 1, .. up to a length."""
    import numpy as np

    place = np.arange(length) % (2 * side)
    return np.minimum(place, 2 * side - 1 - place)


def cost_of(arguments: list[str], environment: dict[str, str], folder: Path) -> Cost:
    """Run `python ARGUMENTS` to its end and measure it."""
    errors = folder / "stderr"
    begin = time.perf_counter()
    with errors.open("wb") as file:
        actions = [(os.POSIX_SPAWN_DUP2, file.fileno(), 2)]
        child = os.posix_spawn(sys.executable, [sys.executable, *arguments], environment, file_actions=actions)
        _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - begin
    text = errors.read_text(errors="replace")
    if status:
        raise click.ClickException(f"{' '.join(arguments[:3])}: {text or os.waitstatus_to_exitcode(status)}")
    printed = re.search(r" (\d+\.\d+) s$", text, re.MULTILINE)
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(
        codec=float(printed[1]) if printed else 0.0,
        wall=wall,
        processor=usage.ru_utime + usage.ru_stime,
        peak=usage.ru_maxrss * unit,
    )


def measure(megapixels: float, suffix: str, quality: int, environment: dict[str, str]) -> Row:
    """Draw a picture of ratio 3:2, encode and decode it."""
    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    width = round(megapixels * 1e6 / height)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, coded, target = (str(folder / each) for each in (f"in.{suffix}", "coded.dca", f"out.{suffix}"))
        drawing = f"from large import draw; draw({source!r}, {width}, {height})"
        cost_of(["-c", drawing], environment, folder)
        encode = cost_of(["-m", "dcacodec", "encode", "-q", str(quality), source, coded], environment, folder)
        decode = cost_of(["-m", "dcacodec", "decode", coded, target], environment, folder)
        return Row(width, height, os.path.getsize(coded), encode, decode)


def plot(rows: list[Row], path: Path, caption: str) -> None:
    """Draw time and memory over the size of the picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    seconds, memory = figure.subplots(1, 2)
    sizes = [row.megapixels for row in rows]
    for name, mark, costs in (
        ("encode", "o", [row.encode for row in rows]),
        ("decode", "s", [row.decode for row in rows]),
    ):
        times = [cost.processor for cost in costs]
        slope, start = linear_regression(sizes, times)
        label = f"{name}: {start:.1f} s and {slope:.2f} s per megapixel"
        (points,) = seconds.plot(sizes, times, mark, label=label)
        ends = (0.0, sizes[-1])
        seconds.plot(ends, [start + slope * end for end in ends], color=points.get_color(), linewidth=0.8)
        memory.plot(sizes, [cost.peak / GIBIBYTE for cost in costs], f"{mark}-", label=name, linewidth=0.8)
    memory.axhline(LIMIT, color="gray", linestyle="--", linewidth=0.8, label=f"limit: {LIMIT} GiB")
    seconds.set_ylabel("processor time, s")
    memory.set_ylabel("peak memory, GiB")
    memory.set_ylim(0, None)
    for axes in (seconds, memory):
        axes.set_xlabel("megapixels")
        axes.grid(linewidth=0.3)
        axes.legend()
    figure.suptitle(caption, fontsize=9)
    figure.savefig(path, dpi=100, metadata={"Software": None})


@click.command(context_settings={"show_default": True})
@click.option("--sizes", default=",".join(map(str, SIZES)), help="Sizes in megapixels, ascending.")
@click.option("--threads", type=click.IntRange(1), default=1, help="Number of PyTorch threads, and of parallel slices.")
@click.option("--quality", type=click.IntRange(1, 100), default=50, help="Quality of dcacodec.")
@click.option("--format", "suffix", type=click.Choice(["png", "ppm"]), default="png", help="Format of picture files.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="File to write the figures to, as JSON.")
@click.option("--plot", "plot_path", type=click.Path(dir_okay=False, path_type=Path), help="Plot of them (PNG).")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def main(
    sizes: str, threads: int, quality: int, suffix: str, out: Path | None, plot_path: Path | None, quiet: bool
) -> None:
    """Measure encoding and decoding of pictures of rising size; print a table."""
    from tqdm import tqdm

    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    rows = [
        measure(float(size), suffix, quality, environment)
        for size in tqdm(sizes.split(","), unit="picture", disable=quiet or None)
    ]
    setting = {
        "threads": threads, "cores": os.cpu_count(), "machine": platform.machine(), "quality": quality,
        "format": suffix, "python": platform.python_version(),
    }  # fmt: skip
    click.echo(f"{'':>12}{'':>8}{'encode':>10}{'':>20}{'decode':>10}")
    click.echo(f"{'megapixels':>12}{'bpp':>8}" + f"{'s':>10}{'s/Mpx':>10}{'MiB':>10}" * 2)
    for row in rows:
        cells = "".join(
            f"{cost.processor:>10.1f}{cost.processor / row.megapixels:>10.2f}{cost.peak / (1 << 20):>10.0f}"
            for cost in (row.encode, row.decode)
        )
        click.echo(f"{row.megapixels:>12.1f}{row.file_bytes * 8e-6 / row.megapixels:>8.3f}{cells}")
    if out is not None:
        figures = {"setting": setting, "rows": [asdict(row) for row in rows]}
        out.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    if plot_path is not None:
        noun = "thread" if threads == 1 else "threads"
        plot(rows, plot_path, f"dcacodec, quality {quality}, {suffix.upper()} files, {threads} {noun}")


if __name__ == "__main__":
    main()
