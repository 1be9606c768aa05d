"""The metrics: against values worked out by hand, other implementations, and finite differences."""

import io
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from skimage import data
from tiny import photo
from torch import Tensor

from dcacodec.metrics import ms_ssim as ms_ssim_module
from dcacodec.metrics import ssimulacra2 as ssimulacra2_module
from dcacodec.metrics.distortion import VISUAL_SCALE, Distortion, visible_error
from dcacodec.metrics.ms_ssim import ms_ssim
from dcacodec.metrics.psnr import psnr
from dcacodec.metrics.ssimulacra2 import Reference, distance, score, ssimulacra2

Pixels = NDArray[np.uint8]
Measure = Callable[[Tensor, Tensor], Tensor]


# ------------------------------------------------------------------------------------------------------------- PSNR


def test_psnr_of_a_known_error() -> None:
    black = np.zeros((2, 3, 3), np.uint8)
    white = np.full((2, 3, 3), 255, np.uint8)
    assert psnr(black, white) == 0.0  # the mean squared error is the peak's square
    off_by_one = black.copy()
    off_by_one[0, 0, 0] = 1
    assert psnr(black, off_by_one) == pytest.approx(10 * math.log10(255**2 * 18), abs=1e-12)
    # Errors of both signs and 5 levels everywhere: 20 log10(255 / 5).
    gray = np.full((4, 4, 3), 128, np.uint8)
    swing = np.where(np.arange(48).reshape(4, 4, 3) % 2, 133, 123).astype(np.uint8)
    assert psnr(gray, swing) == psnr(swing, gray) == pytest.approx(20 * math.log10(51), abs=1e-12)


def test_psnr_of_a_tall_picture_counts_every_row() -> None:
    original = np.random.default_rng(0).integers(0, 256, (200, 7, 3)).astype(np.uint8)
    decoded = np.random.default_rng(1).integers(0, 256, (200, 7, 3)).astype(np.uint8)
    error = ((original.astype(float) - decoded) ** 2).mean()
    assert psnr(original, decoded) == pytest.approx(10 * math.log10(255**2 / error), abs=1e-9)


def test_psnr_of_equal_pictures_is_infinite() -> None:
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert psnr(picture, picture.copy()) == math.inf


@pytest.mark.parametrize(
    ("original", "decoded"),
    [
        (np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 1), np.uint8)),  # would broadcast
        (np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 3), np.int64)),
        (np.zeros((2, 2, 3)), np.zeros((2, 2, 3), np.uint8)),
        (np.zeros((0, 2, 3), np.uint8), np.zeros((0, 2, 3), np.uint8)),
    ],
)
def test_psnr_refuses_what_it_cannot_compare(original: np.ndarray, decoded: np.ndarray) -> None:
    with pytest.raises(ValueError, match="must be"):
        psnr(original, decoded)


# ------------------------------------------------------------------------------------------------- structural metrics


def tensor(*pictures: Pixels) -> Tensor:
    """(B, H, W, 3) in 0..1."""
    return torch.from_numpy(np.stack(pictures)).float() / 255


def as_jpeg(pixels: Pixels, quality: int) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


def smoothed(pixels: Pixels, radius: float) -> Pixels:
    return np.array(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


PICTURES = [photo(256, 320), photo(301, 263, 1), data.astronaut()[100:420, 60:400], data.coffee()[80:383, 150:470]]
DISTORTIONS: list[Callable[[Pixels], Pixels]] = [
    lambda pixels: as_jpeg(pixels, 30),
    lambda pixels: as_jpeg(pixels, 90),
    lambda pixels: smoothed(pixels, 1),
    lambda pixels: np.clip(pixels * np.array([1.0, 0.95, 0.9]), 0, 255).astype(np.uint8),
]


def _blurred(image: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.ndimage import gaussian_filter

    blurred: NDArray[np.float64] = gaussian_filter(image, 1.5, mode="nearest", radius=5, axes=(0, 1))
    return blurred


@pytest.mark.parametrize("distort", DISTORTIONS)
@pytest.mark.parametrize("pixels", PICTURES)
def test_ssimulacra2_agrees_with_the_package(
    pixels: Pixels, distort: Callable[[Pixels], Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the border: the package takes what is above and below the picture for black, at every scale."""
    package = pytest.importorskip("ssimulacra2.ssimulacra2")
    monkeypatch.setattr(package, "blur_image", _blurred)
    other, files = distort(pixels), (io.BytesIO(), io.BytesIO())
    for each, file in zip((pixels, other), files, strict=True):
        Image.fromarray(each).save(file, "PPM")
    expected = package.compute_ssimulacra2(*files)
    assert ssimulacra2(tensor(pixels), tensor(other)).item() == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("distort", [*DISTORTIONS, lambda pixels: 255 - pixels])
@pytest.mark.parametrize("pixels", [*PICTURES, photo(161, 170)])
def test_ms_ssim_agrees_with_the_package(pixels: Pixels, distort: Callable[[Pixels], Pixels]) -> None:
    import pytorch_msssim

    pair = tensor(pixels), tensor(distort(pixels))
    expected = pytorch_msssim.ms_ssim(*(each.permute(0, 3, 1, 2) for each in pair), data_range=1)
    assert ms_ssim(*pair).item() == pytest.approx(expected.item(), abs=1e-4)


@pytest.mark.parametrize(("measure", "best"), [(ms_ssim, 1.0), (ssimulacra2, 100.0)])
def test_quality_falls_with_distortion(measure: Measure, best: float) -> None:
    pixels = data.astronaut()[100:300, 60:260]
    given = [pixels, as_jpeg(pixels, 90), as_jpeg(pixels, 40), as_jpeg(pixels, 10), as_jpeg(pixels, 3)]
    values = [measure(tensor(pixels), tensor(each)).item() for each in given]
    assert values[0] == pytest.approx(best, abs=1e-5)
    assert values == sorted(values, reverse=True) and len(set(values)) == len(values)


@pytest.mark.parametrize("measure", [ms_ssim, ssimulacra2])
def test_pictures_of_a_batch_are_measured_alone(measure: Measure) -> None:
    given = [photo(170, 163, seed) for seed in range(3)]
    others = [as_jpeg(given[0], 20), smoothed(given[1], 2), given[2]]
    alone = [measure(tensor(one), tensor(other)).item() for one, other in zip(given, others, strict=True)]
    assert measure(tensor(*given), tensor(*others)).tolist() == pytest.approx(alone, rel=2e-4)


@pytest.mark.parametrize(
    ("measure", "side"),
    [(ms_ssim, ms_ssim_module.SMALLEST_SIDE), (ssimulacra2, ssimulacra2_module.SMALLEST_SIDE)],
)
def test_sizes(measure: Measure, side: int) -> None:
    picture = torch.full((1, side, side, 3), 0.5)
    assert torch.isfinite(measure(picture, picture + 0.1)).all()
    for one, other in (
        (picture[:, 1:], picture[:, 1:]),
        (picture[:, :, 1:], picture[:, :, 1:]),
        (picture, picture.repeat(1, 2, 1, 1)),
    ):
        with pytest.raises(ValueError, match=f"needs two pictures of the same size, at least {side}x{side}"):
            measure(one, other)


@pytest.mark.parametrize("measure", [ms_ssim, distance, ssimulacra2])
@pytest.mark.parametrize("seed", range(3))
def test_gradients_are_slopes(measure: Measure, seed: int) -> None:
    """Along directions that change whole regions, so that differences stand out from float32's rounding."""
    reference, picture = tensor(photo(176, 168, seed)), tensor(smoothed(photo(176, 168, seed), 1.5)).requires_grad_()
    (gradient,) = torch.autograd.grad(measure(reference, picture).sum(), picture)
    assert torch.isfinite(gradient).all()
    waves = tensor(*(photo(176, 168, 10 * seed + number) for number in range(1, 5))) - 0.5
    for direction in (gradient[0] / gradient.abs().max(), *waves):
        step = 1e-3
        ends = [measure(reference, picture.detach() + sign * step * direction).item() for sign in (1, -1)]
        slope = (gradient[0] * direction).sum().item()
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(
            slope, rel=0.03, abs=0.01 * gradient.abs().sum().item()
        )


@pytest.mark.parametrize("measure", [ms_ssim, lambda one, other: distance(one, other, epsilon=1e-8)])
def test_gradients_are_finite_where_nothing_is_alike(measure: Measure) -> None:
    reference = tensor(photo(161, 161))
    for start in (1 - reference, reference.clone(), torch.zeros_like(reference), reference + 0.3):
        picture = start.requires_grad_()
        (gradient,) = torch.autograd.grad(measure(reference, picture).sum(), picture)
        assert torch.isfinite(gradient).all()


def test_distances_and_scores_that_documents_name() -> None:
    assert score(torch.tensor([0.0, 1.0, 20.0])).tolist() == pytest.approx([100, 83.6, 3.1], abs=0.05)


def test_a_reference_serves_several_pictures() -> None:
    random = torch.Generator().manual_seed(3)
    reference, *pictures = torch.rand((4, 2, 40, 56, 3), generator=random)
    known = Reference.of(reference)
    for picture in pictures:
        assert torch.equal(distance(known, picture), distance(reference, picture))
        squared = 255**2 * visible_error(picture - reference)
        expected = 0.25 * squared + 0.75 * VISUAL_SCALE * distance(reference, picture, 1e-8)
        assert torch.allclose(Distortion(0.25).against(reference)(picture), expected)
        assert torch.equal(Distortion(0.25)(reference, picture), Distortion(0.25).against(reference)(picture))
    with pytest.raises(ValueError, match="same size"):
        distance(known, pictures[0][:, :32])


@pytest.mark.parametrize("shape", [(7, 7), (7, 60), (60, 7)])
def test_what_is_too_small_for_ssimulacra_2_is_judged_by_squared_error(shape: tuple[int, int]) -> None:
    reference, picture = torch.rand((2, 2, *shape, 3), generator=torch.Generator().manual_seed(4))
    assert torch.equal(Distortion(0.25)(reference, picture), Distortion()(reference, picture))


@pytest.mark.parametrize("shape", [(8, 8), (13, 30), (64, 48)])
def test_the_visible_error_weighs_coarse_errors_more_and_chroma_less(shape: tuple[int, int]) -> None:
    error = np.random.default_rng(5).normal(size=(*shape, 3))
    y = error @ [0.299, 0.587, 0.114]
    cb, cr = (error[..., 2] - y) / 1.772, (error[..., 0] - y) / 1.402  # full-range BT.601
    expected = 0.0
    for scale, weight in enumerate((0.5, 0.25, 0.25)):
        size = 2**scale
        height, width = (side // size for side in shape)
        for plane, importance in ((y, 1), (cb, 0.25), (cr, 0.25)):
            blocks = plane[: height * size, : width * size].reshape(height, size, width, size).mean((1, 3))
            expected += weight * size**2 * importance * float(np.square(blocks).mean())
    measured = visible_error(torch.from_numpy(error)[None])
    assert measured.shape == (1,) and measured.item() == pytest.approx(expected, rel=1e-3)


def test_the_visible_error_of_a_shift_and_of_noise() -> None:
    gray = torch.full((2, 32, 32, 3), 0.1)
    assert visible_error(gray).tolist() == pytest.approx([0.055] * 2, rel=1e-5)  # 5.5 times the mean of squares
    noise = 0.1 * torch.randn((1, 512, 512, 1), generator=torch.Generator().manual_seed(1)).expand(-1, -1, -1, 3)
    assert visible_error(noise).item() == pytest.approx(0.01, rel=0.02)
