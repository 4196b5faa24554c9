"""What else is used to notice drift, each at its usual settings, on the same captured samples.

1. Kolmogorov and Smirnov's test once a day, each measure at 5 %: what most monitoring does. With and without
   Bonferroni's correction over the measures.
2. The maximum mean discrepancy of the embeddings once a day, Gaussian kernel at the median distance, permutations, 5 %.
3. Page and Hinkley's test on novelty, frame by frame, with the usual defaults (delta 0.005, threshold 50, 30 frames).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from data.drift.memory import Placed
from data.drift.reference import SCORES

Floats = NDArray[np.float64]
_LEVEL = 0.05
_PERMUTATIONS = 199
_MOST = 200  # frames of either sample in a kernel matrix


class Peer(Protocol):
    """Sees window after window."""

    def see(self, placed: Placed, day: int) -> bool:
        """Return whether it alarms now."""


class Daily:
    """Gathers a day's frames and tests them when the day is over."""

    def __init__(self, reference: Placed) -> None:
        self.reference = reference
        self._parts: list[Placed] = []
        self._day: int | None = None

    def see(self, placed: Placed, day: int) -> bool:
        """Test the day before when a new one begins."""
        alarm = False
        if self._day is not None and day != self._day:
            alarm = self.differs(
                np.concatenate([part.scores for part in self._parts]),
                np.concatenate([part.coordinates for part in self._parts]),
            )
            self._parts = []
        self._day = day
        self._parts.append(placed)
        return alarm

    def differs(self, scores: Floats, coordinates: Floats) -> bool:
        """Return whether a day differs from the reference."""
        raise NotImplementedError


class DailyKs(Daily):
    """Rule 1."""

    def __init__(self, reference: Placed, *, corrected: bool) -> None:
        super().__init__(reference)
        self._level = _LEVEL / len(SCORES) if corrected else _LEVEL

    def differs(self, scores: Floats, coordinates: Floats) -> bool:
        """Test each measure."""
        usual = self.reference.scores
        return any(
            stats.ks_2samp(usual[:, i], scores[:, i], method="asymp").pvalue < self._level
            for i in range(scores.shape[1])
        )


class DailyMmd(Daily):
    """Rule 2."""

    def __init__(self, reference: Placed, *, seed: int) -> None:
        super().__init__(reference)
        self._random = np.random.default_rng(seed)

    def differs(self, scores: Floats, coordinates: Floats) -> bool:
        """Test the embeddings."""
        usual = self.reference.coordinates
        mine = usual[self._random.permutation(len(usual))[:_MOST]]
        both = np.concatenate([mine, coordinates[:_MOST]])
        square = np.square(both).sum(axis=1)
        distance = np.maximum(square[:, None] + square[None] - 2 * both @ both.T, 0.0)
        kernel = np.exp(-distance / np.median(distance))
        n, m = len(mine), len(both) - len(mine)
        sign = np.concatenate([np.full(n, 1.0 / n), np.full(m, -1.0 / m)])
        shuffled = np.array([self._random.permutation(sign) for _ in range(_PERMUTATIONS)])
        found = sign @ kernel @ sign
        others = np.einsum("pi,ij,pj->p", shuffled, kernel, shuffled, optimize=True)
        return bool((1 + (others >= found).sum()) / (_PERMUTATIONS + 1) < _LEVEL)


class PageHinkley:
    """Rule 3."""

    def __init__(self, *, delta: float = 0.005, threshold: float = 50.0, least: int = 30) -> None:
        self._delta, self._threshold, self._least = delta, threshold, least
        self._begin()

    def _begin(self) -> None:
        self._n, self._mean, self._sum, self._lowest = 0, 0.0, 0.0, 0.0

    def see(self, placed: Placed, day: int) -> bool:
        """Add the novelty of each frame; begin anew after an alarm."""
        alarm = False
        for value in placed.scores[:, SCORES.index("novelty")]:
            self._n += 1
            self._mean += (value - self._mean) / self._n
            self._sum += value - self._mean - self._delta
            self._lowest = min(self._lowest, self._sum)
            if self._n >= self._least and self._sum - self._lowest > self._threshold:
                alarm = True
                self._begin()
        return alarm
