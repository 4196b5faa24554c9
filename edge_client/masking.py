"""Masks: regions of a frame that never leave the device, such as faces, hands, or a customer's marks.

1. A pixel that a region touches is black in what is stored, and so in what is uploaded: masked before it is encoded and
   sealed. Rectangles cover every pixel that they touch; of polygons, also pixels whose centre is at most half a pixel's
   diagonal from an edge.
2. Regions of the device's own file and of the cloud's settings add up: the cloud can mask more, never less.
3. A frame is masked by what holds when it is stored, so a mask that has just come also covers what waits.
4. A sample whose frame was masked says so, in its context as ``andon.masked``: the regions.
5. The engine sees the whole frame, unless ``mask.engine`` is set: then the masked one. The map and the embedding that
   go with a sample are the engine's, of what it saw.
6. Settings whose regions cannot be read are refused as a whole; what held before holds on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_client.config import Config
from edge_client.contract.regions import Region, read_regions
from edge_client.settings_in_force import EffectiveSettings

CONTEXT_KEY = "andon.masked"
_LONGEST_TOLD = 1000
_KEPT_SIZES = 4  # sizes of frames of which the covered pixels are remembered
_HALF_DIAGONAL = 0.5**0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """The regions that hold, and whether the engine is shown the masked frame."""

    regions: tuple[Region, ...] = ()
    texts: tuple[str, ...] = ()
    engine: bool = False
    _covered: dict[tuple[int, int], NDArray[np.bool_]] = field(default_factory=dict, compare=False, repr=False)

    @staticmethod
    def of(config: Config, settings: EffectiveSettings | None = None) -> Mask:
        """The mask that holds on a device (rule 2).

        Raises:
            ConfigError: A region cannot be read, or there are too many.
        """
        settings = settings or EffectiveSettings()
        stated = settings.of("mask.regions", ())
        texts = tuple(dict.fromkeys((*config.mask.regions, *stated)))
        engine = config.mask.engine or bool(settings.of("mask.engine", False))
        return Mask(regions=read_regions(texts), texts=texts, engine=engine)

    def __bool__(self) -> bool:
        """Whether anything is masked."""
        return bool(self.regions)

    def applied(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A copy of uint8 [H, W, 3] or [N, H, W, 3] with the regions black; the same array where there are none."""
        if not self.regions:
            return frames
        height, width = frames.shape[-3:-1]
        masked = frames.copy()
        masked[..., self.covered(height, width), :] = 0
        return masked

    def covered(self, height: int, width: int) -> NDArray[np.bool_]:
        """Bool [H, W]: the pixels that are masked."""
        known = self._covered.get((height, width))
        if known is None:
            known = np.zeros((height, width), dtype=np.bool_)
            for region in self.regions:
                _cover(known, region.points)
            if len(self._covered) < _KEPT_SIZES:
                self._covered[height, width] = known
        return known

    def told(self) -> dict[str, str]:
        """What a sample says of it (rule 4)."""
        if not self.regions:
            return {}
        text = "; ".join(self.texts)
        cut = text if len(text) <= _LONGEST_TOLD else f"{text[: _LONGEST_TOLD - 1]}…"
        return {CONTEXT_KEY: cut}


def _cover(covered: NDArray[np.bool_], points: Sequence[tuple[float, float]]) -> None:
    height, width = covered.shape
    corners = np.array(points, dtype=np.float64) * (width, height)
    least, most = np.floor(corners.min(axis=0)).astype(int), np.ceil(corners.max(axis=0)).astype(int)
    if len(points) == 2:
        covered[least[1] : most[1], least[0] : most[0]] = True
        return
    left, top = np.maximum(least - 1, 0)
    right, bottom = np.minimum(most + 1, (width, height))
    x = np.arange(left, right) + 0.5
    y = (np.arange(top, bottom) + 0.5)[:, None]
    inside = np.zeros((bottom - top, right - left), dtype=np.bool_)
    near = np.zeros_like(inside)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 != y1:
            inside ^= ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
        near |= _distance(x, y, (x0, y0), (x1, y1)) <= _HALF_DIAGONAL
    covered[top:bottom, left:right] |= inside | near


def _distance(x: Any, y: Any, begin: tuple[float, float], end: tuple[float, float]) -> Any:
    """From the centres of pixels to a stretch of a line."""
    along, down = end[0] - begin[0], end[1] - begin[1]
    length = along * along + down * down
    share = np.clip(((x - begin[0]) * along + (y - begin[1]) * down) / length, 0, 1) if length else 0.0
    return np.hypot(x - (begin[0] + share * along), y - (begin[1] + share * down))
