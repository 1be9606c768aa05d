"""Default settings of encoding, for the command line and the Python interface. No torch here."""

from typing import Final

QUALITY: Final = 50
EFFORT: Final = 0
PRESET: Final = "small"
