"""Aiming at a size, a rate or a PSNR: the search against trying all hundred qualities, and the options of `encode`."""

import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny import photo

from dcacodec import read_picture
from dcacodec.api import default_codec
from dcacodec.cli.app import cli
from dcacodec.codec.codec import Codec
from dcacodec.codec.rate_control import USUAL_TRIES, search
from dcacodec.codec.targets import Target, TargetedFile, byte_limit, outcome
from dcacodec.errors import ImageError
from dcacodec.format.reader import parse
from dcacodec.images.picture import Picture
from dcacodec.metrics.psnr import psnr
from dcacodec.ratecontrol import MaxBpp, MaxBytes, MinPsnr, MinSsimulacra2, encode_to

FLAT = Picture(np.full((10, 20, 3), 100, np.uint8))


def wrong(count: int) -> float:
    """The PSNR where so many of the 600 samples of `FLAT` are wrong by one."""
    pixels = FLAT.pixels.copy()
    pixels.reshape(-1)[:count] += 1
    return psnr(FLAT.pixels, pixels)


def found(target: Target, sizes: list[int], errors: list[int] | None = None, progress: Any = None) -> TargetedFile:
    """What a search finds where each quality has a file of a size, and so many samples that are wrong by one."""

    def attempt(quality: int) -> TargetedFile:
        data = bytes([quality]) * sizes[quality - 1]
        if isinstance(target, MaxBytes | MaxBpp):
            return TargetedFile(data, quality, None, len(data) <= byte_limit(target, FLAT))
        reached = wrong((errors or [0] * 100)[quality - 1])
        return TargetedFile(data, quality, reached, reached >= target.least)

    return search(target, attempt, progress)


RISING = [10 * quality for quality in range(1, 101)]
FALLING = [601 - 6 * quality for quality in range(1, 101)]
LEVELS = [wrong(count) for count in FALLING]


@given(st.integers(1, 1200))
def test_the_largest_file_that_fits(limit: int) -> None:
    result = found(MaxBytes(limit), RISING)
    assert (result.quality, result.target_met) == (max(1, min(limit // 10, 100)), limit >= 10)
    assert len(result.data) == 10 * result.quality
    assert result.tries <= USUAL_TRIES
    assert result.reached is None


@given(st.sets(st.integers(1, 1200), min_size=100, max_size=100), st.integers(1, 1300))
def test_the_same_with_uneven_steps(sizes: set[int], limit: int) -> None:
    rising = sorted(sizes)
    result = found(MaxBytes(limit), rising)
    fitting = [size for size in rising if size <= limit]
    assert len(result.data) == (fitting[-1] if fitting else rising[0])


@given(st.integers(1, 100))
def test_the_smallest_file_that_is_as_good(quality: int) -> None:
    for margin, expected in ((0.0, quality), (-1e-9, quality), (1e-9, quality + 1)):
        result = found(MinPsnr(LEVELS[quality - 1] + margin), RISING, FALLING)
        assert (result.quality, result.target_met) == (min(expected, 100), expected <= 100)
        assert result.reached == LEVELS[result.quality - 1]
        assert result.tries <= USUAL_TRIES


@given(st.integers(2, 99), st.integers(1, 1000))
def test_exceptions_are_seen(place: int, limit: int) -> None:
    """Two neighbours the wrong way round, anywhere: still what trying all would find."""
    sizes, errors = list(RISING), list(FALLING)
    for values in (sizes, errors):
        values[place - 1], values[place] = values[place], values[place - 1]
    result = found(MaxBytes(limit), sizes)
    assert len(result.data) == max([size for size in sizes if size <= limit], default=10)
    wanted = LEVELS[limit // 10 - 1] if limit >= 10 else LEVELS[0]
    result = found(MinPsnr(wanted), sizes, errors)
    good = [(sizes[q], q + 1) for q in range(100) if wrong(errors[q]) >= wanted]
    assert (len(result.data), result.quality) == min(good)


def test_a_rate_is_a_size() -> None:
    assert byte_limit(MaxBpp(4.0), FLAT) == 100
    assert byte_limit(MaxBpp(4.039), FLAT) == 100
    assert found(MaxBpp(4.0), RISING) == found(MaxBytes(100), RISING)


def test_progress_ends_where_the_search_ends() -> None:
    for target in (MaxBytes(555), MaxBytes(1), MaxBytes(10**6), MinPsnr(50.0)):
        steps: list[tuple[int, int]] = []
        result = found(target, RISING, FALLING, lambda *step, steps=steps: steps.append(step))
        assert steps[0] == (0, USUAL_TRIES)
        assert steps[-1] == (result.tries, result.tries)
        assert [done for done, _ in steps[:-1]] == list(range(result.tries + 1))


def test_outcomes_are_reported() -> None:
    def outcome_of(target: MaxBytes | MaxBpp | MinPsnr) -> str:
        return outcome(target, found(target, RISING, FALLING), FLAT)

    assert re.fullmatch(r"550 bytes for a target of 555 \(99\.1 %\), [6-9] tries", outcome_of(MaxBytes(555)))
    assert re.fullmatch(r"100 bytes for a target of 102 \(98\.0 %\), [6-9] tries", outcome_of(MaxBpp(4.1)))
    assert re.fullmatch(
        r"10 bytes for a target of 4 \(250\.0 %\), \d tries; no quality .* as small", outcome_of(MaxBytes(4))
    )
    assert re.fullmatch(r"10 bytes for a target of 0, \d tries; no quality .* as small", outcome_of(MaxBpp(0.001)))
    assert re.fullmatch(r"1000 bytes for a target of 9\d{18} \(0.0 %\), \d tries", outcome_of(MaxBpp(1e308)))
    assert re.fullmatch(r"5\d\.\d\d dB for a target of 50 dB, [6-9] tries", outcome_of(MinPsnr(50)))
    expected = r"75.91 dB for a target of 99 dB, \d tries; no quality that was tried reaches the target"
    assert re.fullmatch(expected, outcome_of(MinPsnr(99)))


@pytest.mark.parametrize("number", [0, -1, float("nan"), float("inf")])
def test_targets_are_positive_and_finite(number: float) -> None:
    for kind in (MaxBpp, MinPsnr):
        with pytest.raises(ValueError, match=r"^a target .* must be above 0"):
            kind(number)
    if number != float("inf"):
        with pytest.raises(ValueError, match=r"^a target size must be above 0 bytes"):
            MaxBytes(cast(int, number))


# ------------------------------------------------------------------------------------------------ with the real codec


NOISE = np.random.default_rng(1).bytes(500)
PICTURE = Picture(photo(60, 90), alpha=photo(60, 90, 1)[..., 0].copy(), icc=b"a profile" * 9, exif=b"II*\0" * 20)


@pytest.fixture(scope="module")
def files(codec: Codec) -> list[bytes]:
    """Of all qualities."""
    return [codec.encode(PICTURE, quality=quality) for quality in range(1, 101)]


@pytest.mark.parametrize("target", [MaxBytes(3900), MaxBpp(5.9), MinPsnr(24.0)], ids=str)
def test_it_is_what_trying_all_finds(codec: Codec, files: list[bytes], target: Any) -> None:
    result = encode_to(codec, PICTURE, target)
    assert result.data == files[result.quality - 1]
    assert result.target_met
    if isinstance(target, MinPsnr):
        levels = [psnr(PICTURE.pixels, codec.decode(file).pixels) for file in files]
        assert result.reached == levels[result.quality - 1]
        best = min((file for file, level in zip(files, levels, strict=True) if level >= target.decibels), key=len)
    else:
        best = max((file for file in files if len(file) <= byte_limit(target, PICTURE)), key=len)
    assert len(result.data) == len(best)


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
        (("--target-size", "3.9KB"), MaxBytes(3900)),
        (("--target-size", "3.8 KiB"), MaxBytes(3891)),
        (("--target-size", "3900"), MaxBytes(3900)),
        (("--target-size", "3900b"), MaxBytes(3900)),
        (("--target-bpp", "5.9"), MaxBpp(5.9)),
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
    assert reported == f"quality {expected.quality}: {outcome(target, expected, picture)}"
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


def test_what_travels_along_counts(source: bytes, tmp_path: Path) -> None:
    """The same limit leaves less for the picture where there is more beside it."""
    qualities = []
    for strip in ([], ["--strip", "all"]):
        path = tmp_path / "photo.dca"
        assert call(*strip, "--target-size", "3900", "-", str(path), stdin=source).exit_code == 0
        assert len(path.read_bytes()) <= 3900
        qualities.append(parse(path.read_bytes()).header.quality)
    assert qualities[0] < qualities[1]


@pytest.mark.parametrize(("option", "kept"), [(("--target-size", "3900"), True), (("--target-psnr", "90"), False)])
def test_scripts_see_whether_a_target_is_kept_to(
    source: bytes, option: tuple[str, str], kept: bool, tmp_path: Path
) -> None:
    result = call("--json", "--quiet", *option, "-", str(tmp_path / "photo.dca"), stdin=source)
    facts = json.loads(result.stdout)
    assert (result.exit_code, result.stderr, facts["target_met"]) == (0, "", kept)
    picture = read_picture(io.BytesIO(source))
    expected = encode_to(default_codec(), picture, MaxBytes(3900) if kept else MinPsnr(90))
    assert facts["tries"] == expected.tries
    assert facts.get("psnr") == expected.reached


def test_metadata_that_leave_no_room_are_reported(codec: Codec) -> None:
    target, picture = MaxBytes(900), replace(PICTURE, icc=NOISE[:500], exif=b"II" + NOISE[:300], xmp=NOISE[:40])
    result = encode_to(codec, picture, target)
    assert outcome(target, result, picture).endswith(
        "; no quality that was tried gives a file as small: 842 bytes are ICC profile, EXIF and XMP data "
        "(--strip all leaves them out)"
    )


# ------------------------------------------------------------------------------------------------------- SSIMULACRA 2


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
    missed = encode_to(codec, Picture(pixels), MinSsimulacra2(100))
    assert not missed.target_met and missed.reached is not None and missed.reached < 100


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
