"""A benchmark that never ran: results and pictures by formula, for the tests of what is made of them."""

import numpy as np
from numpy.typing import NDArray

from dcacodec.bench.exhibits import Exhibit, Side
from dcacodec.bench.results import Anchor, Failure, MeasuredCodec, Results, Sample
from dcacodec.metrics.curves import Curve
from dcacodec.metrics.psnr import psnr

EVIL = "<script>alert(1)</script> & \"b'"
"""What a picture might be called."""

CODECS = (
    # name, label, factor of the rate, seconds to encode and to decode
    ("dcacodec", "dcacodec small-0123abcd", 0.6, 0.12, 0.125),
    ("jpeg", "JPEG (Pillow)", 1.0, 0.004, 0.002),
    ("webp", EVIL, 0.8, 0.06, 0.003),
)
SETTINGS = (10.0, 30.0, 50.0, 70.0, 90.0)
PICTURES = ("one.png", "two.png")
STREAMS = {"z_r": 0.01, "z_g": 0.02, "z_l": 0.07, "y1": 0.3, "y2": 0.25, "y3": 0.2, "y4": 0.1, "header": 0.05}


def sample(codec: int, setting: float, picture: int) -> Sample:
    """A codec's file of a picture: PSNR rises linearly with the setting, the rate doubles every 20."""
    name, _, factor, encode, decode = CODECS[codec]
    width, height = 300 + 100 * picture, 200
    size = round(factor * 1000 * 2 ** (setting / 20)) * (picture + 1)
    streams: dict[str, int] = {}
    if name == "dcacodec":
        streams = {stream: int(part * size) for stream, part in STREAMS.items()}
        streams["header"] += size - sum(streams.values())
    return Sample(
        picture=PICTURES[picture],
        codec=name,
        setting=setting,
        width=width,
        height=height,
        size=size,
        quality={
            "psnr": 26 + setting / 7 + picture,
            "ms-ssim": 1 - 0.1 * 2 ** (-setting / 20) / (picture + 1),
            "ssimulacra2": setting - 10 * picture,
        },
        encode=encode * (1 + setting / 100),
        decode=decode * (1 + setting / 100),
        streams=streams,
    )


def results() -> Results:
    """Three codecs at five settings on two pictures, two anchors, two failures, one of them of a measured setting."""
    samples = [sample(c, s, p) for c in range(len(CODECS)) for s in SETTINGS for p in range(len(PICTURES))]
    samples.remove(sample(2, 90.0, 1))
    return Results(
        dataset="synthetic",
        pictures=PICTURES,
        codecs=tuple(
            MeasuredCodec(name, label, SETTINGS, (i + 1) << 24 if i < 2 else None)
            for i, (name, label, *_) in enumerate(CODECS)
        ),
        samples=tuple(samples),
        anchors=(
            Anchor(Curve("vtm", (0.05, 0.3, 0.8, 2.5), (27.0, 33.0, 37.5, 43.0)), "figures of nobody"),
            Anchor(Curve("far", (0.05, 0.3), (50.0, 53.0)), "figures <b>without</b> overlap"),
        ),
        failures=(
            Failure("webp", "two.png", 90.0, "it <i>broke</i>"),
            Failure("webp", "three.png", 10.0, "no such picture"),
        ),
        machine={"processor": "an <abacus>", "torch": "2.13"},
    )


def picture(seed: int, height: int = 120, width: int = 180) -> NDArray[np.uint8]:
    """A colourful ramp with a little noise: no two pixels of a row are alike for long."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    ramps = np.stack([x * 255 // width, y * 255 // height, (x + 2 * y + 40 * seed) % 256], axis=2)
    noise: NDArray[np.int64] = ramps + rng.integers(-6, 7, ramps.shape)
    return np.clip(noise, 0, 255).astype(np.uint8)


def exhibits() -> list[Exhibit]:
    """Two pictures at two targets; the third codec takes the same setting for both of the second picture's."""
    found = []
    for p, name in enumerate((PICTURES[0], EVIL)):
        original = picture(p)
        for t, target in enumerate((2000, 4000)):
            sides = []
            for c, (_, label, *_) in enumerate(CODECS):
                again = c == 2 and p == 1
                decoded = picture(100 + 10 * p + 3 * (0 if again else t) + c)
                quality = {"psnr": psnr(original, decoded), "ssimulacra2": 40.0 - c}
                sides.append(Side(label, 10.0 * (t + 1), target - c, quality, decoded))
            found.append(Exhibit(name, original, target, tuple(sides)))
    return found
