"""Results as files: nothing is lost on the way there and back."""

import csv
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from dcacodec.bench.results import Anchor, Failure, MeasuredCodec, Results, Sample
from dcacodec.bench.store import (
    Journal,
    as_compressai,
    as_csv,
    counted,
    load_results,
    sample_from_json,
    sample_to_json,
    save_results,
)
from dcacodec.errors import BenchError
from dcacodec.metrics.curves import Curve, load_anchor


def sample(
    picture: str,
    codec: str,
    setting: float,
    size: int,
    psnr: float,
    ms_ssim: float | None = 0.5,
    encode: float = 0.25,
    streams: Mapping[str, int] = MappingProxyType({}),
) -> Sample:
    quality = {"psnr": psnr, "ms-ssim": ms_ssim}
    return Sample(picture, codec, setting, 40, 20, size, quality, encode, 0.125, dict(streams))


RESULTS = Results(
    dataset="set",
    pictures=("a", "b"),
    codecs=(MeasuredCodec("dcacodec", "dcacodec 1", (10.0, 20.0), 3 << 20), MeasuredCodec("webp", "WebP", (5.0,))),
    samples=(
        sample("a", "dcacodec", 10, 100, 30.0, streams={"y_1": 60, "header": 40}),
        sample("b", "dcacodec", 10, 300, 32.0, streams={"y_1": 260, "header": 40}, ms_ssim=0.75, encode=0.75),
        sample("a", "dcacodec", 20, 200, 35.0, streams={"y_1": 160, "header": 40}, ms_ssim=None),
        sample("b", "dcacodec", 20, 400, math.inf, streams={"y_1": 360, "header": 40}),
        sample("a", "webp", 5, 50, 20.0),
    ),
    anchors=(Anchor(Curve("vtm", (0.1, 0.2), (30.0, 33.0)), "from somewhere"),),
    failures=(Failure("webp", "b", 5.0, "ValueError: too wide"),),
    machine={"processor": "abacus"},
)


def test_results_there_and_back(tmp_path: Path) -> None:
    save_results(RESULTS, tmp_path / "results.json")
    assert load_results(tmp_path / "results.json") == RESULTS
    json.loads((tmp_path / "results.json").read_text("utf-8"), parse_constant=pytest.fail)  # no infinities in JSON


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": "other"}', '{"format": "dcacodec-bench-2"}', ('{"format": "dcacodec-bench-2", '
             '"dataset": "x", "pictures": [], "codecs": [{}], "samples": []}')],
)  # fmt: skip
def test_no_results(text: str, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(text, "utf-8")
    with pytest.raises(BenchError, match=r"results\.json"):
        load_results(tmp_path / "results.json")


def test_a_curve_in_the_format_of_compressai(tmp_path: Path) -> None:
    content = as_compressai(RESULTS, RESULTS.codecs[0])
    assert content["name"] == "dcacodec"
    assert content["memory"] == 3 << 20
    assert content["results"] == {
        "setting": [10, 20],
        "bpp": [2.0, 3.0],
        "psnr": [31.0, None],
        "ms-ssim": [0.625, None],
        "encoding_time": [0.5, 0.25],
        "decoding_time": [0.125, 0.125],
        "bpp_y_1": [1.6, 2.6],
        "bpp_header": [0.4, 0.4],
    }
    assert "dcacodec 1 on set: means over 2 pictures;" in content["description"]
    assert content["description"].endswith("times in seconds on: processor abacus.")
    other = as_compressai(RESULTS, RESULTS.codecs[1])
    assert "memory" not in other


def test_a_curve_has_no_point_where_a_picture_failed() -> None:
    samples = [
        sample(picture, "x", setting, 100 * setting, 30.0 + setting) for setting in (1, 2, 3) for picture in ("a", "b")
    ]
    del samples[3]
    given = Results("set", ("a", "b"), (MeasuredCodec("x", "X", (1.0, 2.0, 3.0)),), tuple(samples))
    assert as_compressai(given, given.codecs[0])["results"]["setting"] == [1, 3]


def test_what_is_written_can_be_compared_with(tmp_path: Path) -> None:
    finite = Results("set", ("a",), (MeasuredCodec("x", "X", (1.0, 2.0)),),
                     (sample("a", "x", 1, 100, 30.0), sample("a", "x", 2, 200, 33.0)))  # fmt: skip
    (tmp_path / "x.json").write_text(json.dumps(as_compressai(finite, finite.codecs[0])), "utf-8")
    assert load_anchor(tmp_path / "x.json") == finite.curve("x")


def test_one_picture_is_no_plural() -> None:
    assert [counted(pictures) for pictures in (0, 1, 2)] == ["0 pictures", "1 picture", "2 pictures"]


def test_csv_has_every_picture() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(RESULTS))))
    assert [(row["picture"], row["codec"], row["setting"]) for row in rows] == [
        ("a", "dcacodec", "10"), ("b", "dcacodec", "10"), ("a", "dcacodec", "20"), ("b", "dcacodec", "20"),
        ("a", "webp", "5"),
    ]  # fmt: skip
    assert rows[1] == {
        "picture": "b", "codec": "dcacodec", "setting": "10", "width": "40", "height": "20", "bytes": "300",
        "bpp": "3.0", "psnr": "32.0", "ms-ssim": "0.75", "encode_seconds": "0.75",
        "decode_seconds": "0.125", "bytes_y_1": "260", "bytes_header": "40",
    }  # fmt: skip
    assert rows[3]["psnr"] == "inf"
    assert rows[2]["ms-ssim"] == ""
    assert rows[4]["bytes_y_1"] == ""


# ------------------------------------------------------------------------------------------------------------ journal


def test_a_journal_is_read_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    assert "one" not in journal and journal.get("one") is None
    journal.add("one", {"a": 1})
    journal.add("two", None)
    with pytest.raises(ValueError):
        journal.add("three", math.inf)  # JSON has none
    again = Journal(tmp_path / "journal.jsonl")
    assert again["one"] == {"a": 1}
    assert "two" in again and again["two"] is None
    assert "three" not in journal and "three" not in again


def test_a_torn_line_loses_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    for key in ("one", "two"):
        journal.add(key, key)
    path.write_bytes(path.read_bytes()[:-5])
    torn = Journal(path)
    assert "one" in torn and "two" not in torn
    torn.add("three", 3)
    again = Journal(path)
    assert again["one"] == "one" and again["three"] == 3 and "two" not in again
    path.write_bytes(b'\xff\xfe\n[1]\n{"key": 1}\n{"key": [], "value": 1}\n\n' + path.read_bytes() + b'{"key": "fo')
    assert Journal(path)["three"] == 3


def test_a_sample_in_the_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    for number, one in enumerate(RESULTS.samples):
        journal.add(str(number), sample_to_json(one))
    again = Journal(tmp_path / "journal.jsonl")
    assert tuple(sample_from_json(again[str(number)]) for number in range(5)) == RESULTS.samples
