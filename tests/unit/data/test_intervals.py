"""Statistics tested as statistics: fixed seeds, tolerances derived from the standard error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from data.intervals import (
    clopper_pearson,
    gamma_interval,
    horvitz_thompson,
    miss_statement,
    rate_interval,
    recall_interval,
)
from data.priority_sampling import priority_sample


def two_stage(
    rng: np.random.Generator, y: np.ndarray, weights: np.ndarray, captured: int, labelled: int
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and inclusion probabilities of a capture and a draw."""
    first = priority_sample(weights.tolist(), (1 - rng.random(len(y))).tolist(), captured)
    kept = np.flatnonzero(first.drawn)
    p1 = first.p[kept]
    second = priority_sample((weights[kept] / p1).tolist(), (1 - rng.random(len(kept))).tolist(), labelled)
    return y[kept][second.drawn], (p1 * second.p)[second.drawn]


def line(rng: np.random.Generator, frames: int, rate: float, informative: bool) -> tuple[np.ndarray, np.ndarray]:
    """Frames with defects, and weights as the sampler makes them: reasons plus the audit share 0.3."""
    y = (rng.random(frames) < rate).astype(float)
    reasons = (rng.random(frames) * 0.7 + (y * rng.random(frames) * 2 if informative else 0)) ** 3
    return y, reasons + 0.3 / 0.7 * reasons.mean()


CASES = {
    "one percent defects, two percent captured, a model that helps": (10_000, 0.01, 200, 200, True),
    "one percent defects, two percent captured, a model that does not": (10_000, 0.01, 200, 200, False),
    "half a percent, few frames": (2_000, 0.005, 300, 300, True),
    "a third of the frames defective, few labels": (400, 0.29, 120, 40, True),
    "a third of the frames defective, a model that does not help": (1_500, 0.29, 450, 150, False),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_rate_is_unbiased_and_its_interval_covers_the_truth(case: tuple[int, float, int, int, bool]) -> None:
    frames, rate, captured, labelled, informative = case
    rng = np.random.default_rng(20_30)
    repeats, covered, errors = 200, 0, []
    for _ in range(repeats):
        y, weights = line(rng, frames, rate, informative)
        labels, p = two_stage(rng, y, weights, captured, labelled)
        estimate = rate_interval(labels, p, frames)
        covered += estimate.low <= y.mean() <= estimate.high
        errors.append(estimate.value - y.mean())
        assert estimate.n == labelled
    assert abs(np.mean(errors)) < 4 * np.std(errors) / repeats**0.5
    # An interval that covers 95 % falls below this bound in one run of ten thousand.
    assert covered >= stats.binom.ppf(1e-4, repeats, 0.95)


def test_the_variance_estimate_is_unbiased() -> None:
    rng = np.random.default_rng(5)
    y, weights = line(rng, 300, 0.2, informative=True)
    totals, variances = [], []
    for _ in range(2000):
        sample = priority_sample(weights.tolist(), (1 - rng.random(300)).tolist(), 60)
        total, variance = horvitz_thompson(y[sample.drawn], sample.p[sample.drawn])
        totals.append(total)
        variances.append(variance)
    assert abs(np.mean(totals) - y.sum()) < 4 * np.std(totals) / 2000**0.5
    # Var(totals) has a relative standard error of about sqrt((kurtosis - 1) / repeats), below 3 % here.
    assert np.mean(variances) == pytest.approx(np.var(totals), rel=0.12)


def test_a_census_has_no_uncertainty() -> None:
    estimate = rate_interval([1, 0, 0, 1], [1.0] * 4, 4)
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == (0.5, 0.5, 0.5, 4)


def test_a_simple_random_sample_without_successes_gives_about_three_over_n() -> None:
    estimate = rate_interval(np.zeros(300), np.full(300, 0.01), 30_000)
    assert (estimate.value, estimate.low) == (0.0, 0.0)
    assert estimate.high == pytest.approx(clopper_pearson(0, 300)[1], rel=0.02)


def test_certain_successes_alone_do_not_make_the_rest_certain() -> None:
    # Ten defects kept for certain, and 90 of 9,990 others labelled at random without a defect.
    y, p = [1.0] * 10 + [0.0] * 90, [1.0] * 10 + [90 / 9_990] * 90
    estimate = rate_interval(y, p, 10_000)
    assert estimate.value == estimate.low == 0.001
    assert 0.03 < estimate.high < 0.06  # the rest: no success in 90


def test_nothing_labelled_is_not_a_rate() -> None:
    estimate = rate_interval([], [], 100)
    assert (estimate.to_dict()["value"], estimate.low, estimate.high, estimate.n) == (None, 0.0, 1.0, 0)


@given(
    items=st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.floats(1e-4, 1.0)), min_size=1, max_size=50),
    spare=st.integers(0, 10**6),
    level=st.floats(0.5, 0.999),
)
def test_an_interval_is_ordered_and_within_zero_and_one(
    items: list[tuple[float, float]], spare: int, level: float
) -> None:
    y, p = zip(*items, strict=True)
    estimate = rate_interval(y, p, len(items) + spare, level)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


@pytest.mark.parametrize("p", [[0.0], [1.5], [float("nan")], [0.5, 0.5]])
def test_impossible_probabilities_are_refused(p: list[float]) -> None:
    with pytest.raises(ValueError, match="probabilit"):
        horvitz_thompson([1.0], p)


def test_clopper_pearson_is_the_exact_interval() -> None:
    low, high = clopper_pearson(3, 50)
    assert stats.binom.sf(2, 50, low) == pytest.approx(0.025)
    assert stats.binom.cdf(3, 50, high) == pytest.approx(0.025)


def test_the_gamma_interval_covers_a_total_of_rare_misses() -> None:
    rng = np.random.default_rng(6)
    repeats, covered = 400, 0
    for _ in range(repeats):
        p = rng.uniform(0.05, 0.5, 2_000)
        y = (rng.random(2_000) < 0.004).astype(float)
        seen = rng.random(2_000) < p
        low, high = gamma_interval(y[seen], p[seen])
        covered += low <= y.sum() <= high
    assert covered >= stats.binom.ppf(1e-4, repeats, 0.95)


def test_with_unit_weights_the_gamma_interval_is_the_poisson_interval() -> None:
    low, high = gamma_interval([1.0] * 4 + [0.0] * 6, [1.0] * 10)
    assert (low, high) == pytest.approx((stats.chi2.ppf(0.025, 8) / 2, stats.chi2.ppf(0.975, 10) / 2))


def test_recall_is_bounded_by_what_may_have_been_missed() -> None:
    value, low, high = recall_interval(90, [1.0, 0.0, 0.0], [0.1, 0.1, 0.1])
    assert value == pytest.approx(0.9)
    assert 0.5 < low < value < high <= 1
    assert low == pytest.approx(90 / (90 + gamma_interval([1.0, 0.0, 0.0], [0.1, 0.1, 0.1])[1]))


def test_misses_are_put_into_words() -> None:
    assert "fewer than 1 %" in miss_statement(0, 300)
    assert "too few" in miss_statement(0, 2)
    assert miss_statement(2, 300) == "2 of 300 passed frames checked were misses"
    assert miss_statement(0, 0) == "no passed frame was checked yet"
