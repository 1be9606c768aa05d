"""The plots hold the figures they claim to hold."""

import math
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.lines import Line2D
from PIL import Image
from synthetic import CODECS, EVIL, PICTURES, SETTINGS, STREAMS, results, sample

from dcacodec.bench.plots import anchor_series, codec_series, draw, write_plots
from dcacodec.bench.results import Anchor, Mean, MeasuredCodec, Results, Sample
from dcacodec.bench.summary import deficits, opponents, speed
from dcacodec.metrics.curves import Curve, bd_rate, ms_ssim_decibels
from dcacodec.plotting.plot import FAINT, INK, MUTED, PAPER, Plot

NAMES = ["rate-psnr", "rate-ms-ssim", "rate-ssimulacra2", "rate-speed", "streams"]


@pytest.fixture(scope="module")
def plots() -> dict[str, Plot]:
    return {plot.name: plot for plot in draw(results())}


def line(plot: Plot, gid: str) -> Line2D:
    """The series of this identifier."""
    (found,) = [line for axes in plot.figure.axes for line in axes.lines if line.get_gid() == gid]
    return found


def psnr_of(mean: Mean) -> float:
    value = mean.quality["psnr"]
    assert value is not None
    return value


def points(plot: Plot, gid: str) -> list[tuple[float, float]]:
    return list(zip(*(map(float, np.asarray(data)) for data in line(plot, gid).get_data()), strict=True))


# ----------------------------------------------------------------------------------------------------- means, summary


def test_means_are_those_of_the_pictures_values() -> None:
    means = results().means("dcacodec")
    assert [mean.setting for mean in means] == list(SETTINGS)
    for mean in means:
        pair = [sample(0, mean.setting, picture) for picture in range(2)]
        assert mean.pictures == 2
        assert mean.bpp == fmean(8 * each.size / (each.width * each.height) for each in pair)
        assert list(mean.quality) == ["psnr", "ms-ssim", "ssimulacra2"]
        for name, value in mean.quality.items():
            assert value == fmean(known for each in pair if (known := each.quality[name]) is not None)
        assert (mean.encode, mean.decode) == (fmean(e.encode for e in pair), fmean(e.decode for e in pair))
        assert list(mean.streams) == list(STREAMS)
        assert sum(mean.streams.values()) == pytest.approx(mean.bpp, rel=1e-12)


def test_a_metric_that_one_picture_lacks_has_no_mean() -> None:
    given = results()
    first, *rest = given.samples
    lacking = replace(given, samples=(replace(first, quality={**first.quality, "ms-ssim": None}), *rest))
    mean = lacking.means("dcacodec")[0]
    assert mean.quality["ms-ssim"] is None and mean.quality["ssimulacra2"] is not None
    with pytest.raises(ValueError, match=r"\bdcacodec\b.*\bMS-SSIM\b"):
        lacking.curve("dcacodec", "ms-ssim")


def test_means_over_fewer_pictures_are_in_no_curve() -> None:
    given = results()
    assert [mean.pictures for mean in given.means("webp")] == [2, 2, 2, 2, 1]
    assert [mean.setting for mean in given.whole("webp")] == list(SETTINGS[:4])
    assert given.curve("webp") == Curve(
        "webp", tuple(m.bpp for m in given.means("webp")[:4]), tuple(psnr_of(m) for m in given.means("webp")[:4])
    )
    without = replace(given, samples=tuple(each for each in given.samples if each.picture == PICTURES[0]))
    assert without.whole("jpeg") == () and len(without.means("jpeg")) == 5
    with pytest.raises(ValueError):
        without.curve("jpeg")


def test_comparisons_are_with_everything_else() -> None:
    given = results()
    jpeg, webp, vtm, far = opponents(given)
    assert [each.name for each in (jpeg, webp, vtm, far)] == ["jpeg", "webp", "vtm", "far"]
    assert (jpeg.label, webp.label, vtm.label, far.label) == ("JPEG (Pillow)", EVIL, "vtm", "far")
    # At equal quality dcacodec's files are 0.6 times JPEG's and 0.75 times WebP's, but for the rounding to bytes.
    assert list(jpeg.by_metric) == list(webp.by_metric) == ["psnr", "ms-ssim", "ssimulacra2"]
    for metric in given.metrics:
        assert jpeg.by_metric[metric].rates["akima"].percent == pytest.approx(-40, abs=0.05)
        assert webp.by_metric[metric].rates["pchip"].percent == pytest.approx(-25, abs=0.05)
    anchor = given.anchors[0].curve
    assert list(vtm.by_metric) == ["psnr"]
    assert vtm.by_metric["psnr"].rates == {m: bd_rate(anchor, given.curve("dcacodec"), m) for m in ("akima", "pchip")}
    assert (jpeg.source, vtm.source) == (None, "figures of nobody")
    assert far.by_metric["psnr"].rates == {}
    assert far.by_metric["psnr"].reason == "far and dcacodec have no PSNR in common"
    assert opponents(replace(given, codecs=(), samples=())) == []


def test_a_metric_that_falls_with_quality_is_turned() -> None:
    """Butteraugli of 8 to 1: half the bits for the same."""
    given = results()
    samples = tuple(replace(each, quality={"butteraugli": 8 - 7 * each.setting / 100}) for each in given.samples)
    jpeg, *_ = opponents(replace(given, samples=samples))
    assert jpeg.by_metric["butteraugli"].rates["akima"].percent == pytest.approx(-40, abs=0.05)


def test_pictures_where_the_first_codec_loses_come_first() -> None:
    """At equal bytes the first needs 0.75 times WebP's bytes, so it is ahead by 20 log2(4 / 3); on the second picture
    another codec has 30 points more than it should.
    """
    given = results()
    ahead = 20 * math.log2(4 / 3)
    samples = tuple(
        replace(each, quality={"ssimulacra2": (each.quality["ssimulacra2"] or 0) + 30})
        if (each.codec, each.picture) == ("jpeg", PICTURES[1])
        else each
        for each in given.samples
    )
    metric, (first, second) = deficits(replace(given, samples=samples))
    assert metric == "ssimulacra2"
    assert (first.picture, first.codec) == (PICTURES[1], "JPEG (Pillow)")
    assert first.value == pytest.approx(30 - 20 * math.log2(1 / 0.6), abs=0.1)
    assert (second.picture, second.codec) == (PICTURES[0], EVIL)
    assert second.value == pytest.approx(-ahead, abs=0.1)
    assert (first.text, second.text) == (f"{first.value:.1f} lower", f"{-second.value:.1f} higher")
    assert len(deficits(replace(given, codecs=given.codecs[:2]))[1]) == len(PICTURES)
    assert deficits(replace(given, codecs=given.codecs[:1])) == ("", [])
    apart = tuple(replace(each, size=each.size * 1000) if each.codec == "dcacodec" else each for each in given.samples)
    assert deficits(replace(given, samples=apart)) == ("ssimulacra2", [])


def test_decibels_and_speed() -> None:
    assert ms_ssim_decibels(0.99) == pytest.approx(20, abs=1e-9) and ms_ssim_decibels(1.0) == math.inf
    pair = [sample(0, 10.0, 0), sample(0, 10.0, 1)]
    assert speed(pair, "encode") == pytest.approx((300 * 200 + 400 * 200) / 1e6 / (2 * 0.12 * 1.1), rel=1e-12)
    assert speed(pair, "decode") == pytest.approx((300 * 200 + 400 * 200) / 1e6 / (2 * 0.125 * 1.1), rel=1e-12)
    assert speed([replace(pair[0], decode=0.0)], "decode") == math.inf


# -------------------------------------------------------------------------------------------------------------- plots


def test_every_series_has_the_means(plots: dict[str, Plot]) -> None:
    given = results()
    for name, *_ in CODECS:
        means = given.whole(name)
        assert points(plots["rate-psnr"], f"codec-{name}") == [(mean.bpp, psnr_of(mean)) for mean in means]
        assert points(plots["rate-ms-ssim"], f"codec-{name}") == [
            (mean.bpp, -10 * math.log10(1 - (mean.quality["ms-ssim"] or 0))) for mean in means
        ]
        assert points(plots["rate-ssimulacra2"], f"codec-{name}") == [(m.bpp, m.quality["ssimulacra2"]) for m in means]
    for anchor in given.anchors:
        assert points(plots["rate-psnr"], f"anchor-{anchor.curve.name}") == list(
            zip(anchor.curve.bpp, anchor.curve.quality, strict=True)
        )
    assert {line.get_gid() for line in plots["rate-ms-ssim"].figure.axes[0].lines} == {f"codec-{c[0]}" for c in CODECS}


def test_series_are_distinguishable_without_colour() -> None:
    codecs = tuple(MeasuredCodec(f"c{i}", f"c{i}", SETTINGS) for i in range(10))
    anchors = tuple(Anchor(Curve(f"a{i}", (0.1, 1.0), (30.0, 40.0 + i)), "") for i in range(12))
    given = Results("many", PICTURES, codecs, (), anchors)
    styles = [series.style for series in codec_series(given)]
    assert len({style["marker"] for style in styles}) == 10
    dashed = [series.style for series in anchor_series(given)]
    assert len({(style["color"], style["linestyle"]) for style in dashed}) == 12
    assert not {style["color"] for style in styles + dashed} & {INK, MUTED, FAINT, PAPER}  # which the page replaces


def test_rate_against_speed(plots: dict[str, Plot]) -> None:
    given = results()
    jpeg = given.curve("jpeg")
    for i, (name, *_) in enumerate(CODECS):
        percent = 0.0 if name == "jpeg" else bd_rate(jpeg, given.curve(name)).percent
        settings = [mean.setting for mean in given.whole(name)]
        taken = [sample(i, setting, picture) for setting in settings for picture in range(2)]
        for task in ("encode", "decode"):
            seconds = sum(getattr(each, task) for each in taken)
            ((x, y),) = points(plots["rate-speed"], f"{task}-codec-{name}")
            assert x == pytest.approx(0.14 * len(settings) / seconds, rel=1e-12) and y == percent
    assert "against JPEG (Pillow)" in plots["rate-speed"].caption


def test_rate_against_speed_in_a_window() -> None:
    given, window = results(), (0.3, 0.7)
    (plot,) = [plot for plot in draw(given, window) if plot.name == "rate-speed"]
    ((_, y),) = points(plot, "decode-codec-dcacodec")
    assert y == bd_rate(given.curve("jpeg"), given.curve("dcacodec"), window=window).percent
    assert "Between 0.3 and 0.7 bits per pixel." in plot.caption


def test_bits_of_the_streams(plots: dict[str, Plot]) -> None:
    absolute, share = plots["streams"].figure.axes
    means = results().means("dcacodec")
    for axes, kind, total in ((absolute, "bits", [mean.bpp for mean in means]), (share, "share", [100.0] * len(means))):
        assert len(axes.patches) == len(STREAMS) * len(means)
        tops = [0.0] * len(means)
        for i, patch in enumerate(axes.patches):
            stream, mean = list(STREAMS)[i // len(means)], means[i % len(means)]
            assert patch.get_gid() == f"{kind}-dcacodec-{stream}-{mean.setting:g}"
            height = patch.get_height()  # type: ignore[attr-defined]
            assert height == pytest.approx(mean.streams[stream] / mean.bpp * total[i % len(means)], rel=1e-9)
            tops[i % len(means)] += height
        assert tops == pytest.approx(total, rel=1e-9)
    assert [tick.get_text() for tick in absolute.get_xticklabels()] == ["10", "30", "50", "70", "90"]


def lossless_one(sample: Sample) -> Sample:
    return replace(sample, quality={**sample.quality, "psnr": math.inf, "ms-ssim": 1.0})


def test_only_what_has_values_is_drawn() -> None:
    given = results()
    bare = replace(
        given, samples=tuple(replace(s, quality={**s.quality, "ms-ssim": None}, streams={}) for s in given.samples)
    )
    assert [plot.name for plot in draw(bare)] == ["rate-psnr", "rate-ssimulacra2", "rate-speed"]
    single = replace(given, codecs=given.codecs[:1], samples=given.samples[:10], anchors=(), failures=())
    assert [plot.name for plot in draw(single)] == ["rate-psnr", "rate-ms-ssim", "rate-ssimulacra2", "streams"]
    assert draw(replace(given, samples=())) == []
    lossless = replace(single, samples=tuple(map(lossless_one, single.samples)))
    assert [plot.name for plot in draw(lossless)] == ["rate-ssimulacra2", "streams"]


def test_captions_say_what_was_left_out(plots: dict[str, Plot]) -> None:
    left_out = "Settings at which a picture failed are left out."
    assert plots["rate-psnr"].caption.endswith(left_out) and plots["streams"].caption.endswith(left_out)
    given = results()
    lone = [s for s in given.samples if s.codec != "webp" or s.setting == 10.0]
    (caption,) = [p.caption for p in draw(replace(given, samples=tuple(lone), failures=())) if p.name == "rate-speed"]
    assert caption.endswith(f"Without a curve that can be compared: {EVIL}.")
    assert not any(left_out in plot.caption for plot in draw(replace(given, failures=())))


def test_files(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    paths = write_plots(results(), tmp_path)
    assert paths == [tmp_path / f"{name}.{form}" for name in NAMES for form in ("png", "svg")]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert dict(matplotlib.rcParams) == before
    for path in paths:
        content = path.read_bytes()
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert image.format == "PNG" and image.width == 1024 and set(image.info) <= {"dpi"}
        else:
            root = ElementTree.fromstring(content)
            assert root.tag == "{http://www.w3.org/2000/svg}svg"
            assert b"<dc:date>" not in content
            identifiers = {element.get("id") for element in root.iter()}
            text = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
            if path.stem.startswith("rate-"):
                assert {label for _, label, *_ in CODECS} <= text  # the evil one too, and as text
                gids = {f"{'encode-' * (path.stem == 'rate-speed')}codec-{name}" for name, *_ in CODECS}
                assert gids <= identifiers
            if path.stem == "rate-psnr":
                assert {"anchor-vtm", "anchor-far"} <= identifiers and {"vtm", "far"} <= text


def test_the_same_results_give_the_same_bytes(plots: dict[str, Plot]) -> None:
    again = {plot.name: plot for plot in draw(results())}
    assert list(again) == NAMES
    for name in ("rate-psnr", "streams"):
        assert again[name].render("svg") == plots[name].render("svg")
    assert again["rate-speed"].render("png") == plots["rate-speed"].render("png")


def test_names_that_are_no_text() -> None:
    given = results()
    codecs = (replace(given.codecs[0], label="bell\x07, half \udc80, $x$, " + "long " * 20), *given.codecs[1:])
    anchor = replace(given.anchors[0], curve=replace(given.anchors[0].curve, name='"><b>\x00'))
    (plot, *_) = draw(replace(given, dataset="\x1b[2J\ud800", codecs=codecs, anchors=(anchor,)))
    root = ElementTree.fromstring(plot.render("svg"))
    text = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"bell\ufffd, half \ufffd, $x$, long long long long lon…", "PSNR over rate, \ufffd[2J\ufffd"} <= text
    assert '"><b>\ufffd' in text
    assert "anchor-___b__" in {element.get("id") for element in root.iter()}
    assert plot.render("png").startswith(b"\x89PNG")
