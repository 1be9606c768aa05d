"""Encode and decode a photograph with the command `dcacodec`, and print sizes, PSNR and times.

The photograph is a portrait of the astronaut Eileen Collins by NASA, in the public domain, from scikit-image. The files
are written to build/demo.
"""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import data

QUALITIES = (20, 50, 80)
FOLDER = Path(__file__).resolve().parent.parent / "build" / "demo"


def main() -> None:
    """Print one row per quality."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    original = FOLDER / "astronaut.png"
    Image.fromarray(data.astronaut()).save(original)
    pixels = _pixels(original)
    print(f"{original.name}: {pixels.shape[1]}x{pixels.shape[0]} pixels, {original.stat().st_size} bytes as PNG\n")
    print("quality    bytes     bpp   PSNR dB   encode s   decode s   (times of the whole command)")
    for quality in QUALITIES:
        coded = FOLDER / f"astronaut-{quality}.dca"
        decoded = coded.with_suffix(".png")
        encode_seconds = _dcacodec("encode", "--quality", str(quality), str(original), str(coded))
        decode_seconds = _dcacodec("decode", str(coded), str(decoded))
        size = coded.stat().st_size
        bpp = size * 8 / (pixels.shape[0] * pixels.shape[1])
        psnr = _psnr(pixels, _pixels(decoded))
        print(f"{quality:7} {size:8} {bpp:7.3f} {psnr:9.2f} {encode_seconds:10.1f} {decode_seconds:10.1f}", flush=True)
    print(f"\nThe files are in {FOLDER}")


def _dcacodec(*arguments: str) -> float:
    """Run the command and return its time in seconds. Its output is shown only if it fails."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "dcacodec", *arguments], stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    return time.perf_counter() - start


def _pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def _psnr(original: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> float:
    """PSNR in dB from the mean squared error over all samples of two 8-bit pictures."""
    error = np.mean((original.astype(np.float64) - decoded.astype(np.float64)) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


if __name__ == "__main__":
    main()
