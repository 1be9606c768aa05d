"""Golden files: every release decodes them to the same integers, and encodes these to the same bytes."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from oracle import SKIP_BELOW, Oracle
from tiny import GOLDEN, WEIGHTS

from dcacodec.codec.codec import Codec
from dcacodec.codec.slice_coder import Symbols
from dcacodec.coding import Coder
from dcacodec.format.container import Container, Slice
from dcacodec.format.reader import parse
from dcacodec.format.writer import pack
from dcacodec.weights.reader import Weights

FILES = {
    "130x70-L-q50": "50c2f24a07602454",
    "130x70-RGB-q1": "2200c75da3b6c082",
    "130x70-RGBA-q100": "db599748b410c196",
    "17x5-L-q1": "57cba3f3ce39ca67",
    "17x5-RGB-q100": "acaee2f50a98cf3e",
    "17x5-RGBA-q50": "3fb1b0056aea7846",
    "1x1-L-q50": "4d14e8073b3de0fa",
    "1x1-RGB-q1": "d286f8de2f92ef2e",
    "1x1-RGBA-q100": "ddaf7d6574ad32c7",
    "300x270-RGB-q20-n8": "b3c7ba1f673ef459",
    "300x270-RGB-q50-n8": "0dc95a745fbcdba7",
    "64x64-L-q100": "3ea70ee400e73d7b",
    "64x64-RGB-q50": "8f30b15b8a04370a",
    "64x64-RGB-q65.5": "72326fabf67e313b",
    "64x64-RGBA-q1": "fb50f977f0a8c578",
}
"""Name and the first 16 digits of the SHA-256 of each file, so that none is replaced unnoticed."""
WEIGHTS_DIGEST = "bb143dfb813c24465f1cae534e87a8cdb8a15c1d8a1d31bc5d2fc68378d00862"

Arrays = dict[str, NDArray[np.integer[Any]]]
each_file = pytest.mark.parametrize("name", FILES)


def path_of(name: str) -> Path:
    return GOLDEN / f"{name}.dca"


def recorded(name: str) -> list[Arrays]:
    """The arrays of each slice."""
    with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as file:
        arrays = dict(file)
    if "latent" in arrays:
        return [arrays]
    slices: list[Arrays] = [{} for _ in parse(path_of(name).read_bytes()).slices]
    for key, array in arrays.items():
        index, _, part = key.partition(".")
        slices[int(index)][part] = array
    return slices


def assert_recorded(symbols: Symbols, expected: Arrays) -> None:
    found: Arrays = {"latent": symbols.units[0].numpy(), **symbols.hyper}
    for step, (values, levels) in enumerate(zip(symbols.steps, symbols.rows, strict=True)):
        found[f"step_{step}"] = values
        found[f"level_{step}"] = levels
    assert found.keys() == expected.keys()
    for name in found:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_nothing_was_replaced() -> None:
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() == WEIGHTS_DIGEST
    assert {path.stem for path in GOLDEN.glob("*.dca")} == set(FILES)
    assert {name: hashlib.sha256(path_of(name).read_bytes()).hexdigest()[:16] for name in FILES} == FILES


@each_file
def test_decoded_integers_are_the_recorded_ones(name: str, weights: Weights, each_coder: Coder) -> None:
    container = parse(path_of(name).read_bytes())
    codec = Codec(weights, coder=each_coder)
    for index, (coded, arrays) in enumerate(zip(container.slices, recorded(name), strict=True)):
        symbols = codec.at(container.header.quality).read_slice(container, index)
        assert_recorded(symbols, arrays)
        assert symbols.checksum() == coded.latent_crc


@each_file
def test_recorded_integers_give_the_same_bytes(name: str, weights: Weights, each_coder: Coder) -> None:
    """From the recorded arrays alone, in streams and in the whole file."""
    data = path_of(name).read_bytes()
    container = parse(data)
    codec = Codec(weights, coder=each_coder)
    slices = []
    for index, (coded, arrays) in enumerate(zip(container.slices, recorded(name), strict=True)):
        symbols = Symbols(
            {letter: arrays[letter].astype(np.int32) for letter in "RGL"},
            [arrays[f"step_{step}"].astype(np.int32) for step in range(4)],
            [arrays[f"level_{step}"].astype(np.int64) for step in range(4)],
            torch.from_numpy(arrays["latent"])[None],
            torch.ones(1, *arrays["latent"].shape, dtype=torch.bool),
            container.is_full(index),
        )
        streams = codec.at(container.header.quality).streams_of(symbols)
        assert streams == coded.streams
        slices.append(Slice(streams, symbols.checksum()))
    assert pack(Container(container.header, tuple(slices), container.chunks)) == data


@each_file
def test_oracle_decodes_the_recorded_integers(name: str) -> None:
    data = path_of(name).read_bytes()
    slices = zip(Oracle(WEIGHTS.read_bytes()).decode(data), recorded(name), parse(data).slices, strict=True)
    for decoded, expected, coded in slices:
        np.testing.assert_array_equal(decoded.latent, expected["latent"])
        for letter, values in decoded.hyper.items():
            np.testing.assert_array_equal(values, expected[letter])
        for step in range(4):
            np.testing.assert_array_equal(decoded.steps[step], expected[f"step_{step}"])
            np.testing.assert_array_equal(decoded.levels[step], expected[f"level_{step}"])
        assert decoded.checksum() == coded.latent_crc


@each_file
def test_decodes_to_a_picture_of_the_kind_in_its_name(name: str, codec: Codec) -> None:
    size, mode, *_ = name.split("-")
    picture = codec.decode(path_of(name).read_bytes())
    assert f"{picture.width}x{picture.height}" == size
    assert (picture.gray, picture.alpha is not None) == (mode == "L", mode == "RGBA")


def test_golden_files_hold_what_can_go_wrong(weights: Weights) -> None:
    """Elements skipped and not, escapes and raw bits, fractional means, many levels: a test without would be weak."""
    table = weights.y_table
    skipped = escaped = raw = 0
    levels: set[int] = set()
    fractions: set[int] = set()
    for arrays in (arrays for name in FILES for arrays in recorded(name)):
        skipped += arrays["latent"].size - sum(arrays[f"step_{step}"].size for step in range(4))
        for step in range(4):
            values, rows = arrays[f"step_{step}"], arrays[f"level_{step}"]
            symbols = (values >> table.shift[rows]) - table.low[rows]
            escaped += int(((symbols < 0) | (symbols >= table.escape)).sum())
            raw += int((table.shift[rows] > 0).sum())
            levels |= set(rows.tolist())
        fractions |= set((arrays["latent"] % 512).reshape(-1).tolist())
    assert skipped > 200 and escaped > 10 and raw > 1000
    assert min(levels) < SKIP_BELOW and max(levels) == 127 and len(levels) > 100
    assert len(fractions) == 512
