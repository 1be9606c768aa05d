"""How far the transforms read, and what they make without margins."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import TINY, drawn_model, photo

from dcacodec.network.config import PRESETS, DCAConfig
from dcacodec.network.transforms import Analysis, Synthesis, analysis_halo, synthesis_halo, without

DEEP = replace(TINY, latent=24, latent_linear=8, analysis_blocks=3, synthesis_blocks=4, latent_blocks=2)
WIDE = replace(TINY, analysis_blocks=2, synthesis_blocks=3)


def transforms(config: DCAConfig) -> tuple[Analysis, Synthesis]:
    model = drawn_model(config, seed=3)
    return model.analysis, model.synthesis


def ends(values: torch.Tensor) -> list[tuple[int, int]]:
    """Of the rows and of the columns of (H, W): the first and last that is not all zero."""
    found = [torch.nonzero(values.abs().sum(axis))[:, 0] for axis in (1, 0)]
    return [(int(places[0]), int(places[-1])) for places in found]


@pytest.mark.parametrize("config", [TINY, WIDE, DEEP], ids=["tiny", "wide", "deep"])
def test_analysis_reads_no_further_than_its_halo(config: DCAConfig) -> None:
    side, at = 384, 12
    image = torch.from_numpy(photo(side, side))[None].float().div(255).requires_grad_()
    y = transforms(config)[0](image, torch.tensor([1.0]))
    y[0, at, at].sum().backward()
    assert image.grad is not None
    halo = analysis_halo(config)
    assert halo % 16 == 0
    for first, last in ends(image.grad[0].sum(-1)):
        assert 16 * at - halo <= first < 16 * at - halo + 16
        assert 16 * at + 15 + halo - 16 < last <= 16 * at + 15 + halo


@pytest.mark.parametrize("config", [TINY, WIDE, DEEP], ids=["tiny", "wide", "deep"])
def test_synthesis_reads_no_further_than_its_halo(config: DCAConfig) -> None:
    side, at = 24, 12
    latent = torch.from_numpy(np.random.default_rng(0).normal(0, 3, (1, side, side, config.latent))).float()
    picture = transforms(config)[1](latent.requires_grad_(), torch.tensor([1.0]))
    picture[0, 16 * at : 16 * at + 16, 16 * at : 16 * at + 16].sum().backward()
    assert latent.grad is not None
    halo = synthesis_halo(config) // 16
    assert 16 * halo == synthesis_halo(config)
    for first, last in ends(latent.grad[0].sum(-1)):
        assert (first, last) == (at - halo, at + halo)


def test_halos_of_the_preset() -> None:
    assert (analysis_halo(PRESETS["small"]), synthesis_halo(PRESETS["small"])) == (48, 64)


@pytest.mark.parametrize("part", [576, 50])
@pytest.mark.parametrize("config", [WIDE, DEEP], ids=["wide", "deep"])
def test_transforms_without_margins_make_what_the_whole_has_there(
    config: DCAConfig, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ready for inference, so in place, in one part or in many."""
    monkeypatch.setattr("dcacodec.network.layers._PART", part)
    model = drawn_model(config, seed=3).prepared(torch.float32)
    analysis, synthesis = model.analysis, model.synthesis
    y, at = torch.randn(1, 9, 10, config.latent, generator=torch.Generator().manual_seed(0)), torch.tensor([1.0])
    image = torch.from_numpy(photo(16 * 9, 16 * 10))[None]
    with torch.inference_mode():
        pixels, latent = synthesis.pixels(y, at), analysis(image, at)
        for top, bottom, left, right in ((0, 1, 2, 5), (5, 3, 1, 0), (4, 4, 4, 4)):
            found = synthesis.pixels(y, at, margins=(top, bottom, left, right))
            expected = without(pixels, (16 * top, 16 * bottom, 16 * left, 16 * right))
            torch.testing.assert_close(found, expected, atol=1, rtol=0)
            found = analysis(image, at, (top, bottom, left, right))
            torch.testing.assert_close(found, without(latent, (top, bottom, left, right)), atol=1e-3, rtol=1e-3)
