"""The command `dcacodec decode`."""

from __future__ import annotations

import re
import time
from typing import Final

import click

from dcacodec.cli.imports import lasting_imports
from dcacodec.cli.options import DEVICE, MAX_PIXELS, QUIET, VERBOSE, format_option
from dcacodec.cli.streams import (
    IN,
    JSON,
    OUT,
    about,
    check_files,
    check_json,
    describe_codec,
    picture_format,
    print_json,
    print_summary,
    progress_bar,
    read_file,
    write_file,
)


def _region(context: click.Context, option: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """The four numbers of --region, None without it."""
    if text is None:
        return None
    numbers = text.split(",")
    if len(numbers) != 4 or not all(re.fullmatch("[0-9]{1,9}", number) for number in numbers):
        raise click.BadParameter(f"{text!r} is not X,Y,W,H, four whole numbers from 0 up.")
    return tuple(map(int, numbers))


_SCALES: Final = {"1": 1, "1/2": 2, "1/4": 4, "1/8": 8}


@click.command(
    epilog="""\b
Examples:
  dcacodec decode photo.dca photo.png
  dcacodec decode photo.dca - --format ppm | display
  dcacodec decode --region 2000,1500,640,480 huge.dca part.png
  dcacodec decode --scale 1/8 huge.dca preview.png
  dcacodec decode --quality 90 photo.dca photo.jpg
"""
)
@IN
@OUT
@format_option(
    "Format of OUT: png, tiff, webp (lossless), ppm, pgm, bmp, or the lossy jpeg and avif. If OUT has the suffix of "
    "another format, it is refused.  [default: by the suffix of OUT; png for '-']"
)
@click.option(
    "-q",
    "--quality",
    type=click.IntRange(1, 100),
    help="Quality of a lossy OUT, jpeg or avif.  [default: 75]",
)
@click.option(
    "--region",
    metavar="X,Y,W,H",
    callback=_region,
    help="Decode only the rectangle of W x H pixels whose top left pixel is X, Y. Only the slices that it touches are "
    "decoded.",
)
@click.option(
    "--scale",
    type=click.Choice(list(_SCALES)),
    default="1",
    show_default=True,
    help="Reduce width and height to this fraction, rounded up: with 1/4, 4000x3000 pixels become 1000x750. This takes "
    "nearly as long as decoding in full size.",
)
@JSON
@DEVICE
@MAX_PIXELS
@QUIET
@VERBOSE
@click.pass_context
def decode(
    context: click.Context,
    source: str,
    target: str,
    format_name: str | None,
    quality: int | None,
    region: tuple[int, int, int, int] | None,
    scale: str,
    as_json: bool,
    device: str,
    max_pixels: int,
) -> None:
    """Decode the .dca file IN to the picture OUT.

    The suffix of OUT gives the format. All are lossless but JPEG and AVIF, which are written with a warning. If IN is
    damaged, truncated, or needs weights that are not installed, the command fails and OUT is left unchanged.

    --json needs a file as OUT. Its keys are source, target, width, height (of OUT), format and seconds (of decoding).
    """
    check_files(source, target)
    check_json(as_json, target)
    from dcacodec.images.formats import OUTPUT_FORMATS
    from dcacodec.images.silence import silent_libraries
    from dcacodec.images.writing import check_format, write_picture
    from dcacodec.tiling.grid import Grid

    chosen = picture_format(target, format_name)
    if quality is not None and not OUTPUT_FORMATS[chosen].lossy:
        raise click.UsageError(f"--quality is for lossy formats, and {chosen} is lossless.")
    limit = max_pixels or None
    # The file is checked before torch is imported, which takes a second.
    container = read_file(source, limit)
    header, grid = container.header, Grid(container.header)
    with about(source):
        view = (grid.picture if region is None else grid.region(*region)).reduced(_SCALES[scale])
    with about(target, "standard output"):
        check_format(chosen, view.width, view.height, gray=header.mode == "L", alpha=container.has_alpha)
    with about(source):
        with lasting_imports():
            from dcacodec.codec.codec import Codec

        codec = Codec.for_container(container, device=device)
        describe_codec(codec)
        start = time.perf_counter()
        with progress_bar() as progress:
            picture = codec.decode(container, region=region, scale=_SCALES[scale], progress=progress)
        seconds = time.perf_counter() - start
    with about(target, "standard output"), silent_libraries(unless=context.find_root().params["debug"]):
        write_file(target, lambda file: write_picture(picture, file, chosen, quality))
    if as_json:
        print_json(source, target, (picture.width, picture.height), seconds, format=chosen)
    print_summary(source, target, f"{picture.width}x{picture.height} pixels {seconds:.2f} s")
