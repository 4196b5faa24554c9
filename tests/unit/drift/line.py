"""A made-up line: pictures as arrays, with days that differ."""

from __future__ import annotations

import numpy as np

from data.drift.pictures import Pictures
from data.drift.quality import GRID

WIDTH = 24
WINDOWS_A_DAY, CAPTURED = 8, 10


class Line:
    """Frames with four measures, spots and embeddings; `seek` is how much oftener odd frames are captured."""

    def __init__(self, seed: int, *, day_sd: float = 0.1) -> None:
        self.rng = np.random.default_rng(seed)
        self.day_sd = day_sd
        self.day = -1

    def windows(self, days: int, *, light: float = 0.0, blur: float = 0.0, new: float = 0.0, dirt: float = 0.0):  # type: ignore[no-untyped-def]
        """Windows of whole days; each change in standard deviations of single frames."""
        for _ in range(days):
            self.day += 1
            today = self.day_sd * self.rng.standard_normal(4)
            for _ in range(WINDOWS_A_DAY):
                yield self._window(today, light, blur, new, dirt)

    def _window(self, today: np.ndarray, light: float, blur: float, new: float, dirt: float) -> Pictures:
        rng, n = self.rng, CAPTURED
        quality = np.array([5.0, -0.4, -0.7, 0.0]) + 0.15 * (rng.standard_normal((n, 4)) + today)
        quality[:, 0] += 0.15 * light
        quality[:, 2] -= 0.15 * blur
        quality[:, 3] = 0.0
        spots = 0.1 * rng.standard_normal((n, GRID * GRID)).astype(np.float32)
        spots[:, 40] -= 0.1 * dirt
        embeddings = rng.standard_normal((n, WIDTH)).astype(np.float32)
        embeddings[:, :3] *= 2
        embeddings[:, 5] += new
        return Pictures(
            day=np.full(n, self.day, dtype=np.int64), p=np.full(n, 0.02), least=np.full(n, 0.02), quality=quality,
            spots=spots, embeddings=embeddings,
        )  # fmt: skip


def joined(windows: list[Pictures]) -> Pictures:
    return Pictures(**{name: np.concatenate([getattr(w, name) for w in windows]) for name in Pictures.__slots__})
