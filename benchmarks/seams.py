"""Whether lines show where slices meet: differences of neighbouring samples, across borders and elsewhere.

    python benchmarks/seams.py
    python benchmarks/seams.py --qualities 20,80 other.safetensors

Pictures of 768x512 are coded in slices of 256x256, smooth ones by formula and two photographs of scikit-image. For each
picture and quality a line is printed, in levels of 0..255::

    picture      mean differences in the decoded picture: across the borders of slices; across all other lines between
                 blocks of 16x16 pixels, which are what a step of y_hat makes
    one slice    the same lines in the same picture coded in one slice, without borders
    offset       what the eye takes for a line, a step that is the same all along: of the decoded picture minus the
                 original, the mean difference over the 256 pixels where two slices meet; the root of the mean square
                 of all these. Then the same of all other lines.
    one slice    the same without borders: photographs have edges of their own

The last lines are means over the smooth pictures and over the photographs.
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
from dcacodec.images.picture import Picture
from dcacodec.network.device import choose_device
from dcacodec.weights.reader import read_weights

HEIGHT: Final = 512
WIDTH: Final = 768
SLICE_LOG2: Final = 8
LINE: Final = 16

Pixels = NDArray[np.uint8]


def _rounded(*bands: NDArray[np.float64]) -> Pixels:
    return np.stack(bands, -1).round().clip(0, 255).astype(np.uint8)


def _grid() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    return y, x


def waves() -> Pixels:
    """Slow waves, another in each colour."""
    y, x = _grid()
    bands = 120 + 60 * np.sin(x / 400) + 20 * np.cos(y / 300), 140 + 50 * np.cos((x + y) / 500), 180 + 0.03 * y
    return _rounded(*bands)


def linear() -> Pixels:
    """Straight gradients in three directions."""
    y, x = _grid()
    return _rounded(40 + x * 180 / WIDTH, 60 + y * 150 / HEIGHT, 200 - (x + y) * 150 / (WIDTH + HEIGHT))


def radial() -> Pixels:
    """A cone of light."""
    y, x = _grid()
    distance = np.hypot(x - 300, y - 200)
    return _rounded(240 - distance * 0.2, 230 - distance * 0.25, 255 - distance * 0.1)


def sky() -> Pixels:
    """From blue to pale."""
    y, x = _grid()
    ripple = 5 * np.sin(x / 90)
    return _rounded(90 + y * 0.12 + ripple, 140 + y * 0.1 + ripple, 220 + y * 0.03)


def steep() -> Pixels:
    """Strong colours that change from one slice to the next."""
    y, x = _grid()
    return _rounded(
        127 + 120 * np.sin(x / 60) * np.cos(y / 80), 127 + 120 * np.sin((x + y) / 90), 127 + 120 * np.cos(y / 70)
    )


def gray() -> Pixels:
    """A wave without colour."""
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
    """Differences in levels, see the module's docstring."""

    border: float
    elsewhere: float
    one_border: float
    one_elsewhere: float
    offset_border: float
    offset_elsewhere: float
    one_offset_border: float
    one_offset_elsewhere: float

    @staticmethod
    def mean(parts: list[Steps]) -> Steps:
        """Field by field."""
        return Steps(*(float(np.mean(column)) for column in zip(*map(astuple, parts), strict=True)))

    def __str__(self) -> str:
        return "   ".join(
            f"{name} {border:.3f} {elsewhere:.3f}"
            for name, border, elsewhere in (
                ("picture", self.border, self.elsewhere),
                ("one slice", self.one_border, self.one_elsewhere),
                ("offset", self.offset_border, self.offset_elsewhere),
                ("one slice", self.one_offset_border, self.one_offset_elsewhere),
            )
        )


def _differences(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of neighbours in (H, W, 3) across borders of slices, and across all other lines: (n, 256, 3), a side of a slice
    each."""
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


def steps(codec: Codec, pixels: Pixels, quality: int, effort: int = 0) -> Steps:
    """Of a picture that is coded in slices, and in one."""
    sliced, one = (
        codec.decode(codec.encode(Picture(pixels), quality=quality, slice_log2=log2, effort=effort)).pixels.astype(
            np.float64
        )
        for log2 in (SLICE_LOG2, 0)
    )
    return Steps(*across_lines(sliced), *across_lines(one), *along_lines(sliced - pixels), *along_lines(one - pixels))


@click.command()
@click.argument("weights", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=False)
@click.option("--qualities", default="5,20,35,50,65,80,95", show_default=True, help="For example 1-100 or 20,80.")
@click.option("--effort", type=click.IntRange(0), default=0, show_default=True, help="As of `dcacodec encode`.")
def main(weights: Path | None, qualities: str, effort: int) -> None:
    """Print how large steps across borders of slices are; WEIGHTS are the published ones if not given."""
    codec = Codec(read_weights(weights), choose_device("auto")) if weights else Codec.load()
    values = [int(value) for value in parse_qualities(qualities)]
    with tqdm(total=len(values) * (len(SMOOTH) + len(PHOTOGRAPHS)), leave=False) as bar:
        for kind, pictures in (("smooth", SMOOTH), ("photographs", PHOTOGRAPHS)):
            found: list[Steps] = []
            for name, make in pictures.items():
                for quality in values:
                    found.append(steps(codec, make(), quality, effort))
                    bar.write(f"{name:11} {quality:3}   {found[-1]}")
                    bar.update()
            bar.write(f"{kind:11} all   {Steps.mean(found)}")


if __name__ == "__main__":
    main()
