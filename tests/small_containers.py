"""Containers of few bytes, packed or written field by field: what the tests of the container share."""

import zlib

import pytest

from dcacodec.format.container import Chunk, Container, Header, Slice

FINGERPRINT = bytes.fromhex("c0ffee01")
HEADER = Header(FINGERPRINT, width=768, height=512, mode="RGB", quality=50)
STREAMS = (b"R", b"", b"LL", b"1111", b"222", b"33", b"4")
ONE_SLICE = Container(HEADER, (Slice(STREAMS, latent_crc=0x01020304),))
WITH_CHUNKS = Container(
    HEADER, ONE_SLICE.slices, (Chunk("ALPH", b"plane"), Chunk("icCP", b""), Chunk("xyZW", b"\0later\xff"))
)
SIX_SLICES = Container(
    Header(FINGERPRINT, width=513, height=300, mode="L", quality=1, slice_log2=8),
    tuple(Slice((b"r", b"g", b"l", bytes([index]) * index, b"", b"", b"4"), latent_crc=index) for index in range(6)),
)
EXAMPLES = [ONE_SLICE, WITH_CHUNKS, SIX_SLICES]
each_example = pytest.mark.parametrize("container", EXAMPLES, ids=["one_slice", "with_chunks", "six_slices"])


def seal(body: bytes) -> bytes:
    """A file of this body with a right checksum."""
    return body + zlib.crc32(body).to_bytes(4, "little")


def written(
    *,
    magic: bytes = b"\x89DCA",
    version: bytes = b"\x01",
    width: bytes = b"\x03",
    height: bytes = b"\x02",
    layout: bytes = b"\x00",
    quality: bytes = b"\x32",
    count: bytes = b"",
    table: bytes = b"\1\0\0\0\0\0\0" + b"\xaa\xbb\xcc\xdd",
    streams: bytes = b"R",
    chunks: bytes = b"\0",
) -> bytes:
    """A file written field by field, without `pack`; every field can be made wrong, the checksum is right."""
    return seal(magic + version + FINGERPRINT + width + height + layout + quality + count + table + streams + chunks)
