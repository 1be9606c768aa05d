"""Lossless blocks: samples as WebP lossless data (RFC 9649), and back, exact to the sample."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from PIL import Image, WebPImagePlugin

from dcacodec.errors import StreamError
from dcacodec.images.picture import Pixels, Plane
from dcacodec.images.pillow import one_line

_RIFF_BYTES: Final = 20
"""Of the RIFF container before the bitstream: "RIFF", size, "WEBP", "VP8L", size."""


def encode_block(pixels: Pixels, alpha: Plane | None = None, *, effort: int = 80, method: int = 4) -> bytes:
    """Encode pixels (H, W, 3) losslessly, sides up to `MAX_BLOCK_SIDE`.

    Args:
        pixels: the samples, also where they are transparent.
        alpha: (H, W), if it is to be in the block too; not opaque throughout, as WebP drops such a plane.
        effort: 0..100; method: 0..6; of libwebp. The defaults are those of Pillow.
    """
    bands = pixels if alpha is None else np.dstack((pixels, alpha))
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(bands))
    image.save(buffer, "WEBP", lossless=True, exact=True, quality=effort, method=method)
    data = buffer.getvalue()
    assert data[12:16] == b"VP8L"  # the simple file format, as there are no metadata
    size = int.from_bytes(data[16:_RIFF_BYTES], "little")
    return data[_RIFF_BYTES : _RIFF_BYTES + size]


def decode_block(block: bytes, gray: bool) -> tuple[Pixels, Plane | None]:
    """Decode a block whose dimensions were checked by `dcacodec.format.vp8l`.

    Returns:
        Pixels (H, W, 3), and the alpha plane (H, W) if the block has one.

    Raises:
        StreamError: the block is damaged, or not gray where it should be.
    """
    payload = block + b"\0" * (len(block) % 2)
    head = b"WEBPVP8L" + len(block).to_bytes(4, "little")
    data = b"RIFF" + (len(head) + len(payload)).to_bytes(4, "little") + head + payload
    try:
        # Not Image.open, which has its own limit of pixels.
        with WebPImagePlugin.WebPImageFile(io.BytesIO(data)) as image:
            bands = np.array(image.convert("RGBA" if image.mode == "RGBA" else "RGB"))
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises many kinds of exceptions for damaged files
        raise StreamError(f"a lossless block is damaged: {one_line(error)}") from error
    pixels = np.ascontiguousarray(bands[..., :3])
    if gray and not all(np.array_equal(pixels[..., 0], pixels[..., band]) for band in (1, 2)):
        raise StreamError("a lossless block of a gray picture has colours")
    return pixels, np.ascontiguousarray(bands[..., 3]) if bands.shape[2] == 4 else None


def shrink_samples(samples: Pixels | Plane, shrink: int) -> Pixels | Plane:
    """The rounded means of shrink x shrink samples; at the right and lower border, of the existing samples."""
    return samples if shrink == 1 else np.array(Image.fromarray(samples).reduce(shrink))
