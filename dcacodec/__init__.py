"""dcacodec: a learned image codec for everyday use, after the paper DCA (arXiv 2411.05832).

The names below are the public API. They are loaded when first used, so that `import dcacodec` is fast: NumPy and Pillow
are imported with `Picture`, PyTorch with `Codec` or at the first encoding or decoding.

::

    path, file, PIL image, array, tensor -- encode --> bytes of a .dca file -- decode --> PIL image
                                 Picture -- Codec.encode --> the same -- Codec.decode --> Picture

`dcacodec.pillow_plugin` adds the format `.dca` to Pillow, `dcacodec.ratecontrol` encodes to a target size or quality,
and `dcacodec.compressai_model` is a model for CompressAI's tools.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from dcacodec._version import __version__
from dcacodec.errors import DcaError

if TYPE_CHECKING:
    from dcacodec.api import decode, decode_array, decode_file, decode_tensor, encode, encode_file
    from dcacodec.codec.codec import Codec
    from dcacodec.images import Picture, read_picture, write_picture

__all__ = [
    "Codec",
    "DcaError",
    "Picture",
    "__version__",
    "decode",
    "decode_array",
    "decode_file",
    "decode_tensor",
    "encode",
    "encode_file",
    "read_picture",
    "write_picture",
]

_HOMES: Final = {
    "Codec": "dcacodec.codec.codec",
    "Picture": "dcacodec.images",
    "decode": "dcacodec.api",
    "decode_array": "dcacodec.api",
    "decode_file": "dcacodec.api",
    "decode_tensor": "dcacodec.api",
    "encode": "dcacodec.api",
    "encode_file": "dcacodec.api",
    "read_picture": "dcacodec.images",
    "write_picture": "dcacodec.images",
}
"""The module of each name that is loaded when first used (PEP 562)."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
