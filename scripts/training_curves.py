"""Draw the curves of a training run from its log.

python scripts/training_curves.py RUN
"""

from pathlib import Path

import click

from dcacodec.errors import DcaError, reason
from dcacodec.training.curves import write_curves


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
def main(run: Path) -> None:
    """Draw the curves of the folder RUN from its log."""
    try:
        for path in write_curves(run):
            click.echo(path)
    except (DcaError, OSError) as error:
        raise click.ClickException(reason(error)) from error


if __name__ == "__main__":
    main()
