"""The command `dcacodec publish`."""

from __future__ import annotations

from pathlib import Path

import click

from dcacodec.cli.console import is_quiet, print_note, print_result
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
    help="Folder of published weights; its index.json is updated.",
)
@click.option(
    "--check",
    multiple=True,
    required=True,
    help="Pictures to encode in fixed point before publishing, to detect activations out of range.",
)
@click.option(
    "--fit",
    multiple=True,
    help="Pictures to fit the probability tables of the residuals to, at most 64; training pictures are fine. Without "
    "this option the tables are Gaussian.",
)
@click.option("--measure", multiple=True, help="Pictures for the rate-distortion table of the model card.")
@click.option("--trained-on", default="not recorded", help="Description of the training pictures, for the model card.")
@click.option(
    "--replace", is_flag=True, help="Remove the preset's previous weights file, which must not have been released."
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
    """Convert a training CHECKPOINT to a weights file with a model card.

    Quantises the moving average of the weights, checks the ranges of activations, and makes the integer probability
    tables.
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
    path = run(
        model,
        models,
        checked,
        fit=fitted,
        replace=replace,
        quiet=quiet,
        card=card,
        provenance=facts.provenance,
    )
    print_result(f"{path}\n{path.with_suffix('.md')}")
    if models.resolve() != models_dir().resolve():
        print_note(f"set DCACODEC_MODELS={models} in the environment to use these weights")
