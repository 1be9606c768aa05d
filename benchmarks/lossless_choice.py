"""What the choice of lossless slices takes of the processor time of encoding photographs::

    python benchmarks/lossless_choice.py path/to/photographs
    python benchmarks/lossless_choice.py path/to/photographs --tune psnr --gray --quality 100

Prints the share, and how many of the slices were decoded for the choice: those that do not look like photographs.
Photographs without any such slice are what the choice is made for.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from dcacodec.codec.codec import Codec
from dcacodec.codec.lossless_choice import better_block, is_mixed
from dcacodec.codec.source import Source
from dcacodec.images.formats import has_picture_name
from dcacodec.images.picture import Picture, Pixels
from dcacodec.network.config import TUNINGS, Tuning
from dcacodec.tiling.grid import Grid


def shares(codec: Codec, picture: Picture, quality: float) -> Iterator[tuple[float, float, int]]:
    """For each slice of a picture: seconds for its code and for the choice, and how often it was decoded."""
    grid = Grid(codec.header_for(Source(picture), quality=quality))
    encoder = codec.encoder_at(quality)
    point = encoder.coder.point
    begin = time.process_time()
    is_mixed(picture.pixels)
    mixed = (time.process_time() - begin) / grid.header.slice_count
    for index in range(grid.header.slice_count):
        begin = time.process_time()
        encoded = encoder.encode(picture.pixels, grid, index)
        middle = time.process_time()
        shown, decodings = picture.pixels[grid.shown(index)], 0

        def decoded() -> Pixels:
            nonlocal decodings
            decodings += 1
            return point.pixels_of(encoded.symbols.latent)[: shown.shape[0], : shown.shape[1]]  # noqa: B023

        bits = 8 * sum(map(len, encoded.coded.streams))
        better_block(shown, shown, bits, decoded, quality, point.trade_off)
        yield middle - begin, time.process_time() - middle + mixed, decodings


@click.command(context_settings={"show_default": True})
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--tune", type=click.Choice(TUNINGS), default=TUNINGS[0], help="Weights.")
@click.option("--quality", type=click.FloatRange(1, 100), default=50, help="Quality of the encodings.")
@click.option("--gray", is_flag=True, help="Convert the photographs to gray.")
def main(folder: Path, tune: Tuning, quality: float, gray: bool) -> None:
    """Measure the choice on the pictures of FOLDER."""
    torch.set_num_threads(1)
    codec = Codec.load(tune=tune, device="cpu")
    found: list[tuple[float, float, int]] = []
    for path in tqdm(sorted(filter(has_picture_name, folder.iterdir())), disable=None):
        with Image.open(path) as image:
            pixels = np.array(image.convert("L" if gray else "RGB").convert("RGB"))
        found += shares(codec, Picture(pixels, gray), quality)
    if not found:
        raise click.UsageError(f"{folder}: there are no pictures")
    coding, choosing, decodings = map(sum, zip(*found, strict=True))
    print(
        f"{tune}, quality {quality:g}, {'gray' if gray else 'colour'}: "
        f"{100 * choosing / (coding + choosing):.1f} % ({1000 * choosing / len(found):.1f} of "
        f"{1000 * (coding + choosing) / len(found):.0f} ms), {decodings} of {len(found)} slices decoded"
    )


if __name__ == "__main__":
    main()
