"""Pictures per second that dcacodec encodes and decodes, at 768x512 and at 1920x1080, on a CPU or a GPU::

    python benchmarks/throughput.py
    python benchmarks/throughput.py --device cuda --json

Each picture goes from a uint8 array to the bytes of a file and back to a uint8 array, one after the other in one
process, with the weights loaded. A GPU runs the networks; the entropy coder always runs on the CPU, so times include
transfers and synchronisation. Prints the median of the rounds.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Final

import click
import torch
from speed import picture_at, timed
from tqdm import tqdm

from dcacodec.codec.codec import Codec
from dcacodec.errors import DcaError
from dcacodec.images.picture import Picture

SIZES: Final = ((768, 512), (1920, 1080))


@click.command(context_settings={"show_default": True})
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="Device that runs networks.")
@click.option("--threads", type=click.IntRange(1), help="Number of PyTorch threads.  [default: PyTorch's choice]")
@click.option("--rounds", type=click.IntRange(1), default=9, help="Number of timing rounds, after a warm-up.")
@click.option("--preset", default="small", help="Published model.")
@click.option("--quality", type=click.IntRange(1, 100), default=50)
@click.option(
    "--picture",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Picture to code, cropped and resized to each size.  [default: scikit-image's cup of coffee]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with the seconds of every round.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def main(
    device: str,
    threads: int | None,
    rounds: int,
    preset: str,
    quality: int,
    picture: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Print how many pictures dcacodec encodes and decodes per second."""
    if threads:
        torch.set_num_threads(threads)
    try:
        codec = Codec.load(preset, device=device)
        pictures = [Picture(picture_at(picture, size)) for size in SIZES]
    except DcaError as error:
        raise click.ClickException(str(error)) from error
    seconds: dict[str, dict[str, list[float]]] = {}
    for each in tqdm(pictures, unit="size", disable=quiet or None):
        times = seconds[f"{each.width}x{each.height}"] = {"encode": [], "decode": []}
        for number in range(rounds + 1):
            encoding, data = timed(lambda one: codec.encode(one, quality=quality), each)
            decoding, _ = timed(codec.decode, data)
            if number:
                times["encode"].append(encoding)
                times["decode"].append(decoding)
    name = torch.cuda.get_device_name() if codec.device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    if as_json:
        setting = {"device": name, "torch": torch.__version__, "coder": codec.coder.name, "quality": quality}
        click.echo(json.dumps({"setting": setting, "seconds": seconds}, indent=1))
        return
    click.echo(f"{name}; quality {quality}, entropy coder {codec.coder.name}, {rounds} rounds\n")
    click.echo(f"{'pictures a second':<20}{'encode':>10}{'decode':>10}")
    for size, times in seconds.items():
        click.echo(f"{size:<20}" + "".join(f"{1 / median(times[what]):>10.2f}" for what in ("encode", "decode")))


if __name__ == "__main__":
    main()
