"""The captured samples of a device as arrays: what drift is looked for in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pictures:
    """n samples of the probability sample, in the order in which they were captured.

    Attributes:
        day: Number of the day (UTC) on the device's clock, int64 [n].
        p: Inclusion probability, float64 [n].
        least: Least inclusion probability that a frame of the sample's window had, float64 [n], at most p.
        quality: float64 [n, 4], in the order of :data:`data.drift.quality.MEASURES`.
        spots: float32 [n, cells].
        embeddings: float32 [n, D].
    """

    day: NDArray[np.int64]
    p: NDArray[np.float64]
    least: NDArray[np.float64]
    quality: NDArray[np.float64]
    spots: NDArray[np.float32]
    embeddings: NDArray[np.float32]

    def __len__(self) -> int:
        """N."""
        return len(self.p)

    @property
    def relative(self) -> NDArray[np.float64]:
        """R = p_least/p in (0, 1]: a frame that the sampler sought counts for less (data/drift/evidence.py, rule 2)."""
        return np.minimum(self.least / self.p, 1.0)

    def select(self, rows: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Pictures:
        """Return some of them."""
        return Pictures(
            day=self.day[rows],
            p=self.p[rows],
            least=self.least[rows],
            quality=self.quality[rows],
            spots=self.spots[rows],
            embeddings=self.embeddings[rows],
        )


def least_chance(
    p: Sequence[float], weights: Sequence[float], audit: Sequence[float | None], threshold: float
) -> float:
    """The least chance that a frame of a window had to be kept.

    Every frame weighs at least the audit share a, so its chance is at least min(1, a/τ).

    Args:
        p: Of the window's counted samples, at least one.
        weights: Of the same.
        audit: The part of each weight that every frame has, as the device told it; None where it did not.
        threshold: τ of the window.

    >>> least_chance([0.2, 1.0], [1.0, 9.0], [0.5, 0.5], 5.0)
    0.1
    """
    if threshold <= 0:
        return 1.0
    floors = [w if a is None else min(a, w) for a, w in zip(audit, weights, strict=True)]
    return min(1.0, min(floors) / threshold, *p)
