"""Training pictures: decoded once, kept in memory as uint8, and sampled as crops with flips."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from dcacodec.errors import DcaError, ImageError, TrainingError
from dcacodec.images.formats import has_picture_name
from dcacodec.images.reading import read_picture
from dcacodec.network.config import REGIONAL_STRIDE


def _encoded(source: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each picture file in a folder (recursively) or tar shard, or of a single picture."""
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if has_picture_name(path) and path.is_file():
                yield str(path), path.read_bytes()
    elif source.suffix == ".tar":
        try:
            with open(source, "rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
                for member in archive:
                    wanted = member.isfile() and has_picture_name(PurePosixPath(member.name))
                    content = archive.extractfile(member) if wanted else None
                    if content is not None:
                        yield f"{source}: {member.name}", content.read()
                file.seek(archive.offset)
                if file.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile takes a damaged header for the end
                    raise tarfile.ReadError
        except tarfile.TarError as error:
            raise ImageError(f"{source}: not a tar file, or a compressed or damaged one") from error
    else:
        yield str(source), source.read_bytes()


def digest_of(sources: Sequence[str | Path]) -> str:
    """SHA-256 of the files that `load_pictures` reads.

    Raises:
        ImageError: a shard is not a tar file.
        OSError: a file cannot be read.
    """
    total = hashlib.sha256()
    for source in sources:
        for _, content in _encoded(Path(source)):
            total.update(len(content).to_bytes(8, "little") + content)
    return total.hexdigest()


def load_pictures(sources: Sequence[str | Path], quiet: bool = False) -> list[NDArray[np.uint8]]:
    """Read all pictures of tar shards, folders and files, each (H, W, 3) uint8, as the codec reads them.

    Files in folders and shards are ignored unless their suffix is that of a picture format.

    Raises:
        ImageError: a picture or a shard cannot be read.
        TrainingError: a folder or shard contains no pictures.
        OSError: a source does not exist.
    """
    pictures: list[NDArray[np.uint8]] = []
    with tqdm(desc="reading pictures", unit="picture", disable=quiet or None) as bar:
        for source in map(Path, sources):
            before = len(pictures)
            for name, data in _encoded(source):
                try:
                    pictures.append(read_picture(io.BytesIO(data)).pixels)
                except DcaError as error:
                    raise ImageError(f"{name}: {error}") from error
                bar.update()
            if len(pictures) == before:
                raise TrainingError(f"{source}: contains no pictures")
    return pictures


def whole_blocks(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture (H, W, 3) cropped to multiples of 64 pixels, which the network requires."""
    height, width = (side // REGIONAL_STRIDE * REGIONAL_STRIDE for side in picture.shape[:2])
    return picture[:height, :width]


def require_blocks(pictures: Sequence[NDArray[np.uint8]]) -> None:
    """Refuse pictures that `whole_blocks` would crop to nothing.

    Raises:
        TrainingError: one is too small.
    """
    if any(min(picture.shape[:2]) < REGIONAL_STRIDE for picture in pictures):
        raise TrainingError(f"validation pictures must have at least {REGIONAL_STRIDE}x{REGIONAL_STRIDE} pixels")


def to_input(picture: NDArray[np.uint8], device: torch.device) -> Tensor:
    """(H, W, 3) -> (1, H', W', 3) float32 in 0..1, cropped to multiples of 64 pixels."""
    return torch.from_numpy(whole_blocks(picture)).to(device)[None].float() / 255


def _probabilities(pictures: Sequence[NDArray[np.uint8]], crop: int) -> NDArray[np.float64]:
    """The probability of each picture to be drawn for a crop: proportional to its area, 0 if it is too small."""
    areas = np.array(
        [picture.shape[0] * picture.shape[1] if min(picture.shape[:2]) >= crop else 0 for picture in pictures],
        dtype=np.float64,
    )
    if not areas.any():
        raise TrainingError(f"no picture is as large as the crop, {crop} pixels")
    return areas / areas.sum()


class CropSampler:
    """Random square crops with flips and transposition, made on the device that holds the pictures.

    Pictures are drawn in proportion to their area, so that all pixels are about equally likely. Pictures that are
    smaller than the crop are not drawn.

    Args:
        crops: the sides in pixels that `batch` will be called with.

    Raises:
        TrainingError: all pictures are smaller than one of them.
    """

    def __init__(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        crops: Collection[int],
        device: torch.device,
        random: np.random.Generator,
    ) -> None:
        self.probabilities = {crop: _probabilities(pictures, crop) for crop in crops}
        self.pictures = [torch.from_numpy(picture).to(device) for picture in pictures]
        self.random = random

    def batch(self, count: int, size: int) -> Tensor:
        """(count, size, size, 3) float32 in 0..1, on the device of the pictures."""
        crops = []
        for index in self.random.choice(len(self.pictures), count, p=self.probabilities[size]):
            picture = self.pictures[index]
            top = int(self.random.integers(picture.shape[0] - size + 1))
            left = int(self.random.integers(picture.shape[1] - size + 1))
            crop = picture[top : top + size, left : left + size]
            flips = [axis for axis in (0, 1) if self.random.integers(2)]
            crop = crop.flip(flips) if flips else crop
            crops.append(crop.transpose(0, 1) if self.random.integers(2) else crop)
        return torch.stack(crops).float() / 255
