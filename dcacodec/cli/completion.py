"""The command `dcacodec completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from dcacodec.cli.console import print_result


@click.command(
    epilog="""\b
Examples:
  eval "$(dcacodec completion bash)"                               for this shell, or as a line of ~/.bashrc
  eval "$(dcacodec completion zsh)"                                or of ~/.zshrc, after compinit
  dcacodec completion fish > ~/.config/fish/completions/dcacodec.fish
"""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that completes commands, options and file names in SHELL."""
    kind = get_completion_class(shell)
    assert kind is not None  # Click has these three
    print_result(kind(context.find_root().command, {}, "dcacodec", "_DCACODEC_COMPLETE").source())
