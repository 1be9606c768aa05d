"""Update the help texts in docs/reference/cli.md.

python scripts/cli_page.py
"""

import re
from pathlib import Path

import click

from dcacodec.cli.app import cli

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "cli.md"

_BLOCK = re.compile(r"^## `dcacodec(?: (?P<name>[\w-]+))?`\n.*?^```text\n(?P<help>.*?)^```$", re.DOTALL | re.MULTILINE)


def help_text(name: str | None) -> str:
    """What `dcacodec NAME --help` prints on a terminal of 80 columns; without a name, what `dcacodec --help` does."""
    top = click.Context(cli, info_name="dcacodec", terminal_width=80, **cli.context_settings)
    if name is None:
        return cli.get_help(top).rstrip() + "\n"
    command = cli.get_command(top, name)
    if command is None:
        raise SystemExit(f"docs/reference/cli.md describes an unknown command: {name}")
    settings = {"terminal_width": 80, **command.context_settings}
    return command.get_help(click.Context(command, parent=top, info_name=name, **settings)).rstrip() + "\n"


def helps(page: str) -> dict[str | None, str]:
    """The help texts on the page, by the name of the command."""
    return {block["name"]: block["help"] for block in _BLOCK.finditer(page)}


def renewed(page: str) -> str:
    """The page with the current help texts."""

    def renew(block: re.Match[str]) -> str:
        start = block.start("help") - block.start()
        end = block.end("help") - block.start()
        return block[0][:start] + help_text(block["name"]) + block[0][end:]

    return _BLOCK.sub(renew, page)


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text("utf-8")), "utf-8")
