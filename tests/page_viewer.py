"""The page of a benchmark in a browser: its viewer, and what the stage must show."""

import base64
import io
import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Page


Pixels = NDArray[np.uint8]
BACKGROUND = {"light": (0xE6, 0xE9, 0xED), "dark": (0x07, 0x09, 0x0C)}


class Viewer:
    """The page in a browser, and what its viewer shows."""

    def __init__(self, page: "Page") -> None:
        self.page = page

    def settle(self) -> None:
        """Wait until what was asked for is drawn."""
        self.page.wait_for_selector("#stage[aria-busy=false]")
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def canvas(self) -> Pixels:
        """The pixels of the stage."""
        self.settle()
        uri = self.page.evaluate("() => document.getElementById('canvas').toDataURL('image/png')")
        with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
            return np.array(image.convert("RGB"))

    def screen(self) -> Pixels:
        """The stage as it is on the screen, with what lies over it."""
        self.settle()
        height, width, _ = self.canvas().shape
        box = self.box("#canvas")
        with Image.open(io.BytesIO(self.page.screenshot())) as image:
            # Boxes may begin between two pixels, pictures do not.
            screen = np.array(image.convert("RGB"))[nearest(box["y"]) :, nearest(box["x"]) :]
        return screen[:height, :width]

    def choose(self, **labels: str) -> None:
        for name, label in labels.items():
            self.page.locator(f"#{name}").select_option(label=label)
        self.settle()

    def text(self, selector: str) -> str:
        self.settle()
        return str(self.page.locator(selector).inner_text())

    def split(self) -> int:
        """Where the divider is, in per cent."""
        self.settle()
        return int(self.page.locator("#divider").get_attribute("aria-valuenow") or "")

    def caption(self, side: str) -> list[str]:
        """The label and the facts below the stage; none is hidden."""
        self.settle()
        return [self.text(f"#{side}-caption h3"), *self.page.locator(f"#{side}-caption dd:visible").all_inner_texts()]

    def box(self, selector: str = "#stage") -> dict[str, float]:
        self.page.locator("#stage").scroll_into_view_if_needed()
        box = self.page.locator(selector).bounding_box()
        assert box is not None
        x, y, width, height = box["x"], box["y"], box["width"], box["height"]
        return {"x": float(x), "y": float(y), "width": float(width), "height": float(height)}

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """With the mouse, between points of the stage."""
        box = self.box()
        self.page.mouse.move(box["x"] + start[0], box["y"] + start[1])
        self.page.mouse.down()
        self.page.mouse.move(box["x"] + end[0], box["y"] + end[1], steps=4)
        self.page.mouse.up()


def laid_over(shape: tuple[int, ...], left: Pixels, right: Pixels, edge: int, background: tuple[int, ...],
              at: tuple[int, int] | None = None) -> Pixels:  # fmt: skip
    """The stage as it must be: two pictures with their corner `at` (x, y), in the middle if not given."""
    stages = []
    for pixels in (left, right):
        stage = np.empty(shape, np.uint8)
        stage[:] = background
        x, y = at or (nearest(shape[1] / 2 - pixels.shape[1] / 2), nearest(shape[0] / 2 - pixels.shape[0] / 2))
        seen = stage[max(y, 0) : y + pixels.shape[0], max(x, 0) : x + pixels.shape[1]]
        seen[:] = pixels[max(-y, 0) :, max(-x, 0) :][: seen.shape[0], : seen.shape[1]]
        stages.append(stage)
    stages[0][:, edge:] = stages[1][:, edge:]
    return stages[0]


def nearest(value: float) -> int:
    """Rounds as a browser does."""
    return math.floor(value + 0.5)


def enlarged(pixels: Pixels, times: int) -> Pixels:
    return pixels.repeat(times, 0).repeat(times, 1)
