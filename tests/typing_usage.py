"""The public interface as users write it. `make lint` checks its types; it is never run."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from typing_extensions import assert_type

import dcacodec
from dcacodec import Codec, DcaError, Picture, read_picture, write_picture
from dcacodec.compressai_model import CompressionModel
from dcacodec.ratecontrol import MaxBpp, MaxBytes, MinPsnr, Target, TargetedFile, encode_to


def any_picture_to_bytes(image: Image.Image, array: NDArray[np.uint8], tensor: Tensor) -> None:
    for source in ("photo.png", Path("photo.png"), b"bytes of a file", io.BytesIO(), image, array, tensor):
        assert_type(dcacodec.encode(source), bytes)
    dcacodec.encode(Picture(array, alpha=array[..., 0]), quality=70, effort=2, codec=Codec.load("small", device="cpu"))


def back(data: bytes) -> None:
    assert_type(dcacodec.decode(data), Image.Image)
    assert_type(dcacodec.decode_array(data, scale=2), NDArray[np.uint8])
    assert_type(dcacodec.decode_tensor(data, region=(0, 0, 16, 16)), Tensor)
    dcacodec.decode(Path("photo.dca"), max_pixels=None)


def files() -> None:
    dcacodec.encode_file("photo.png", Path("photo.dca"), quality=70, effort=0)
    dcacodec.decode_file(Path("photo.dca"), "back.png", scale=4)


def pictures(codec: Codec) -> None:
    picture = read_picture("photo.png")
    data = codec.encode(picture, quality=70)
    decoded = codec.decode(data, max_pixels=10**6)
    assert_type(decoded, Picture)
    assert_type(decoded.icc, bytes | None)
    with open("back.png", "wb") as file:
        write_picture(decoded, file, "PNG")
    codec.decode(data, region=(0, 0, 64, 64), scale=2)


def targets(codec: Codec, picture: Picture) -> None:
    wanted: list[Target] = [MaxBytes(100_000), MaxBpp(0.5), MinPsnr(40.0)]
    for target in wanted:
        found = encode_to(codec, picture, target)
        assert_type(found, TargetedFile)
        assert_type(found.data, bytes)


def devices() -> None:
    Codec.load(device=torch.device("cuda"))
    Codec.load("small", device="auto")


def compressai(x: Tensor) -> None:
    model = CompressionModel.load("small", quality=50)
    coded = model.compress(x)
    assert_type(model.decompress(coded["strings"], coded["shape"]), dict[str, Tensor])
    assert_type(model.aux_loss(), Tensor)


def failures() -> str:
    try:
        dcacodec.decode(b"")
    except DcaError as error:
        return str(error)
    assert_type(dcacodec.__version__, str)
    return ""
