"""Where a defect is, between Andon's marks and the forms of others: boxes, run lengths, polygons. Pure.

1. A mark is a picture as large as the frame, bright where the defect is; here it is bool [height, width].
2. A box is (x, y, width, height) in pixels, whole numbers where it comes from a mark: the smallest one round a patch of
   pixels that touch. A box of the whole frame says that nobody marked where, and makes no mark.
3. COCO's run lengths count down the columns, the first run is of zeros; compressed ones are read too.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Box = tuple[float, float, float, float]
_BRIGHT = 128


def mask_of_png(data: bytes) -> Mask:
    """The pixels of a mark that are bright."""
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
        mask: Mask = np.asarray(picture.convert("L")) >= _BRIGHT
    return mask


def png_of_mask(mask: Mask) -> bytes:
    """A mark as it is kept."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def patches_of(mask: Mask) -> list[tuple[Box, Mask]]:
    """The patches of touching pixels: the box of each, and its own mask."""
    from scipy import ndimage

    numbered, found = ndimage.label(mask, structure=np.ones((3, 3), int))
    boxes = ndimage.find_objects(numbered)
    return [
        (
            (float(cols.start), float(rows.start), float(cols.stop - cols.start), float(rows.stop - rows.start)),
            numbered == number,
        )
        for number, (rows, cols) in zip(range(1, found + 1), boxes, strict=True)
    ]


def mask_of_boxes(boxes: Iterable[Box], height: int, width: int) -> Mask | None:
    """The pixels inside boxes; None where a box is the whole frame, or there is none (rule 2)."""
    mask = np.zeros((height, width), bool)
    for x, y, w, h in boxes:
        left, top = max(0, round(x)), max(0, round(y))
        right, bottom = min(width, round(x + w)), min(height, round(y + h))
        if (left, top, right, bottom) == (0, 0, width, height):
            return None
        mask[top:bottom, left:right] = True
    return mask if mask.any() else None


def run_lengths(mask: Mask) -> list[int]:
    """COCO's uncompressed run lengths of a mask.

    >>> run_lengths(np.array([[False, True], [True, True]]))
    [1, 3]
    """
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat.astype(np.int8))) + 1
    runs = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return [0, *runs] if flat.size and flat[0] else runs


def mask_of_runs(counts: Sequence[int], height: int, width: int) -> Mask:
    """The mask of run lengths.

    Raises:
        ValueError: They do not add up to the frame.
    """
    if any(not isinstance(n, int) or n < 0 for n in counts) or sum(counts) != height * width:
        raise ValueError(f"run lengths add up to {sum(counts)}, the frame has {height * width} pixels")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape((height, width), order="F")


def runs_of_text(text: str) -> list[int]:
    """Run lengths from COCO's compressed form: six bits to a character, each from the third on as a difference.

    >>> runs_of_text("13")
    [1, 3]
    """
    counts: list[int] = []
    place = 0
    while place < len(text):
        value, shift, more = 0, 0, True
        while more:
            if place >= len(text):
                raise ValueError("compressed run lengths end in the middle of a number")
            bits = ord(text[place]) - 48
            if not 0 <= bits < 64 or shift > 60:
                raise ValueError(f"compressed run lengths have the character {text[place]!r}")
            value |= (bits & 0x1F) << shift
            more = bool(bits & 0x20)
            place, shift = place + 1, shift + 5
            if not more and bits & 0x10:
                value |= -1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    return counts


def mask_of_segmentation(segmentation: Any, height: int, width: int) -> Mask:
    """The mask of a COCO segmentation: run lengths, compressed or not, or polygons.

    Raises:
        ValueError: It is none of them.
    """
    if isinstance(segmentation, dict):
        counts = segmentation.get("counts")
        if list(segmentation.get("size") or ()) != [height, width]:
            raise ValueError(f"segmentation of size {segmentation.get('size')}, the frame is {[height, width]}")
        if isinstance(counts, str):
            counts = runs_of_text(counts)
        if not isinstance(counts, list):
            raise ValueError("segmentation has no run lengths")  # noqa: TRY004 -- a file is wrong, not a caller
        return mask_of_runs(counts, height, width)
    if not isinstance(segmentation, list):
        raise ValueError("segmentation is neither run lengths nor polygons")  # noqa: TRY004 -- the same
    from PIL import Image, ImageDraw

    picture = Image.new("L", (width, height))
    for polygon in segmentation:
        numbers = isinstance(polygon, list) and all(isinstance(n, int | float) for n in polygon)
        if not numbers or len(polygon) < 6 or len(polygon) % 2:
            raise ValueError("a polygon needs at least three points, each x and y")
        ImageDraw.Draw(picture).polygon(polygon, fill=255)
    mask: Mask = np.asarray(picture) > 0
    return mask
