from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.cluster_sampling import units_of
from data.intervals import horvitz_thompson, rate_interval
from data.priority_sampling import priority_sample


@given(seed=st.integers(0, 2**32), n=st.integers(1, 30))
def test_a_group_of_one_is_the_frame_itself(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    p1, p2, y = rng.uniform(0.1, 1, n), rng.uniform(0.1, 1, n), rng.integers(0, 2, n)
    units = units_of(y, p1 * p2, p2, [f"{i:03d}" for i in range(n)])
    assert units.probabilities == pytest.approx(p1 * p2)
    assert units.values == pytest.approx(y)
    assert units.frames == pytest.approx(np.ones(n))


@given(seed=st.integers(0, 2**32))
def test_units_have_the_total_and_the_variance_of_the_groups(seed: int) -> None:
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(6), rng.integers(1, 5, 6))
    p2 = rng.uniform(0.1, 1, 6)[group]
    p1, y = rng.uniform(0.1, 1, len(group)), rng.integers(0, 2, len(group)).astype(float)
    units = units_of(y, p1 * p2, p2, [str(g) for g in group])
    expected = 0.0
    for g in range(6):
        here, second = group == g, p2[group == g][0]
        total = np.sum(y[here] / p1[here])
        expected += np.sum(y[here] ** 2 * (1 - p1[here]) / p1[here] ** 2) / second + total**2 * (1 - second) / second**2
    total, variance = horvitz_thompson(units.values, units.probabilities)
    assert total == pytest.approx(np.sum(y / (p1 * p2)))
    assert variance == pytest.approx(expected)
    assert np.sum(units.frames / units.probabilities) == pytest.approx(np.sum(1 / (p1 * p2)))


class Belt:
    """Frames in runs; the first stage keeps single frames, the second draws what was kept of a run as one."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        sizes = self.rng.integers(1, 9, 150)
        self.run = np.repeat(np.arange(150), sizes)
        self.n = len(self.run)
        bad = self.rng.random(150) < 0.2
        self.y = bad[self.run].astype(float)
        self.y[self.rng.random(self.n) < 0.03] = 1.0  # not all frames of a run are alike
        self.weight = self.rng.gamma(2.0, size=self.n) + 0.3 * self.y + 0.2

    def draw(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
        first = priority_sample(self.weight.tolist(), (1 - self.rng.random(self.n)).tolist(), self.n // 3)
        kept = np.flatnonzero(first.drawn)
        runs, of_run = np.unique(self.run[kept], return_inverse=True)
        score = np.zeros(len(runs))
        np.maximum.at(score, of_run, self.weight[kept] / first.p[kept])
        second = priority_sample(score.tolist(), (1 - self.rng.random(len(runs))).tolist(), 30)
        rows = kept[second.drawn[of_run]]
        p2 = second.p[of_run[second.drawn[of_run]]]
        return self.y[rows], first.p[rows] * p2, p2, [str(r) for r in self.run[rows]]


def test_totals_are_unbiased_and_so_is_their_variance_where_frame_by_frame_it_is_too_small() -> None:
    belt = Belt(8)
    totals, variances, plain = [], [], []
    for _ in range(1200):
        y, p, p2, groups = belt.draw()
        units = units_of(y, p, p2, groups)
        total, variance = horvitz_thompson(units.values, units.probabilities)
        assert total == pytest.approx(np.sum(y / p))
        totals.append(total)
        variances.append(variance)
        plain.append(horvitz_thompson(y, p)[1])
    true_variance = np.var(totals)
    assert abs(np.mean(totals) - belt.y.sum()) < 4 * (true_variance / 1200) ** 0.5
    # Both means have a relative standard error below 0.05 (of the variance itself: sqrt(2/1200) = 0.041).
    assert np.mean(variances) == pytest.approx(true_variance, rel=0.16)
    assert np.mean(plain) < 0.75 * true_variance


def test_the_interval_covers_with_runs_drawn_as_one() -> None:
    covered, n = 0, 0
    for seed in range(60):
        belt = Belt(100 + seed)
        for _ in range(5):
            y, p, p2, groups = belt.draw()
            units = units_of(y, p, p2, groups)
            rate = rate_interval(units.values, units.probabilities, belt.n, frames=units.frames)
            covered += rate.low <= belt.y.mean() <= rate.high
            n += 1
            assert rate.n == len(set(groups))
    # Five draws of one belt are not quite independent: allow for a standard error of 60 belts.
    assert covered / n > 0.95 - 3 * (0.95 * 0.05 / 60) ** 0.5


def test_a_fully_drawn_belt_is_known_exactly() -> None:
    y = [1, 1, 0, 0, 0]
    units = units_of(y, [1.0] * 5, [1.0] * 5, ["a", "a", "b", "c", "c"])
    rate = rate_interval(units.values, units.probabilities, 5, frames=units.frames)
    assert (rate.value, rate.low, rate.high, rate.n) == (0.4, 0.4, 0.4, 3)
