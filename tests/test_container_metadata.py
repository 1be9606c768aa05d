"""Metadata in the `.dca` container: compressed, as they are, damaged, or there twice."""

import zlib

import pytest
from small_containers import HEADER, ONE_SLICE
from told import one_line

from dcacodec import errors
from dcacodec.format import container as dca
from dcacodec.format.container import Chunk
from dcacodec.format.metadata import MAX_INFLATED, Metadata, metadata_chunks, metadata_of
from dcacodec.format.reader import parse
from dcacodec.format.writer import pack

METADATA = b"profile " * 40, b"II*\0" + bytes(200), b"<x/>"


def with_metadata(metadata: Metadata) -> dca.Container:
    return dca.Container(HEADER, ONE_SLICE.slices, tuple(metadata_chunks(metadata)))


def test_metadata_come_back_from_as_few_bytes_as_zlib_makes_of_them() -> None:
    container = with_metadata(METADATA)
    assert metadata_of(container) == METADATA
    assert [chunk.tag for chunk in container.chunks] == ["icCZ", "exIZ", "xmPP"]
    assert zlib.decompress(container.chunk("icCZ") or b"") == METADATA[0]
    assert sum(len(chunk.data) for chunk in container.chunks) < 80
    assert parse(pack(container)) == container


def test_metadata_as_they_are() -> None:
    """As in files made before there were compressed chunks."""
    plain = tuple(Chunk(*each) for each in zip(("icCP", "exIF", "xmPP"), METADATA, strict=True))
    assert metadata_of(dca.Container(HEADER, ONE_SLICE.slices, plain)) == METADATA
    assert metadata_of(ONE_SLICE) == metadata_of(with_metadata((b"", None, None))) == (None, None, None)


def test_empty_metadata_are_none() -> None:
    """Otherwise a format that cannot hold them would be said to lose them."""
    for data, tags in ((b"", ("icCP", "exIF", "xmPP")), (zlib.compress(b""), ("icCZ", "exIZ", "xmPZ"))):
        chunks = tuple(Chunk(tag, data) for tag in tags)
        assert metadata_of(dca.Container(HEADER, ONE_SLICE.slices, chunks)) == (None, None, None)


def test_metadata_above_the_limit_are_not_compressed() -> None:
    for excess, tag in ((0, "icCZ"), (1, "icCP")):
        data = bytes(MAX_INFLATED + excess)
        container = with_metadata((data, None, None))
        assert [chunk.tag for chunk in container.chunks] == [tag]
        assert metadata_of(container)[0] == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"profile",
        zlib.compress(METADATA[0])[:-1],
        zlib.compress(METADATA[0]) + b"x",
        zlib.compress(METADATA[0])[:-1] + b"x",
        zlib.compress(bytes(MAX_INFLATED + 1)),
    ],
)
def test_compressed_metadata_that_are_none(data: bytes) -> None:
    container = dca.Container(HEADER, ONE_SLICE.slices, (Chunk("exIZ", data),))
    with pytest.raises(errors.BadMetadataError) as caught:
        metadata_of(container)
    assert "exIZ" in one_line(caught)


def test_metadata_twice() -> None:
    chunks = Chunk("xmPP", b"<x/>"), Chunk("xmPZ", zlib.compress(b"<x/>"))
    with pytest.raises(errors.DuplicateChunkError) as caught:
        metadata_of(dca.Container(HEADER, ONE_SLICE.slices, chunks))
    assert "xmPP" in one_line(caught) and "xmPZ" in one_line(caught)
