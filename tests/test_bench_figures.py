"""The figures of the README and of the page of results: those of the kept results, and no others."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_figures", ROOT / "scripts" / "bench_figures.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def by_psnr(percent: dict[str, float] | None = None, quality: list[float] | None = None) -> dict[str, Any]:
    """A comparison; without arguments, one that there is none of."""
    found = {"percent": percent, "quality": quality} if percent else {"percent": {}, "none": "no PSNR in common"}
    return {"metrics": {"psnr": found}}


CURVE = {"name": "dcacodec", "results": {"setting": [5.0, 50.0], "bpp": [0.12345, 0.5], "psnr": [27.004, 34.5]}}
RATES = {
    "against": [
        {"name": "webp", "label": "WebP (libwebp 1)", "source": None,
         **by_psnr({"akima": -12.34, "pchip": -12.5}, [27.1, 33.96])},
        {"name": "vtm", "label": "vtm", "source": "a long text",
         **by_psnr({"akima": 40.06, "pchip": 41.0}, [27.1, 34.5])},
        {"name": "jxl", "label": "JPEG XL", "source": None, **by_psnr()},
        {"name": "avif", "label": "AVIF", "source": None, **by_psnr({"akima": 1.0}, [27.1, 30.0])},
    ]
}  # fmt: skip


REFINED = {"name": "dcacodec:40", "results": {"setting": [5.0, 50.0], "bpp": [0.12, 0.48], "psnr": [27.2, 34.7]}}
BETTER = {
    "codec": "dcacodec:40",
    "against": [
        {
            "name": "dcacodec",
            "label": "dcacodec",
            "source": None,
            "metrics": {"psnr": {"percent": {"akima": -8.0}, "quality": [27.2, 34.5]}},
        },
        {
            "name": "webp",
            "label": "WebP (libwebp 1)",
            "source": None,
            "metrics": {"psnr": {"percent": {"akima": -20.14}, "quality": [27, 34]}},
        },
        {
            "name": "vtm",
            "label": "vtm",
            "source": "a long text",
            "metrics": {"psnr": {"percent": {"akima": 30.02}, "quality": [27.1, 34.5]}},
        },
        {
            "name": "jxl",
            "label": "JPEG XL",
            "source": None,
            "metrics": {"psnr": {"percent": {}, "none": "no PSNR in common"}},
        },
    ],
}


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), "utf-8")


def test_from_a_benchmark_to_the_tables(script: Any, tmp_path: Path) -> None:
    write(tmp_path / "bench" / "curves" / "dcacodec.json", CURVE)
    write(tmp_path / "bench" / "curves" / "webp.json", {})
    write(tmp_path / "bench" / "bd-rate.json", RATES)
    write(tmp_path / "kept" / "kodak" / "gone.json", {})  # a codec that is not measured any more
    write(tmp_path / "effort" / "curves" / "dcacodec-40.json", REFINED)
    write(tmp_path / "effort" / "curves" / "dcacodec.json", CURVE)
    write(tmp_path / "effort" / "curves" / "webp.json", {})
    write(tmp_path / "effort" / "bd-rate.json", BETTER)
    script.keep(tmp_path / "bench", tmp_path / "kept" / "kodak")
    script.keep(tmp_path / "effort", tmp_path / "kept" / "kodak-effort", "dcacodec*-[0-9]*.json")
    assert sorted(path.name for path in (tmp_path / "kept" / "kodak-effort").iterdir()) == [
        "bd-rate.json", "dcacodec-40.json",
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "kept" / "kodak").iterdir()) == [
        "bd-rate.json", "dcacodec.json", "webp.json",
    ]  # fmt: skip
    kept = json.loads((tmp_path / "kept" / "kodak" / "bd-rate.json").read_text("utf-8"))
    assert [(other["name"], other["published"]) for other in kept["against"]] == [
        ("webp", False), ("vtm", True), ("jxl", False), ("avif", False),
    ]  # fmt: skip
    assert "a long text" not in json.dumps(kept)
    for tune in ("visual", "psnr"):
        write(tmp_path / "kept" / "kodak-tunings" / f"{tune}.json", json.loads(script.rates_of(tmp_path / "bench")))
    assert script.figures(tmp_path / "kept") == {
        "tunings": (
            "| tuning | against | PSNR |\n|---|---|---|\n"
            "| `visual` | WebP (libwebp 1) | -12.3 |\n| `visual` | JPEG XL | none |\n| `visual` | AVIF | +1.0 |\n"
            "| `psnr` | WebP (libwebp 1) | -12.3 |\n| `psnr` | JPEG XL | none |\n| `psnr` | AVIF | +1.0 |"
        ),
        "rate-distortion": "| quality | 5 | 50 |\n|---|---|---|\n| bpp | 0.123 | 0.500 |\n| PSNR, dB | 27.00 | 34.50 |",
        "refined": "| quality | 5 | 50 |\n|---|---|---|\n| bpp | 0.120 | 0.480 |\n| PSNR, dB | 27.20 | 34.70 |",
        "bd-rate": (
            "| against | BD-rate, % | with `--effort 40` | PSNR in common, dB |\n|---|---|---|---|\n"
            "| WebP (libwebp 1) | -12.3 | -20.1 | 27.1 to 34.0 |\n"
            "| VTM (published) | +40.1 | +30.0 | 27.1 to 34.5 |\n"
            "| JPEG XL | none | none | no PSNR in common |\n"
            "| AVIF | +1.0 | none | 27.1 to 30.0 |"
        ),
    }


def test_kept_results_stay_where_the_new_ones_are_not_whole(script: Any, tmp_path: Path) -> None:
    write(tmp_path / "bench" / "curves" / "dcacodec.json", CURVE)
    write(tmp_path / "kept" / "old.json", {})
    with pytest.raises(FileNotFoundError):
        script.keep(tmp_path / "bench", tmp_path / "kept")
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["old.json"]


def test_tables_go_between_their_marks(script: Any) -> None:
    text = (
        "before\n<!-- bench: a -->\nold\n<!-- bench: end -->\nmiddle\n<!-- bench: b -->\n<!-- bench: end -->\nafter\n"
    )
    written = script.with_figures(text, {"a": "new \\1", "b": "other"})
    assert written == (
        "before\n<!-- bench: a -->\n\nnew \\1\n\n<!-- bench: end -->\nmiddle\n"
        "<!-- bench: b -->\n\nother\n\n<!-- bench: end -->\nafter\n"
    )
    assert script.with_figures(written, {"a": "new \\1", "b": "other"}) == written
    with pytest.raises(ValueError, match=r"\bc\b"):
        script.with_figures(text, {"c": ""})


def test_the_pages_have_the_kept_figures(script: Any) -> None:
    tables = script.figures(ROOT / "benchmarks" / "results")
    for page, names in script.PAGES.items():
        text = page.read_text("utf-8")
        assert script.with_figures(text, {name: tables[name] for name in names}) == text
    assert {name for names in script.PAGES.values() for name in names} == set(tables)
