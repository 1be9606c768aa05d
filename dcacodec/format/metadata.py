"""ICC profile, EXIF data and XMP packet as chunks, compressed with zlib where that makes them smaller."""

from __future__ import annotations

import zlib
from typing import Final, TypeAlias

from dcacodec.errors import BadMetadataError, DuplicateChunkError
from dcacodec.format.container import Chunk, Container

_TAGS: Final = (("icCP", "icCZ"), ("exIF", "exIZ"), ("xmPP", "xmPZ"))
"""The tags of data as they are, and of data compressed with zlib, in the order of `METADATA_KINDS`."""
MAX_INFLATED: Final = 1 << 24
"""Bytes that a compressed chunk may expand to. It bounds a decoder's memory; larger data are stored as they are."""

METADATA_KINDS: Final = ("icc", "exif", "xmp")
Metadata: TypeAlias = "tuple[bytes | None, bytes | None, bytes | None]"
"""The data of `METADATA_KINDS`: ICC profile, EXIF data, XMP packet; None for what a picture does not have."""


def metadata_chunks(metadata: Metadata) -> list[Chunk]:
    """The chunks that hold these metadata. Empty data are left out."""
    return [_smaller(plain, packed, data) for (plain, packed), data in zip(_TAGS, metadata, strict=True) if data]


def metadata_of(container: Container) -> Metadata:
    """The metadata in a file. Empty data are none.

    Raises:
        DuplicateChunkError: data of one kind are there both compressed and not.
        BadMetadataError: a compressed chunk is not one zlib stream, or expands to more than `MAX_INFLATED` bytes.
    """
    icc, exif, xmp = (_data(container, *tags) or None for tags in _TAGS)
    return icc, exif, xmp


def _smaller(plain: str, packed: str, data: bytes) -> Chunk:
    if len(data) <= MAX_INFLATED and len(deflated := zlib.compress(data, 9)) < len(data):
        return Chunk(packed, deflated)
    return Chunk(plain, data)


def _data(container: Container, plain: str, packed: str) -> bytes | None:
    data, deflated = container.chunk(plain), container.chunk(packed)
    if deflated is None:
        return data
    if data is not None:
        raise DuplicateChunkError(f"the chunks {plain} and {packed} hold the same kind of data")
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(deflated, MAX_INFLATED)
        # One more byte shows whether the stream continues.
        if not inflater.eof and inflater.decompress(inflater.unconsumed_tail, 1):
            raise BadMetadataError(f"chunk {packed} expands to more than {MAX_INFLATED} bytes")
    except zlib.error as error:
        raise BadMetadataError(f"chunk {packed} is not a zlib stream: {error}") from None
    if not inflater.eof or inflater.unused_data:
        raise BadMetadataError(f"chunk {packed} is not exactly one zlib stream")
    return data
