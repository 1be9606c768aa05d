"""Weights of one range of lambda as the start of a run with another one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from dcacodec.errors import WeightsError
from dcacodec.network.config import DCAConfig
from dcacodec.network.dca import DCA
from dcacodec.network.priors import FactorizedPrior
from dcacodec.network.transforms import QualityTable


def load_parameters(network: DCA, state: Mapping[str, Tensor], trained: DCAConfig) -> None:
    """Load parameters into a network whose quality anchors may have other lambdas than those they were trained for.

    What depends on the anchor is interpolated linearly at the lambdas of the network's anchors. Beyond the first and
    last anchor that they were trained for, tables of gains are extrapolated, and densities stay as they are there.

    Args:
        network: the network.
        state: parameters of a network of the same configuration, but for the range of lambda.
        trained: that configuration.

    Raises:
        WeightsError: the configurations differ in more than that.
    """
    config = network.config
    if replace(trained, lambda_min=config.lambda_min, lambda_max=config.lambda_max) != config:
        raise WeightsError(f"weights of another network than the preset {config.name!r}")
    moved = dict(state)
    if trained != config:
        last = config.anchors - 1
        unit = math.log(trained.lambda_max / trained.lambda_min) / last
        lambdas = [config.trade_off_at(anchor) for anchor in range(config.anchors)]
        places = [math.log(each / trained.lambda_min) / unit for each in lambdas]
        gains_at = torch.tensor(places, dtype=torch.float64, device="cpu")
        for prefix, module in network.named_modules():
            if isinstance(module, (QualityTable, FactorizedPrior)):
                at = gains_at if isinstance(module, QualityTable) else gains_at.clamp(0, last)
                for name, _ in module.named_parameters(prefix):
                    moved[name] = _interpolated(state[name], at)
    network.load_state_dict(moved)


def _interpolated(table: Tensor, places: Tensor) -> Tensor:
    """A table (A, ...) at places in its first dimension: by its two nearest entries, also outside 0..A-1."""
    below = places.floor().clamp(0, len(table) - 2)
    share = (places - below).to(table.dtype).view(-1, *(1,) * (table.dim() - 1)).to(table.device)
    index = below.long().to(table.device)
    return torch.lerp(table[index], table[index + 1], share)
