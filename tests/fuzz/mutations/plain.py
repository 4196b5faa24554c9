"""Changes to bytes of no known format."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from random import Random

_NUMBERS = (0, 1, -1, 127, 128, 255, 256, 32767, 65535, 65536, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1, -(2**63))


def mutate_bytes(data: bytes, random: Random, tokens: Sequence[bytes] = ()) -> bytes:
    """Return `data` after one to four small changes: bits, numbers, tokens, pieces cut, doubled or moved."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        at = random.randrange(len(changed) + 1)
        length = min(len(changed) - at, random.choice((1, 1, 2, 4, 8, 32, 512)))
        kind = random.randrange(8 if tokens else 7)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << random.randrange(8)
        elif kind == 1:
            changed[at : at + length] = random.randbytes(length)
        elif kind == 2:
            del changed[at : at + length]
        elif kind == 3:
            changed[at:at] = changed[at : at + length] * random.choice((1, 2, 16))
        elif kind == 4:
            form, mask = random.choice(
                ((">I", 2**32 - 1), ("<I", 2**32 - 1), (">H", 65535), ("<H", 65535), (">B", 255))
            )
            number = struct.pack(form, random.choice(_NUMBERS) & mask)
            changed[at : at + len(number)] = number
        elif kind == 5:
            piece = bytes(changed[at : at + length])
            del changed[at : at + length]
            to = random.randrange(len(changed) + 1)
            changed[to:to] = piece
        elif kind == 6:
            del changed[at:]
        elif kind == 7:
            changed[at : at + random.choice((0, length))] = random.choice(tokens)
    return bytes(changed)
