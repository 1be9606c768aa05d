"""GIF files whose first frame is smaller than the picture."""

from __future__ import annotations

from PIL import Image


def clear_outside_frame(image: Image.Image) -> None:
    """Make transparent what the first frame of a loaded GIF does not cover, as browsers do.

    Pillow fills it with the first colour of the palette, unless another one is transparent.
    """
    frame = image.dispose_extent  # type: ignore[attr-defined]
    if frame is None or frame == (0, 0, *image.size) or "transparency" in image.info:
        return
    covered = Image.new("L", image.size)
    covered.paste(255, frame)
    shown = image.convert("L" if image.mode == "L" else "RGB")
    shown.putalpha(covered)
    image.im, image._mode = shown.im, shown.mode
