"""The anomaly map as a picture to lay over the frame."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIDE = 448  # pixels; the page scales it to the frame
_FULL = 1.5  # scores from here on are drawn at full strength; 1.0 is the alarm threshold
_STRONGEST = 170  # of 255: the part under it must stay visible


def draw_overlay(scores: NDArray[np.float16]) -> bytes:
    """Return a PNG of [h, w] anomaly scores: transparent where normal, red towards and beyond the alarm threshold.

    Args:
        scores: float [h, w]; 0 is like the training data, 1.0 the alarm threshold.
    """
    strength = np.clip(np.nan_to_num(scores.astype(np.float32)) / _FULL, 0.0, 1.0) ** 2
    alpha = Image.fromarray((strength * _STRONGEST).astype(np.uint8)).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    picture = Image.new("RGBA", (_SIDE, _SIDE), (230, 30, 30, 0))
    picture.putalpha(alpha)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
