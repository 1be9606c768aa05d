"""A cache of latents of a frozen analysis transform, on which all variants are trained and measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor
from tqdm import tqdm

from dcacodec.errors import WeightsError
from dcacodec.files.atomic import write_atomically
from dcacodec.network.dca import DCA
from dcacodec.network.precision import fast_bfloat16, transform_precision
from dcacodec.training.data import CropSampler, to_input
from dcacodec.training.loop import VALIDATION_QUALITIES
from dcacodec.training.loss import draw_positions
from dcacodec.training.publish import load_checkpoint
from dcacodec.weights.reader import read_weights

CACHED_CROP = 256
"""Side in pixels of the training crops whose latents are cached."""
BATCH = 8
"""Crops per batch of the analysis."""


@dataclass(frozen=True)
class CacheKey:
    """The inputs that a cache of latents was made from. Caches with equal keys have equal content.

    Attributes:
        source: SHA-256 of the checkpoint or weights file.
        sources: SHA-256 of the files of training pictures.
        crops: number of training crops.
        pictures: SHA-256 of the samples of the validation pictures.
        seed: of the random crops and qualities.
    """

    source: str
    sources: str
    crops: int
    pictures: str
    seed: int


@dataclass(frozen=True, eq=False)
class Latents:
    """Latents y before rounding, float16.

    Attributes:
        train: of the crops, (N, h, w, M).
        position: anchor position of each crop's quality, (N,).
        valid: by quality, of each validation picture, (H/16, W/16, M).
    """

    train: Tensor
    position: Tensor
    valid: dict[int, list[Tensor]]


def load_frozen(path: Path) -> DCA:
    """The network, in float32, of a checkpoint (its moving average) or of a weights file (with its rounded values).

    Raises:
        WeightsError: the file is neither.
        OSError: it cannot be read.
    """
    weights = path.suffix.lower() == ".safetensors"
    model = read_weights(path).floating_point() if weights else load_checkpoint(path)[0]
    return model.eval().requires_grad_(False)


def digest(pictures: Sequence[NDArray[np.uint8]]) -> str:
    """SHA-256 of the shapes and samples of pictures."""
    total = hashlib.sha256()
    for picture in pictures:
        total.update(repr(picture.shape).encode() + picture.tobytes())
    return total.hexdigest()


@torch.inference_mode()
def make_latents(
    model: DCA,
    train: Sequence[NDArray[np.uint8]],
    valid: Sequence[NDArray[np.uint8]],
    key: CacheKey,
    device: torch.device,
    quiet: bool = False,
) -> Latents:
    """Analyse random crops and whole validation pictures.

    Each crop at a quality drawn as in training, each whole picture at all of `VALIDATION_QUALITIES`.

    Raises:
        TrainingError: no training picture is as large as a crop.
    """
    config, random = model.config, np.random.default_rng(key.seed)
    model = model.to(device)

    def analyse(picture: Tensor, position: Tensor) -> Tensor:
        with transform_precision(device, fast_bfloat16(device)):
            y = model.latent(picture, position)
        return y.half().cpu()

    sampler = CropSampler(train, (CACHED_CROP,), device, random)
    position = torch.from_numpy(
        np.concatenate(
            [draw_positions(config, min(BATCH, key.crops - begin), random) for begin in range(0, key.crops, BATCH)]
        )
    )
    batches = tqdm(position.split(BATCH), "crops", disable=quiet or None)
    crops = [analyse(sampler.batch(len(part), CACHED_CROP), part.to(device)) for part in batches]
    held_out: dict[int, list[Tensor]] = {}
    for quality in tqdm(VALIDATION_QUALITIES, "validation latents", disable=quiet or None):
        at = torch.tensor([config.anchor_position(quality)], device=device)
        held_out[quality] = [analyse(to_input(picture, device), at)[0] for picture in valid]
    return Latents(torch.cat(crops), position, held_out)


def save_latents(path: Path, latents: Latents, key: CacheKey) -> None:
    """Write latents to a safetensors file.

    Raises:
        OSError: it cannot be written.
    """
    tensors = {"train": latents.train, "position": latents.position}
    for quality, each in latents.valid.items():
        tensors |= {f"valid.{quality}.{number}": y for number, y in enumerate(each)}
    data = save_tensors(tensors, {"key": json.dumps(asdict(key))})
    write_atomically(path, lambda file: file.write(data))


def read_latents(path: Path, key: CacheKey, pictures: int) -> Latents | None:
    """Read cached latents; None if there are none, or only with another key.

    Args:
        pictures: number of validation pictures.

    Raises:
        WeightsError: the file is damaged.
        OSError: it cannot be read.
    """
    try:
        path.open("rb").close()  # safe_open would not say which file it is
    except FileNotFoundError:
        return None
    try:
        with safe_open(path, "pt") as file:
            if json.loads(file.metadata()["key"]) != asdict(key):
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dictionary)
        valid: dict[int, list[Tensor]] = {}
        for quality in VALIDATION_QUALITIES:
            valid[quality] = [tensors[f"valid.{quality}.{number}"] for number in range(pictures)]
        return Latents(tensors["train"], tensors["position"], valid)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: damaged; delete it to have the latents made again") from error
