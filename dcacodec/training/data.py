"""Pictures for training: decoded once, kept in memory as uint8, crops and flips cut from there."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from tqdm import tqdm

SUFFIXES = {".avif", ".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}


def _encoded(source: Path) -> Iterator[bytes]:
    """The encoded pictures of a folder (recursively), of a tar shard, or a single picture."""
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.suffix.lower() in SUFFIXES:
                yield path.read_bytes()
    elif source.suffix == ".tar":
        with tarfile.open(source) as archive:
            for member in archive:
                if member.isfile() and Path(member.name).suffix.lower() in SUFFIXES:
                    content = archive.extractfile(member)
                    if content is not None:
                        yield content.read()
    else:
        yield source.read_bytes()


def load_pictures(sources: Sequence[str | Path], quiet: bool = False) -> list[NDArray[np.uint8]]:
    """All pictures of tar shards, folders and files, each (H, W, 3) uint8.

    Raises:
        FileNotFoundError: a source is not there, or holds no picture.
    """
    pictures: list[NDArray[np.uint8]] = []
    with tqdm(desc="reading pictures", unit="picture", disable=quiet) as bar:
        for source in map(Path, sources):
            before = len(pictures)
            for data in _encoded(source):
                with Image.open(io.BytesIO(data)) as image:
                    pictures.append(np.array(image.convert("RGB")))
                bar.update()
            if len(pictures) == before:
                raise FileNotFoundError(f"no pictures in {source}")
    return pictures


class CropSampler:
    """Random square crops with flips and transposition, cut on the device that holds the pictures.

    Each pixel of the set is about equally likely: a picture is drawn in proportion to its area.
    """

    def __init__(
        self, pictures: Sequence[NDArray[np.uint8]], crop: int, device: torch.device, seed: int | Sequence[int]
    ) -> None:
        fitting = [picture for picture in pictures if min(picture.shape[:2]) >= crop]
        if not fitting:
            raise ValueError(f"no picture is as large as the crop, {crop} pixels")
        self.pictures = [torch.from_numpy(picture).to(device) for picture in fitting]
        areas = np.array([picture.shape[0] * picture.shape[1] for picture in fitting], dtype=np.float64)
        self.chances = areas / areas.sum()
        self.crop = crop
        self.random = np.random.default_rng(seed)

    def batch(self, count: int) -> Tensor:
        """(count, crop, crop, 3) float32 in 0..1."""
        size = self.crop
        crops = []
        for index in self.random.choice(len(self.pictures), count, p=self.chances):
            picture = self.pictures[index]
            top = int(self.random.integers(picture.shape[0] - size + 1))
            left = int(self.random.integers(picture.shape[1] - size + 1))
            crop = picture[top : top + size, left : left + size]
            flips = [axis for axis in (0, 1) if self.random.integers(2)]
            crop = crop.flip(flips) if flips else crop
            crops.append(crop.transpose(0, 1) if self.random.integers(2) else crop)
        return torch.stack(crops).float() / 255
