"""The exact path of the codec a second time, from the specification (docs/reference/format.md), in NumPy integers.

Without PyTorch, and without code of the network.

It computes what a decoder computes before the last symbol is decoded, in int64 arithmetic with explicit rounding, and
asserts on the way that the magnitudes of the terms of no sum add up to 2**24 units: in whatever order it is computed,
float32 is exact. Three things are done in another way than in `dcacodec.network`, so that one cannot be wrong like the
other: the quadtree steps are masks over the whole latent (there are no phases), window attention is attention over all
positions of the latent in which those of other windows are hidden, and all contexts are whole arrays in which zeros
stand for what is not known yet.

Slow: for small pictures and small networks.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from integers import (
    ACTIVATION,
    EXACT,
    FINEST_WEIGHT,
    SHARE,
    Int,
    Mask,
    attention,
    depth_to_space,
    divide,
    exponentials,
    gated,
    integers,
    rows_of,
    scale_bits,
    shift_right,
)
from safetensors.numpy import load as load_tensors

from dcacodec.coding import CdfTable, PythonCoder, decode_values
from dcacodec.format.container import Slice
from dcacodec.format.reader import parse

Code = Callable[[int, Mask, Int, Int], Int]
"""(step, which elements (H, W, M) it codes, means in units of 2**-9, levels) -> residuals; the last three (H, W, M)."""

LATENT, SCALE, ROOT = 9, 16, 14
LATENT_CLAMP = 1 << 12 + LATENT
NORM_CLAMP = (1 << 12) - 1
STEP_POSITIONS = ((0, 1, 2, 3), (3, 2, 1, 0), (2, 3, 0, 1), (1, 0, 3, 2))
"""[step][group]: the position in its 2x2 cell at which a group of channels is coded."""
SKIP_BELOW = 6
HIGHEST_LEVEL = 127


def step_mask(step: int, height: int, width: int, channels: int) -> Mask:
    """Which elements of the latent a step codes."""
    row, column, channel = np.ogrid[:height, :width, :channels]
    group = channel // (channels // 4)
    mask: Mask = np.asarray(STEP_POSITIONS[step])[group] == 2 * (row % 2) + column % 2
    return mask


@dataclass(frozen=True)
class Decoded:
    """hyper by letter; steps and levels of what each step codes; latent is y_hat (H, W, M) in units of 2**-9."""

    hyper: dict[str, Int]
    steps: list[Int]
    levels: list[Int]
    latent: Int

    def checksum(self) -> int:
        crc = 0
        for values in [*(self.hyper[letter] for letter in "RGL" if letter in self.hyper), self.latent]:
            crc = zlib.crc32(values.astype("<i4").tobytes(), crc)
        return crc


class Oracle:
    """A decoder's integers, from the bytes of a weights file."""

    def __init__(self, data: bytes) -> None:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        self.config: dict[str, Any] = json.loads(header["__metadata__"]["config"])
        self.fingerprint = hashlib.sha256(data).digest()[:4]
        tensors = load_tensors(data)
        prefix = "entropy."
        entropy = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        assert all(
            t.dtype == (np.float16 if name.endswith((".weight", ".gain")) else np.float32)
            for name, t in entropy.items()
        )
        self.parameters = entropy
        self.layers = {
            layer: rows_of(tensor, entropy.get(f"{layer}.bias"))
            for name, tensor in entropy.items()
            if (layer := name.removesuffix(".weight")) != name
        }
        self.scales = [tensors[f"scales.{name}"].astype(np.int64) for name in ("inward", "outward", "level")]
        self.tables = {
            name: CdfTable(*(tensors[f"table.{name}.{part}"] for part in ("cdf", "low", "shift")))
            for name in ("y", *self.config["order"])
        }

    # Layers. All arrays are X.6.

    def snap(self, name: str, units: Int, bits: int | Int) -> Int:
        """X.(6 + bits) -> X.6, within the limits."""
        limit = integers(self.parameters[f"{name}.limit"], ACTIVATION)
        assert limit.min() >= 1 and limit.max() < 1 << 15
        return shift_right(units, bits).clip(-limit, limit)

    def sums(self, name: str, x: Int) -> tuple[Int, Int, Int]:
        """The sums of a linear layer, the sums of the magnitudes of their terms, and w: X.(6 + w) each."""
        rows = self.layers[name]
        return x @ rows.units.T + rows.added, np.abs(x) @ np.abs(rows.units.T) + np.abs(rows.added), rows.bits

    def linear(self, name: str, x: Int, residual: Int | None = None) -> Int:
        total, size, bits = self.sums(name, x)
        if residual is not None:
            total, size = total + (residual << bits), size + (np.abs(residual) << bits)
        assert size.max() < EXACT, name
        return self.snap(f"{name}.snap", total, bits)

    def depthwise(self, name: str, x: Int) -> Int:
        weight, bias, bits = self.layers[name]
        height, width, _ = x.shape
        total = np.broadcast_to(bias, x.shape).copy()
        size = np.abs(total)
        for row in range(height):
            for column in range(width):
                for down in (-1, 0, 1):
                    for across in (-1, 0, 1):
                        if 0 <= row + down < height and 0 <= column + across < width:
                            term = weight[:, 0, down + 1, across + 1] * x[row + down, column + across]
                            total[row, column] += term
                            size[row, column] += np.abs(term)
        assert size.max() < EXACT, name
        return self.snap(f"{name}.snap", total, bits)

    def feed(self, name: str, x: Int, residual: Int) -> Int:
        a, b = np.split(self.linear(f"{name}.expand", x), 2, -1)
        return self.linear(f"{name}.out", gated(a, b), residual)

    def depth_conv_block(self, name: str, x: Int) -> Int:
        inner = self.linear(f"{name}.mix", x)
        inner = self.depthwise(f"{name}.depthwise", gated(inner, inner))
        x = self.linear(f"{name}.merge", inner, x)
        return self.feed(f"{name}.feed", x, x)

    def normalise(self, name: str, x: Int) -> Int:
        x, channels = x.clip(-NORM_CLAMP, NORM_CLAMP), x.shape[-1]
        assert NORM_CLAMP**2 < EXACT
        energy = (x * x).sum(-1, keepdims=True)
        # Two single operations of doubles (scaling by a power of two rounds nothing); the rest are integers.
        mean = energy.astype(np.float64) * 2.0 ** (-2 * ACTIVATION) * (1.0 / channels) + 2.0**-12
        square = np.floor(mean * 2.0 ** (2 * ROOT)).astype(np.int64)
        roots = [math.isqrt(value) for value in square.reshape(-1).tolist()]
        lengths = np.array([root.bit_length() for root in roots], np.int64).reshape(square.shape)
        root = np.array(roots, np.int64).reshape(square.shape)
        inverse = divide(1 << lengths + 10, root)  # 2**10..2**11, in units of 2**(4 - length)
        assert (np.abs(x) * inverse).max() < EXACT
        normalised = shift_right(x * inverse, lengths - 4)
        gain = rows_of(self.parameters[f"{name}.gain"][:, None], None)
        product = normalised * gain.units[:, 0]
        assert np.abs(product).max() <= EXACT
        return self.snap(f"{name}.snap", product, gain.bits)

    def window_attention(self, name: str, x: Int, residual: Int, shifted: bool) -> Int:
        """Over all positions; what is not in the same window is hidden."""
        height, width, channels = x.shape
        side = self.config["window"]
        front = side // 2 if shifted else 0
        row, column = (axis.reshape(-1) for axis in np.indices((height, width)))
        window = np.stack([(row + front) // side, (column + front) // side], -1)
        hidden = (window[:, None] != window[None]).any(-1)
        down, across = row[:, None] - row[None], column[:, None] - column[None]
        place = np.where(hidden, 0, (down + side - 1) * (2 * side - 1) + across + side - 1)
        heads, position = max(1, channels // 32), integers(self.parameters[f"{name}.position"], ACTIVATION)
        triple = self.linear(f"{name}.triple", x).reshape(height * width, 3, heads, -1)
        parts = [
            attention(triple[:, 0, h], triple[:, 1, h], triple[:, 2, h], position[h][place], hidden)
            for h in range(heads)
        ]
        return self.linear(f"{name}.out", np.concatenate(parts, -1).reshape(height, width, channels), residual)

    def swin_pair(self, name: str, x: Int) -> Int:
        for index, shifted in enumerate((False, True)):
            block = f"{name}.{index}"
            x = self.window_attention(f"{block}.attention", self.normalise(f"{block}.norm1", x), x, shifted)
            x = self.feed(f"{block}.feed", self.normalise(f"{block}.norm2", x), x)
        return x

    def expand(self, name: str, x: Int) -> Int:
        return depth_to_space(self.linear(f"{name}.linear", x))

    def token_attention(self, name: str, x: Int, tokens: Int, residual: Int) -> Int:
        """x and residual (Q, C), tokens (K, C)."""
        count, channels = x.shape
        heads = max(1, channels // 32)
        keys, biases, values = (self.linear(f"{name}.{part}", tokens) for part in ("keys", "biases", "values"))
        keys, values = (part.reshape(-1, heads, channels) for part in (keys, values))
        total = residual << SHARE  # X.14
        size = np.abs(total)
        for h in range(heads):
            bias = np.broadcast_to(biases[:, h], (count, len(tokens)))
            weights = exponentials(x, keys[:, h], bias, scale_bits(channels // heads))
            shares = divide(weights << SHARE, weights.sum(1, keepdims=True))
            total, size = total + shares @ values[:, h], size + shares @ np.abs(values[:, h])
        assert size.max() < EXACT, name
        return self.snap(f"{name}.snap", total, SHARE)

    # The entropy model

    def features(self, letter: str, latent: Int) -> Int:
        """phi of a hyper latent: (H, W, C), of G (tokens, C)."""
        name, x = f"synthesis.{letter}", self.snap(f"hyper_snap.{letter}", latent << ACTIVATION, 0)
        if letter == "G":
            return self.linear(f"{name}.linear", x)
        if letter == "L":
            return self.linear(f"{name}.out", self.swin_pair(f"{name}.swin", self.linear(f"{name}.expand", x)))
        return self.expand(f"{name}.expand2", self.swin_pair(f"{name}.swin", self.expand(f"{name}.expand1", x)))

    def spatial_stage(self, name: str, state: Int, feature: Int) -> Int:
        """A stage that is the first has no layer `carry`: what it reads was added before, see `added_first`."""
        if f"{name}.carry" in self.layers:
            state = self.linear(f"{name}.carry", state, self.linear(f"{name}.bring", feature))
        return self.depth_conv_block(f"{name}.block", state)

    def added_first(self, name: str, feature: Int) -> Int | None:
        """What is added in front of the first stage."""
        return None if f"{name}.norm.gain" in self.parameters else self.linear(f"{name}.bring", feature)

    def global_stage(self, name: str, state: Int, feature: Int) -> Int:
        flat = state.reshape(-1, state.shape[-1])
        return self.token_attention(f"{name}.read", self.normalise(f"{name}.norm", flat), feature, flat).reshape(
            state.shape
        )

    def run_stages(self, state: Int, features: dict[str, Int]) -> Int:
        for letter in self.config["order"]:
            stage = self.global_stage if letter == "G" else self.spatial_stage
            state = stage(f"stages.{letter}", state, features[letter])
        return state

    def predict(self, state: Int, outward: Int, base: Int) -> tuple[Int, Int]:
        """Means X.9 and scale levels of all elements."""
        total, size, bits = self.sums("head", state)
        assert size.max() < EXACT
        (total, detail), (bits, detail_bits) = np.split(total, 2, -1), np.split(bits, 2)
        product = total * outward  # X.(6 + w + 16)
        mean = shift_right(product, ACTIVATION + bits + SCALE - LATENT).clip(-LATENT_CLAMP, LATENT_CLAMP)
        assert ((np.abs(product) <= 1 << 53) | (np.abs(mean) == LATENT_CLAMP)).all()
        finest = ACTIVATION + FINEST_WEIGHT
        level = 16 * (detail << FINEST_WEIGHT - detail_bits) + (base << finest - LATENT)  # X.20, a multiple of 2**-16
        return mean, shift_right(level.clip(0, HIGHEST_LEVEL << finest), finest)

    def run(self, hyper: dict[str, Int], size: tuple[int, int], quality: float, code: Code) -> Int:
        """The four steps -> y_hat (H, W, M) in units of 2**-9."""
        channels, context = self.config["latent"], self.config["context"]
        inward, outward, base = (self.scales_of(table, quality) for table in self.scales)
        features = {letter: self.features(letter, hyper[letter]) for letter in self.config["order"]}
        first = self.config["order"][0]
        added = self.added_first(f"stages.{first}", features[first])
        bundle = None
        if not self.config["adaptive"]:
            start = np.broadcast_to(integers(self.parameters["bundle"], ACTIVATION), (*size, context))
            bundle = self.run_stages(self.snap("bundle_snap", start if added is None else start + added, 0), features)
            added = self.added_first("merged.0", bundle) if set(self.config["order"]) != {"G"} else None
        latent = np.zeros((*size, channels), np.int64)
        known = np.zeros((*size, channels), np.bool_)
        for step in range(4):
            groups = np.split(latent * inward, 4, -1)
            read = np.concatenate(
                [self.snap(f"known_snaps.{g}", x, LATENT + SCALE - ACTIVATION) for g, x in enumerate(groups)], -1
            )
            state = self.linear(f"starts.{step}", np.where(known, read, 0), added)
            if bundle is None:
                state = self.run_stages(state, features)
            else:
                for index in range(sum(letter != "G" for letter in self.config["order"])):
                    state = self.spatial_stage(f"merged.{index}", state, bundle)
            mean, level = self.predict(state, outward, base)
            mask = step_mask(step, *size, channels)
            assert not (known & mask).any()
            residual = code(step, mask, mean, level)
            latent = np.where(mask, (residual << LATENT) + mean, latent)
            known |= mask
        assert known.all()
        return latent

    # Files

    @staticmethod
    def scales_of(table: Int, quality: float) -> Int:
        """The row of a quality, interpolated between those of whole qualities, halves up."""
        whole, tenth = divmod(round(quality * 10), 10)
        row: Int = table[whole - 1].astype(np.int64)
        if tenth:
            row = (row * (10 - tenth) + table[whole].astype(np.int64) * tenth + 5) // 10
        return row

    def table_row(self, quality: float) -> int:
        """The quality anchor nearest to a quality, the higher one where two are as near."""
        anchors: int = self.config["anchors"]
        return (2 * (round(quality * 10) - 10) * (anchors - 1) + 990) // 1980

    def decode(self, data: bytes) -> list[Decoded]:
        """The integers of a file, slice by slice."""
        container = parse(data)
        header = container.header
        assert header.fingerprint == self.fingerprint
        side = 1 << header.slice_log2 if header.slice_log2 else max(header.width, header.height)
        sizes = [
            (min(side, header.height - top), min(side, header.width - left))
            for top in range(0, header.height, side)
            for left in range(0, header.width, side)
        ]
        return [
            self.decode_slice(coded, *size, header.quality, container.is_full(index))
            for index, (coded, size) in enumerate(zip(container.slices, sizes, strict=True))
        ]

    def decode_slice(self, coded: Slice, height: int, width: int, quality: float, full: bool = False) -> Decoded:
        """The integers of a slice of so many pixels."""
        coder = PythonCoder()
        streams = dict(zip(("R", "G", "L", 0, 1, 2, 3), coded.streams, strict=True))
        down, across = (-(-side // 64) for side in (height, width))
        shapes = {
            "R": (down, across, self.config["regional"]),
            "G": (self.config["tokens"], self.config["token_width"]),
            "L": (4 * down, 4 * across, self.config["local"]),
        }
        hyper = {}
        for letter, shape in shapes.items():
            if letter in self.config["order"]:
                channel = np.indices(shape)[-1].reshape(-1)
                rows = self.table_row(quality) * shape[-1] + channel
                values = decode_values(streams[letter], rows, self.tables[letter], coder)
                hyper[letter] = values.astype(np.int64).reshape(shape)
        steps: list[Int] = []
        levels: list[Int] = []

        def code(step: int, mask: Mask, mean: Int, level: Int) -> Int:
            coded = mask & (level >= (0 if full else SKIP_BELOW))
            levels.append(level[coded])
            steps.append(decode_values(streams[step], levels[-1], self.tables["y"], coder).astype(np.int64))
            residual = np.zeros_like(mean)
            residual[coded] = steps[-1]
            return residual

        latent = self.run(hyper, (4 * down, 4 * across), quality, code)
        return Decoded(hyper, steps, levels, latent)
