"""Where in the frame: the patches of a region laid on a map of the whole frame.

People, and the page that shows them a frame, lay the anomaly map over the frame as it is, whatever a model looked at.

1. A map's cell shows the highest of the patches whose middle lies in it; where it is smaller than a patch, the patch
   that it lies in. So no patch is missing from the map.
2. Outside the region the map is 0: nobody looked there.
3. A cell is about as large as a patch, and there are at most `MOST_CELLS` along a side: a small region of a large frame
   does not need a map that is larger than a screen can show.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from training.graph_part import GraphPart

#: What devices keep of a map.
MOST_CELLS = 128


def cells(patches: int, start: float, end: float) -> int:
    """Return how many cells the frame has along an axis, of which a share has so many patches.

    >>> cells(14, 0.25, 0.75), cells(14, 0.0, 1.0), cells(28, 0.9, 1.0)
    (28, 14, 128)
    """
    return min(MOST_CELLS, math.ceil(patches / (end - start) - 1e-6))


def shown(patches: int, start: float, end: float) -> list[list[int]]:
    """Return for each cell along an axis the patches that it shows; none outside the region (rules 1 and 2).

    >>> shown(2, 0.5, 1.0)
    [[], [], [0], [1]]
    """
    count = cells(patches, start, end)
    found: list[list[int]] = []
    for cell in range(count):
        # The cell in units of patches, from the region's start.
        low, high = ((edge / count - start) / (end - start) * patches for edge in (cell, cell + 1))
        inside = [patch for patch in range(patches) if low - 1e-6 <= patch + 0.5 < high - 1e-6]
        middle = (low + high) / 2
        found.append(inside or ([int(middle)] if 0 <= middle < patches else []))
    return found


def frame_map_part(
    shape: tuple[int, int], region: tuple[float, float, float, float], *, source: str, target: str
) -> GraphPart:
    """Build the part of the graph from a map of the region to one of the frame.

    Args:
        shape: Height and width of the region's map.
        region: Left, top, right, bottom.
        source: Name of what it reads: float32 [N, *shape], never negative.
        target: Name of what it writes: float32 [N, cells of the height, cells of the width].
    """
    left, top, right, bottom = region
    part = GraphPart("frame_map")
    rows = _axis(part, source, shown(shape[0], top, bottom), shape[0], 1, "frame_map_rows")
    done = _axis(part, rows, shown(shape[1], left, right), shape[1], 2, "frame_map_columns")
    part.node("Identity", [done], target)
    return part


def frame_map_shape(shape: tuple[int, int], region: tuple[float, float, float, float]) -> tuple[int, int]:
    """Return the height and width of the frame's map."""
    left, top, right, bottom = region
    return cells(shape[0], top, bottom), cells(shape[1], left, right)


def _axis(part: GraphPart, source: str, wanted: list[list[int]], patches: int, axis: int, name: str) -> str:
    """Gather along one axis; where a cell shows several patches, the highest of them."""
    pads = [0] * 6
    pads[3 + axis] = 1  # one patch of zeros at the end: what cells outside the region show
    padded = part.node("Pad", [source, part.constant(f"{name}_pads", np.array(pads, dtype=np.int64))], f"{name}_padded")
    turns = max(len(some) for some in wanted)
    gathered = [
        part.node(
            "Gather",
            [padded, part.constant(f"{name}_{turn}", _turn(wanted, patches, turn))],
            f"{name}_turn_{turn}",
            axis=axis,
        )
        for turn in range(turns)
    ]
    return gathered[0] if turns == 1 else part.node("Max", gathered, name)


def _turn(wanted: list[list[int]], patches: int, turn: int) -> NDArray[np.int64]:
    return np.array([some[min(turn, len(some) - 1)] if some else patches for some in wanted], dtype=np.int64)
