"""The `.dca` container: layout, round trips, every malformed case; and its specification, whose examples are run."""

import io
import json
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from told import one_line

from dcacodec import errors
from dcacodec.coding import CdfTable, PythonCoder, encode_values
from dcacodec.format import container as dca
from dcacodec.format.container import Chunk, Container, Header, Slice, describe
from dcacodec.format.metadata import MAX_INFLATED, Metadata, metadata_chunks, metadata_of
from dcacodec.format.quality import quality_of
from dcacodec.format.reader import MAX_HEADER_BYTES, Reader, is_lossless, parse, parse_header
from dcacodec.format.varint import varint
from dcacodec.format.writer import pack

SPECIFICATION = Path(__file__).parents[1] / "docs" / "reference" / "format.md"
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


# Round trips and layout.


def test_file_written_by_hand_is_what_pack_writes() -> None:
    header = Header(FINGERPRINT, width=3, height=2, mode="RGB", quality=50)
    container = Container(header, (Slice((b"R", b"", b"", b"", b"", b"", b""), latent_crc=0xDDCCBBAA),))
    assert pack(container) == written()
    assert parse(written()) == container


def test_sliced_file_written_by_hand_is_what_pack_writes() -> None:
    header = Header(FINGERPRINT, width=257, height=256, mode="L", quality=100, slice_log2=8)
    left = Slice((b"a", b"", b"", b"", b"", b"", b"b"), latent_crc=1)
    right = Slice((b"", b"c", b"", b"", b"", b"", b""), latent_crc=2)
    data = written(
        width=b"\x81\x02",
        height=b"\x80\x02",
        layout=b"\x18",
        quality=b"\x64",
        count=b"\x02",
        table=b"\1\0\0\0\0\0\1" + b"\1\0\0\0" + b"\0\1\0\0\0\0\0" + b"\2\0\0\0",
        streams=b"abc",
        chunks=b"eXIF\x02II\0",
    )
    container = Container(header, (left, right), (Chunk("eXIF", b"II"),))
    assert pack(container) == data
    assert parse(data) == container


@each_example
def test_parse_undoes_pack(container: Container) -> None:
    assert parse(pack(container)) == container


def tags(first: str) -> st.SearchStrategy[str]:
    return st.from_regex(rf"\A[{first}][A-Za-z]{{3}}\Z")


@st.composite
def containers(draw: st.DrawFn) -> Container:
    slice_log2 = draw(st.sampled_from(dca.SLICE_LOG2_CODES))
    size = 1 << slice_log2
    if slice_log2:
        columns, rows = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        width = draw(st.integers((columns - 1) * size + 1, columns * size))
        height = draw(st.integers((rows - 1) * size + 1, rows * size))
    else:
        columns = rows = 1
        width = draw(st.integers(1, dca.LARGEST_SLICE // 64))
        height = draw(st.integers(1, dca.LARGEST_SLICE // dca.padded(width) // 64 * 64))
    header = Header(
        fingerprint=draw(st.binary(min_size=4, max_size=4)),
        width=width,
        height=height,
        mode=draw(st.sampled_from(dca.MODES)),
        quality=draw(st.integers(10, 1000).map(quality_of)),
        slice_log2=slice_log2,
    )
    stream = st.one_of(st.binary(max_size=8), st.integers(120, 140).map(bytes))
    slices = st.builds(Slice, st.tuples(*[stream] * 7), st.integers(0, 2**32 - 1))
    names = draw(st.lists(st.one_of(st.just("ALPH"), tags("a-z")), max_size=3, unique=True))
    chunks = [Chunk(name, draw(stream)) for name in names]
    full = draw(st.none() | st.lists(st.booleans(), min_size=columns * rows, max_size=columns * rows))
    if full is not None and any(full):
        chunks.insert(draw(st.integers(0, len(chunks))), dca.full_chunk(full))
    container = Container(
        header, tuple(draw(st.lists(slices, min_size=columns * rows, max_size=columns * rows))), tuple(chunks)
    )
    assert [container.is_full(index) for index in range(columns * rows)] == (full or [False] * columns * rows)
    return container


@given(containers())
def test_parse_undoes_pack_for_any_container(container: Container) -> None:
    data = pack(container)
    assert parse(data, max_pixels=None) == container
    assert parse_header(data[:MAX_HEADER_BYTES]) == container.header
    without_streams = not any(stream for part in container.slices for stream in part.streams)
    assert is_lossless(io.BytesIO(data)) == without_streams


def test_a_glance_needs_no_more_than_it_says() -> None:
    assert (
        len(dca.MAGIC) + 1 + dca.FINGERPRINT_BYTES + 3 * 5 + 2 < MAX_HEADER_BYTES
    )  # no varint has more than five bytes
    for count in range(14):
        with pytest.raises(errors.TruncatedError):
            parse_header(pack(ONE_SLICE)[:count])
    assert parse_header(pack(ONE_SLICE)[:15]) == HEADER
    with pytest.raises(errors.BadMagicError):
        parse_header(b"\x89PNG and so on")
    with pytest.raises(errors.BadQualityError):
        parse_header(written(quality=b"\x65"))


@pytest.mark.parametrize("value", [0, 1, 127, 128, 16383, 16384, 2**21 - 1, 2**21, 2**28 - 1, 2**28, 2**32 - 1])
def test_varint_takes_seven_bits_a_byte(value: int) -> None:
    encoded = varint(value)
    assert len(encoded) == max(1, -(-value.bit_length() // 7))
    reader = Reader(encoded, 0, len(encoded))
    assert (reader.varint(), reader.position) == (value, len(encoded))


def test_numbers_of_2_to_the_32_cannot_be_written() -> None:
    with pytest.raises(errors.BadLengthError, match="2\\^32 - 1"):
        varint(2**32)


def test_overhead_of_a_one_slice_picture_is_38_bytes() -> None:
    """Kodak at about 0.1 bpp: streams of a few hundred bytes, so two bytes for each length."""
    streams = tuple(bytes([index]) * size for index, size in enumerate((130, 200, 300, 1500, 1100, 900, 800)))
    data = pack(Container(HEADER, (Slice(streams, latent_crc=0xFFFFFFFF),)))
    assert len(data) - sum(map(len, streams)) == 38


def test_least_overhead_is_29_bytes() -> None:
    data = pack(Container(Header(FINGERPRINT, 1, 1, "L", 1), (Slice((b"",) * 7, latent_crc=0),)))
    assert len(data) == 29


@pytest.mark.parametrize(
    ("width", "height", "slice_log2", "grid"),
    [
        (1, 1, 0, (1, 1)),
        (2**11, 2**11, 0, (1, 1)),
        (1, 1, 8, (1, 1)),
        (256, 257, 8, (1, 2)),
        (257, 256, 8, (2, 1)),
        (2**20, 1, 11, (512, 1)),
        (2**20, 2**20, 8, (4096, 4096)),
        (1025, 3073, 10, (2, 4)),
    ],
)
def test_slice_grid(width: int, height: int, slice_log2: int, grid: tuple[int, int]) -> None:
    header = Header(FINGERPRINT, width, height, "RGB", 50, slice_log2)
    assert header.slice_grid == grid
    assert header.slice_count == grid[0] * grid[1]


@pytest.mark.parametrize(("width", "height"), [(2048, 2048), (2047, 1985), (64, 65536), (1, 65536), (65536, 1)])
def test_the_largest_single_slices(width: int, height: int) -> None:
    container = Container(Header(FINGERPRINT, width, height, "RGB", 50), ONE_SLICE.slices)
    assert parse(pack(container)) == container


@pytest.mark.parametrize(("side", "expected"), [(1, 64), (63, 64), (64, 64), (65, 128), (2**20, 2**20)])
def test_padding(side: int, expected: int) -> None:
    assert dca.padded(side) == expected


def test_unknown_ancillary_chunk_is_kept_and_packed_again() -> None:
    data = pack(WITH_CHUNKS)
    again = parse(data)
    assert again.chunk("xyZW") == b"\0later\xff"
    assert again.chunk("exIF") is None
    assert pack(again) == data


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


# Malformed files: one named error each.

CASES: dict[str, tuple[type[errors.DcaError], bytes, str]] = {
    "another_file": (errors.BadMagicError, b"\x89PNG\r\n\x1a\n" + bytes(50), "not a .dca file"),
    "short_other_file": (errors.BadMagicError, b"\x89P", "not a .dca file"),
    "newer_version": (errors.NewerVersionError, written(version=b"\x02"), "container version 2: .* up to version 1"),
    "version_zero": (errors.BadVersionError, written(version=b"\x00"), "container version 0 does not exist"),
    "zero_width": (errors.BadDimensionsError, written(width=b"\x00"), "0x2 pixels"),
    "zero_height": (errors.BadDimensionsError, written(height=b"\x00"), "3x0 pixels"),
    "side_too_long": (errors.BadDimensionsError, written(height=b"\x81\x80\x40"), "3x1048577 pixels"),
    "too_many_pixels": (
        errors.TooLargeError,
        written(width=b"\x80\x80\x40", height=b"\x80\x80\x40", layout=b"\x0b"),
        "1048576x1048576 pixels is above the limit of 178956970",
    ),
    "unknown_mode": (errors.BadModeError, written(layout=b"\x20"), "colour mode number 2 is not one of RGB, L"),
    "quality_zero": (errors.BadQualityError, written(quality=b"\x00"), "quality 0 is not"),
    "quality_above_100": (errors.BadQualityError, written(quality=b"\x65"), "quality 101 is not"),
    "fraction_above_100": (errors.BadQualityError, written(quality=b"\xe4\x01"), "quality 100.1 is not"),
    "fraction_below_1": (errors.BadQualityError, written(quality=b"\x80\x09"), "quality 0.9 is not"),
    "no_tenths": (errors.BadQualityError, written(quality=b"\xb2\x00"), "0 tenths"),
    "ten_tenths": (errors.BadQualityError, written(quality=b"\xb2\x0a"), "10 tenths"),
    "slices_too_small": (errors.BadSliceSizeError, written(layout=b"\x07"), "slice size code 7"),
    "slices_too_large": (errors.BadSliceSizeError, written(layout=b"\x0c"), "slice size code 12 is neither 0 nor in 8"),
    "too_large_for_one_slice": (
        errors.BadSliceSizeError,
        written(width=b"\x81\x10", height=b"\x80\x10"),
        "2049x2048 pixels is too large for a single slice",
    ),
    "too_long_for_one_slice": (
        errors.BadSliceSizeError,
        written(width=b"\x01", height=b"\x81\x80\x04"),
        "1x65537 pixels is too large for a single slice",
    ),
    "too_many_slices": (errors.BadSliceCountError, written(layout=b"\x08", count=b"\x02"), "2 slices .* has 1x1"),
    "no_slices": (errors.BadSliceCountError, written(layout=b"\x08", count=b"\x00"), "0 slices .* has 1x1"),
    "billions_of_slices": (
        errors.BadSliceCountError,
        written(layout=b"\x08", count=b"\xff\xff\xff\xff\x0f"),
        "4294967295",
    ),
    "stream_longer_than_file": (errors.BadLengthError, written(streams=b""), "reaches past its end"),
    "stream_of_4_gib": (
        errors.BadLengthError,
        written(table=b"\xff\xff\xff\xff\x0f\0\0\0\0\0\0" + bytes(4)),
        "reaches past its end",
    ),
    "table_longer_than_file": (
        errors.BadLengthError,
        written(width=b"\x80\x80\x01", height=b"\x80\x40", layout=b"\x08", count=b"\x80\x10"),
        "reaches past its end",
    ),
    "chunk_longer_than_file": (errors.BadLengthError, written(chunks=b"icCP\x09abc\0"), "reaches past its end"),
    "end_of_chunks_missing": (errors.BadLengthError, written(chunks=b""), "reaches past its end"),
    "chunk_tag_longer_than_file": (errors.BadLengthError, written(chunks=b"ic"), "reaches past its end"),
    "varint_not_shortest": (errors.BadVarintError, written(width=b"\x83\x00"), "not in its shortest form"),
    "varint_of_six_bytes": (errors.BadVarintError, written(width=b"\x83\x80\x80\x80\x80\x01"), "2\\^32 or more"),
    "varint_of_33_bits": (errors.BadVarintError, written(width=b"\x83\x80\x80\x80\x10"), "2\\^32 or more"),
    "bad_chunk_tag": (
        errors.BadChunkTagError,
        written(chunks=b"ic\x80P\0\0"),
        "'ic\\\\x80P' is not four ASCII letters",
    ),
    "chunk_tag_with_line_break": (errors.BadChunkTagError, written(chunks=b"a\nbc\0\0"), "'a\\\\nbc' is not four"),
    "unknown_critical_chunk": (errors.UnknownChunkError, written(chunks=b"NEWs\0\0"), "needs chunk NEWs"),
    "duplicate_chunk": (errors.DuplicateChunkError, written(chunks=b"icCP\0icCP\1x\0"), "icCP is there twice"),
    "too_many_chunks": (errors.TooManyChunksError, written(chunks=b"aaaa\0" * 1001 + b"\0"), "more than 1000 chunks"),
    "full_chunk_too_short": (
        errors.BadSliceBitsError,
        written(chunks=b"FULL\0\0"),
        "is not one bit for each of 1 slices",
    ),
    "full_chunk_too_long": (errors.BadSliceBitsError, written(chunks=b"FULL\2\1\0\0"), "for each of 1 slices"),
    "full_chunk_of_other_slices": (errors.BadSliceBitsError, written(chunks=b"FULL\1\3\0"), "for each of 1 slices"),
    "full_chunk_of_no_slice": (errors.BadSliceBitsError, written(chunks=b"FULL\1\0\0"), "with one that is set"),
    "bytes_before_checksum": (errors.TrailingBytesError, written(chunks=b"\0more"), "4 bytes between"),
    "bytes_after_checksum": (errors.TrailingBytesError, written() + b"\n", "1 bytes after the end"),
    "file_twice": (errors.TrailingBytesError, written() * 2, f"{len(written())} bytes after the end"),
    "wrong_checksum": (errors.BadChecksumError, written()[:-1] + b"?", "the file is damaged"),
    "damaged_stream": (errors.BadChecksumError, written().replace(b"R", b"r"), "the file is damaged"),
    "damaged_header": (
        errors.BadChecksumError,
        b"\x89DCA\x01" + written(width=b"\x00")[5:-1] + b"?",
        "the file is damaged",
    ),
}


@pytest.mark.parametrize(("error", "data", "message"), CASES.values(), ids=CASES.keys())
def test_malformed_file_raises_its_own_error(error: type[errors.DcaError], data: bytes, message: str) -> None:
    with pytest.raises(errors.DcaError, match=message) as caught:
        parse(data)
    assert caught.type is error
    text = str(caught.value)
    assert text.isascii() and text.isprintable() and len(text) <= 120


@each_example
def test_every_prefix_is_truncated(container: Container) -> None:
    data = pack(container)
    for length in range(len(data)):
        with pytest.raises(errors.TruncatedError, match=f"it has only {length} bytes"):
            parse(data[:length])


@each_example
def test_every_change_of_one_byte_is_noticed(container: Container) -> None:
    data = pack(container)
    expected = {
        errors.BadMagicError,
        errors.BadVersionError,
        errors.NewerVersionError,
        errors.BadChecksumError,
        errors.TruncatedError,
    }
    seen = set()
    for position in range(len(data)):
        for change in range(1, 256):
            damaged = bytearray(data)
            damaged[position] ^= change
            with pytest.raises(errors.FormatError) as caught:
                parse(bytes(damaged))
            seen.add(caught.type)
    assert seen == expected


@given(st.binary(max_size=200))
def test_random_bytes_raise_named_errors(data: bytes) -> None:
    with pytest.raises(errors.DcaError):
        parse(data)


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_random_bytes_under_a_right_checksum_are_refused_or_understood(content: bytes) -> None:
    check_refused_or_understood(seal(b"\x89DCA\x01" + content))


@settings(max_examples=500)
@given(
    st.sampled_from(EXAMPLES),
    st.lists(st.tuples(st.integers(5, 40), st.integers(0, 3), st.binary(max_size=3)), min_size=1, max_size=3),
)
def test_edited_files_under_a_right_checksum_are_refused_or_understood(
    container: Container, edits: list[tuple[int, int, bytes]]
) -> None:
    body = pack(container)[:-4]
    for position, removed, inserted in edits:
        body = body[:position] + inserted + body[position + removed :]
    check_refused_or_understood(seal(body))


def check_refused_or_understood(data: bytes) -> None:
    """There are no two ways to write one container: what parses is what `pack` writes."""
    try:
        container = parse(data, max_pixels=None)
    except errors.FormatError:
        return
    assert pack(container) == data


def test_pixel_limit() -> None:
    data = pack(ONE_SLICE)
    assert parse(data, max_pixels=768 * 512) == ONE_SLICE
    with pytest.raises(errors.TooLargeError, match="768x512 pixels is above the limit of 393215 pixels"):
        parse(data, max_pixels=768 * 512 - 1)


def test_no_pixel_limit_leaves_that_of_the_format() -> None:
    header = Header(FINGERPRINT, dca.MAX_SIDE, 256, "RGB", 50, slice_log2=11)
    container = Container(header, ONE_SLICE.slices * header.slice_count)
    with pytest.raises(errors.TooLargeError):
        parse(pack(container))
    assert parse(pack(container), max_pixels=None) == container
    for limit in (1, None):  # what is wrong with a damaged file has nothing to do with the limit
        with pytest.raises(errors.TruncatedError):
            parse(pack(container)[:-100], limit)
    with pytest.raises(errors.BadDimensionsError):
        parse(written(width=b"\x81\x80\x40"), max_pixels=None)


# Values that no file can hold.


@pytest.mark.parametrize(
    ("error", "build"),
    [
        (errors.BadDimensionsError, lambda: Header(FINGERPRINT, 0, 1, "RGB", 50)),
        (errors.BadDimensionsError, lambda: Header(FINGERPRINT, 1, -1, "RGB", 50)),
        (errors.BadDimensionsError, lambda: Header(FINGERPRINT, dca.MAX_SIDE + 1, 1, "RGB", 50)),
        (errors.BadModeError, lambda: Header(FINGERPRINT, 1, 1, "RGBA", 50)),
        (errors.BadQualityError, lambda: Header(FINGERPRINT, 1, 1, "RGB", 0)),
        (errors.BadQualityError, lambda: Header(FINGERPRINT, 1, 1, "RGB", 101)),
        (errors.BadSliceSizeError, lambda: Header(FINGERPRINT, 1, 1, "RGB", 50, slice_log2=7)),
        (errors.BadSliceSizeError, lambda: Header(FINGERPRINT, 1, 1, "RGB", 50, slice_log2=12)),
        (errors.BadSliceSizeError, lambda: Header(FINGERPRINT, 2049, 2048, "RGB", 50)),
        (errors.BadSliceSizeError, lambda: Header(FINGERPRINT, 65537, 1, "RGB", 50)),
        (ValueError, lambda: Header(b"abc", 1, 1, "RGB", 50)),
        (ValueError, lambda: Slice((b"",) * 6, 0)),
        (ValueError, lambda: Slice((b"",) * 7, -1)),
        (ValueError, lambda: Slice((b"",) * 7, 2**32)),
        (errors.BadSliceCountError, lambda: Container(HEADER, ())),
        (errors.BadSliceCountError, lambda: Container(HEADER, ONE_SLICE.slices * 2)),
        (errors.BadChunkTagError, lambda: Chunk("abc", b"")),
        (errors.BadChunkTagError, lambda: Chunk("abcde", b"")),
        (errors.BadChunkTagError, lambda: Chunk("abc1", b"")),
        (errors.BadChunkTagError, lambda: Chunk("abc\u00e9", b"")),
        (errors.UnknownChunkError, lambda: Container(HEADER, ONE_SLICE.slices, (Chunk("NEWs", b""),))),
        (errors.TooManyChunksError, lambda: Container(HEADER, ONE_SLICE.slices, (Chunk("exIF", b""),) * 1001)),
        (errors.BadSliceBitsError, lambda: Container(HEADER, ONE_SLICE.slices, (Chunk("FULL", b""),))),
        (errors.BadSliceBitsError, lambda: Container(HEADER, ONE_SLICE.slices, (Chunk("FULL", b"\2"),))),
        (errors.BadSliceBitsError, lambda: Container(HEADER, ONE_SLICE.slices, (Chunk("FULL", b"\0"),))),
        (
            errors.DuplicateChunkError,
            lambda: Container(HEADER, ONE_SLICE.slices, (Chunk("exIF", b""), Chunk("exIF", b""))),
        ),
    ],
)
def test_invalid_value_cannot_be_built(error: type[Exception], build: Callable[[], Any]) -> None:
    with pytest.raises(error) as caught:
        build()
    assert caught.type is error


# Description.


def test_describe() -> None:
    data = pack(WITH_CHUNKS)
    described = describe(parse(data), len(data))
    assert described == {
        "version": 1,
        "fingerprint": "c0ffee01",
        "width": 768,
        "height": 512,
        "mode": "RGB",
        "alpha": True,
        "quality": 50,
        "lossless": False,
        "slices": 1,
        "slice_size": 0,
        "lossless_slices": 0,
        "streams": {"z_r": 1, "z_g": 0, "z_l": 2, "y_1": 4, "y_2": 3, "y_3": 2, "y_4": 1},
        "chunks": [{"tag": "ALPH", "bytes": 5}, {"tag": "icCP", "bytes": 0}, {"tag": "xyZW", "bytes": 7}],
        "overhead_bytes": 46,
        "file_bytes": 71,
        "bpp": 71 * 8 / (768 * 512),
    }
    assert json.loads(json.dumps(described)) == described


def test_describe_slices() -> None:
    data = pack(SIX_SLICES)
    described = describe(SIX_SLICES, len(data))
    assert described["slices"] == 6
    assert described["slice_size"] == 256
    assert described["alpha"] is False
    assert described["chunks"] == []
    assert described["streams"] == {"z_r": 6, "z_g": 6, "z_l": 6, "y_1": 15, "y_2": 0, "y_3": 0, "y_4": 6}
    assert described["overhead_bytes"] == len(data) - 39 == 16 + 6 * 11 + 5


# Errors.


def test_every_error_is_exported_documented_and_a_dca_error() -> None:
    classes = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
    assert sorted(classes) == errors.__all__
    for name, value in classes.items():
        assert issubclass(value, UserWarning if name.endswith("Warning") else errors.DcaError)
        assert value.__doc__ and value.__doc__.endswith(".")


def test_container_is_read_without_torch_and_numpy() -> None:
    program = (
        "import sys, dcacodec.format.container; print(sorted({'torch', 'numpy', 'PIL', 'click'} & sys.modules.keys()))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("[]\n", "")


# The specification.


def blocks(language: str) -> list[str]:
    """The fenced blocks of this language in docs/reference/format.md."""
    return re.findall(rf"^```{language}\n(.*?)^```$", SPECIFICATION.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_worked_example_of_the_specification() -> None:
    (hexadecimal,) = blocks("hex")
    data = bytes.fromhex("".join(line.split("|")[0] for line in hexadecimal.splitlines()))
    names: dict[str, Any] = {}
    for program in blocks("python"):
        exec(compile(program, str(SPECIFICATION), "exec"), names)
    assert pack(names["container"]) == data
    assert parse(data) == names["container"]


def test_varints_of_the_specification() -> None:
    rows = re.findall(r"^ *\| (\d+) \| `([0-9a-f ]+)` \|$", SPECIFICATION.read_text("utf-8"), re.MULTILINE)
    assert [(int(number), bytes.fromhex(encoded)) for number, encoded in rows] == [
        (number, varint(number)) for number in (0, 127, 128, 300, 2**32 - 1)
    ]


def specified_decoder() -> Callable[..., list[int]]:
    """`decode_chunk` of docs/reference/format.md."""
    names: dict[str, Any] = {}
    (program,) = (block for block in blocks("python") if "def decode_chunk" in block)
    exec(compile(program, str(SPECIFICATION), "exec"), names)
    decoder: Callable[..., list[int]] = names["decode_chunk"]
    return decoder


@settings(max_examples=50)
@given(st.data())
def test_decoder_of_the_specification_reads_what_the_encoder_writes(data: st.DataObject) -> None:
    symbols, rows = data.draw(st.integers(2, 9)), data.draw(st.integers(1, 3))
    inner = st.lists(st.integers(1, 65535), min_size=symbols - 1, max_size=symbols - 1, unique=True).map(sorted)
    cdf = [[0, *data.draw(inner), 65536] for _ in range(rows)]
    low = [data.draw(st.integers(-20, 20)) for _ in range(rows)]
    shift = [data.draw(st.sampled_from([0, 0, 1, 9])) for _ in range(rows)]
    # Mostly regular symbols, some escapes up to the limits of the format.
    value = st.one_of(st.integers(-25, 25), st.integers(-25 << 9, 25 << 9), st.sampled_from([-32767, 32767]))
    coded = data.draw(st.lists(st.tuples(value, st.integers(0, rows - 1)), min_size=1, max_size=60))
    values, used = [value for value, _ in coded], [row for _, row in coded]
    table = CdfTable(np.array(cdf, np.int32), np.array(low, np.int32), np.array(shift, np.uint8))
    stream = encode_values(np.array(values), np.array(used), table, PythonCoder())
    assert specified_decoder()(stream, used, cdf, low, shift) == values


def test_chunks_of_a_stream_are_as_the_specification_says() -> None:
    cdf, low, shift = [[0, 1, 65535, 65536]], [-1], [0]
    values = np.zeros(2**18 + 2, np.int64)
    values[[0, -1]] = -1, 7
    rows = np.zeros(values.size, np.int64)
    table = CdfTable(np.array(cdf, np.int32), np.array(low, np.int32), np.array(shift, np.uint8))
    stream = encode_values(values, rows, table, PythonCoder())
    reader = Reader(stream, 0, len(stream))
    first = reader.take(reader.varint())
    rest = reader.take(len(stream) - reader.position)
    decode = specified_decoder()
    assert decode(first, rows[: 2**18].tolist(), cdf, low, shift) == values[: 2**18].tolist()
    assert decode(rest, [0, 0], cdf, low, shift) == [0, 7]
    assert encode_values(values[:0], rows[:0], table, PythonCoder()) == b""


def test_specification_names_every_error_and_limit() -> None:
    text = SPECIFICATION.read_text("utf-8")
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, errors.FormatError | errors.TooLargeError):
            assert f"`{name}`" in text
    assert f"{dca.DEFAULT_MAX_PIXELS:,}" in text
    assert " ".join(f"{byte:02x}" for byte in dca.MAGIC) in text
