"""Make the golden files: weights, `.dca` files and the integers that those hold.

    PYTHONPATH=.:tests python tests/golden/make.py

Only what is missing is made. A golden file is never replaced: that a decoder still reads it is what it is for. To have
one made anew, delete it by hand, and know that no other machine need make the same (the analysis is floating point).
"""

import io
from pathlib import Path

import numpy as np
from oracle import Oracle
from tiny import GOLDEN, TINY, WEIGHTS, drawn_model, photo

from dcacodec.codec import Codec
from dcacodec.coding import PythonCoder
from dcacodec.fixedpoint import ACTIVATION_BITS
from dcacodec.images import Picture
from dcacodec.training.publish import export
from dcacodec.weights import read_weights

SIZES = ((1, 1), (5, 17), (64, 64), (70, 130))
"""(height, width)."""
QUALITIES = (1, 50, 100)
MODES = ("RGB", "L", "RGBA")


def picture(height: int, width: int, mode: str, seed: int) -> Picture:
    pixels = photo(height, width, seed)
    if mode == "L":
        pixels = np.repeat(pixels[:, :, 1:2], 3, -1)
    alpha = photo(height, width, seed + 1)[:, :, 0].copy() if mode == "RGBA" else None
    return Picture(pixels, mode == "L", alpha, None, None)


def make_file(codec: Codec, oracle: Oracle, path: Path, source: Picture, quality: int) -> None:
    data = codec.encode(source, quality)
    symbols = codec.symbols_of(codec._to_tensor(source.pixels), quality)
    latent = (symbols.latent[0] * 2.0**ACTIVATION_BITS).numpy().astype(np.int32)
    arrays = {"latent": latent, **symbols.hyper}
    for step, (values, levels) in enumerate(zip(symbols.steps, symbols.rows, strict=True)):
        arrays |= {f"step_{step}": values, f"level_{step}": levels.astype(np.uint8)}
    assert np.array_equal(oracle.decode(data).latent, latent)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    path.with_suffix(".npz").write_bytes(buffer.getvalue())
    path.write_bytes(data)


def main() -> None:
    if not WEIGHTS.exists():
        WEIGHTS.write_bytes(export(drawn_model(TINY, seed=1)))
    codec, oracle = Codec(read_weights(WEIGHTS), coder=PythonCoder()), Oracle(WEIGHTS.read_bytes())
    for row, (height, width) in enumerate(SIZES):
        for column, quality in enumerate(QUALITIES):
            mode = MODES[(row + column) % len(MODES)]
            path = GOLDEN / f"{width}x{height}-{mode}-q{quality}.dca"
            if not path.exists():
                make_file(codec, oracle, path, picture(height, width, mode, 10 * row + column), quality)


if __name__ == "__main__":
    main()
