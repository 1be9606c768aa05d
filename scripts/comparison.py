"""Draw crops of a picture coded by several codecs at equal size.

    python scripts/comparison.py docs/images/comparison.png

Needs the extra `dev`, which has the default picture (scikit-image's "astronaut", by NASA, in the public domain), and
for JPEG XL the extra `bench-more`.
"""

from __future__ import annotations

from pathlib import Path

import click
import skimage.data
from PIL import Image, ImageDraw, ImageFont

from dcacodec.bench.codec import CodecOptions
from dcacodec.bench.codecs import open_codec
from dcacodec.bench.measure import largest_within
from dcacodec.images import read_picture

TITLES = {"dcacodec": "dcacodec", "avif": "AVIF", "jxl": "JPEG XL", "webp": "WebP", "jpeg": "JPEG"}
MARGIN = 26


@click.command()
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--picture", type=click.Path(exists=True, dir_okay=False), help="Picture file.  [default: astronaut]")
@click.option(
    "--bpp", type=click.FloatRange(0.05), default=0.25, show_default=True, help="Bits per pixel of the files."
)
@click.option(
    "--codecs", default="dcacodec,avif,jxl,jpeg", show_default=True, help="Names of codecs, see `dcacodec bench`."
)
@click.option("--crop", default="150,20,210,210", show_default=True, metavar="X,Y,W,H", help="Crop to show.")
@click.option("--zoom", type=click.IntRange(1, 8), default=1, show_default=True, help="Factor of enlargement.")
def main(out: Path, picture: str | None, bpp: float, codecs: str, crop: str, zoom: int) -> None:
    """Draw the crops side by side to OUT, a PNG file."""
    pixels = read_picture(picture).pixels if picture else skimage.data.astronaut()
    limit = round(bpp * pixels.shape[0] * pixels.shape[1] / 8)
    left, top, width, height = map(int, crop.split(","))
    shown = [("original", pixels)]
    for name in codecs.split(","):
        codec = open_codec(name, CodecOptions())
        (found,) = largest_within(codec, pixels, (limit,))
        if found is None:
            click.echo(f"{name} is left out: its smallest file is larger than {limit} bytes", err=True)
            continue
        setting, data = found
        codec.prepare(setting)
        print(f"{name}: {len(data)} of {limit} bytes")
        shown.append((f"{TITLES.get(name, name)}, {len(data):,} bytes", codec.decode(data)))
    sheet = Image.new("RGB", (len(shown) * width * zoom, height * zoom + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (title, decoded) in enumerate(shown):
        part = Image.fromarray(decoded[top : top + height, left : left + width])
        sheet.paste(part.resize((width * zoom, height * zoom), Image.Resampling.NEAREST), (place * width * zoom, 0))
        draw.text((place * width * zoom + 6, height * zoom + 5), title, "black", ImageFont.load_default(13))
    sheet.save(out, optimize=True)


if __name__ == "__main__":
    main()
