"""The transforms: linear channels, reduced pictures, blocks prepared for inference, and half precision."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny import TINY, drawn_model, photo
from torch import Tensor
from torch.overrides import TorchFunctionMode

from dcacodec.codec.codec import Codec
from dcacodec.network.layers import DepthConvBlock
from dcacodec.network.precision import float32_is_exact, has_fused_products
from dcacodec.network.transforms import Margins, TransformBlock, join_channels, prepared, split_channels

CPU = torch.device("cpu")
LINEAR = replace(TINY, latent=40, latent_linear=16, latent_blocks=2)


def test_last_channels_of_each_group_are_the_linear_ones() -> None:
    y = torch.arange(40.0).expand(1, 2, 2, 40)
    nonlinear, linear = split_channels(y, LINEAR)
    assert nonlinear[0, 0, 0].tolist() == [*range(6), *range(10, 16), *range(20, 26), *range(30, 36)]
    assert linear[0, 0, 0].tolist() == [*range(6, 10), *range(16, 20), *range(26, 30), *range(36, 40)]
    assert torch.equal(join_channels(nonlinear, linear), y)


def test_linear_channels_add_what_they_stand_for() -> None:
    """To the picture that the others make: each its own 16x16 pixels, whatever the others are."""
    model = drawn_model(LINEAR, 5)
    position = torch.tensor([1.7])
    y = 5 * torch.randn(1, 4, 8, 40)
    others, linear = split_channels(y, LINEAR)
    with torch.no_grad():
        whole = model.synthesis(y, position)
        without = model.synthesis(join_channels(others, torch.zeros_like(linear)), position)
        cells = (linear.double() @ model.synthesis.linear.weight.double().T).unflatten(-1, (16, 16, 3))
    added = cells.permute(0, 1, 3, 2, 4, 5).reshape(whole.shape)  # (1, 4, 8, 16, 16, 3)
    assert added.std() > 0.1
    torch.testing.assert_close(whole - without, added.float(), atol=2e-5, rtol=0)


@pytest.mark.parametrize("shrink", [1, 2, 4, 8])
def test_a_reduced_picture_is_the_mean_of_the_pixels_before_they_are_rounded(shrink: int) -> None:
    model = drawn_model(LINEAR, 5)
    position, y = torch.tensor([1.7]), torch.randn(1, 4, 8, 40, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole, reduced = model.synthesis(y, position), model.synthesis.pixels(y, position, shrink)
    mean = whole.double().unflatten(2, (-1, shrink)).unflatten(1, (-1, shrink)).mean((2, 4))
    assert 20 < reduced.double().std() < 200
    assert ((reduced - 255 * mean.clamp(0, 1)).abs() <= 0.5 + 1e-2).all()


def _without_margins(blocks: torch.nn.Sequential, x: Tensor, margins: Margins) -> Tensor:
    """The result of blocks without its margins, of which each block but the last leaves out one element."""
    top, bottom, left, right = margins
    *others, last = blocks.children()
    for block in others:
        cut = (min(1, top), min(1, bottom), min(1, left), min(1, right))
        x = block(x, cut)
        top, bottom, left, right = top - cut[0], bottom - cut[1], left - cut[2], right - cut[3]
    result: Tensor = last(x, (top, bottom, left, right))
    return result


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
@pytest.mark.parametrize("count", [1, 3])
def test_blocks_of_the_transforms_compute_what_depth_conv_blocks_do(
    count: int, dtype: torch.dtype, error: float
) -> None:
    blocks, plain = (
        torch.nn.Sequential(*(kind(16, 24) for _ in range(count))) for kind in (TransformBlock, DepthConvBlock)
    )
    for parameter in plain.parameters():
        torch.nn.init.uniform_(parameter, -0.3, 0.3)
    blocks.load_state_dict(plain.state_dict())
    x = 2 * torch.randn(1, 40, 48, 16)  # more elements than are processed at once
    reference = plain(x).detach()
    cut = (count, 2 + count, 0, 3 + count)  # what is left does not read what each block leaves out
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        with_gradients = blocks(x)
        cut_out = _without_margins(blocks, x, cut)
    with torch.inference_mode():
        ready, without = prepared(blocks, dtype), x.clone()
        assert ready(without).data_ptr() == without.data_ptr()
        pair = torch.cat([x, -x])
        both = _without_margins(ready, pair.clone(), cut)
    for found in (with_gradients, without):
        assert (found - reference).abs().max() <= error * reference.abs().max()
    expected = torch.cat([plain(each) for each in (x, -x)]).detach()[:, count : -2 - count, : -3 - count]
    for found, wanted in ((cut_out, expected[:1]), (both, expected)):
        assert (found - wanted).abs().max() <= error * reference.abs().max()
    assert (reference - x).abs().max() > 0.1 * reference.abs().max()


def test_blocks_of_the_analysis_leave_linear_channels_alone() -> None:
    """They are a linear layer's of what is at 1/8, and the others come out as they would without them."""
    model = drawn_model(LINEAR, 5)
    picture, position = torch.rand(1, 64, 64, 3), torch.tensor([1.7])
    before: list[Tensor] = []
    model.analysis.down.register_forward_hook(lambda module, arguments, output: before.append(output))
    with torch.no_grad():
        y = model.analysis(picture, position)
        nonlinear, linear = split_channels(before[0], LINEAR)
        found = split_channels(y, LINEAR)
        assert torch.equal(found[1], linear)
        assert torch.equal(found[0], model.analysis.latent_blocks(nonlinear.clone()))
        assert not torch.equal(found[0], nonlinear)


def test_fused_products_are_those_of_separate_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the rounding of bfloat16, and no less exact: both beside float32."""
    model = drawn_model(TINY, seed=5).analysis.blocks
    x = torch.randn(1, 12, 9, TINY.width, generator=torch.Generator().manual_seed(0))
    blocks = {}
    for fused in (True, False):
        monkeypatch.setattr("dcacodec.network.transforms.has_fused_products", lambda *_, fused=fused: fused)
        blocks[fused] = prepared(model, torch.bfloat16)
    with torch.inference_mode():
        exact, separate = prepared(model, torch.float32)(x.clone()), blocks[False](x.clone())
        try:
            made = {True: blocks[True](x.clone()), False: separate}
        except RuntimeError:
            assert not has_fused_products(torch.bfloat16, CPU)
            pytest.skip("oneDNN has no such products on this processor")
    errors = {fused: (each - exact).square().mean().item() for fused, each in made.items()}
    assert not torch.equal(made[True], x)
    assert 0 < errors[True] < 1.2 * errors[False] < 1e-3 * exact.square().mean().item()


@pytest.mark.parametrize("fault", [None, AttributeError, RuntimeError, TypeError, "activation", "product"])
def test_other_private_operations_are_not_used(fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Operation:
        """The private operation, for a weight that is the identity, or another one in its place."""

        def __call__(self, x: Tensor, _weight: Tensor, bias: Tensor, activation: str, *_: Any) -> Tensor:
            if isinstance(fault, type):
                raise fault("it has other arguments now")
            if activation == "hardtanh":
                return F.hardtanh(x + bias, 0.0, 1.0)
            return x if fault == "activation" else F.hardswish(x + bias)

        def binary(self, x: Tensor, other: Tensor, _weight: Tensor, bias: Tensor, _operation: str) -> Tensor:
            return x if fault == "product" else (x + bias) * other

    monkeypatch.setattr("dcacodec.network.precision.fast_bfloat16", lambda device: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", Operation())
    assert has_fused_products.__wrapped__(torch.bfloat16, CPU) == (fault is None)


class Products(TorchFunctionMode):
    """Counts the products of matrices, and convolutions, by the type of their results."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[torch.dtype] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in (F.linear, F.conv2d, torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, torch.baddbmm):
            self.found[result.dtype] += 1
        return result


@pytest.mark.parametrize("fast", [True, False])
def test_half_precision_is_for_the_transforms_alone(fast: bool, codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcacodec.codec.operating_point.fast_bfloat16", lambda device: fast)
    coder, pixels = codec.at(60), photo(128, 192, seed=3)
    with torch.inference_mode(), Products() as transforms:
        y = coder.point.latent_of(coder.point.tensor_of(pixels))
        hyper = coder.point.hyper_of(y)
    assert transforms.found.keys() == ({torch.bfloat16, torch.float32} if fast else {torch.float32})
    assert not fast or transforms.found[torch.bfloat16] > transforms.found[torch.float32]
    assert float32_is_exact(CPU)  # and its float64 products are made
    with Products() as entropy:
        symbols, _ = coder.quantise(y, hyper, False)
    assert entropy.found.keys() == {torch.float32}
    with Products() as synthesis:
        coder.point.pixels_of(symbols.latent)
    assert synthesis.found.keys() == transforms.found.keys()
