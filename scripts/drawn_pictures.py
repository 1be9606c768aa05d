"""Draw training pictures that are no photographs: pages, captions on photographs, interfaces and line art.

    python scripts/drawn_pictures.py drawn/ photographs/ --fonts /usr/share/fonts --count 250

PHOTOGRAPHS, read as by `dcacodec train`, serve as backgrounds and illustrations. Words are those of Python's own
documentation. Three quarters of the pages look as if photographed: turned a little, lit unevenly, blurred, with grain;
what is drawn without that is mostly stored losslessly by the codec, and need not be learned.
"""

from __future__ import annotations

import pydoc_data.topics
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from tqdm import tqdm

from dcacodec.training.data import load_pictures

SIZE: Final = (768, 512)
"""Width and height of the pictures."""

MARGIN: Final = 16
FONT_SUFFIXES: Final = (".ttf", ".otf", ".ttc")

Colour = tuple[int, int, int]
Point = tuple[float, float]


def fonts_in(folders: Sequence[Path]) -> list[Path]:
    """The font files in folders that have letters."""
    found = []
    for path in sorted(path for folder in folders for path in folder.rglob("*")):
        if path.suffix.lower() in FONT_SUFFIXES:
            try:
                font = ImageFont.truetype(str(path), 24)
            except OSError:  # only bitmaps, as of emoji
                continue
            a, b = (font.getmask(letter) for letter in "ab")
            if a.getbbox() and bytes(a) != bytes(b):
                found.append(path)
    return found


class Artist:
    """Draws pictures at random.

    Args:
        random: decides everything.
        fonts: font files.
        photographs: (H, W, 3) uint8 each.
    """

    def __init__(
        self, random: np.random.Generator, fonts: Sequence[Path], photographs: Sequence[NDArray[np.uint8]]
    ) -> None:
        self.random, self.fonts, self.photographs = random, fonts, photographs
        self.words = re.findall(r"[A-Za-z0-9'(),.:;=-]+", " ".join(pydoc_data.topics.topics.values()))

    # Choices

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.random.random() < probability)

    def count(self, low: int, high: int) -> int:
        """A number from low to high."""
        return int(self.random.integers(low, high + 1))

    def size(self, low: int, high: int) -> int:
        """A number from low to high, evenly in its logarithm."""
        return round(float(np.exp(self.random.uniform(np.log(low), np.log(high)))))

    def corner(self) -> tuple[int, int]:
        """The upper left corner of something, in the picture or a little outside."""
        return self.count(-20, SIZE[0] - 40), self.count(-10, SIZE[1] - 10)

    def colour(self, low: int, high: int, saturation: float = 1.0) -> Colour:
        """A colour of channels from low to high, mixed with a gray."""
        gray, pure = self.random.uniform(low, high), self.random.uniform(low, high, 3)
        red, green, blue = (gray + saturation * (pure - gray)).astype(int).tolist()
        return red, green, blue

    def font(self, size: int) -> ImageFont.FreeTypeFont:
        """A font of this size in pixels."""
        return ImageFont.truetype(str(self.fonts[self.count(0, len(self.fonts) - 1)]), size)

    def text(self, words: int) -> str:
        """Consecutive words."""
        begin = self.count(0, len(self.words) - words)
        return " ".join(self.words[begin : begin + words])

    def line(self, font: ImageFont.FreeTypeFont, width: float, most: int) -> str:
        """As many words as fit into a width, up to a number; perhaps none."""
        words = self.text(most).split()
        while words and font.getlength(" ".join(words)) > width:
            words.pop()
        return " ".join(words)

    def photograph(self, width: int, height: int) -> Image.Image:
        """A part of a photograph, resized."""
        image = Image.fromarray(self.photographs[self.count(0, len(self.photographs) - 1)])
        scale = max(width / image.width, height / image.height)
        if scale < 1:
            scale = min(1.0, scale * float(self.random.uniform(1, 2)))
        across, down = min(image.width, width / scale), min(image.height, height / scale)
        left = float(self.random.uniform(0, image.width - across))
        top = float(self.random.uniform(0, image.height - down))
        return image.resize((width, height), Image.Resampling.LANCZOS, (left, top, left + across, top + down))

    # Kinds of pictures

    def page(self) -> Image.Image:
        """Columns of text, perhaps with a heading and photographs; dark on light, or rarely light on dark."""
        paper, ink = self.colour(200, 255, 0.4), self.colour(0, 80, 0.4 if self.chance(0.8) else 1)
        if self.chance(0.15):
            paper, ink = ink, paper
        image = Image.new("RGB", SIZE, paper)
        draw, size, columns = ImageDraw.Draw(image), self.size(9, 30), self.count(1, 3)
        body, spacing, top = self.font(size), size * float(self.random.uniform(1.15, 1.6)), MARGIN
        if self.chance(0.6):
            draw.text((MARGIN, top), self.text(4), ink, self.font(2 * size))
            top += 3 * size
        width = (SIZE[0] - MARGIN) // columns
        for x in range(MARGIN, SIZE[0] - width // 2, width):
            y: float = top
            if self.chance(0.4):
                height = self.count(60, 200)
                image.paste(self.photograph(width - MARGIN, height), (x, top))
                y += height + MARGIN
            while y < SIZE[1]:
                draw.text((x, y), self.line(body, width - MARGIN, 40), ink, body)
                y += spacing
        return self.photographed(image, paper) if self.chance(0.75) else image

    def caption(self) -> Image.Image:
        """Words on a photograph: plain, outlined, with a shadow, or on a plate."""
        image = self.photograph(*SIZE)
        for _ in range(self.count(3, 13)):
            size, words, at = self.size(10, 90), self.text(self.count(1, 5)), self.corner()
            font, mask = self.font(size), Image.new("L", SIZE)
            dark, style = self.chance(0.4), self.count(0, 3)
            ink = self.colour(0, 90) if dark else self.colour(190, 255, 0.3 if self.chance(0.7) else 1)
            if style == 0:
                left, top, right, bottom = ImageDraw.Draw(mask).textbbox(at, words, font)
                around, opacity = size / 4, self.count(90, 255)
                plate = (left - around, top - around, right + around, bottom + around)
                ImageDraw.Draw(mask).rectangle(plate, opacity)
                image.paste(self.colour(0, 255), (0, 0, *SIZE), mask)
            if style == 1:
                ImageDraw.Draw(mask).text((at[0] + 2, at[1] + 2), words, 200, font)
                image.paste((0, 0, 0), (0, 0, *SIZE), mask.filter(ImageFilter.GaussianBlur(2)))
            outline, contrast = max(1, size // 16) if style == 2 else 0, (255,) * 3 if dark else (0,) * 3
            ImageDraw.Draw(image).text(at, words, ink, font, stroke_width=outline, stroke_fill=contrast)
        return image

    def interface(self) -> Image.Image:
        """Windows with lists, icons and photographs, on a desktop."""
        image = self.photograph(*SIZE) if self.chance(0.4) else Image.new("RGB", SIZE, self.colour(0, 255, 0.3))
        draw = ImageDraw.Draw(image)
        for _ in range(self.count(3, 11)):
            (x, y), width, height, size = self.corner(), self.size(60, 500), self.size(30, 300), self.size(10, 24)
            ground, ink = self.colour(200, 255, 0.4), self.colour(0, 90, 0.5)
            if self.chance(0.4):
                ground, ink = self.colour(10, 60, 0.3), self.colour(180, 255, 0.4)
            frame = (x, y, x + width, y + height)
            draw.rounded_rectangle(frame, self.count(0, 11), ground, self.colour(80, 180))
            font, left, top = self.font(size), x + size, y + size / 2
            if self.chance(0.4) and width > 120 and height > 90:
                image.paste(self.photograph(width // 2, height - 2 * size), (x + size, y + size))
                left += width // 2 + size
            while top + size < y + height:
                if self.chance(0.3) and left + size < x + width:
                    draw.ellipse((left, top, left + size, top + size), self.colour(0, 255))
                words = self.line(font, x + width - left - 2 * size, self.count(1, 5))
                draw.text((left + 1.5 * size, top), words, ink, font)
                top += 2 * size
        return image

    def line_art(self) -> Image.Image:
        """Areas, curves, ellipses and hatching with labels, drawn four times as large."""
        scale = 4
        paper = self.colour(200, 255, 0.4)
        image = Image.new("RGB", (scale * SIZE[0], scale * SIZE[1]), paper)
        draw = ImageDraw.Draw(image)
        for _ in range(self.count(8, 29)):
            ink = self.colour(0, 120, 0.5 if self.chance(0.7) else 1)
            at, spread, width = self.random.uniform((0, 0), image.size), self.size(60, 1600), self.size(2, 24)
            points, kind = at + self.random.normal(0, spread, (self.count(3, 7), 2)), self.count(0, 4)
            if kind == 0:
                draw.polygon(_points(points), self.colour(60, 255), ink, width)
            elif kind == 1:
                way, knots = np.linspace(0, len(points) - 1, 400), np.arange(len(points))
                curve = np.stack([np.interp(way, knots, each) for each in points.T], 1)
                draw.line(_points(curve + spread / 8 * np.stack([np.sin(3 * way), np.cos(5 * way)], 1)), ink, width)
            elif kind == 2:
                radii = np.array((spread / 2, spread / 3))
                draw.ellipse((*(at - radii).tolist(), *(at + radii).tolist()), None, ink, width)
            elif kind == 3:
                step, slope = self.size(12, 60), self.random.normal(0, spread / 2, 2)
                for index in range(self.count(5, 39)):
                    begin = at + np.array((index * step, 0))
                    draw.line(_points(np.stack([begin, begin + slope])), ink, max(2, width // 3))
            else:
                draw.text(_points(at[None])[0], self.text(2), ink, self.font(scale * self.size(10, 40)))
        image = image.resize(SIZE, Image.Resampling.LANCZOS)
        return self.photographed(image, paper) if self.chance(0.5) else image

    def photographed(self, image: Image.Image, paper: Colour) -> Image.Image:
        """A drawing as if photographed."""
        image = image.rotate(float(self.random.normal(0, 2)), Image.Resampling.BICUBIC, fillcolor=paper)
        image = image.filter(ImageFilter.GaussianBlur(float(self.random.uniform(0, 0.9))))
        corners = Image.fromarray(self.random.uniform(0.6, 1.05, (2, 2)).astype(np.float32))
        light = np.asarray(corners.resize(SIZE, Image.Resampling.BILINEAR))[..., None]
        grain = self.random.normal(0, self.random.uniform(0, 3), (*light.shape[:2], 3))
        return Image.fromarray((np.asarray(image) * light + grain).clip(0, 255).astype(np.uint8))


def _points(rows: NDArray[np.float64]) -> list[Point]:
    return [(float(x), float(y)) for x, y in rows]


@click.command()
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.argument("photographs", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--fonts", multiple=True, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of font files; repeatable.",
)  # fmt: skip
@click.option("--count", type=click.IntRange(1), default=250, show_default=True, help="Number of pictures.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the random choices.")
def main(out: Path, photographs: tuple[Path, ...], fonts: tuple[Path, ...], count: int, seed: int) -> None:
    """Draw pictures into the folder OUT, as PNG files."""
    usable = fonts_in(fonts)
    if not usable:
        raise click.ClickException("no font with letters in the folders of --fonts")
    artist = Artist(np.random.default_rng(seed), usable, load_pictures([*photographs]))
    kinds: list[Callable[[], Image.Image]] = [artist.page] * 5 + [artist.caption] * 2
    kinds += [artist.interface] * 2 + [artist.line_art]
    out.mkdir(parents=True, exist_ok=True)
    for index in tqdm(range(count), unit="picture", disable=None):
        kinds[index % len(kinds)]().save(out / f"{index:04}.png")


if __name__ == "__main__":
    main()
