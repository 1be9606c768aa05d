"""Fixtures that several test modules share."""

import pytest
from hypothesis import settings
from tiny import WEIGHTS

from dcacodec.codec import Codec
from dcacodec.coding import Coder, CoderUnavailable, PythonCoder, TorchacCoder
from dcacodec.weights import Weights, read_weights

settings.register_profile("patient", deadline=None)  # that a machine is busy is no failure
settings.load_profile("patient")


@pytest.fixture(scope="session")
def weights() -> Weights:
    """The kept tiny model."""
    return read_weights(WEIGHTS)


@pytest.fixture(scope="session")
def codec(weights: Weights) -> Codec:
    """The kept tiny model with the coder that is always there."""
    return Codec(weights, coder=PythonCoder())


@pytest.fixture(scope="session", params=["python", "torchac"])
def each_coder(request: pytest.FixtureRequest) -> Coder:
    """Both coders; the compiled one where it can be had."""
    if request.param == "python":
        return PythonCoder()
    try:
        return TorchacCoder()
    except CoderUnavailable as error:
        pytest.skip(str(error))
