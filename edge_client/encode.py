"""Encoding a captured frame: lossless, or smaller when it must be.

The line's processor pays for it, so the fast way wins where it costs few bytes. A frame whose three channels are equal
(most cameras on lines are monochrome) becomes an 8-bit grey PNG of Huffman codes alone: a quarter to a third of the
time of lossless WebP's better search, for 2 to 9 % more bytes on tiles and cells. Colour becomes lossless WebP by its
fast search: a third of the time for 9 % more. That search on grey would double the file, and PNG of colour takes three
times as long.

    python -m benchmarks.encoding
"""

import io
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_client.images import decode_image

_WEBP_SIDE = 16_383  # the format's own limit


def encode_lossless(frame: NDArray[np.uint8]) -> tuple[bytes, str]:
    """Encode uint8 [H, W, 3] and return the file with its media type; decoding gives the same pixels."""
    buffer = io.BytesIO()
    grey = is_grey(frame)
    image = Image.fromarray(np.ascontiguousarray(frame[..., 0]) if grey else frame)
    if grey or max(frame.shape[:2]) > _WEBP_SIDE:
        image.save(buffer, "PNG", compress_level=1, compress_type=zlib.Z_HUFFMAN_ONLY)
        return buffer.getvalue(), "image/png"
    image.save(buffer, "WEBP", lossless=True, quality=0, method=0, exact=True)
    return buffer.getvalue(), "image/webp"


def is_grey(frame: NDArray[np.uint8]) -> bool:
    """Tell whether the three channels are equal."""
    first = frame[..., 0]
    return np.array_equal(first, frame[..., 1]) and np.array_equal(first, frame[..., 2])


def encode_smaller(frame: NDArray[np.uint8] | bytes, most_bytes: int) -> tuple[bytes, str] | None:
    """Encode with loss into at most `most_bytes`, keeping the size in pixels; None when even that is too large.

    Raises:
        BadImage: `frame` is an encoded image that cannot be decoded.
    """
    image = Image.fromarray(decode_image(frame) if isinstance(frame, bytes) else frame)
    for quality in (92, 80, 60):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        if buffer.tell() <= most_bytes:
            return buffer.getvalue(), "image/jpeg"
    return None
