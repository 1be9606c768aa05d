"""Pictures to bytes and back, with the kept tiny model: round trips, sizes of files, and all that can be wrong."""

import copy
import hashlib
import json
import math
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import load, save
from tiny import TINY, WEIGHTS, drawn_model, photo, published, symbols_of
from told import one_line

from dcacodec.codec.codec import Codec
from dcacodec.codec.slice_coder import HYPER_ORDER, Symbols
from dcacodec.coding import CoderUnavailableError, PythonCoder, TorchacCoder, ideal_bits
from dcacodec.errors import (
    BadChecksumError,
    DcaError,
    StreamError,
    SymbolMismatchError,
    TooLargeError,
    UnknownModelError,
    WeightsError,
)
from dcacodec.format.container import Slice, full_chunk
from dcacodec.format.reader import parse
from dcacodec.format.writer import pack
from dcacodec.images.picture import Picture
from dcacodec.weights import registry as zoo
from dcacodec.weights.export import export
from dcacodec.weights.reader import Weights, parse_weights, read_weights
from dcacodec.weights.registry import by_fingerprint, by_preset, presets, read_index


def picture(height: int, width: int, seed: int = 0, mode: str = "RGB") -> Picture:
    pixels = photo(height, width, seed)
    if mode == "L":
        pixels = np.repeat(pixels[:, :, :1], 3, -1)
    alpha = photo(height, width, seed + 1)[:, :, 1].copy() if mode == "RGBA" else None
    return Picture(pixels, mode == "L", alpha, None, None)


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    error = np.square(one.astype(np.float64) - other).mean()
    return 10 * math.log10(255**2 / error) if error else math.inf


# ---------------------------------------------------------------------------------------------------------- round trips


def assert_round_trip(codec: Codec, source: Picture, quality: int) -> Picture:
    """What is decoded is, to the last bit, what the encoder's symbols stand for. Returns it."""
    data = codec.encode(source, quality=quality, lossless=False, keep_hidden=True)
    container = parse(data)
    header = container.header
    expected = (source.width, source.height, "L" if source.gray else "RGB", quality)
    assert (header.width, header.height, header.mode, header.quality) == expected
    symbols = symbols_of(codec, source.pixels, quality)
    found = codec.at(container.header.quality).read_slice(container, 0)
    assert torch.equal(found.latent, symbols.latent)
    decoded = codec.decode(data)
    pixels = codec.at(quality).point.pixels_of(symbols.latent)[: source.height, : source.width]
    if source.gray:
        pixels = np.repeat((pixels.astype(int).sum(-1, keepdims=True) * 2 + 3) // 6, 3, -1).astype(np.uint8)
    np.testing.assert_array_equal(decoded.pixels, pixels)
    assert (decoded.gray, decoded.icc, decoded.exif) == (source.gray, source.icc, source.exif)
    if source.alpha is None:
        assert decoded.alpha is None
    else:
        np.testing.assert_array_equal(decoded.alpha, source.alpha)
    return decoded


@settings(max_examples=25)
@given(
    st.integers(1, 150),
    st.integers(1, 150),
    st.integers(1, 100),
    st.sampled_from(["RGB", "L", "RGBA"]),
    st.integers(0, 5),
)
def test_round_trip_of_any_size(codec: Codec, height: int, width: int, quality: int, mode: str, seed: int) -> None:
    assert_round_trip(codec, picture(height, width, seed, mode), quality)


@pytest.mark.parametrize("size", [(1, 1), (1, 150), (150, 1), (63, 65), (64, 64), (65, 64), (128, 129)])
def test_round_trip_at_the_borders_of_the_padding(codec: Codec, size: tuple[int, int]) -> None:
    assert_round_trip(codec, picture(*size, seed=7), 75)


@pytest.mark.parametrize("value", [0, 255])
def test_round_trip_of_flat_pictures(codec: Codec, value: int) -> None:
    source = Picture(np.full((40, 50, 3), value, np.uint8), False, None, None, None)
    assert_round_trip(codec, source, 100)


def test_round_trip_of_noise(codec: Codec) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    assert_round_trip(codec, Picture(noise, False, None, None, None), 100)


def test_metadata_travel_along(codec: Codec) -> None:
    source = replace(picture(20, 30, mode="RGBA"), icc=b"a profile", exif=b"II*\0 and so on", xmp=b"<x/>")
    decoded = codec.decode(codec.encode(source, quality=30))
    assert (decoded.icc, decoded.exif, decoded.xmp) == (source.icc, source.exif, source.xmp)
    assert codec.encode(source.stripped(), quality=30) == codec.encode(picture(20, 30, mode="RGBA"), quality=30)


def test_decoded_picture_is_the_picture(codec: Codec) -> None:
    """The tiny model is a poor codec, but it is one: its error is that of its few coefficients, and it aims at its own
    picture, not at another's.
    """
    for seed in range(3):
        source = picture(130, 150, seed)
        decoded = codec.decode(codec.encode(source, quality=90, lossless=False)).pixels
        assert psnr(decoded, source.pixels) > 20
        assert psnr(decoded, photo(130, 150, seed + 1)) < 15


def test_decoded_picture_fills_its_canvas(codec: Codec) -> None:
    """The padding of the last cells is cut off on the right side, not on the left."""
    source = picture(70, 130, seed=2)
    decoded = codec.decode(codec.encode(source, quality=90, lossless=False)).pixels
    shifted = codec.at(90).point.pixels_of(symbols_of(codec, source.pixels, 90).latent)[-70:, -130:]
    assert decoded.shape == source.pixels.shape
    assert psnr(decoded, source.pixels) > psnr(shifted, source.pixels) + 3


# ---------------------------------------------------------------------------------------------------- rate, determinism


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


# -------------------------------------------------------------------------------------------------------- damaged files


@pytest.fixture(scope="module")
def sound(codec: Codec) -> bytes:
    return codec.encode(picture(70, 80, seed=3), quality=60, lossless=False)


def altered(data: bytes, **changes: Any) -> bytes:
    """A well-formed file whose slice has other contents."""
    container = parse(data)
    return pack(replace(container, slices=(replace(container.slices[0], **changes),)))


def test_wrong_latent_checksum(codec: Codec, sound: bytes) -> None:
    crc = parse(sound).slices[0].latent_crc
    assert altered(sound, latent_crc=crc) == sound
    for bit in (0, 31):
        with pytest.raises(SymbolMismatchError) as error:
            codec.decode(altered(sound, latent_crc=crc ^ 1 << bit))
        one_line(error)


@pytest.mark.parametrize(("one", "other"), list(combinations(range(7), 2)))
def test_swapped_streams(codec: Codec, sound: bytes, one: int, other: int) -> None:
    streams = list(parse(sound).slices[0].streams)
    streams[one], streams[other] = streams[other], streams[one]
    with pytest.raises((StreamError, SymbolMismatchError)):
        codec.decode(altered(sound, streams=tuple(streams)))


def test_streams_of_another_picture(codec: Codec, sound: bytes) -> None:
    """Sound streams of a picture of the same size under this file's checksum."""
    other = codec.encode(picture(70, 80, seed=4), quality=60, lossless=False)
    with pytest.raises(SymbolMismatchError):
        codec.decode(altered(other, latent_crc=parse(sound).slices[0].latent_crc))


def assert_no_other_picture(codec: Codec, data: bytes, sound: bytes) -> None:
    """The data are refused, or hold the very integers of the sound file: the change is one that nothing reads."""
    try:
        found = codec.at(60).read_slice(parse(data), 0)
    except (StreamError, SymbolMismatchError) as error:
        assert "\n" not in str(error)
        return
    expected = codec.at(60).read_slice(parse(sound), 0)
    assert torch.equal(found.units, expected.units) and found.checksum() == expected.checksum()


@pytest.mark.parametrize("index", range(7))
def test_cut_streams(codec: Codec, sound: bytes, index: int) -> None:
    streams = list(parse(sound).slices[0].streams)
    streams[index] = streams[index][:-1]
    assert_no_other_picture(codec, altered(sound, streams=tuple(streams)), sound)


@pytest.mark.parametrize("index", range(7))
def test_streams_with_a_byte_too_many(codec: Codec, sound: bytes, index: int) -> None:
    streams = list(parse(sound).slices[0].streams)
    streams[index] += b"\0"
    assert_no_other_picture(codec, altered(sound, streams=tuple(streams)), sound)


@settings(max_examples=40)
@given(st.data())
def test_damaged_streams_never_make_a_picture(codec: Codec, sound: bytes, data: st.DataObject) -> None:
    """Bytes of a stream changed, under a right checksum of the file."""
    streams = [bytearray(stream) for stream in parse(sound).slices[0].streams]
    index = data.draw(st.integers(0, 6))
    place = data.draw(st.integers(0, len(streams[index]) - 1))
    streams[index][place] ^= data.draw(st.integers(1, 255))
    assert_no_other_picture(codec, altered(sound, streams=tuple(map(bytes, streams))), sound)


@settings(max_examples=40)
@given(st.data())
def test_a_file_with_any_flipped_byte_is_refused(codec: Codec, sound: bytes, data: st.DataObject) -> None:
    """By its checksum, also where nothing reads the byte."""
    place = data.draw(st.integers(0, len(sound) - 1))
    damaged = bytearray(sound)
    damaged[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DcaError):
        codec.decode(bytes(damaged))


@pytest.mark.parametrize("quality", [1, 59, 61, 100])
def test_another_quality(codec: Codec, sound: bytes, quality: int) -> None:
    """The quality of the header belongs to the probabilities: another one makes other symbols of the streams."""
    container = parse(sound)
    with pytest.raises((StreamError, SymbolMismatchError)):
        codec.decode(pack(replace(container, header=replace(container.header, quality=quality))))


@pytest.mark.parametrize(("width", "height"), [(80, 140), (140, 70), (1, 1), (70, 64)])
def test_other_dimensions(codec: Codec, sound: bytes, width: int, height: int) -> None:
    container = parse(sound)
    with pytest.raises((StreamError, SymbolMismatchError)):
        codec.decode(pack(replace(container, header=replace(container.header, width=width, height=height))))


def test_damaged_file(codec: Codec, sound: bytes) -> None:
    damaged = bytearray(sound)
    damaged[len(sound) // 2] ^= 1
    with pytest.raises(BadChecksumError):
        codec.decode(bytes(damaged))


def test_too_many_pixels(codec: Codec, sound: bytes) -> None:
    codec.decode(sound, max_pixels=70 * 80)
    with pytest.raises(TooLargeError):
        codec.decode(sound, max_pixels=70 * 80 - 1)


@pytest.mark.parametrize("quality", [0, 101, -1])
def test_quality_out_of_range(codec: Codec, quality: int) -> None:
    with pytest.raises(ValueError) as error:
        codec.encode(picture(8, 8), quality=quality)
    assert str(quality) in one_line(error)


@pytest.mark.parametrize("quality", [65.5, np.float32(65.5), 65.54, Fraction(131, 2)])
def test_a_quality_in_tenths(quality: Any, codec: Codec) -> None:
    file = codec.encode(picture(40, 40), quality=quality)
    assert parse(file).header.quality == 65.5
    assert codec.decode(file).pixels.shape == (40, 40, 3)
    below, point, above = (codec.at(each).point for each in (65, parse(file).header.quality, 66))
    assert below.trade_off < point.trade_off < above.trade_off
    assert below.position < point.position < above.position
    for first, between, last in zip(below.scales, point.scales, above.scales, strict=True):
        assert ((first + last) / 2 - between).abs().max() <= 2**-9


@pytest.mark.parametrize("quality", [float("nan"), 0.99, 100.01])
def test_fractions_out_of_range(quality: float, codec: Codec) -> None:
    with pytest.raises(ValueError, match=str(quality)):
        codec.encode(picture(4, 4), quality=quality)


@pytest.mark.parametrize("value", ["50", None, 1j])
def test_a_quality_that_is_no_number(value: Any, codec: Codec) -> None:
    with pytest.raises(TypeError) as error:
        codec.encode(picture(4, 4), quality=value)
    assert repr(value) in one_line(error)


@pytest.mark.parametrize("value", [50.5, 50.0, "50", None])
def test_what_is_no_whole_number(value: Any, codec: Codec) -> None:
    with pytest.raises(TypeError) as error:
        codec.encode(picture(4, 4), effort=value)
    assert repr(value) in one_line(error)


@pytest.mark.parametrize(
    ("region", "kind"),
    [
        ((0, 0), ValueError),
        ((0, 0, 1, 1, 1), ValueError),
        ((0.5, 1, 20, 20), TypeError),
        ((0, 1, 20.0, 20), TypeError),
        ("1234", TypeError),
        (7, TypeError),
    ],
)
def test_a_region_that_is_not_four_whole_numbers(
    region: Any, kind: type[Exception], codec: Codec, sound: bytes
) -> None:
    with pytest.raises(kind) as error:
        codec.decode(sound, region=region)
    assert repr(region) in one_line(error)


def test_a_region_in_integers_of_numpy(codec: Codec, sound: bytes) -> None:
    region: Any = np.array([1, 2, 20, 10])
    assert np.array_equal(codec.decode(sound, region=region).pixels, codec.decode(sound).pixels[2:12, 1:21])


# ------------------------------------------------------------------------------------------------------ weights, models


@pytest.fixture(scope="module")
def other_codec() -> Codec:
    return Codec(published(drawn_model(TINY, seed=5)), coder=PythonCoder())


def test_weights_of_another_model(codec: Codec, other_codec: Codec, sound: bytes) -> None:
    names = [each.weights.fingerprint.hex() for each in (codec, other_codec)]
    with pytest.raises(UnknownModelError) as error:
        other_codec.decode(sound)
    assert all(name in one_line(error) for name in names)


def test_weights_of_another_model_under_the_right_name(codec: Codec, other_codec: Codec, sound: bytes) -> None:
    """Should a fingerprint ever lie: no picture of noise."""
    with pytest.raises((StreamError, SymbolMismatchError)):
        Codec(replace(other_codec.weights, fingerprint=codec.weights.fingerprint), coder=PythonCoder()).decode(sound)


def test_fingerprint_is_that_of_the_file(codec: Codec) -> None:
    data = WEIGHTS.read_bytes()
    assert codec.weights.fingerprint == hashlib.sha256(data).digest()[:4]


@settings(max_examples=30)
@given(st.data())
def test_one_damaged_byte_of_the_weights_is_found(data: st.DataObject) -> None:
    sound = WEIGHTS.read_bytes()
    place = data.draw(st.one_of(st.integers(0, len(sound) - 1), st.sampled_from([0, 7, 8, len(sound) - 1])))
    damaged = bytearray(sound)
    damaged[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(WeightsError) as error:
        parse_weights(bytes(damaged), "tiny", hashlib.sha256(sound).hexdigest())
    assert "SHA-256" in one_line(error)


def test_weights_with_the_right_digest_are_read() -> None:
    assert read_weights(WEIGHTS, hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()).config == TINY


def test_missing_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as error:
        read_weights(tmp_path / "none.safetensors")
    assert "none.safetensors" in one_line(error)


def metadata_of(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def with_metadata(change: Callable[[dict[str, Any]], object]) -> bytes:
    """The kept weights with something about their header changed."""
    header, rest = metadata_of(WEIGHTS.read_bytes())
    change(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + rest


def with_config(**changes: Any) -> bytes:
    def change(header: dict[str, Any]) -> None:
        config = json.loads(header["__metadata__"]["config"]) | changes
        header["__metadata__"]["config"] = json.dumps(config)

    return with_metadata(change)


def with_tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> bytes:
    """The kept weights with other tensors."""
    data = WEIGHTS.read_bytes()
    tensors = load(data)
    change(tensors)
    return save(tensors, metadata_of(data)[0]["__metadata__"])


TABLE_PARTS = ("cdf", "low", "shift")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 100,
        WEIGHTS.read_bytes()[:-1],
        WEIGHTS.read_bytes() + b"\0",
        with_metadata(lambda header: header.pop("__metadata__")),
        with_metadata(lambda header: header["__metadata__"].pop("config")),
        with_metadata(lambda header: header["__metadata__"].update(config="{")),
        with_metadata(lambda header: header["__metadata__"].update(config="[]")),
        with_metadata(lambda header: header["__metadata__"].update(format="dcacodec-weights-1")),
        with_config(latent=17),
        with_config(latent=20),
        with_config(context=32),
        with_config(order="RG"),
        with_config(surprise=1),
        with_config(window=0),
        with_config(anchors=5),
        with_tensors(lambda tensors: tensors.update({"scales.level": tensors["scales.level"][1:]})),
        with_tensors(lambda tensors: tensors.update({"scales.inward": tensors["scales.inward"].float()})),
        with_tensors(lambda tensors: tensors.pop("entropy.known_snaps.2.limit")),
        with_tensors(lambda tensors: tensors.update({"entropy.known_snaps.2.limit": torch.ones(16)})),
        with_tensors(lambda tensors: tensors.update({"entropy.known_snaps.2.limit": torch.ones(4, dtype=torch.int64)})),
        with_tensors(lambda tensors: tensors["analysis.patch.bias"].fill_(math.nan)),
        with_tensors(lambda tensors: tensors["synthesis.up.bias"].fill_(math.inf)),
        with_tensors(
            lambda tensors: tensors.update({f"table.y.{part}": tensors[f"table.y.{part}"][1:] for part in TABLE_PARTS})
        ),
    ],
    ids=[
        "empty",
        "zeros",
        "cut",
        "longer",
        "no metadata",
        "no config",
        "config no JSON",
        "config no object",
        "another format",
        "config not valid",
        "another latent",
        "another context",
        "another order",
        "unknown field",
        "no window",
        "another table",
        "a quality missing",
        "scales no integers",
        "no limit",
        "too many limits",
        "limits in integers",
        "no number",
        "infinite",
        "a level missing",
    ],
)
def test_files_that_are_no_weights(data: bytes) -> None:
    with pytest.raises(WeightsError, match=r"^strange\.safetensors (is not|has the format)[^\n]*$"):
        parse_weights(data, "strange.safetensors")


def test_a_network_that_would_never_be_built() -> None:
    with pytest.raises(WeightsError) as error:
        parse_weights(with_config(synthesis_blocks=2**31), "strange.safetensors")
    assert "4096" in one_line(error)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of published weights, with two models of one preset; the second is the newest."""
    index: dict[str, dict[str, Any]] = {"presets": {}, "files": {}}
    for seed in (6, 7):
        data = export(drawn_model(TINY, seed))
        digest = hashlib.sha256(data).hexdigest()
        name = digest[:8]
        (tmp_path / f"{name}.safetensors").write_bytes(data)
        index["files"][name] = {
            "file": f"{name}.safetensors",
            "sha256": digest,
            "tune": "psnr",
        }
        index["presets"]["tiny"] = {"psnr": name}
    (tmp_path / "index.json").write_text(json.dumps(index), "utf-8")
    monkeypatch.setattr(zoo, "models_dir", lambda: tmp_path)
    monkeypatch.delenv("DCACODEC_MODELS")
    return tmp_path


def test_published_models_are_found_by_preset_and_by_file(models: Path) -> None:
    new = by_preset("tiny")
    (old,) = (by_fingerprint(path.stem) for path in models.glob("*.safetensors") if path != new.path)
    assert by_fingerprint(new.path.stem) == new
    assert Codec.load("tiny", device="cpu").weights.fingerprint.hex() == new.path.stem

    source = picture(20, 20)
    data = Codec.from_published(old, device="cpu").encode(source, quality=50)
    reader = Codec.for_container(parse(data), device="cpu")
    assert reader.weights.fingerprint.hex() == old.path.stem
    assert reader.decode(data).pixels.shape == source.pixels.shape


def test_weights_by_tuning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a tuning, the visual ones where there are any."""
    files = {
        name: {"file": f"{name}.safetensors", "sha256": name.ljust(64, "0"), "tune": tune}
        for name, tune in (("0000000a", "psnr"), ("0000000b", "visual"), ("0000000c", "psnr"))
    }
    presets_of = {"both": {"psnr": "0000000a", "visual": "0000000b"}, "one": {"psnr": "0000000c"}}
    (tmp_path / "index.json").write_text(json.dumps({"presets": presets_of, "files": files}), "utf-8")
    monkeypatch.setenv("DCACODEC_MODELS", str(tmp_path))
    assert by_preset("both").path.stem == by_preset("both", "visual").path.stem == "0000000b"
    assert by_preset("both", "psnr").path.stem == "0000000a"
    assert by_preset("one").path.stem == "0000000c"
    with pytest.raises(WeightsError, match="visual"):
        by_preset("one", "visual")


def test_weights_of_ones_own(models: Path, tiny_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They come first, and those of the release stay."""
    assert presets() == ["tiny"]
    released = by_preset("tiny")
    monkeypatch.setenv("DCACODEC_MODELS", str(tiny_models))
    own = by_preset("small")
    assert own.path.parent == tiny_models
    assert by_fingerprint(read_weights(own.path).fingerprint.hex()) == own
    assert (presets(), by_preset("tiny"), by_fingerprint(released.path.stem)) == (["small", "tiny"], released, released)

    monkeypatch.setattr(zoo, "models_dir", lambda: tiny_models)
    monkeypatch.setenv("DCACODEC_MODELS", str(models))
    index = json.loads((models / "index.json").read_text("utf-8"))
    index["presets"]["small"] = index["presets"]["tiny"]
    (models / "index.json").write_text(json.dumps(index), "utf-8")
    assert by_preset("small") == released

    monkeypatch.setenv("DCACODEC_MODELS", str(models / "nowhere"))
    with pytest.raises(WeightsError) as error:
        by_preset("small")
    text = one_line(error)
    assert "DCACODEC_MODELS" in text and str(models / "nowhere" / "index.json") in text


def test_unknown_fingerprint(models: Path, sound: bytes) -> None:
    name = read_weights(WEIGHTS).fingerprint.hex()
    with pytest.raises(UnknownModelError) as error:
        Codec.for_container(parse(sound), device="auto")
    assert name in one_line(error)


def test_damaged_published_weights(models: Path) -> None:
    path = by_preset("tiny").path
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(WeightsError) as error:
        Codec.load("tiny")
    text = one_line(error)
    assert path.name in text and "SHA-256" in text


def test_unknown_preset(models: Path) -> None:
    with pytest.raises(WeightsError) as error:
        Codec.load("huge")
    assert "huge" in one_line(error)


@pytest.mark.parametrize("content", [None, "{", "[" * 100_000], ids=["missing", "no JSON", "deep"])
def test_unreadable_list_of_weights(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "index.json").write_text(content)
    with pytest.raises(WeightsError) as error:
        read_index(tmp_path)
    assert str(tmp_path / "index.json") in one_line(error)


ENTRY = {"file": "tiny.safetensors", "sha256": "0" * 64, "tune": "psnr"}


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"presets": {}},
        {"files": {}},
        {"presets": [], "files": {}},
        {"presets": {"tiny": 3}, "files": {}},
        {"presets": {"tiny": {"psnr": 3}}, "files": {}},
        {"presets": {"tiny": {"loud": "00000000"}}, "files": {}},
        {"presets": {}, "files": {"00000000": "tiny.safetensors"}},
        {"presets": {}, "files": {"00000000": {"file": "tiny.safetensors"}}},
        {"presets": {}, "files": {"00000000": ENTRY | {"file": 3}}},
        {"presets": {}, "files": {"00000000": ENTRY | {"sha256": None}}},
        {"presets": {}, "files": {"00000000": ENTRY | {"tune": "loud"}}},
        {"presets": {}, "files": {"00000001": ENTRY}},
    ],
)
def test_a_damaged_list_of_weights(content: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "index.json"
    path.write_text(json.dumps(content))
    monkeypatch.setenv("DCACODEC_MODELS", str(tmp_path))
    for find, name in ((by_preset, "tiny"), (by_fingerprint, "00000000")):
        with pytest.raises(WeightsError) as error:
            find(name)
        assert str(path) in one_line(error)


def test_a_preset_without_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "index.json").write_text(
        json.dumps({"presets": {"tiny": {"psnr": "01234567"}}, "files": {"00000000": ENTRY}})
    )
    monkeypatch.setenv("DCACODEC_MODELS", str(tmp_path))
    with pytest.raises(WeightsError) as error:
        by_preset("tiny")
    assert "01234567" in one_line(error)


def test_a_codec_is_sent_and_copied(weights: Weights) -> None:
    try:
        codec = Codec(weights, coder=TorchacCoder())
    except CoderUnavailableError:
        codec = Codec(weights)
    given = picture(40, 50)
    for other in (pickle.loads(pickle.dumps(codec)), copy.deepcopy(codec)):
        assert other.encode(given, quality=60) == codec.encode(given, quality=60)
        assert type(other.coder) is type(codec.coder)


def test_what_a_codec_says_of_itself(codec: Codec) -> None:
    assert repr(codec) == f"<Codec: weights {codec.weights.fingerprint.hex()}, cpu, entropy coder python>"


@pytest.mark.parametrize("image", [np.zeros((8, 8, 3), np.uint8), "photo.png", None])
def test_a_codec_takes_pictures_alone(codec: Codec, image: Any) -> None:
    with pytest.raises(TypeError) as error:
        codec.encode(image)
    assert type(image).__name__ in one_line(error)


def test_slices_hold_what_the_codec_made(codec: Codec, sound: bytes) -> None:
    """The file is the container of the symbols' streams and checksum, and nothing else."""
    symbols = symbols_of(codec, photo(70, 80, seed=3), 60)
    container = parse(sound)
    assert container.slices == (Slice(codec.at(60).streams_of(symbols), symbols.checksum()),)
    assert container.header.fingerprint == codec.weights.fingerprint
    assert container.header.slice_log2 == 0
    assert container.chunks == ((full_chunk([True]),) if symbols.full else ())
