"""The command `dcacodec selftest`."""

from __future__ import annotations

import click

from dcacodec.cli.console import print_result
from dcacodec.cli.options import DEVICE, QUIET, VERBOSE
from dcacodec.codec.selftest import checks


@click.command(
    epilog="""\b
Examples:
  dcacodec selftest
  dcacodec selftest --device cuda
"""
)
@DEVICE
@QUIET
@VERBOSE
@click.pass_context
def selftest(context: click.Context, device: str) -> None:
    """Check that this machine decodes as every other does.

    Files that came with this release are decoded with every entropy coder, on one thread and on many, and on a GPU
    where there is one; their integers must be those recorded when they were written. Then files are made and read in
    turn. Takes some seconds. A line on standard output tells of each check; the exit code is 1 if one failed.
    """
    failed = total = 0
    for check in checks(device):
        total += 1
        failed += not check.passed
        print_result(f"{'ok  ' if check.passed else 'FAIL'}  {check.text}")
    print_result(f"{total - failed} of {total} checks passed")
    if failed:
        context.exit(1)
