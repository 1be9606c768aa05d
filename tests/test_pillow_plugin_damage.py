"""`.dca` as a format of Pillow's: errors of files that are truncated, damaged, or changed while they are open."""

import io
import warnings
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageFile
from plugin_images import ALPHA, IMAGES, PICTURE, opened, saved
from told import one_line

from dcacodec.codec.codec import Codec
from dcacodec.format.container import PREVIEW_CHUNK, Chunk, Container, Header, Slice
from dcacodec.format.reader import parse
from dcacodec.format.writer import pack
from dcacodec.images.alpha import encode_alpha


@pytest.fixture(scope="module")
def data(codec: Codec) -> bytes:
    return codec.encode(PICTURE, quality=60)


@pytest.mark.parametrize("length", [4, 5, 12, 30, 60, -1])
def test_a_truncated_file_is_an_os_error(data: bytes, length: int, tmp_path: Path) -> None:
    path = tmp_path / "photo.dca"
    path.write_bytes(data[:length])
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        with pytest.raises(OSError, match="truncated") as caught:
            Image.open(path)
    one_line(caught)


def test_flipped_bits_are_os_errors(data: bytes) -> None:
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


def test_sizes_beyond_the_format() -> None:
    """Of width and height, written as they are in the file: none, more than the format has, more than 32 bits."""
    sound = saved(IMAGES["RGB"])
    start = sound.index(b"\x46\x32", 5)  # 70, 50
    for side in (b"\0", b"\x81\x80\x40", b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\xff\x7f"):
        body = sound[:start] + side + sound[start + 1 : -4]
        with pytest.raises(OSError):
            opened(body + zlib.crc32(body).to_bytes(4, "little"))


def test_a_preview_that_is_gone_when_it_is_decoded() -> None:
    """Another program has written the file anew."""
    container, preview = parse(saved(IMAGES["RGB"])), io.BytesIO()
    IMAGES["RGB"].resize((35, 25)).save(preview, "WEBP")
    chunks = (*container.chunks, Chunk(PREVIEW_CHUNK, preview.getvalue()))
    file = io.BytesIO(pack(replace(container, chunks=chunks)))
    with Image.open(file) as image:
        image.draft(None, (20, 14))
        assert image.size == (35, 25)
        file.seek(0)
        file.truncate()
        file.write(pack(container))
        with pytest.raises(OSError, match="changed") as caught:
            image.load()
        one_line(caught)
