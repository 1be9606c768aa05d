"""The words of errors about all but pictures: coding, weights, settings, training, publishing and benchmarks."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from picture_messages import OTHER, PICTURE, Action, of_other_weights
from tiny import TINY, WEIGHTS, drawn_model

from dcacodec.bench.anchors import PUBLISHED, find_anchor
from dcacodec.bench.codec import CodecOptions
from dcacodec.bench.codecs import open_codec
from dcacodec.bench.datasets import named_dataset
from dcacodec.bench.pillow_codecs import PILLOW_FORMATS
from dcacodec.codec.codec import Codec
from dcacodec.coding import CdfTable, PythonCoder, decode_values, encode_values
from dcacodec.errors import BenchError, StreamError, SymbolMismatchError, TrainingError, UnknownModelError, WeightsError
from dcacodec.format.reader import parse
from dcacodec.format.writer import pack
from dcacodec.network.config import DCAConfig
from dcacodec.network.dca import DCA
from dcacodec.network.device import choose_device
from dcacodec.training.data import CropSampler
from dcacodec.training.log import read_log
from dcacodec.training.options import TrainingOptions
from dcacodec.weights.export import export
from dcacodec.weights.reader import read_weights
from dcacodec.weights.registry import by_fingerprint, by_preset

ONE = np.zeros(1, np.int64)


def table(*row: int, shift: int = 0) -> CdfTable:
    return CdfTable(np.array([row]), np.zeros(1, np.int32), np.array([shift], np.uint8))


TABLE = table(0, 1, 65536)


def with_another_checksum(codec: Codec) -> bytes:
    container = parse(codec.encode(PICTURE, lossless=False))
    return pack(replace(container, slices=(replace(container.slices[0], latent_crc=0),)))


def with_weight(name: str, value: float) -> DCA:
    model = drawn_model(TINY, seed=1)
    model.state_dict()[name].view(-1)[-1] = value  # shares memory with the parameter
    return model


CODEC_MESSAGES: list[tuple[Action, type[Exception], str]] = [
    # Coding.
    (lambda codec: codec.encode(PICTURE, quality=101), ValueError, "quality must be 1 to 100, not 101"),
    (lambda codec: codec.encode(PICTURE, effort=-1), ValueError, "effort must be 0 or more, not -1"),
    (
        lambda codec: codec.decode(codec.encode(PICTURE), scale=3),
        ValueError,
        "scale must be 1, 2, 4 or 8, not 3",
    ),
    (
        lambda codec: codec.decode(with_another_checksum(codec)),
        SymbolMismatchError,
        "the decoded latents are not those that were encoded: the file is damaged",
    ),
    (
        lambda codec: codec.decode(of_other_weights(codec)),
        UnknownModelError,
        "the file needs weights 01020304, this codec has bb143dfb",
    ),
    # Streams and their tables.
    (
        lambda _: PythonCoder().encode(TABLE.cdf, ONE, ONE + 7),
        ValueError,
        "a symbol is not in 0 to 1",
    ),
    (
        lambda _: encode_values(ONE + 32768, ONE, TABLE, PythonCoder()),
        ValueError,
        "a value is not in -32767 to 32767",
    ),
    (
        lambda _: decode_values(bytes(23), ONE, TABLE, PythonCoder()),
        StreamError,
        "a chunk of 23 bytes is too long for 1 values",
    ),
    (
        lambda _: decode_values(b"\0", ONE[:0], TABLE, PythonCoder()),
        StreamError,
        "a stream of no values has 1 bytes",
    ),
    (
        lambda _: table(1, 5, 65536),
        WeightsError,
        "CDF table: a row does not rise strictly from 0 to 65536",
    ),
    (
        lambda _: table(0, 1, 65536, shift=16),
        WeightsError,
        "CDF table: a shift is not in 0 to 15",
    ),
    # Weights.
    (
        lambda _: by_fingerprint(OTHER.hex()),
        UnknownModelError,
        "the file needs the weights 01020304, which are not installed; DCACODEC_MODELS can name a folder with them",
    ),
    (lambda _: by_preset("huge"), WeightsError, "no weights are published for the preset 'huge'"),
    (
        lambda _: read_weights(WEIGHTS, "0" * 64),
        WeightsError,
        "tiny.safetensors is damaged: its SHA-256 is not the published one",
    ),
    (
        lambda _: read_weights(Path("none.safetensors")),
        WeightsError,
        "none.safetensors: No such file or directory",
    ),
    # Settings.
    (
        lambda _: replace(TINY, order="RR"),
        ValueError,
        "order must name each of R, G, L at most once and one at least, not 'RR'",
    ),
    (lambda _: DCAConfig(latent=18), ValueError, "latent channels must be multiples of 4, not 18, 0"),
    (
        lambda _: DCAConfig(latent=20, latent_linear=20),
        ValueError,
        "of 20 latent channels 20 cannot be linear",
    ),
    (lambda _: DCAConfig(window=3), ValueError, "window must divide 4, not 3"),
    (
        lambda _: choose_device("gpu"),
        ValueError,
        "a device must be auto, cpu, cuda, cuda:0 and so on, not 'gpu'",
    ),
    # Training.
    (
        lambda _: TrainingOptions(steps=1, crop=100),
        ValueError,
        "the crop must be a multiple of 64, not 100",
    ),
    (lambda _: TrainingOptions(), ValueError, "a run needs a length: give --max-minutes or --steps"),
    (
        lambda _: TrainingOptions(steps=1, precision="half"),
        ValueError,
        "the precision must be auto, float32 or bfloat16, not 'half'",
    ),
    (
        lambda _: TrainingOptions(steps=1, learning_rate=math.nan),
        ValueError,
        "learning rate must be a finite number, not nan",
    ),
    (
        lambda _: CropSampler([PICTURE.pixels], (64,), torch.device("cpu"), np.random.default_rng(0)),
        TrainingError,
        "no picture is as large as the crop, 64 pixels",
    ),
    (lambda _: read_log(Path("/dev/null")), TrainingError, "/dev/null is not a training log"),
    # Publishing.
    (
        lambda _: export(with_weight("entropy.starts.2.weight", 1e4)),
        WeightsError,
        "starts.2: the limits of its inputs allow only weights in multiples of 2**3",
    ),
    (
        lambda _: export(with_weight("entropy.head.weight", math.nan)),
        WeightsError,
        "the entropy model holds a value that is not finite",
    ),
    (
        lambda _: export(with_weight("gain.values", math.nan)),
        WeightsError,
        "gain.values holds a value that is not finite, or beyond float16",
    ),
    # Benchmarks.
    (
        lambda _: open_codec("gif", CodecOptions()),
        BenchError,
        (
            "no codec 'gif'; these are known: dcacodec, dcacodec-visual, dcacodec-psnr, dcacodec:EFFORT, "
            f"{', '.join(PILLOW_FORMATS)}, jpegli, compressai:MODEL"
        ),
    ),
    (
        lambda _: named_dataset("kodac", [], print),
        BenchError,
        "no dataset, manifest or folder 'kodac'; known by name: kodak",
    ),
    (lambda _: find_anchor("x", "third", []), BenchError, "no published curve 'x' for third"),
    (
        lambda _: find_anchor("x", "kodak", []),
        BenchError,
        f"no published curve 'x' for kodak; known by name: {', '.join(PUBLISHED['kodak'])}",
    ),
]
