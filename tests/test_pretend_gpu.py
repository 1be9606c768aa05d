"""What the codec asks of a GPU, seen on one that is pretended: the same files, copies that are waited for once, and
products in half precision. That a real one computes the same, `cuda_exactness.py` checks."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from cuda_exactness import assert_same_symbols, compare, decoded_symbols
from pretend_gpu import CUDA, OnGpu, PretendGpu, pretended
from tiny import TINY, WEIGHTS, drawn_model, photo, published

from dcacodec.cli.selftest import selftest
from dcacodec.codec.codec import Codec
from dcacodec.images.picture import Picture
from dcacodec.network.device import to_device, to_host
from dcacodec.weights.reader import read_weights

PICTURE = Picture(photo(130, 200, seed=3), False, None, None, None)
LARGE = Picture(photo(400, 600, seed=4), False, None, None, None)
"""Of six slices of 256 pixels."""


@contextmanager
def both(bfloat16: bool = False) -> Iterator[tuple[Codec, Codec, PretendGpu]]:
    """The kept tiny network on the processor and on the GPU, with products of the same precision."""
    with mock.patch.object(torch.cpu, "_is_avx512_bf16_supported", lambda: bfloat16), pretended(bfloat16) as gpu:
        here, there = Codec(read_weights(WEIGHTS)), Codec(read_weights(WEIGHTS), CUDA)
        there.decode(there.encode(PICTURE))  # what is computed once is now computed
        gpu.waits.clear()
        gpu.products.clear()
        yield here, there, gpu


@pytest.mark.parametrize("quality", (1, 35, 70, 100))
def test_a_gpu_writes_and_reads_the_same(quality: int) -> None:
    with both() as (here, there, _):
        data = here.encode(PICTURE, quality=quality)
        assert there.encode(PICTURE, quality=quality) == data
        assert_same_symbols(decoded_symbols(there, data), decoded_symbols(here, data))
        assert np.array_equal(there.decode(data).pixels, here.decode(data).pixels)


def test_slices_regions_and_previews_are_the_same() -> None:
    with both() as (here, there, _):
        data = here.encode(LARGE, quality=60, slice_log2=8)
        assert there.encode(LARGE, quality=60, slice_log2=8) == data
        for view in ({}, {"region": (250, 3, 20, 300)}, {"scale": 4}):
            assert np.array_equal(there.decode(data, **view).pixels, here.decode(data, **view).pixels)


def test_the_check_of_exactness_runs() -> None:
    """All of it, with what a GPU's tensors allow."""
    with pretended():
        odd = drawn_model(TINY, seed=2)
        assert compare(published(odd), published(odd), CUDA) > 90_000


def test_decoding_waits_as_often_as_it_must() -> None:
    """For the scale levels of each of four steps, for the latent that the checksum is of, for the pixels."""
    with both() as (here, there, gpu):
        data = here.encode(PICTURE, quality=40)
        there.decode(data)
        assert gpu.waits == ["synchronize"] * 6


@pytest.mark.parametrize(("quality", "candidates"), [(100, 1), (40, 2)])
def test_encoding_waits_as_often_as_it_must(quality: int, candidates: int) -> None:
    """For the integers; where there are two ways to code, for those of each and for its pixels; for the latent."""
    with both() as (here, there, gpu):
        y = here.at(quality).point.latent_of(here.at(50).point.tensor_of(PICTURE.pixels))
        assert len(here.encoder_at(quality).candidates(y, here.at(quality).point.hyper_of(y))) == candidates
        there.encode(PICTURE, quality=quality)
        assert gpu.waits == ["synchronize"] * (1 if candidates == 1 else 4) + ["synchronize"]


def test_half_precision_is_for_the_transforms_alone() -> None:
    with both(bfloat16=True) as (here, there, gpu):
        data = there.encode(PICTURE, quality=60)
        assert gpu.products.keys() == {torch.bfloat16, torch.float32, torch.float64}
        assert gpu.products[torch.bfloat16] > gpu.products[torch.float32]
        gpu.products.clear()
        symbols = decoded_symbols(there, data)
        assert gpu.products.keys() == {torch.float64}
        assert_same_symbols(symbols, decoded_symbols(here, data))
    with both() as (_, there, gpu):
        there.encode(PICTURE, quality=60)
        assert gpu.products.keys() == {torch.float32, torch.float64}


def test_the_selftest_takes_the_gpu() -> None:
    with pretended():
        result = CliRunner().invoke(selftest, ["--device", "cuda"])
    assert result.exit_code == 0, result.output
    assert "CUDA" in result.output


# --------------------------------------------------------------------------------------------- the pretended GPU itself


def test_tensors_must_be_on_one_device() -> None:
    with pretended():
        there, here = torch.ones(3, device="cuda"), torch.ones(3)
        assert there.device == CUDA and isinstance(there + 1, OnGpu)
        assert isinstance(there + torch.tensor(1.0), OnGpu)
        with pytest.raises(RuntimeError, match="to be on the same device"):
            there + here
        with pytest.raises(RuntimeError, match="to be on the same device"):
            there[here.long()]


def test_a_copy_is_there_once_it_is_waited_for() -> None:
    values = np.arange(2, 8, dtype=np.int32)
    with pretended() as gpu:
        there = to_device(values, CUDA)
        assert (gpu.sent, gpu.waits) == (1, [])
        host = torch.empty(6, dtype=torch.int32, pin_memory=True)
        host.copy_(there, non_blocking=True)
        assert host.tolist() == [1] * 6
        torch.cuda.current_stream(CUDA).synchronize()
        assert np.array_equal(host.numpy(), values)
        gpu.waits.clear()
        assert [each.tolist() for each in to_host(there, there[1:] * 2)] == [[*range(2, 8)], [6, 8, 10, 12, 14]]
        assert gpu.waits == ["synchronize"]


def test_all_waits_are_seen() -> None:
    with pretended() as gpu:
        there = torch.ones(3).to("cuda")
        assert float(there.sum()) == 3.0 and there.cpu().tolist() == [1, 1, 1]
        there.nonzero()
        there[there > 0]
        torch.tensor([1.0], device=CUDA)
        assert gpu.waits == [
            "copy from pageable memory",
            "number",
            "copy to pageable memory",
            "number",
            "number",
            "copy from pageable memory",
        ]
