"""Make the golden files: weights, `.dca` files and the integers that those hold.

    PYTHONPATH=.:tests python tests/golden/make.py

Only what is missing is made. A golden file is never replaced: that a decoder still reads it is what it is for. To have
one made anew, delete it by hand, and know that no other machine need make the same (the analysis is floating point).
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from oracle import Oracle
from tiny import GOLDEN, TINY, WEIGHTS, drawn_model, photo

from dcacodec.codec.codec import Codec
from dcacodec.codec.slice_coder import Symbols
from dcacodec.coding import PythonCoder
from dcacodec.format.reader import parse
from dcacodec.images.picture import Picture
from dcacodec.tiling.grid import Grid
from dcacodec.weights.export import export
from dcacodec.weights.reader import read_weights

SIZES = ((1, 1), (5, 17), (64, 64), (70, 130))
"""(height, width)."""
QUALITIES = (1, 50, 100)
FRACTIONAL = 65.5
"""The quality of one more file."""
MODES = ("RGB", "L", "RGBA")
SLICED = (270, 300, 8)
"""(height, width, size code of the slices) of two more files: four slices, of which three are cut off."""


def picture(height: int, width: int, mode: str, seed: int) -> Picture:
    pixels = photo(height, width, seed)
    if mode == "L":
        pixels = np.repeat(pixels[:, :, 1:2], 3, -1)
    alpha = photo(height, width, seed + 1)[:, :, 0].copy() if mode == "RGBA" else None
    return Picture(pixels, mode == "L", alpha, None, None)


def arrays_of(symbols: Symbols) -> dict[str, NDArray[np.integer[Any]]]:
    """The integers of a slice by name."""
    latent = symbols.units[0].numpy()
    arrays: dict[str, NDArray[np.integer[Any]]] = {"latent": latent, **symbols.hyper}
    for step, (values, levels) in enumerate(zip(symbols.steps, symbols.rows, strict=True)):
        arrays |= {f"step_{step}": values, f"level_{step}": levels.astype(np.uint8)}
    return arrays


def make_file(codec: Codec, oracle: Oracle, path: Path, source: Picture, quality: float, slice_log2: int = 0) -> None:
    data = codec.encode(source, quality=quality, slice_log2=slice_log2, lossless=False)
    grid = Grid(parse(data).header)
    slices = []
    for index, expected in enumerate(oracle.decode(data)):
        symbols = codec.encoder_at(quality).encode(source.pixels, grid, index).symbols
        slices.append(arrays_of(symbols))
        assert np.array_equal(expected.latent, slices[-1]["latent"])
    # The names of a file in one slice have no number in front of them.
    numbered = {f"{index}.{name}": array for index, arrays in enumerate(slices) for name, array in arrays.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **(numbered if slice_log2 else slices[0]))
    path.with_name(f"{path.stem}.npz").write_bytes(buffer.getvalue())
    path.write_bytes(data)


def main() -> None:
    if not WEIGHTS.exists():
        WEIGHTS.write_bytes(export(drawn_model(TINY, seed=2)))
    codec, oracle = Codec(read_weights(WEIGHTS), coder=PythonCoder()), Oracle(WEIGHTS.read_bytes())
    for row, (height, width) in enumerate(SIZES):
        for column, quality in enumerate(QUALITIES):
            mode = MODES[(row + column) % len(MODES)]
            path = GOLDEN / f"{width}x{height}-{mode}-q{quality}.dca"
            if not path.exists():
                make_file(codec, oracle, path, picture(height, width, mode, 10 * row + column), quality)
    path = GOLDEN / f"64x64-RGB-q{FRACTIONAL}.dca"
    if not path.exists():
        make_file(codec, oracle, path, picture(64, 64, "RGB", 7), FRACTIONAL)
    height, width, slice_log2 = SLICED
    for quality in (50, 20):
        path = GOLDEN / f"{width}x{height}-RGB-q{quality}-n{slice_log2}.dca"
        if not path.exists():
            make_file(codec, oracle, path, picture(height, width, "RGB", quality), quality, slice_log2)


if __name__ == "__main__":
    main()
