"""Parameters and multiply-accumulates (MACs) of the presets, by part of the network::

    python benchmarks/complexity.py

Counted by `torch.utils.flop_counter` on a picture of 768x512 (two FLOPs are one MAC): convolutions and matrix products,
without element-wise operations. No weights are needed. The fixed-point form of the entropy model has the same products,
in double precision.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

import click
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dcacodec.network.config import LATENT_STRIDE, PRESETS, DCAConfig
from dcacodec.network.dca import DCA

WIDTH, HEIGHT = 768, 512


@dataclass(frozen=True)
class Part:
    """A part of the network.

    Attributes:
        name: as in the paper.
        side: "encoder", "decoder" or "both".
        parameters: number of parameters.
        macs: multiply-accumulates per pixel of the picture.
    """

    name: str
    side: str
    parameters: int
    macs: float


def parts(config: DCAConfig) -> list[Part]:
    """The network in the order of its computation."""
    model = DCA(config).requires_grad_(False)
    picture = torch.zeros(1, HEIGHT, WIDTH, 3)
    y = torch.zeros(1, HEIGHT // LATENT_STRIDE, WIDTH // LATENT_STRIDE, config.latent)
    position = torch.zeros(1)
    size = (y.shape[1], y.shape[2])
    latents = {letter: torch.zeros(1, *config.hyper_shape(letter, *size)) for letter in config.order}
    entropy = model.entropy

    def steps() -> object:
        return entropy(latents, size, model.scales(position), lambda step, mean, level: mean)

    found = [_count("f_a", "encoder", [model.analysis], lambda: model.analysis(picture, position))]
    for letter in config.order:
        name, module = f"{letter.lower()}_a", model.hyper_analysis[letter]
        found.append(_count(name, "encoder", [module], _call(module, y)))
    syntheses = []
    for letter in config.order:
        name, module = f"{letter.lower()}_s", entropy.synthesis[letter]
        syntheses.append(_count(name, "both", [module], _call(module, latents[letter])))
    whole = _count("c", "both", [entropy], steps)
    context = Part(
        "c",
        "both",
        whole.parameters - sum(part.parameters for part in syntheses),
        whole.macs - sum(part.macs for part in syntheses),
    )
    priors = sum(map(_size, (model.priors, model.gain, model.spread)))
    return [
        *found,
        *syntheses,
        context,
        Part("priors, gains, spreads", "both", priors, 0.0),
        _count("f_s", "decoder", [model.synthesis], lambda: model.synthesise(y, position)),
    ]


def _call(module: nn.Module, x: Tensor) -> Callable[[], object]:
    return lambda: module(x)


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _count(name: str, side: str, modules: list[nn.Module], run: Callable[[], object]) -> Part:
    with FlopCounterMode(display=False) as counter:
        run()
    return Part(name, side, sum(map(_size, modules)), counter.get_total_flops() / 2 / (WIDTH * HEIGHT))


def totals(found: list[Part]) -> dict[str, float]:
    """Total parameters, and MACs per pixel of the encoder (which runs the entropy model, too) and the decoder."""
    return {
        "parameters": sum(part.parameters for part in found),
        "encoder_macs": sum(part.macs for part in found if part.side != "decoder"),
        "decoder_macs": sum(part.macs for part in found if part.side != "encoder"),
    }


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def main(as_json: bool) -> None:
    """Print parameters and MACs per pixel of the presets."""
    counted = {name: parts(config) for name, config in PRESETS.items()}
    if as_json:
        rows = {name: {"parts": [asdict(part) for part in found], **totals(found)} for name, found in counted.items()}
        click.echo(json.dumps(rows, indent=1))
        return
    for name, found in counted.items():
        total = totals(found)
        click.echo(f"{name:<24}{'parameters':>12}{'kMAC/pixel':>12}  run by")
        for part in found:
            click.echo(f"  {part.name:<22}{part.parameters:>12,}{part.macs / 1000:>12.2f}  {part.side}")
        click.echo(f"  {'all':<22}{total['parameters']:>12,}")
        for side in ("encoder", "decoder"):
            click.echo(f"  {side:<22}{'':>12}{total[f'{side}_macs'] / 1000:>12.2f}")
        click.echo()


if __name__ == "__main__":
    main()
