"""The page of a benchmark: what it holds, and that it holds nothing else."""

import base64
import hashlib
import io
import json
import math
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

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
def path(results_page: Path) -> Path:
    return results_page


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
