"""Encoded images from outside: three formats, in bounds."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edge_client.contract.errors import BadImage
from edge_client.images import decode_image, media_type_of

PIXELS = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)


def encoded(format_: str, pixels: np.ndarray = PIXELS, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format_, **options)
    return buffer.getvalue()


def png_header(width: int, height: int, bits: int = 8) -> bytes:
    """A PNG that says how large it is and ends soon after."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


PNG, JPEG, WEBP = encoded("PNG"), encoded("JPEG", quality=95), encoded("WEBP", lossless=True)


@pytest.mark.parametrize(("data", "media_type"), [(PNG, "image/png"), (JPEG, "image/jpeg"), (WEBP, "image/webp")])
def test_three_formats_are_decoded(data: bytes, media_type: str) -> None:
    frame = decode_image(data)
    assert (media_type_of(data), frame.shape, frame.dtype) == (media_type, (40, 60, 3), np.uint8)
    if media_type != "image/jpeg":
        np.testing.assert_array_equal(frame, PIXELS)


def test_a_grey_image_becomes_three_equal_channels() -> None:
    frame = decode_image(encoded("PNG", PIXELS[..., 0]))
    np.testing.assert_array_equal(frame, np.repeat(PIXELS[..., :1], 3, axis=2))


@pytest.mark.parametrize("size", [(40_000, 40_000), (100_000, 2), (20_000, 20_000)])
def test_a_header_that_says_it_is_huge_is_refused_before_it_is_decoded(size: tuple[int, int]) -> None:
    with pytest.raises(BadImage, match=r"pixels|too large"):
        decode_image(png_header(*size))


@pytest.mark.parametrize(
    "data", [PNG[:-40], JPEG[: len(JPEG) // 2], WEBP[: len(WEBP) // 2], PNG[:30], png_header(50, 50)]
)
def test_a_truncated_image_is_refused(data: bytes) -> None:
    with pytest.raises(BadImage, match="truncated or damaged"):
        decode_image(data)


@pytest.mark.parametrize("format_", ["GIF", "BMP", "TIFF", "PPM"])
def test_another_format_is_refused(format_: str) -> None:
    with pytest.raises(BadImage, match="expected PNG, JPEG or WebP"):
        decode_image(encoded(format_))


def test_nothing_at_all_is_refused() -> None:
    with pytest.raises(BadImage, match="is empty"):
        decode_image(b"")


def test_sixteen_bits_and_animations_are_refused() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(buffer, "PNG")
    with pytest.raises(BadImage, match="8 bits a channel"):
        decode_image(buffer.getvalue())
    frames = [Image.fromarray(PIXELS), Image.fromarray(PIXELS[::-1])]
    animated = io.BytesIO()
    frames[0].save(animated, "WEBP", save_all=True, append_images=frames[1:])
    with pytest.raises(BadImage, match="animation of 2 frames"):
        decode_image(animated.getvalue())


@given(st.sampled_from([PNG, JPEG, WEBP]), st.integers(0, 3000), st.binary(min_size=1, max_size=8))
@settings(max_examples=150, deadline=None)
def test_damaged_images_raise_nothing_but_bad_image(data: bytes, at: int, bytes_: bytes) -> None:
    at %= len(data)
    try:
        frame = decode_image(data[:at] + bytes_ + data[at + len(bytes_) :])
    except BadImage:
        return
    assert frame.ndim == 3
