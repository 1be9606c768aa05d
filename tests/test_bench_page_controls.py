"""The page of a benchmark in a browser: the wheel, the keyboard and touch."""

from typing import Any

import numpy as np
import pytest
from page_viewer import BACKGROUND, enlarged, laid_over, nearest
from synthetic import CODECS, exhibits


@pytest.mark.browser
def test_wheel(open_viewer: Any) -> None:
    viewer = open_viewer(height=600)
    page = viewer.page
    box = viewer.box()
    shape = viewer.canvas().shape
    corner = nearest(shape[1] / 2 - 90), nearest(shape[0] / 2 - 60)

    def turn(delta: int) -> None:
        page.mouse.wheel(0, delta)
        page.wait_for_timeout(150)

    # Over a pixel of the picture, which must stay under the pointer.
    page.mouse.move(box["x"] + corner[0] + 100, box["y"] + corner[1] + 60)
    before = page.evaluate("scrollY")
    turn(100)
    assert viewer.text("#zoom") == "100 %" and page.evaluate("scrollY") > before  # the page scrolls
    page.evaluate(f"scrollTo({{ top: {before}, behavior: 'instant' }})")
    page.locator("#stage").focus()
    turn(-100)
    assert viewer.text("#zoom") == "150 %" and page.evaluate("scrollY") == before
    turn(-100)
    assert viewer.text("#zoom") == "200 %"
    turn(100)
    assert viewer.text("#zoom") == "150 %"
    page.keyboard.press("Escape")
    turn(100)
    assert viewer.text("#zoom") == "150 %" and page.evaluate("scrollY") > before


@pytest.mark.browser
def test_keyboard(open_viewer: Any) -> None:
    viewer = open_viewer()
    page = viewer.page
    first, second = (side.pixels for side in exhibits()[0].sides[:2])
    shape = viewer.canvas().shape
    page.locator("#divider").focus()
    page.keyboard.press("Home")
    assert viewer.split() == 0
    assert np.array_equal(viewer.canvas(), laid_over(shape, second, second, 0, BACKGROUND["light"]))
    page.keyboard.press("End")
    assert viewer.split() == 100
    assert np.array_equal(viewer.canvas(), laid_over(shape, first, first, 0, BACKGROUND["light"]))
    page.keyboard.press("ArrowLeft")
    assert viewer.split() == 99
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("PageDown")
    assert viewer.split() == 79
    # The keys of the stage work from the divider as well.
    page.keyboard.press("s")
    assert viewer.caption("left")[0] == CODECS[1][1]
    page.keyboard.press("Home")
    assert np.array_equal(viewer.canvas(), laid_over(shape, first, first, 0, BACKGROUND["light"]))
    page.locator("#stage").focus()
    for _ in range(6):
        page.keyboard.press("+")
    assert viewer.text("#zoom") == "800 %"
    at = nearest(shape[1] / 2 - 90 * 8), nearest(shape[0] / 2 - 60 * 8)
    page.keyboard.press("ArrowRight")
    large = enlarged(first, 8)
    expected = laid_over(shape, large, large, 0, BACKGROUND["light"], (at[0] - 60, at[1]))
    assert np.array_equal(viewer.canvas(), expected)
    page.keyboard.press("-")
    assert viewer.text("#zoom") == "600 %"
    page.keyboard.press("1")
    assert viewer.text("#zoom") == "100 %"


@pytest.mark.browser
def test_touch_on_a_narrow_screen(open_viewer: Any) -> None:
    viewer = open_viewer(400, 800, has_touch=True, is_mobile=True, device_scale_factor=2)
    page = viewer.page
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    first, second = (side.pixels for side in exhibits()[0].sides[:2])
    canvas = viewer.canvas()
    box = viewer.box()
    assert canvas.shape[1] == 2 * round(box["width"])  # real pixels of the screen
    touch = page.context.new_cdp_session(page)

    def fingers(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": box["x"] + x, "y": box["y"] + y, "id": i} for i, (x, y) in enumerate(places)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    middle = box["width"] / 2
    fingers("touchStart", (middle, 40))
    fingers("touchMove", (middle - 20, 40))
    fingers("touchMove", (middle - 60, 42))
    fingers("touchEnd")
    canvas = viewer.canvas()
    both = enlarged(first, 2), enlarged(second, 2)
    edge = nearest((middle - 60) / box["width"] * canvas.shape[1])
    assert np.array_equal(canvas, laid_over(canvas.shape, *both, edge, BACKGROUND["light"]))
    # One finger stays in the middle, and so does what is under it; the other one goes four times as far away.
    middle, y = canvas.shape[1] / 4, canvas.shape[0] / 4
    fingers("touchStart", (middle, y), (middle + 30, y))
    fingers("touchMove", (middle, y), (middle + 75, y))
    fingers("touchMove", (middle, y), (middle + 120, y))
    fingers("touchEnd")
    assert viewer.text("#zoom") == "400 %"
    at = nearest(canvas.shape[1] / 2 - 90 * 8), nearest(canvas.shape[0] / 2 - 60 * 8)
    both = enlarged(first, 8), enlarged(second, 8)
    assert np.array_equal(viewer.canvas(), laid_over(canvas.shape, *both, edge, BACKGROUND["light"], at))
