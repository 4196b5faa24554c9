"""Encoded images: the decoder of the edge, and the one that ingest runs in its child process."""

from __future__ import annotations

import numpy as np

from data.decode_child import check_image
from edge_client.contract.errors import BadImage
from edge_client.images import MAX_PIXELS, MAX_SIDE, decode_image, media_type_of
from tests.fuzz.mutations.image import mutate_image
from tests.fuzz.seeds import images
from tests.fuzz.target import Target


def read_image(data: bytes) -> None:
    """Decode on both sides: what the edge accepts is a plain array in bounds, and ingest accepts it too."""
    answer = check_image(media_type_of(data), data)
    assert ("error" in answer) != ("width" in answer)
    pixels = decode_image(data)
    height, width, channels = pixels.shape
    assert pixels.dtype == np.uint8
    assert channels == 3
    assert 0 < height * width <= MAX_PIXELS
    assert max(height, width) <= MAX_SIDE
    assert answer.get("error") is None, f"the edge takes it, ingest does not: {answer}"
    assert (answer["width"], answer["height"]) == (width, height)


IMAGES = Target(name="image", read=read_image, refusals=(BadImage,), seeds=images, mutate=mutate_image)
