"""Where the time of encoding and decoding goes: processor time by part, with one thread::

    python benchmarks/time_by_part.py
    ONEDNN_MAX_CPU_ISA=AVX2 python benchmarks/time_by_part.py --size 1920 1080 --quality 30

Prints medians. The entropy coder's time is that of all streams of the picture; the entropy model's that of the four
steps with the symbols known. The rest is the difference to the whole: packing, checksums, rearranging.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import click
import numpy as np
import torch
from large import draw
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from dcacodec.codec.codec import Codec
from dcacodec.coding import decode_values
from dcacodec.images.picture import Picture
from dcacodec.network.context import split_steps


@click.command(context_settings={"show_default": True})
@click.option("--size", nargs=2, type=click.IntRange(1), default=(768, 512), help="Width and height of the picture.")
@click.option("--quality", type=click.IntRange(1, 100), default=50, help="Quality of the encoding.")
@click.option("--rounds", type=click.IntRange(1), default=9, help="Number of times that each part is run.")
def main(size: tuple[int, int], quality: int, rounds: int) -> None:
    """Print the processor time of the parts of encoding and decoding."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        draw(str(Path(scratch, "picture.ppm")), *size)
        picture = Picture(np.asarray(Image.open(Path(scratch, "picture.ppm"))))
    codec = Codec.load(device="cpu")
    coder = codec.at(quality)
    point, weights = coder.point, codec.weights
    data = codec.encode(picture, quality=quality, slice_log2=0)
    tensor = point.tensor_of(picture.pixels)
    y = point.latent_of(tensor)
    hyper = point.hyper_of(y)
    symbols, _ = coder.quantise(y, hyper, full=False)
    streams = coder.streams_of(symbols)
    place, steps = (y.shape[1], y.shape[2]), split_steps(y)

    def code(step: int, mean: Tensor, _level: Tensor) -> Tensor:
        return (steps[step] - mean).round() + mean

    def decode_streams() -> None:
        for stream, rows in zip(streams[-4:], symbols.rows, strict=True):
            decode_values(stream, rows, weights.y_table, coder.coder)
        for letter, stream in zip("RGL", streams[:3], strict=True):
            if letter in symbols.hyper:
                rows = point.prior_rows(symbols.hyper[letter].shape)
                decode_values(stream, rows, weights.z_tables[letter], coder.coder)

    def entropy_model() -> None:
        with torch.inference_mode():
            point.run_steps(hyper, place, code)

    encoding: dict[str, Callable[[], object]] = {
        "f_a": lambda: point.latent_of(tensor),
        "hyper analysis": lambda: point.hyper_of(y),
        "entropy model": entropy_model,
        "entropy coder": lambda: coder.streams_of(symbols),
        "": lambda: codec.encode(picture, quality=quality, slice_log2=0),
    }
    decoding: dict[str, Callable[[], object]] = {
        "entropy model": entropy_model,
        "entropy coder": decode_streams,
        "f_s": lambda: point.pixels_of(symbols.latent),
        "": lambda: codec.decode(data),
    }
    for direction, parts in (("encode", encoding), ("decode", decoding)):
        times: dict[str, list[float]] = {name: [] for name in parts}
        for _ in tqdm(range(rounds), desc=direction, unit="round", disable=not sys.stderr.isatty(), leave=False):
            for name, part in parts.items():
                begin = time.process_time()
                part()
                times[name].append(1000 * (time.process_time() - begin))
        medians = {name: median(values) for name, values in times.items()}
        whole = medians.pop("")
        medians["rest"] = whole - sum(medians.values())
        click.echo(f"{direction}: {whole:.0f} ms = " + " + ".join(f"{name} {ms:.0f}" for name, ms in medians.items()))


if __name__ == "__main__":
    main()
