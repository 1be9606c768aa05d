"""The command `dcacodec info`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from dcacodec.cli.console import print_result
from dcacodec.cli.options import MAX_PIXELS
from dcacodec.cli.streams import (
    about,
    check_files,
    named_output,
    picture_format,
    published_weights,
    read_file,
    write_file,
)
from dcacodec.format.container import Container, describe
from dcacodec.format.writer import packed_size


@click.command(
    epilog="""\b
Examples:
  dcacodec info photo.dca
  dcacodec info --json photo.dca
  dcacodec info --preview small.png photo.dca
"""
)
@click.argument("source", metavar="FILE", type=click.Path(allow_dash=True, readable=False))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option(
    "--preview",
    metavar="OUT",
    type=click.Path(allow_dash=True, readable=False),
    callback=named_output,
    help="Instead, write a small version of the picture, of at most 256x256 pixels: the preview that files of large "
    "pictures have, or else the decoded picture, reduced. The suffix of OUT gives the format, of those that 'dcacodec "
    "decode' writes; it is PNG for '-' and where the suffix is not that of a picture.",
)
@MAX_PIXELS
def info(source: str, as_json: bool, preview: str | None, max_pixels: int) -> None:
    """Show what a .dca file contains, without decoding it.

    Shown are the format version, weights, size, colour mode, quality, slices, and the bytes of each part. --json has
    the keys version, fingerprint, weights and tune (null if the weights are not installed), width, height, mode, alpha,
    quality, lossless (whether all slices are), slices, slice_size, lossless_slices, streams, chunks, overhead_bytes,
    file_bytes and bpp.
    """
    limit = max_pixels or None
    if preview is not None:
        if as_json:
            raise click.UsageError("--json and --preview exclude each other.")
        check_files(source, preview)
        from dcacodec.images.formats import has_picture_suffix

        chosen = picture_format(preview, None if has_picture_suffix(Path(preview)) else "png")
        _write_preview(source, read_file(source, limit), preview, chosen)
        return
    container = read_file(source, limit)
    facts = describe(container, packed_size(container))
    published = published_weights(facts["fingerprint"])
    facts["weights"] = published and published.path.name
    facts["tune"] = published and published.tune
    if as_json:
        print_result(json.dumps(facts))
        return
    alpha = " with alpha" if facts["alpha"] else ""
    size = facts["slice_size"]
    exact = facts["lossless_slices"]
    # Where all slices are lossless, the network has coded nothing.
    coding, streams = ("lossless", {}) if facts["lossless"] else (f"quality {facts['quality']}", facts["streams"])
    slices = f"{facts['slices']} of up to {size}x{size} pixels" if size else "1, the whole picture"
    rows = [
        ("format", f"version {facts['version']}"),
        ("weights", f"{facts['fingerprint']}, {facts['weights'] or 'not installed'}"),
        *([("tuning", published.tune)] if published else []),
        ("picture", f"{facts['width']}x{facts['height']} {facts['mode']}{alpha}, {coding}"),
        ("file", f"{_bytes(facts['file_bytes'])}, {facts['bpp']:.3f} bpp"),
        ("slices", slices),
        *([("lossless", f"{exact} of {facts['slices']} slices")] if exact else []),
        *((f"stream {name}", _bytes(count)) for name, count in streams.items()),
        *((f"chunk {chunk['tag']}", _bytes(chunk["bytes"])) for chunk in facts["chunks"]),
        ("overhead", _bytes(facts["overhead_bytes"])),
    ]
    for name, value in rows:
        print_result(f"{name:<12}{value}")


def _bytes(count: int) -> str:
    return "1 byte" if count == 1 else f"{count} bytes"


def _write_preview(source: str, container: Container, target: str, chosen: str) -> None:
    """Write a small version of the picture in the chosen format."""
    from dcacodec.codec.preview import read_preview
    from dcacodec.images.writing import write_picture

    with about(source):
        picture = read_preview(container)
        if picture is None:  # only now PyTorch is imported, which takes a second
            from dcacodec.codec.thumbnail import decoded_thumbnail

            picture = decoded_thumbnail(container)
    with about(target, "standard output"):
        write_file(target, lambda file: write_picture(picture, file, chosen))
