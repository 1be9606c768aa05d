"""The model card of published weights: description, training, rate and distortion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dcacodec.codec.codec import Codec
from dcacodec.format.container import STREAMS, describe
from dcacodec.format.reader import parse
from dcacodec.images.picture import Picture
from dcacodec.metrics.arrays import of_arrays
from dcacodec.metrics.psnr import psnr
from dcacodec.training.checkpoint import RunFacts
from dcacodec.weights.reader import Weights

CARD_QUALITIES = (1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)


def rate_distortion(codec: Codec, pictures: Sequence[NDArray[np.uint8]], quality: int) -> dict[str, float]:
    """Means over real files of pictures: bpp of the file, PSNR in dB, SSIMULACRA 2, and bpp of each stream.

    SSIMULACRA 2 is NaN if a picture is too small for it.
    """
    rows = []
    for pixels in pictures:
        data = codec.encode(Picture(pixels), quality=quality)
        area = pixels.shape[0] * pixels.shape[1]
        row = {name: size * 8 / area for name, size in describe(parse(data), len(data))["streams"].items()}
        decoded = codec.decode(data).pixels
        similarity = of_arrays("ssimulacra2", pixels, decoded)
        quality_of = {"psnr": psnr(pixels, decoded), "ssimulacra2": np.nan if similarity is None else similarity}
        rows.append({"bpp": len(data) * 8 / area, **quality_of, **row})
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def make_card(
    weights: Weights,
    size: int,
    run: RunFacts,
    trained_on: str,
    pictures: Sequence[NDArray[np.uint8]],
    quiet: bool = False,
) -> str:
    """The model card of a weights file, in Markdown.

    Args:
        weights: to be published.
        size: of their file, in bytes.
        run: the training run that they come from.
        trained_on: description of the training pictures.
        pictures: for the rate-distortion table; none for a card without it.
        quiet: no progress bar.
    """
    codec, config, fingerprint = Codec(weights), weights.config, weights.fingerprint.hex()
    parameters = sum(parameter.numel() for parameter in weights.network.parameters())
    tune, share = weights.provenance.tune, weights.provenance.mse_share
    distortion, terms = "255**2 * MSE", ""
    if share < 1:
        distortion, terms = f"{share:g} * 255**2 * E + {1 - share:g} * 10 * S", "; E and S: docs/explanation/tunings.md"
    lines = [
        f"# {config.name}-{tune}-{fingerprint}",
        "",
        f"Weights of the preset `{config.name}` of dcacodec, tuning `{tune}`: one network for the qualities 1 to 100.",
        "",
        "| | |",
        "|---|---|",
        f"| parameters | {parameters / 1e6:.2f} million |",
        f"| file | {size:,} bytes, fingerprint `{fingerprint}` |",
        (
            f"| trade-off | lambda {config.lambda_min} (quality 1) to {config.lambda_max} (quality 100), "
            f"loss `bpp + lambda * ({distortion})`{terms} |"
        ),
        (
            f"| last schedule | {run.minutes:.0f} minutes, {run.steps:,} steps, "
            f"batch {run.batch} a process, crops of {run.crop} pixels |"
        ),
        f"| pixels seen in all | {run.provenance.pixels / 1e6:,.0f} million |",
        f"| training pictures | {trained_on} |",
        "| intended use | photographs and other natural pictures of 8 bits, seen by people |",
        (
            "| limits | text, line art and screenshots, where they are not coded losslessly, lose contrast; "
            "noise and grain are smoothed; no measure of what machines see in the pictures was taken |"
        ),
        "| licence | MIT, as far as the authors' rights go: training pictures may have had terms of their own |",
    ]
    if pictures:
        lines += [
            "",
            f"Real files, means over {len(pictures)} pictures (bpp from bytes, PSNR over RGB per picture):",
            "",
            "| quality | bpp | PSNR dB | SSIMULACRA 2 | " + " | ".join(STREAMS) + " |",
            "|---" * (4 + len(STREAMS)) + "|",
        ]
        for quality in tqdm(CARD_QUALITIES, desc="measuring", unit="quality", disable=quiet or None):
            row = rate_distortion(codec, pictures, quality)
            streams = " | ".join(f"{row[name]:.4f}" for name in STREAMS)
            similarity = row["ssimulacra2"]
            shown = "none" if np.isnan(similarity) else f"{similarity:.1f}"
            lines.append(f"| {quality} | {row['bpp']:.4f} | {row['psnr']:.2f} | {shown} | {streams} |")
    return "\n".join(lines) + "\n"
