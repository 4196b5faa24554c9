"""Frames: decoding encoded images in bounds, and checking arrays.

Every image from outside is opened with the formats PNG, JPEG and WebP alone, its size is read from the header and
bounded before a pixel is decoded. That bound is below the size at which Pillow warns of a decompression bomb, so its
warning (which can't be made an error in one thread alone) never lets an image through.
"""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_client.contract.errors import BadImage

FORMATS = ("PNG", "JPEG", "WEBP")
MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
MAX_IMAGE_BYTES = 64 * 1024 * 1024
MAX_PIXELS = 64_000_000  # a 50-megapixel line camera and some room; 192 MB as RGB
MAX_SIDE = 32_768
#: Pillow's decoders raise all of these on damaged files.
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    IndexError,
    KeyError,
    TypeError,
    AssertionError,
)
_PLAIN_MODES = ("RGB", "L", "P", "1", "RGBA", "LA", "CMYK", "YCbCr")


def media_type_of(data: bytes) -> str:
    """Return the media type of an encoded image by its first bytes.

    Raises:
        BadImage: Neither PNG, JPEG nor WebP.
    """
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    found = f"begins with {data[:8].hex()}" if data else "is empty"
    raise BadImage(f"encoded image {found}: expected PNG, JPEG or WebP")


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode one image.

    Args:
        data: PNG, JPEG or WebP file.
        max_pixels: Largest width x height that is decoded, at most `MAX_PIXELS`.

    Returns:
        uint8 [H, W, 3], RGB. Grey becomes three equal channels; transparency is dropped; no rotation by EXIF.

    Raises:
        BadImage: Another format, too large, truncated, damaged, animated, or deeper than 8 bits.
    """
    if len(data) > MAX_IMAGE_BYTES:
        raise BadImage(f"encoded image has {len(data)} bytes: at most {MAX_IMAGE_BYTES} are decoded")
    media_type_of(data)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_header(image, max_pixels)
            image.load()
            pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except BadImage:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage(f"encoded image is too large to decode: {error}") from None
    except _DAMAGED as error:
        raise BadImage(
            f"encoded image of {len(data)} bytes is truncated or damaged: {str(error) or type(error).__name__}"
        ) from error
    return np.ascontiguousarray(pixels)


def check_encoded_size(data: bytes, *, max_pixels: int) -> None:
    """Check how many pixels an encoded image has, by its header alone. What can't be read is left to `decode_image`.

    Raises:
        BadImage: More than `max_pixels`.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
    except Exception:  # noqa: BLE001 -- Pillow raises a dozen classes on damage, and decoding says which
        return
    check_pixels(width, height, max_pixels=max_pixels)


def check_pixels(width: int, height: int, *, max_pixels: int) -> None:
    """Check a frame's size.

    Raises:
        BadImage: More than `max_pixels`.
    """
    if width * height > max_pixels:
        raise BadImage(f"frame is {width} x {height} pixels: at most {max_pixels} pixels are inspected here; crop it")


def _check_header(image: Any, max_pixels: int) -> None:
    width, height = image.size
    if width < 1 or height < 1 or max(width, height) > MAX_SIDE or width * height > min(max_pixels, MAX_PIXELS):
        raise BadImage(
            f"encoded image is {width} x {height} pixels: at most {max_pixels} pixels and {MAX_SIDE} a side are decoded"
        )
    if image.mode not in _PLAIN_MODES:
        raise BadImage(f"encoded image has the mode {image.mode!r}: expected 8 bits a channel; convert it first")
    if getattr(image, "n_frames", 1) != 1:
        raise BadImage(f"encoded image is an animation of {image.n_frames} frames: expected one image")


def check_frames(frames: object) -> NDArray[np.uint8]:
    """Check one frame or a batch and return it as a batch.

    Args:
        frames: uint8 [H, W, 3] or [N, H, W, 3], RGB.

    Returns:
        uint8 [N, H, W, 3], contiguous; a view where the input allows it.

    Raises:
        BadImage: Another type, dtype or shape, empty, or too large.
    """
    if not isinstance(frames, np.ndarray):
        raise BadImage(f"frame is a {type(frames).__name__}: expected a numpy array uint8 [H, W, 3] or encoded bytes")
    if frames.dtype != np.uint8:
        raise BadImage(f"frame has dtype {frames.dtype}: expected uint8 values 0..255; scale and convert it first")
    if frames.ndim not in (3, 4) or frames.shape[-1] != 3:
        raise BadImage(f"frame has shape {list(frames.shape)}: expected [H, W, 3] or [N, H, W, 3] in RGB order")
    batch = frames[None] if frames.ndim == 3 else frames
    n, height, width, _ = batch.shape
    if min(n, height, width) < 1:
        raise BadImage(f"frame has shape {list(frames.shape)}: expected at least one pixel")
    if max(height, width) > MAX_SIDE or height * width > MAX_PIXELS:
        raise BadImage(f"frame is {width} x {height} pixels: at most {MAX_PIXELS} pixels and {MAX_SIDE} a side")
    return np.ascontiguousarray(batch)
