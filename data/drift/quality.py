"""What an image looks like as an image: how bright, how contrasty, how sharp, how much is clipped, where spots are.

1. Each measure reacts to its own cause alone as far as possible: contrast is relative to brightness, sharpness compares
   fine detail with detail twice as coarse, spots are relative to their surroundings. A lamp that ages changes
   brightness and neither of the others.
2. Measures are logarithms where a ratio is what people mean: "12 % darker".
3. A spot is a cell of a grid over the image, against its neighbours; that it stays in place is for
   :mod:`data.drift.watch` to see, over frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MEASURES = ("brightness", "contrast", "sharpness", "clipped")
GRID = 32  # cells a side: a speck of three hundredths of the width fills one
_MOST_PIXELS = 4_000_000  # larger images are halved until they have no more: detail below is noise
_DARK, _LIGHT = 2, 253  # grey levels at and beyond which a pixel is clipped
_LEAST_DETAIL = 0.05  # grey levels: the rounding of eight bits


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quality:
    """Measures of one image.

    Attributes:
        values: float64 [4], in the order of `MEASURES`: log of the grey level that a tenth of the pixels exceed, which
            is moved less by what is in the image than the mean; log of the spread between the 5 and 95 % quantiles
            over the mean; log of fine over coarse detail; share of clipped pixels.
        spots: float32 [GRID * GRID], row by row: log of a cell's mean over its surroundings'.
    """

    values: NDArray[np.float64]
    spots: NDArray[np.float32]


def measure_file(data: bytes) -> Quality:
    """Measure an encoded image.

    Raises:
        OSError: It cannot be decoded.
    """
    with Image.open(BytesIO(data)) as image:
        grey = image.convert("L")
    while grey.width * grey.height > _MOST_PIXELS:
        grey = grey.reduce(2)
    return measure(np.asarray(grey))


def measure(grey: NDArray[np.uint8]) -> Quality:
    """Measure a grey image, uint8 [H, W]."""
    counts = np.bincount(grey.ravel(), minlength=256)
    total = counts.sum()
    mean = float(counts @ np.arange(256)) / total
    low, bright, high = np.searchsorted(np.cumsum(counts), (0.05 * total, 0.9 * total, 0.95 * total))
    clipped = float(counts[: _DARK + 1].sum() + counts[_LIGHT:].sum()) / total
    pixels = grey.astype(np.float32)
    smooth = _smooth(pixels)
    half = smooth[::2, ::2]
    fine = _spread(pixels - smooth)
    coarse = _spread(half - _smooth(half))
    values = [
        np.log(_between(counts, 0.9 * total, int(bright)) + 1.0),
        np.log((high - low + 1.0) / (mean + 1.0)),
        np.log((fine + _LEAST_DETAIL) / (coarse + _LEAST_DETAIL)),
        clipped,
    ]
    return Quality(values=np.array(values, dtype=np.float64), spots=_spots(grey))


def _between(counts: NDArray[np.int64], below: float, level: int) -> float:
    """The quantile within its grey level: 256 levels are too few to see a percent."""
    return level - 0.5 + (below - float(counts[:level].sum())) / float(counts[level])


def _smooth(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Binomial smoothing over 3 x 3, the border repeated."""
    for axis in (0, 1):
        wide = np.pad(pixels, [(1, 1) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        before, after = (wide[:-2], wide[2:]) if axis == 0 else (wide[:, :-2], wide[:, 2:])
        pixels = (before + 2.0 * pixels + after) * np.float32(0.25)
    return pixels


def _spread(detail: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(detail), dtype=np.float64)))


def _spots(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    cells = np.asarray(Image.fromarray(grey).resize((GRID, GRID), Image.Resampling.BOX), dtype=np.float32)
    wide = np.pad(cells, 2, mode="reflect")
    around = sum(wide[i : i + GRID, j : j + GRID] for i in range(5) for j in range(5)) - cells
    return np.asarray(np.log((cells + 1.0) / (around / 24.0 + 1.0)).ravel(), dtype=np.float32)
