"""Tiles: a region looked at in several pieces, each as finely as a network looks at a whole frame.

1. The region is resized once, to a canvas that the tiles cover without rest, and cut at whole pixels; all tiles of a
   frame go through the network as one batch.
2. Neighbours overlap by whole patches, so that patches of two tiles lie on one grid.
3. Features are pooled over tiles: their mean, which is what the network says of the region, beside their highest: a
   defect that fills a corner of one tile hardly moves the mean. The embedding is of the mean.
4. Patches are stitched to one grid that covers the region. Where tiles overlap, the tile whose middle is nearest
   counts: patches at a tile's edge have seen the padding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from training.graph_part import GraphPart
from training.input_choice import InputChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """The tiles along one axis.

    Attributes:
        count: How many.
        side: Pixels of one.
        grid: Patches of one.
        step: Patches from one tile's start to the next one's.
    """

    count: int
    side: int
    grid: int
    step: int

    @property
    def patches(self) -> int:
        """Patches of all of them, stitched."""
        return self.grid + (self.count - 1) * self.step

    @property
    def starts(self) -> list[int]:
        """Where each begins, in pixels of the canvas."""
        return [round(k * self.step * self.side / self.grid) for k in range(self.count)]

    @property
    def pixels(self) -> int:
        """The canvas."""
        return self.starts[-1] + self.side

    def sources(self) -> list[tuple[int, int]]:
        """For each stitched patch the tile it is taken from, and its place in it (rule 4)."""
        found = []
        for place in range(self.patches):
            covering = [k for k in range(self.count) if 0 <= place - k * self.step < self.grid]
            tile = min(covering, key=lambda k: abs(2 * (place - k * self.step) + 1 - self.grid))
            found.append((tile, place - tile * self.step))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a choice's tiles lie.

    Attributes:
        rows: Along the height.
        columns: Along the width.
    """

    rows: Axis
    columns: Axis

    @staticmethod
    def of(choice: InputChoice, grid: int) -> Layout:
        """Lay out the tiles of a choice for a network with so many patches along a side."""
        step = max(1, grid - round(choice.overlap * grid))
        rows, columns = (Axis(count=n, side=choice.side, grid=grid, step=step) for n in choice.tiles)
        return Layout(rows=rows, columns=columns)

    @property
    def tiles(self) -> int:
        """How many."""
        return self.rows.count * self.columns.count

    def stitching(self) -> NDArray[np.int64]:
        """For each stitched patch, row by row, its place among the patches of all tiles one after another."""
        grid = self.rows.grid
        return np.array(
            [
                ((tile_row * self.columns.count + tile_column) * grid + row) * grid + column
                for tile_row, row in self.rows.sources()
                for tile_column, column in self.columns.sources()
            ],
            dtype=np.int64,
        )


def cutting_part(layout: Layout, *, source: str, target: str) -> GraphPart:
    """Build the part of the graph from the canvas to the batch of tiles.

    Args:
        layout: How the tiles lie.
        source: Name of what it reads: float32 [N, 3, height, width].
        target: Name of what it writes: float32 [tiles * N, 3, side, side], all frames of the first tile first.
    """
    part = GraphPart("tiles")
    side = layout.rows.side
    cut = [
        part.node(
            "Slice",
            [source, part.whole(top, left), part.whole(top + side, left + side), part.whole(2, 3)],
            f"tile_{row}_{column}",
        )
        for row, top in enumerate(layout.rows.starts)
        for column, left in enumerate(layout.columns.starts)
    ]
    part.node("Concat", cut, target, axis=0)
    return part


def joining_part(layout: Layout, *, feature_width: int, patch_width: int, features: str, patches: str) -> GraphPart:
    """Build the part of the graph from the network's answers to those of the trunk.

    Args:
        layout: How the tiles lie.
        feature_width: Columns of the network's features.
        patch_width: Channels of its patches.
        features: Name of the network's features, float32 [tiles * N, D].
        patches: Name of its patches, float32 [tiles * N, grid, grid, C].

    Returns:
        Writes `features` float32 [N, 2 D] and `patches` float32 [N, h, w, C].
    """
    part = GraphPart("joined")
    tiles, each = layout.tiles, layout.rows.grid**2
    by_tile = part.node("Reshape", [features, part.whole(tiles, -1, feature_width)], "features_by_tile")
    mean = part.node("ReduceMean", [by_tile, part.whole(0)], "features_mean", keepdims=0)
    most = part.node("ReduceMax", [by_tile, part.whole(0)], "features_most", keepdims=0)
    part.node("Concat", [mean, most], "features", axis=1)
    flat = part.node("Reshape", [patches, part.whole(tiles, -1, each, patch_width)], "patches_by_tile")
    of_frame = part.node("Transpose", [flat], "patches_by_frame", perm=[1, 0, 2, 3])
    in_turn = part.node("Reshape", [of_frame, part.whole(-1, tiles * each, patch_width)], "patches_in_turn")
    stitched = part.node("Gather", [in_turn, part.constant("stitching", layout.stitching())], "patches_row", axis=1)
    shape = part.whole(-1, layout.rows.patches, layout.columns.patches, patch_width)
    part.node("Reshape", [stitched, shape], "patches")
    return part


def rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    """Give tensors of a graph other names."""
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
