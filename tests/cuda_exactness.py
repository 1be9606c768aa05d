"""A GPU and the CPU compute the same integers: a check that needs no test runner.

    PYTHONPATH=.:tests python tests/cuda_exactness.py

runs it on the first CUDA device and prints what was compared. It needs torch, numpy, safetensors and pillow only.
"""

import sys
import time

import numpy as np
import torch
from tiny import TINY, WEIGHTS, drawn_latents, drawn_model, photo, published, run_entropy

from dcacodec.codec import Codec, Symbols
from dcacodec.coding import PythonCoder
from dcacodec.container import parse
from dcacodec.images import Picture
from dcacodec.network.config import PRESETS, DCAConfig
from dcacodec.weights import Weights, read_weights

QUALITIES = (1, 50, 100)


def assert_same_symbols(first: Symbols, second: Symbols) -> None:
    """Equal to the last bit."""
    assert first.hyper.keys() == second.hyper.keys()
    assert all(np.array_equal(values, second.hyper[letter]) for letter, values in first.hyper.items())
    assert all(map(np.array_equal, first.steps, second.steps)) and all(map(np.array_equal, first.rows, second.rows))
    assert torch.equal(first.latent.cpu(), second.latent.cpu())


def decoded_symbols(codec: Codec, data: bytes) -> Symbols:
    """The integers of a file of one slice."""
    return codec.read_slice(parse(data), 0)


def compare(on_cpu: Weights, on_device: Weights, device: torch.device) -> int:
    """Check one model, given twice; returns how many numbers were compared.

    The entropy model on equal latents; files written on either side, read on the other, and their integers coded again.

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
            data = writer.encode(picture, quality)
            symbols = decoded_symbols(reader, data)
            assert_same_symbols(symbols, decoded_symbols(writer, data))
            assert reader.streams_of(symbols, quality) == parse(data).slices[0].streams
            compared += symbols.latent.numel()
    return compared


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
    compared = compare_all(torch.device("cuda"))
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}: {compared} numbers equal to the CPU's, "
          f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
