"""The analysis and synthesis transforms f_a and f_s, and their dependence on the quality.

::

    picture (B, H, W, 3) in 0..1
       | cells of 8x8 pixels -> linear            N channels at 1/8
       | * (1 + scale(q)), depth-conv blocks
       | cells of 2x2 -> linear                   M channels at 1/16
       +-----------------------.
       | depth-conv blocks     | the last L of them ("linear")
       v * gain(q)             v * gain(q)
       y (B, H/16, W/16, M)                       f_s mirrors it, dividing by the gain first, but for the L channels:
                                                  of these a linear layer makes 16x16 pixels, which are added

The linear layers are initialised to a Karhunen-Loeve transform (see :mod:`dcacodec.training.klt`), the blocks to the
identity. The transforms run in ordinary floating point, as entropy decoding does not depend on them. They consist of
convolutions only, so their receptive fields are finite.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcacodec.network.config import LATENT_STRIDE, STEPS, DCAConfig
from dcacodec.network.fixed_point import filter3x3
from dcacodec.network.layers import DepthConvBlock, depth_to_space, part_size, space_to_depth
from dcacodec.network.precision import has_fused_products

CELL = 8
"""Pixels per element at the transforms' working resolution."""
_STRIP = 8
"""Rows of y whose pixels are made at once, so that they stay in the cache."""

Margins: TypeAlias = "tuple[int, int, int, int]"
"""Elements at the top, the bottom, the left and the right of a tensor (B, H, W, C)."""
NO_MARGINS: Margins = (0, 0, 0, 0)
Affine: TypeAlias = "tuple[Tensor, Tensor]"
"""Weight and bias of a layer."""


def without(x: Tensor, margins: Margins) -> Tensor:
    """A view of (B, H, W, C) without its margins."""
    top, bottom, left, right = margins
    return x[:, top : x.shape[1] - bottom, left : x.shape[2] - right]


def analysis_halo(config: DCAConfig) -> int:
    """The distance in pixels up to which f_a reads around the 16x16 pixels of an element of y; a multiple of 16."""
    return _halo(config.analysis_blocks, config.latent_blocks)


def synthesis_halo(config: DCAConfig) -> int:
    """The distance in pixels up to which f_s reads y around a pixel; a multiple of 16."""
    return _halo(config.synthesis_blocks, config.latent_blocks)


def _halo(cell_blocks: int, latent_blocks: int) -> int:
    # Each depth-conv block extends the receptive field by one element.
    reach = cell_blocks * CELL + latent_blocks * LATENT_STRIDE
    return -(-reach // LATENT_STRIDE) * LATENT_STRIDE


def split_channels(y: Tensor, config: DCAConfig) -> tuple[Tensor, Tensor]:
    """y (..., M) -> its nonlinear channels (..., M - L) and its linear ones (..., L), each by quadtree group."""
    shares = (config.latent_nonlinear // STEPS, config.latent_linear // STEPS)
    nonlinear, linear = y.unflatten(-1, (STEPS, -1)).split(shares, -1)
    return nonlinear.flatten(-2), linear.flatten(-2)


def join_channels(nonlinear: Tensor, linear: Tensor) -> Tensor:
    """The inverse of `split_channels`."""
    return torch.cat([part.unflatten(-1, (STEPS, -1)) for part in (nonlinear, linear)], -1).flatten(-2)


class TransformBlock(DepthConvBlock):
    """A depth-conv block that takes fewer operations; up to rounding, its result is the same.

    The factors of the activations are in the weights: PyTorch's hard swish of 1.5 x is 1.5 times ours, and a gate is
    b/4 + 1/2, clamped. See `PreparedBlock` for inference.
    """

    def forward(self, x: Tensor, cut: Margins = NO_MARGINS) -> Tensor:
        """The result without the margins `cut`."""
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        with torch.autocast(device, enabled=False):
            mix, filters, merge, first, second, out = self.scaled(dtype)
            inner = F.hardswish(F.linear(x.to(dtype), *mix))
            x = x + F.linear(filter3x3(inner, *filters, exact=False), *merge)
            a, b = F.linear(x.to(dtype), *first), F.linear(x.to(dtype), *second)
            return without(x + F.linear(a * F.hardtanh(b, 0.0, 1.0), *out), cut)

    def scaled(self, dtype: torch.dtype) -> tuple[Affine, ...]:
        """Weight and bias of six layers, with the factors of the activations: mix, filter, merge, a, b, out.

        The halves of the gate are two products: their gradients are not put together, and each is contiguous.
        """
        (a, b), (a_bias, b_bias) = self.feed.expand.weight.chunk(2), self.feed.expand.bias.chunk(2)
        layers = (
            (self.mix.weight * 1.5, self.mix.bias * 1.5),
            (self.depthwise.weight / 1.5, self.depthwise.bias),
            (self.merge.weight, self.merge.bias),
            (a, a_bias),
            (b * 0.25, b_bias * 0.25 + 0.5),
            (self.feed.out.weight, self.feed.out.bias),
        )
        return tuple((weight.to(dtype), bias.to(dtype)) for weight, bias in layers)


class PreparedBlock(nn.Module):
    """A `TransformBlock` without gradients: its scaled weights are made once, and it works in place.

    On a CPU it works in parts, and in bfloat16 with products that oneDNN fuses with activations. Biases of what is
    added to the residual sum are not added in every block: layers that read the sum have them in their own biases, and
    the last block adds all.

    Args:
        block: the block.
        dtype: of the residual branches.
        missing: (C,), the biases that the sum lacks when it comes in.
        last: whether the result shall lack none.

    Attributes:
        missing: (C,), the biases that the sum lacks when it comes out, unless the block is the last.
    """

    def __init__(self, block: TransformBlock, dtype: torch.dtype, missing: Tensor, last: bool) -> None:
        super().__init__()
        with torch.no_grad():
            mix, filters, merge, first, second, out = block.scaled(missing.dtype)
            between = missing + merge[1]
            self.missing = between + out[1]

            def reading(layer: Affine, lacks: Tensor) -> Affine:
                weight, bias = layer
                return weight.to(dtype), (bias + weight @ lacks).to(dtype)

            self._mix = reading(mix, missing)
            self._filters = filters[0].to(dtype), filters[1].to(dtype)
            self._gate = reading(first, between), reading(second, between)
            self._merge, self._out = merge[0].to(dtype), out[0].to(dtype)
        self._fused = has_fused_products(dtype, missing.device)
        self._added = self.missing if last else None

    def forward(self, x: Tensor, cut: Margins = NO_MARGINS) -> Tensor:
        """The result without the margins `cut`. ``x`` is overwritten."""
        dtype = self._merge.dtype
        with torch.autocast(x.device.type, enabled=False):
            count = part_size() if x.device.type == "cpu" else x.shape[:-1].numel()
            filtered = without(filter3x3(self._mixed(x, count), *self._filters, exact=False), cut)
            x = without(x, cut).contiguous()
            rows = max(1, count // x.shape[2])
            strips = (x.flatten(0, 2).split(rows * x.shape[2]), filtered.flatten(0, 1).split(rows))
            for part, read in zip(*strips, strict=True):
                _add_product(part, read.reshape(part.shape), self._merge)
                _add_product(part, self._gated(part.to(dtype)), self._out)
                if self._added is not None:
                    part.add_(self._added)
            return x

    def _mixed(self, x: Tensor, count: int) -> Tensor:
        """What the filter reads, made in parts of ``count`` elements, or at once where oneDNN fuses it."""
        (weight, bias), dtype = self._mix, self._merge.dtype
        if self._fused:
            return torch.ops.mkldnn._linear_pointwise(x.to(dtype), weight, bias, "hardswish", [], "")
        inner = torch.empty_like(x, dtype=dtype)
        parts = (each.view(-1, x.shape[-1]).split(count) for each in (x, inner))
        for part, to in zip(*parts, strict=True):
            F.hardswish(torch.addmm(bias, part.to(dtype), weight.T, out=to), inplace=True)
        return inner

    def _gated(self, x: Tensor) -> Tensor:
        """What the last layer reads of x (N, C)."""
        first, second = self._gate
        if self._fused:
            slope = torch.ops.mkldnn._linear_pointwise(x, *second, "hardtanh", [0.0, 1.0], "")
            return torch.ops.mkldnn._linear_pointwise.binary(x, slope, *first, "mul")
        a, b = F.linear(x, *first), F.linear(x, *second)
        return b.clamp_(0, 1).mul_(a)


def _add_product(x: Tensor, y: Tensor, weight: Tensor) -> None:
    """Add ``y @ weight.T`` to x (N, C), in place."""
    if x.dtype == y.dtype:
        x.addmm_(y, weight.T)
    else:
        x.add_(F.linear(y, weight))


def prepared(blocks: nn.Sequential, dtype: torch.dtype) -> nn.Sequential:
    """A `PreparedBlock` for each `TransformBlock`."""
    ready: list[PreparedBlock] = []
    for index, block in enumerate(blocks, 1):
        assert isinstance(block, TransformBlock)
        missing = ready[-1].missing if ready else torch.zeros_like(block.merge.bias)
        ready.append(PreparedBlock(block, dtype, missing, last=index == len(blocks)))
    return nn.Sequential(*ready)


def _through(blocks: nn.Sequential, x: Tensor, margins: Margins, reach: int = 0) -> tuple[Tensor, Margins]:
    """Blocks one after the other, each without the margins that nothing reads any more, and the margins that are left.

    Args:
        blocks: `TransformBlock`s or `PreparedBlock`s.
        x: (B, H, W, C).
        margins: of ``x``, of which no result is needed.
        reach: the distance up to which what follows reads the result of the last block.
    """
    for index, block in enumerate(blocks, 1):
        top, bottom, left, right = (min(margin, len(blocks) - index + reach) for margin in margins)
        x = block(x, (margins[0] - top, margins[1] - bottom, margins[2] - left, margins[3] - right))
        margins = (top, bottom, left, right)
    return x, margins


class QualityTable(nn.Module):
    """A vector per quality anchor, linearly interpolated in between.

    ``forward(position)``: (B,) anchor positions in 0..anchors-1 -> (B, 1, 1, C).
    """

    def __init__(self, anchors: int, channels: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.zeros(anchors, channels))

    def forward(self, position: Tensor) -> Tensor:
        grid = torch.arange(self.values.shape[0], device=position.device)
        hat = (1 - (position[:, None] - grid).abs()).clamp(min=0)
        # Gains are exponentials of these: in bfloat16 they would have errors of up to 2 %, different on every device.
        with torch.autocast(position.device.type, enabled=False):
            return (hat @ self.values.float())[:, None, None]


class Analysis(nn.Module):
    """f_a: (B, H, W, 3), H and W multiples of 16 -> y (B, H/16, W/16, M) before the gain.

    Samples are 0..1, or 0..255 in uint8.
    """

    def __init__(self, config: DCAConfig) -> None:
        super().__init__()
        self.config = config
        n, m = config.width, config.latent_nonlinear
        self.patch = nn.Linear(3 * CELL * CELL, n)
        self.scale = QualityTable(config.anchors, n)
        self.blocks = nn.Sequential(*(TransformBlock(n, 2 * n) for _ in range(config.analysis_blocks)))
        self.down = nn.Linear(4 * n, config.latent)
        self.latent_blocks = nn.Sequential(*(TransformBlock(m, 2 * m) for _ in range(config.latent_blocks)))

    def forward(self, picture: Tensor, position: Tensor, margins: Margins = NO_MARGINS) -> Tensor:
        """`margins` of y, in its elements, are not made, and the picture there is only read."""
        # Linear layers between resolutions do not use bfloat16, whose rounding errors would limit high qualities.
        with torch.autocast(picture.device.type, enabled=False):
            # Samples are centred and scaled by the layer, and rearranged while they are small.
            weight, bias = self.patch.weight, self.patch.bias - 0.5 * self.patch.weight.sum(1)
            if picture.dtype == torch.uint8:
                weight = weight / 255
            x = F.linear(space_to_depth(picture, CELL).to(weight.dtype), weight, bias)
            x = x * (1 + self.scale(position)).to(x.dtype)
        ratio = LATENT_STRIDE // CELL
        top, bottom, left, right = (ratio * margin for margin in margins)
        x, cells = _through(self.blocks, x, (top, bottom, left, right), ratio * len(self.latent_blocks))
        top, bottom, left, right = (margin // ratio for margin in cells)
        margins = (top, bottom, left, right)
        with torch.autocast(picture.device.type, enabled=False):
            x = self.down(space_to_depth(x, ratio))
        nonlinear, linear = split_channels(x, self.config)
        nonlinear, rest = _through(self.latent_blocks, nonlinear, margins)
        return join_channels(without(nonlinear, rest), without(linear, margins))


class Synthesis(nn.Module):
    """f_s: y_hat divided by the gain (B, h, w, M) -> picture (B, 16h, 16w, 3), about 0..1, not clipped."""

    def __init__(self, config: DCAConfig) -> None:
        super().__init__()
        self.config = config
        n, m = config.width, config.latent_nonlinear
        self.latent_scale = QualityTable(config.anchors, m)
        self.latent_blocks = nn.Sequential(*(TransformBlock(m, 2 * m) for _ in range(config.latent_blocks)))
        self.up = nn.Linear(m, 4 * n)
        self.shift = QualityTable(config.anchors, n)
        self.scale = QualityTable(config.anchors, n)
        self.blocks = nn.Sequential(*(TransformBlock(n, 2 * n) for _ in range(config.synthesis_blocks)))
        self.patch = nn.Linear(n, 3 * CELL * CELL)
        if config.latent_linear:
            self.linear = nn.Linear(config.latent_linear, 3 * LATENT_STRIDE * LATENT_STRIDE, bias=False)

    def forward(self, latent: Tensor, position: Tensor) -> Tensor:
        features, linear = self._features(latent, position, NO_MARGINS)
        return depth_to_space(self._cells(features, linear, *self._output(1)), CELL)

    def pixels(self, latent: Tensor, position: Tensor, shrink: int = 1, margins: Margins = NO_MARGINS) -> Tensor:
        """The picture as samples 0..255 in uint8, without that of `margins` of y, in its elements.

        With `shrink` 2, 4 or 8 the picture is (B, 16h/shrink, 16w/shrink, 3), the mean of each shrink x shrink pixels.
        As the last layer is linear, its weights are averaged instead of the picture.
        """
        features, linear = self._features(latent, position, margins)
        output = self._output(shrink)
        strips = []
        for x, y in zip(features.split(2 * _STRIP, 1), linear.split(_STRIP, 1), strict=True):
            cells = self._cells(x, y, *output).mul_(255).round_().clamp_(0, 255)
            # PyTorch converts to 16 bits, and these to 8, in half the time.
            strips.append(depth_to_space(cells.short().to(torch.uint8), CELL // shrink))
        return torch.cat(strips, 1)

    def _features(self, latent: Tensor, position: Tensor, margins: Margins) -> tuple[Tensor, Tensor]:
        """What the last layers read: features (B, 2h, 2w, N) and linear channels (B, h, w, L), without margins."""
        ratio = LATENT_STRIDE // CELL
        nonlinear, linear = split_channels(latent, self.config)
        x = nonlinear * (1 + self.latent_scale(position)).to(latent.dtype)
        x, left = _through(self.latent_blocks, x, margins, -(-len(self.blocks) // ratio))
        with torch.autocast(latent.device.type, enabled=False):
            x = depth_to_space(self.up(x), ratio)
            x = torch.addcmul(self.shift(position).to(x.dtype), x, (1 + self.scale(position)).to(x.dtype))
        x, left = _through(self.blocks, x, (ratio * left[0], ratio * left[1], ratio * left[2], ratio * left[3]))
        return without(x, left), without(linear, margins)

    def _output(self, shrink: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Weight and bias of the last layer, and the weight for the linear channels, for 16x16 pixels as four cells."""
        weight, bias = (_averaged(each, CELL, shrink) for each in (self.patch.weight, self.patch.bias + 0.5))
        if not self.config.latent_linear:
            return weight, bias, None
        side = CELL // shrink
        linear = _averaged(self.linear.weight, LATENT_STRIDE, shrink).unflatten(0, (2, side, 2, side, 3))
        return weight, bias, linear.transpose(1, 2).flatten(0, 4)

    def _cells(
        self, features: Tensor, linear: Tensor, weight: Tensor, bias: Tensor, linear_weight: Tensor | None
    ) -> Tensor:
        """The picture as vectors of CELL/shrink x CELL/shrink x 3 samples: (B, 2h, 2w, ...)."""
        with torch.autocast(features.device.type, enabled=False):
            cells = F.linear(features, weight, bias)
        if linear_weight is None:
            return cells
        # In bfloat16 where the branches are: it changes the PSNR of photographs by less than 0.001 dB.
        rest = F.linear(linear.flatten(0, 2), linear_weight).view(*linear.shape[:3], -1)
        return cells.add_(depth_to_space(rest, 2))


def _averaged(rows: Tensor, side: int, shrink: int) -> Tensor:
    """Average (side * side * 3, ...), in the order row, column, channel of a cell, over shrink x shrink pixels."""
    if shrink == 1:
        return rows
    return rows.unflatten(0, (side // shrink, shrink, side // shrink, shrink, -1)).mean((1, 3)).flatten(0, 2)
