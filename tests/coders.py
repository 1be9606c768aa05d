"""Small tables and streams of the tests of coding, and how these compare the two coders."""

import numpy as np
from numpy.typing import NDArray

from dcacodec.coding import VALUE_LIMIT, CdfTable, PythonCoder, TorchacCoder, decode_values, gaussian_table
from dcacodec.coding.tables import TOTAL
from dcacodec.errors import StreamError

Ints = NDArray[np.int64]
PYTHON = PythonCoder()


def table(cdf: list[list[int]], low: list[int] | None = None, shift: list[int] | None = None) -> CdfTable:
    return CdfTable(np.array(cdf), np.array(low or [0] * len(cdf)), np.array(shift or [0] * len(cdf)))


def ints(*values: int) -> Ints:
    return np.array(values, np.int64)


SMALL = table([[0, 1000, 30000, 60000, TOTAL], [0, 1, 2, 3, TOTAL]], low=[-1, 5], shift=[0, 3])
GAUSS = gaussian_table([0.2, 1.5, 40.0])


def assert_decoded_alike(torchac: TorchacCoder, data: bytes, rows: Ints, models: CdfTable) -> Ints | None:
    """Both coders refuse `data`, or both decode it to the same values, within their range. Returns these."""
    results: list[Ints | None] = []
    for coder in (PYTHON, torchac):
        try:
            results.append(decode_values(data, rows, models, coder).astype(np.int64))
        except StreamError:
            results.append(None)
    first, second = results
    if first is None or second is None:
        assert first is None and second is None
        return None
    assert first.tolist() == second.tolist()
    assert np.abs(first).max(initial=0) <= VALUE_LIMIT
    return first
