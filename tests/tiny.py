"""Small networks with drawn parameters, made-up pictures and latents: what the tests run on, so that they are quick and
no retraining changes them. `golden/tiny.safetensors` holds the one that is never replaced (see `golden/make.py`).

Needs nothing but torch, numpy, safetensors and pillow.
"""

import math
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dcacodec.codec.codec import Codec
from dcacodec.codec.slice_coder import Symbols
from dcacodec.codec.source import Source
from dcacodec.images.picture import Picture
from dcacodec.network.config import DCAConfig
from dcacodec.network.context import EntropyModel, Scales, join_steps, split_steps
from dcacodec.network.dca import DCA
from dcacodec.network.priors import SKIP_BELOW
from dcacodec.training.klt import initialise
from dcacodec.weights.bounds import Limits
from dcacodec.weights.export import DEFAULT_LIMIT, export
from dcacodec.weights.reader import Weights, parse_weights

GOLDEN = Path(__file__).parent / "golden"
WEIGHTS = GOLDEN / "tiny.safetensors"

TINY = DCAConfig(
    name="tiny",
    width=12,
    latent=16,
    context=16,
    context_hidden=24,
    analysis_blocks=1,
    synthesis_blocks=1,
    latent_blocks=1,
    regional=8,
    local=4,
    local_width=24,
    tokens=3,
    token_width=16,
    anchors=4,
    lambda_max=0.5,
)

SIZES = {
    "hyper_analysis.R.merge2.linear.weight": 1.5,  # these write the hyper latents, integers of a few units
    "hyper_analysis.[GL].out.weight": 1.5,
    "entropy.synthesis.R.expand1.linear.weight": 0.3,  # and these read them
    "entropy.synthesis.G.linear.weight": 0.3,
    "entropy.synthesis.L.expand.weight": 0.3,
    "*.triple.weight": 2.0,  # logits so large that some keys get no weight at all
    "*.keys.weight": 2.0,
    "*.out.weight": 0.5,
    "*.merge.weight": 0.5,
    "*.weight": 0.7,
}
"""Of the matrices: the standard deviation of an output for inputs of deviation 1."""


def photo(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """(height, width, 3): smooth colours, a few straight edges and some noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    image = np.full((height, width, 3), 128.0)
    for _ in range(4):
        down, across = random.normal(0, 0.08, 2)
        phase = random.uniform(0, 2 * math.pi)
        image += np.sin(down * y + across * x + phase)[..., None] * random.normal(0, 30, 3)
    for _ in range(3):
        down, across, place = random.normal(0, 1, 3)
        image += (down * (y - height / 2) + across * (x - width / 2) > 9 * place)[..., None] * random.normal(0, 30, 3)
    image += random.normal(0, random.uniform(1, 8), image.shape)
    return image.round().clip(0, 255).astype(np.uint8)


def picture(height: int, width: int, seed: int = 0, mode: str = "RGB") -> Picture:
    """A `photo` in colours or gray ("L"), or with an alpha plane ("RGBA")."""
    pixels = photo(height, width, seed)
    if mode == "L":
        pixels = np.repeat(pixels[:, :, :1], 3, -1)
    alpha = photo(height, width, seed + 1)[:, :, 1].copy() if mode == "RGBA" else None
    return Picture(pixels, mode == "L", alpha, None, None)


def drawn_model(config: DCAConfig, seed: int, loudness: float = 1.0) -> DCA:
    """A network whose every parameter is drawn: nothing is zero that training starts at zero, so that means, levels and
    attention vary. The transforms are near the Karhunen-Loeve transform of `photo`s: it does code pictures.

    Args:
        config: any.
        seed: of the draw.
        loudness: factor on the entropy model's matrices; from about 4 on, activations reach their clamp.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DCA(config)
    random = np.random.default_rng(seed)
    initialise(model, [photo(96, 128, number) for number in range(6)])

    def normal(shape: torch.Size, size: float) -> torch.Tensor:
        return torch.from_numpy(random.normal(0.0, size, tuple(shape))).float()

    state = model.state_dict()
    for name, value in sorted(state.items()):
        layer, kind = name.split(".")[-2:]
        inner = name.startswith(("entropy.", "hyper_analysis."))
        fan_in = math.prod(value.shape[1:])
        if name.startswith("priors."):
            new = value + normal(value.shape, 0.4) + (1.5 if kind == "log_scale" else 0.0)
        elif name.startswith(("gain.", "spread.")):
            new = value + normal(value.shape, 0.3)
        elif not inner:  # transforms: the skeleton stays, the blocks disturb it a little
            skeleton = layer in ("patch", "down", "up") and kind == "weight"
            new = value + normal(value.shape, 0.0 if skeleton else 0.03)
        elif kind == "gain":
            new = value + normal(value.shape, 0.2)
        elif kind == "position":
            new = normal(value.shape, 3.0)
        elif kind in ("bias", "bundle"):
            new = normal(value.shape, 0.3)
        elif kind == "queries":
            new = normal(value.shape, 1.0)
        else:
            size = next(size for pattern, size in SIZES.items() if fnmatch(name, pattern))
            new = normal(value.shape, size * (loudness if name.startswith("entropy.") else 1.0) / math.sqrt(fan_in))
        state[name] = new.clamp(-7.9, 7.9) if name.startswith("entropy.") and kind == "weight" else new
    model.load_state_dict(state)
    return model.eval()


def published(model: DCA, limits: Limits | float = DEFAULT_LIMIT) -> Weights:
    """The model as a decoder reads it from its weights file."""
    return parse_weights(export(model, limits=limits), model.config.name)


def symbols_of(codec: Codec, pixels: NDArray[np.uint8], quality: float) -> Symbols:
    """What an encoder makes of a picture (H, W, 3), as a single slice."""
    picture = Picture(pixels)
    (encoded,) = codec.encode_slices(picture, codec.header_for(Source(picture), quality=quality, slice_log2=0))
    return encoded.symbols


def drawn_latents(
    config: DCAConfig, cells: tuple[int, int], seed: int, size: float
) -> tuple[dict[str, Tensor], Tensor]:
    """Hyper latents by letter and y, for a picture of ``64 * cells`` pixels: float64, batch of 1.

    Args:
        size: standard deviation of y.
    """
    random, (down, across) = np.random.default_rng(seed), cells
    shapes = {
        "R": (1, down, across, config.regional),
        "G": (1, config.tokens, config.token_width),
        "L": (1, 4 * down, 4 * across, config.local),
    }
    hyper = {letter: torch.from_numpy(random.normal(0, 3, shapes[letter]).round()) for letter in config.order}
    return hyper, torch.from_numpy(random.normal(0, size, (1, 4 * down, 4 * across, config.latent)))


class Run(NamedTuple):
    """What the entropy model says about a latent, each (B, H, W, M): means, levels (not rounded), y_hat."""

    mean: Tensor
    level: Tensor
    latent: Tensor


def run_entropy(entropy: EntropyModel, hyper: Mapping[str, Tensor], y: Tensor, scales: Scales) -> Run:
    """Quantise y as an encoder does."""
    means: list[Tensor] = []
    levels: list[Tensor] = []
    parts = split_steps(y)

    def code(step: int, mean: Tensor, level: Tensor) -> Tensor:
        means.append(mean)
        levels.append(level)
        residual = (parts[step] - mean).round().masked_fill(level.round() < SKIP_BELOW, 0.0)
        return residual + mean

    with torch.inference_mode():
        latent = join_steps(entropy(hyper, (y.shape[1], y.shape[2]), scales, code))
        return Run(join_steps(means), join_steps(levels), latent)
