"""dcacodec as a library in programs with settings of their own: PyTorch's defaults, forked processes, warnings."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import TINY, WEIGHTS, photo
from told import one_line
from torch import Tensor

import dcacodec.pillow_plugin  # noqa: F401
from dcacodec import encode, encode_file, read_picture, write_picture
from dcacodec.api import _LOADING, default_codec
from dcacodec.codec.codec import Codec
from dcacodec.codec.parallel import _STARTING, threads
from dcacodec.coding import PythonCoder
from dcacodec.errors import DcaError, ImageWarning
from dcacodec.format.reader import parse
from dcacodec.images.any_image import picture_of
from dcacodec.images.picture import Picture
from dcacodec.metrics.ms_ssim import ms_ssim
from dcacodec.metrics.ssimulacra2 import ssimulacra2
from dcacodec.network.dca import DCA
from dcacodec.network.device import check_process
from dcacodec.training.anchors import load_parameters
from dcacodec.training.options import TrainingOptions
from dcacodec.training.trainer import Trainer
from dcacodec.weights.reader import read_weights

# ---------------------------------------------------------------------------------------------- defaults of PyTorch


@pytest.fixture(params=[torch.float64, torch.bfloat16, torch.float16, "meta"], ids=str)
def defaults(request: pytest.FixtureRequest) -> Iterator[None]:
    """Another default dtype, or a default device on which nothing can be computed."""
    if isinstance(request.param, torch.dtype):
        torch.set_default_dtype(request.param)
    else:
        torch.set_default_device(request.param)
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)


def coded() -> list[bytes]:
    """What a new codec makes of pictures: in one slice, refined, in several slices; and their pixels."""
    codec = Codec(read_weights(WEIGHTS), coder=PythonCoder())
    whole, large = Picture(photo(70, 90)), Picture(photo(270, 300))
    files = [codec.encode(whole), codec.encode(whole, effort=2), codec.encode(large, slice_log2=8)]
    return files + [codec.decode(file, scale=scale).pixels.tobytes() for file in files for scale in (1, 4)]


@pytest.fixture(scope="module")
def ordinary() -> list[bytes]:
    return coded()


def test_bytes_and_pixels_do_not_depend_on_defaults(ordinary: list[bytes], defaults: None) -> None:
    assert coded() == ordinary


@pytest.fixture(scope="module")
def scores() -> list[float]:
    return measured()


def measured() -> list[float]:
    first, second = (torch.from_numpy(photo(200, 210, seed))[None].float() / 255 for seed in (0, 1))
    return [metric(first, second).item() for metric in (ms_ssim, ssimulacra2)]


def test_metrics_do_not_depend_on_defaults(scores: list[float], defaults: None) -> None:
    assert measured() == scores


@pytest.fixture(scope="module")
def moved() -> Tensor:
    return gains_at_other_lambdas()


def gains_at_other_lambdas() -> Tensor:
    with torch.device("cpu"):
        network = DCA(TINY).to(torch.float32)
    gains = torch.arange(TINY.anchors * TINY.latent, dtype=torch.float32, device="cpu").sqrt()
    state = network.state_dict() | {"gain.values": gains.view(TINY.anchors, TINY.latent)}
    load_parameters(network, state, replace(TINY, lambda_max=TINY.lambda_max / 2))
    return network.gain.values.detach().clone()


def test_a_start_at_other_lambdas_does_not_depend_on_defaults(moved: Tensor, defaults: None) -> None:
    assert torch.equal(gains_at_other_lambdas(), moved)


def test_training_does_not_depend_on_defaults(defaults: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    trainer = Trainer(TrainingOptions(steps=1), tmp_path_factory.mktemp("run"), TINY, torch.device("cpu"))
    trainer.start([np.tile(photo(192, 192), (2, 2, 1))])
    assert {(each.dtype, each.device.type) for each in trainer.model.parameters()} == {(torch.float32, "cpu")}
    pixels, position = (
        torch.from_numpy(photo(64, 64))[None].float() / 255,
        torch.zeros(1, dtype=torch.float32, device="cpu"),
    )
    found = trainer.train_step(pixels, position, 1e-3)
    assert np.isfinite(found["loss"])


# ------------------------------------------------------------------------------------------------- forked processes


def in_child(function: Callable[[], bytes]) -> bytes:
    """What a forked child gets from a function; the test fails where the child has not ended after a minute."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writer, function())
        finally:
            os._exit(0)  # also after an exception: this process must not continue with the other tests
    os.close(writer)
    for _ in range(600):
        if os.waitpid(child, os.WNOHANG)[0]:
            break
        time.sleep(0.1)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    with os.fdopen(reader, "rb") as file:
        return file.read()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_forked_child_codes(codec: Codec) -> None:
    """The parent has computed on several threads, which the child does not have, and another thread holds the locks."""

    def child() -> bytes:
        file = codec.encode(picture_of(tensor))
        return hashlib.sha256(file + codec.decode(file).pixels.tobytes()).digest()

    tensor = torch.from_numpy(photo(512, 512)).permute(2, 0, 1).float() / 255
    with threads(1):  # as many as the child has: f_a and f_s may round otherwise on more of them
        expected = child()
    with threads(3):
        child()
        large = codec.encode(Picture(photo(270, 300)), slice_log2=8)  # on threads of our own
        locked, done = threading.Event(), threading.Event()

        def hold() -> None:
            with _STARTING, _LOADING:
                locked.set()
                done.wait()

        holder = threading.Thread(target=hold)
        holder.start()
        locked.wait()
        try:
            assert in_child(child) == expected
            assert in_child(lambda: hashlib.sha256(codec.decode(large).pixels.tobytes()).digest()) != expected
            assert (
                in_child(lambda: bytes([round(default_codec().at(50).point.quality), torch.get_num_threads()]))
                == b"2\1"
            )
        finally:
            done.set()
            holder.join()
        assert torch.get_num_threads() == 3


def test_a_forked_child_cannot_use_the_gpu_of_its_parent(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda._is_in_bad_fork", lambda: True)
    check_process(codec.device)
    with pytest.raises(DcaError) as caught:
        check_process(torch.device("cuda"))
    one_line(caught)


# ---------------------------------------------------------------------------------------------------------- warnings

WIDE = b"P5 8 8 65535\n" + bytes(128)


@pytest.mark.parametrize("command", ["encode", "batch"])
def test_warnings_as_errors_do_not_end_a_command(command: str, tmp_path: Path) -> None:
    (tmp_path / "wide.pgm").write_bytes(WIDE)
    target = tmp_path / ("wide.dca" if command == "encode" else "folder")
    result = subprocess.run(
        [sys.executable, "-m", "dcacodec", command, tmp_path / "wide.pgm", target],
        env={**os.environ, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("warning:") == 1 and "Traceback" not in result.stderr
    assert parse((target if command == "encode" else target / "wide.dca").read_bytes()).header.width == 8


def test_warnings_name_the_line_of_the_caller(codec: Codec, tmp_path: Path) -> None:
    (tmp_path / "wide.pgm").write_bytes(WIDE)
    with Image.open(io.BytesIO(WIDE)) as image:
        image.load()
    calls: list[Callable[[], object]] = [
        lambda: encode(WIDE, codec=codec),
        lambda: encode_file(tmp_path / "wide.pgm", tmp_path / "wide.dca", codec=codec),
        lambda: read_picture(io.BytesIO(WIDE)),
        lambda: write_picture(Picture(photo(8, 8), icc=b"profile"), io.BytesIO(), "ppm"),
        lambda: image.save(io.BytesIO(), "DCA"),
    ]
    for call in calls:
        with pytest.warns(ImageWarning) as caught:
            call()
        assert [(each.filename, each.lineno) for each in caught] == [(__file__, call.__code__.co_firstlineno)]
