"""The text of a report says what the results say."""

from dataclasses import replace

from synthetic import results

from dcacodec.bench.report import as_text
from dcacodec.bench.results import Results
from dcacodec.bench.summary import opponents


def told(given: Results) -> list[str]:
    return as_text(given, opponents(given), "akima", None).splitlines()


def test_who_needs_fewer_bytes() -> None:
    given = results()
    ours, jpeg, *_ = given.codecs
    assert f"dcacodec needs 40.0 % fewer bytes than {jpeg.label} for the same SSIMULACRA 2" in told(given)
    turned = told(replace(given, codecs=(jpeg, ours)))
    assert f"jpeg needs 66.7 % more bytes than {ours.label} for the same SSIMULACRA 2" in turned


def test_where_bytes_do_not_rise_with_the_setting() -> None:
    given = results()
    only = replace(given, codecs=given.codecs[:1], anchors=())
    assert "bytes: the means rise at every step; the values of single pictures rise at 8 of 8 steps" in told(only)
    samples = tuple(replace(each, size=each.size // (4 if each.setting == 50 else 1)) for each in given.samples)
    lines = told(replace(only, samples=samples))
    wanted = "bytes: the means DO NOT RISE from 30 to 50; the values of single pictures rise at 6 of 8 steps"
    assert wanted in lines
    assert "PSNR: the means rise at every step; the values of single pictures rise at 8 of 8 steps" in lines


def test_nothing_is_said_of_the_order_of_values_that_are_missing() -> None:
    given = results()
    samples = tuple(
        replace(each, quality={**each.quality, "ms-ssim": None if each.picture == given.pictures[0] else 0.9})
        for each in given.samples
    )
    lines = told(replace(given, codecs=given.codecs[:1], samples=samples, anchors=()))
    assert not [line for line in lines if line.startswith("MS-SSIM: the means")]
    assert [line for line in lines if line.startswith("PSNR: the means")]


def test_names_do_not_control_the_terminal() -> None:
    given, odd = results(), "two\x1b[31m\nlines\u202e"
    samples = tuple(replace(each, picture=odd if each.picture == "one.png" else each.picture) for each in given.samples)
    pictures = tuple(odd if name == "one.png" else name for name in given.pictures)
    failures = tuple(replace(each, picture=odd) for each in given.failures)
    lines = told(replace(given, dataset=odd, pictures=pictures, samples=samples, failures=failures))
    assert not [line for line in lines if "\x1b" in line or "\u202e" in line or line.startswith("lines")]
    assert [line for line in lines if r"two\x1b[31m lines\u202e" in line]
