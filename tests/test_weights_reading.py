"""Weights files: their digest, their fingerprint, and every way to be refused."""

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from tiny import TINY, WEIGHTS
from told import one_line

from dcacodec.codec.codec import Codec
from dcacodec.errors import WeightsError
from dcacodec.weights.reader import parse_weights, read_weights


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
        with_metadata(lambda header: header["__metadata__"].update(pixels="-1")),
        with_metadata(lambda header: header["__metadata__"].update(tune="loud")),
        with_metadata(lambda header: header["__metadata__"].update(mse_share="1.5")),
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
        "negative pixels",
        "another tuning",
        "more than all",
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
