"""A line of solar cells over months: lots and lamps differ from day to day, a device captures 2 % by priority sampling.

Each day has its own mix of lots, share of defects and exposure; a window's frames are drawn from that day's mix, and
ten of its 500 frames are captured with the weights that a device would give them. That is what is usual; nothing of it
is drift.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.drift_cells import HIGH, LOTS, LOW, Cells, Frames
from data.drift.pictures import Pictures
from data.drift.rates import WindowCounts

FRAMES, CAPTURED = 500, 10  # of a window: 2 % is kept
WINDOWS_A_DAY = 20
EXPOSURE_SD = 0.012  # of a day's exposure around its mean
DEFECTS, DEFECTS_SD = 0.05, 0.015  # share of defective cells, and how it varies between days
LOT_WEIGHT = 25.0  # of the Dirichlet that mixes lots: a lot of a sixth varies by 7 points from day to day
AUDIT = 0.3
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """One window: what was captured, and what the record says of all frames."""

    pictures: Pictures
    counts: WindowCounts
    day: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What is usual today: chance of each cell, and exposure."""

    chance: NDArray[np.float64]
    exposure: float


class Line:
    """One line; `seed` makes its days and frames."""

    def __init__(self, cells: Cells, seed: int) -> None:
        self._cells = cells
        self._random = np.random.default_rng(seed)
        self._mix = self._random.dirichlet(np.full(LOTS, 8.0))  # lines differ
        self._day = -1

    def days(self, count: int, *, later: bool, change: str | None = None, begins: int = 0) -> Iterator[Window]:
        """Yield the windows of some days.

        Args:
            count: How many days.
            later: Whether they come after the reference: its images are then not met again.
            change: What is changed; None is nothing.
            begins: From this window on.
        """
        number = 0
        for _ in range(count):
            self._day += 1
            today = self._today()
            for _ in range(WINDOWS_A_DAY):
                yield self._window(today, later, change if number >= begins else None)
                number += 1

    def _today(self) -> Day:
        cells, random = self._cells, self._random
        mix = random.dirichlet(LOT_WEIGHT * self._mix)
        share = float(np.clip(random.normal(DEFECTS, DEFECTS_SD), 0.01, 0.15))
        chance = np.zeros(len(cells.lot))
        for bad, part in ((True, share), (False, 1 - share)):
            chosen = cells.defect == bad
            sizes = np.bincount(cells.lot[chosen], minlength=LOTS)
            wanted = np.where(sizes > 0, mix, 0.0)
            chance[chosen] = part * (wanted / wanted.sum() / np.maximum(sizes, 1))[cells.lot[chosen]]
        return Day(chance=chance / chance.sum(), exposure=float(random.normal(1.0, EXPOSURE_SD)))

    def _window(self, today: Day, later: bool, change: str | None) -> Window:
        cells, random = self._cells, self._random
        source, offset = self._source(today, later, change)
        if change == "polycrystalline":
            rows = random.integers(0, len(source[0].probability), FRAMES)
        else:
            rows = np.minimum(np.searchsorted(np.cumsum(today.chance), random.random(FRAMES)), len(cells.lot) - 1)
        share = float(np.clip((today.exposure - LOW) / (HIGH - LOW), 0.0, 1.0)) if len(source) == 2 else 0.0
        p = (1 - share) * source[0].probability[rows] + share * source[-1].probability[rows]
        anomaly = (1 - share) * source[0].anomaly[rows] + share * source[-1].anomaly[rows]
        weight, audit = _weights(p, anomaly)
        priority = weight / (1.0 - random.random(FRAMES))
        order = np.argsort(-priority)
        kept, threshold = np.sort(order[:CAPTURED]), float(priority[order[CAPTURED]])
        chosen = rows[kept]
        frames = source[0].select(chosen)
        if len(source) == 2:
            frames = frames.towards(source[1].select(chosen), share)
        quality = frames.quality.copy()
        quality[:, 0] += offset
        chance = np.minimum(1.0, weight[kept] / threshold)
        return Window(
            pictures=Pictures(
                day=np.full(CAPTURED, self._day, dtype=np.int64),
                p=chance,
                least=np.full(CAPTURED, min(1.0, audit / threshold)),
                quality=quality,
                spots=frames.spots,
                embeddings=frames.embeddings,
            ),
            counts=WindowCounts(
                day=self._day,
                frames=FRAMES,
                counts={
                    "class defect": int((p >= 0.5).sum()),
                    "class ok": int((p < 0.5).sum()),
                    "anomaly above the threshold": int((anomaly >= 1.0).sum()),
                },
            ),
            day=self._day,
        )

    def _source(self, today: Day, later: bool, change: str | None) -> tuple[tuple[Frames, ...], float]:
        """Frames to draw from, and what the day's exposure adds to the log of brightness beyond them."""
        if change is None:
            return self._cells.usual[int(later)], 0.0
        return (self._cells.changed[change],), float(np.log(today.exposure))


def _weights(p: NDArray[np.float64], anomaly: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Sampling weights by the device's rules for uncertain, anomalous and rare frames, and the audit part of each."""
    anomalous = np.clip((anomaly - 0.7) / 0.6, 0.0, 1.0)
    reasons = np.square([1 - np.abs(2 * p - 1), anomalous, p])
    parts = reasons / np.maximum(reasons.mean(axis=1, keepdims=True), 1 / 20)
    parts[1] *= 1.0 - anomalous.mean()
    plain = parts.sum(axis=0)
    audit = AUDIT / (1 - AUDIT) * float(plain.mean())
    return plain + audit, audit
