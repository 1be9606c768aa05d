"""Make the attack files and the table of README.md, the same bytes every time.

    PYTHONPATH=.:tests python attacks/make.py

The files are made for the golden weights of the tests (`tests/golden/tiny.safetensors`) and from the golden files.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from forge import Forged, ForgedChunk, ForgedSlice
from integers import Int, Mask
from oracle import SKIP_BELOW, Decoded, Oracle
from tiny import GOLDEN, WEIGHTS

from dcacodec.coding import VALUE_LIMIT, PythonCoder, encode_values

FOLDER = Path(__file__).resolve().parent
README = FOLDER / "README.md"
DECODES = "none, decodes"
MANY = 1 << 20
BLACK = bytes.fromhex("071011fd0f4444ff03")
"""A WebP lossless bitstream of 17x5 black pixels, without its first five bytes."""


@dataclass(frozen=True)
class Attack:
    """A file, what it tries, and the error that it must give (`DECODES` for a file that is harmless as it is)."""

    name: str
    tries: str
    error: str
    data: bytes


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.dca").read_bytes()


def forged(name: str, change: Callable[[Forged], object]) -> bytes:
    """A golden file with something changed, under a right checksum."""
    file = Forged.of(golden(name))
    change(file)
    return file.written()


def plain(**fields: object) -> bytes:
    """The file 17x5-RGB-q100 with other fields."""
    return replace(Forged.of(golden("17x5-RGB-q100")), **fields).written()  # type: ignore[arg-type]


def sliced(**fields: object) -> bytes:
    """The file 300x270-RGB-q50-n8 with other fields."""
    return replace(Forged.of(golden("300x270-RGB-q50-n8")), **fields).written()  # type: ignore[arg-type]


def lengths(change: Callable[[list[int]], None]) -> bytes:
    """17x5-RGB-q100 with other lengths in its slice table."""
    file = Forged.of(golden("17x5-RGB-q100"))
    part = file.slices[0]
    part.lengths = [len(stream) for stream in part.streams]
    change(part.lengths)
    return file.written()


def stream(index: int, change: Callable[[bytes], bytes]) -> bytes:
    """17x5-RGB-q100 with another stream."""

    def apply(file: Forged) -> None:
        file.slices[0].streams[index] = change(file.slices[0].streams[index])

    return forged("17x5-RGB-q100", apply)


def set_length(at: int, value: int) -> bytes:
    return lengths(lambda found: found.__setitem__(at, value))


def not_full(file: Forged) -> None:
    assert file.chunks[0].tag == b"FULL"
    del file.chunks[0]


def chunks(*parts: tuple[bytes, bytes]) -> bytes:
    """17x5-RGB-q100 with chunks."""
    return plain(chunks=[ForgedChunk(tag, data) for tag, data in parts])


def block(width: int = 17, height: int = 5, alpha: int = 0, version: int = 0, signature: int = 0x2F) -> bytes:
    """A lossless block; black, if it is one of 17x5 pixels."""
    fields = width - 1 | height - 1 << 14 | alpha << 28 | version << 29
    return bytes([signature]) + fields.to_bytes(4, "little") + BLACK


def lossless(data: bytes, crc: int = zlib.crc32(bytes(17 * 5 * 3)), tag: bytes = b"WEBP", y_1: bytes = b"") -> bytes:
    """A file of one lossless slice of 17x5 pixels."""
    part = ForgedSlice([b"", b"", b"", y_1, b"", b"", b""], crc)
    return plain(slices=[part], chunks=[ForgedChunk(tag, data)])


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(*parts: bytes, width: int = 17, height: int = 5, bits: int = 8, colour: int = 0) -> bytes:
    """A PNG with these chunks after its header."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(parts) + png_chunk(b"IEND", b"")


def samples(count: int = 18 * 5) -> bytes:
    """The coded samples of an alpha plane of zeros, or of as many bytes."""
    return png_chunk(b"IDAT", zlib.compress(bytes(count), 9))


def loudest() -> Decoded:
    """The integers of a 64x64 picture all of whose values are as large as a stream can hold."""
    oracle, draw = Oracle(WEIGHTS.read_bytes()), np.random.default_rng(7)
    sizes = {letter: oracle.config[key] for letter, key in (("R", "regional"), ("L", "local"), ("G", "token_width"))}
    shapes = {"R": (1, 1, sizes["R"]), "G": (oracle.config["tokens"], sizes["G"]), "L": (4, 4, sizes["L"])}
    hyper = {letter: draw.choice([-VALUE_LIMIT, VALUE_LIMIT], shape) for letter, shape in shapes.items()}
    steps: list[Int] = []
    levels: list[Int] = []

    def code(step: int, mask: Mask, mean: Int, level: Int) -> Int:
        coded = mask & (level >= SKIP_BELOW)
        residual = np.where(coded, draw.choice([-VALUE_LIMIT, VALUE_LIMIT], mean.shape), 0)
        steps.append(residual[coded])
        levels.append(level[coded])
        return residual

    return Decoded(hyper, steps, levels, oracle.run(hyper, (4, 4), 50, code))


def loud(change: Callable[[Forged], object]) -> bytes:
    """The file of `loudest`, in which no value has a symbol of its own."""
    oracle, decoded, coder = Oracle(WEIGHTS.read_bytes()), loudest(), PythonCoder()
    streams = []
    for letter in "RGL":
        values = decoded.hyper[letter]
        rows = np.broadcast_to(oracle.table_row(50) * values.shape[-1] + np.arange(values.shape[-1]), values.shape)
        streams.append(encode_values(values.reshape(-1), rows.reshape(-1), oracle.tables[letter], coder))
    for values, rows in zip(decoded.steps, decoded.levels, strict=True):
        streams.append(encode_values(values, rows, oracle.tables["y"], coder))
    file = Forged(64, 64, 0, 50, oracle.fingerprint, [ForgedSlice(streams, decoded.checksum())])
    change(file)
    return file.written()


def flood() -> bytes:
    """Single slices of the largest size, which claim much and hold nothing."""
    part = ForgedSlice([b""] * 7, 0)
    return plain(width=2048, height=2048, slices=[part], quality=100)


def grid(side: int) -> bytes:
    """The largest number of slices that the default limit of pixels lets through, each with nothing in it."""
    count = (-(-side // 256)) ** 2
    return plain(width=side, height=side, layout=8, slice_count=count, slices=[ForgedSlice([b""] * 7, 0)] * count)


def with_crc(file: Forged, crc: int) -> None:
    file.slices[0].latent_crc = crc


def without_raw_bits(file: Forged) -> None:
    first = file.slices[0].streams[0]
    file.slices[0].streams[0] = first[: len(first) // 4] + bytes(len(first) - len(first) // 4)


def zlib_bomb(size: int) -> bytes:
    return zlib.compress(bytes(size), 9)


def attacks() -> list[Attack]:
    """All of them."""
    sound = golden("17x5-RGB-q100")
    loop = b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHII", 0x8769, 4, 1, 8) + struct.pack("<I", 8)
    turned = b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHIHH", 0x112, 3, 1, 6, 0) + bytes(4)
    return [
        Attack("empty.dca", "no byte at all", "TruncatedError", b""),
        Attack("other-magic.dca", "a PNG's first bytes", "BadMagicError", b"\x89PNG" + sound[4:]),
        Attack("version-0.dca", "a version that never was", "BadVersionError", plain(version=0)),
        Attack("version-2.dca", "a version from the future", "NewerVersionError", plain(version=2)),
        Attack(
            "one-bit.dca",
            "a flipped bit in a stream",
            "BadChecksumError",
            sound[:60] + bytes([sound[60] ^ 4]) + sound[61:],
        ),
        Attack("cut-off.dca", "its last third is missing", "TruncatedError", sound[: len(sound) * 2 // 3]),
        Attack("appended.dca", "a second file after the first", "TrailingBytesError", sound + sound),
        Attack("hidden.dca", "bytes between chunks and checksum", "TrailingBytesError", plain(tail=b"hidden")),
        Attack("unknown-weights.dca", "a fingerprint of no weights", "UnknownModelError", plain(fingerprint=b"none")),
        # The header.
        Attack("zero-width.dca", "no pixels", "BadDimensionsError", plain(width=0)),
        Attack("zero-height.dca", "no pixels", "BadDimensionsError", plain(height=0)),
        Attack("too-wide.dca", "a side above 2^20", "BadDimensionsError", plain(width=MANY + 1)),
        Attack(
            "absurd.dca",
            "2^40 pixels in a few bytes",
            "TooLargeError",
            sliced(width=MANY, height=MANY, layout=11, slice_count=1 << 18),
        ),
        Attack("large-slice.dca", "a single slice of 2^26 pixels", "BadSliceSizeError", plain(width=8192, height=8192)),
        Attack("slice-size-7.dca", "slices of 128 pixels a side", "BadSliceSizeError", sliced(layout=7)),
        Attack("mode-15.dca", "a colour mode that is none", "BadModeError", plain(layout=0xF0)),
        Attack("quality-0.dca", "a row before the first of a table", "BadQualityError", plain(quality=0)),
        Attack("quality-255.dca", "a row after the last of a table", "BadQualityError", plain(quality=255)),
        # Slices and lengths.
        Attack("no-slices.dca", "a slice count of 0", "BadSliceCountError", sliced(slice_count=0)),
        Attack("many-slices.dca", "a slice count of 2^32 - 1", "BadSliceCountError", sliced(slice_count=(1 << 32) - 1)),
        Attack(
            "missing-table.dca",
            "4096 slices and no table for them",
            "BadLengthError",
            sliced(width=MANY, height=100, slice_count=4096, slices=[]),
        ),
        Attack("length-past-end.dca", "a stream longer than the file", "BadLengthError", set_length(3, 1 << 20)),
        Attack("length-4-gib.dca", "a stream of 4 GiB", "BadLengthError", set_length(0, (1 << 32) - 1)),
        Attack("length-64-gib.dca", "a length of more than 32 bits", "BadVarintError", set_length(0, 1 << 36)),
        Attack("length-endless.dca", "a number that never ends", "BadVarintError", set_length(0, 1 << 200)),
        Attack("length-longer.dca", "the same length, in one more byte", "BadVarintError", plain(longer="length")),
        Attack("width-longer.dca", "the same width, in one more byte", "BadVarintError", plain(longer="width")),
        Attack(
            "moved-border.dca",
            "a byte of y_1 given to y_2",
            "SymbolMismatchError",
            lengths(lambda found: found.__setitem__(slice(3, 5), [found[3] - 1, found[4] + 1])),
        ),
        Attack(
            "swapped-slices.dca",
            "slices in another order",
            "StreamError",
            forged("300x270-RGB-q50-n8", lambda file: file.slices.reverse()),
        ),
        # Streams.
        Attack(
            "past-its-end.dca", "y_4 needs more bytes than it has", "SymbolMismatchError", stream(6, lambda y: y[:-3])
        ),
        Attack("left-over.dca", "a byte of z_l that nothing reads: harmless", DECODES, stream(2, lambda z: z + b"\0")),
        Attack("long-stream.dca", "50000 bytes for a few values", "StreamError", stream(1, lambda z: z * 1000)),
        Attack(
            "noise.dca",
            "random bytes as y_1",
            "SymbolMismatchError",
            stream(3, lambda y: np.random.default_rng(3).bytes(len(y))),
        ),
        Attack("escape-endless.dca", "an escape code of zeros without end", "StreamError", loud(without_raw_bits)),
        Attack(
            "loud.dca",
            "every value as large as can be: numbers that leave their range",
            DECODES,
            loud(lambda file: None),
        ),
        Attack(
            "loud-other-crc.dca",
            "the same, with the checksum of other integers",
            "SymbolMismatchError",
            loud(lambda file: with_crc(file, 1)),
        ),
        Attack(
            "other-latents.dca",
            "all sound but the latent checksum",
            "SymbolMismatchError",
            forged("17x5-RGB-q100", lambda file: with_crc(file, 0xFFFFFFFF)),
        ),
        Attack("empty-slice.dca", "4 million pixels from no bytes", "StreamError", flood()),
        Attack("empty-slices.dca", "2704 slices from no bytes", "StreamError", grid(13312)),
        # Chunks.
        Attack(
            "twice-alpha.dca",
            "two alpha planes",
            "DuplicateChunkError",
            chunks((b"ALPH", png(samples())), (b"ALPH", png(samples()))),
        ),
        Attack("critical.dca", "a chunk that must be understood", "UnknownChunkError", chunks((b"NEWs", b"news"))),
        Attack(
            "many-chunks.dca",
            "a thousand and one chunks",
            "TooManyChunksError",
            chunks(*((bytes([97 + n // 676, 97 + n // 26 % 26, 97 + n % 26, 120]), b"") for n in range(1001))),
        ),
        Attack("full-short.dca", "no bits to say which slices are full", "BadSliceBitsError", chunks((b"FULL", b""))),
        Attack("full-more.dca", "a bit for a slice that is not there", "BadSliceBitsError", chunks((b"FULL", b"\3"))),
        Attack("full-none.dca", "no slice is full, in more words", "BadSliceBitsError", chunks((b"FULL", b"\0"))),
        Attack(
            "full-lie.dca",
            "a full slice that does not say so",
            "SymbolMismatchError",
            forged("64x64-RGB-q50", not_full),
        ),
        # Lossless blocks.
        Attack("block-black.dca", "a lossless block, and nothing wrong with it", DECODES, lossless(block())),
        Attack("block-huge.dca", "a lossless block of 2^28 pixels", "BadBlockError", lossless(block(1 << 14, 1 << 14))),
        Attack("block-other.dca", "a lossless block one pixel too high", "BadBlockError", lossless(block(height=6))),
        Attack("block-version.dca", "a lossless block from the future", "BadBlockError", lossless(block(version=1))),
        Attack("block-lossy.dca", "a block that is not lossless", "BadBlockError", lossless(block(signature=0x9D))),
        Attack("block-empty.dca", "a lossless block of no bytes", "BadBlockError", lossless(b"")),
        Attack("block-cut.dca", "a lossless block without its last bytes", "StreamError", lossless(block()[:-4])),
        Attack("block-crc.dca", "other samples than those written", "SymbolMismatchError", lossless(block(), crc=1)),
        Attack("block-streams.dca", "a lossless slice with a stream", "BadBlockError", lossless(block(), y_1=b"\0")),
        Attack("block-none.dca", "a block for no slice", "BadSliceBitsError", lossless(b"\0" + block(), tag=b"WEBS")),
        Attack(
            "block-length.dca",
            "a lossless block longer than its chunk",
            "BadBlockError",
            lossless(b"\1\x7f" + block(), tag=b"WEBS"),
        ),
        Attack(
            "block-alpha.dca",
            "an alpha plane in the block of a slice",
            "BadBlockError",
            lossless(b"\1\x0e" + block(alpha=1), tag=b"WEBS"),
        ),
        Attack("tag.dca", "a tag with a line break and a colour code", "BadChunkTagError", chunks((b"\n\x1b[1", b""))),
        Attack(
            "chunk-length.dca",
            "a chunk longer than the file",
            "BadLengthError",
            plain(chunks=[ForgedChunk(b"icCP", b"profile", 1 << 30)]),
        ),
        Attack("no-end.dca", "chunks that do not end", "BadLengthError", plain(end=b"")),
        Attack("alpha-no-png.dca", "an alpha plane that is no PNG", "ImageError", chunks((b"ALPH", b"GIF89a" * 20))),
        Attack(
            "alpha-huge.dca",
            "an alpha plane of 2^62 pixels",
            "ImageError",
            chunks((b"ALPH", png(samples(), width=(1 << 31) - 1, height=(1 << 31) - 1))),
        ),
        Attack(
            "alpha-16-bit.dca", "an alpha plane of 16 bits", "ImageError", chunks((b"ALPH", png(samples(), bits=16)))
        ),
        Attack(
            "alpha-colour.dca", "an alpha plane in colour", "ImageError", chunks((b"ALPH", png(samples(), colour=2)))
        ),
        Attack(
            "alpha-second-header.dca",
            "an alpha plane whose second header is huge",
            "ImageError",
            chunks((b"ALPH", png(png_chunk(b"IHDR", struct.pack(">IIBBBBB", 30000, 30000, 8, 0, 0, 0, 0)), samples()))),
        ),
        Attack("alpha-no-samples.dca", "an alpha plane without samples", "ImageError", chunks((b"ALPH", png()))),
        Attack(
            "alpha-bomb.dca",
            "samples that unpack to 20 MB: no more is unpacked than is needed",
            DECODES,
            chunks((b"ALPH", png(samples(20_000_000)))),
        ),
        Attack(
            "alpha-text-bomb.dca",
            "a text in the alpha plane that unpacks to 20 MB",
            "ImageError",
            chunks((b"ALPH", png(png_chunk(b"zTXt", b"k\0\0" + zlib_bomb(20_000_000)), samples()))),
        ),
        Attack(
            "alpha-icc-bomb.dca",
            "a profile in the alpha plane that unpacks to 20 MB",
            "ImageError",
            chunks((b"ALPH", png(png_chunk(b"iCCP", b"k\0\0" + zlib_bomb(20_000_000)), samples()))),
        ),
        Attack(
            "icc-bomb.dca",
            "a profile that would unpack to 20 MB: it is handed on unread",
            DECODES,
            chunks((b"icCP", zlib_bomb(20_000_000))),
        ),
        Attack(
            "icc-deflated-bomb.dca",
            "a compressed profile that expands to 20 MB",
            "BadMetadataError",
            chunks((b"icCZ", zlib_bomb(20_000_000))),
        ),
        Attack(
            "exif-deflated-no-zlib.dca",
            "compressed EXIF data that are no zlib stream",
            "BadMetadataError",
            chunks((b"exIZ", b"II*\0")),
        ),
        Attack(
            "icc-twice.dca",
            "a profile as it is, and a compressed one",
            "DuplicateChunkError",
            chunks((b"icCP", b"profile"), (b"icCZ", zlib.compress(b"profile"))),
        ),
        Attack(
            "exif-loop.dca",
            "EXIF directories that lead to themselves: handed on unread",
            DECODES,
            chunks((b"exIF", loop)),
        ),
        Attack(
            "exif-turned.dca",
            "EXIF data that turn the picture in viewers: handed on unread",
            DECODES,
            chunks((b"exIF", turned)),
        ),
        # Pictures to encode.
        Attack("pixels.png", "a PNG of 2^60 pixels", "TooLargeError", png(samples(), width=1 << 30, height=1 << 30)),
        Attack(
            "pixels-allowed.png",
            "100 million pixels of which five rows are there",
            "ImageError",
            png(samples(), width=10000, height=10000),
        ),
        Attack(
            "icc-bomb.png",
            "a profile that unpacks to 20 MB",
            "ImageError",
            png(png_chunk(b"iCCP", b"k\0\0" + zlib_bomb(20_000_000)), samples()),
        ),
        Attack(
            "checksum.png", "samples that are not those of their checksum", "ImageError", png(samples()[:-1] + b"?")
        ),
        Attack("strips.tif", "a TIFF whose strip lies beyond its end", "ImageError", tiff()),
    ]


def tiff() -> bytes:
    """A TIFF of 8x8 gray samples, packed by deflate, at a place where nothing is."""
    tags = [
        (256, 3, 8),
        (257, 3, 8),
        (258, 3, 8),
        (259, 3, 8),
        (262, 3, 1),
        (273, 4, 1 << 20),
        (277, 3, 1),
        (278, 3, 8),
        (279, 4, 1 << 16),
    ]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)


def table(found: list[Attack]) -> str:
    rows = [f"| `{each.name}` | {each.tries} | {each.error} |" for each in found]
    return "\n".join(["| File | What it tries | Error |", "|---|---|---|", *rows]) + "\n"


def main() -> None:
    """Write the files and the table; remove files that are in it no more."""
    found = attacks()
    for path in FOLDER.iterdir():
        if path.suffix in (".dca", ".png", ".tif"):
            path.unlink()
    for each in found:
        (FOLDER / each.name).write_bytes(each.data)
    text = README.read_text("utf-8")
    start = text.index("| File |")
    README.write_text(text[:start] + table(found), "utf-8")
    print(f"{len(found)} files", file=sys.stderr)


if __name__ == "__main__":
    main()
