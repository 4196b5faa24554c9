"""Runs of near-duplicates: a stopped belt, or several frames of one part.

1. Frames with a part id belong to the run of that part id, while the part is among the last few seen.
2. A frame without one belongs to the run of the frame before it if the cosine distance of their embeddings is below a
   limit and both come from engines with the same embedding id; else it begins a run.
"""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_REMEMBERED_PARTS = 64  # cameras of one station may interleave parts; more than this is a new visit


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a frame stands: it is the `k`-th (from 1) of run number `run`."""

    run: int
    k: int


class Runs:
    """Finds the run of each frame.

    Args:
        duplicate_distance: Cosine distance below which a frame repeats the one before.
        first_run: Number of the first run.
    """

    def __init__(self, *, duplicate_distance: float, first_run: int = 0) -> None:
        self._distance = duplicate_distance
        self._next = first_run
        self._parts: OrderedDict[str, Place] = OrderedDict()
        self._last: Place | None = None
        self._last_embedding: NDArray[np.float32] | None = None
        self._embedding_id = ""

    def place(self, part_id: str | None, embedding: NDArray[np.float32], embedding_id: str) -> Place:
        """Return the run of the next frame.

        Args:
            part_id: The part, where known.
            embedding: float32 [D], length 1.
            embedding_id: Which space it is in.
        """
        if part_id is not None:
            before = self._parts.pop(part_id, None)
            place = self._following(before)
            self._parts[part_id] = place
            while len(self._parts) > _REMEMBERED_PARTS:
                self._parts.popitem(last=False)
            self._last_embedding = None
            return place
        place = self._following(self._last if self._repeats(embedding, embedding_id) else None)
        self._last, self._last_embedding, self._embedding_id = place, embedding, embedding_id
        return place

    def _repeats(self, embedding: NDArray[np.float32], embedding_id: str) -> bool:
        before = self._last_embedding
        if before is None or embedding_id != self._embedding_id or before.shape != embedding.shape:
            return False
        return 1.0 - float(before.dot(embedding)) < self._distance

    def _following(self, before: Place | None) -> Place:
        if before is not None:
            return Place(run=before.run, k=before.k + 1)
        self._next += 1
        return Place(run=self._next - 1, k=1)
