"""Encoding a captured frame: lossless, or smaller when it must be.

Lossless WebP takes about half of what PNG takes on camera images. Its better search (method 1) costs three times the
fast one; large frames get the fast one so that capture keeps up.
"""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_client.images import decode_image

_WEBP_SIDE = 16_383  # the format's own limit
_FAST_PIXELS = 1_500_000


def encode_lossless(frame: NDArray[np.uint8]) -> tuple[bytes, str]:
    """Encode uint8 [H, W, 3] and return the file with its media type; decoding gives the same pixels."""
    height, width = frame.shape[:2]
    buffer = io.BytesIO()
    image = Image.fromarray(frame)
    if max(height, width) > _WEBP_SIDE:
        image.save(buffer, "PNG", compress_level=4)
        return buffer.getvalue(), "image/png"
    method = 0 if height * width > _FAST_PIXELS else 1
    image.save(buffer, "WEBP", lossless=True, quality=20, method=method, exact=True)
    return buffer.getvalue(), "image/webp"


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
