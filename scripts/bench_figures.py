"""Copy the results of `dcacodec bench` on Kodak to benchmarks/results, and update the figures in the README.

    python scripts/bench_figures.py build/bench build/bench-effort

takes the curves and BD-rates of the first folder to benchmarks/results/kodak/; of the second, where dcacodec refines,
its curve and BD-rates to benchmarks/results/kodak-effort/; and rewrites what stands in README.md between
`<!-- bench: NAME -->` and `<!-- bench: end -->`. `make bench` runs it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dcacodec.bench.store import write_text

ROOT: Final = Path(__file__).resolve().parent.parent
RESULTS: Final = ROOT / "benchmarks" / "results"
README: Final = ROOT / "README.md"

_PUBLISHED: Final = {"vtm": "VTM", "bpg": "BPG 4:4:4", "jpeg": "JPEG", "webp": "WebP"}


def main() -> None:
    """Copy the results and update the README."""
    if len(sys.argv) != 3:
        sys.exit("two folders are needed: of all codecs, and of the same with effort")
    results, effort = map(Path, sys.argv[1:])
    keep(results, RESULTS / "kodak")
    keep(effort, RESULTS / "kodak-effort", "dcacodec-*.json")
    write_text(README, with_figures(README.read_text("utf-8"), figures(RESULTS)))


def keep(results: Path, folder: Path, kept: str = "*.json") -> None:
    """Copy the curves (of these names) and BD-rates of a benchmark's folder, and remove what an earlier one left."""
    curves = {path.name: path.read_text("utf-8") for path in sorted((results / "curves").glob(kept))}
    rates = json.loads((results / "bd-rate.json").read_text("utf-8"))
    for other in rates["against"]:  # where a published curve comes from, the README says
        other["published"] = other.pop("source") is not None
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.json"):
        old.unlink()
    for name, text in curves.items():
        write_text(folder / name, text)
    write_text(folder / "bd-rate.json", json.dumps(rates, indent=1) + "\n")


def figures(results: Path) -> dict[str, str]:
    """The README's tables by name, from the kept results."""
    curve = json.loads((results / "kodak" / "dcacodec.json").read_text("utf-8"))["results"]
    (refined,) = (results / "kodak-effort").glob("dcacodec-*.json")
    rates, better = (
        json.loads((results / name / "bd-rate.json").read_text("utf-8")) for name in ("kodak", "kodak-effort")
    )
    return {
        "rate-distortion": _curve(curve),
        "refined": _curve(json.loads(refined.read_text("utf-8"))["results"]),
        "bd-rate": _rates(rates, better),
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


def _table(rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"|{'---|' * len(rows[0])}", *lines[1:]])


def with_figures(text: str, tables: Mapping[str, str]) -> str:
    """The text with these tables between its marks.

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
