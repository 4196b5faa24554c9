"""Changes to tar files: to the fields of their headers, with the checksum made good, and to their order and padding."""

from __future__ import annotations

from random import Random

from tests.fuzz.mutations.plain import mutate_bytes

_BLOCK = 512
# Place and length of a header's fields (POSIX.1-1988, ustar).
_FIELDS = {
    "name": (0, 100), "mode": (100, 8), "uid": (108, 8), "gid": (116, 8), "size": (124, 12), "mtime": (136, 12),
    "type": (156, 1), "link": (157, 100), "magic": (257, 8), "user": (265, 32), "major": (329, 8), "prefix": (345, 155),
}  # fmt: skip
_VALUES = (
    b"\0", b"0", b"1", b"2", b"5", b"7", b"x", b"g", b"L", b"K", b"S", b"V", b"D", b"../a", b"/etc/passwd", b".a",
    b"a.age",
    b"00000000000", b"00000000001", b"00000001000", b"77777777777", b"-0000000001", b"         12", b"0000000100 ",
    b"\x80" + b"\0" * 3 + b"\x7f" + b"\xff" * 7, b"\xff" * 12, b"\x80" + b"\0" * 10 + b"\5", b"ustar  \0",
    b"ustar\00000", b"\xc3\xbc", b"",
)  # fmt: skip
_RECORDS = (
    b"path=b.age", b"path=../b", b"size=1099511627776", b"size=-1", b"size=abc", b"linkpath=/etc/passwd",
    b"GNU.sparse.major=1", b"GNU.sparse.minor=0", b"GNU.sparse.map=0,1", b"GNU.sparse.map=1099511627776,0",
    b"GNU.sparse.size=1099511627776", b"GNU.sparse.realsize=1099511627776", b"GNU.sparse.name=c.age", b"mtime=nan",
    b"hdrcharset=BINARY",
)  # fmt: skip


def mutate_tar(data: bytes, random: Random) -> bytes:
    """Return a tar after one to three changes."""
    blocks = [data[i : i + _BLOCK] for i in range(0, len(data), _BLOCK)]
    for _ in range(random.choice((1, 1, 2, 3))):
        headers = [i for i, block in enumerate(blocks) if block[257:262] == b"ustar"]
        kind = random.randrange(9)
        if kind == 0 or not headers:
            return mutate_bytes(b"".join(blocks), random, _VALUES)
        at = random.choice(headers)
        if kind < 4:
            blocks[at] = _header(blocks[at], random.choice(list(_FIELDS)), random.choice(_VALUES))
        elif kind == 4:
            name = random.choice((b"d.age", b"A", b"a" * 100, b"e.age"))
            blocks[at] = _header(blocks[at], "name", name)
        elif kind == 5:
            blocks[at:at] = _any_extended(random)
        elif kind == 6:
            blocks[at:at] = blocks[at : at + random.choice((1, 2, 3))] * random.choice((1, 1, 2, 1100))
        elif kind == 7:
            del blocks[at : at + random.choice((1, 2))]
        else:
            blocks = [*blocks[: random.randrange(len(blocks) + 1)], b"\0" * random.choice((1, 511, 512))]
    return b"".join(blocks)


def _header(block: bytes, field: str, value: bytes) -> bytes:
    start, length = _FIELDS[field]
    changed = bytearray(block.ljust(_BLOCK, b"\0"))
    changed[start : start + length] = value[:length].ljust(length, b"\0")
    changed[148:156] = b" " * 8
    changed[148:156] = b"%06o\0 " % sum(changed)
    return bytes(changed)


def extended(kind: bytes, body: bytes) -> list[bytes]:
    """The blocks of a header of another kind before a member: PAX records (x, g), a long name (L, K), sparse (S)."""
    block = _header(b"@".ljust(257, b"\0") + b"ustar\x0000", "type", kind)
    block = _header(block, "size", b"%011o" % len(body))
    padded = body.ljust(-(-len(body) // _BLOCK) * _BLOCK, b"\0")
    return [block, *(padded[i : i + _BLOCK] for i in range(0, len(padded), _BLOCK))]


def pax_record(text: bytes) -> bytes:
    """A PAX record: its own length, then ``keyword=value``."""
    length = len(text) + 3
    while len(b"%d " % length) + len(text) + 1 != length:
        length += 1
    return b"%d %s\n" % (length, text)


def _any_extended(random: Random) -> list[bytes]:
    """An extended header, or many of them in a chain."""
    records = b"".join(pax_record(random.choice(_RECORDS)) for _ in range(random.choice((1, 2, 5))))
    body = random.choice((records, records, b"f.age\0", b"9" * 3000, b""))
    one = extended(random.choice((b"x", b"x", b"x", b"g", b"L", b"K", b"S")), body)
    return one * random.choice((1, 1, 1, 2, 1100))
