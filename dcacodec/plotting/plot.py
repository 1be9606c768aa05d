"""A figure, its style, and its files.

Figures are made without pyplot, so there is no global state and no display is needed. The same data give the same bytes
with the same version of Matplotlib: no dates are written, and the salt of identifiers in SVG files is fixed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from operator import methodcaller
from pathlib import Path
from typing import Any, Final, Literal

from matplotlib import rc_context
from matplotlib.figure import Figure

from dcacodec.files.atomic import write_atomically

Format = Literal["png", "svg"]
FORMATS: Final[tuple[Format, ...]] = ("png", "svg")

INK: Final = "#1b1f24"
MUTED: Final = "#5b6470"
FAINT: Final = "#dde2e8"
PAPER: Final = "#ffffff"
"""The colours of everything but data. No series has one of them, so that a page can replace them."""

STYLE: Final[Any] = {  # its type differs between versions of Matplotlib
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": MUTED,
    "axes.facecolor": PAPER,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "text.parse_math": False,  # a "$" in a name is a "$"
    "svg.fonttype": "none",
    "svg.hashsalt": "dcacodec",
}


@dataclass(frozen=True, eq=False)
class Plot:
    """A figure.

    Attributes:
        name: of its files, without the suffix.
        title: of the figure.
        caption: how to read it, and what was left out.
        figure: of Matplotlib. Each series is a group with a gid.
    """

    name: str
    title: str
    caption: str
    figure: Figure

    def render(self, form: Format) -> bytes:
        """The content of a file in this format. Text in SVG files stays text."""
        buffer = BytesIO()
        metadata = {"Software": None} if form == "png" else {"Date": None, "Creator": None}
        with rc_context(STYLE):
            self.figure.savefig(buffer, format=form, dpi=160, metadata=metadata)
        return buffer.getvalue()


def save(plots: Iterable[Plot], folder: Path) -> list[Path]:
    """Write plots to a folder, each in all of `FORMATS`.

    Raises:
        OSError: a file cannot be written.
    """
    paths = []
    for plot in plots:
        for form in FORMATS:
            content = plot.render(form)
            path = folder / f"{plot.name}.{form}"
            write_atomically(path, methodcaller("write", content))
            paths.append(path)
    return paths
