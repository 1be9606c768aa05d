"""Networks to publish and pictures to measure them on: what the tests of publishing share."""

import torch
from tiny import drawn_model, photo

from dcacodec.network.config import DCAConfig
from dcacodec.network.dca import DCA

PICTURES = [photo(64, 64, 1), photo(50, 70, 2)]


def drawn(config: DCAConfig, seed: int) -> DCA:
    """As `drawn_model`, with PyTorch's own draws from the seed too."""
    torch.manual_seed(seed)
    return drawn_model(config, seed)


def changed(model: DCA, name: str, value: float) -> DCA:
    """A copy with one element set."""
    other = DCA(model.config)
    other.load_state_dict(model.state_dict())
    other.state_dict()[name].view(-1)[-1] = value  # shares memory with the parameter
    return other.eval()
