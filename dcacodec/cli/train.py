"""The command `dcacodec train`."""

from __future__ import annotations

from pathlib import Path

import click

from dcacodec.cli.console import is_quiet
from dcacodec.cli.options import QUIET, parse_size
from dcacodec.network.config import PRESETS, TUNINGS


@click.command(
    context_settings={"show_default": True},
    epilog="""\b
Examples:
  dcacodec train photos/ --run runs/first --max-minutes 120 --validation held-out/
  dcacodec train scans/ --run runs/scans --max-minutes 60 --learning-rate 5e-4 --resume small-psnr.safetensors
  torchrun --nproc-per-node 2 -m -- dcacodec train photos/ --run runs/first --max-minutes 120
""",
)
@click.argument("sources", nargs=-1, required=True)
@click.option(
    "--run",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the checkpoint and the log. If it has a checkpoint, training resumes from it.",
)
@click.option("--preset", type=click.Choice(list(PRESETS)), default="small", help="Network to train.")
@click.option(
    "--max-minutes",
    "minutes",
    type=click.FloatRange(0),
    default=0.0,
    show_default=False,
    help="Length of the schedule in minutes of training time, summed over all parts of a resumed run. Either this or "
    "--steps is required.",
)
@click.option(
    "--steps",
    type=click.IntRange(0),
    default=0,
    show_default=False,
    help="Length of the schedule in steps, used if --max-minutes is not given.",
)
@click.option(
    "--tune",
    type=click.Choice(TUNINGS),
    default="psnr",
    help="Distortion in the loss: squared error, or a mixture of squared error and the SSIMULACRA 2 distance.",
)
@click.option(
    "--mse-share",
    type=click.FloatRange(0, 1),
    show_default="1 for psnr, 0.35 for visual",
    help="Share of squared error in that mixture.",
)
@click.option("--batch", type=click.IntRange(1), default=8, help="Crops per step, in each process.")
@click.option("--crop", type=click.IntRange(64), default=192, help="Side of the crops in pixels, a multiple of 64.")
@click.option(
    "--final-crop",
    type=click.IntRange(64),
    help="Side of the crops at the end of the schedule, if different; the batch is adjusted to keep pixels per step.",
)
@click.option(
    "--final-share", type=click.FloatRange(0, 1), default=0.2, help="Share of the schedule that uses --final-crop."
)
@click.option(
    "--learning-rate", type=click.FloatRange(0), default=2e-3, help="Peak learning rate of the entropy model."
)
@click.option(
    "--decay-share",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    help="Last share of the schedule, in which the learning rate decays to 1 % of its peak (half a cosine).",
)
@click.option(
    "--transform-share",
    type=click.FloatRange(0),
    default=0.4,
    help="Learning rate of the transforms, as a fraction of --learning-rate.",
)
@click.option("--ema", type=click.FloatRange(0, 1), default=0.999, help="Decay of the moving average of the weights.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default="auto",
    help="Precision of matrix products; auto is bfloat16 where it is fast.",
)
@click.option("--validation", multiple=True, help="Pictures to validate on: folders, tar shards or files.")
@click.option("--validation-pictures", type=click.IntRange(1), default=8, help="Number of validation pictures used.")
@click.option("--validate-every", type=click.FloatRange(0), default=20.0, help="Minutes between validations.")
@click.option(
    "--against",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Log of another run (log.jsonl) with the same validation pictures: each validation reports BD-rates against "
    "the last validation of that run.",
)
@click.option("--save-every", type=click.FloatRange(0), default=5.0, help="Minutes between checkpoints.")
@click.option(
    "--part-size",
    callback=parse_size,
    show_default="one file",
    metavar="SIZE",
    help="Write checkpoints in parts of at most SIZE (15MB, 500KiB), with the index checkpoint.pt.json.",
)
@click.option(
    "--plot",
    is_flag=True,
    help="Draw curves.png and curves.svg after each validation; requires Matplotlib (the extra 'bench').",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Start a new schedule from this: a checkpoint of another run, the index of its parts, or published weights "
    "(.safetensors).",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, help="Seed of weights, crops, qualities and noise."
)
@click.option("--threads", type=click.IntRange(1, 1024), help="Number of processor threads.")
@QUIET
def train(
    sources: tuple[str, ...],
    folder: Path,
    threads: int | None,
    validation: tuple[str, ...],
    validation_pictures: int,
    against: Path | None,
    resume: Path | None,
    part_size: int | None,
    **settings: object,
) -> None:
    """Train a network on SOURCES: folders of pictures, tar shards, or single pictures.

    Resumes from the checkpoint in the run folder if there is one; Ctrl-C and SIGTERM save a checkpoint before the
    process ends. Pictures are kept in memory, decoded. Each validation prints a line with the loss and the means of
    PSNR, SSIMULACRA 2 and MS-SSIM (in dB) over the qualities. A progress bar is shown only on a terminal. The last
    lines name the checkpoint, what it reached, and the command that publishes it.
    """
    from dcacodec.training.options import TrainingOptions

    try:
        options = TrainingOptions(**settings, part_size=part_size or 0)  # type: ignore[arg-type]
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error
    import torch  # only now, as it takes seconds

    from dcacodec.training.loop import train as run
    from dcacodec.training.signals import Interrupted

    if threads:
        torch.set_num_threads(threads)
    try:
        run(
            sources,
            folder,
            options,
            validation,
            resume=resume,
            validation_pictures=validation_pictures,
            against=against,
            quiet=is_quiet(),
        )
    except Interrupted as interrupted:
        click.echo(f"dcacodec: {interrupted}", err=True)
        raise SystemExit(128 + interrupted.number) from None
