"""What encoding does where nothing else is asked for: the one place that says so. No torch here."""

from typing import Final

from dcacodec.network.config import TUNINGS, Tuning

QUALITY: Final = 50
EFFORT: Final = 0
PRESET: Final = "small"
TUNE: Final[Tuning] = TUNINGS[0]
