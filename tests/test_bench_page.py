"""The page: what it holds, that it holds nothing else, and in a browser that it does what it says."""

import base64
import hashlib
import io
import json
import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from synthetic import CODECS, EVIL, PICTURES, SETTINGS, STREAMS, exhibits, picture, results

from dcacodec.bench.exhibits import Exhibit, Side
from dcacodec.bench.page import write_page
from dcacodec.bench.results import Results
from dcacodec.bench.summary import conventions, deficits
from dcacodec.metrics.curves import bd_rate

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Pixels = NDArray[np.uint8]


class Document(HTMLParser):
    """What of a page the tests look at: tags with attributes, text, tables as rows of cells by caption."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self._rows: list[list[str]] = []
        self._caption = ""
        self.feed(path.read_text("utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "input", "br"):
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")
        elif tag == "table":
            self._rows, self._caption = [], ""
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag  # well nested
        if tag == "table":
            assert self._caption not in self.tables
            self.tables[self._caption] = self._rows

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif self.open and self.open[-1] != "style":
            self.text.append(data)
            if "table" in self.open:
                if self.open[-1] == "caption":
                    self._caption += data
                elif "td" in self.open or "th" in self.open:
                    self._rows[-1][-1] += data.strip()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the synthetic results."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(results(), exhibits(), path)
    return path


@pytest.fixture(scope="module")
def document(path: Path) -> Document:
    return Document(path)


def pixels_of(uri: str, form: str = "WEBP") -> Pixels:
    """What a data URI shows."""
    head, _, content = uri.partition(",")
    assert head == f"data:image/{form.lower()};base64"
    with Image.open(io.BytesIO(base64.b64decode(content, validate=True))) as image:
        assert (image.format, image.mode) == (form, "RGB")
        return np.array(image)


def minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")


# ----------------------------------------------------------------------------------------------------------- pictures


def test_pictures_are_the_pixels_given_each_once(document: Document) -> None:
    given = exhibits()
    data = json.loads(document.scripts[0])
    shown = [pixels_of(uri) for uri in data["images"]]
    assert [entry["name"] for entry in data["pictures"]] == [PICTURES[0], EVIL]
    expected: list[Pixels] = []
    for p, entry in enumerate(data["pictures"]):
        assert (entry["width"], entry["height"]) == (180, 120)
        for t, target in enumerate(entry["targets"]):
            exhibit = given[2 * p + t]
            expected += [exhibit.original, *(side.pixels for side in exhibit.sides)]
            assert target["label"] == f"{exhibit.target:,} bytes · {exhibit.target * 8 / 21600:.3f} bpp"
            assert np.array_equal(shown[target["sides"][0]["image"]], exhibit.original)
            assert target["sides"][0]["bytes"] == "64,800 bytes uncompressed"
            for side, entry_side in zip(exhibit.sides, target["sides"][1:], strict=True):
                assert np.array_equal(shown[entry_side["image"]], side.pixels)
                del entry_side["image"]
                assert entry_side == {
                    "label": side.label,
                    "setting": f"{side.setting:g}",
                    "bytes": f"{side.size:,} bytes",
                    "bpp": f"{side.size * 8 / 21600:.3f}",
                    "psnr": f"{side.quality['psnr']:.2f} dB",
                    "ssimulacra2": f"{side.quality['ssimulacra2']:.2f}",
                }
    different = {pixels.tobytes() for pixels in expected}
    # Two originals shown at two targets each, and one file that is nearest to two targets.
    assert len(expected) == 16 and len(different) == len(shown) == 13


def test_a_picture_too_long_for_webp(tmp_path: Path) -> None:
    original = picture(1, 2, 16384)
    side = Side("a", 1, 9, {"psnr": math.inf}, original)
    write_page(Results("long", (), (), ()), [Exhibit("long", original, 9, (side,))], tmp_path / "page.html")
    data = json.loads(Document(tmp_path / "page.html").scripts[0])
    (uri,) = data["images"]
    assert np.array_equal(pixels_of(uri, "PNG"), original)
    assert data["pictures"][0]["targets"][0]["sides"][1]["psnr"] == "lossless"


@pytest.mark.parametrize(
    ("original", "decoded", "named"),
    [
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8), r"\(4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\)"),
        (np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 3), np.uint8), "float32"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8), r"\(4, 5, 3\)"),
    ],
)
def test_exhibits_are_pictures_of_one_size(original: Pixels, decoded: Pixels, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Exhibit("x", original, 9, (Side("a", 1, 9, {"psnr": 30.0}, decoded),))


# ------------------------------------------------------------------------------------------------------------- tables


def test_table_of_means(document: Document) -> None:
    given = results()
    for name, label, *_ in CODECS:
        head, *rows = document.tables[f"Means of {label}"]
        assert head[:3] == ["Setting", "Pictures", "Bits per pixel"] and len(rows) == len(SETTINGS)
        for row, mean in zip(rows, given.means(name), strict=True):
            assert row == [
                f"{mean.setting:g}",
                f"{mean.pictures} of 2",
                f"{mean.bpp:.4f}",
                f"{mean.quality['psnr']:.3f}",
                f"{mean.quality['ms-ssim']:.5f}",
                minus(f"{mean.quality['ssimulacra2']:.2f}"),
                f"{mean.encode * 1000:.1f}",
                f"{mean.decode * 1000:.1f}",
            ]
    head, *rows = document.tables[f"Bits per pixel by stream, {CODECS[0][1]}"]
    assert head == ["Setting", *STREAMS]
    assert rows == [
        [f"{mean.setting:g}", *(f"{mean.streams[stream]:.4f}" for stream in STREAMS)]
        for mean in given.means("dcacodec")
    ]
    assert not any(caption.endswith(f"by stream, {CODECS[1][1]}") for caption in document.tables)


def test_table_of_bd_rates(document: Document) -> None:
    given = results()
    head, *rows = document.tables["BD-rates of dcacodec small-0123abcd"]
    assert head == ["Against", "fewer bitsmore bits", "PSNR, %", "MS-SSIM, %", "SSIMULACRA 2, %", "its bits per pixel"]
    assert [row[0] for row in rows] == [CODECS[1][1], EVIL, "vtmpublished", "farpublished"]
    for row, name in zip(rows, ("jpeg", "webp"), strict=False):
        rates = [bd_rate(given.curve(name, metric), given.curve("dcacodec", metric)) for metric in given.metrics]
        limits = f"{rates[0].anchor_bpp[0]:.3f} to {rates[0].anchor_bpp[1]:.3f}"
        assert row[1:] == ["", *(minus(f"{rate.percent:+.1f}") for rate in rates), limits]
    by_psnr = bd_rate(given.anchors[0].curve, given.curve("dcacodec"))
    assert rows[2][2:5] == [minus(f"{by_psnr.percent:+.1f}"), "\N{EN DASH}", "\N{EN DASH}"]
    assert rows[-1][1:] == ["none: far and dcacodec have no PSNR in common"]


def test_table_of_deficits(document: Document) -> None:
    metric, found = deficits(results())
    assert metric == "ssimulacra2" and {each.picture for each in found} == set(PICTURES)
    _, *rows = document.tables["Differences by picture"]
    assert rows == [[each.picture, each.text, each.codec] for each in found]


def test_bd_rates_in_a_window(tmp_path: Path) -> None:
    given = results()
    write_page(replace(given, anchors=()), [], tmp_path / "page.html", (0.3, 0.7))
    page = Document(tmp_path / "page.html")
    _, jpeg, _ = page.tables["BD-rates of dcacodec small-0123abcd"]
    rate = bd_rate(given.curve("jpeg"), given.curve("dcacodec"), "akima", (0.3, 0.7))
    assert jpeg[2] == minus(f"{rate.percent:+.1f}") and jpeg[5] == "0.300 to 0.700"
    assert "that both have between 0.3 and 0.7 bits per pixel, interpolated by Akima. Negative" in "".join(page.text)


def test_tables_of_codecs_and_failures(document: Document) -> None:
    _, *rows = document.tables["Speed and memory, over all settings"]
    # 60,000 and 80,000 pixels; times are 1.1, 1.3 .. 1.9 times those of the table of codecs.
    assert rows[0] == [CODECS[0][1], "10", f"{0.7 / (2 * 7.5 * 0.12):.2f}", f"{0.7 / (2 * 7.5 * 0.125):.2f}", "16"]
    assert rows[1] == [CODECS[1][1], "10", f"{0.7 / (2 * 7.5 * 0.004):.2f}", f"{0.7 / (2 * 7.5 * 0.002):.2f}", "32"]
    assert (rows[2][1], rows[2][4]) == ("9", "\N{EN DASH}")
    assert document.tables["What could not be coded"] == [
        ["Codec", "Picture", "Setting", "Reason"],
        ["webp", "two.png", "90", "it <i>broke</i>"],
        ["webp", "three.png", "10", "no such picture"],
    ]


def test_method_and_plots_are_there(document: Document) -> None:
    text = "".join(document.text)
    for line in (*conventions(results()), "an <abacus>", "figures of nobody", "figures <b>without</b> overlap", "2.13"):
        assert line in text
    figures = [attributes["id"] for tag, attributes in document.tags if tag == "figure"]
    assert figures == [f"plot-{n}" for n in ("rate-psnr", "rate-ms-ssim", "rate-ssimulacra2", "rate-speed", "streams")]
    identifiers = [attributes["id"] for _, attributes in document.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    for name, *_ in CODECS:
        assert f"rate-psnr-codec-{name}" in identifiers and f"rate-speed-encode-codec-{name}" in identifiers
    # What a plot refers to is in the page, and its colours other than those of the series are the theme's.
    hrefs = [attributes["href"] or "" for tag, attributes in document.tags if tag == "use"]
    assert hrefs and {href[1:] for href in hrefs} <= set(identifiers)
    clips = [attributes["clip-path"] or "" for _, attributes in document.tags if "clip-path" in attributes]
    assert clips and {clip[len("url(#") : -1] for clip in clips} <= set(identifiers)
    styles = " ".join(attributes["style"] or "" for _, attributes in document.tags if "style" in attributes)
    assert "var(--ink)" in styles and "var(--line)" in styles and "#1b1f24" not in styles and "#ffffff" not in styles


# ------------------------------------------------------------------------------------- nothing that should not be there


def test_foreign_text_is_only_text(document: Document) -> None:
    assert EVIL in document.text
    assert document.tags.count(("script", {})) == 1
    assert [tag for tag, _ in document.tags if tag == "script"] == ["script", "script"]
    assert not [tag for tag, _ in document.tags if tag in ("b", "i", "abacus")]
    assert [json.loads(document.scripts[0])["pictures"][1]["name"]] == [EVIL]


def test_nothing_is_loaded(document: Document) -> None:
    for tag, attributes in document.tags:
        for name in ("src", "srcset", "data", "action", "poster"):
            assert name not in attributes
        target = attributes.get("href")
        assert target is None or target.startswith("#") or (tag, target) == ("link", "data:,")
        assert not any(name.startswith("on") for name in attributes)
    (policy,) = [attributes["content"] or "" for _, attributes in document.tags
                 if attributes.get("http-equiv") == "Content-Security-Policy"]  # fmt: skip
    digest = base64.b64encode(hashlib.sha256(document.scripts[1].encode()).digest()).decode()
    assert policy.split("; ")[:4] == [
        "default-src 'none'", "img-src data:", "style-src 'unsafe-inline'", f"script-src 'sha256-{digest}'"
    ]  # fmt: skip


def test_the_same_gives_the_same_bytes(path: Path, tmp_path: Path) -> None:
    write_page(results(), exhibits(), tmp_path / "page.html")
    assert (tmp_path / "page.html").read_bytes() == path.read_bytes()


def test_a_page_of_little(tmp_path: Path) -> None:
    given = results()
    lone = replace(given, codecs=given.codecs[:1], samples=given.samples[:10], anchors=(), failures=())
    write_page(lone, [], tmp_path / "lone.html")
    page = Document(tmp_path / "lone.html")
    assert not page.scripts and "None: every codec coded every picture at every setting." in "".join(page.text)
    assert not any(caption.startswith("BD-rates") for caption in page.tables)
    write_page(replace(lone, samples=()), [], tmp_path / "no.html")
    assert "No file of it could be measured." in "".join(Document(tmp_path / "no.html").text)
    write_page(Results("n\udc80\x00", (), (), ()), [], tmp_path / "none.html")
    assert b"<title>Image codecs on n?" in (tmp_path / "none.html").read_bytes()


# -------------------------------------------------------------------------------------------------------- in a browser

BACKGROUND = {"light": (0xE6, 0xE9, 0xED), "dark": (0x07, 0x09, 0x0C)}


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """A headless Chromium, where there is one."""
    driver = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip("no Chromium is installed")
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--force-color-profile=srgb"])
        yield browser
        browser.close()


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


@pytest.fixture
def open_viewer(browser: "Browser", path: Path) -> Iterator[Any]:
    """Opens the page; when the test is over, nothing may have been loaded, logged or alerted but the file itself."""
    contexts, seen = [], []

    def open_it(width: int = 1280, height: int = 900, theme: Any = "light", **options: Any) -> Viewer:
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme, offline=True, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: seen.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: seen.append(f"error: {error}"))
        page.on("dialog", lambda dialog: seen.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: seen.append(request.url) if not request.url.startswith("data:") else None)
        page.goto(path.as_uri())
        return Viewer(page)

    yield open_it
    for context in contexts:
        context.close()
    assert seen == [path.as_uri()] * len(contexts)


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
