"""Drift of colour: errors of the mean colour of blocks, at equal bytes.

    python benchmarks/block_colour.py photos/
    python benchmarks/block_colour.py --codecs dcacodec-visual,avif --bpp 0.3 a.png b.png

SSIMULACRA 2 hardly registers a slow drift of colour. Here, each picture is coded by each codec into the largest file
within the limit, the mean of each channel is taken over blocks of 32x32 pixels of the decoded picture and of the
original, and the absolute differences of these means are collected over all blocks of all pictures. Prints, for each
limit and codec, the mean bits per pixel, and the mean, the 99th percentile and the largest of the differences, in
levels of 0..255.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dcacodec.bench.codec import CodecOptions
from dcacodec.bench.codecs import open_codec
from dcacodec.bench.measure import largest_within
from dcacodec.images.picture import Pixels
from dcacodec.images.reading import read_picture

SIDE: Final = 32


def block_means(pixels: Pixels, side: int = SIDE) -> NDArray[np.float64]:
    """Means (rows, columns, 3) of the blocks of a picture (H, W, 3); blocks that are not whole are left out."""
    rows, columns = pixels.shape[0] // side, pixels.shape[1] // side
    whole = pixels[: rows * side, : columns * side]
    means: NDArray[np.float64] = whole.reshape(rows, side, columns, side, 3).mean((1, 3), dtype=np.float64)
    return means


def block_errors(reference: Pixels, decoded: Pixels, side: int = SIDE) -> NDArray[np.float64]:
    """Absolute differences of block means, (blocks * 3,), in levels."""
    return np.abs(block_means(reference, side) - block_means(decoded, side)).ravel()


def numbers(context: click.Context, parameter: click.Parameter, text: str) -> tuple[float, ...]:
    """The numbers of an option such as 0.2,0.5."""
    try:
        return tuple(map(float, text.split(",")))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not a list of numbers") from error


@click.command(context_settings={"show_default": True})
@click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--codecs", default="dcacodec-visual,dcacodec-psnr,avif", help="Names of codecs as in `dcacodec bench`.")
@click.option("--bpp", "limits", default="0.2,0.5,1", callback=numbers, help="Bits per pixel of the files.")
@click.option("--pictures", default="*.png", metavar="PATTERN", help="Files to take from folders.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def main(sources: Sequence[Path], codecs: str, limits: tuple[float, ...], pictures: str, quiet: bool) -> None:
    """Measure the drift of colour in SOURCES: folders and single pictures."""
    paths = [path for source in sources for path in (sorted(source.glob(pictures)) if source.is_dir() else [source])]
    if not paths:
        raise click.UsageError(f"no file is named like {pictures}")
    names = codecs.split(",")
    errors: dict[tuple[float, str], list[NDArray[np.float64]]] = {}
    rates: dict[tuple[float, str], list[float]] = {}
    with tqdm(total=len(names) * len(paths), unit="picture", disable=quiet or None) as bar:
        for name in names:
            codec = open_codec(name, CodecOptions())
            for path in paths:
                pixels = read_picture(path).pixels
                area = pixels.shape[0] * pixels.shape[1]
                found = largest_within(codec, pixels, [int(limit * area / 8) for limit in limits])
                for limit, file in zip(limits, found, strict=True):
                    if file is None:
                        raise click.ClickException(f"{path.name}: no file of {name} is within {limit:g} bits per pixel")
                    setting, data = file
                    codec.prepare(setting)
                    errors.setdefault((limit, name), []).append(block_errors(pixels, codec.decode(data)))
                    rates.setdefault((limit, name), []).append(8 * len(data) / area)
                bar.update()
    click.echo("limit  codec                   bpp   mean    99 %  largest")
    for limit in limits:
        for name in names:
            values = np.concatenate(errors[limit, name])
            spread = f"{values.mean():6.3f} {np.quantile(values, 0.99):7.3f} {values.max():8.3f}"
            click.echo(f"{limit:5g}  {name:20} {np.mean(rates[limit, name]):6.3f} {spread}")


if __name__ == "__main__":
    main()
