"""Writing of `.dca` files."""

from __future__ import annotations

import zlib

from dcacodec.format.container import END_OF_CHUNKS, FRACTIONAL, MAGIC, MODES, U32, VERSION, Container
from dcacodec.format.quality import TENTHS, tenths_of
from dcacodec.format.varint import varint


def pack(container: Container) -> bytes:
    """The bytes of a `.dca` file. The same container always gives the same bytes.

    Raises:
        BadLengthError: a stream or chunk has 2^32 bytes or more.
    """
    body = b"".join(_parts(container))
    return body + U32.pack(zlib.crc32(body))


def packed_size(container: Container) -> int:
    """The size in bytes of a packed container."""
    return sum(map(len, _parts(container))) + U32.size


def _quality(quality: float) -> bytes:
    whole, tenth = divmod(tenths_of(quality), TENTHS)
    return bytes([whole | FRACTIONAL, tenth]) if tenth else bytes([whole])


def _parts(container: Container) -> list[bytes]:
    """Everything but the checksum."""
    header = container.header
    parts = [
        MAGIC,
        bytes([VERSION]),
        header.fingerprint,
        varint(header.width),
        varint(header.height),
        bytes([MODES.index(header.mode) << 4 | header.slice_log2]),
        _quality(header.quality),
    ]
    if header.slice_log2:
        parts.append(varint(len(container.slices)))
    for part in container.slices:
        parts += [varint(len(stream)) for stream in part.streams]
        parts.append(U32.pack(part.latent_crc))
    for part in container.slices:
        parts += part.streams
    for chunk in container.chunks:
        parts += [chunk.tag.encode("ascii"), varint(len(chunk.data)), chunk.data]
    parts.append(bytes([END_OF_CHUNKS]))
    return parts
