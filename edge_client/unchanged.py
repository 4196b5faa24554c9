"""Frames that did not change: a cheap look that spares the engine while a belt stands still. Off by default.

1. A frame is looked at on a grid of 64 x 64 points. The grid is cut into 8 x 8 cells; the difference of two frames is
   the largest of the cells' mean absolute differences, as a share of full scale. The mean over a cell's 192 values
   takes the sensor's noise away (what noise of 3 of 255 grey levels leaves is 0.013); the largest over cells keeps a
   change in one corner from being thinned out by 63 still ones.
2. A frame is compared with the last one that the ENGINE saw, never with the last repeated one: a slow drift adds up
   and is inspected.
3. A repeat needs the same part id (also none), the same shape and the same engine. Two parts are two inspections,
   however alike they look.
4. At least every hundredth frame is inspected.
5. A repeated frame is a frame like any other to capture: it is offered with its own pixels, counts in N and in its
   run, and has the weight reasons/k + a of the k-th near-duplicate. So every estimate is about the same frames with and
   without skipping, and the audit share also draws repeated frames: where skipping was wrong, labels find it out. What
   is spared is the engine's run, nothing else.

What the grid cannot see - a change smaller than its spacing, such as a scratch that appears between two frames while
nothing else moves - is answered as the frame before. Turn it on for belts that stop, not for parts that are exchanged
in a fixture without a part id.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

_POINTS = 64  # a side
_CELLS = 8  # a side
_IN_CELL = _POINTS // _CELLS
_MOST_IN_A_ROW = 99

Answer = TypeVar("Answer")


def grid_of(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the grid of a frame, cell by cell.

    Args:
        frame: uint8 [H, W, 3]; contiguous, or the whole of it is copied first.

    Returns:
        uint8 [64 cells, 192], a copy.
    """
    return frame.reshape(-1).take(_places(*frame.shape[:2]), mode="clip")  # they are in range: no second buffer


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Return how much two grids differ, from 0 to 1 (rule 1).

    >>> black = np.zeros((64, 64, 3), np.uint8)
    >>> corner = black.copy()
    >>> corner[:8, :8] = 51
    >>> difference(grid_of(black), grid_of(corner))
    0.2
    """
    apart = np.maximum(one, other) - np.minimum(one, other)  # |a - b| without leaving uint8
    largest = int(apart.sum(axis=1, dtype=np.uint32).max())
    return float(largest / (apart.shape[1] * 255))


@lru_cache(maxsize=16)  # an application has a few sizes of frames
def _places(height: int, width: int) -> NDArray[np.intp]:
    """Return where a frame's flat values hold the grid: intp [64, 192], a row for each cell."""
    middles = np.arange(_POINTS) * 2 + 1
    rows, columns = middles * height // (2 * _POINTS), middles * width // (2 * _POINTS)
    flat = (rows[:, None] * width + columns)[:, :, None] * 3 + np.arange(3)
    cells = flat.reshape(_CELLS, _IN_CELL, _CELLS, _IN_CELL, 3).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(cells.reshape(_CELLS * _CELLS, -1), dtype=np.intp)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Seen(Generic[Answer]):
    """The last frame that an engine saw, and what it answered."""

    grid: NDArray[np.uint8]
    shape: tuple[int, ...]
    part_id: str | None
    engine_sha256: str
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look(Generic[Answer]):
    """A look at a frame: the answer to repeat, or None; hand it to `Unchanged.remember` after an inspection."""

    answer: Answer | None
    grid: NDArray[np.uint8]
    shape: tuple[int, ...]
    part_id: str | None


class Unchanged(Generic[Answer]):
    """Remembers the last inspected frame of one camera.

    Safe to call from several threads: they may inspect a frame too many, and never repeat what rule 3 forbids.

    Args:
        limit: Largest difference of an unchanged frame, in (0, 1].
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._seen: _Seen[Answer] | None = None
        self._in_a_row = 0

    def look(self, frame: NDArray[np.uint8], *, part_id: str | None, engine_sha256: str) -> Look[Answer]:
        """Look at a frame before it is inspected.

        Args:
            frame: uint8 [H, W, 3].
            part_id: Its part, if the application named one.
            engine_sha256: The engine that would inspect it.
        """
        grid, seen = grid_of(frame), self._seen
        answer = None
        if seen is not None and seen.engine_sha256 != engine_sha256:
            self._seen = None  # nothing keeps an engine that was exchanged
        elif (
            seen is not None
            and self._in_a_row < _MOST_IN_A_ROW
            and (seen.part_id, seen.shape) == (part_id, frame.shape)
            and difference(seen.grid, grid) <= self._limit
        ):
            self._in_a_row += 1
            answer = seen.answer
        return Look(answer=answer, grid=grid, shape=frame.shape, part_id=part_id)

    def remember(self, look: Look[Answer], answer: Answer, *, engine_sha256: str) -> None:
        """Note what the engine answered to the frame that was looked at.

        Args:
            look: What `look` returned.
            answer: To be repeated.
            engine_sha256: The engine that answered.
        """
        self._in_a_row = 0
        self._seen = _Seen(
            grid=look.grid, shape=look.shape, part_id=look.part_id, engine_sha256=engine_sha256, answer=answer
        )
