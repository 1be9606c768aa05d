"""dcacodec: a learned image codec for everyday use, after the paper DCA (arXiv 2411.05832).

The names below are the public API. They are loaded when first used, so that `import dcacodec` costs nothing: PyTorch
comes with `Codec` and with the functions that code, NumPy and Pillow with pictures.

::

    Picture -- Codec.encode --> bytes of a .dca file -- Codec.decode --> Picture
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dcacodec._version import __version__
from dcacodec.errors import DcaError

if TYPE_CHECKING:
    from dcacodec.codec import Codec
    from dcacodec.images import Picture, read_picture, write_picture

__all__ = [
    "Codec",
    "DcaError",
    "Picture",
    "__version__",
    "decode_file",
    "encode_file",
    "read_picture",
    "write_picture",
]

_HOMES: Final = {
    "Codec": "dcacodec.codec",
    "Picture": "dcacodec.images",
    "read_picture": "dcacodec.images",
    "write_picture": "dcacodec.images",
}
"""Where the names come from that are loaded when first used (PEP 562)."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def encode_file(source: str | Path, target: str | Path, quality: int = 50, codec: Codec | None = None) -> None:
    """Compress a picture file to a `.dca` file.

    Args:
        source: a picture that `read_picture` reads.
        target: the file to write. One that is there is replaced once the new one is complete.
        quality: 1 (smallest) to 100 (best).
        codec: what codes; None loads the default one anew, which for many files is a waste.

    Raises:
        DcaError: the picture or the weights cannot be used.
        OSError: a file cannot be read or written.
        ValueError: the quality is out of range.
    """
    from dcacodec.codec import Codec
    from dcacodec.images import read_picture, write_atomically

    picture = read_picture(source)
    data = (codec or Codec.load()).encode(picture, quality)
    write_atomically(target, lambda file: file.write(data))


def decode_file(source: str | Path, target: str | Path, codec: Codec | None = None) -> None:
    """Turn a `.dca` file back into a picture file.

    Args:
        source: the `.dca` file.
        target: the picture to write; its suffix tells the format (all of them are lossless). One that is there is
            replaced once the new one is complete.
        codec: what decodes; it must have the weights that the file was made with. None loads the right one anew.

    Raises:
        DcaError: the file is damaged or its weights are not known, or the format cannot hold the picture.
        OSError: a file cannot be read or written.
    """
    from dcacodec.codec import Codec
    from dcacodec.images import format_for, write_atomically, write_picture

    format_name = format_for(target)
    data = Path(source).read_bytes()
    picture = (codec or Codec.load_for(data)).decode(data)
    write_atomically(target, lambda file: write_picture(picture, file, format_name))
