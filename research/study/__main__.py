"""The command `python -m research.study`."""

from __future__ import annotations

from pathlib import Path

import click

from dcacodec.cli.console import is_quiet, print_note, print_result
from dcacodec.cli.failures import Failure
from dcacodec.cli.options import QUIET, parse_names
from dcacodec.errors import DcaError, reason

EMA = 0.99
"""Decay of the moving average: runs are short."""


@click.command(
    context_settings={"show_default": True},
    epilog="""\b
Examples:
  python -m research.study runs/first/checkpoint.pt photos/ --validation held-out/ --out study/
  python -m research.study small.safetensors photos/ --validation held-out/ --out study/ --only R-0,RGL-0 --steps 500
""",
)
@click.argument("checkpoint", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("sources", nargs=-1, required=True)
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for all results; results that it already has are reused.",
)
@click.option(
    "--validation", multiple=True, required=True, help="Pictures to measure on: folders, tar shards or files."
)
@click.option("--validation-pictures", type=click.IntRange(1), default=12, help="Number of validation pictures used.")
@click.option(
    "--only",
    metavar="LIST",
    callback=parse_names,
    help="Comma-separated names of variants to train; all finished ones are reported.  [default: all]",
)
@click.option("--steps", type=click.IntRange(1), default=4000, help="Training steps of each variant.")
@click.option("--batch", type=click.IntRange(1), default=8, help="Crops per step.")
@click.option("--crop", type=click.IntRange(64), default=128, help="Side of the crops in pixels, a multiple of 64.")
@click.option("--learning-rate", type=click.FloatRange(0), default=2e-3, help="Peak learning rate.")
@click.option(
    "--cached", type=click.IntRange(1), default=3072, help="Number of crops of 256 pixels to cache latents of."
)
@click.option(
    "--rounds",
    type=click.IntRange(0),
    default=3,
    help="Number of timing rounds over all variants, repeated when a variant is added; 0 for none.",
)
@click.option("--threads", type=click.IntRange(1, 1024), help="Number of processor threads.")
@QUIET
def study(
    checkpoint: Path,
    sources: tuple[str, ...],
    folder: Path,
    validation: tuple[str, ...],
    validation_pictures: int,
    only: tuple[str, ...] | None,
    steps: int,
    batch: int,
    crop: int,
    learning_rate: float,
    cached: int,
    rounds: int,
    threads: int | None,
) -> None:
    """Compare entropy models as in the paper: R, G and L alone and together, in all orders, adaptive and merged.

    The transforms of CHECKPOINT (or of a weights file) are frozen; latents of crops of SOURCES are cached, and each
    variant is trained on them from scratch, all in the same way. Prints a table of bits against the baseline, R.
    """
    import torch

    from dcacodec.training.options import TrainingOptions
    from research.study.latents import CACHED_CROP
    from research.study.report import summarise, tables, write_report
    from research.study.run import study as run
    from research.study.variants import VARIANTS

    if threads:
        torch.set_num_threads(threads)
    known = {variant.name: variant for variant in VARIANTS}
    names = only or tuple(known)
    if unknown := [name for name in names if name not in known]:
        raise click.BadParameter(f"{unknown[0]} is not one of {', '.join(known)}.", param_hint="'--only'")
    if crop > CACHED_CROP:
        raise click.BadParameter(f"must be {CACHED_CROP} at most.", param_hint="'--crop'")
    try:
        options = TrainingOptions(steps=steps, batch=batch, crop=crop, learning_rate=learning_rate, ema=EMA)
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error
    try:
        records = run(
            checkpoint,
            sources,
            validation,
            folder,
            options,
            [known[name] for name in names],
            cached,
            validation_pictures,
            rounds,
            is_quiet(),
        )
        for path in write_report(records, folder):
            print_note(str(path))
        print_result("\n".join(tables(records, summarise(records))[0]))
    except (DcaError, OSError) as error:
        raise Failure(reason(error)) from error


if __name__ == "__main__":
    study(prog_name="python -m research.study")
