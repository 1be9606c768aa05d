"""The command `dcacodec publish`."""

from __future__ import annotations

from pathlib import Path

import click

from dcacodec.cli.console import is_quiet, note, print_result
from dcacodec.cli.options import QUIET
from dcacodec.files.paths import models_dir


@click.command(
    context_settings={"show_default": True},
    epilog="""\b
Examples:
  dcacodec publish runs/first/checkpoint.pt --models mine/ --check held-out/ --measure kodak/
  DCACODEC_MODELS=mine/ dcacodec encode photo.png photo.dca
""",
)
@click.argument("checkpoint", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--models",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of published weights; its index.json is brought up to date.",
)
@click.option(
    "--check",
    multiple=True,
    required=True,
    help="Pictures to run in fixed point before publishing, to find activations out of range.",
)
@click.option(
    "--fit",
    multiple=True,
    help="Pictures to fit the residuals' tables to, 64 of them at most; "
    "training pictures will do. Without them the tables are Gaussian.",
)
@click.option("--measure", multiple=True, help="Pictures for the card's rate-distortion table, coded as real files.")
@click.option("--trained-on", default="not recorded", help="What it was trained on, in words, for the card.")
@click.option(
    "--replace", is_flag=True, help="Remove the preset's previous weights file; only for one that no release has had."
)
@QUIET
def publish(
    checkpoint: Path,
    models: Path,
    check: tuple[str, ...],
    fit: tuple[str, ...],
    measure: tuple[str, ...],
    trained_on: str,
    replace: bool,
) -> None:
    """Turn a training CHECKPOINT into a weights file with a model card.

    The moving average of the weights is quantised, its ranges are checked, integer tables are made.
    """
    from functools import partial

    from dcacodec.training.card import make_card
    from dcacodec.training.data import load_pictures
    from dcacodec.training.publish import FIT_PICTURES, load_checkpoint
    from dcacodec.training.publish import publish as run

    model, facts = load_checkpoint(checkpoint)
    quiet = is_quiet()
    checked, fitted, measured = (load_pictures(sources, quiet) for sources in (check, fit, measure))
    fitted = fitted[:: -(-len(fitted) // FIT_PICTURES) or 1]
    card = partial(make_card, run=facts, trained_on=trained_on, pictures=measured, quiet=quiet)
    path = run(model, models, checked, fitted, replace, quiet, card, facts.provenance)
    print_result(f"{path}\n{path.with_suffix('.md')}")
    if models.resolve() != models_dir().resolve():
        note(f"with DCACODEC_MODELS={models} in the environment, dcacodec codes with it")
