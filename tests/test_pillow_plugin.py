"""`.dca` as a format of Pillow's: opened lazily, checked, drafted, written, and what bad files do."""

import copy
import io
import pickle
import subprocess
import sys
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageSequence, UnidentifiedImageError
from tiny import photo
from told import one_line

from dcacodec import pillow_plugin
from dcacodec.api import default_codec
from dcacodec.codec.codec import Codec
from dcacodec.errors import ImageWarning
from dcacodec.format.container import MAGIC, Chunk, Container, Header, Slice
from dcacodec.format.reader import parse
from dcacodec.format.writer import pack
from dcacodec.images.alpha import encode_alpha
from dcacodec.images.picture import Picture
from dcacodec.images.pillow import from_pillow, to_pillow

PIXELS = photo(50, 70)
ALPHA = photo(50, 70, 1)[..., 0].copy()
EXIF = b"II*\0\x08\0\0\0\1\0\x0f\1\2\0\4\0\0\0Me!\0\0\0\0\0"
IMAGES = {
    "RGB": Image.fromarray(PIXELS),
    "RGBA": Image.fromarray(np.dstack((PIXELS, ALPHA))),
    "L": Image.fromarray(ALPHA),
    "LA": Image.merge("LA", (Image.fromarray(ALPHA), Image.fromarray(ALPHA))),
}


def saved(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "DCA", **options)
    return buffer.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.fixture(scope="module")
def data(codec: Codec) -> bytes:
    return codec.encode(Picture(PIXELS, alpha=ALPHA, icc=b"a profile", exif=EXIF), quality=60)


# ------------------------------------------------------------------------------------------------------------- opening


def test_the_format_is_registered() -> None:
    assert Image.registered_extensions()[".dca"] == "DCA"
    assert Image.MIME["DCA"] == "image/x-dca"
    assert "DCA" in Image.SAVE
    assert "DCA" in Image.OPEN


def test_opening_decodes_nothing(data: bytes, tmp_path: Path) -> None:
    """Whatever the header tells is there, and neither PyTorch nor the weights have been touched."""
    (tmp_path / "photo.dca").write_bytes(data)
    code = (
        "import sys\n"
        "from PIL import Image\n"
        "import dcacodec.pillow_plugin\n"
        "image = Image.open(sys.argv[1])\n"
        "image.verify()\n"
        "image = Image.open(sys.argv[1])\n"
        "print(image.format, image.mode, image.size, image.get_format_mimetype(), sorted(image.info))\n"
        "print(image.draft(None, (9, 9)))\n"
        "print(sorted({'torch', 'safetensors', 'torchac'} & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "photo.dca")]
    facts, drafted, heavy = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert facts == "DCA RGBA (70, 50) image/x-dca ['exif', 'icc_profile', 'quality']"
    assert drafted == "('RGBA', (0, 0, 17.5, 12.5))"
    assert heavy == "[]"


def test_an_image_is_what_the_codec_decodes(data: bytes, tmp_path: Path) -> None:
    expected = to_pillow(default_codec().decode(data))
    (tmp_path / "photo.dca").write_bytes(data)
    for source in (tmp_path / "photo.dca", str(tmp_path / "photo.dca"), io.BytesIO(data)):
        with Image.open(source) as image:
            assert isinstance(image, pillow_plugin.DcaImageFile)
            assert image.info == {"icc_profile": b"a profile", "exif": b"Exif\0\0" + EXIF, "quality": 60}
            assert dict(image.getexif()) == {271: "Me!"}
            assert image.tobytes() == expected.tobytes()
            assert image.tobytes() == expected.tobytes()  # once loaded, it stays so


@pytest.mark.parametrize("mode", IMAGES)
def test_modes_stay(mode: str) -> None:
    image = opened(saved(IMAGES[mode]))
    assert (image.mode, image.size, sorted(image.info)) == (mode, (70, 50), ["quality"])
    assert image.tobytes() == to_pillow(default_codec().decode(saved(IMAGES[mode]))).tobytes()
    if "A" in mode:
        assert np.array_equal(np.array(image.getchannel("A")), ALPHA)


def test_the_file_is_closed_once_loaded(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "photo.dca").write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        image = Image.open(tmp_path / "photo.dca")
        assert isinstance(image, ImageFile.ImageFile)
        file = image.fp
        assert file is not None
        assert not file.closed
        image.load()
        assert file.closed
        del image, file
    own = io.BytesIO(data)
    Image.open(own).load()
    assert not own.closed


def test_one_frame() -> None:
    image = opened(saved(IMAGES["RGB"]))
    assert image.tell() == 0
    image.seek(0)
    with pytest.raises(EOFError):
        image.seek(1)
    assert getattr(image, "n_frames", 1) == 1
    assert [frame.size for frame in ImageSequence.Iterator(image)] == [(70, 50)]


def test_copies_and_pickles_are_loaded(data: bytes) -> None:
    pixels = opened(data).tobytes()
    for made in (opened(data).copy(), copy.copy(opened(data)), pickle.loads(pickle.dumps(opened(data)))):
        assert (made.size, made.mode, made.tobytes()) == ((70, 50), "RGBA", pixels)


def test_an_open_by_another_name(data: bytes, tmp_path: Path) -> None:
    """The content tells the format, not the suffix; and other formats are left to their owners."""
    (tmp_path / "photo.jpg").write_bytes(data)
    with Image.open(tmp_path / "photo.jpg") as image:
        assert image.format == "DCA"
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(b"no picture at all"))
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(data), formats=["PNG"])
    with pytest.raises(SyntaxError, match="dca"):
        pillow_plugin.DcaImageFile(io.BytesIO(b"no picture at all"))


# ------------------------------------------------------------------------------------------------------------ previews


@pytest.mark.parametrize(
    ("wanted", "scale"),
    [((70, 50), 1), ((36, 25), 1), ((35, 25), 2), ((18, 10), 2), ((17, 12), 4), ((9, 6), 4), ((8, 6), 8), ((1, 1), 8)],
)
def test_a_draft_is_no_smaller_than_asked(data: bytes, wanted: tuple[int, int], scale: int) -> None:
    image = opened(data)
    assert image.draft("L", wanted) == ("RGBA", (0, 0, 70 / scale, 50 / scale))
    expected = to_pillow(default_codec().decode(data, scale=scale))
    assert (image.size, image.mode) == (expected.size, "RGBA")
    assert image.tobytes() == expected.tobytes()


def test_drafts_follow_one_another(data: bytes) -> None:
    image = opened(data)
    image.draft(None, (5, 5))
    image.draft(None, (30, 20))
    assert image.size == (35, 25)
    assert image.draft(None, None) is None
    image.load()
    assert image.draft(None, (5, 5)) is None
    assert image.size == (35, 25)


def test_a_thumbnail_is_near_that_of_the_whole(data: bytes) -> None:
    small, whole = opened(data), opened(data)
    small.thumbnail((20, 20))
    whole.load()
    whole.thumbnail((20, 20))
    assert small.size == whole.size == (20, 14)
    error = np.array(small).astype(float) - np.array(whole)
    assert np.sqrt(np.square(error).mean()) < 4


# ------------------------------------------------------------------------------------------------------------- writing


def test_a_file_is_what_the_codec_encodes(tmp_path: Path) -> None:
    expected = default_codec().encode(Picture(PIXELS), quality=60)
    image = IMAGES["RGB"]
    image.save(tmp_path / "photo.dca", quality=60)
    assert (tmp_path / "photo.dca").read_bytes() == saved(image, quality=60) == expected
    assert saved(image) == default_codec().encode(Picture(PIXELS), quality=50)
    with open(tmp_path / "other", "wb") as file:
        image.save(file, "dca", quality=60)
    assert (tmp_path / "other").read_bytes() == expected


def test_metadata_are_kept_replaced_and_left_out() -> None:
    image = IMAGES["RGB"].copy()
    image.info.update(icc_profile=b"a profile", exif=b"Exif\0\0" + EXIF, xmp=b"<x/>")
    tags = Image.Exif()
    tags[272] = "other"

    def kept(**options: Any) -> tuple[bytes | None, dict[int, Any]]:
        made = opened(saved(image, **options))
        return made.info.get("icc_profile"), dict(made.getexif())

    assert kept() == (b"a profile", {271: "Me!"})
    assert kept(icc_profile=b"another") == (b"another", {271: "Me!"})
    assert kept(icc_profile=None) == (None, {271: "Me!"})
    assert kept(exif=tags) == kept(exif=tags.tobytes()) == (b"a profile", {272: "other"})
    assert kept(exif=None) == kept(exif=b"") == (b"a profile", {})
    for options, packet in (({}, b"<x/>"), ({"xmp": b"<y/>"}, b"<y/>"), ({"xmp": None}, None), ({"xmp": b""}, None)):
        assert opened(saved(image, **options)).info.get("xmp") == packet
        assert kept(**options) == kept()
    assert image.info == {"icc_profile": b"a profile", "exif": b"Exif\0\0" + EXIF, "xmp": b"<x/>"}


def test_an_orientation_in_an_xmp_packet_that_is_given_is_upright() -> None:
    image = IMAGES["RGB"].copy()
    image.info["xmp"] = b'<x tiff:Orientation="6"/>'
    for options in ({}, {"xmp": image.info["xmp"]}):
        found = opened(saved(image, **options))
        assert (found.size, found.getexif().get(274, 1)) == ((50, 70), 1)
    with pytest.raises(OSError, match=r"XMP.*str"):
        saved(image, xmp="<x/>")


def test_an_orientation_is_applied() -> None:
    tags = Image.Exif()
    tags[274] = 6
    image = opened(saved(IMAGES["RGB"], exif=tags))
    assert image.size == (50, 70)
    assert dict(image.getexif()) == {274: 1}
    turned = IMAGES["RGB"].transpose(Image.Transpose.ROTATE_270)
    assert image.tobytes() == opened(saved(turned)).tobytes()


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_what_is_given_does_not_take_the_rest_away(form: str) -> None:
    """Of a file that lies on its side: the picture is upright and the other data are there, whatever is replaced."""
    tags = Image.Exif()
    tags[271], tags[274] = "Me!", 6
    buffer = io.BytesIO()
    IMAGES["RGB"].save(buffer, form, exif=tags)
    for options, facts in (
        ({}, {271: "Me!", 274: 1}),
        ({"icc_profile": b"another"}, {271: "Me!", 274: 1}),
        ({"exif": None}, {}),
    ):
        with Image.open(buffer) as image:
            found = opened(saved(image, **options))
        assert (found.size, found.info.get("icc_profile")) == ((50, 70), options.get("icc_profile"))
        expected = facts if form == "PNG" else {tag: value for tag, value in facts.items() if tag != 274}
        assert dict(found.getexif()) == expected


@pytest.mark.parametrize("mode", ["1", "P", "PA", "YCbCr", "CMYK", "I;16"])
@pytest.mark.filterwarnings("ignore::dcacodec.errors.ImageWarning")
def test_other_modes_are_converted_as_from_files(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(ALPHA.astype(np.uint16) * 257)
    elif mode == "PA":
        image = IMAGES["RGBA"].convert("PA")
    else:
        image = IMAGES["RGB"].convert(mode)
    assert saved(image) == default_codec().encode(from_pillow(image))


def test_conversions_that_lose_are_reported() -> None:
    with pytest.warns(ImageWarning, match="CMYK"):
        saved(IMAGES["RGB"].convert("CMYK"))


def test_what_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    for image, expected in ((Image.new("F", (4, 4)), "mode F"), (Image.new("RGB", (0, 4)), "0x4")):
        with pytest.raises(OSError) as caught:
            image.save(tmp_path / "photo.dca")
        assert expected in one_line(caught)
    with pytest.raises(ValueError, match=r"quality.*101"):
        IMAGES["RGB"].save(tmp_path / "photo.dca", quality=101)
    with pytest.raises(TypeError):
        IMAGES["RGB"].save(tmp_path / "photo.dca", quality="60")
    assert list(tmp_path.iterdir()) == []


def test_a_file_over_itself(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "photo.dca"
    path.write_bytes(data)
    pixels = opened(data)
    image = Image.open(path)
    image.save(path, quality=90)
    assert path.read_bytes() == saved(pixels, quality=90)


# ----------------------------------------------------------------------------------------------------------- bad files


@pytest.mark.parametrize("length", [4, 5, 12, 30, 60, -1])
def test_a_truncated_file_is_an_os_error(data: bytes, length: int, tmp_path: Path) -> None:
    path = tmp_path / "photo.dca"
    path.write_bytes(data[:length])
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        with pytest.raises(OSError, match="truncated") as caught:
            Image.open(path)
    one_line(caught)


def test_every_flipped_bit_is_an_os_error(data: bytes) -> None:
    for place in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(OSError) as caught:
            opened(bytes(damaged))
        one_line(caught)


def test_streams_that_do_not_belong_together_fail_when_loaded(data: bytes) -> None:
    whole = parse(data)
    wrong = Slice(whole.slices[0].streams, whole.slices[0].latent_crc ^ 1)
    image = opened(pack(Container(whole.header, (wrong,), whole.chunks)))
    with pytest.raises(OSError, match="latents") as caught:
        image.load()
    one_line(caught)


def test_unknown_weights_fail_when_loaded(data: bytes) -> None:
    whole = parse(data)
    header = Header(b"\x01\x02\x03\x04", 70, 50, "RGB", 60)
    image = opened(pack(Container(header, whole.slices)))
    assert (image.size, image.mode) == ((70, 50), "RGB")
    with pytest.raises(OSError, match="01020304") as caught:
        image.load()
    one_line(caught)


def test_verify_finds_a_damaged_alpha_plane(data: bytes) -> None:
    whole = parse(data)
    good = encode_alpha(ALPHA)
    for plane, expected in ((good[:-200], "alpha"), (encode_alpha(ALPHA[:9]), "70x9")):
        damaged = pack(Container(whole.header, whole.slices, (Chunk("ALPH", plane),)))
        for image, use in ((opened(damaged), "verify"), (opened(damaged), "load")):
            with pytest.raises(OSError) as caught:
                getattr(image, use)()
            assert expected in one_line(caught)


def test_verify_ends_the_use_of_an_image(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "photo.dca"
    path.write_bytes(data)
    image = Image.open(path)
    assert isinstance(image, ImageFile.ImageFile)
    file = image.fp
    assert file is not None
    image.verify()
    assert (file.closed, image.fp) == (True, None)


# ------------------------------------------------------------------------------------------------------ overflow, leaks


def claiming(width: int, height: int) -> bytes:
    """A sound container of a picture of this size, all of whose streams are empty."""
    header = Header(b"\x01\x02\x03\x04", width, height, "RGB", 50, 11)
    return pack(Container(header, (Slice((b"",) * 7, 0),) * header.slice_count))


def test_pillows_limit_of_pixels_holds() -> None:
    limit = Image.MAX_IMAGE_PIXELS
    assert limit is not None
    width = 16384
    height = -(-limit // width)
    with pytest.warns(Image.DecompressionBombWarning):
        assert opened(claiming(width, height)).size == (width, height)
    for size in ((width, 2 * height + 1), (1 << 20, 1 << 11), (1 << 15, 1 << 17)):
        with pytest.raises(Image.DecompressionBombError):
            opened(claiming(*size))


def test_no_more_is_read_than_the_limit_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcacodec.files.bounded._BYTES_BESIDES", 1000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(Image.DecompressionBombError, match="1160"):
        opened(MAGIC + bytes(1200))


@pytest.mark.parametrize("other", [(600, 600), (16, 15), (8, 8)])
def test_a_file_that_changes_after_it_was_opened(other: tuple[int, int]) -> None:
    """Larger than what was allowed, of the same number of pixels or fewer: never another picture than was announced."""
    file = io.BytesIO(saved(IMAGES["RGB"].resize((16, 16))))
    image = Image.open(file)
    file.seek(0)
    file.write(saved(IMAGES["RGB"].resize(other)))
    file.truncate()
    with pytest.raises(OSError, match=r"256 pixels|changed"):
        image.load()


def test_a_pillow_without_limit_decodes_nothing_for_a_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert opened(claiming(1 << 17, 1 << 15)).size == (1 << 17, 1 << 15)


def test_sizes_beyond_the_format() -> None:
    """Of width and height, written as they are in the file: none, more than the format has, more than 32 bits."""
    sound = saved(IMAGES["RGB"])
    start = sound.index(b"\x46\x32", 5)  # 70, 50
    for side in (b"\0", b"\x81\x80\x40", b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\xff\x7f"):
        body = sound[:start] + side + sound[start + 1 : -4]
        with pytest.raises(OSError):
            opened(body + zlib.crc32(body).to_bytes(4, "little"))


def resident() -> int:
    """KiB of memory that this process holds now."""
    with open("/proc/self/status", encoding="ascii") as status:
        (line,) = (line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to tell the memory in use")
@pytest.mark.parametrize(
    ("work", "rounds"), [("open", 600), ("load", 40), ("draft", 600), ("save", 40), ("damaged", 40)]
)
@pytest.mark.slow
def test_memory_does_not_grow(work: str, rounds: int) -> None:
    """A round that kept its pixels, 192 KiB or more, or one of the many its file of 25 KiB, would show."""
    image = Image.fromarray(photo(256, 256))
    data = saved(image, quality=90, lossless=False, icc_profile=np.random.default_rng(0).bytes(20_000))
    assert len(data) > 25_000
    whole = parse(data)
    wrong = Slice(whole.slices[0].streams, whole.slices[0].latent_crc ^ 1)
    damaged = pack(Container(whole.header, (wrong,)))

    def once() -> None:
        if work == "open":
            opened(data)
        elif work == "load":
            opened(data).load()
        elif work == "draft":
            opened(data).draft(None, (9, 9))
        elif work == "save":
            saved(image)
        else:
            with pytest.raises(OSError, match="damaged"):
                opened(damaged).load()

    for _ in range(5):
        once()
    before = resident()
    for _ in range(rounds):
        once()
    assert resident() - before < 5000


# ------------------------------------------------------------------------------------------------------------- threads


@pytest.mark.slow
def test_threads_open_and_save_at_once() -> None:
    images = {mode: IMAGES[mode] for mode in IMAGES}
    files = {mode: saved(image) for mode, image in images.items()}
    pixels = {mode: opened(file).tobytes() for mode, file in files.items()}
    started = threading.Barrier(8)

    def work(number: int) -> tuple[str, bytes, bytes, tuple[int, int]]:
        mode = list(IMAGES)[number % 4]
        if number < 8:
            started.wait()
        small = opened(files[mode])
        small.thumbnail((20, 20))
        return mode, opened(files[mode]).tobytes(), saved(images[mode].copy()), small.size

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(work, range(24)))
    for mode, made, file, size in results:
        assert made == pixels[mode]
        assert file == files[mode]
        assert size == (20, 14)
