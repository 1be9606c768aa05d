"""Copy the results of `dcacodec bench` on Kodak to benchmarks/results, and update the figures of the pages.

    python scripts/bench_figures.py build/bench build/bench-effort build/bench-visual build/bench-psnr

copies the curves and BD-rates of the first folder to benchmarks/results/kodak/, the refined curve and BD-rates of the
second to benchmarks/results/kodak-effort/, and the BD-rates of the third and fourth, which compare the tunings visual
and psnr with other codecs by several metrics, to benchmarks/results/kodak-tunings/. It then rewrites the text in
README.md and docs/reference/results.md between `<!-- bench: NAME -->` and `<!-- bench: end -->`. `make bench` runs it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dcacodec.bench.metrics import METRICS
from dcacodec.bench.store import write_text

ROOT: Final = Path(__file__).resolve().parent.parent
RESULTS: Final = ROOT / "benchmarks" / "results"
PAGES: Final[Mapping[Path, tuple[str, ...]]] = {
    ROOT / "README.md": ("tunings",),
    ROOT / "docs" / "reference" / "results.md": ("tunings", "rate-distortion", "refined", "bd-rate"),
}
"""The tables of each page."""

_PUBLISHED: Final = {"vtm": "VTM", "bpg": "BPG 4:4:4", "jpeg": "JPEG", "webp": "WebP"}


def main() -> None:
    """Copy the results and update the pages."""
    if len(sys.argv) != 5:
        sys.exit("four folders are needed: of all codecs, of the same with effort, and of the tunings visual and psnr")
    results, effort, visual, psnr = map(Path, sys.argv[1:])
    keep(results, RESULTS / "kodak")
    for tune, folder in (("visual", visual), ("psnr", psnr)):
        write_text(RESULTS / "kodak-tunings" / f"{tune}.json", rates_of(folder))
    keep(effort, RESULTS / "kodak-effort", "dcacodec*-[0-9]*.json")
    tables = figures(RESULTS)
    for page, names in PAGES.items():
        write_text(page, with_figures(page.read_text("utf-8"), {name: tables[name] for name in names}))


def keep(results: Path, folder: Path, kept: str = "*.json") -> None:
    """Copy the curves (of these names) and BD-rates of a benchmark's folder, and remove older ones."""
    texts = {path.name: path.read_text("utf-8") for path in sorted((results / "curves").glob(kept))}
    texts["bd-rate.json"] = rates_of(results)
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.json"):
        old.unlink()
    for name, text in texts.items():
        write_text(folder / name, text)


def rates_of(results: Path) -> str:
    """The BD-rates of a benchmark's folder, as they are kept."""
    rates = json.loads((results / "bd-rate.json").read_text("utf-8"))
    for other in rates["against"]:  # where a published curve comes from, the page says
        other["published"] = other.pop("source") is not None
    return json.dumps(rates, indent=1) + "\n"


def figures(results: Path) -> dict[str, str]:
    """The tables by name, from the kept results."""
    (ours,) = (results / "kodak").glob("dcacodec*.json")
    curve = json.loads(ours.read_text("utf-8"))["results"]
    tunings = {
        tune: json.loads((results / "kodak-tunings" / f"{tune}.json").read_text("utf-8")) for tune in ("visual", "psnr")
    }
    (refined,) = (results / "kodak-effort").glob("dcacodec*-[0-9]*.json")
    rates, better = (
        json.loads((results / name / "bd-rate.json").read_text("utf-8")) for name in ("kodak", "kodak-effort")
    )
    return {
        "rate-distortion": _curve(curve),
        "refined": _curve(json.loads(refined.read_text("utf-8"))["results"]),
        "bd-rate": _rates(rates, better),
        "tunings": _tunings(tunings),
    }


def _curve(curve: Mapping[str, Any]) -> str:
    rows = [
        ["quality", *(f"{setting:g}" for setting in curve["setting"])],
        ["bpp", *(f"{value:.3f}" for value in curve["bpp"])],
        ["PSNR, dB", *(f"{value:.2f}" for value in curve["psnr"])],
    ]
    if "ms-ssim" in curve:
        rows.append(["MS-SSIM", *(f"{value:.4f}" for value in curve["ms-ssim"])])
    return _table(rows)


def _rates(rates: Mapping[str, Any], better: Mapping[str, Any]) -> str:
    effort = better["codec"].partition(":")[2]
    rows = [["against", "BD-rate, %", f"with `--effort {effort}`", "PSNR in common, dB"]]
    refined = {other["name"]: other["metrics"]["psnr"]["percent"].get("akima") for other in better["against"]}
    for other in rates["against"]:
        name, by_psnr = other["name"], other["metrics"]["psnr"]
        label = f"{_PUBLISHED.get(name, name)} (published)" if other["published"] else other["label"]
        both = [by_psnr["percent"].get("akima"), refined.get(name)]
        shown = ["none" if percent is None else f"{percent:+.1f}" for percent in both]
        common = "{:.1f} to {:.1f}".format(*by_psnr["quality"]) if by_psnr["percent"] else by_psnr["none"]
        rows.append([label, *shown, common])
    return _table(rows)


def _tunings(rates: Mapping[str, Mapping[str, Any]]) -> str:
    """BD-rates of each tuning, a row for each other codec and a column for each metric."""
    measured = [other for other in rates["psnr"]["against"] if not other["published"]]
    metrics = [name for name in METRICS if all(name in other["metrics"] for other in measured)]
    rows = [["tuning", "against", *(METRICS[name].title for name in metrics)]]
    for tune, found in rates.items():
        for other in found["against"]:
            if not other["published"]:
                percents = [other["metrics"][name]["percent"].get("akima") for name in metrics]
                rows.append([f"`{tune}`", other["label"], *("none" if p is None else f"{p:+.1f}" for p in percents)])
    return _table(rows)


def _table(rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"|{'---|' * len(rows[0])}", *lines[1:]])


def with_figures(text: str, tables: Mapping[str, str]) -> str:
    """The text with these tables between its markers.

    Raises:
        ValueError: a table has not exactly one place.
    """
    for name, table in tables.items():
        marks = re.compile(rf"(<!-- bench: {re.escape(name)} -->\n).*?(<!-- bench: end -->)", re.DOTALL)
        places = list(marks.finditer(text))
        if len(places) != 1:
            raise ValueError(f"{len(places)} places for the table {name}")
        place = places[0]
        text = f"{text[: place.start()]}{place[1]}\n{table}\n\n{place[2]}{text[place.end() :]}"
    return text


if __name__ == "__main__":
    main()
