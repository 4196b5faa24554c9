"""Changes to PNG (checksums made good), WebP (lengths made good) and JPEG (segments)."""

from __future__ import annotations

import struct
import zlib
from random import Random

from tests.fuzz.mutations.plain import mutate_bytes

_PNG = b"\x89PNG\r\n\x1a\n"
_SIDES = (0, 1, 2, 7, 255, 8000, 8001, 16_384, 32_768, 32_769, 65_535, 2**31 - 1, 2**31, 2**32 - 1)
_PNG_KINDS = (
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"tEXt", b"zTXt", b"iTXt",
    b"eXIf", b"pHYs",
    b"acTL", b"fcTL", b"fdAT", b"bKGD", b"xxXx",
)  # fmt: skip
_RIFF_KINDS = (b"VP8 ", b"VP8L", b"VP8X", b"ANIM", b"ANMF", b"ALPH", b"ICCP", b"EXIF", b"XMP ")
_BOMB = zlib.compress(bytes(8_000_000), 9)


def mutate_image(data: bytes, random: Random) -> bytes:
    """Return an image file after a change that knows its container."""
    if random.random() < 0.15:
        return mutate_bytes(data, random)
    if data.startswith(_PNG):
        return _png(data, random)
    if data[:4] == b"RIFF":
        return _webp(data, random)
    return _jpeg(data, random)


def _png(data: bytes, random: Random) -> bytes:
    chunks, position = [], len(_PNG)
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        chunks.append((data[position + 4 : position + 8], data[position + 8 : position + 8 + length]))
        position += 12 + length
    chunks = _change(chunks, _PNG_KINDS, random)
    if chunks and random.random() < 0.4:
        chunks[0] = (chunks[0][0], _ihdr(chunks[0][1], random))
    return _PNG + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def _ihdr(body: bytes, random: Random) -> bytes:
    changed = bytearray(body.ljust(13, b"\0"))
    at = random.randrange(7)
    if at < 2:
        struct.pack_into(">I", changed, 4 * at, random.choice(_SIDES))
    else:
        changed[6 + at] = random.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
    return bytes(changed)


def _webp(data: bytes, random: Random) -> bytes:
    chunks, position = [], 12
    while position + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, position + 4)
        chunks.append((data[position : position + 4], data[position + 8 : position + 8 + length]))
        position += 8 + length + length % 2
    if random.random() < 0.3:
        flags, side = random.choice((0, 2, 16, 32, 62)), random.choice(_SIDES) & 0xFFFFFF
        size = struct.pack("<I", side)[:3]
        chunks.insert(0, (b"VP8X", bytes((flags, 0, 0, 0)) + size + random.choice((size, b"\x07\0\0"))))
    chunks = _change(chunks, _RIFF_KINDS, random)
    body = b"".join(kind + struct.pack("<I", len(c)) + c + b"\0" * (len(c) % 2) for kind, c in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _jpeg(data: bytes, random: Random) -> bytes:
    """Segments up to the first scan; what follows is left to plain mutation."""
    segments, position = [], 2
    while position + 4 <= len(data) and data[position] == 0xFF and data[position + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", data, position + 2)
        segments.append((data[position + 1 : position + 2], data[position + 4 : position + 2 + length]))
        position += 2 + max(2, length)
    kinds = tuple(
        bytes((k,)) for k in (0xC0, 0xC1, 0xC2, 0xC4, 0xDB, 0xDD, 0xDA, 0xD9, 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE)
    )
    segments = _change(segments, kinds, random)
    scan = data[position:] if random.random() < 0.7 else mutate_bytes(data[position:], random)
    head = b"".join(b"\xff" + k + struct.pack(">H", min(65_535, len(c) + 2)) + c[:65_533] for k, c in segments)
    return b"\xff\xd8" + head + scan


def _change(chunks: list[tuple[bytes, bytes]], kinds: tuple[bytes, ...], random: Random) -> list[tuple[bytes, bytes]]:
    for _ in range(random.choice((1, 1, 2))):
        at = random.randrange(len(chunks) + 1)
        kind = random.randrange(6)
        if kind == 0 or at == len(chunks):
            body = random.choice(
                (b"", b"\0" * 13, b"key\0\0" + _BOMB, random.randbytes(20), b"Exif\0\0MM\0*\0\0\0\x08")
            )
            chunks.insert(at, (random.choice(kinds), body))
        elif kind == 1:
            chunks.insert(at, chunks[at])
        elif kind == 2:
            del chunks[at]
        elif kind == 3:
            chunks[at] = (random.choice(kinds), chunks[at][1])
        else:
            chunks[at] = (chunks[at][0], mutate_bytes(chunks[at][1], random))
    return chunks
