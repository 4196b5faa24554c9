"""What arrives in pieces: encoded images on standard input, and the time that a bucket's answers tell."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from random import Random

from edge_client.contract.errors import BadImage
from edge_client.contract.server_time import NEGLIGIBLE_SECONDS, ServerTime
from edge_client.images import media_type_of
from edge_client.sources.image_stream import ImageStream
from tests.fuzz import seeds
from tests.fuzz.mutations.image import mutate_image
from tests.fuzz.mutations.plain import mutate_bytes
from tests.fuzz.target import Target

_MOST_BYTES = 20_000  # of one image: small, so that the bound itself is reached
_MARKS = (b"\xff\xd8\xff", b"\xff\xd9", b"\xff\xda", b"\xff\xe1\xff\xff", b"\x89PNG\r\n\x1a\n", b"IEND", b"RIFF")
_DATES = (
    b"Fri, 02 Jan 2026 03:04:05 GMT", b"Friday, 02-Jan-26 03:04:05 GMT", b"Fri Jan  2 03:04:05 2026",
    b"Fri, 02 Jan 2026 03:04:05 +0100",
)  # fmt: skip
_DATE_TOKENS = (
    b"Jan", b"GMT", b"+9999", b"-2400", b"+2359", b"UT", b"0000", b"9999", b"99", b":", b",", b"-", b" ", b"0001",
    b"31 Dec 9999 23:59:59 -1200", b"9" * 30,
)  # fmt: skip


class NoImage(BadImage):
    """A stream without one whole image: how this harness says that it was refused."""


def read_stream(data: bytes) -> None:
    """Cut a stream into images; how the bytes arrive makes no difference, and no byte is handed out twice.

    Raises:
        NoImage: There was none in it.
    """
    images, damaged = _cut(data, 65_536)
    assert (images, damaged) == _cut(data, 13), "the pieces in which the bytes arrive make a difference"
    assert sum(map(len, images)) <= len(data)
    for image in images:
        assert len(image) <= _MOST_BYTES
        media_type_of(image)
    if not images:
        assert damaged or not data
        raise NoImage("no image in it")


def _cut(data: bytes, piece: int) -> tuple[list[bytes], int]:
    at = 0

    def read(most: int) -> bytes:
        nonlocal at
        part = data[at : at + min(most, piece)]
        at += len(part)
        return part

    stream = ImageStream(read, most_bytes=_MOST_BYTES)
    images = list(islice(stream, 10_000))
    return images, stream.damaged


def read_date(data: bytes) -> None:
    """Learn the time of an answer, as a field of HTTP is decoded; a time that was learnt can be signed with."""
    local = [seeds.NOW]
    clock = ServerTime(lambda: local[0])
    clock.learn(data.decode("latin-1"))
    local[0] += timedelta(days=365)  # the next answer may be long in coming
    now = clock.now()
    assert now.strftime("%Y%m%dT%H%M%SZ")
    off = clock.offset_seconds if abs(clock.offset_seconds) > NEGLIGIBLE_SECONDS else 0.0
    assert abs((now - local[0]).total_seconds() - off) < 1


def _streams() -> tuple[bytes, ...]:
    png, jpeg, progressive, webp = (seeds.images()[i] for i in (0, 5, 8, 9))
    return (png + jpeg + webp, jpeg + progressive, webp + png, png)


def _mutate_stream(data: bytes, random: Random) -> bytes:
    """Change the bytes, or put another image, sound or changed, before, behind or into them."""
    if random.random() < 0.4:
        return mutate_bytes(data, random, _MARKS)
    image = random.choice(seeds.images())
    image = image if random.random() < 0.3 else mutate_image(image, random)
    at = random.choice((0, len(data), random.randrange(len(data) + 1)))
    return data[:at] + image + data[at + random.choice((0, 0, len(image))) :]


def _mutate_date(data: bytes, random: Random) -> bytes:
    return mutate_bytes(data, random, _DATE_TOKENS)


STREAM = Target(name="stream", read=read_stream, refusals=(NoImage,), seeds=_streams, mutate=_mutate_stream)
DATE = Target(name="date", read=read_date, refusals=(), seeds=lambda: _DATES, mutate=_mutate_date, tokens=_DATE_TOKENS)
