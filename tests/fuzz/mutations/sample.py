"""Changes to the plain blob of a sample or of events: to its header (the lengths made good) and to what follows."""

from __future__ import annotations

import json
import struct
from random import Random

from tests.fuzz.mutations.image import mutate_image
from tests.fuzz.mutations.plain import mutate_bytes
from tests.fuzz.mutations.values import mutate_json


def mutate_sample(data: bytes, random: Random) -> bytes:
    """Return a blob after a change."""
    if random.random() < 0.1 or len(data) < 12:
        return mutate_bytes(data, random, (b"ANDONSM1", b"ANDONEV1"))
    magic, (length,) = data[:8], struct.unpack(">I", data[8:12])
    header, body = data[12 : 12 + length], data[12 + length :]
    kind = random.randrange(10)
    if kind < 6:
        header = mutate_json(header, random)
    elif kind < 8:
        header, body = _other_image(header, body, random)
    elif kind == 8:
        body = mutate_bytes(body, random)
    else:
        return mutate_bytes(magic, random) + data[8:]
    length = len(header) if random.random() < 0.98 else random.choice((0, len(header) + 1, 2**32 - 1))
    return magic + struct.pack(">I", length) + header + body


def _other_image(header: bytes, body: bytes, random: Random) -> tuple[bytes, bytes]:
    """Change the image and say its new length in the header, so that the decoder behind is reached."""
    try:
        values = json.loads(header)
        place = len(body) - int(values["image"])
        image = mutate_image(body[place:], random)
        values["image"] = len(image)
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return mutate_json(header, random), body
    return json.dumps(values).encode(), body[: max(0, place)] + image
