"""Shards: deterministic tar files of sealed blobs.

The same members give the same bytes, so that a repeated put is the same object. Reading trusts nothing:

1. A shard is a chain of POSIX ustar headers of plain files, each followed by its content, until a block of zeros or
   the end. Nothing else of what tar files may hold is read at all: no links, no folders, no extended headers (a pax
   header of 1 kB can claim a sparse file of a terabyte), no long names, no numbers in base 256.
2. Every length is held against the bytes that are there before anything is copied.
3. A member has a plain name, and each name occurs once.
"""

import io
import re
import tarfile
from collections.abc import Sequence

from edge_client.contract.errors import BadShard
from edge_client.contract.quoting import quoted

_BLOCK = 512
_OCTAL = re.compile(rb" *([0-7]{1,11})[ \0]*\Z")
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-")


def write_shard(members: Sequence[tuple[str, bytes]]) -> bytes:
    """Return a tar of (name, sealed blob) in the given order, with no time, owner or mode of this machine in it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(_check_member(name))
            info.size = len(data)
            info.mode = 0o600
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def read_shard(data: bytes, *, max_members: int = 4096, max_bytes: int = 1 << 30) -> dict[str, bytes]:
    """Return name → sealed blob.

    Raises:
        BadShard: Not a tar, or with links, folders, doubled or unsafe names, or out of bounds.
    """
    if len(data) > max_bytes:
        raise BadShard(f"shard has {len(data)} bytes: at most {max_bytes} are read")
    members: dict[str, bytes] = {}
    position = 0
    while True:
        header = data[position : position + _BLOCK]
        if not header and members:
            return members
        if len(header) == _BLOCK and not any(header):
            return members
        name, size = _read_header(header, position)
        if len(members) >= max_members:
            raise BadShard(f"shard has more than {max_members} members")
        if name in members:
            raise BadShard(f"shard member {name!r} occurs twice")
        start = position + _BLOCK
        if size > len(data) - start:
            raise BadShard(f"shard member {name!r} ends after {max(0, len(data) - start)} of {size} bytes")
        members[name] = data[start : start + size]
        position = start + -(-size // _BLOCK) * _BLOCK


def _read_header(header: bytes, position: int) -> tuple[str, int]:
    """Return name and size. Fields: POSIX.1-1988, ``ustar``: name 0–99, size 124–135, checksum 148–155, type 156,
    link 157–256, magic 257–262, prefix 345–499.
    """
    where = f"shard is not a readable tar file: its header at byte {position}"
    if len(header) < _BLOCK or header[257:262] != b"ustar":
        raise BadShard(f"{where} begins with {quoted(header[:16])}: expected 512 bytes of POSIX ustar")
    if _octal(header[148:156]) != sum(header) - sum(header[148:156]) + 8 * ord(" "):
        raise BadShard(f"{where} has a wrong checksum: it is damaged")
    name = header[:100].partition(b"\0")[0].decode("latin-1")
    if header[156:157] not in (b"0", b"\0") or any(header[157:257]):
        raise BadShard(
            f"shard member {quoted(name)} is of type {header[156:157]!r}, not a plain file: "
            "links, folders and extended headers are refused"
        )
    if any(header[345:500]):
        raise BadShard(f"shard member {quoted(name)} lies in a folder: plain names are expected")
    size = _octal(header[124:136])
    if size is None:
        raise BadShard(f"shard member {quoted(name)} has the size {header[124:136]!r}: expected octal digits")
    return _check_member(name), size


def _octal(field: bytes) -> int | None:
    found = _OCTAL.match(field)
    return int(found[1], 8) if found else None


def _check_member(name: str) -> str:
    if not 0 < len(name) <= 99 or not set(name) <= _PLAIN or name.startswith("."):
        raise BadShard(f"shard member name {quoted(name)} is not allowed: expected up to 99 of a-z 0-9 . _ -")
    return name
