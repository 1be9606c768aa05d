"""Published curves: where they are looked for, and what they cite."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from told import one_line
from web import Site, serve

from dcacodec.bench import anchors
from dcacodec.bench.anchors import COMMIT, DEFAULTS, PUBLISHED, find_anchor
from dcacodec.errors import BenchError
from dcacodec.metrics.curves import Curve


def content(name: str, low: float, description: str = "") -> str:
    results = {"bpp": [low, 1.0], "psnr": [30.0, 36.0]}
    return json.dumps({"name": name, "description": description, "results": results})


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    monkeypatch.setenv("DCACODEC_CACHE", str(tmp_path / "cache"))
    with serve({"/kodak/vtm.json": content("VTM", 0.3).encode(), "/kodak/hm.json": b"{}"}) as site:
        monkeypatch.setattr(anchors, "ADDRESS", site.address)
        yield site


@pytest.mark.parametrize("place", ["data/anchors", "data/anchors/kodak", "anchors/kodak"])
def test_found_in_a_data_folder(place: str, site: Site, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    (tmp_path / place / "vtm.json").write_text(content("VTM", 0.25, "from a paper"), "utf-8")
    found = find_anchor("vtm", "kodak", [tmp_path / "nowhere", tmp_path / "data"])
    assert found.curve == Curve("vtm", (0.25, 1.0), (30.0, 36.0))
    assert found.source == "from a paper"
    assert site.requests == []


def test_of_other_pictures_it_is_another_curve(site: Site, tmp_path: Path) -> None:
    (tmp_path / "anchors" / "other").mkdir(parents=True)
    (tmp_path / "anchors" / "other" / "vtm.json").write_text(content("VTM", 0.25), "utf-8")
    assert find_anchor("vtm", "other", [tmp_path]).curve.bpp == (0.25, 1.0)
    assert find_anchor("vtm", "kodak", [tmp_path]).curve.bpp == (0.3, 1.0)
    with pytest.raises(BenchError, match=r"'vtm'.*\bthird\b"):
        find_anchor("vtm", "third", [tmp_path])


def test_fetched_once_and_cited(site: Site) -> None:
    for _ in range(2):
        found = find_anchor("vtm", "kodak", [])
        assert found.curve == Curve("vtm", (0.3, 1.0), (30.0, 36.0))
        assert found.source == f"CompressAI, results/image/kodak/vtm.json at commit {COMMIT[:8]}"
    assert site.requests == ["/kodak/vtm.json"]


def test_what_is_fetched_is_checked(site: Site, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"hm\.json"):
        find_anchor("hm", "kodak", [])
    with pytest.raises(BenchError, match=r"bpg_444_x265_ycbcr\.json.*\b404\b"):
        find_anchor("bpg", "kodak", [])
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_file_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(content("My Codec", 0.5), "utf-8")
    found = find_anchor(str(path), "anything", [])
    assert found.curve.name == "My Codec"
    assert found.source == "mine.json"
    path.write_text("{}", "utf-8")
    with pytest.raises(BenchError, match=r"mine\.json"):
        find_anchor(str(path), "anything", [])
    with pytest.raises(FileNotFoundError):
        find_anchor(str(tmp_path / "missing.json"), "anything", [])


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(BenchError) as caught:
        find_anchor("x", "kodak", [])
    assert all(name in one_line(caught) for name in ("'x'", *PUBLISHED["kodak"]))


def test_defaults_are_known() -> None:
    assert {name for names in DEFAULTS.values() for name in names} <= set(PUBLISHED["kodak"])
    assert anchors.ADDRESS.startswith("https://raw.githubusercontent.com/InterDigitalInc/CompressAI/")
    assert anchors.ADDRESS.endswith(f"/{COMMIT}/results/image")
