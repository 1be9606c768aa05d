"""The cost of fixed point: bits of the exact entropy model compared with those of the same network in floating point.

Both code the same latents, those of the analysis in the weights file. In floating point, the network runs in float32,
standard deviations are real numbers, and the bits of an element follow from its Gaussian. Four steps lead from there to
real files, each of which is measured separately::

    floating point   float32 network, real-valued standard deviation, ideal bits
    network          the network in fixed point, with its standard deviations
    levels           the standard deviation rounded to a scale level
    tables           integer tables of counts with escapes, instead of the Gaussian
    bytes            the streams as they are in the file

    python benchmarks/fixed_point_loss.py models/small-psnr-9f86d081.safetensors kodak/

The floating-point network has the weights of the file, which are rounded, and no limits of activations; --checkpoint
uses the weights of a training run instead. Skipped elements have no bits, in each network by its own levels. Prints
sums over the pictures of the bits of y (those of hyper latents are equal), as loss against floating point in percent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from dcacodec.cli.bench import parse_qualities
from dcacodec.codec.codec import Codec
from dcacodec.coding import ideal_bits
from dcacodec.errors import DcaError
from dcacodec.images.reading import read_picture
from dcacodec.network.context import Scales, StepCoder, split_steps
from dcacodec.network.dca import DCA
from dcacodec.network.priors import SKIP_BELOW, gaussian_bits
from dcacodec.training.publish import load_checkpoint
from dcacodec.weights.reader import read_weights


@dataclass(frozen=True)
class Costs:
    """Bits of y, see the module's docstring; `skipped_floating` and `skipped` are numbers of elements."""

    floating: float
    network: float
    levels: float
    tables: float
    bytes: float
    skipped_floating: float
    skipped: float
    elements: float

    @staticmethod
    def total(parts: Sequence[Costs]) -> Costs:
        """The sum, field by field."""
        return Costs(*(sum(column) for column in zip(*map(astuple, parts), strict=True)))

    def losses(self) -> tuple[float, float, float, float]:
        """Losses of network, levels, tables and bytes against floating point, in percent."""
        network, levels, tables, coded = (
            100 * (bits / self.floating - 1) for bits in (self.network, self.levels, self.tables, self.bytes)
        )
        return network, levels, tables, coded


class GaussianCost:
    """Quantises a latent step by step and adds up the bits of its elements by their Gaussians.

    Attributes:
        real: bits with levels as the network gives them.
        rounded: bits with levels rounded to integers.
        skipped: number of elements skipped by rule.
    """

    def __init__(self, y: Tensor) -> None:
        self.parts = split_steps(y)
        self.real = self.rounded = self.skipped = 0.0

    def code(self, step: int, mean: Tensor, level: Tensor) -> Tensor:
        """See `StepCoder`."""
        rounded = level.double().round()
        skip = rounded < SKIP_BELOW
        residual = (self.parts[step] - mean).round().masked_fill(skip, 0.0)
        self.real += gaussian_bits(residual.double(), level.double())[~skip].sum().item()
        self.rounded += gaussian_bits(residual.double(), rounded)[~skip].sum().item()
        self.skipped += skip.sum().item()
        return residual + mean


@torch.inference_mode()
def costs(codec: Codec, floating: DCA, pixels: NDArray[np.uint8], quality: int) -> Costs:
    """The costs of one picture (H, W, 3) at one quality. ``floating`` runs entirely in float32."""
    coder = codec.at(quality)
    point = coder.point
    y = point.latent_of(point.tensor_of(pixels))
    latents = point.hyper_of(y)

    def run(network: DCA, scales: Scales, dtype: torch.dtype) -> GaussianCost:
        cost = GaussianCost(y.to(dtype))
        code: StepCoder = cost.code
        size = (y.shape[1], y.shape[2])
        network.entropy({letter: z.to(dtype) for letter, z in latents.items()}, size, scales, code)
        return cost

    inexact = run(floating, floating.scales(point.position), torch.float32)
    # Latents, means and factors on them are float64; all products of matrices are float32.
    exact = run(codec.weights.network, point.scales, torch.float64)
    symbols, _ = coder.quantise(y, latents, full=False)  # elements are skipped in the estimates, too
    table = codec.weights.y_table
    ideal = sum(ideal_bits(values, rows, table) for values, rows in zip(symbols.steps, symbols.rows, strict=True))
    coded = 8 * sum(len(stream) for stream in coder.streams_of(symbols)[-len(symbols.steps) :])
    return Costs(inexact.real, exact.real, exact.rounded, ideal, coded, inexact.skipped, exact.skipped, y.numel())


@click.command(context_settings={"show_default": True})
@click.argument("weights", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--qualities", default="5,20,35,50,65,80,95", help="Comma-separated qualities and ranges such as 1-100.")
@click.option(
    "--checkpoint",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Training checkpoint with the floating-point entropy model.",
)
@click.option("--pictures", default="*.png", metavar="PATTERN", help="Files to take from folders.")
@click.option("--threads", type=click.IntRange(1), default=1, help="Number of processor threads.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def main(
    weights: Path,
    sources: tuple[Path, ...],
    qualities: str,
    checkpoint: Path | None,
    pictures: str,
    threads: int,
    quiet: bool,
) -> None:
    """Measure the codec of WEIGHTS on SOURCES: folders and single pictures."""
    torch.set_num_threads(threads)
    paths = [path for source in sources for path in (sorted(source.glob(pictures)) if source.is_dir() else [source])]
    if not paths:
        raise click.UsageError(f"no file is named like {pictures}")
    try:
        chosen = parse_qualities(qualities)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--qualities") from error
    try:
        codec = Codec(read_weights(weights))
        floating = load_checkpoint(checkpoint)[0] if checkpoint else codec.weights.floating_point()
        found: dict[int, list[Costs]] = {quality: [] for quality in chosen}
        with tqdm(total=len(paths) * len(chosen), unit="picture", disable=quiet or None) as bar:
            for path in paths:
                pixels = read_picture(path).pixels
                for quality in chosen:
                    found[quality].append(costs(codec, floating, pixels, quality))
                    bar.update()
    except DcaError as error:
        raise click.ClickException(str(error)) from error

    other = checkpoint.name if checkpoint else "float32"
    click.echo(
        f"{len(paths)} pictures, {weights.name} against {other}: bits of y and what they are more, in percent; "
        "elements that are skipped, in percent\n"
    )
    click.echo("quality   kbit in float   network   levels   tables    bytes   skipped float   skipped")
    for name, parts in [*((str(q), found[q]) for q in chosen), ("all", [part for q in chosen for part in found[q]])]:
        total = Costs.total(parts)
        losses = "".join(f"{loss:+9.3f}" for loss in total.losses())
        skipped = (100 * count / total.elements for count in (total.skipped_floating, total.skipped))
        click.echo("{:>7} {:15.1f} {} {:15.2f} {:9.2f}".format(name, total.floating / 1000, losses, *skipped))


if __name__ == "__main__":
    main()
