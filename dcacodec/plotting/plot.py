"""A figure, its style, and its files.

Drawn with Matplotlib's objects, without pyplot, so nothing is left behind and no display is needed. The same data give
the same bytes with the same Matplotlib: no dates are written, and the identifiers in SVG files are salted alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
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
"""The colours of everything that is no data. No series has one of them, so a page can put its own in their place."""

STYLE: Final[Any] = {  # the names are no type that all versions of Matplotlib share
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
        name: of its files, without the ending.
        title: what it shows, in a few words.
        caption: how to read it, and what was left out.
        figure: of Matplotlib. Each series is a group whose gid is told by what draws it.
    """

    name: str
    title: str
    caption: str
    figure: Figure

    def render(self, form: Format) -> bytes:
        """The content of a file of this format. SVG keeps its text as text."""
        buffer = BytesIO()
        metadata = {"Software": None} if form == "png" else {"Date": None, "Creator": None}
        with rc_context(STYLE):
            self.figure.savefig(buffer, format=form, dpi=160, metadata=metadata)
        return buffer.getvalue()


def save(plots: Iterable[Plot], folder: Path) -> list[Path]:
    """Write plots into a folder, each under its name in all of `FORMATS`.

    Raises:
        OSError: a file cannot be written.
    """
    paths = []
    for plot in plots:
        for form in FORMATS:
            content = plot.render(form)
            path = folder / f"{plot.name}.{form}"
            write_atomically(path, lambda file, content=content: file.write(content))  # type: ignore[misc]
            paths.append(path)
    return paths
