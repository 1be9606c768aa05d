"""The command `dcacodec selftest`."""

from __future__ import annotations

import click

from dcacodec.cli.console import is_quiet, print_result
from dcacodec.cli.options import DEVICE, QUIET
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
@click.pass_context
def selftest(context: click.Context, device: str) -> None:
    """Verify bit-exact decoding on this machine.

    The golden files of this release are decoded with every entropy coder, on one thread and on many, and on a GPU if
    there is one; the decoded integers must equal those recorded when the files were written. Then every one of these
    settings decodes files that every other one has encoded. Takes some seconds. Prints one line for each check; the
    exit code is 1 if one failed. With --quiet, only failures are printed.
    """
    failed = total = 0
    for check in checks(device):
        total += 1
        failed += not check.passed
        if not (check.passed and is_quiet()):
            print_result(f"{'ok  ' if check.passed else 'FAIL'}  {check.text}")
    if failed or not is_quiet():
        print_result(f"{total - failed} of {total} checks passed")
    if failed:
        context.exit(1)
