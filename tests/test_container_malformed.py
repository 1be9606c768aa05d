"""Malformed `.dca` containers: each has its own error, and so has each value that no file can hold."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_containers import EXAMPLES, FINGERPRINT, HEADER, ONE_SLICE, each_example, seal, written

from dcacodec import errors
from dcacodec.format import container as dca
from dcacodec.format.container import Chunk, Container, Header, Slice
from dcacodec.format.reader import parse
from dcacodec.format.writer import pack

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


@pytest.mark.parametrize(
    "fault", [{"layout": b"\x50"}, {"layout": b"\x00"}, {"quality": b"\0"}, {"quality": b"\xb2\x0a"}]
)
def test_sides_are_checked_as_soon_as_they_are_known(fault: dict[str, bytes]) -> None:
    """Before what follows them in the file, and those that no file can have before the number of pixels."""
    side = b"\x80\x80\x10"  # 2**18
    with pytest.raises(errors.TooLargeError):
        parse(written(width=side, height=side, **fault))
    for width in (b"\0", b"\x81\x80\x40"):
        with pytest.raises(errors.BadDimensionsError):
            parse(written(width=width, height=side, **fault))


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


@pytest.mark.parametrize(
    ("error", "build"),
    [
        (errors.BadDimensionsError, lambda: Header(FINGERPRINT, 0, 1, "RGB", 50)),
        (errors.BadDimensionsError, lambda: Header(FINGERPRINT, 1, -1, "RGB", 50)),
        (errors.BadDimensionsError, lambda: Header(FINGERPRINT, dca.MAX_SIDE + 1, 1, "RGB", 50)),
        (errors.BadModeError, lambda: Header(FINGERPRINT, 1, 1, "RGBA", 50)),
        (errors.BadQualityError, lambda: Header(FINGERPRINT, 1, 1, "RGB", 0)),
        (errors.BadQualityError, lambda: Header(FINGERPRINT, 1, 1, "RGB", 101)),
        (errors.BadQualityError, lambda: Header(FINGERPRINT, 1, 1, "RGB", 50.05)),
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


def test_every_error_is_exported_documented_and_a_dca_error() -> None:
    classes = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
    assert sorted(classes) == errors.__all__
    for name, value in classes.items():
        assert issubclass(value, UserWarning if name.endswith("Warning") else errors.DcaError)
        assert value.__doc__ and value.__doc__.endswith(".")
