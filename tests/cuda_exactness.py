"""A GPU and the CPU compute the same integers: a check that needs no test runner.

    PYTHONPATH=.:tests python tests/cuda_exactness.py

runs it on the current CUDA device and prints what was compared. It needs torch, numpy, safetensors and pillow only.
"""

import sys
import time
from typing import Any

import numpy as np
import torch
from tiny import TINY, WEIGHTS, drawn_latents, drawn_model, photo, published, run_entropy

from dcacodec.codec.codec import Codec
from dcacodec.codec.slice_coder import Symbols
from dcacodec.coding import PythonCoder
from dcacodec.format.reader import parse
from dcacodec.images.picture import Picture
from dcacodec.network.config import PRESETS, DCAConfig
from dcacodec.network.precision import float32_is_exact
from dcacodec.weights.reader import Weights, read_weights

QUALITIES = (1, 50, 100)
LEVELS = 2
"""How far the samples of a picture may differ: the transforms are ordinary floating point."""


def assert_same_symbols(first: Symbols, second: Symbols) -> None:
    """Equal to the last bit."""
    assert first.hyper.keys() == second.hyper.keys()
    assert all(np.array_equal(values, second.hyper[letter]) for letter, values in first.hyper.items())
    assert all(map(np.array_equal, first.steps, second.steps)) and all(map(np.array_equal, first.rows, second.rows))
    assert torch.equal(first.latent.cpu(), second.latent.cpu())


def decoded_symbols(codec: Codec, data: bytes) -> Symbols:
    """The integers of a file of one slice."""
    return codec.at(parse(data).header.quality).read_slice(parse(data), 0)


def compare(on_cpu: Weights, on_device: Weights, device: torch.device) -> int:
    """Check one model, given twice; returns how many numbers were compared.

    The entropy model on equal latents; files written on either side, read on the other, and their integers coded again;
    pictures of either side, also of several slices.

    Raises:
        AssertionError: a number differs.
    """
    compared = 0
    here, there = Codec(on_cpu, coder=PythonCoder()), Codec(on_device, device, PythonCoder())
    for quality in QUALITIES:
        hyper, y = drawn_latents(on_cpu.config, (5, 7), quality, 20.0)
        expected = run_entropy(on_cpu.network.entropy, hyper, y, on_cpu.scales(quality, torch.device("cpu")))
        moved = {letter: z.to(device) for letter, z in hyper.items()}
        found = run_entropy(there.weights.network.entropy, moved, y.to(device), on_device.scales(quality, device))
        for one, other in zip(expected, found, strict=True):
            assert torch.equal(one, other.cpu())
            compared += one.numel()
        picture = Picture(photo(130, 200, seed=quality), False, None, None, None)
        for writer, reader in ((here, there), (there, here)):
            data = writer.encode(picture, quality=quality)
            symbols = decoded_symbols(reader, data)
            assert_same_symbols(symbols, decoded_symbols(writer, data))
            assert reader.at(quality).streams_of(symbols) == parse(data).slices[0].streams
            compared += symbols.latent.numel()
            assert_like_pictures(reader, writer, data)
        large = Picture(photo(300, 280, seed=quality), False, None, None, None)
        assert_like_pictures(here, there, there.encode(large, quality=quality, slice_log2=8))
    return compared


def assert_like_pictures(first: Codec, second: Codec, data: bytes) -> None:
    """Decoded by both, a file gives the same but for some rounding."""
    one, other = (codec.decode(data).pixels.astype(int) for codec in (first, second))
    assert np.abs(one - other).max() <= LEVELS


def check_refinement(on_cpu: Weights, on_device: Weights, device: torch.device) -> None:
    """What a GPU refines, a CPU reads; and it refines: the file is another one, and worth its bits.

    Raises:
        AssertionError: it is not so.
    """
    here, there = Codec(on_cpu, coder=PythonCoder()), Codec(on_device, device, PythonCoder())
    picture = Picture(photo(130, 200, seed=9), False, None, None, None)
    plain, refined = (there.encode(picture, quality=50, effort=effort) for effort in (0, 8))
    assert_same_symbols(decoded_symbols(here, refined), decoded_symbols(there, refined))
    trade_off = on_cpu.config.trade_off(50)

    def cost(data: bytes) -> float:
        error = here.decode(data).pixels.astype(int) - picture.pixels
        return 8 * len(data) + trade_off * float(np.square(error).sum()) / 3

    assert cost(refined) < cost(plain)


def check_short_products(on_cpu: Weights, on_device: Weights, device: torch.device) -> None:
    """Products are exact as PyTorch is set at first; and where a program allows TensorFloat-32, float64 is taken.

    Raises:
        AssertionError: it is not so.
    """
    assert float32_is_exact(device)
    here, there = Codec(on_cpu, coder=PythonCoder()), Codec(on_device, device, PythonCoder())
    data = here.encode(Picture(photo(130, 200, seed=11)), quality=60)
    expected = decoded_symbols(here, data)
    owners: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    for owner in owners:
        before, owner.allow_tf32 = owner.allow_tf32, True
        try:
            assert_same_symbols(decoded_symbols(there, data), expected)
        finally:
            owner.allow_tf32 = before


def compare_all(device: torch.device) -> int:
    """`compare` for the kept tiny model, for a drawn one as large as the preset "small" and for one of odd sizes."""
    compared = compare(read_weights(WEIGHTS), read_weights(WEIGHTS), device)
    odd = DCAConfig(**TINY.to_dict() | {"context": 96, "local_width": 40, "token_width": 72, "order": "LGR"})
    for config in (PRESETS["small"], odd):
        model = drawn_model(config, seed=2)
        compared += compare(published(model), published(model), device)
    return compared


def main() -> None:
    if not torch.cuda.is_available():
        sys.exit("no CUDA device was found")
    began = time.perf_counter()
    device = torch.device("cuda")
    compared = compare_all(device)
    check_refinement(read_weights(WEIGHTS), read_weights(WEIGHTS), device)
    check_short_products(read_weights(WEIGHTS), read_weights(WEIGHTS), device)
    print(
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}: {compared} numbers equal to the CPU's, "
        f"{time.perf_counter() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
