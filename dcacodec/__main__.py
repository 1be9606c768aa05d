"""`python -m dcacodec`, and the command `dcacodec`."""

import sys


def main() -> None:
    """Run the command. A Ctrl-C is told in a line from the first moment on, while all else is still being loaded."""
    try:
        from dcacodec.cli.app import main as command
    except KeyboardInterrupt:
        if sys.stderr is not None:  # else `print` would take standard output
            print("dcacodec: error: interrupted", file=sys.stderr)  # noqa: T201
        raise SystemExit(130) from None
    command()


if __name__ == "__main__":
    main()
