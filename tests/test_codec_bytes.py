"""The bytes of a file: as many as estimated, and the same each time, from every thread and every copy of a codec."""

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny import WEIGHTS, photo, picture, symbols_of

from dcacodec.codec.codec import Codec
from dcacodec.codec.slice_coder import HYPER_ORDER, Symbols
from dcacodec.coding import CoderUnavailableError, PythonCoder, TorchacCoder, ideal_bits
from dcacodec.format.container import Slice, full_chunk
from dcacodec.format.reader import parse
from dcacodec.weights.reader import Weights, read_weights


def estimated_bytes(codec: Codec, symbols: Symbols, quality: int) -> float:
    weights, bits = codec.weights, 0.0
    for letter, values in symbols.hyper.items():
        rows = codec.at(quality).point.prior_rows(values.shape)
        bits += ideal_bits(values.reshape(-1), rows, weights.z_tables[letter])
    for values, rows in zip(symbols.steps, symbols.rows, strict=True):
        bits += ideal_bits(values, rows, weights.y_table)
    return bits / 8


@pytest.mark.parametrize("quality", [1, 30, 60, 100])
def test_files_are_as_long_as_estimated(codec: Codec, quality: int) -> None:
    source = picture(260, 390, seed=4)
    estimate = estimated_bytes(codec, symbols_of(codec, source.pixels, quality), quality)
    size = len(codec.encode(source, quality=quality, lossless=False))
    assert estimate > 3000
    assert estimate < size < 1.01 * estimate + 40


@pytest.mark.parametrize("letter", ["R", "G", "L", "y"])
def test_each_stream_is_as_long_as_estimated(codec: Codec, letter: str) -> None:
    source = picture(260, 390, seed=5)
    symbols = symbols_of(codec, source.pixels, 70)
    streams = codec.at(70).streams_of(symbols)
    part = replace(
        symbols,
        hyper={name: values for name, values in symbols.hyper.items() if name == letter},
        steps=symbols.steps if letter == "y" else [],
        rows=symbols.rows if letter == "y" else [],
    )
    used = streams[3:] if letter == "y" else [streams[HYPER_ORDER.index(letter)]]
    size, estimate = sum(map(len, used)), estimated_bytes(codec, part, 70)
    assert estimate - 1 < size < 1.001 * estimate + 5 * len(used)


def test_quality_is_a_knob(codec: Codec) -> None:
    sizes = [
        len(codec.encode(picture(128, 128, seed=1), quality=quality, lossless=False)) for quality in (1, 34, 67, 100)
    ]
    assert sizes == sorted(sizes) and sizes[-1] > 1.5 * sizes[0]


def test_encoding_twice_gives_equal_bytes(codec: Codec) -> None:
    source = picture(100, 90, seed=1, mode="RGBA")
    first = codec.encode(source, quality=42)
    assert codec.encode(source, quality=42) == first
    other = Codec(read_weights(WEIGHTS), coder=PythonCoder())
    assert other.encode(source, quality=42) == first


def test_threads_share_a_codec(codec: Codec) -> None:
    """The same bytes and pictures as one after the other, while both threads run at the same time."""
    jobs = [(picture(60 + 10 * seed, 90, seed), 10 * seed + 5) for seed in range(6)]
    files = [codec.encode(source, quality=quality) for source, quality in jobs]
    pictures = [codec.decode(data).pixels for data in files]
    start = threading.Barrier(2)

    def work(indices: range) -> list[tuple[bytes, NDArray[np.uint8]]]:
        start.wait(timeout=30)
        return [
            (codec.encode(jobs[index][0], quality=jobs[index][1]), codec.decode(files[index]).pixels)
            for index in indices
        ]

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(work, [range(6), range(5, -1, -1)]))
    for index, (data, pixels) in enumerate(results[0]):
        assert data == files[index]
        np.testing.assert_array_equal(pixels, pictures[index])
    for index, (data, pixels) in zip(range(5, -1, -1), results[1], strict=True):
        assert data == files[index]
        np.testing.assert_array_equal(pixels, pictures[index])


def test_a_codec_is_sent_and_copied(weights: Weights) -> None:
    try:
        codec = Codec(weights, coder=TorchacCoder())
    except CoderUnavailableError:
        codec = Codec(weights)
    given = picture(40, 50)
    for other in (pickle.loads(pickle.dumps(codec)), copy.deepcopy(codec)):
        assert other.encode(given, quality=60) == codec.encode(given, quality=60)
        assert type(other.coder) is type(codec.coder)


def test_slices_hold_what_the_codec_made(codec: Codec, sound: bytes) -> None:
    """The file is the container of the symbols' streams and checksum, and nothing else."""
    symbols = symbols_of(codec, photo(70, 80, seed=3), 60)
    container = parse(sound)
    assert container.slices == (Slice(codec.at(60).streams_of(symbols), symbols.checksum()),)
    assert container.header.fingerprint == codec.weights.fingerprint
    assert container.header.slice_log2 == 0
    assert container.chunks == ((full_chunk([True]),) if symbols.full else ())
