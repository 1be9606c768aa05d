"""The preview in files of large pictures: how it is made, and who takes it instead of decoding."""

import io
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tiny import photo
from told import assert_fails, one_line

import dcacodec.pillow_plugin  # noqa: F401
from dcacodec import decode, encode
from dcacodec.cli.app import cli
from dcacodec.codec import preview as module
from dcacodec.codec.codec import Codec
from dcacodec.codec.preview import KINDS, LARGEST_SHARE, SIDE, Previews, read_preview
from dcacodec.errors import ImageError
from dcacodec.format.container import PREVIEW_CHUNK, Chunk
from dcacodec.format.reader import parse
from dcacodec.format.writer import pack
from dcacodec.images.picture import Picture
from dcacodec.images.webp import webp_header
from dcacodec.metrics.psnr import psnr
from dcacodec.ratecontrol import MaxBytes, encode_to


def smooth(height: int, width: int) -> np.ndarray:
    """Made-up pixels that a small picture shows well."""
    return np.asarray(Image.fromarray(photo(height // 8, width // 8)).resize((width, height), Image.Resampling.BICUBIC))


PICTURE = Picture(smooth(400, 640), icc=b"a profile")


@pytest.fixture
def _small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of the size of `PICTURE` get a preview, whatever its share."""
    monkeypatch.setattr(module, "LEAST_PIXELS", 400 * 640)
    monkeypatch.setattr(module, "LARGEST_SHARE", 1.0)


@pytest.fixture
def data(codec: Codec, _small_is_large: None) -> bytes:
    return codec.encode(PICTURE)


@pytest.fixture
def undecoded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Decoding a picture is an error."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the picture is decoded")

    with monkeypatch.context() as patch:
        patch.setattr(Codec, "decode", refuse)
        yield


def test_a_preview_shows_the_picture(data: bytes) -> None:
    found = read_preview(parse(data))
    assert found is not None and (found.width, found.height, found.icc) == (256, 160, b"a profile")
    expected = Image.fromarray(PICTURE.pixels).resize((256, 160), Image.Resampling.LANCZOS)
    assert psnr(np.asarray(expected), found.pixels) > 25


@pytest.mark.parametrize("kind", ["gray", "alpha"])
@pytest.mark.usefixtures("_small_is_large")
def test_previews_of_other_kinds(kind: str, codec: Codec) -> None:
    alpha = np.where(np.arange(640) < 320, 0, 255).astype(np.uint8)[None].repeat(400, 0)
    gray = Picture(np.repeat(PICTURE.pixels[..., :1], 3, -1), gray=True)
    file = codec.encode(gray if kind == "gray" else replace(PICTURE, alpha=alpha))
    found = read_preview(parse(file))
    assert found is not None and found.gray == (kind == "gray")
    if kind == "alpha":
        assert found.alpha is not None and (found.alpha[0, 0], found.alpha[-1, -1]) == (0, 255)
    with Image.open(io.BytesIO(file)) as image:
        mode = image.mode
        image.thumbnail((100, 100))
        assert (image.width, image.height // 2, image.mode) == (100, 31, mode)


@pytest.mark.usefixtures("_small_is_large")
@pytest.mark.parametrize(("height", "width"), [(1, 2**20), (3001, 100), (1537, 1023), (513, 512)])
def test_previews_of_any_shape(height: int, width: int) -> None:
    ramp = np.linspace(0, 255, max(height, width)).astype(np.uint8)
    rows = ramp[:height, None] if height > width else ramp[None, :width]
    pixels = np.broadcast_to(rows[..., None], (height, width, 3)).copy()
    with Image.open(io.BytesIO(Previews(Picture(pixels)).candidate(0))) as image:
        longest = max(height, width)
        assert image.size == (max(1, round(width * 256 / longest)), max(1, round(height * 256 / longest)))
        expected = np.linspace(0, 255, 256)
        found = np.asarray(image.convert("L")).astype(float)
        assert np.abs(found.mean(int(height > width)) - expected).max() < 12


def test_small_pictures_have_none(codec: Codec) -> None:
    assert Previews(PICTURE).within(math.inf) is None
    assert PREVIEW_CHUNK not in [chunk.tag for chunk in parse(codec.encode(PICTURE)).chunks]


def test_a_preview_takes_a_limited_share_of_a_file(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    assert LARGEST_SHARE < 0.01
    monkeypatch.setattr(module, "LEAST_PIXELS", 400 * 640)
    found = {}
    for share in (1.0, 0.1, 0.001):
        monkeypatch.setattr(module, "LARGEST_SHARE", share)
        container = parse(codec.encode(PICTURE))
        preview = container.chunk(PREVIEW_CHUNK)
        rest = tuple(chunk for chunk in container.chunks if chunk.tag != PREVIEW_CHUNK)
        found[share] = 0 if preview is None else len(preview)
        assert found[share] <= share * len(pack(replace(container, chunks=rest)))
    assert found[1.0] >= found[0.1] > found[0.001] == 0


@pytest.mark.usefixtures("_small_is_large")
def test_the_first_candidate_that_is_small_enough_is_taken() -> None:
    previews = Previews(PICTURE)
    candidates = [previews.candidate(index) for index in range(len(KINDS))]
    for most in {0, *map(len, candidates), *(len(each) - 1 for each in candidates)}:
        assert previews.within(most) == next((each for each in candidates if len(each) <= most), None)


def test_the_previews_of_small_files_are_smaller(data: bytes) -> None:
    candidates = [Previews(PICTURE).candidate(index) for index in range(len(KINDS))]
    sizes = [len(each) for each in candidates]
    assert sizes == sorted(sizes, reverse=True)
    found = read_preview(parse(with_chunk(data, candidates[-1])))
    assert found is not None and (found.width, found.height) == (96, 60)
    expected = Image.fromarray(PICTURE.pixels).resize((96, 60), Image.Resampling.LANCZOS)
    assert psnr(np.asarray(expected), found.pixels) > 20


@pytest.mark.usefixtures("_small_is_large")
def test_a_target_size_includes_the_preview(codec: Codec) -> None:
    result = encode_to(codec, PICTURE, MaxBytes(60_000))
    assert result.target_met and len(result.data) <= 60_000
    assert result.data == codec.encode(PICTURE, quality=result.quality)
    assert parse(result.data).chunk(PREVIEW_CHUNK) is not None


@pytest.mark.usefixtures("undecoded")
def test_pillow_takes_it_at_once(data: bytes) -> None:
    for size in ((256, 256), (100, 160), (20, 20), (256, 10_000)):
        with Image.open(io.BytesIO(data)) as image:
            image.thumbnail(size)
            image.load()
            assert max(image.size) <= 256
        with Image.open(io.BytesIO(data)) as image:
            assert image.draft(None, size) is not None
            image.load()
            assert image.size == (256, 160)


def test_pillow_decodes_where_it_is_too_small(data: bytes) -> None:
    with Image.open(io.BytesIO(data)) as image:
        image.thumbnail((300, 300))
        assert image.size == (300, 188)
    with Image.open(io.BytesIO(data)) as image:
        assert image.draft(None, (257, 161)) is not None
        assert image.size == (320, 200)


def with_chunk(data: bytes, content: bytes) -> bytes:
    container = parse(data)
    others = tuple(chunk for chunk in container.chunks if chunk.tag != PREVIEW_CHUNK)
    return pack(replace(container, chunks=(*others, Chunk(PREVIEW_CHUNK, content))))


def webp(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "WEBP")
    return buffer.getvalue()


def animation() -> bytes:
    """Two pictures of the shape of `PICTURE`."""
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (256, 160), colour) for colour in ("red", "blue")]
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


FORGED = {
    "empty": b"",
    "no WebP": b"no WebP",
    "too large": webp(SIDE + 1, 161),
    "cut off": webp(256, 160)[:-4],
    "turned": webp(160, 256),
    "square": webp(160, 160),
    "a little too high": webp(256, 162),
    "animated": animation(),
}


@pytest.mark.parametrize("how", FORGED)
def test_a_damaged_preview(how: str, data: bytes, tmp_path: Path) -> None:
    damaged = with_chunk(data, FORGED[how])
    with pytest.raises(ImageError) as caught:
        read_preview(parse(damaged))
    one_line(caught)
    assert " at 0x" not in str(caught.value)
    assert np.array_equal(np.asarray(decode(damaged)), np.asarray(decode(data)))
    (tmp_path / "a.dca").write_bytes(damaged)
    result = CliRunner().invoke(cli, ["info", "--preview", str(tmp_path / "a.png"), str(tmp_path / "a.dca")])
    assert_fails(result, "a.dca")
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize("how", FORGED)
def test_pillow_decodes_where_the_preview_is_damaged(how: str, data: bytes) -> None:
    with Image.open(io.BytesIO(with_chunk(data, FORGED[how]))) as image:
        assert image.draft(None, (80, 50)) is not None
        image.load()
        assert image.size == (80, 50)


def test_a_preview_is_of_the_shape_of_the_picture_up_to_rounding(data: bytes) -> None:
    for size in ((256, 160), (256, 161), (255, 160), (256, 159), (128, 80), (3, 2), (1, 1)):
        found = read_preview(parse(with_chunk(data, webp(*size))))
        assert found is not None and (found.width, found.height) == size


@pytest.mark.parametrize("kind", ["VP8X", "VP8L", "VP8 "])
def test_a_huge_preview_is_refused_before_its_decoder_takes_memory(
    kind: str, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    image = Image.new("RGBA" if kind == "VP8X" else "RGB", (256, 160), (1, 2, 3, 4)[: 4 if kind == "VP8X" else 3])
    image.save(buffer, "WEBP", lossless=kind == "VP8L")
    sound = buffer.getvalue()
    assert sound[12:16] == kind.encode()
    forged = bytearray(sound)
    if kind == "VP8X":
        forged[24:30] = b"\xfe\x3f\0" * 2
    elif kind == "VP8L":
        forged[21:25] = (int.from_bytes(forged[21:25], "little") | (1 << 28) - 1).to_bytes(4, "little")
    else:
        forged[26:30] = b"\xff\x3f" * 2
    assert webp_header(sound) == (256, 160, False)
    if kind == "VP8L":
        assert webp_header(sound[:20] + b"\0" + sound[21:]) is None  # it does not start with the signature

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("it is opened")

    monkeypatch.setattr("PIL.Image.open", refuse)
    with pytest.raises(ImageError) as caught:
        read_preview(parse(with_chunk(data, bytes(forged))))
    assert str(webp_header(bytes(forged))[0]) in one_line(caught)  # type: ignore[index]


# ------------------------------------------------------------------------------------------------------ the command


def call(*arguments: object) -> None:
    result = CliRunner().invoke(cli, ["info", *map(str, arguments)])
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.usefixtures("undecoded")
def test_the_command_writes_it(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.dca").write_bytes(data)
    for name, format in (("a.png", "PNG"), ("a.webp", "WEBP"), ("thumbnail", "PNG"), ("thumbnail.x17", "PNG")):
        call("--preview", tmp_path / name, tmp_path / "a.dca")
        with Image.open(tmp_path / name) as image:
            assert (image.size, image.format) == ((256, 160), format)


@pytest.mark.parametrize("name", ["a.gif", "other.dca"])
def test_a_format_that_is_not_written_is_refused_before_any_work(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"something")
    result = CliRunner().invoke(cli, ["info", "--preview", str(tmp_path / name), str(tmp_path / "missing.dca")])
    assert (result.exit_code, result.stdout) == (2, "") and str(tmp_path / name) in result.stderr
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"something"]


def test_the_command_decodes_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.dca").write_bytes(encode(PICTURE))
    call("--preview", tmp_path / "a.png", tmp_path / "a.dca")
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (256, 160)
        expected = Image.fromarray(PICTURE.pixels).resize(image.size, Image.Resampling.LANCZOS)
        assert psnr(np.asarray(expected), np.asarray(image)) > 20
    (tmp_path / "b.dca").write_bytes(encode(np.zeros((9, 7), np.uint8)))
    call("--preview", tmp_path / "b.png", tmp_path / "b.dca")
    with Image.open(tmp_path / "b.png") as image:
        assert (image.size, image.mode) == ((7, 9), "L")
