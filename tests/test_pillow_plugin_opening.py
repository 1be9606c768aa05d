"""`.dca` as a format of Pillow's: opened lazily, loaded, copied and drafted."""

import copy
import io
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from picture_files import profile
from PIL import Image, ImageFile, ImageSequence, UnidentifiedImageError
from plugin_images import ALPHA, EXIF, IMAGES, PICTURE, opened, saved

from dcacodec import pillow_plugin
from dcacodec.api import default_codec
from dcacodec.codec.codec import Codec
from dcacodec.images.pillow import to_pillow


@pytest.fixture(scope="module")
def data(codec: Codec) -> bytes:
    return codec.encode(PICTURE, quality=60)


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
            assert image.info == {"icc_profile": profile(), "exif": b"Exif\0\0" + EXIF, "quality": 60}
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


@pytest.mark.parametrize("size", [100, 1 << 20])
def test_a_file_that_arrives_in_pieces(data: bytes, size: int) -> None:
    with ImageFile.Parser() as parser:
        for start in range(0, len(data), size):
            parser.feed(data[start : start + size])
        assert parser.close().tobytes() == opened(data).tobytes()
    with pytest.raises(OSError, match="parse"), ImageFile.Parser() as parser:
        parser.feed(data[:-1])


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
