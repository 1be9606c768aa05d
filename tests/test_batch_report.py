"""Batches: the summary and its facts."""

from pathlib import Path

from dcacodec.batch.plan import Job
from dcacodec.batch.report import Report
from dcacodec.batch.work import Outcome


def test_the_summary() -> None:
    job = Job(Path("a\nb"), Path("c"), None)
    report = Report(skipped=3, kept=2, other_quality=2, above_target=1, left_out=5, waiting=4)
    assert report.line() == (
        "0 of 9 files coded, 3 skipped (up to date), 2 left alone (older pictures), 4 not yet coded; 0.0 s"
    )
    report.add(Outcome(job, 1_000_000, 100_000))
    report.add(Outcome(job, 999, 0, search="quality 1: far from it", target_met=False))
    report.add(Outcome(job, error="bad"))
    report.seconds = 61.26
    assert report.line() == (
        "2 of 9 files coded, 1 of them missed the target, 3 skipped (up to date), 2 left alone (older pictures), "
        "1 failed, 1 not yet coded; "
        "1.0 MB -> 100.0 kB, 90.0 % saved; 61.3 s"
    )
    assert report.facts() == {
        "done": 2,
        "skipped": 3,
        "kept": 2,
        "other_weights": 0,
        "other_quality": 2,
        "above_target": 1,
        "left_out": 5,
        "missed": 1,
        "failed": 1,
        "waiting": 1,
        "bytes_in": 1_000_999,
        "bytes_out": 100_000,
        "saved_percent": 90.01,
        "seconds": 61.26,
        "misses": [{"source": "a\nb", "result": "quality 1: far from it"}],
        "failures": [{"source": "a\nb", "error": "bad"}],
    }
    decoded = Report(done=2, waiting=1, bytes_in=1000, bytes_out=2500, decoding=True)
    assert decoded.line() == "2 of 3 files decoded, 1 not yet decoded; 1.0 kB -> 2.5 kB; 0.0 s"
    assert decoded.facts()["saved_percent"] is None
    larger = Report(done=1, bytes_in=100, bytes_out=950)
    assert larger.line() == "1 of 1 files coded; 100 B -> 950 B, 850.0 % larger; 0.0 s"
    assert Report().facts()["saved_percent"] is None
