"""The study: records that are read, compared and reported."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from study_runs import record
from told import one_line

from dcacodec.errors import TrainingError
from dcacodec.format.container import STREAMS
from dcacodec.metrics.curves import Curve
from dcacodec.training.loop import VALIDATION_QUALITIES
from research.study import report, variants
from research.study.records import read_record
from research.study.report import compare, curve_of, summarise, write_report
from research.study.variants import Variant

pytestmark = pytest.mark.usefixtures("one_thread", "_on_the_processor")


def test_comparisons_by_hand() -> None:
    base, fewer, finer = record(Variant("R"), 1.0), record(Variant("RGL"), 0.9), record(Variant("RL"), 1.0, 2.5)
    found = compare(fewer, base)
    assert found["bits"] == pytest.approx(-10)
    assert found["bd_rate"] == pytest.approx(-10)
    assert found["by_quality"] == pytest.approx({str(quality): -10.0 for quality in VALIDATION_QUALITIES})
    # A BD-rate takes curves that rise, bits at equal quality do not.
    fewer["qualities"][3]["psnr"] = 0.0
    assert compare(fewer, base) == found | {"bd_rate": None}
    # As many bits at equal quality, but 2.5 dB more, which is a factor of 1.6 in bits.
    found = compare(finer, base)
    assert (found["bits"], found["bd_rate"]) == pytest.approx((0, 100 / 1.6 - 100))
    assert curve_of(base) == Curve("R-0", tuple(0.1 * 1.6**n for n in range(7)), tuple(25 + 2.5 * n for n in range(7)))


def test_every_variant_is_compared_with_the_baseline_of_its_seed() -> None:
    own = {name: value for name, value in record(Variant("RGL"), 0.5).items() if name in ("parameters", "qualities")}
    records = [
        {"name": "checkpoint", **own},
        record(Variant("R"), 1.0),
        record(Variant("RGL"), 0.9),
        record(Variant("R", seed=1), 2.0),
        record(Variant("RGL", seed=1), 1.9),
        record(Variant("RL", seed=2), 1.1),
    ]
    summary = summarise(records)
    bits = {name: row["against_baseline"]["bits"] for name, row in summary.items()}
    assert bits == pytest.approx({"checkpoint": -50, "R-0": 0, "RGL-0": -10, "R-1": 0, "RGL-1": -5, "RL-2": 10})
    assert summarise(records[2:3])["RGL-0"]["against_baseline"] is None
    assert list(summary["RGL-0"]["streams"]) == list(STREAMS)
    assert list(summary["R-0"]["streams"]) == ["z_r", "y_1", "y_2", "y_3", "y_4"]
    assert summary["R-0"]["surprise"] == pytest.approx([0.51, 0.52, 0.53, 0.54])


@pytest.mark.slow
def test_the_report(tmp_path: Path) -> None:
    records = [record(Variant("R"), 1.0), record(Variant("RGL"), 0.95)]
    paths = write_report(records, tmp_path)
    assert {path.name for path in paths} == {each.name for each in tmp_path.iterdir()}
    names = {"bits", "bd-rate", "surprise", "training"}
    assert {path.name for path in paths} == {
        "report.json",
        "report.md",
        *(f"{name}.{form}" for name in names for form in ("png", "svg")),
    }
    assert json.loads((tmp_path / "report.json").read_text("utf-8"))["records"] == records
    lines = (tmp_path / "report.md").read_text("utf-8").splitlines()
    assert "| RGL-0 | -5.00 | -5.00" + " | -5.00" * 7 + " |" in lines
    assert "| R-0 | 1,000 | 200 | 30 | 10 | 1.0 | 0.5 | 2 |" in lines
    drawn = {plot.name: plot.figure for plot in report.draw(records, summarise(records))}
    line = next(each for each in drawn["bits"].axes[0].get_lines() if each.get_gid() == "RGL-0")
    assert line.get_xydata() == pytest.approx(np.array([[quality, -5.0] for quality in VALIDATION_QUALITIES]))
    # Without a baseline there is nothing to compare with.
    assert {plot.name for plot in report.draw(records[1:], summarise(records[1:]))} == {"surprise", "training"}


DAMAGES: list[Callable[[dict[str, Any]], object]] = [
    lambda it: it.pop("made_from"),
    lambda it: it.pop("training"),
    lambda it: it.pop("seed"),
    lambda it: it.update(name="RGL-0"),
    lambda it: it.update(parameters={}),
    lambda it: it.update(qualities=[]),
    lambda it: it["qualities"].pop(),
    lambda it: it["qualities"].reverse(),
    lambda it: it["qualities"][2].pop("z_r"),
    lambda it: it["qualities"][2].pop("surprise_4"),
    lambda it: it["qualities"][2].update(bpp=0),
    lambda it: it["qualities"][2].update(bpp=math.nan),
    lambda it: it["qualities"][2].update(bpp=10**400),
    lambda it: it["qualities"][2].update(psnr="much"),
    lambda it: it["training"].update(seconds=None),
    lambda it: it["training"].update(curve=[[5]]),
]


def whole_record() -> dict[str, Any]:
    return {"made_from": {"options": 1}, **record(Variant("R"), 1.0)}


def read(path: Path) -> dict[str, Any] | None:
    return read_record(path, {"options": 1}, {"name": "R-0", **variants.describe(Variant("R"))})


@pytest.mark.parametrize("damage", [*DAMAGES, "{", "[" * 100_000, "[]", "{}"])
def test_damaged_records_are_reported_by_name(damage: str | Callable[[Any], object], tmp_path: Path) -> None:
    path = tmp_path / "R-0.json"
    if not isinstance(damage, str):
        content = whole_record()
        path.write_text(json.dumps(content), "utf-8")
        assert read(path) == content
        damage(content)
        damage = json.dumps(content)
    path.write_text(damage, "utf-8")
    with pytest.raises(TrainingError) as error:
        read(path)
    assert str(path) in one_line(error)
