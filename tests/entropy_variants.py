"""Entropy models of several configs, as weights files, and the comparison of what two of them computed."""

from collections.abc import Callable
from dataclasses import replace

import torch
from tiny import TINY, WEIGHTS, Run, drawn_model

from dcacodec.weights.export import export

WIDE = replace(TINY, context=64, context_hidden=48, latent=32, local_width=64, token_width=32, regional=12)
"""Two heads of attention, and products large enough to be shared by threads."""

VARIANTS: dict[str, Callable[[], bytes]] = {
    "kept": WEIGHTS.read_bytes,
    "wide": lambda: export(drawn_model(WIDE, 11)),
    "odd sizes": lambda: export(
        drawn_model(replace(TINY, latent=20, context=40, local_width=20, token_width=12, tokens=5, window=2), 12)
    ),
    "loud": lambda: export(drawn_model(TINY, 13, loudness=6.0)),
    "R": lambda: export(drawn_model(replace(TINY, order="R"), 14)),
    "LGR": lambda: export(drawn_model(replace(TINY, order="LGR"), 15)),
    "GRL": lambda: export(drawn_model(replace(TINY, order="GRL"), 16)),
    "merged": lambda: export(drawn_model(replace(TINY, adaptive=False), 17)),
    "merged GL": lambda: export(drawn_model(replace(TINY, adaptive=False, order="GL"), 18)),
}


def assert_equal_runs(first: Run, second: Run) -> None:
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)
