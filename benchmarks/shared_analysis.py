"""The computations that encodings of a picture at different qualities could share::

    python benchmarks/shared_analysis.py

Rate control encodes a picture four to eight times. The quality enters the analysis transform f_a after its first layer,
so only that layer could be shared. Prints the shares of f_a and of its first layer in the CPU time of an encoding
(medians), and how much the output of f_a, without the gains, changes from quality 40 to 60, as it depends on the
quality.
"""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable

import click
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dcacodec import Codec, Picture
from dcacodec.network.layers import space_to_depth
from dcacodec.network.transforms import CELL

SIZE = (768, 512)
QUALITIES = (40, 60)


def processor_seconds(work: Callable[[], object], rounds: int) -> float:
    """Median of the CPU time, after a warm-up round."""
    times = []
    for _ in range(rounds + 1):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return statistics.median(times[1:])


@torch.inference_mode()
def change(codec: Codec, picture: Tensor) -> float:
    """Relative difference of the analysis at two qualities, without the gains."""
    network = codec.weights.network
    positions = [torch.tensor([network.config.anchor_position(quality)]) for quality in QUALITIES]
    low, high = (network.analysis(picture, position) for position in positions)
    return float((low - high).norm() / high.norm())


@click.command(context_settings={"show_default": True})
@click.option("--rounds", type=click.IntRange(1), default=9, help="Number of timing rounds.")
def main(rounds: int) -> None:
    """Measure what the encodings of one picture share."""
    pixels = importlib.import_module("skimage.data").coffee()
    source = Picture(np.array(Image.fromarray(pixels[:400]).resize(SIZE, Image.Resampling.LANCZOS)))
    codec = Codec.load("small", device="cpu")
    first = codec.weights.network.analysis.patch
    picture = torch.from_numpy(source.pixels)[None].float() / 255
    encode = processor_seconds(lambda: codec.encode(source), rounds)
    with torch.inference_mode():
        analysis = processor_seconds(lambda: codec.at(50).point.latent_of(picture), rounds)
        layer = processor_seconds(lambda: first(space_to_depth(picture - 0.5, CELL)), rounds)
    click.echo(f"encoding {SIZE[0]}x{SIZE[1]} pixels: {encode:.3f} s of CPU time, of which")
    click.echo(f"  the analysis transform        {100 * analysis / encode:5.1f} %")
    click.echo(f"  its first layer               {100 * layer / encode:5.1f} %")
    click.echo(f"change of f_a from quality {QUALITIES[0]} to {QUALITIES[1]}: {100 * change(codec, picture):.1f} %")


if __name__ == "__main__":
    main()
