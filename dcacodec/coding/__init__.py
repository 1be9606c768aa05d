r"""Entropy coding of integers: CDF tables, two arithmetic coders of the same bitstream, and streams.

Everything here is exact integer arithmetic, so that every machine decodes what any other encoded. Floating point occurs
only in the functions that make tables, which run when weights are published, and in the estimate `ideal_bits`.

    values, row per value --(CdfTable)--> symbols --(Coder)--> arithmetic-coded bytes --\
                                    \---> raw bits -------------------------------------- > stream
"""

from dcacodec.coding.arithmetic_coder import Coder, PythonCoder
from dcacodec.coding.streams import CHUNK_SYMBOLS, decode_values, encode_values, ideal_bits, symbol_counts
from dcacodec.coding.tables import VALUE_LIMIT, CdfTable, gaussian_table, table_from_probabilities
from dcacodec.coding.torchac import TorchacCoder, best_coder, compiler_command
from dcacodec.errors import CoderUnavailableError

__all__ = [
    "CHUNK_SYMBOLS",
    "VALUE_LIMIT",
    "CdfTable",
    "Coder",
    "CoderUnavailableError",
    "PythonCoder",
    "TorchacCoder",
    "best_coder",
    "compiler_command",
    "decode_values",
    "encode_values",
    "gaussian_table",
    "ideal_bits",
    "symbol_counts",
    "table_from_probabilities",
]
