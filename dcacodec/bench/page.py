"""The report of a benchmark as one self-contained HTML file: pictures to compare, plots, tables.

::

    Results -- plots.draw --> SVG, recoloured --+
    Results ------------------------------------+--> page.html (Jinja) with page.css and page.js --> the file
    Exhibit -- lossless WebP --> data URIs -----+

Names and labels are untrusted text: the template escapes all values, and the page's Content-Security-Policy forbids
loading resources and running any script but that of the package.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Sequence
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from dcacodec._version import __version__
from dcacodec.bench.exhibits import Exhibit
from dcacodec.bench.metrics import METRICS
from dcacodec.bench.plots import draw
from dcacodec.bench.results import Results
from dcacodec.bench.summary import conventions, deficits, opponents, speed
from dcacodec.files.atomic import write_atomically
from dcacodec.metrics.curves import METHODS, Method
from dcacodec.plotting.plot import FAINT, INK, MUTED, PAPER, Plot

_THEME: Final = {INK: "var(--ink)", MUTED: "var(--muted)", FAINT: "var(--line)", PAPER: "var(--panel)"}
_WEBP_LIMIT: Final = 16383
"""The longest side of WebP pictures, in pixels."""


def write_page(
    results: Results,
    showcase: Sequence[Exhibit],
    path: str | Path,
    window: tuple[float, float] | None = None,
    method: Method = METHODS[0],
) -> None:
    """Write the report.

    Args:
        results: what was measured.
        showcase: pictures to compare; those of one name belong together, in the order in which they are shown.
        path: of the HTML file.
        window: bits per pixel from and to, which BD-rates are limited to.
        method: of interpolation for BD-rates.

    Raises:
        OSError: the file cannot be written.
    """
    content = _html(results, showcase, window, method).encode("utf-8", "replace")  # file names may not be UTF-8
    write_atomically(path, lambda file: file.write(content))


def _html(results: Results, showcase: Sequence[Exhibit], window: tuple[float, float] | None, method: Method) -> str:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(number=_number, signed=_signed, bytes=_bytes)
    script = _packaged("page.js")
    return environment.from_string(_packaged("page.html")).render(
        results=results,
        version=__version__,
        # From the package, and safe in elements whose text is not unescaped.
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=Markup(_packaged("page.css")),
        plots=[(plot, Markup(_inline(plot))) for plot in draw(results, window)],
        opponents=opponents(results, window),
        deficits=deficits(results),
        metrics=METRICS,
        window=window,
        method=method,
        method_title="PCHIP" if method == "pchip" else method.capitalize(),
        conventions=conventions(results),
        speed=speed,
        showcase=_showcase(showcase),
    )


def _packaged(name: str) -> str:
    """A part of the page, with line endings as in the repository, on which the hash of the script depends."""
    return files("dcacodec.bench").joinpath(name).read_text("utf-8").replace("\r\n", "\n")


# ---------------------------------------------------------------------------------------------------------- pictures


def _showcase(exhibits: Sequence[Exhibit]) -> dict[str, Any]:
    """The data of the page's script, ready for JSON: the targets of each picture, and every pixel array once."""
    images: dict[bytes, int] = {}
    uris: list[str] = []

    def index(pixels: NDArray[np.uint8]) -> int:
        key = hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).digest()
        if key not in images:
            images[key] = len(uris)
            uris.append(_uri(pixels))
        return images[key]

    measured = {name for exhibit in exhibits for side in exhibit.sides for name in side.quality}
    shown = [name for name in METRICS if name in measured]
    pictures: dict[str, dict[str, Any]] = {}
    for exhibit in exhibits:
        height, width = exhibit.original.shape[:2]
        entry = pictures.setdefault(
            exhibit.picture, {"name": exhibit.picture, "width": width, "height": height, "targets": []}
        )
        pixels = width * height
        original = {
            "label": "Original",
            "setting": "",
            "bytes": f"{_bytes(3 * pixels)} uncompressed",
            "bpp": _number(24, 3),
            **{name: "lossless" if name == "psnr" else "" for name in shown},
            "image": index(exhibit.original),
        }
        entry["targets"].append({
            "label": f"{_bytes(exhibit.target)} \N{MIDDLE DOT} {_number(exhibit.target * 8 / pixels, 3)} bpp",
            "sides": [original, *(
                {
                    "label": side.label,
                    "setting": f"{side.setting:g}",
                    "bytes": _bytes(side.size),
                    "bpp": _number(side.size * 8 / pixels, 3),
                    **{name: _quality(name, side.quality.get(name)) for name in shown},
                    "image": index(side.pixels),
                }
                for side in exhibit.sides
            )],
        })  # fmt: skip
    return {"pictures": list(pictures.values()), "images": uris, "metrics": shown}


def _uri(pixels: NDArray[np.uint8]) -> str:
    """A data URI of exactly these pixels."""
    form, options = ("WEBP", {"lossless": True}) if max(pixels.shape) <= _WEBP_LIMIT else ("PNG", {})
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


# ------------------------------------------------------------------------------------------------------------- plots


def _inline(plot: Plot) -> str:
    """The plot as an SVG element for an HTML page, with unique identifiers and the colours of the page's theme."""
    root = ElementTree.fromstring(plot.render("svg"))
    for parent in list(root.iter()):
        for child in list(parent):
            # Matplotlib's style sheet would hold for the whole page; its rules are in page.css.
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for name, value in list(element.attrib.items()):
            del element.attrib[name]
            element.attrib[name.rpartition("}")[2]] = _rewritten(plot.name, name.rpartition("}")[2], value)
    for name in ("width", "height"):
        del root.attrib[name]
    root.attrib |= {"role": "img", "aria-label": f"{plot.title}. {plot.caption}"}
    return ElementTree.tostring(root, "unicode")


def _rewritten(prefix: str, name: str, value: str) -> str:
    """The value of an attribute of an SVG element."""
    if name == "id":
        return f"{prefix}-{value}"
    if name == "href":
        return f"#{prefix}-{value[1:]}"
    if name == "style":
        return re.sub("|".join(_THEME), lambda found: _THEME[found[0]], value)
    return value.replace("url(#", f"url(#{prefix}-") if name == "clip-path" else value


# ----------------------------------------------------------------------------------------------------------- numbers


def _number(value: float | None, digits: int) -> str:
    """A number as text; a dash for None."""
    if value is None:
        return "\N{EN DASH}"
    if math.isinf(value):
        return "\N{INFINITY}"
    return f"{value:,.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _signed(value: float) -> str:
    """A percentage with its sign."""
    return f"{value:+.1f}".replace("-", "\N{MINUS SIGN}")


def _bytes(value: int) -> str:
    return f"{value:,} bytes"


def _quality(metric: str, value: float | None) -> str:
    """A caption, which may be empty."""
    if value is None:
        return ""
    if metric == "psnr":
        return "lossless" if math.isinf(value) else f"{_number(value, 2)} dB"
    return _number(value, METRICS[metric].digits)
