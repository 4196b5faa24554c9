"""Image files one after the other: every end is found, however they are read; damage costs what is damaged alone."""

import io
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edge_client.contract.errors import ConfigError
from edge_client.images import decode_image
from edge_client.sources.image_stream import ImageStream
from edge_client.sources.raw_stream import RawStream, frame_size
from tests.unit.capture.device import noise


def encoded(seed: int, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(noise(seed, 24 + seed)).save(buffer, kind, **options)
    return buffer.getvalue()


def with_thumbnail() -> bytes:
    """A JPEG with another JPEG inside an APP1 segment, as cameras write them."""
    inner, outer = encoded(1, "JPEG"), encoded(2, "JPEG")
    segment = b"\xff\xe1" + (len(inner) + 2).to_bytes(2, "big") + inner
    return outer[:2] + segment + outer[2:]


IMAGES = [
    encoded(0, "JPEG"),
    encoded(1, "PNG"),
    encoded(2, "WEBP", lossless=True),
    encoded(3, "JPEG", progressive=True, quality=95),
    encoded(4, "JPEG", restart_marker_blocks=1),
    with_thumbnail(),
    encoded(5, "WEBP", quality=20),
]


def in_reads_of(data: bytes, size: Callable[[], int]) -> Callable[[int], bytes]:
    file = io.BytesIO(data)
    return lambda most: file.read(min(most, size()))


@pytest.mark.parametrize("size", [1, 3, 17, 1000, 1 << 20])
def test_every_image_comes_out_as_it_went_in(size: int):
    stream = ImageStream(in_reads_of(b"".join(IMAGES), lambda: size))
    assert list(stream) == IMAGES
    assert stream.damaged == 0
    for image in IMAGES:
        decode_image(image)


@settings(max_examples=60, deadline=None)
@given(
    order=st.lists(st.sampled_from(range(len(IMAGES))), max_size=6),
    rubbish=st.binary(max_size=40),
    seed=st.integers(0, 1 << 30),
)
def test_rubbish_between_images_is_skipped(order: list[int], rubbish: bytes, seed: int):
    if b"\xff" in rubbish or b"\x89" in rubbish or b"R" in rubbish:
        rubbish = b"\r\n--frame\r\n"
    rng = random.Random(seed)
    data = rubbish + rubbish.join(IMAGES[i] for i in order) + rubbish
    stream = ImageStream(in_reads_of(data, lambda: rng.randint(1, 500)))
    assert list(stream) == [IMAGES[i] for i in order]
    assert (stream.damaged > 0) == (len(rubbish) > 0)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.lists(st.tuples(st.integers(0, 6), st.integers(1, 400)), max_size=5))
def test_whatever_comes_it_ends_and_gives_nothing_that_was_not_there(head: bytes, cuts: list[tuple[int, int]]):
    data = head + b"".join(IMAGES[i][:cut] for i, cut in cuts)
    for image in ImageStream(in_reads_of(data, lambda: 7)):
        assert image in data


@pytest.mark.parametrize("i", range(len(IMAGES)))
def test_an_image_that_breaks_off_costs_itself_alone(i: int):
    broken = IMAGES[i][: len(IMAGES[i]) // 2]
    if broken[:4] == b"RIFF":  # its length promises more: it takes from the next, which is then found broken
        broken = broken[:6]
    stream = ImageStream(in_reads_of(IMAGES[0] + broken + IMAGES[3] + IMAGES[1], lambda: 64))
    assert list(stream) == [IMAGES[0], IMAGES[3], IMAGES[1]]
    assert stream.damaged >= 1


def test_an_image_larger_than_allowed_is_broken_and_the_next_comes():
    large, small = encoded(40, "PNG"), encoded(0, "JPEG")
    assert len(small) < 2000 < len(large)
    stream = ImageStream(io.BytesIO(large + small).read, most_bytes=2000)
    assert list(stream) == [small]


def test_raw_frames_and_what_is_left_over():
    frames = [noise(i, 8)[:6] for i in range(3)]
    data = b"".join(f.tobytes() for f in frames) + b"rest"
    stream = RawStream(in_reads_of(data, lambda: 13), width=8, height=6)
    found = list(stream)
    assert len(found) == 3
    assert all(np.array_equal(a, b) for a, b in zip(found, frames, strict=True))
    assert stream.damaged == 1


@pytest.mark.parametrize("text", ["", "x", "8", "8x", "0x5", "-1x5", "8x6x3", "99999x99999", "40000x1"])
def test_a_frame_size_that_means_nothing_is_refused(text: str):
    with pytest.raises(ConfigError, match="expected WIDTHxHEIGHT"):
        frame_size(text)


def test_a_frame_size_is_width_by_height():
    assert frame_size("1920x1080") == (1920, 1080)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8\xff\xe8\x99+o>zv\xd7\xff\xd9\xff\xd8\xff",  # a segment longer than an image may be
        b"\xff\xd8\xff\xda\x00\x02" + b"x" * 110 + b"RIFF\x04\0\0\0WEBP\xff\xd9",  # and an image behind its bound
    ],
)
def test_the_pieces_in_which_a_broken_image_arrives_make_no_difference(data: bytes):
    def cut(piece: int) -> tuple[list[bytes], int]:
        source = io.BytesIO(data)
        stream = ImageStream(lambda most: source.read(min(most, piece)), most_bytes=100)
        return list(stream), stream.damaged

    assert cut(1) == cut(7) == cut(1 << 16)
