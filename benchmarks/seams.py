"""Visibility of seams between slices: differences of neighbouring samples, across borders and elsewhere.

    python benchmarks/seams.py
    python benchmarks/seams.py --qualities 20,80 other.safetensors
    python benchmarks/seams.py --check    # what new weights must pass before they are published

Pictures of 768x512 (smooth synthetic ones and two photographs of scikit-image) are coded in slices of 256x256. Prints a
line for each picture and quality, in levels of 0..255::

    picture      mean differences in the decoded picture: across the borders of slices; across all other lines between
                 blocks of 16x16 pixels, which are what a step of y_hat makes
    one slice    the same lines in the same picture coded in one slice, without borders
    offset       steps that are constant along a border, which are seen as a line: the mean difference, in the decoded
                 picture minus the original, over the 256 pixels where two slices meet; the root mean square of all
                 these. Then the same of all other lines.
    one slice    the same without borders: photographs have edges of their own
    dB           PSNR of the picture; cost of slices, which is the PSNR in one slice minus that; PSNR of the worst slice

The last lines are means over the smooth pictures and over the photographs. With --check, values beyond the limits below
are reported, and the command fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import data as photographs
from tqdm import tqdm

from dcacodec.cli.bench import parse_qualities
from dcacodec.codec.codec import Codec
from dcacodec.images.picture import Picture, Pixels
from dcacodec.network.device import choose_device
from dcacodec.weights.reader import read_weights

HEIGHT: Final = 512
WIDTH: Final = 768
SLICE_LOG2: Final = 8
LINE: Final = 16

VISIBLE: Final = 0.1
"""Levels: in a smooth picture, how much larger a step across borders may be than one across other lines."""
COST: Final = 0.05
"""dB: what coding in slices of this size may cost, over all pictures of a kind. 1 % of the bits are worth some 0.04."""
BLOTCH: Final = 35.0
"""dB: the least PSNR of a slice of a smooth picture."""


def _rounded(*bands: NDArray[np.float64]) -> Pixels:
    return np.stack(bands, -1).round().clip(0, 255).astype(np.uint8)


def _grid() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    return y, x


def waves() -> Pixels:
    """Waves of low frequency, different in each colour."""
    y, x = _grid()
    bands = 120 + 60 * np.sin(x / 400) + 20 * np.cos(y / 300), 140 + 50 * np.cos((x + y) / 500), 180 + 0.03 * y
    return _rounded(*bands)


def linear() -> Pixels:
    """Straight gradients in three directions."""
    y, x = _grid()
    return _rounded(40 + x * 180 / WIDTH, 60 + y * 150 / HEIGHT, 200 - (x + y) * 150 / (WIDTH + HEIGHT))


def radial() -> Pixels:
    """A radial gradient."""
    y, x = _grid()
    distance = np.hypot(x - 300, y - 200)
    return _rounded(240 - distance * 0.2, 230 - distance * 0.25, 255 - distance * 0.1)


def sky() -> Pixels:
    """A vertical gradient from blue to a pale colour."""
    y, x = _grid()
    ripple = 5 * np.sin(x / 90)
    return _rounded(90 + y * 0.12 + ripple, 140 + y * 0.1 + ripple, 220 + y * 0.03)


def steep() -> Pixels:
    """Saturated colours that change from one slice to the next."""
    y, x = _grid()
    return _rounded(
        127 + 120 * np.sin(x / 60) * np.cos(y / 80), 127 + 120 * np.sin((x + y) / 90), 127 + 120 * np.cos(y / 70)
    )


def gray() -> Pixels:
    """A gray wave."""
    y, x = _grid()
    return _rounded(*[128 + 100 * np.sin(x / 200 + y / 350)] * 3)


def _photograph(pixels: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


SMOOTH: Final[Mapping[str, Callable[[], Pixels]]] = MappingProxyType(
    {"waves": waves, "linear": linear, "radial": radial, "sky": sky, "steep": steep, "gray": gray}
)
PHOTOGRAPHS: Final[Mapping[str, Callable[[], Pixels]]] = MappingProxyType(
    {"astronaut": lambda: _photograph(photographs.astronaut()), "coffee": lambda: _photograph(photographs.coffee())}
)


@dataclass(frozen=True)
class Steps:
    """Differences in levels of 0..255, see the module's docstring."""

    border: float
    elsewhere: float
    one_border: float
    one_elsewhere: float
    offset_border: float
    offset_elsewhere: float
    one_offset_border: float
    one_offset_elsewhere: float
    psnr: float
    cost: float
    worst: float

    @staticmethod
    def mean(parts: list[Steps]) -> Steps:
        """The mean, field by field."""
        return Steps(*(float(np.mean(column)) for column in zip(*map(astuple, parts), strict=True)))

    def __str__(self) -> str:
        pairs = "   ".join(
            f"{name} {border:.3f} {elsewhere:.3f}"
            for name, border, elsewhere in (
                ("picture", self.border, self.elsewhere),
                ("one slice", self.one_border, self.one_elsewhere),
                ("offset", self.offset_border, self.offset_elsewhere),
                ("one slice", self.one_offset_border, self.one_offset_elsewhere),
            )
        )
        return f"{pairs}   dB {self.psnr:.2f} {self.cost:+.3f} {self.worst:.2f}"


def _differences(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Differences of neighbours in (H, W, 3) across borders of slices, and across all other lines.

    Both are (n, 256, 3): n sides of slices.
    """
    at_border: list[NDArray[np.float64]] = []
    elsewhere: list[NDArray[np.float64]] = []
    side = 1 << SLICE_LOG2
    for plane in (values, values.swapaxes(0, 1)):
        steps = np.diff(plane, axis=0)
        for line in range(LINE, len(steps), LINE):
            (elsewhere if line % side else at_border).append(steps[line - 1].reshape(-1, side, 3))
    return np.concatenate(at_border), np.concatenate(elsewhere)


def across_lines(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean absolute difference of neighbours in (H, W, 3) across borders of slices, and across all other lines."""
    at_border, elsewhere = (float(np.abs(each).mean()) for each in _differences(values))
    return at_border, elsewhere


def along_lines(error: NDArray[np.float64]) -> tuple[float, float]:
    """The root mean square of the offsets in (H, W, 3) along borders of slices, and along all other lines."""
    at_border, elsewhere = (float(np.sqrt(np.square(each.mean(1)).mean())) for each in _differences(error))
    return at_border, elsewhere


def _decibels(error: NDArray[np.float64]) -> float:
    return float(10 * np.log10(255**2 / np.square(error).mean()))


def levels_of_quality(error: NDArray[np.float64], one_error: NDArray[np.float64]) -> tuple[float, float, float]:
    """PSNR in slices, the cost of slices, and the PSNR of the worst slice."""
    side, found = 1 << SLICE_LOG2, _decibels(error)
    corners = ((top, left) for top in range(0, len(error), side) for left in range(0, error.shape[1], side))
    worst = min(_decibels(error[top : top + side, left : left + side]) for top, left in corners)
    return found, _decibels(one_error) - found, worst


def faults(smooth: list[Steps], photographs: list[Steps]) -> list[str]:
    """Values beyond the limits, by kind of picture, one line each."""
    lines = [
        f"smooth pictures have {what} of {border:.3f} levels at borders, {elsewhere:.3f} elsewhere"
        for mean in [Steps.mean(smooth)]
        for what, border, elsewhere in (
            ("steps", mean.border, mean.elsewhere),
            ("offsets", mean.offset_border, mean.offset_elsewhere),
        )
        if border > elsewhere
    ]
    most = max(each.border - each.elsewhere for each in smooth)
    if most > VISIBLE:
        lines.append(f"a smooth picture has steps at borders {most:.3f} levels larger than elsewhere")
    if (worst := min(each.worst for each in smooth)) < BLOTCH:
        lines.append(f"a slice of a smooth picture has {worst:.2f} dB")
    for kind, found in (("smooth pictures", smooth), ("photographs", photographs)):
        if (cost := Steps.mean(found).cost) > COST:
            lines.append(f"slices cost {kind} {cost:.3f} dB")
    mean = Steps.mean(photographs)
    if mean.offset_border > mean.one_offset_border + VISIBLE:
        lines.append(
            f"photographs have offsets of {mean.offset_border:.3f} levels at borders, "
            f"{mean.one_offset_border:.3f} in one slice"
        )
    return lines


def steps(codec: Codec, pixels: Pixels, quality: int, effort: int = 0) -> Steps:
    """The steps of a picture that is coded in slices, and in one slice."""
    files = (
        codec.encode(Picture(pixels), quality=quality, effort=effort, lossless=False, slice_log2=log2)
        for log2 in (SLICE_LOG2, 0)
    )
    sliced, one = (codec.decode(data).pixels.astype(np.float64) for data in files)
    errors = sliced - pixels, one - pixels
    return Steps(
        *across_lines(sliced), *across_lines(one), *along_lines(errors[0]), *along_lines(errors[1]),
        *levels_of_quality(*errors),
    )  # fmt: skip


@click.command()
@click.argument("weights", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=False)
@click.option("--qualities", default="5,20,35,50,65,80,95", show_default=True, help="For example 1-100 or 20,80.")
@click.option("--effort", type=click.IntRange(0), default=0, show_default=True, help="Number of refinement iterations.")
@click.option("--check", is_flag=True, help="Fail if seams could be visible, or slices cost too much.")
def main(weights: Path | None, qualities: str, effort: int, check: bool) -> None:
    """Print the steps across borders of slices with WEIGHTS, by default the published ones."""
    codec = Codec(read_weights(weights), choose_device("auto")) if weights else Codec.load()
    values = [int(value) for value in parse_qualities(qualities)]
    kinds: list[list[Steps]] = []
    with tqdm(total=len(values) * (len(SMOOTH) + len(PHOTOGRAPHS)), leave=False) as bar:
        for kind, pictures in (("smooth", SMOOTH), ("photographs", PHOTOGRAPHS)):
            kinds.append(found := [])
            for name, make in pictures.items():
                for quality in values:
                    found.append(steps(codec, make(), quality, effort))
                    bar.write(f"{name:11} {quality:3}   {found[-1]}")
                    bar.update()
            bar.write(f"{kind:11} all   {Steps.mean(found)}")
    if check and (lines := faults(*kinds)):
        raise click.ClickException("; ".join(lines))


if __name__ == "__main__":
    main()
