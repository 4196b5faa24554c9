"""Encoded frames decode to the same pixels, and grey ones take the cheap way."""

import io

import numpy as np
import pytest
from PIL import Image

from edge_client.encode import encode_lossless
from edge_client.images import decode_image
from tests.unit.capture.device import noise


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (64, 48)])
def test_a_grey_frame_becomes_one_grey_channel(shape: tuple[int, int]):
    grey = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    frame = np.repeat(grey[..., None], 3, axis=2)
    data, media_type = encode_lossless(frame)
    assert media_type == "image/png"
    assert Image.open(io.BytesIO(data)).mode == "L"
    assert (decode_image(data) == frame).all()


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_one_pixel_of_another_colour_is_kept(channel: int):
    frame = np.full((9, 11, 3), 100, np.uint8)
    frame[8, 10, channel] = 101
    data, media_type = encode_lossless(frame)
    assert media_type == "image/webp"
    assert (decode_image(data) == frame).all()


def test_a_colour_frame_too_wide_for_webp_is_a_png():
    frame = np.repeat(np.repeat(noise(1, side=2), 2, axis=0), 8_200, axis=1)
    data, media_type = encode_lossless(frame)
    assert media_type == "image/png"
    assert (decode_image(data) == frame).all()
