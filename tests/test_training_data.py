"""Training: pictures, their digest, and the crops that are cut from them."""

import gzip
import io
import itertools
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tiny import photo
from told import assert_fails
from torch import Tensor
from training_runs import CPU, ONE_STEP, call, png

from dcacodec.errors import ImageError, TrainingError
from dcacodec.training.data import CropSampler, digest_of, load_pictures

pytestmark = pytest.mark.usefixtures("one_thread", "_tiny_on_the_processor", "_usual_signals")


# ------------------------------------------------------------------------------------------------------------- pictures


def shard(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def test_folders_shards_and_single_files_give_the_same_pictures(tmp_path: Path) -> None:
    arrays = [photo(9, 14, 0), photo(20, 6, 1), photo(1, 1, 2)]
    names = ["a.png", "b/c.PNG", "b/d.png"]
    files = {name: png(array) for name, array in zip(names, arrays, strict=True)}
    others = {"notes.txt": b"text", "b/._d.png": b"what macOS leaves beside a picture", "picture": b"", "z.tar": b"x"}
    folder = tmp_path / "folder"
    (folder / "b").mkdir(parents=True)
    (folder / "c.png").mkdir()  # a folder with a picture's name
    for name, data in (files | others).items():
        (folder / name).write_bytes(data)
    tar = shard(tmp_path / "shard.tar", files | others)
    with tarfile.open(tar, "a") as archive:
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "missing.png"
        archive.addfile(link)
    for sources in ([folder], [tar], [str(folder / name) for name in names]):
        loaded = load_pictures(sources, quiet=True)
        assert [picture.dtype for picture in loaded] == [np.uint8] * 3
        assert all(map(np.array_equal, loaded, arrays))
    assert len(load_pictures([folder, tar, folder / "a.png"], quiet=True)) == 7


def test_pictures_are_read_as_the_codec_reads_them(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[274] = 6
    array = photo(5, 8)
    (tmp_path / "a.png").write_bytes(png(array, exif=turned))
    (tmp_path / "b.png").write_bytes(png(array[..., 0]))
    (tmp_path / "c.png").write_bytes(png(np.dstack([array, array[..., :1]])))
    first, second, third = load_pictures([tmp_path], quiet=True)
    assert np.array_equal(first, np.rot90(array, -1))
    assert np.array_equal(second, np.repeat(array[..., :1], 3, -1))
    assert np.array_equal(third, array)


def _missing(folder: Path) -> tuple[Path, str]:
    return folder / "missing", str(folder / "missing")


def _missing_shard(folder: Path) -> tuple[Path, str]:
    return folder / "missing.tar", str(folder / "missing.tar")


def _empty_folder(folder: Path) -> tuple[Path, str]:
    (folder / "notes.txt").write_bytes(b"text")
    return folder, str(folder)


def _empty_shard(folder: Path) -> tuple[Path, str]:
    path = shard(folder / "empty.tar", {"notes.txt": b"text"})
    return path, str(path)


def _no_shard(folder: Path) -> tuple[Path, str]:
    (folder / "false.tar").write_bytes(b"text" * 200)
    return folder / "false.tar", str(folder / "false.tar")


def _cut_shard(folder: Path) -> tuple[Path, str]:
    path = shard(folder / "cut.tar", {"a.png": png(photo(70, 70)), "b.png": png(photo(70, 70))})
    path.write_bytes(path.read_bytes()[:6000])
    return path, str(path)


def _shard_with_a_damaged_header(folder: Path) -> tuple[Path, str]:
    path = shard(folder / "damaged.tar", {"a.png": png(photo(70, 70)), "b.png": png(photo(70, 70))})
    data = bytearray(path.read_bytes())
    data[data.rindex(b"b.png")] ^= 0xFF
    path.write_bytes(data)
    return path, str(path)


def _compressed_shard(folder: Path) -> tuple[Path, str]:
    path = shard(folder / "compressed.tar", {"a.png": png(photo(70, 70)), "b.png": png(photo(70, 70))})
    path.write_bytes(gzip.compress(path.read_bytes())[:6000])
    return path, str(path)


def _damaged_member(folder: Path) -> tuple[Path, str]:
    path = shard(folder / "damaged.tar", {"in/a.png": png(photo(70, 70))[:-3000]})
    return path, f"{path}: in/a.png"


def _damaged_file(folder: Path) -> tuple[Path, str]:
    (folder / "a.png").write_bytes(png(photo(70, 70))[:-3000])
    return folder, str(folder / "a.png")


def _small(folder: Path) -> tuple[Path, str]:
    (folder / "a.png").write_bytes(png(photo(63, 200)))
    return folder, " 64 "


BAD_SOURCES = (
    _missing,
    _missing_shard,
    _empty_folder,
    _empty_shard,
    _no_shard,
    _cut_shard,
    _shard_with_a_damaged_header,
    _compressed_shard,
    _damaged_member,
    _damaged_file,
    _small,
)


@pytest.mark.parametrize("make", BAD_SOURCES)
def test_bad_sources_are_one_line_and_no_run(make: Callable[[Path], tuple[Path, str]], tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    source, named = make(folder)
    assert_fails(call("train", source, "--run", tmp_path / "run", *ONE_STEP), named)
    assert not (tmp_path / "run").exists()
    with pytest.raises((ImageError, TrainingError, FileNotFoundError)):
        CropSampler(load_pictures([source], quiet=True), (64,), CPU, np.random.default_rng(0))


def test_a_bad_source_to_validate_on_is_found_before_training(pictures: Path, tmp_path: Path) -> None:
    arguments: list[str | Path] = ["train", pictures, "--run", tmp_path / "run", *ONE_STEP]
    missing = tmp_path / "missing"
    assert_fails(call(*arguments, "--validation", missing), missing)
    (tmp_path / "small.png").write_bytes(png(photo(200, 63)))
    assert_fails(call(*arguments, "--validation", tmp_path / "small.png"), "64x64")
    assert not (tmp_path / "run").exists()


def test_digest_of_training_pictures(pictures: Path, tmp_path: Path) -> None:
    """By their content, wherever they lie."""
    shutil.copytree(pictures, tmp_path / "copy")
    (tmp_path / "copy" / "notes.txt").write_text("no picture", "utf-8")
    assert digest_of([tmp_path / "copy"]) == digest_of([pictures])
    first = min(path for path in (tmp_path / "copy").rglob("*.png"))
    Image.fromarray(photo(64, 64, seed=77)).save(first)
    assert digest_of([tmp_path / "copy"]) != digest_of([pictures])
    with pytest.raises(FileNotFoundError):
        digest_of([tmp_path / "missing"])


# ---------------------------------------------------------------------------------------------------------------- crops


def unique_picture(height: int, width: int, number: int) -> NDArray[np.uint8]:
    """Every pixel another colour: row, column, and the picture's number."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y, x, np.full_like(y, number)], -1).astype(np.uint8)


Place = tuple[int, int, int, bool, bool, bool]


def place_of(crop: NDArray[np.uint8]) -> Place:
    """Picture, top, left, whether transposed, flipped up-down, flipped left-right; checks all of its pixels."""
    size = len(crop)
    transposed = crop[0, 0, 0] == crop[-1, 0, 0]  # the row is the same all the way down
    whole = crop.transpose(1, 0, 2) if transposed else crop
    down, across = whole[0, 0, 0] > whole[-1, 0, 0], whole[0, 0, 1] > whole[0, -1, 1]
    whole = whole[:: -1 if down else 1, :: -1 if across else 1]
    top, left, number = whole[0, 0].tolist()
    expected = unique_picture(top + size, left + size, number)[top:, left:]
    assert np.array_equal(whole, expected)
    return number, top, left, bool(transposed), bool(down), bool(across)


def test_crops_are_rectangles_of_pictures_in_all_eight_positions() -> None:
    sizes = [(7, 9), (4, 30), (5, 5), (11, 5)]
    sampler = CropSampler(
        [unique_picture(*size, number) for number, size in enumerate(sizes)], (5,), CPU, np.random.default_rng(0)
    )
    batch = sampler.batch(3000, 5)
    assert (batch.shape, batch.dtype) == ((3000, 5, 5, 3), torch.float32)
    integers = (batch * 255).round()
    assert torch.equal(integers / 255, batch)
    places = {place_of(crop) for crop in integers.to(torch.uint8).numpy()}
    # All that there are, and no other: the second picture is too small.
    assert {place[3:] for place in places} == set(itertools.product((False, True), repeat=3))
    origins = [(n, top, left) for n in (0, 2, 3) for top in range(sizes[n][0] - 4) for left in range(sizes[n][1] - 4)]
    assert sorted({place[:3] for place in places}) == origins


def test_a_picture_is_drawn_in_proportion_to_its_area() -> None:
    pictures = [photo(8, 8), photo(8, 24), photo(7, 90), photo(16, 16)]
    sampler = CropSampler(pictures, (8, 16), CPU, np.random.default_rng(0))
    assert sampler.probabilities[8].tolist() == [1 / 8, 3 / 8, 0, 1 / 2]
    assert sampler.probabilities[16].tolist() == [0, 0, 0, 1]
    with pytest.raises(TrainingError, match=r"\b17\b"):
        CropSampler(pictures, (8, 17), CPU, np.random.default_rng(0))


def test_crops_are_cut_where_the_pictures_are() -> None:
    """A device without content: reading or moving a sample fails on it."""
    sampler = CropSampler([photo(40, 50), photo(90, 40)], (8, 24), torch.device("meta"), np.random.default_rng(0))
    for size in (8, 24):
        batch = sampler.batch(16, size)
        assert (batch.device.type, batch.shape, batch.dtype) == ("meta", (16, size, size, 3), torch.float32)


def test_crops_follow_from_the_seed() -> None:
    def drawn(seed: int) -> Tensor:
        sampler = CropSampler([photo(40, 50, n) for n in range(3)], (8,), CPU, np.random.default_rng(seed))
        return torch.cat([sampler.batch(3, 8), sampler.batch(2, 8)])

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
