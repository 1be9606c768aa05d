"""The specification of the `.dca` container: its examples are run, and it names every error and limit."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dcacodec import errors
from dcacodec.coding import CdfTable, PythonCoder, encode_values
from dcacodec.format import container as dca
from dcacodec.format.reader import Reader, parse
from dcacodec.format.varint import varint
from dcacodec.format.writer import pack

SPECIFICATION = Path(__file__).parents[1] / "docs" / "reference" / "format.md"


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
