"""A zip file whose members are packed part by part, so that two files that share a part share its bytes.

Deflate's state is emptied after each part (a full flush), which any reader takes for plain deflate. The flush leaves
the bytes 00 00 FF FF: they are where such a file may be cut.

Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, sections 4.3.7, 4.3.12, 4.3.16.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

#: Changes with the rule of `part_lengths`.
RULE = "parted-1"
_FLUSHED = b"\x00\x00\xff\xff"
_DEFLATED, _VERSION = 8, 20
_DAY = 0x21  # 1 January 1980: the same content is the same file
_LOCAL, _CENTRAL, _END = 0x04034B50, 0x02014B50, 0x06054B50


def pack_parts(members: Sequence[tuple[str, Sequence[bytes]]]) -> bytes:
    """Write members, each given by its name and the parts of its content in order."""
    body, directory = bytearray(), bytearray()
    for name, parts in members:
        squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        packed = b"".join(squeeze.compress(part) + squeeze.flush(zlib.Z_FULL_FLUSH) for part in parts) + squeeze.flush()
        crc = 0
        for part in parts:
            crc = zlib.crc32(part, crc)
        about = (_VERSION, 0, _DEFLATED, 0, _DAY, crc, len(packed), sum(map(len, parts)), len(name.encode()))
        directory += struct.pack("<IH5H3I5H2I", _CENTRAL, _VERSION, *about, 0, 0, 0, 0, 0, len(body)) + name.encode()
        body += struct.pack("<I5H3I2H", _LOCAL, *about, 0) + name.encode() + packed
    count = len(members)
    end = struct.pack("<I4H2IH", _END, 0, 0, count, count, len(directory), len(body), 0)
    return bytes(body + directory + end)


def part_lengths(data: bytes | memoryview) -> list[int]:
    """Return the lengths of a file's pieces: each ends behind a flush.

    >>> len(part_lengths(pack_parts([("a", [b"one" * 900, b"two", b"three" * 900])])))  # three parts and the directory
    4
    """
    whole, lengths, start, at = bytes(data), [], 0, 0
    while (at := whole.find(_FLUSHED, at)) >= 0:
        at += len(_FLUSHED)
        lengths.append(at - start)
        start = at
    if start < len(whole):
        lengths.append(len(whole) - start)
    return lengths
