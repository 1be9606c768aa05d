"""What the choice of lossless slices takes of the processor time of encoding photographs, and what it goes by::

    python benchmarks/lossless_choice.py path/to/photographs
    python benchmarks/lossless_choice.py path/to/photographs --tune psnr --gray --quality 100

Prints the share, how many of the slices were decoded for the choice (those that do not look like photographs; the
choice is made for photographs without any), how many pictures are taken for a mixture of photographs and drawings, and
the smallest, median and largest value of what slices are judged by.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import click
import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from dcacodec.codec.codec import Codec
from dcacodec.codec.lossless_choice import better_block, different_rows, lossless_estimate
from dcacodec.codec.source import Source
from dcacodec.images.formats import has_picture_name
from dcacodec.images.picture import Picture, Pixels
from dcacodec.images.texture import flatness, roughness
from dcacodec.network.config import TUNINGS, Tuning
from dcacodec.tiling.grid import Grid


class Judged(NamedTuple):
    """A slice, and what it is judged by.

    Attributes:
        coding, choosing: processor time of its code and of the choice, in seconds.
        decodings: how often it was decoded for the choice.
        signs: values by name.
    """

    coding: float
    choosing: float
    decodings: int
    signs: dict[str, float]


def judged(codec: Codec, source: Source, quality: float) -> Iterator[Judged]:
    """The slices of a picture."""
    begin = time.process_time()
    grid = Grid(codec.header_for(source, quality=quality))  # with the decision whether the picture is mixed
    mixed = (time.process_time() - begin) / grid.header.slice_count
    encoder = codec.encoder_at(quality)
    point = encoder.coder.point
    for index in range(grid.header.slice_count):
        begin = time.process_time()
        encoded = encoder.encode(source.filled.pixels, grid, index)
        middle = time.process_time()
        shown, decodings = source.filled.pixels[grid.shown(index)], 0

        def decoded() -> Pixels:
            nonlocal decodings
            decodings += 1
            return point.pixels_of(encoded.symbols.latent)[: shown.shape[0], : shown.shape[1]]  # noqa: B023

        bits = 8 * sum(map(len, encoded.coded.streams))
        better_block(shown, shown, bits, decoded, quality, point.trade_off)
        choosing = time.process_time() - middle + mixed
        network = bits / (shown.shape[0] * shown.shape[1])
        signs = {
            "flatness": flatness(shown),
            "roughness": roughness(shown),
            "share of different rows": len(different_rows(shown)) / shown.shape[0],
            "lossless bits per pixel, estimated": (lossless := lossless_estimate(shown, network)),
            "the same, times those of the network": lossless / network,
        }
        yield Judged(middle - begin, choosing, decodings, signs)


@click.command(context_settings={"show_default": True})
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--tune", type=click.Choice(TUNINGS), default=TUNINGS[0], help="Weights.")
@click.option("--quality", type=click.FloatRange(1, 100), default=50, help="Quality of the encodings.")
@click.option("--gray", is_flag=True, help="Convert the photographs to gray.")
def main(folder: Path, tune: Tuning, quality: float, gray: bool) -> None:
    """Measure the choice on the pictures of FOLDER."""
    torch.set_num_threads(1)
    codec = Codec.load(tune=tune, device="cpu")
    found: list[Judged] = []
    mixed = 0
    paths = sorted(filter(has_picture_name, folder.iterdir()))
    if not paths:
        raise click.UsageError(f"{folder}: there are no pictures")
    for path in tqdm(paths, disable=None):
        with Image.open(path) as image:
            pixels = np.array(image.convert("L" if gray else "RGB").convert("RGB"))
        source = Source(Picture(pixels, gray))
        mixed += source.is_mixed
        found += judged(codec, source, quality)
    coding, choosing, decodings = (sum(values) for values in list(zip(*found, strict=True))[:3])
    click.echo(
        f"{tune}, quality {quality:g}, {'gray' if gray else 'colour'}: "
        f"{100 * choosing / (coding + choosing):.1f} % ({1000 * choosing / len(found):.1f} of "
        f"{1000 * (coding + choosing) / len(found):.0f} ms), {decodings} of {len(found)} slices decoded, "
        f"{mixed} of {len(paths)} pictures mixed\n"
    )
    for name in found[0].signs:
        values = [each.signs[name] for each in found]
        click.echo(f"{name:<38}" + "".join(f"{value:10.2f}" for value in (min(values), median(values), max(values))))


if __name__ == "__main__":
    main()
