"""Rate-distortion curves and BD-rates, against values worked out by hand."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcacodec.metrics.curves import METHODS, Curve, Method, bd_rate, falls, load_anchor

BPP = (0.1, 0.2, 0.45, 0.9, 1.7)
PSNR = (26.0, 28.7, 32.1, 35.0, 38.4)
"""A curve like that of a codec: no straight line."""

STRAIGHT = Curve("straight", tuple(0.1 * 2**i for i in range(6)), tuple(26.0 + 3 * i for i in range(6)))
"""3 dB for each doubling of the rate: any interpolation gives this line."""


def scaled(curve: Curve, factor: float) -> Curve:
    """The curve of a codec that needs `factor` times the bits."""
    return Curve("scaled", tuple(factor * bpp for bpp in curve.bpp), curve.quality)


def test_falls_names_every_step_that_does_not_rise() -> None:
    assert falls([1.0, 2.0, 3.0]) == []
    assert falls([1.0, 1.0, 2.0, 1.5, 1.6]) == [0, 2]
    assert falls([1.0, math.nan, 2.0]) == [0, 1]
    assert falls([1.0]) == []


# ----------------------------------------------------------------------------------------------------------- curves


@pytest.mark.parametrize(
    ("bpp", "values", "message"),
    [
        ((0.1,), (30.0,), "two points or more"),
        ((0.1, 0.2), (30.0,), "two points or more"),
        ((0.1, 0.2, 0.2), (30.0, 31.0, 32.0), "the rate does not rise after point 2"),
        ((0.1, 0.2, 0.3), (30.0, 30.0, 32.0), "the PSNR does not rise after point 1"),
        ((0.0, 0.2), (30.0, 31.0), "above 0"),
        ((0.1, 0.2), (30.0, math.inf), "finite"),
    ],
)
def test_no_curve_of_these_points(bpp: tuple[float, ...], values: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=f"^bad: .*{message}"):
        Curve("bad", bpp, values)


@pytest.mark.parametrize("method", METHODS)
def test_a_window_cuts_at_its_ends(method: Method) -> None:
    low, high = 0.1 * 2**0.5, 0.1 * 2**3.25
    cut = STRAIGHT.within(low, high, method)
    assert cut.bpp == (low, *STRAIGHT.bpp[1:4], high)
    assert cut.quality == pytest.approx((27.5, 29, 32, 35, 26 + 3 * 3.25), abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_a_window_never_makes_a_curve_longer(method: Method) -> None:
    curve = Curve("curve", BPP, PSNR)
    assert curve.within(0.01, 10, method).bpp == BPP
    assert curve.within(0.01, 10, method).quality == PSNR
    assert curve.within(0.2, 0.9, method).bpp == BPP[1:4]  # ends at points: these, and none twice
    assert curve.within(0.2, 0.9, method).quality == pytest.approx(PSNR[1:4], abs=1e-12)
    for low, high in ((2.0, 3.0), (0.01, 0.1), (0.01, 0.05)):
        with pytest.raises(ValueError, match="two points or more"):
            curve.within(low, high, method)


# ---------------------------------------------------------------------------------------------------------- BD-rate


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("factor", "percent"), [(1.0, 0.0), (0.9, -10.0), (0.5, -50.0), (2.0, 100.0)])
def test_bd_rate_of_scaled_rates(method: Method, factor: float, percent: float) -> None:
    curve = Curve("curve", BPP, PSNR)
    result = bd_rate(curve, scaled(curve, factor), method)
    assert result.percent == pytest.approx(percent, abs=1e-9)
    assert result.method == method
    assert result.quality == (26.0, 38.4)
    assert result.anchor_bpp == (0.1, 1.7)
    assert result.test_bpp == (0.1 * factor, 1.7 * factor)


@pytest.mark.parametrize("method", METHODS)
def test_bd_rate_is_the_mean_over_the_logarithm(method: Method) -> None:
    # Two straight lines: equal rates at 30 dB, half the rate at 40 dB. The mean of the logarithms is that of sqrt(1/2).
    result = bd_rate(Curve("anchor", (1.0, 4.0), (30.0, 40.0)), Curve("test", (1.0, 2.0), (30.0, 40.0)), method)
    assert result.percent == pytest.approx(100 * (0.5**0.5 - 1), abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_bd_rate_is_taken_where_both_curves_are(method: Method) -> None:
    # The same straight line, on which one codec has points that the other has not.
    part = Curve("part", STRAIGHT.bpp[2:5], STRAIGHT.quality[2:5])
    for anchor, test in ((STRAIGHT, part), (part, STRAIGHT)):
        result = bd_rate(anchor, test, method)
        assert result.percent == pytest.approx(0, abs=1e-9)
        assert result.quality == (32.0, 38.0)
        assert result.anchor_bpp == (anchor.bpp[0], anchor.bpp[-1])
        assert result.test_bpp == (test.bpp[0], test.bpp[-1])


@pytest.mark.parametrize("method", METHODS)
def test_bd_rate_in_a_window_takes_nothing_from_outside(method: Method) -> None:
    # Half the bits from 0.4 bpp on, the same below: within 0.01 to 0.4 bpp there is no difference.
    values = (26.0, 29.0, 32.0, 35.0 + 3, 38.0 + 3, 41.0 + 3)
    better = Curve("better", STRAIGHT.bpp, values)
    assert bd_rate(STRAIGHT, better, method).percent < -10
    result = bd_rate(STRAIGHT, better, method, window=(0.1, STRAIGHT.bpp[2]))
    assert result.percent == pytest.approx(0, abs=1e-9)
    assert result.quality == pytest.approx((26.0, 32.0), abs=1e-9)
    assert result.anchor_bpp == result.test_bpp == (0.1, 0.4)


@pytest.mark.parametrize("method", METHODS)
def test_bd_rate_in_a_window_of_a_scaled_curve(method: Method) -> None:
    # Both are cut to the same rates, so they have different PSNRs; what they share is known exactly.
    result = bd_rate(STRAIGHT, scaled(STRAIGHT, 0.5), method, window=(0.15, 1.2))
    assert result.percent == pytest.approx(-50, abs=1e-9)
    low = 26 + 3 * math.log2(0.15 / 0.05)  # where the better curve begins
    high = 26 + 3 * math.log2(1.2 / 0.1)  # where the anchor ends
    assert result.quality == pytest.approx((low, high), abs=1e-9)
    assert result.anchor_bpp == result.test_bpp == (0.15, 1.2)


def test_curves_apart_have_no_bd_rate() -> None:
    low, high = Curve("low", (0.1, 0.2), (20.0, 25.0)), Curve("high", (0.1, 0.2), (25.0, 30.0))
    with pytest.raises(ValueError, match=r"^low and high have no PSNR in common$"):
        bd_rate(low, high)


@given(st.lists(st.floats(0.5, 4), min_size=2, max_size=9), st.floats(0.2, 5), st.sampled_from(METHODS))
def test_bd_rate_turns_round(steps: list[float], factor: float, method: Method) -> None:
    """Against each other, two codecs' rates at equal PSNR are reciprocals."""
    values = tuple(20 + sum(steps[:i]) for i in range(len(steps)))
    curve = Curve("curve", tuple(0.05 * 1.3**value for value in values), values)
    other = scaled(curve, factor)
    there, back = bd_rate(curve, other, method).percent, bd_rate(other, curve, method).percent
    assert (1 + there / 100) * (1 + back / 100) == pytest.approx(1, abs=1e-9)
    assert there == pytest.approx(100 * (factor - 1), rel=1e-9, abs=1e-9)


# ------------------------------------------------------------------------------------------------------------ files


def written(folder: Path, content: object) -> Path:
    path = folder / "results.json"
    path.write_text(json.dumps(content), "utf-8")
    return path


def test_anchors_are_read_and_sorted(tmp_path: Path) -> None:
    results = {"bpp": [0.9, 0.1, 0.45], "psnr": [35.0, 26.0, 32.1], "ms-ssim": [1, 2, 3]}
    path = written(tmp_path, {"name": "codec", "description": "made up", "results": results})
    assert load_anchor(path) == Curve("codec", (0.1, 0.45, 0.9), (26.0, 32.1, 35.0))


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"name": "codec"},
        {"results": {"bpp": [0.1, 0.2], "psnr": [30, 31]}},
        {"name": "codec", "results": {"bpp": [0.1, 0.2], "psnr": [30]}},
        {"name": "codec", "results": {"bpp": [0.1, 0.2], "psnr": [30, None]}},
        {"name": "codec", "results": {"bpp": [0.1, 0.2], "psnr": [31, 30]}},
        {"name": "codec", "results": {"bpp": [0.1, 10**400], "psnr": [30, 31]}},
    ],
)
def test_other_files_are_no_anchors(tmp_path: Path, content: object) -> None:
    with pytest.raises(
        ValueError, match=r"^(results.json is not a results file|codec: (the PSNR does not rise|a curve needs))"
    ):
        load_anchor(written(tmp_path, content))


@pytest.mark.parametrize("content", [b"\xff\xfe not JSON", b"[" * 100_000], ids=["no JSON", "deep"])
def test_a_file_that_is_no_json_is_no_anchor(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^results.json is not a results file"):
        load_anchor(path)
