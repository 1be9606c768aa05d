"""What the codec asks of a GPU, seen on one that is pretended: everything is where it has to be, and copies are waited
for once. That a real one computes the same, `cuda_exactness.py` checks.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from cuda_exactness import assert_same_symbols, decoded_symbols
from pretend_gpu import CUDA, PretendGpu, is_there, pretended
from tiny import WEIGHTS, photo

from dcacodec.cli.app import cli
from dcacodec.codec import selftest as module
from dcacodec.codec.codec import Codec
from dcacodec.images.picture import Picture
from dcacodec.network.device import to_device, to_host
from dcacodec.weights.reader import read_weights

PICTURE = Picture(photo(130, 200, seed=3), False, None, None, None)
LARGE = Picture(photo(400, 600, seed=4), False, None, None, None)
"""Of six slices of 256 pixels."""


@contextmanager
def both() -> Iterator[tuple[Codec, Codec, PretendGpu]]:
    """The kept tiny network on the processor and on the GPU, with products of the same precision."""
    with mock.patch("dcacodec.codec.operating_point.fast_bfloat16", lambda device: False), pretended() as gpu:
        here, there = Codec(read_weights(WEIGHTS)), Codec(read_weights(WEIGHTS), CUDA)
        there.decode(there.encode(PICTURE, lossless=False))  # what is computed once is now computed
        gpu.waits.clear()
        yield here, there, gpu


@pytest.mark.parametrize("quality", [40, pytest.param(100, marks=pytest.mark.slow)])
def test_a_gpu_writes_and_reads_the_same(quality: int) -> None:
    with both() as (here, there, _):
        data = here.encode(PICTURE, quality=quality, lossless=False)
        assert there.encode(PICTURE, quality=quality, lossless=False) == data
        assert_same_symbols(decoded_symbols(there, data), decoded_symbols(here, data))
        assert np.array_equal(there.decode(data).pixels, here.decode(data).pixels)


@pytest.mark.slow
def test_slices_regions_and_previews_are_the_same() -> None:
    with both() as (here, there, _):
        data = here.encode(LARGE, quality=60, slice_log2=8, lossless=False)
        assert there.encode(LARGE, quality=60, slice_log2=8, lossless=False) == data
        for view in ({}, {"region": (250, 3, 20, 300)}, {"scale": 4}):
            assert np.array_equal(there.decode(data, **view).pixels, here.decode(data, **view).pixels)


def test_decoding_waits_as_often_as_it_must() -> None:
    """For the check of float32 products, for the scale levels of each of four steps, for the latent that the checksum
    is of, for the pixels.
    """
    with both() as (here, there, gpu):
        data = here.encode(PICTURE, quality=40, lossless=False)
        there.decode(data)
        assert gpu.waits == ["number", *["synchronize"] * 6]


@pytest.mark.parametrize(("quality", "candidates"), [(100, 1), (40, 2)])
def test_encoding_waits_as_often_as_it_must(quality: int, candidates: int) -> None:
    """For the check of float32 products and for the integers. Where there are two ways to code, that for each, and for
    its pixels and its distortion; for the latent.
    """
    with both() as (here, there, gpu):
        y = here.at(quality).point.latent_of(here.at(50).point.tensor_of(PICTURE.pixels))
        assert len(here.encoder_at(quality).candidates(y, here.at(quality).point.hyper_of(y))) == candidates
        there.encode(PICTURE, quality=quality, lossless=False)
        judged = [] if candidates == 1 else ["number", "synchronize", *["synchronize", "number"] * 2]
        assert gpu.waits == ["number", "synchronize", *judged, "synchronize"]


@pytest.mark.slow
def test_the_selftest_takes_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the files and settings, the first and the last."""
    golden, settings = module.golden_files()[0], module.settings
    monkeypatch.setattr(module, "golden_files", lambda: [golden])
    monkeypatch.setattr(module, "settings", lambda device: [*settings(device)][:: len([*settings(device)]) - 1])
    with pretended():
        result = CliRunner().invoke(cli, ["selftest", "--device", "cuda"])
    assert result.exit_code == 0, result.output
    assert "CUDA" in result.output


# --------------------------------------------------------------------------------------------- the pretended GPU itself


def test_tensors_must_be_on_one_device() -> None:
    with pretended():
        there, here = torch.ones(3, device="cuda"), torch.ones(3)
        assert there.device == CUDA and here.device == torch.device("cpu")
        assert is_there(there + 1) and is_there(there + torch.tensor(1.0)) and not is_there(here + 1)
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
