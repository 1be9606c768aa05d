"""The codec that `encode` and `decode` keep: loaded once, shared by threads, and no sooner than it is needed."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_pictures import PIXELS, png
from numpy.typing import NDArray
from PIL import Image
from tiny import WEIGHTS, photo

import dcacodec
from dcacodec import Codec, Picture, api, decode, decode_array, encode
from dcacodec.api import codec_for, default_codec
from dcacodec.format.reader import parse
from dcacodec.weights.registry import Published


def test_the_codec_is_loaded_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    loads: list[Published] = []
    from_published = Codec.from_published

    def noted(published: Published, **options: Any) -> Codec:
        loads.append(published)
        return from_published(published, **options)

    monkeypatch.setattr(Codec, "from_published", noted)
    api._load.cache_clear()
    Image.fromarray(PIXELS).save(tmp_path / "photo.png")
    started = threading.Barrier(8)

    def first(number: int) -> bytes:
        started.wait()
        return encode(PIXELS, quality=40)

    with ThreadPoolExecutor(8) as pool:
        files = list(pool.map(first, range(8)))
    dcacodec.encode_file(tmp_path / "photo.png", tmp_path / "photo.dca", quality=40)
    dcacodec.decode_file(tmp_path / "photo.dca", tmp_path / "back.png")
    assert decode(files[0]).tobytes() == Image.open(tmp_path / "back.png").tobytes()
    assert {*files, (tmp_path / "photo.dca").read_bytes()} == {default_codec().encode(Picture(PIXELS), quality=40)}
    assert codec_for(parse(files[0])) is default_codec()
    assert [published.path.name for published in loads] == [WEIGHTS.name]


@pytest.mark.slow
def test_threads_share_a_codec(codec: Codec) -> None:
    """What eight threads make at the same time, is what one makes after the other."""
    jobs = [(photo(40 + 9 * number, 70, number), 10 * number + 5) for number in range(8)] * 2
    expected = [codec.encode(Picture(pixels), quality=quality) for pixels, quality in jobs]
    pictures = [codec.decode(data).pixels for data in expected]
    started = threading.Barrier(8)

    def work(number: int) -> tuple[bytes, NDArray[np.uint8]]:
        if number < 8:
            started.wait()
        data = encode(jobs[number][0], quality=jobs[number][1], codec=codec)
        return data, decode_array(data, codec=codec)

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(work, range(len(jobs))))
    assert [data for data, _ in results] == expected
    assert all(np.array_equal(array, pixels) for (_, array), pixels in zip(results, pictures, strict=True))


def test_what_is_wrong_is_reported_before_torch_is_loaded() -> None:
    code = (
        "import sys, dcacodec\n"
        "from dcacodec import decode, encode\n"
        "for work in (lambda: encode(b'text'), lambda: encode(3), lambda: decode(b'text'), lambda: decode(3)):\n"
        "    try:\n"
        "        work()\n"
        "    except (dcacodec.DcaError, TypeError) as error:\n"
        "        print(type(error).__name__)\n"
        "print('torch' in sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["ImageError", "TypeError", "BadMagicError", "TypeError", "False"]


@pytest.mark.slow
def test_a_first_decode_imports_no_compiler() -> None:
    """PyTorch loads its compiler and SymPy, a second or more, at the first arithmetic on tensors without data."""
    code = (
        "import sys, torch\n"
        "before = set(sys.modules)\n"
        "import dcacodec\n"
        "dcacodec.decode(dcacodec.encode(bytes.fromhex(sys.argv[1])))\n"
        "print(sorted({'torch._dynamo', 'torch._inductor', 'sympy'} & set(sys.modules) - before))\n"
    )
    picture = png(Image.new("RGB", (3, 2))).hex()
    result = subprocess.run([sys.executable, "-c", code, picture], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
