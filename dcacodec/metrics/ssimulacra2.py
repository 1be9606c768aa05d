"""SSIMULACRA 2, a metric of visual quality, and the distance inside it, which serves as a training loss.

The algorithm, its constants and its 108 weights are those published with the reference program (Jon Sneyers,
Cloudinary, version 2.1, https://github.com/cloudinary/ssimulacra2)::

    sRGB --> linear RGB --+--> XYB, made positive --> blur --+--> SSIM map ----------> means, 4-norms --.
                          |                                  +--> artifacts map -----> means, 4-norms --+--> weighted
                          |                                  '--> lost details map --> means, 4-norms --'    sum
                          '--> means of 2x2 pixels: the next scale                                            |
                                                                                   score <-- polynomial -- distance

Here the blur is a Gaussian of eleven taps with replicated borders. The reference program uses a recursive filter that
treats the picture as black outside its border, which only matters for small pictures. Maps of negligible weight are not
computed, see `_CHANNELS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from dcacodec.metrics.gaussian import blurred

SMALLEST_SIDE: Final = 8
"""Pixels. Scales with a shorter side are skipped; pictures with one are refused."""

_OPSIN: Final = (
    (0.30, 0.622, 0.078),
    (0.23, 0.692, 0.078),
    (0.24342268924547819, 0.20476744424496821, 0.5518098665095536),
)
"""Cone responses from linear RGB (opsin absorbance)."""
_THRESHOLD: Final = 0.04045
"""Of sRGB samples: between the line and the curve of its transfer function."""
_LINEAR_THRESHOLD: Final = float(((_THRESHOLD + 0.055) / 1.055) ** 2.4)
_BIAS: Final = 0.0037930732552754493
_C2: Final = 0.0009
"""Stabilises the quotient of SSIM."""
_CHANNELS: Final = (slice(1, 2), slice(0, 2), slice(0, 2), slice(0, 3), slice(0, 3))
"""By scale, the channels of XYB that are compared. The omitted ones, and the sixth scale, have weights below 0.002 (the
others reach 225), and change scores by less than 0.001."""

# By channel (X, Y, B), then scale, then norm (mean, 4-norm), then map (SSIM, artifacts, lost details).
# fmt: off
_WEIGHTS: Final = (
    # X
    0.0, 0.0007376606707406586, 0.0, 0.0, 0.0007793481682867309, 0.0,
    0.0, 0.0004371155730107379, 0.0, 1.1041726426657346, 0.00066284834129271, 0.00015231632783718752,
    0.0, 0.0016406437456599754, 0.0, 1.8422455520539298, 11.441172603757666, 0.0,
    0.0007989109436015163, 0.000176816438078653, 0.0, 1.8787594979546387, 10.94906990605142, 0.0,
    0.0007289346991508072, 0.9677937080626833, 0.0, 0.00014003424285435884, 0.9981766977854967, 0.00031949755934435053,
    0.0004550992113792063, 0.0, 0.0, 0.0013648766163243398, 0.0, 0.0,
    # Y
    0.0, 0.0, 0.0, 7.466890328078848, 0.0, 17.445833984131262,
    0.0006235601634041466, 0.0, 0.0, 6.683678146179332, 0.00037724407979611296, 1.027889937768264,
    225.20515300849274, 0.0, 0.0, 19.213238186143016, 0.0011401524586618361, 0.001237755635509985,
    176.39317598450694, 0.0, 0.0, 24.43300999870476, 0.28520802612117757, 0.0004485436923833408,
    0.0, 0.0, 0.0, 34.77906344483772, 44.835625328877896, 0.0,
    0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
    # B
    0.0, 0.0008680556573291698, 0.0, 0.0, 0.0, 0.0,
    0.0, 0.0005313191874358747, 0.0, 0.00016533814161379112, 0.0, 0.0,
    0.0, 0.0, 0.0, 0.0004179171803251336, 0.0017290828234722833, 0.0,
    0.0020827005846636437, 0.0, 0.0, 8.826982764996862, 23.19243343998926, 0.0,
    95.1080498811086, 0.9863978034400682, 0.9834382792465353, 0.0012286405048278493, 171.2667255897307,
    0.9807858872435379,
    0.0, 0.0, 0.0, 0.0005130064588990679, 0.0, 0.00010854057858411537,
)
# fmt: on


@dataclass(frozen=True, eq=False)
class Reference:
    """What `distance` needs of a reference, made once for several pictures.

    Attributes:
        shape: (B, H, W, 3).
        scales: of each scale the compared channels of XYB (B, C, H, W), blurred ones, and blurred squares.
    """

    shape: torch.Size
    scales: tuple[tuple[Tensor, Tensor, Tensor], ...]

    @classmethod
    def of(cls, picture: Tensor) -> Reference:
        """The reference (B, H, W, 3), sRGB in 0..1; values outside are clipped."""
        with torch.autocast(picture.device.type, enabled=False):
            scales = _scales(picture)
            return cls(picture.shape, tuple((xyb, blurred(xyb), blurred(xyb * xyb)) for xyb in scales))


def ssimulacra2(reference: Tensor, picture: Tensor) -> Tensor:
    """The scores (B,) of pictures (B, H, W, 3) in 0..1: 100 equal, 90 hard to distinguish, 30 poor, no lower bound.

    Raises:
        ValueError: the shapes differ, or a side is less than `SMALLEST_SIDE`.
    """
    return score(distance(reference, picture))


def score(distance: Tensor) -> Tensor:
    """The scores of distances (B,): the final polynomial of the reference program, fitted to opinion scores."""
    x = distance * 0.9562382616834844
    x = x * (2.326765642916932 + x * (-0.020884521182843837 + x * 6.248496625763138e-05))
    return 100 - 10 * x.clamp(min=0) ** 0.6276336467831387


def distance(reference: Tensor | Reference, picture: Tensor, epsilon: float = 0.0) -> Tensor:
    """The weighted sum of norms inside SSIMULACRA 2: (B,), 0 for equal pictures, about 1 at a score of 83, 20 at 3.

    Args:
        reference, picture: (B, H, W, 3) sRGB in 0..1; values outside are clipped. Or a `Reference`.
        epsilon: added under the root of the 4-norms, whose gradient at 0 is infinite. 1e-8 is suitable for training.

    Raises:
        ValueError: the shapes differ, or a side is less than `SMALLEST_SIDE`.
    """
    if reference.shape != picture.shape or min(picture.shape[1:3]) < SMALLEST_SIDE:
        raise ValueError(
            f"SSIMULACRA 2 needs two pictures of the same size, at least {SMALLEST_SIDE}x{SMALLEST_SIDE}, "
            f"not {tuple(reference.shape)} and {tuple(picture.shape)}"
        )
    weights = torch.tensor(_WEIGHTS, dtype=torch.float32, device=picture.device).view(3, -1, 2, 3)
    total = torch.zeros(picture.shape[0], dtype=torch.float32, device=picture.device)
    known = reference if isinstance(reference, Reference) else Reference.of(reference)
    with torch.autocast(picture.device.type, enabled=False):
        pairs = zip(known.scales, _scales(picture), strict=True)
        for scale, (channels, (of_reference, xyb)) in enumerate(zip(_CHANNELS, pairs, strict=False)):
            norms = _norms(*of_reference, xyb, epsilon)
            total = total + (norms * weights[channels, scale]).sum((1, 2, 3))
    return total


def _scales(picture: Tensor) -> list[Tensor]:
    """The compared channels of XYB (B, C, H, W) of a picture (B, H, W, 3), at each scale."""
    linear = _linear(picture.float().clamp(0, 1).permute(0, 3, 1, 2).contiguous())
    scales = []
    for scale, channels in enumerate(_CHANNELS):
        if scale:
            linear = _halved(linear)
        if min(linear.shape[2:]) < SMALLEST_SIDE:
            break
        scales.append(_positive_xyb(linear, channels))
    return scales


def _linear(x: Tensor) -> Tensor:
    """sRGB (B, 3, H, W) in 0..1 -> linear light."""
    # The sum of the line below the threshold and of the curve above it: the gradient of `torch.where` is slow.
    above = F.relu(x - _THRESHOLD)
    curve = _power((above + (_THRESHOLD + 0.055)) / 1.055, 2.4) - _LINEAR_THRESHOLD
    return curve + (x - above) / 12.92


def _power(x: Tensor, exponent: float) -> Tensor:
    """A power of positive numbers. It is faster than PyTorch's, whose gradient takes another power."""
    return torch.exp(torch.log(x) * exponent)


def _positive_xyb(linear: Tensor, channels: slice) -> Tensor:
    """Linear RGB (B, 3, H, W) -> channels of XYB, scaled and shifted so that none is negative in practice."""
    matrix = torch.tensor(_OPSIN, dtype=torch.float32, device=linear.device)
    cones = torch.einsum("ij,bjhw->bihw", matrix, linear) + _BIAS
    long, middle, short = (_power(cones, 1 / 3) - _BIAS ** (1 / 3)).unbind(1)
    x, y = 0.5 * (long - middle), 0.5 * (long + middle)
    return torch.stack([14 * x + 0.42, y + 0.01, short - y + 0.55][channels], 1)


def _halved(x: Tensor) -> Tensor:
    """Means of 2x2 pixels of (B, 3, H, W); at an odd border, of the existing pixels."""
    return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)


def _norms(reference: Tensor, mean_1: Tensor, square_1: Tensor, picture: Tensor, epsilon: float) -> Tensor:
    """Mean and 4-norm of the three maps, from channels of XYB (B, C, H, W): (B, C, 2 norms, 3 maps)."""
    mean_2, square_2, product = (blurred(x) for x in (picture, picture * picture, reference * picture))
    covariance = product - mean_1 * mean_2
    variances = (square_1 - mean_1 * mean_1) + (square_2 - mean_2 * mean_2)
    ssim = (1 - (mean_1 - mean_2) ** 2) * (2 * covariance + _C2) / (variances + _C2)
    edges = (1 + (picture - mean_2).abs()) / (1 + (reference - mean_1).abs()) - 1
    maps = [F.relu(1 - ssim), F.relu(edges), F.relu(-edges)]
    means = torch.stack([each.mean((2, 3)) for each in maps], -1)
    fourths = torch.stack([each.square().square().mean((2, 3)) for each in maps], -1)
    return torch.stack([means, (fourths + epsilon) ** 0.25], 2)
