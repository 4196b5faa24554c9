"""Frames in the reference's terms, and the latest of them, from which two of the bets learn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MEMORY = 64  # captured frames that are remembered


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placed:
    """n frames against the reference.

    Attributes:
        scores: [n, 5], in the order of `data.drift.reference.SCORES`.
        coordinates: [n, k], of the embeddings.
        spots: [n, cells], in standard deviations of each cell.
    """

    scores: Floats
    coordinates: Floats
    spots: Floats

    def select(self, rows: slice) -> Placed:
        """Return some of them."""
        return Placed(scores=self.scores[rows], coordinates=self.coordinates[rows], spots=self.spots[rows])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Memory:
    """The latest m frames, at most `MEMORY`, and how much each counts: r, [m]."""

    placed: Placed
    relative: Floats

    def __len__(self) -> int:
        """M."""
        return len(self.relative)

    def after(self, placed: Placed, relative: Floats) -> Memory:
        """Take over further frames."""
        kept = slice(-MEMORY, None)
        before = self.placed
        return Memory(
            placed=Placed(
                scores=np.concatenate([before.scores, placed.scores])[kept],
                coordinates=np.concatenate([before.coordinates, placed.coordinates])[kept],
                spots=np.concatenate([before.spots, placed.spots])[kept],
            ),
            relative=np.concatenate([self.relative, relative])[kept],
        )

    def latest(self, frames: int) -> Memory:
        """Return the newest of them."""
        rows = slice(max(0, len(self) - frames), None)
        return Memory(placed=self.placed.select(rows), relative=self.relative[rows])

    @property
    def share(self) -> Floats:
        """How much each counts, summing to 1."""
        share: Floats = self.relative / self.relative.sum()
        return share
