"""The `.dca` container: its layout, what is packed and parsed again, and how it is described."""

import io
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_containers import FINGERPRINT, HEADER, ONE_SLICE, SIX_SLICES, WITH_CHUNKS, each_example, written

from dcacodec import errors
from dcacodec.format import container as dca
from dcacodec.format.container import Chunk, Container, Header, Slice, describe
from dcacodec.format.quality import quality_of
from dcacodec.format.reader import MAX_HEADER_BYTES, Reader, is_lossless, parse, parse_header
from dcacodec.format.varint import varint
from dcacodec.format.writer import pack


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


def test_whether_many_slices_are_lossless_is_seen_in_their_table() -> None:
    header = Header(FINGERPRINT, 40 * 256, 256, "RGB", 50, slice_log2=8)
    without, some = Slice((b"",) * 7, latent_crc=1), Slice((b"",) * 6 + (b"4",), latent_crc=2)
    for last, expected in ((without, True), (some, False)):
        data = pack(Container(header, (*[without] * 39, last), (Chunk("exIF", bytes(1000)),)))
        file = io.BytesIO(data)
        assert is_lossless(file) == expected
        assert file.tell() <= MAX_HEADER_BYTES + 40 * 11
        with pytest.raises(errors.TruncatedError):
            is_lossless(io.BytesIO(data[: 40 * 11]))


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


def test_container_is_read_without_torch_and_numpy() -> None:
    program = (
        "import sys, dcacodec.format.container; print(sorted({'torch', 'numpy', 'PIL', 'click'} & sys.modules.keys()))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("[]\n", "")
