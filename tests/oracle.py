"""The exact path of the codec a second time, from docs/format.md: NumPy integers, no PyTorch, no code of the network.

It computes what a decoder computes before the last symbol is decoded, in int64 arithmetic with explicit rounding, and
asserts on the way that no sum could leave the range in which doubles are exact. Three things are done in another way
than in `dcacodec.network`, so that one cannot be wrong like the other: the quadtree steps are masks over the whole
latent (there are no phases), window attention is attention over all positions of the latent in which those of other
windows are hidden, and all contexts are whole arrays in which zeros stand for what is not known yet.

Slow: for small pictures and small networks.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_tensors

from dcacodec.coding import CdfTable, PythonCoder, decode_values
from dcacodec.format.container import Slice
from dcacodec.format.reader import parse

Int = NDArray[np.int64]
Mask = NDArray[np.bool_]
Code = Callable[[int, Mask, Int, Int], Int]
"""(step, which elements (H, W, M) it codes, means in units of 2**-9, levels) -> residuals; the last three (H, W, M)."""

ACTIVATION, WEIGHT, SCALE, ROOT, LOGIT = 9, 12, 16, 14, 6
CLAMP = 1 << 12 + ACTIVATION
EXACT = 1 << 53
STEP_POSITIONS = ((0, 1, 2, 3), (3, 2, 1, 0), (2, 3, 0, 1), (1, 0, 3, 2))
"""[step][group]: the position in its 2x2 cell at which a group of channels is coded."""
SKIP_BELOW = 6
HIGHEST_LEVEL = 127
EXPONENTIALS = np.array([*(round(65536 * math.exp(-d / 64)) for d in range(768)), 0], np.int64)


class Fixed(NamedTuple):
    """Numbers: units * 2**-bits."""

    units: Int
    bits: int = ACTIVATION


def shift_right(units: Int, bits: int) -> Int:
    """units / 2**bits, rounded half to even."""
    if bits == 0:
        return units
    floor, rest, half = units >> bits, units & (1 << bits) - 1, 1 << bits - 1
    up = (rest > half) | ((rest == half) & (floor & 1 == 1))
    rounded: Int = floor + up
    return rounded


def snap(x: Fixed) -> Fixed:
    assert x.bits >= ACTIVATION
    return Fixed(shift_right(x.units, x.bits - ACTIVATION).clip(-CLAMP, CLAMP))


def snap_quotient(numerator: Int, denominator: Int) -> Fixed:
    """The quotient in units of 2**-9: one division of doubles, then rounded to an integer and clamped."""
    assert np.abs(numerator).max() < EXACT and denominator.max() < EXACT
    quotient = np.rint(numerator.astype(np.float64) / denominator.astype(np.float64))
    return Fixed(quotient.astype(np.int64).clip(-CLAMP, CLAMP))


def product(x: Fixed, y: Fixed) -> Fixed:
    """Element by element, exact."""
    assert int(np.abs(x.units).max()) * int(np.abs(y.units).max()) < EXACT
    return Fixed(x.units * y.units, x.bits + y.bits)


def matrix_product(x: Int, y: Int) -> Int:
    """x @ y, exact; sums of its terms stay below 2**53 in any order."""
    assert int(np.abs(x).max()) * int(np.abs(y).sum(-2).max()) < EXACT
    return x @ y


def add(x: Fixed, y: Fixed) -> Fixed:
    """Snapped."""
    bits = max(x.bits, y.bits)
    return snap(Fixed((x.units << bits - x.bits) + (y.units << bits - y.bits), bits))


def hard_sigmoid(x: Fixed) -> Fixed:
    bits = x.bits + 2
    return Fixed((x.units + (1 << bits - 1)).clip(0, 1 << bits), bits)


def attention(query: Int, key: Int, value: Int, bias: Int | None = None, hidden: Mask | None = None) -> Int:
    """(Q, D), (K, D), (K, E) in units of 2**-9 -> (Q, E), likewise. bias (Q, K) X.12; hidden (Q, K)."""
    down = math.ceil(math.log2(query.shape[1]) / 2)
    logits = matrix_product(query, key.T)  # X.(18 + down)
    bits = 2 * ACTIVATION + down
    if bias is not None:
        logits = logits + (bias << bits - WEIGHT)
    assert np.abs(logits).max() < EXACT
    logits = shift_right(logits, bits - LOGIT)
    if hidden is not None:
        assert not hidden.all(1).any()
        logits = np.where(hidden, np.iinfo(np.int64).min // 2, logits)
    weights = EXPONENTIALS[(logits.max(1, keepdims=True) - logits).clip(max=768)]
    return snap_quotient(matrix_product(weights, value), weights.sum(1, keepdims=True)).units


def depth_to_space(x: Int) -> Int:
    """(h, w, 4 * C) -> (2h, 2w, C): the vector runs over row, column, channel of a cell."""
    height, width, depth = x.shape
    out = np.empty((2 * height, 2 * width, depth // 4), np.int64)
    for row in range(2):
        for column in range(2):
            first = (2 * row + column) * depth // 4
            out[row::2, column::2] = x[:, :, first : first + depth // 4]
    return out


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
        assert all(t.dtype == (np.int16 if name.endswith(".weight") else np.int32) for name, t in entropy.items())
        self.parameters = {name: t.astype(np.int64) for name, t in entropy.items()}
        self.scales = [tensors[f"scales.{name}"].astype(np.int64) for name in ("inward", "outward", "level")]
        self.tables = {
            name: CdfTable(*(tensors[f"table.{name}.{part}"] for part in ("cdf", "low", "shift")))
            for name in ("y", *self.config["order"])
        }

    # Layers

    def linear(self, name: str, x: Fixed) -> Fixed:
        weight, bias = self.parameters[f"{name}.weight"], self.parameters.get(f"{name}.bias")
        total = matrix_product(x.units.reshape(-1, x.units.shape[-1]), weight.T).reshape(*x.units.shape[:-1], -1)
        if bias is not None:
            total = total + (bias << x.bits)
        assert np.abs(total).max() < EXACT
        return snap(Fixed(total, x.bits + WEIGHT))

    def depthwise(self, name: str, x: Fixed) -> Fixed:
        weight, bias = self.parameters[f"{name}.weight"], self.parameters[f"{name}.bias"]
        height, width, _ = x.units.shape
        total = np.broadcast_to(bias << x.bits, x.units.shape).copy()
        for row in range(height):
            for column in range(width):
                for down in (-1, 0, 1):
                    for across in (-1, 0, 1):
                        if 0 <= row + down < height and 0 <= column + across < width:
                            tap = weight[:, 0, down + 1, across + 1]
                            total[row, column] += tap * x.units[row + down, column + across]
        return snap(Fixed(total, x.bits + WEIGHT))

    def gated(self, name: str, x: Fixed) -> Fixed:
        a, b = np.split(self.linear(f"{name}.expand", x).units, 2, -1)
        return self.linear(f"{name}.out", snap(product(Fixed(a), hard_sigmoid(Fixed(b)))))

    def depth_conv_block(self, name: str, x: Fixed) -> Fixed:
        inner = self.linear(f"{name}.mix", x)
        inner = self.depthwise(f"{name}.depthwise", snap(product(inner, hard_sigmoid(inner))))
        x = add(x, self.linear(f"{name}.merge", inner))
        return add(x, self.gated(f"{name}.feed", x))

    def normalise(self, name: str, x: Fixed) -> Fixed:
        channels = x.units.shape[-1]
        energy = (x.units * x.units).sum(-1, keepdims=True)
        assert energy.max() < EXACT
        # Two single operations of doubles (scaling by a power of two rounds nothing), a root of integers, one division.
        mean = energy.astype(np.float64) * 2.0 ** (-2 * x.bits) * (1.0 / channels) + 2.0**-12
        square = np.floor(mean * 2.0 ** (2 * ROOT)).astype(np.int64)
        root = np.array([math.isqrt(value) for value in square.reshape(-1).tolist()], np.int64).reshape(square.shape)
        normalised = snap_quotient(x.units << ROOT + ACTIVATION - x.bits, root)
        return snap(product(normalised, Fixed(self.parameters[f"{name}.gain"], WEIGHT)))

    def window_attention(self, name: str, x: Fixed, shifted: bool) -> Fixed:
        """Over all positions; what is not in the same window is hidden."""
        height, width, channels = x.units.shape
        side = self.config["window"]
        front = side // 2 if shifted else 0
        row, column = (axis.reshape(-1) for axis in np.indices((height, width)))
        window = np.stack([(row + front) // side, (column + front) // side], -1)
        hidden = (window[:, None] != window[None]).any(-1)
        down, across = row[:, None] - row[None], column[:, None] - column[None]
        place = np.where(hidden, 0, (down + side - 1) * (2 * side - 1) + across + side - 1)
        heads, position = max(1, channels // 32), self.parameters[f"{name}.position"]
        triple = self.linear(f"{name}.triple", x).units.reshape(height * width, 3, heads, -1)
        parts = [
            attention(triple[:, 0, h], triple[:, 1, h], triple[:, 2, h], position[h][place], hidden)
            for h in range(heads)
        ]
        return self.linear(f"{name}.out", Fixed(np.concatenate(parts, -1).reshape(height, width, channels)))

    def swin_pair(self, name: str, x: Fixed) -> Fixed:
        for index, shifted in enumerate((False, True)):
            block = f"{name}.{index}"
            inner = self.normalise(f"{block}.norm1", x)
            x = add(x, self.window_attention(f"{block}.attention", inner, shifted))
            x = add(x, self.gated(f"{block}.feed", self.normalise(f"{block}.norm2", x)))
        return x

    def expand(self, name: str, x: Fixed) -> Fixed:
        return Fixed(depth_to_space(self.linear(f"{name}.linear", x).units))

    def cross_attention(self, name: str, x: Fixed, source: Fixed) -> Fixed:
        """x (Q, C), source (K, C)."""
        count, channels = x.units.shape
        heads = max(1, channels // 32)
        query = self.linear(f"{name}.query", x).units.reshape(count, heads, -1)
        pair = self.linear(f"{name}.pair", source).units.reshape(len(source.units), 2, heads, -1)
        parts = [attention(query[:, h], pair[:, 0, h], pair[:, 1, h]) for h in range(heads)]
        return self.linear(f"{name}.out", Fixed(np.concatenate(parts, -1)))

    # The entropy model

    def features(self, letter: str, latent: Int) -> Fixed:
        """phi of a hyper latent: (H, W, C), of G (tokens, C)."""
        name, x = f"synthesis.{letter}", Fixed(latent << ACTIVATION)
        if letter == "G":
            return self.linear(f"{name}.linear", x)
        if letter == "L":
            return self.linear(f"{name}.out", self.swin_pair(f"{name}.swin", self.linear(f"{name}.expand", x)))
        return self.expand(f"{name}.expand2", self.swin_pair(f"{name}.swin", self.expand(f"{name}.expand1", x)))

    def spatial_stage(self, name: str, state: Fixed, feature: Fixed) -> Fixed:
        joined = add(self.linear(f"{name}.carry", state), self.linear(f"{name}.bring", feature))
        return self.depth_conv_block(f"{name}.block", joined)

    def global_stage(self, name: str, state: Fixed, feature: Fixed) -> Fixed:
        shape = state.units.shape
        query = Fixed(self.normalise(f"{name}.norm", state).units.reshape(-1, shape[-1]))
        return add(state, Fixed(self.cross_attention(f"{name}.read", query, feature).units.reshape(shape)))

    def run_stages(self, state: Fixed, features: dict[str, Fixed]) -> Fixed:
        for letter in self.config["order"]:
            stage = self.global_stage if letter == "G" else self.spatial_stage
            state = stage(f"stages.{letter}", state, features[letter])
        return state

    def run(self, hyper: dict[str, Int], size: tuple[int, int], quality: float, code: Code) -> Int:
        """The four steps -> y_hat (H, W, M) in units of 2**-9."""
        channels, context = self.config["latent"], self.config["context"]
        inward, outward, base = (self.scales_of(table, quality) for table in self.scales)
        features = {letter: self.features(letter, hyper[letter]) for letter in self.config["order"]}
        bundle = None
        if not self.config["adaptive"]:
            start = np.broadcast_to(self.parameters["bundle"], (*size, context))
            bundle = self.run_stages(Fixed(start, WEIGHT), features)
        latent = np.zeros((*size, channels), np.int64)
        known = np.zeros((*size, channels), np.bool_)
        for step in range(4):
            name = f"starts.{step}"
            if step == 0:  # nothing is known: the bias alone, not rounded
                state = Fixed(np.broadcast_to(self.parameters[f"{name}.bias"], (*size, context)), WEIGHT)
            else:
                read = snap(product(Fixed(latent), Fixed(inward, SCALE)))
                state = self.linear(name, Fixed(np.where(known, read.units, 0)))
            if bundle is None:
                state = self.run_stages(state, features)
            else:
                for index in range(sum(letter != "G" for letter in self.config["order"])):
                    state = self.spatial_stage(f"merged.{index}", state, bundle)
            mean, detail = np.split(self.linear("head", state).units, 2, -1)
            mean = snap(product(Fixed(mean), Fixed(outward, SCALE))).units
            level = shift_right((detail * 16 + base).clip(0, HIGHEST_LEVEL << ACTIVATION), ACTIVATION)
            mask = step_mask(step, *size, channels)
            assert not (known & mask).any()
            residual = code(step, mask, mean, level)
            latent = np.where(mask, (residual << ACTIVATION) + mean, latent)
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
