"""The public API: what `import dcacodec` gives, and the two functions on files."""

import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import photo

import dcacodec
from dcacodec import Codec, DcaError, Picture, decode_file, encode_file, read_picture, write_picture
from dcacodec.errors import BadMagicError, ImageError, UnknownModelError


def test_every_public_name_is_there() -> None:
    for name in dcacodec.__all__:
        assert getattr(dcacodec, name) is not None
    assert set(dcacodec.__all__) <= set(dir(dcacodec))


def test_names_are_those_of_their_modules() -> None:
    from dcacodec import errors, images
    from dcacodec.codec import codec

    assert (Codec, DcaError, Picture) == (codec.Codec, errors.DcaError, images.Picture)
    assert (read_picture, write_picture) == (images.read_picture, images.write_picture)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'dcacodec' has no attribute 'missing'$"):
        dcacodec.missing  # noqa: B018


def test_the_import_loads_nothing_heavy() -> None:
    code = "import sys, dcacodec; dcacodec.__version__, dcacodec.DcaError, dir(dcacodec); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "PIL", "click", "safetensors"} & set(result.stdout.split())
    assert "dcacodec.errors" in result.stdout.split()


def test_pictures_need_no_torch() -> None:
    code = "import sys, dcacodec; dcacodec.Picture, dcacodec.read_picture; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


@pytest.fixture
def picture_file(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(photo(20, 33)).save(path)
    return path


def test_files_there_and_back(codec: Codec, picture_file: Path, tmp_path: Path) -> None:
    coded, back = tmp_path / "photo.dca", tmp_path / "back.png"
    encode_file(picture_file, coded, quality=70, codec=codec)
    data = codec.encode(read_picture(picture_file), quality=70)
    assert coded.read_bytes() == data
    decode_file(str(coded), str(back), codec=codec)
    assert np.array_equal(np.array(Image.open(back)), codec.decode(data).pixels)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back.png", "photo.dca", "photo.png"]


def test_the_default_quality_is_that_of_the_codec(codec: Codec, picture_file: Path, tmp_path: Path) -> None:
    encode_file(picture_file, tmp_path / "a.dca", codec=codec)
    encode_file(picture_file, tmp_path / "b.dca", quality=50, codec=codec)
    data = codec.encode(read_picture(picture_file))
    assert (tmp_path / "a.dca").read_bytes() == (tmp_path / "b.dca").read_bytes() == data


def test_failures_leave_what_was_there(codec: Codec, picture_file: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.png"
    kept.write_bytes(b"what was there")
    with pytest.raises(BadMagicError):
        decode_file(picture_file, kept, codec=codec)
    with pytest.raises(BadMagicError):
        decode_file(picture_file, kept)
    with pytest.raises(ImageError):
        encode_file(kept, tmp_path / "new.dca", codec=codec)
    with pytest.raises(ValueError, match="quality"):
        encode_file(picture_file, tmp_path / "new.dca", quality=101, codec=codec)
    with pytest.raises(FileNotFoundError):
        encode_file(tmp_path / "missing.png", tmp_path / "new.dca", codec=codec)
    encode_file(picture_file, tmp_path / "good.dca", codec=codec)
    with pytest.raises(ImageError, match="output format"):
        decode_file(tmp_path / "good.dca", tmp_path / "back.gif", codec=codec)
    assert kept.read_bytes() == b"what was there"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good.dca", "kept.png", "photo.png"]


def test_a_file_of_unknown_weights_is_reported(
    published: None, codec: Codec, picture_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "index.json").write_text('{"presets": {}, "files": {}}', "utf-8")
    monkeypatch.setattr("dcacodec.weights.registry.models_dir", lambda: tmp_path / "models")
    encode_file(picture_file, tmp_path / "photo.dca", codec=codec)
    with pytest.raises(UnknownModelError, match=codec.weights.fingerprint.hex()):
        decode_file(tmp_path / "photo.dca", tmp_path / "back.png")
    assert not (tmp_path / "back.png").exists()


def test_warnings_about_pictures(codec: Codec, tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 30000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.warns(match="rounded to 8"):
        encode_file(tmp_path / "deep.png", tmp_path / "deep.dca", codec=codec)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decode_file(tmp_path / "deep.dca", tmp_path / "back.png", codec=codec)


def test_no_picture_is_replaced_by_what_it_becomes(picture_file: Path, codec: Codec, tmp_path: Path) -> None:
    before = picture_file.read_bytes()
    (tmp_path / "link.dca").symlink_to(picture_file)
    for target, message in (
        (picture_file, f"{picture_file} is the source itself"),
        (tmp_path / "link.dca", f"{tmp_path / 'link.dca'} is the source itself"),
        (tmp_path / "new.JPG", f"{tmp_path / 'new.JPG'} has the suffix of a picture, but a .dca file would be written"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            encode_file(picture_file, target, codec=codec)
    assert picture_file.read_bytes() == before and not (tmp_path / "new.JPG").exists()
    encode_file(picture_file, tmp_path / "coded.png.dca", codec=codec)
    coded = tmp_path / "coded.png"  # a .dca file under the name of a picture
    (tmp_path / "coded.png.dca").rename(coded)
    before = coded.read_bytes()
    with pytest.raises(ValueError, match=r"is the source itself$"):
        decode_file(coded, coded, codec=codec)
    assert coded.read_bytes() == before
