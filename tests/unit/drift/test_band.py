from __future__ import annotations

import numpy as np
import pytest

from data.drift.band import daily_means, upper_edges


def test_a_days_mean_is_weighted_by_inclusion_probability() -> None:
    payoffs = np.array([[1.0], [0.0], [0.0], [1.0]])
    means, variances = daily_means(payoffs, np.array([0.5, 0.25, 1.0, 1.0]), np.array([1, 1, 2, 2]))
    assert means.ravel().tolist() == pytest.approx([2 / 6, 0.5])
    share = np.array([2 / 6, 4 / 6])
    assert variances[0, 0] == pytest.approx(2 * (share**2 @ (np.array([1.0, 0.0]) - 2 / 6) ** 2))


def test_days_that_differ_by_chance_of_sampling_alone_make_a_narrow_band() -> None:
    rng = np.random.default_rng(4)
    means = 0.5 + rng.normal(0, 0.05, (20, 400))
    narrow = upper_edges(means, np.full(means.shape, 0.05**2), outside=1e-4, tolerance=0.0)
    wide = upper_edges(means, np.zeros(means.shape), outside=1e-4, tolerance=0.0)
    assert np.median(narrow) < 0.5 + 0.4 * (np.median(wide) - 0.5)


def test_a_further_day_lies_above_the_edge_as_seldom_as_asked() -> None:
    rng = np.random.default_rng(5)
    n = 20_000
    means = rng.normal(0.5, 0.04, (8, n))  # known exactly: no sampling
    beyond = rng.normal(0.5, 0.04, n) > upper_edges(means, np.zeros(means.shape), outside=0.02, tolerance=0.0)
    assert beyond.mean() == pytest.approx(0.02, abs=4 * (0.02 / n) ** 0.5)


def test_the_edge_is_widened_by_the_tolerance_and_never_passes_one() -> None:
    means = np.array([[0.5, 0.999], [0.5, 0.999]])
    assert upper_edges(means, np.zeros((2, 2)), outside=0.01, tolerance=0.02).tolist() == [0.52, 1.0]


def test_one_day_makes_no_band() -> None:
    with pytest.raises(ValueError, match="at least 2 days, found 1"):
        upper_edges(np.array([[0.5]]), np.array([[0.0]]), outside=0.01, tolerance=0.0)
