"""The codecs that can be measured, by name."""

from __future__ import annotations

from dcacodec.bench.codec import BenchCodec, CodecOptions
from dcacodec.bench.compressai_zoo import COMPRESSAI, CompressAI
from dcacodec.bench.jpegli import JPEGLI, Jpegli, jpegli_is_installed
from dcacodec.bench.own_codec import OUR_NAMES, OURS, Ours
from dcacodec.bench.pillow_codecs import PILLOW_FORMATS, PillowCodec
from dcacodec.errors import UnknownNameError
from dcacodec.network.config import TUNINGS


def open_codec(name: str, options: CodecOptions) -> BenchCodec:
    """The codec of this name.

    Raises:
        UnknownNameError: there is none.
        BenchError: a package that it needs is missing.
        DcaError: the weights of dcacodec are missing.
    """
    if OUR_NAMES.fullmatch(name):
        return Ours(name, options)
    if name in PILLOW_FORMATS:
        return PillowCodec(name, PILLOW_FORMATS[name], options.threads)
    if name == JPEGLI:
        return Jpegli()
    if name.startswith(COMPRESSAI):
        return CompressAI(name, options.device)
    tuned = (f"{OURS}-{tune}" for tune in TUNINGS)
    known = ", ".join((OURS, *tuned, f"{OURS}:EFFORT", *PILLOW_FORMATS, JPEGLI, f"{COMPRESSAI}MODEL"))
    raise UnknownNameError(f"no codec {name!r}; these are known: {known}")


def available() -> tuple[str, ...]:
    """Names of the codecs that this machine has and that need no further choice."""
    formats = (name for name, form in PILLOW_FORMATS.items() if form.missing() is None)
    return (OURS, *formats, *((JPEGLI,) if jpegli_is_installed() else ()))
