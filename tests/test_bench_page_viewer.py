"""The page of a benchmark in a browser: pictures beside each other, chosen and enlarged, and all of it fits."""

import re
from typing import Any

import numpy as np
import pytest
from page_viewer import BACKGROUND, enlarged, laid_over, nearest
from synthetic import EVIL, exhibits

from dcacodec.bench.exhibits import Side


@pytest.mark.browser
@pytest.mark.parametrize(("theme", "wide"), [("light", 1280), ("dark", 1218)])
def test_left_and_right_of_the_divider(open_viewer: Any, theme: str, wide: int) -> None:
    viewer = open_viewer(wide, theme=theme)  # at 1218 the stage ends between two pixels
    given = exhibits()
    first, second = given[0].sides[0], given[0].sides[1]
    canvas = viewer.canvas()
    height, width, _ = canvas.shape
    assert (width, height) == (round(viewer.box()["width"]), round(viewer.box()["height"]))
    assert viewer.text("#zoom") == "100 %" and viewer.split() == 50
    expected = laid_over(canvas.shape, first.pixels, second.pixels, nearest(width / 2), BACKGROUND[theme])
    assert np.array_equal(canvas, expected)
    # On the screen too: all but the divider in the middle, the labels above, the rounded corners and
    # a column that the edge of the stage may cut off.
    screen, margin, edge = viewer.screen(), width // 2 - 30, nearest(width / 2)
    assert np.array_equal(screen[60:-10, :margin], expected[60:-10, :margin])
    assert np.array_equal(screen[60:-10, -margin:-1], expected[60:-10, -margin:-1])
    assert (screen[60:110, edge - 1 : edge + 1] == 255).all()  # the divider is white

    # Drag the divider: 50 pixels to the right.
    viewer.drag((width / 2, 20), (width / 2 + 50, 30))
    canvas = viewer.canvas()
    expected = laid_over(canvas.shape, first.pixels, second.pixels, nearest(width / 2) + 50, BACKGROUND[theme])
    assert np.array_equal(canvas, expected)


@pytest.mark.browser
def test_choosing_and_captions(open_viewer: Any) -> None:
    viewer = open_viewer()
    given = exhibits()
    shape = viewer.canvas().shape
    edge = nearest(shape[1] / 2)

    def facts(side: Side) -> list[str]:
        size = f"{side.size:,} bytes", f"{side.size * 8 / 21600:.3f}"
        return [
            side.label,
            *size,
            f"{side.quality['psnr']:.2f} dB",
            f"{side.quality['ssimulacra2']:.2f}",
            f"{side.setting:g}",
        ]

    original = ["Original", "64,800 bytes uncompressed", "24.000", "lossless"]
    assert viewer.caption("left") == facts(given[0].sides[0]) and viewer.caption("right") == facts(given[0].sides[1])

    viewer.choose(left="Original", right=EVIL)
    assert np.array_equal(
        viewer.canvas(), laid_over(shape, given[0].original, given[0].sides[2].pixels, edge, BACKGROUND["light"])
    )
    assert viewer.caption("left") == original and viewer.caption("right") == facts(given[0].sides[2])
    assert (viewer.text("#left-tag"), viewer.text("#right-tag")) == ("Original", EVIL)

    # Another size of files: the codecs stay chosen.
    viewer.page.locator("#targets label").nth(1).click()
    assert np.array_equal(
        viewer.canvas(), laid_over(shape, given[1].original, given[1].sides[2].pixels, edge, BACKGROUND["light"])
    )
    assert viewer.caption("right") == facts(given[1].sides[2])

    # Another picture: codecs and size stay chosen.
    viewer.choose(picture=EVIL)
    assert np.array_equal(
        viewer.canvas(), laid_over(shape, given[3].original, given[3].sides[2].pixels, edge, BACKGROUND["light"])
    )
    assert viewer.caption("right") == facts(given[3].sides[2])

    viewer.page.locator("#swap").click()
    assert np.array_equal(
        viewer.canvas(), laid_over(shape, given[3].sides[2].pixels, given[3].original, edge, BACKGROUND["light"])
    )
    assert viewer.caption("left") == facts(given[3].sides[2]) and viewer.caption("right") == original


@pytest.mark.browser
def test_zoom_shows_pixels_and_moves_both_sides(open_viewer: Any) -> None:
    viewer = open_viewer()
    first, second = (side.pixels for side in exhibits()[0].sides[:2])
    shape = viewer.canvas().shape
    height, width = shape[:2]
    edge = nearest(width / 2)

    def expect(zoom: int, at: tuple[int, int] | None = None) -> None:
        canvas = viewer.canvas()
        both = enlarged(first, zoom), enlarged(second, zoom)
        assert np.array_equal(canvas, laid_over(shape, *both, edge, BACKGROUND["light"], at))
        assert viewer.text("#zoom") == f"{100 * zoom} %"

    for _ in range(2):  # 150 %, 200 %
        viewer.page.locator("#zoom-in").click()
    expect(2)
    for _ in range(4):  # 300, 400, 600, 800 %
        viewer.page.locator("#zoom-in").click()
    x, y = nearest(width / 2 - 90 * 8), round(height / 2 - 60 * 8)
    expect(8, (x, y))
    # Larger than the stage now: dragging moves it, both sides in step, as far as its edges.
    viewer.drag((30, height - 30), (70, height - 50))
    expect(8, (x + 40, y - 20))
    viewer.drag((30, 100), (30, 5))
    viewer.drag((30, height - 5), (30, 5))
    viewer.drag((30, height - 5), (30, 5))
    expect(8, (x + 40, height - 120 * 8))
    # The divider still is one.
    viewer.drag((width / 2, 100), (width / 2 - 100, 100))
    edge -= 100
    expect(8, (x + 40, height - 120 * 8))
    viewer.page.locator("#zoom-one").click()
    expect(1)
    viewer.page.locator("#zoom-out").click()
    assert viewer.text("#zoom") == "66.7 %"
    viewer.page.locator("#zoom-fit").click()
    expect(1)


@pytest.mark.browser
@pytest.mark.parametrize("width", [400, 1600])
def test_all_of_the_page_fits(open_viewer: Any, width: int) -> None:
    viewer = open_viewer(width, theme="dark")
    viewer.settle()
    page = viewer.page
    for summary in page.locator("summary").all()[1:]:
        summary.click()
    assert page.locator("details[open]").count() == 3
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator(".plot svg:visible").count() == 5
    assert page.locator("body").evaluate("(body) => getComputedStyle(body).backgroundColor") == "rgb(14, 18, 23)"
    ink = "(text) => getComputedStyle(text).fill"
    assert page.locator("#plot-rate-psnr svg text").last.evaluate(ink) == "rgb(230, 233, 237)"
    assert re.fullmatch("system-ui.*", page.locator("#plot-rate-psnr svg text").last.evaluate(
        "(text) => getComputedStyle(text).fontFamily"))  # fmt: skip
