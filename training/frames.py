"""Encoded images to the uint8 RGB arrays an engine takes."""

from __future__ import annotations

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from edge_client.contract.errors import BadImage

#: What a frame may arrive as: encoded bytes, or uint8 RGB [H, W, 3].
Frame = bytes | NDArray[np.uint8]

FORMATS = ("PNG", "WEBP", "JPEG")


def decode(frame: Frame) -> NDArray[np.uint8]:
    """Decode one frame.

    Args:
        frame: PNG, WebP or JPEG bytes, or an array that is already uint8 [H, W, 3].

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        BadImage: Not an image in one of the three formats, or an array of another type or shape.
    """
    if isinstance(frame, np.ndarray):
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise BadImage(f"frame is {frame.dtype} {list(frame.shape)}; expected uint8 [H, W, 3], RGB")
        return frame
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(frame), formats=FORMATS) as image:
                return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except (
        UnidentifiedImageError,
        OSError,
        ValueError,
        SyntaxError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise BadImage(
            f"frame of {len(frame)} bytes cannot be decoded ({error}); expected a whole PNG, WebP or JPEG"
        ) from error
