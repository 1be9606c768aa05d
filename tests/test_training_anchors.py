"""Parameters for quality anchors with other lambdas than those that they were trained for."""

import math
from dataclasses import replace

import pytest
import torch
from tiny import TINY, drawn_model
from torch import Tensor

from dcacodec.errors import WeightsError
from dcacodec.network.config import DCAConfig
from dcacodec.network.dca import DCA
from dcacodec.training.anchors import load_parameters

WIDER = replace(TINY, lambda_min=TINY.lambda_min / 3, lambda_max=TINY.lambda_max * 2)
NARROWER = replace(TINY, lambda_min=TINY.lambda_min * 3, lambda_max=TINY.lambda_max / 2)


def by_lambda(config: DCAConfig) -> Tensor:
    """ln(lambda) of each anchor."""
    return torch.tensor([math.log(config.trade_off_at(anchor)) for anchor in range(config.anchors)])


def loaded(config: DCAConfig, state: dict[str, Tensor], trained: DCAConfig = TINY) -> dict[str, Tensor]:
    network = DCA(config)
    load_parameters(network, state, trained)
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


@pytest.mark.parametrize("config", [WIDER, NARROWER])
def test_gains_stay_what_they_are_of_lambda(config: DCAConfig) -> None:
    """Where they are linear in ln(lambda): also beyond the lambdas that they were trained for."""
    state = drawn_model(TINY, 1).state_dict()
    for name in ("gain.values", "synthesis.scale.values"):
        channels = torch.arange(state[name].shape[1])
        state[name] = by_lambda(TINY)[:, None] * (channels + 1) / 50 - channels
    result = loaded(config, state)
    for name in ("gain.values", "synthesis.scale.values"):
        channels = torch.arange(result[name].shape[1])
        torch.testing.assert_close(result[name], by_lambda(config)[:, None] * (channels + 1) / 50 - channels)


def test_densities_stay_at_the_ends_as_they_are_there() -> None:
    state = drawn_model(TINY, 2).state_dict()
    name = "priors.R.log_scale"
    state[name] = torch.randn(state[name].shape, generator=torch.Generator().manual_seed(3))
    result, inner = loaded(WIDER, state)[name], loaded(NARROWER, state)[name]
    assert torch.equal(result[[0, -1]], state[name][[0, -1]])
    lowest, highest = torch.minimum(state[name][0], state[name][1]), torch.maximum(state[name][0], state[name][1])
    assert ((lowest < inner[0]) & (inner[0] < highest)).all()


def test_everything_else_stays() -> None:
    """And all of it where the lambdas are the same."""
    state = drawn_model(TINY, 4).state_dict()
    result = loaded(WIDER, state)
    changed = {name for name, value in result.items() if not torch.equal(value, state[name])}
    tables = {name for name in state if name.endswith(".values") or name.startswith("priors.")}
    assert changed and changed <= tables
    same = loaded(TINY, state)
    assert all(torch.equal(same[name], value) for name, value in state.items())


@pytest.mark.parametrize("change", [{"order": "LGR"}, {"width": TINY.width * 2}, {"anchors": TINY.anchors + 1}])
def test_another_network_is_refused(change: dict[str, object]) -> None:
    network = DCA(TINY)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(WeightsError, match="'tiny'"):
        load_parameters(network, drawn_model(TINY, 5).state_dict(), replace(TINY, **change))  # type: ignore[arg-type]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
