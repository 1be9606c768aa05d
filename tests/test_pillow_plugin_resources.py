"""`.dca` as a format of Pillow's: the limit of pixels, memory that does not grow, and threads."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from picture_files import profile
from PIL import Image
from plugin_images import IMAGES, opened, saved
from tiny import photo

from dcacodec.format.container import MAGIC, Container, Header, Slice
from dcacodec.format.reader import parse
from dcacodec.format.writer import pack


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


@pytest.mark.parametrize("limit", [None, float("inf")])
def test_a_pillow_without_limit_decodes_nothing_for_a_claim(
    limit: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    assert opened(claiming(1 << 17, 1 << 15)).size == (1 << 17, 1 << 15)


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
    data = saved(image, quality=90, lossless=False, icc_profile=profile(np.random.default_rng(0).bytes(20_000)))
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
