"""Training curves, drawn from the log of a run: `dcacodec train --plot`, or scripts/training_curves.py."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcacodec.errors import TrainingError
from dcacodec.format.container import STREAMS
from dcacodec.training.log import LOG_NAME, read_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def require_matplotlib() -> None:
    """Check early that curves can be drawn.

    Raises:
        TrainingError: Matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise TrainingError("curves need Matplotlib: pip install 'dcacodec[bench]'") from error


def write_curves(folder: Path) -> list[Path]:
    """Draw the log in a run's folder as curves.png and curves.svg.

    Returns:
        The paths of the files.

    Raises:
        TrainingError: the log is damaged, or Matplotlib is not installed.
        OSError: a file cannot be read or written.
    """
    require_matplotlib()
    from dcacodec.plotting.plot import Plot, save

    path = folder / LOG_NAME
    try:
        figure = draw_curves(read_log(path))
    except (LookupError, TypeError, ValueError) as error:
        raise TrainingError(f"{path}: a line lacks a value to be drawn") from error
    return save([Plot("curves", "Training", "", figure)], folder)


def draw_curves(lines: list[dict[str, Any]]) -> Figure:
    """Six panels over the pixels seen: loss, learning rate; PSNR, bits per pixel, bits by stream, surprise by step.

    Args:
        lines: of a log, see :mod:`dcacodec.training.loop`.
    """
    from matplotlib.figure import Figure

    figure = Figure((11, 9), layout="constrained")
    panels: list[Axes] = list(figure.subplots(3, 2).flat)
    steps = [line for line in lines if line["kind"] == "train"]
    checks = [line for line in lines if line["kind"] == "validation"]

    def over(lines: list[dict[str, Any]]) -> list[float]:
        return [line["pixels"] / 1e6 for line in lines]

    panels[0].plot(over(steps), [line["loss"] for line in steps], label="training", linewidth=0.8, gid="training")
    panels[0].plot(over(checks), [line["loss"] for line in checks], "o-", label="validation", gid="validation")
    panels[0].set(title="Loss", yscale="log")
    panels[1].plot(over(steps), [line["learning_rate"] for line in steps], gid="learning-rate")
    panels[1].set(title="Learning rate")
    qualities = [row["quality"] for row in checks[-1]["qualities"]] if checks else []
    for i, quality in enumerate(qualities):
        for axes, value in ((panels[2], "psnr"), (panels[3], "bpp")):
            axes.plot(
                over(checks),
                [line["qualities"][i][value] for line in checks],
                "o-",
                markersize=3,
                label=f"quality {quality}",
                gid=f"{value}-{quality}",
            )
    panels[2].set(title="PSNR, dB")
    panels[3].set(title="Bits per pixel", yscale="log")
    if qualities:
        middle = len(qualities) // 2
        rows = [line["qualities"][middle] for line in checks]
        names = [name for name in STREAMS if name in rows[-1]]
        panels[4].stackplot(over(checks), [[row[name] for row in rows] for name in names], labels=names)
        for step in range(4):
            values = [row[f"surprise_{step + 1}"] for row in rows]
            panels[5].plot(over(checks), values, "o-", markersize=3, label=f"step {step + 1}")
        panels[4].set_title(f"Bits per pixel by stream, quality {qualities[middle]}")
        panels[5].set_title(f"Surprise by step, quality {qualities[middle]}")
    for axes in panels:
        axes.grid(alpha=0.3)
        axes.set_xlabel("million pixels seen")
        if len(axes.get_legend_handles_labels()[0]) > 1:
            axes.legend(fontsize=7)
    return figure
