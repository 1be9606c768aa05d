"""`python -m dcacodec`: the same as the command `dcacodec`."""

from dcacodec.cli import main

main()
