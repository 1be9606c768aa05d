"""`python -m dcacodec`, and the command `dcacodec`."""

import sys


def main() -> None:
    """Run the command. Ctrl-C is reported as one line even while modules are being imported."""
    try:
        from dcacodec.cli.app import main as command
    except KeyboardInterrupt:
        if sys.stderr is not None:  # otherwise `print` would use standard output
            print("dcacodec: error: interrupted", file=sys.stderr)  # noqa: T201
        raise SystemExit(130) from None
    command()


if __name__ == "__main__":
    main()
