"""Default settings of encoding, for the command line and the Python interface. No torch here."""

from typing import Final

from dcacodec.network.config import TUNINGS, Tuning

QUALITY: Final = 50
EFFORT: Final = 0
PRESET: Final = "small"
TUNE: Final[Tuning] = TUNINGS[0]
