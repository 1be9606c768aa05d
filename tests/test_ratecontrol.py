"""Aiming at a size, a rate or a PSNR: the search against trying all qualities, and the options of `encode`."""

import io
import json
import math
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from picture_files import profile
from PIL import Image
from tiny import photo

from dcacodec import read_picture
from dcacodec.api import default_codec
from dcacodec.cli.app import cli
from dcacodec.codec.codec import Codec
from dcacodec.codec.rate_control import USUAL_TRIES, search
from dcacodec.codec.targets import Target, TargetedFile, byte_limit, outcome
from dcacodec.errors import ImageError
from dcacodec.format.quality import quality_of, tenths_of
from dcacodec.format.reader import parse
from dcacodec.images.picture import Picture
from dcacodec.metrics.psnr import psnr
from dcacodec.ratecontrol import MaxBpp, MaxBytes, MinPsnr, MinSsimulacra2, encode_to

FLAT = Picture(np.full((10, 20, 3), 100, np.uint8))


@cache
def wrong(count: int) -> float:
    """The PSNR where so many of the 600 samples of `FLAT` are wrong by one."""
    pixels = FLAT.pixels.copy()
    pixels.reshape(-1)[:count] += 1
    return psnr(FLAT.pixels, pixels)


def found(target: Target, sizes: list[int], errors: list[int] | None = None, progress: Any = None) -> TargetedFile:
    """What a search finds where each quality has a file of a size, and so many samples that are wrong by one."""

    def attempt(quality: float) -> TargetedFile:
        place = tenths_of(quality) - 10
        data = bytes(sizes[place])
        if isinstance(target, MaxBytes | MaxBpp):
            return TargetedFile(data, quality, None, len(data) <= byte_limit(target, FLAT))
        reached = wrong((errors or [0] * len(sizes))[place])
        return TargetedFile(data, quality, reached, reached >= target.least)

    aim = MaxBytes(max(1, byte_limit(target, FLAT))) if isinstance(target, MaxBpp) else target
    return search(aim, attempt, progress)


ALL = [quality_of(tenths) for tenths in range(10, 1001)]
RISING = [round(100 * math.exp(0.03 * quality)) for quality in ALL]
"""About as files of photographs grow."""
FALLING = [round(600 * math.exp(-0.04 * quality)) for quality in ALL]
LEVELS = [wrong(count) for count in FALLING]


def best_of(target: MaxBytes | MinPsnr, sizes: list[int], errors: list[int]) -> int:
    """The bytes of the file that trying all qualities finds; 0 where none meets the target."""
    if isinstance(target, MaxBytes):
        return max((size for size in sizes if size <= target.count), default=0)
    met = (size for size, count in zip(sizes, errors, strict=True) if wrong(count) >= target.decibels)
    return min(met, default=0)


@given(st.integers(1, 3000))
def test_the_largest_file_that_fits(limit: int) -> None:
    result = found(MaxBytes(limit), RISING)
    assert result.target_met == (limit >= RISING[0])
    assert len(result.data) == (best_of(MaxBytes(limit), RISING, FALLING) or RISING[0])
    assert result.tries <= USUAL_TRIES
    assert result.reached is None


@given(st.integers(0, 10**6), st.integers(1, 9100))
def test_the_same_with_uneven_steps(seed: int, limit: int) -> None:
    rising = sorted((np.random.default_rng(seed).choice(9000, 991, replace=False) + 1).tolist())
    result = found(MaxBytes(limit), rising)
    assert len(result.data) == (best_of(MaxBytes(limit), rising, FALLING) or rising[0])
    assert result.tries <= 3 * USUAL_TRIES


@given(st.sampled_from(ALL), st.sampled_from([0.0, -1e-9, 1e-9]))
def test_the_smallest_file_that_is_as_good(quality: float, margin: float) -> None:
    target = MinPsnr(LEVELS[ALL.index(quality)] + margin)
    result = found(target, RISING, FALLING)
    best = best_of(target, RISING, FALLING)
    assert (len(result.data), result.target_met) == (best or RISING[-1], best > 0)
    assert result.reached == LEVELS[ALL.index(result.quality)]
    assert result.tries <= 2 * USUAL_TRIES  # near 100 many qualities are equally good here


@given(st.integers(1, 989), st.integers(150, 2000))
def test_exceptions_cost_little(place: int, limit: int) -> None:
    """Two neighbours the wrong way round, anywhere: within a per cent of what trying all would find."""
    sizes = list(RISING)
    sizes[place - 1], sizes[place] = sizes[place], sizes[place - 1]
    result = found(MaxBytes(limit), sizes)
    assert 0.99 * limit - 1 <= len(result.data) <= limit


@given(st.integers(200, 900), st.floats(0.7, 3))
def test_similarity_that_falls_again(peak: int, short: float) -> None:
    """A drawing that is best at some quality and gets worse beyond it: what reaches the target there is found."""
    errors = [1 + abs(tenths - peak) // 2 for tenths in range(10, 1001)]
    target = MinPsnr(wrong(1 + round(10 * short)))
    result = found(target, RISING, errors)
    assert result.target_met
    assert len(result.data) <= 1.01 * best_of(target, RISING, errors)
    unreachable = found(MinPsnr(99), RISING, [count + 1 for count in errors])
    assert not unreachable.target_met
    assert abs(unreachable.quality - peak / 10) <= 1


def test_a_rate_is_a_size() -> None:
    assert byte_limit(MaxBpp(4.0), FLAT) == 100
    assert byte_limit(MaxBpp(4.039), FLAT) == 100
    assert found(MaxBpp(8.0), RISING) == found(MaxBytes(200), RISING)


def test_progress_ends_where_the_search_ends() -> None:
    for target in (MaxBytes(555), MaxBytes(1), MaxBytes(10**6), MinPsnr(50.0)):
        told: list[tuple[int, int]] = []
        result = found(target, RISING, FALLING, lambda *step, told=told: told.append(step))
        assert told[0] == (0, USUAL_TRIES)
        assert told[-1] == (result.tries, result.tries)
        assert [done for done, _ in told[:-1]] == list(range(result.tries + 1))


def test_outcomes_are_told() -> None:
    def told(target: MaxBytes | MaxBpp | MinPsnr) -> str:
        return outcome(target, found(target, RISING, FALLING), FLAT)

    assert re.fullmatch(r"55\d bytes for a target of 555 \((99\.\d|100\.0) %\), \d tries", told(MaxBytes(555)))
    assert re.fullmatch(
        r"103 bytes for a target of 4 \(2575\.0 %\), \d tries; the target is not met: .*", told(MaxBytes(4))
    )
    assert re.fullmatch(r"103 bytes for a target of 0, \d tries; the target is not met: .*", told(MaxBpp(0.001)))
    assert re.fullmatch(
        r"2009 bytes for a target of 9\d{18} \(0.0 %\), \d tries; there is no higher quality", told(MaxBpp(1e308))
    )
    assert re.fullmatch(r"5\d\.\d\d dB for a target of 53 dB, \d+ tries", told(MinPsnr(53)))
    expected = r"65\.\d\d dB for a target of 99 dB, \d tries; the target is not met: .*--lossless.*"
    assert re.fullmatch(expected, told(MinPsnr(99)))


@pytest.mark.parametrize("number", [0, -1, float("nan"), float("inf")])
def test_targets_are_positive_and_finite(number: float) -> None:
    for kind in (MaxBpp, MinPsnr):
        with pytest.raises(ValueError, match=r"^a target .* must be above 0"):
            kind(number)
    if number != float("inf"):
        with pytest.raises(ValueError, match=r"^a target size must be above 0 bytes"):
            MaxBytes(cast(int, number))


def test_any_positive_number_is_a_target() -> None:
    assert [MaxBytes(1).count, MaxBpp(1e-9).bits, MinPsnr(1e-9).decibels] == [1, 1e-9, 1e-9]
    assert [MinSsimulacra2(score).score for score in (-1e9, 100)] == [-1e9, 100]


# ------------------------------------------------------------------------------------------------ with the real codec


NOISE = np.random.default_rng(1).bytes(500)
PICTURE = Picture(photo(60, 90), alpha=photo(60, 90, 1)[..., 0].copy(), icc=profile(), exif=b"II*\0" * 20)


@pytest.fixture(scope="module")
def files(codec: Codec) -> list[bytes]:
    """Of whole qualities."""
    return [codec.encode(PICTURE, quality=quality) for quality in range(1, 101)]


@pytest.mark.parametrize("target", [200_000, None, "1000"])
def test_a_number_is_no_target(target: Any, codec: Codec) -> None:
    with pytest.raises(TypeError):
        encode_to(codec, PICTURE, target)


@pytest.mark.slow
@pytest.mark.parametrize("target", [MaxBytes(3900), MaxBpp(5.9), MinPsnr(24.0)], ids=str)
def test_it_is_at_least_what_trying_whole_qualities_finds(codec: Codec, files: list[bytes], target: Any) -> None:
    result = encode_to(codec, PICTURE, target)
    assert result.data == codec.encode(PICTURE, quality=result.quality)
    assert result.target_met
    if isinstance(target, MinPsnr):
        levels = [psnr(PICTURE.pixels, codec.decode(file).pixels) for file in files]
        assert result.reached == psnr(PICTURE.pixels, codec.decode(result.data).pixels) >= target.decibels
        met = min(len(file) for file, level in zip(files, levels, strict=True) if level >= target.decibels)
        assert len(result.data) <= 1.01 * met
    else:
        limit = byte_limit(target, PICTURE)
        assert max(len(file) for file in files if len(file) <= limit) / 1.01 <= len(result.data) <= limit


def test_a_rate_makes_the_file_of_its_size(codec: Codec) -> None:
    source = Picture(photo(20, 30))
    fitting = len(codec.encode(source, quality=40))
    for bits, limit, met in ((fitting * 8 / 600, fitting, True), (0.001, 1, False)):
        result = encode_to(codec, source, MaxBpp(bits))
        assert result.target_met == met and result.data == encode_to(codec, source, MaxBytes(limit)).data


# ---------------------------------------------------------------------------------------------------------- the command


def call(*arguments: str, stdin: bytes) -> Result:
    return CliRunner().invoke(cli, ["encode", "--device", "cpu", *arguments], input=stdin, prog_name="dcacodec")


@pytest.fixture(scope="module")
def source() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.dstack((PICTURE.pixels, cast(Any, PICTURE.alpha)))).save(
        buffer, "PNG", icc_profile=PICTURE.icc, exif=b"II*\0\x08\0\0\0\1\0\x0f\1\2\0\4\0\0\0Me!\0\0\0\0\0"
    )
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def _pillow_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """`encode` lifts Pillow's limit for its process; here that is the process of the tests."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)


@pytest.mark.parametrize(
    ("option", "target"),
    [
        pytest.param(("--target-size", "3.9KB"), MaxBytes(3900), marks=pytest.mark.slow),
        pytest.param(("--target-size", "3.8 KiB"), MaxBytes(3891), marks=pytest.mark.slow),
        pytest.param(("--target-size", "3900"), MaxBytes(3900), marks=pytest.mark.slow),
        pytest.param(("--target-size", "3900b"), MaxBytes(3900), marks=pytest.mark.slow),
        pytest.param(("--target-bpp", "5.9"), MaxBpp(5.9), marks=pytest.mark.slow),
        (("--target-psnr", "24"), MinPsnr(24)),
        (("--target-size", "0.001MB"), MaxBytes(1000)),
    ],
    ids=str,
)
def test_targets_on_the_command_line(source: bytes, option: tuple[str, str], target: Any, tmp_path: Path) -> None:
    path = tmp_path / "photo.dca"
    result = call(*option, "-", str(path), stdin=source)
    picture = read_picture(io.BytesIO(source))
    expected = encode_to(default_codec(), picture, target)
    assert (result.exit_code, result.stdout, path.read_bytes()) == (0, "", expected.data)
    reported, summary = result.stderr.splitlines()
    warned = "" if expected.target_met else "dcacodec: warning: standard input: "
    assert reported == f"{warned}quality {expected.quality}: {outcome(target, expected, picture)}"
    assert summary.startswith(f"stdin -> {path} {len(expected.data)} bytes ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--target-size", "1KB", "--target-bpp", "1"), "--target-bpp and --target-size exclude each other."),
        (("--quality", "50", "--target-psnr", "30"), "--quality and --target-psnr exclude each other."),
        (("-q", "3", "--target-size", "9"), "--quality and --target-size exclude each other."),
        (("--target-size", "1XB"), "'1XB' is not a size such as 200KB, 1.5MB, 180KiB or 200000."),
        (("--target-size", "0.9"), "'0.9' is not a size such as 200KB, 1.5MB, 180KiB or 200000."),
        (("--target-size", "-5"), "'-5' is not a size such as 200KB, 1.5MB, 180KiB or 200000."),
        (("--target-size", "1e3"), "'1e3' is not a size such as 200KB, 1.5MB, 180KiB or 200000."),
        (("--target-bpp", "0"), "0.0 is not a number above 0."),
        (("--target-bpp", "nan"), "nan is not a number above 0."),
        (("--target-psnr", "inf"), "inf is not a number above 0."),
    ],
    ids=str,
)
def test_wrong_targets_are_reported(options: tuple[str, ...], message: str, source: bytes, tmp_path: Path) -> None:
    result = call(*options, "-", str(tmp_path / "photo.dca"), stdin=source)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1].endswith(message)
    assert list(tmp_path.iterdir()) == []


def test_strip_leaves_out_metadata_and_keeps_alpha(source: bytes, tmp_path: Path) -> None:
    path = tmp_path / "photo.dca"

    def metadata() -> list[str]:
        return [chunk.tag for chunk in parse(path.read_bytes()).chunks if chunk.tag != "FULL"]

    assert call("--strip", "all", "-", str(path), stdin=source).exit_code == 0
    assert metadata() == ["ALPH"]
    picture = read_picture(io.BytesIO(source))
    assert path.read_bytes() == default_codec().encode(picture.stripped())
    assert call("-", str(path), stdin=source).exit_code == 0
    assert metadata() == ["ALPH", "icCZ", "exIF"]
    for kinds, left in (("exif,xmp", ["ALPH", "icCZ"]), ("icc", ["ALPH", "exIF"]), ("icc,all", ["ALPH"])):
        assert call("--strip", kinds, "-", str(path), stdin=source).exit_code == 0
        assert metadata() == left
    result = call("--strip", "gps", "-", str(path), stdin=source)
    assert (result.exit_code, "gps" in result.stderr.splitlines()[-1]) == (2, True)


@pytest.mark.slow
def test_what_travels_along_counts(source: bytes, tmp_path: Path) -> None:
    """The same limit leaves less for the picture where there is more beside it."""
    limit = len(default_codec().encode(read_picture(io.BytesIO(source)), quality=30))
    qualities = []
    for strip in ([], ["--strip", "all"]):
        path = tmp_path / "photo.dca"
        assert call(*strip, "--target-size", str(limit), "-", str(path), stdin=source).exit_code == 0
        assert len(path.read_bytes()) <= limit
        qualities.append(parse(path.read_bytes()).header.quality)
    assert qualities[0] < qualities[1]


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "kept"), [(3900, True), (100, False)])
def test_scripts_see_whether_a_target_is_kept_to(source: bytes, limit: int, kept: bool, tmp_path: Path) -> None:
    result = call("--json", "--quiet", "--target-size", str(limit), "-", str(tmp_path / "photo.dca"), stdin=source)
    facts = json.loads(result.stdout)
    assert (result.exit_code, result.stderr, facts["target_met"]) == (0, "", kept)
    told = call("--target-size", str(limit), "-", str(tmp_path / "photo.dca"), stdin=source).stderr
    assert told.startswith("dcacodec: warning: standard input: ") != kept
    picture = read_picture(io.BytesIO(source))
    expected = encode_to(default_codec(), picture, MaxBytes(limit))
    assert facts["tries"] == expected.tries
    assert facts.get("psnr") == expected.reached


def test_metadata_that_leave_no_room_are_reported(codec: Codec) -> None:
    target, picture = MaxBytes(900), replace(PICTURE, icc=NOISE[:500], exif=b"II" + NOISE[:300], xmp=NOISE[:40])
    result = encode_to(codec, picture, target)
    assert outcome(target, result, picture).endswith(
        "; the target is not met: no quality that was tried gives so small a file: 842 bytes are ICC profile, EXIF "
        "and XMP data (--strip all leaves them out)"
    )


# ------------------------------------------------------------------------------------------------------- SSIMULACRA 2


@pytest.mark.slow
def test_the_smallest_file_that_looks_as_good(codec: Codec) -> None:
    """The reported score is that of the decoded file, and the next lower quality does not reach the target.

    The kept network crosses this target only once, between qualities 10 (-45) and 11 (-32 or more).
    """
    pixels, target = photo(96, 80), MinSsimulacra2(-40)
    result = encode_to(codec, Picture(pixels), target)
    assert result.target_met and 5 < result.quality < 20
    assert result.reached == target.measure(pixels, codec.decode(result.data).pixels) >= -40
    lower = codec.encode(Picture(pixels), quality=result.quality - 1)
    assert target.measure(pixels, codec.decode(lower).pixels) < -40
    exact = encode_to(codec, Picture(pixels), MinSsimulacra2(100))  # with a lossless slice
    assert exact.target_met and np.array_equal(codec.decode(exact.data).pixels, pixels)


def test_hidden_pixels_do_not_count(codec: Codec) -> None:
    """Neither as errors nor as pixels that have none."""
    pixels, shown = photo(96, 128), np.zeros((96, 128), np.uint8)
    shown[32:64, 32:64] = 200
    for target in (MinPsnr(24), MinPsnr(28)):
        result = encode_to(codec, Picture(pixels, alpha=shown), target)
        decoded = codec.decode(result.data).pixels[32:64, 32:64]
        assert result.reached == pytest.approx(psnr(pixels[32:64, 32:64].copy(), decoded.copy()), abs=1e-9)
        assert result.target_met and 1 < result.quality < 100
    nothing = encode_to(codec, Picture(pixels, alpha=np.zeros_like(shown)), MinPsnr(40))
    assert nothing.target_met and nothing.reached == math.inf


def test_a_picture_too_small_for_ssimulacra_2_is_reported(codec: Codec) -> None:
    with pytest.raises(ImageError, match="8 pixels"):
        encode_to(codec, Picture(photo(7, 90)), MinSsimulacra2(50))


@pytest.mark.parametrize("score", [math.nan, math.inf, 100.1])
def test_scores_that_cannot_be(score: float) -> None:
    with pytest.raises(ValueError, match="100"):
        MinSsimulacra2(score)
    result = call("--target-ssimulacra2", str(score), "-", "out.dca", stdin=b"")
    assert result.exit_code == 2 and not Path("out.dca").exists()


def test_the_option(source: bytes, tmp_path: Path) -> None:
    result = call("--json", "--quiet", "--target-ssimulacra2", "-500", "-", str(tmp_path / "photo.dca"), stdin=source)
    facts = json.loads(result.stdout)
    assert facts["target_met"] and facts["ssimulacra2"] >= -500 and "psnr" not in facts
