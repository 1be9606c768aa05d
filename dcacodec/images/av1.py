"""The colours in the sequence header of an AV1 stream, which an AVIF need not repeat in its boxes."""

from __future__ import annotations

from typing import Final

_SEQUENCE_HEADER: Final = 1


class _Bits:
    """Reads numbers of some bits, the most significant first."""

    def __init__(self, data: bytes) -> None:
        self._text = "".join(f"{byte:08b}" for byte in data)

    def take(self, count: int = 1) -> int:
        taken, self._text = self._text[:count], self._text[count:]
        if len(taken) < count:
            raise IndexError("the end of the data")
        return int(taken or "0", 2)


def av1_colours(stream: bytes) -> tuple[int, int] | None:
    """Primaries and transfer characteristics, as numbers of ITU-T H.273, that the first sequence header names.

    None if it names none, or is not among these first bytes of a stream. The specification is that of AV1, 5.5.
    """
    try:
        while stream:
            kind, extended, sized = stream[0] >> 3 & 15, stream[0] >> 2 & 1, stream[0] >> 1 & 1
            start, length = 1 + extended, 0
            for shift in range(0, 56, 7) if sized else ():
                length |= (stream[start] & 0x7F) << shift
                start += 1
                if stream[start - 1] < 0x80:
                    break
            if kind == _SEQUENCE_HEADER:
                return _colours(_Bits(stream[start : start + 256]))
            stream = stream[start + length :] if sized else b""
    except IndexError:
        pass
    return None


def _colours(bits: _Bits) -> tuple[int, int] | None:
    profile, _still, reduced = bits.take(3), bits.take(), bits.take()
    _skip_levels(bits, reduced)
    width, height = bits.take(4) + 1, bits.take(4) + 1
    bits.take(width + height)
    if not reduced and bits.take():  # numbers of frames
        bits.take(4 + 3)
    bits.take(3)  # superblocks, filters
    if not reduced:
        _skip_tools(bits)
    bits.take(3)  # more filters
    deep = bits.take()
    if profile == 2 and deep:
        bits.take()
    if profile != 1:
        bits.take()  # monochrome
    return (bits.take(8), bits.take(8)) if bits.take() else None


def _skip_levels(bits: _Bits, reduced: int) -> None:
    """Timing and operating points."""
    if reduced:
        bits.take(5)
        return
    delay = 0
    if bits.take():  # timing
        bits.take(64)
        if bits.take():  # a number whose length is the zeros before it
            zeros = 0
            while not bits.take():
                zeros += 1
            bits.take(zeros)
        if bits.take():  # model of the decoder
            delay = bits.take(5) + 1
            bits.take(32 + 5 + 5)
    shown = bits.take()
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:
            bits.take()
        if delay and bits.take():
            bits.take(2 * delay + 1)
        if shown and bits.take():
            bits.take(4)


def _skip_tools(bits: _Bits) -> None:
    """Tools for sequences."""
    bits.take(4)
    ordered = bits.take()
    if ordered:
        bits.take(2)
    forced = 2 if bits.take() else bits.take()  # tools for screens: 2 stands for chosen in each frame
    if forced and not bits.take():
        bits.take()
    if ordered:
        bits.take(3)
