"""Draw training pictures that are no photographs.

    python scripts/drawn_pictures.py drawn/ photographs/ --fonts /usr/share/fonts --count 250

Of ten pictures, five are pages, two are photographs with captions, two are interfaces, and one is line art. Three
quarters of the pages and half of the line art look as if photographed: turned a little, lit unevenly, blurred, with
grain. The others are for pictures that mix drawings with photographs; what is drawn alone, the codec mostly stores
losslessly.

PHOTOGRAPHS, read as by `dcacodec train`, serve as backgrounds and illustrations, and should be as large as the
pictures. The words are those of Python's own documentation.
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

from dcacodec.errors import DcaError, reason
from dcacodec.training.data import load_pictures

SIZE: Final = (768, 512)
"""Width and height of the pictures."""

MARGIN: Final = 16
ENLARGED: Final = 4
"""Line art is drawn so many times as large, and reduced."""

FONT_SUFFIXES: Final = (".ttf", ".otf", ".ttc")
WHITE: Final = (255, 255, 255)
BLACK: Final = (0, 0, 0)

Colour = tuple[int, int, int]


def fonts_in(folders: Sequence[Path]) -> list[Path]:
    """The font files in folders (searched recursively) that can be read, and in which a and b look different."""
    found = []
    for path in sorted({path.resolve() for folder in folders for path in folder.rglob("*")}):
        if path.suffix.lower() not in FONT_SUFFIXES:
            continue
        try:
            font = ImageFont.truetype(path, 24)
            a, b = (bytes(font.getmask(letter)) for letter in "ab")
        except OSError:  # damaged, or of bitmaps only
            continue
        if a != b:
            found.append(path)
    return found


class DrawingSampler:
    """Random pictures.

    Args:
        random: makes all choices.
        fonts: font files.
        photographs: (H, W, 3) uint8 each.
    """

    def __init__(
        self, random: np.random.Generator, fonts: Sequence[Path], photographs: Sequence[NDArray[np.uint8]]
    ) -> None:
        self.random, self.fonts, self.photographs = random, fonts, photographs
        chunks = re.findall(r"[A-Za-z0-9'(),.:;=-]+", " ".join(pydoc_data.topics.topics.values()))
        self.vocabulary = [chunk for chunk in chunks if any(map(str.isalnum, chunk))]

    # Choices

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.random.random() < probability)

    def integer(self, low: int, high: int) -> int:
        """An integer from low to high."""
        return int(self.random.integers(low, high + 1))

    def size(self, low: int, high: int) -> int:
        """An integer from low to high, evenly in its logarithm."""
        return round(float(np.exp(self.random.uniform(np.log(low), np.log(high)))))

    def corner(self) -> tuple[int, int]:
        """The upper left corner of something, in the picture or a little outside."""
        return self.integer(-20, SIZE[0] - 40), self.integer(-10, SIZE[1] - 10)

    def colour(self, low: int, high: int, saturation: float = 1.0) -> Colour:
        """A colour of channels from low to high, mixed with a gray."""
        gray, pure = self.random.uniform(low, high), self.random.uniform(low, high, 3)
        red, green, blue = (gray + saturation * (pure - gray)).round().astype(int).tolist()
        return red, green, blue

    def light(self) -> Colour:
        """White, or another light colour."""
        return WHITE if self.chance(0.4) else self.colour(190, 255, 0.4)

    def dark(self) -> Colour:
        """Black, or another dark colour."""
        return BLACK if self.chance(0.4) else self.colour(0, 80, 0.4)

    def font(self, size: int) -> ImageFont.FreeTypeFont:
        """A font of this size in pixels."""
        return ImageFont.truetype(self.fonts[self.integer(0, len(self.fonts) - 1)], size)

    def words(self, count: int) -> list[str]:
        """Consecutive words."""
        begin = self.integer(0, len(self.vocabulary) - count)
        return self.vocabulary[begin : begin + count]

    def text(self, count: int) -> str:
        """Consecutive words in a line."""
        return " ".join(self.words(count))

    def fitting(self, font: ImageFont.FreeTypeFont, width: float, most: int) -> str:
        """As many words as fit into a width, up to a number; perhaps none."""
        words = self.words(most)
        while words and font.getlength(" ".join(words)) > width:
            words.pop()
        return " ".join(words)

    def photograph(self, width: int, height: int) -> Image.Image:
        """A part of a photograph, reduced (or enlarged, if it is too small)."""
        image = Image.fromarray(self.photographs[self.integer(0, len(self.photographs) - 1)])
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
        paper, ink = self.light(), self.dark()
        if self.chance(0.15):
            paper, ink = ink, paper
        image = Image.new("RGB", SIZE, paper)
        draw = ImageDraw.Draw(image)
        size = self.size(9, 30)
        font, spacing = self.font(size), size * float(self.random.uniform(1.15, 1.6))
        top = MARGIN
        if self.chance(0.6):
            draw.text((MARGIN, top), self.text(4), ink, self.font(2 * size))
            top += 3 * size
        columns = self.integer(1, 3)
        width = (SIZE[0] - MARGIN) // columns
        for column in range(columns):
            x, y = MARGIN + column * width, float(top)
            if self.chance(0.4):
                height = self.integer(60, 200)
                image.paste(self.photograph(width - MARGIN, height), (x, top))
                y += height + MARGIN
            while y < SIZE[1]:
                draw.text((x, y), self.fitting(font, width - MARGIN, 40), ink, font)
                y += spacing
        return self.photographed(image, paper) if self.chance(0.75) else image

    def caption(self) -> Image.Image:
        """Words on a photograph: plain, outlined, with a shadow, or on a plate."""
        image = self.photograph(*SIZE)
        for _ in range(self.integer(3, 13)):
            size = self.size(10, 90)
            font, words, at = self.font(size), self.text(self.integer(1, 5)), self.corner()
            ink, contrast, plate = self.light(), BLACK, self.colour(0, 150)
            if self.chance(0.4):
                ink, contrast, plate = self.dark(), WHITE, self.colour(105, 255)
            style = ("plain", "outline", "shadow", "plate")[self.integer(0, 3)]
            mask = Image.new("L", SIZE)
            if style == "plate":
                left, top, right, bottom = ImageDraw.Draw(mask).textbbox(at, words, font)
                around = size / 4
                box = (left - around, top - around, right + around, bottom + around)
                ImageDraw.Draw(mask).rectangle(box, self.integer(90, 255))
                image.paste(plate, (0, 0, *SIZE), mask)
            elif style == "shadow":
                ImageDraw.Draw(mask).text((at[0] + 2, at[1] + 2), words, 200, font)
                image.paste(contrast, (0, 0, *SIZE), mask.filter(ImageFilter.GaussianBlur(2)))
            outline = max(1, size // 16) if style == "outline" else 0
            ImageDraw.Draw(image).text(at, words, ink, font, stroke_width=outline, stroke_fill=contrast)
        return image

    def interface(self) -> Image.Image:
        """Windows with lists, icons and photographs, on a desktop."""
        image = self.photograph(*SIZE) if self.chance(0.4) else Image.new("RGB", SIZE, self.colour(0, 255, 0.3))
        draw = ImageDraw.Draw(image)
        for _ in range(self.integer(3, 11)):
            x, y = self.corner()
            width, height = self.size(60, 500), self.size(30, 300)
            ground, ink = self.light(), self.dark()
            if self.chance(0.4):
                ground, ink = ink, ground
            frame = (x, y, x + width, y + height)
            draw.rounded_rectangle(frame, self.integer(0, 11), ground, self.colour(80, 180))
            size = self.size(10, 24)
            font, left, top = self.font(size), x + size, y + size / 2
            if self.chance(0.4) and width > 120 and height > 90:
                image.paste(self.photograph(width // 2, height - 2 * size), (x + size, y + size))
                left += width // 2 + size
            while top + size < y + height:
                if self.chance(0.3) and left + size < x + width:
                    draw.ellipse((left, top, left + size, top + size), self.colour(0, 255))
                words = self.fitting(font, x + width - left - 2 * size, self.integer(1, 5))
                draw.text((left + 1.5 * size, top), words, ink, font)
                top += 2 * size
        return image

    def line_art(self) -> Image.Image:
        """Areas, curves, ellipses and hatching with labels."""
        paper = self.light()
        image = Image.new("RGB", (ENLARGED * SIZE[0], ENLARGED * SIZE[1]), paper)
        draw = ImageDraw.Draw(image)
        for _ in range(self.integer(8, 29)):
            ink = self.dark() if self.chance(0.7) else self.colour(0, 120)
            at, spread, width = self.random.uniform((0, 0), image.size), self.size(60, 1600), self.size(2, 24)
            points = at + self.random.normal(0, spread, (self.integer(3, 7), 2))
            shape = ("area", "curve", "ellipse", "hatching", "label")[self.integer(0, 4)]
            if shape == "area":
                draw.polygon(points.ravel().tolist(), self.colour(60, 255), ink, width)
            elif shape == "curve":
                place, knots = np.linspace(0, len(points) - 1, 400), np.arange(len(points))
                curve = np.stack([np.interp(place, knots, coordinate) for coordinate in points.T], 1)
                curve += spread / 8 * np.stack([np.sin(3 * place), np.cos(5 * place)], 1)
                draw.line(curve.ravel().tolist(), ink, width)
            elif shape == "ellipse":
                radii = np.array((spread / 2, spread / 3))
                draw.ellipse((*(at - radii).tolist(), *(at + radii).tolist()), None, ink, width)
            elif shape == "hatching":
                step, direction = self.size(12, 60), self.random.normal(0, spread / 2, 2)
                for index in range(self.integer(5, 39)):
                    begin = at + np.array((index * step, 0))
                    draw.line([*begin.tolist(), *(begin + direction).tolist()], ink, max(2, width // 3))
            else:
                draw.text((float(at[0]), float(at[1])), self.text(2), ink, self.font(ENLARGED * self.size(10, 40)))
        image = image.resize(SIZE, Image.Resampling.LANCZOS)
        return self.photographed(image, paper) if self.chance(0.5) else image

    def photographed(self, image: Image.Image, paper: Colour) -> Image.Image:
        """A drawing as if photographed."""
        image = image.rotate(float(self.random.normal(0, 2)), Image.Resampling.BICUBIC, fillcolor=paper)
        image = image.filter(ImageFilter.GaussianBlur(float(self.random.uniform(0, 0.9))))
        corners = Image.fromarray(self.random.uniform(0.6, 1.05, (2, 2)).astype(np.float32))
        light = np.asarray(corners.resize(SIZE, Image.Resampling.BILINEAR))[..., None]
        grain = self.random.normal(0, self.random.uniform(0, 3), (*light.shape[:2], 3))
        return Image.fromarray((np.asarray(image) * light + grain).round().clip(0, 255).astype(np.uint8))


@click.command()
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.argument("photographs", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--fonts",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of font files, searched recursively; repeatable.",
)
@click.option("--count", type=click.IntRange(1), default=250, show_default=True, help="Number of pictures.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Of the random choices. The pictures also depend on the versions of Python and Pillow.",
)
def main(out: Path, photographs: tuple[Path, ...], fonts: tuple[Path, ...], count: int, seed: int) -> None:
    """Draw pictures into the new folder OUT, as PNG files."""
    usable = fonts_in(fonts)
    if not usable:
        raise click.ClickException("no font with letters in the folders of --fonts")
    try:
        sampler = DrawingSampler(np.random.default_rng(seed), usable, load_pictures(photographs))
        out.mkdir(parents=True)
        kinds: list[Callable[[], Image.Image]] = [
            *[sampler.page] * 5,
            *[sampler.caption] * 2,
            *[sampler.interface] * 2,
            sampler.line_art,
        ]
        for index in tqdm(range(count), unit="picture", disable=None):
            kinds[index % len(kinds)]().save(out / f"{index:04}.png")
    except (DcaError, OSError) as error:
        raise click.ClickException(reason(error)) from error


if __name__ == "__main__":
    main()
