"""Encoding and decoding times of dcacodec and of CompressAI's mean-scale hyperprior, on a CPU.

Both run in one process, in turns on the same picture: other load of the machine affects both, so ratios are more
reliable than times. Encoding is from a uint8 array to bytes (CompressAI: to its list of byte strings), decoding back to
a uint8 array. CompressAI has random weights: the time of its transforms does not depend on them, and its entropy coder
has less work than with trained weights, because random weights give small latents. ::

    python benchmarks/speed.py --threads 2
    python benchmarks/speed.py --weights other.safetensors --picture photo.png --json

Each thread needs a free core: PyTorch's threads synchronise many times per picture by spinning, and if another program
uses one of the cores, this takes much longer than the work itself (and affects dcacodec more, with its many small
operations). With OMP_WAIT_POLICY=PASSIVE in the environment threads sleep instead, and with GOMP_SPINCOUNT=2000, too,
after some tens of microseconds, as in the commands of dcacodec. The settings are printed.

To install CompressAI into an environment that has dcacodec, without a second PyTorch::

    pip install --no-deps compressai
    pip install einops pandas pytorch-msssim scipy

It also imports torchvision and torch_geometric, which are not used here; see `stand_in_for_unused_packages`.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any, Final, Protocol

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from dcacodec.codec.codec import Codec
from dcacodec.errors import DcaError
from dcacodec.images.picture import Picture
from dcacodec.images.reading import read_picture
from dcacodec.weights.reader import read_weights

Pixels = NDArray[np.uint8]
SIZE: Final = (768, 512)
PEER: Final = "mbt2018_mean"
PEER_QUALITY: Final = 4


class Contestant(Protocol):
    """A codec that is timed."""

    def encode(self, pixels: Pixels) -> Any:
        """Pixels (H, W, 3) to the argument of `decode`."""

    def decode(self, coded: Any) -> Pixels:
        """The inverse of `encode`."""

    def size(self, coded: Any) -> int:
        """The number of bytes."""


class Ours:
    """dcacodec at one quality."""

    def __init__(self, codec: Codec, quality: int) -> None:
        self.codec, self.quality = codec, quality

    def encode(self, pixels: Pixels) -> Any:
        return self.codec.encode(Picture(pixels), quality=self.quality)

    def decode(self, coded: Any) -> Pixels:
        return self.codec.decode(coded).pixels

    def size(self, coded: Any) -> int:
        return len(coded)


class CompressAI:
    """A model of CompressAI's zoo, freshly initialised."""

    def __init__(self, name: str, quality: int) -> None:
        stand_in_for_unused_packages()
        zoo = importlib.import_module("compressai.zoo")
        torch.manual_seed(0)
        self.model: Any = getattr(zoo, name)(quality=quality, pretrained=False).eval()
        self.model.update(force=True)

    @torch.inference_mode()
    def encode(self, pixels: Pixels) -> Any:
        x: Tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
        coded = self.model.compress(x)
        return coded["strings"], coded["shape"]

    @torch.inference_mode()
    def decode(self, coded: Any) -> Pixels:
        strings, shape = coded
        x: Tensor = self.model.decompress(strings, shape)["x_hat"][0]
        return (x.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()

    def size(self, coded: Any) -> int:
        return sum(len(string) for stream in coded[0] for string in stream)


def stand_in_for_unused_packages() -> None:
    """Make `import compressai` work without torchvision and torch_geometric.

    CompressAI imports them for augmentation and point clouds. The torchvision of PyPI is built for a PyTorch with CUDA
    and does not load beside one for CPUs; torch_geometric is large. Where one of them cannot be imported, empty modules
    take its place, with just the names that are used while CompressAI is being imported.
    """

    def keep(name: str) -> Callable[[type], type]:  # as a decorator that registers nothing
        return lambda cls: cls

    needed: dict[str, dict[str, dict[str, Any]]] = {
        "torchvision": {"torchvision": {}, "torchvision.transforms": {}},
        "torch_geometric": {
            "torch_geometric": {},
            "torch_geometric.transforms": {"BaseTransform": object, "Center": object},
            "torch_geometric.data": {"Data": object},
            "torch_geometric.data.datapipes": {"functional_transform": keep},
        },
    }
    for package, modules in needed.items():
        try:
            importlib.import_module(package)
        except (ImportError, OSError, RuntimeError):
            for name, content in modules.items():
                module = ModuleType(name)
                vars(module).update(content)
                sys.modules[name] = module
                parent, _, child = name.rpartition(".")
                if parent:
                    setattr(sys.modules[parent], child, module)


def picture_at(path: Path | None, size: tuple[int, int] = SIZE) -> Pixels:
    """The picture of a file, or scikit-image's cup of coffee (CC0); cropped and resized to a width and height."""
    if path is None:
        pixels: Pixels = importlib.import_module("skimage.data").coffee()
    else:
        pixels = read_picture(path).pixels
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    scale = min(width / size[0], height / size[1])
    crop_width, crop_height = size[0] * scale, size[1] * scale
    left, top = (width - crop_width) / 2, (height - crop_height) / 2
    box = (left, top, left + crop_width, top + crop_height)
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS, box=box))


Times = dict[str, dict[str, list[float]]]
"""Seconds of wall time by name of the codec and by "encode" and "decode", one for each round."""


def timed(run: Callable[[Any], Any], argument: Any) -> tuple[float, Any]:
    """Seconds of wall time, and the result."""
    begin = time.perf_counter()
    result = run(argument)
    return time.perf_counter() - begin, result


def race(contestants: dict[str, Contestant], pixels: Pixels, rounds: int, quiet: bool) -> Times:
    """Time the codecs in turns, after a warm-up round."""
    times: Times = {name: {"encode": [], "decode": []} for name in contestants}
    for number in tqdm(range(rounds + 1), unit="round", disable=quiet or None):
        for name, contestant in contestants.items():
            encoding, coded = timed(contestant.encode, pixels)
            decoding, decoded = timed(contestant.decode, coded)
            assert decoded.shape == pixels.shape
            if number:
                times[name]["encode"].append(encoding)
                times[name]["decode"].append(decoding)
    return times


@click.command(context_settings={"show_default": True})
@click.option("--threads", type=click.IntRange(1), default=2, help="Number of PyTorch threads.")
@click.option("--rounds", type=click.IntRange(1), default=9, help="Number of timing rounds, after a warm-up.")
@click.option("--preset", default="small", help="Published model.")
@click.option("--weights", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Weights file to use.")
@click.option("--quality", type=click.IntRange(1, 100), default=50, help="Quality of dcacodec.")
@click.option(
    "--picture",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Picture to code, cropped to 3:2 and resized to 768x512.  [default: scikit-image's cup of coffee]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with the seconds of every round.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def main(
    threads: int,
    rounds: int,
    preset: str,
    weights: Path | None,
    quality: int,
    picture: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Time dcacodec and CompressAI in turns, and print the ratios of their times."""
    torch.set_num_threads(threads)
    try:
        codec = Codec(read_weights(weights)) if weights else Codec.load(preset, device="cpu")
        pixels = picture_at(picture)
    except DcaError as error:
        raise click.ClickException(str(error)) from error
    names = f"dcacodec {codec.weights.config.name}", f"{PEER} q{PEER_QUALITY}"
    contestants: dict[str, Contestant] = {names[0]: Ours(codec, quality), names[1]: CompressAI(PEER, PEER_QUALITY)}
    bpp = {name: one.size(one.encode(pixels)) * 8 / (SIZE[0] * SIZE[1]) for name, one in contestants.items()}
    times = race(contestants, pixels, rounds, quiet)
    ratios = {
        what: [theirs / ours for ours, theirs in zip(times[names[0]][what], times[names[1]][what], strict=True)]
        for what in ("encode", "decode")
    }
    waiting = {name: os.environ.get(name, "not set") for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    if as_json:
        setting = {
            "threads": threads,
            "cores": os.cpu_count(),
            **waiting,
            "torch": torch.__version__,
            "coder": codec.coder.name,
            "quality": quality,
            "size": SIZE,
        }
        click.echo(json.dumps({"setting": setting, "bpp": bpp, "seconds": times, "ratio": ratios}, indent=1))
        return
    click.echo(
        f"{SIZE[0]}x{SIZE[1]}, {threads} threads on {os.cpu_count()} cores ({platform.machine()}), "
        f"{', '.join(' '.join(each) for each in waiting.items())}, PyTorch {torch.__version__}"
    )
    click.echo(f"dcacodec at quality {quality}, entropy coder {codec.coder.name}; {rounds} rounds in turns\n")
    click.echo(f"{'ms':<22}{'bpp':>7}" + "".join(f"{what:>10}{'min':>8}{'max':>8}" for what in ("encode", "decode")))
    for name in names:
        cells = "".join(_cells([1000 * value for value in times[name][what]], 0) for what in ("encode", "decode"))
        click.echo(f"{name:<22}{bpp[name]:>7.3f}{cells}")
    cells = "".join(_cells(ratios[what], 2) for what in ("encode", "decode"))
    click.echo(f"{'times as fast':<22}{'':>7}{cells}")


def _cells(values: list[float], digits: int) -> str:
    """Median, minimum and maximum."""
    return f"{median(values):>10.{digits}f}{min(values):>8.{digits}f}{max(values):>8.{digits}f}"


if __name__ == "__main__":
    main()
