"""An ICC profile of a CMYK device, which tests convert with."""

import struct


def cmyk_profile() -> bytes:
    """A CMYK profile for which black ink makes the lightness and the other inks do nothing."""
    ramp = bytes(range(256))
    corners = b"".join(bytes((0 if corner & 1 else 255, 128, 128)) for corner in range(16))  # Lab, K varies fastest
    table = (
        b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    )
    table += ramp * 4 + corners + ramp * 3
    table += bytes(-len(table) % 4)
    header = struct.pack(">I4sI4s4s4s", 128 + 16 + len(table), b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    header += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + struct.pack(">I4sII", 1, b"A2B0", 144, len(table)) + table
