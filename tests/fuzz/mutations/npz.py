"""Changes to npz files: to the members of the zip, and to the header of the array in one."""

from __future__ import annotations

import io
import warnings
import zipfile
import zlib
from random import Random

from tests.fuzz.mutations.plain import mutate_bytes

_SHAPES = (
    b"()", b"(0,)", b"(1,)", b"(2,)", b"(3, 2)", b"(2, 8, 8, 3)", b"(0, 8, 8, 3)", b"(1, 0, 0, 3)", b"(-1,)",
    b"(1000000000000,)",
    b"(True,)", b"(4294967296, 4294967296)", b"(1.5,)", b"None", b"(" * 300 + b")" * 300,
)  # fmt: skip
_TYPES = (
    b"'|u1'",
    b"'<f4'",
    b"'<f8'",
    b"'|O'",
    b"'<U3'",
    b"'|V7'",
    b"'<c8'",
    b"'|b1'",
    b"'<M8[s]'",
    b"[('a', '<f4')]",
    b"'xx'",
    b"7",
)
_NAMES = ("frames.npy", "probabilities.npy", "anomaly.npy", "tolerance.npy", "frames", "../frames.npy", "")


def mutate_npz(data: bytes, random: Random) -> bytes:
    """Return an npz file after a change."""
    if random.random() < 0.3:
        return mutate_bytes(
            data, random, (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"\x93NUMPY\x01\0", b"\x93NUMPY\x03\0")
        )
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, NotImplementedError, RuntimeError, EOFError):
        return mutate_bytes(data, random)
    for _ in range(random.choice((1, 1, 2))):
        if not members:
            break
        at = random.randrange(len(members))
        name, body = members[at]
        kind = random.randrange(6)
        if kind < 2:
            members[at] = (name, _array(body, random))
        elif kind == 2:
            members[at] = (name, mutate_bytes(body, random))
        elif kind == 3:
            members[at] = (random.choice(_NAMES), body)
        elif kind == 4:
            del members[at]
        else:
            members.append((name, body))
    method = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(buffer, "w", method) as archive:  # doubled names
        for name, body in members:
            archive.writestr(zipfile.ZipInfo(name), body, method)
    return buffer.getvalue()


def _array(body: bytes, random: Random) -> bytes:
    """Replace the shape or type in a header of format 1.0 and make its length good."""
    end = 10 + int.from_bytes(body[8:10], "little")
    header, values = body[10:end], body[end:]
    if random.random() < 0.5:
        start, stop = header.find(b"("), header.find(b")")
        header = header[: max(0, start)] + random.choice(_SHAPES) + header[stop + 1 :]
    else:
        start = header.find(b"'descr': ")
        stop = header.find(b", 'fortran_order'")
        header = header[: start + 9] + random.choice(_TYPES) + header[max(0, stop) :]
    return body[:8] + min(65_535, len(header)).to_bytes(2, "little") + header[:65_535] + values
