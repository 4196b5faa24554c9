"""Small cases by enumeration of every sample, larger ones as statistics with tolerances from the standard error."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from data.difference import (
    Auxiliary,
    Total,
    effective_n,
    estimate_total,
    power_tuning,
    presumed,
    share_of,
    sum_of,
    weighted_events,
)
from data.intervals import gamma_interval, horvitz_thompson, typical_weight
from data.priority_sampling import priority_sample

Y = np.array([1.0, 0.0, 1.0, 0.0, 0.0, 1.0])
P = np.array([0.9, 0.3, 0.4, 0.5, 0.2, 0.7])


def every_sample() -> Iterator[tuple[float, np.ndarray]]:
    """All samples of the six frames drawn independently, each with its chance."""
    for taken in itertools.product([False, True], repeat=len(P)):
        here = np.array(taken)
        yield float(np.prod(np.where(here, P, 1 - P))), here


def auxiliary(m: np.ndarray, here: np.ndarray, group: np.ndarray | None = None) -> Auxiliary:
    groups = np.zeros(len(m), dtype=np.int64) if group is None else group
    totals = np.array([m[groups == g].sum() for g in range(int(groups.max()) + 1)])
    return Auxiliary(score=m[here], group=groups[here], totals=totals)


def test_without_a_score_it_is_horvitz_and_thompson_and_both_are_unbiased() -> None:
    mean = square = variance = 0.0
    for chance, here in every_sample():
        total = estimate_total(Y[here], P[here], size=6)
        value, spread = horvitz_thompson(Y[here], P[here])
        assert (total.value, total.variance) == (pytest.approx(value), pytest.approx(spread))
        mean += chance * total.value
        square += chance * total.value**2
        variance += chance * total.variance
    assert mean == pytest.approx(Y.sum())
    assert variance == pytest.approx(square - mean**2)


def test_a_score_that_is_right_but_for_a_factor_leaves_nothing_to_estimate() -> None:
    m, group = np.where(Y > 0, 0.4, 0.0) * np.array([1, 1, 1, 1, 1, 0.5]), np.array([0, 0, 0, 0, 0, 1])
    for _, here in every_sample():
        if np.count_nonzero(here[group == 0] & (Y[group == 0] > 0)) < 2 or not here[5]:
            continue
        total = estimate_total(Y[here][:-1], P[here][:-1], size=5, known=auxiliary(m[:5], here[:5]))
        assert total.value == pytest.approx(2.0)
        assert total.variance == pytest.approx(0.0)


def test_what_is_known_of_all_frames_enters_as_a_difference_whose_mean_is_zero() -> None:
    m, mean = np.array([0.9, 0.2, 0.5, 0.3, 0.1, 0.8]), 0.0
    for chance, here in every_sample():
        total = estimate_total(Y[here], P[here], size=6, known=auxiliary(m, here))
        difference = m.sum() - horvitz_thompson(m[here], P[here])[0]
        tuned = total.coefficients[0] if total.coefficients else 0.0
        assert total.value == pytest.approx(horvitz_thompson(Y[here], P[here])[0] + tuned * difference)
        mean += chance * difference
    assert mean == pytest.approx(0.0, abs=1e-12)  # so that any fixed λ leaves the estimate unbiased


def line(rng: np.random.Generator, frames: int, rate: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, calibrated probability, and weights that look for defects, with an audit share."""
    y = (rng.random(frames) < rate).astype(float)
    x = rng.normal(0, 1, frames) + 3 * y
    m = 1 / (1 + np.exp(-(3 * x - 4.5 + np.log(rate / (1 - rate)))))
    reasons = (1 - np.abs(2 * m - 1)) ** 2 + 0.25 * m**2
    return y, m, reasons + 0.3 / 0.7 * reasons.mean()


def drawn(rng: np.random.Generator, weights: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    sample = priority_sample(weights.tolist(), (1 - rng.random(len(weights))).tolist(), n)
    return sample.drawn, sample.p[sample.drawn]


def parts(y: np.ndarray, m: np.ndarray, score: np.ndarray, here: np.ndarray, p: np.ndarray) -> Total:
    """The two sides, as the field's rate is estimated."""
    stopped = m >= 0.3
    sides = []
    for side in (stopped, ~stopped):
        mine, within = side[here], np.flatnonzero(side)
        known = Auxiliary(
            score=score[here][mine], group=np.zeros(int(mine.sum()), dtype=np.int64),
            totals=np.array([score[within].sum()]),
        )  # fmt: skip
        unseen = None if not sides else presumed(sides[0], p[mine])
        sides.append(estimate_total(y[here][mine], p[mine], size=len(within), known=known, unseen=unseen))
    return sum_of(sides)


@pytest.mark.parametrize(
    ("distort", "least_gain", "most_gain"),
    [(lambda m: m, 0.2, 1.0), (lambda m: m**0.3, 0.2, 1.0), (lambda m: np.sin(1e5 * m) ** 2, 0.2, 1.1)],
    ids=["calibrated", "badly calibrated", "says nothing"],
)
def test_it_is_unbiased_and_never_worse_in_the_long_run(distort, least_gain: float, most_gain: float) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(11)
    y, m, weights = line(rng, 1_500, 0.08)
    values, plain, variances, repeats = [], [], [], 160
    for _ in range(repeats):
        here, p = drawn(rng, weights, 150)
        total = parts(y, m, distort(m), here, p)
        values.append(total.value)
        variances.append(total.variance)
        plain.append(horvitz_thompson(y[here], p)[0])
    assert abs(np.mean(values) - y.sum()) < 4 * np.std(values) / repeats**0.5
    # The ratio of two variances of 160 paired draws has a standard error of about 0.1.
    assert least_gain < np.var(values) / np.var(plain) < most_gain
    # Leaving one out makes the variance estimate err on the safe side, by about one over the labels of a group.
    assert 0.7 < np.mean(variances) / np.var(values) < 1.5


def test_its_interval_covers_few_and_many_defects() -> None:
    rng = np.random.default_rng(12)
    for frames, rate, n in ((3_000, 0.004, 100), (1_500, 0.05, 120)):
        held, repeats = 0, 80
        for _ in range(repeats):
            y, m, weights = line(rng, frames, rate)
            here, p = drawn(rng, weights, n)
            total = parts(y, m, m**0.5, here, p)
            held += total.low <= y.sum() <= total.high
        # An interval that covers 95 % falls below this bound in one run of ten thousand.
        assert held >= stats.binom.ppf(1e-4, repeats, 0.95)


def test_tuning_makes_the_variance_least_and_leaves_each_label_out_in_turn() -> None:
    rng = np.random.default_rng(3)
    y, m, p = (rng.random(30) < 0.5).astype(float), 0.2 + 0.6 * rng.random(30), rng.uniform(0.1, 0.9, 30)
    a = (1 - p) / p**2
    grid = np.linspace(0, 1.2, 2401)
    best = grid[np.argmin([np.sum(a * (y - share * m) ** 2) for share in grid])]
    tuned, others = power_tuning(y, p, m)
    for i in (0, 7):
        rest = np.arange(30) != i
        left_out = np.sum((a * m * y)[rest]) / np.sum((a * m * m)[rest])
        assert others[i] / tuned == pytest.approx(left_out / best, rel=2e-3)
    assert 0.5 * best < tuned <= best  # shrunk


def test_what_rests_on_one_label_is_not_believed() -> None:
    y = np.array([1.0, 0.0, 0.0, 0.0])
    tuned, others = power_tuning(y, np.full(4, 0.1), np.array([0.3, 0.01, 0.01, 0.01]))
    assert (tuned, others.tolist()) == (0.0, [0.0] * 4)
    assert power_tuning(y, np.ones(4), np.full(4, 0.5))[0] == 0.0  # known for certain: nothing to tune


def test_a_census_has_no_uncertainty() -> None:
    total = estimate_total([1, 0, 0, 1], [1.0] * 4, size=4)
    assert (total.value, total.low, total.high) == (2.0, 2.0, 2.0)
    assert estimate_total([1, 0], [1.0] * 2, size=100).high > 2  # others were not looked at


def test_frames_of_which_none_is_labelled_may_all_be_defects() -> None:
    total = estimate_total([], [], size=7)
    assert (total.value, total.low, total.high) == (0.0, 0.0, 7.0)


def test_unit_weights_give_the_exact_and_the_mid_p_interval_of_poisson() -> None:
    low, high = weighted_events(6.0, 6.0, 1.0, 0.025, careful=True)
    assert (low, high) == pytest.approx(gamma_interval([1.0] * 6, [1.0] * 6))
    low, high = weighted_events(6.0, 6.0, 1.0, 0.025)
    assert stats.poisson.cdf(5, high) + 0.5 * stats.poisson.pmf(6, high) == pytest.approx(0.025)
    assert stats.poisson.sf(6, low) + 0.5 * stats.poisson.pmf(6, low) == pytest.approx(0.025)
    assert weighted_events(0.0, 0.0, 1.0, 0.025)[1] == pytest.approx(-np.log(0.05))  # three, of none seen


def test_what_was_not_seen_weighs_as_a_typical_frame_unless_many_were_stopped() -> None:
    p = np.full(50, 0.01)
    none, some, many = (
        Total(value=v, below=0.0, above=0.0, found=k, variance=0.0) for v, k in ((0.0, 0), (12.0, 4), (200.0, 100))
    )
    assert typical_weight(p) == pytest.approx(100)
    assert effective_n(p) == pytest.approx(50)
    assert presumed(none, p) == pytest.approx(100)
    assert 40 < presumed(some, p) < 60
    assert presumed(many, p) == pytest.approx(200 / 3, rel=0.08)


def test_the_share_of_two_parts_agrees_with_a_search_over_all_shares() -> None:
    part = Total(value=40.0, below=9.0, above=12.0, found=20, variance=25.0)
    rest = Total(value=10.0, below=6.0, above=30.0, found=1, variance=100.0)
    value, low, high = share_of(part, rest)
    shares = np.linspace(0.001, 0.999, 99_801)
    gap = shares * 10 - (1 - shares) * 40
    inside = (gap + np.hypot(shares * 30, (1 - shares) * 9) >= 0) & (gap - np.hypot(shares * 6, (1 - shares) * 12) <= 0)
    assert value == pytest.approx(0.8)
    assert (low, high) == pytest.approx((shares[inside].min(), shares[inside].max()), abs=1e-4)


def test_with_no_miss_found_recall_may_be_one() -> None:
    part = Total(value=40.0, below=9.0, above=12.0, found=20, variance=25.0)
    value, low, high = share_of(part, Total(value=0.0, below=0.0, above=30.0, found=0, variance=0.0))
    assert (value, high) == (1.0, 1.0)
    assert 0.5 < low < 0.6


@settings(max_examples=50, deadline=None)
@given(
    items=st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.floats(1e-3, 1.0), st.floats(0, 1)), max_size=40),
    spare=st.integers(0, 10**5),
    level=st.floats(0.5, 0.999),
    careful=st.booleans(),
)
def test_an_interval_is_ordered_and_holds_what_was_found(
    items: list[tuple[float, float, float]], spare: int, level: float, careful: bool
) -> None:
    y, p, m = (np.array([item[i] for item in items]) for i in range(3))
    known = Auxiliary(score=m, group=np.zeros(len(m), dtype=np.int64), totals=np.array([m.sum() + 0.1 * spare]))
    total = estimate_total(y, p, size=len(items) + spare, known=known, level=level, careful=careful)
    assert total.found <= total.low <= max(total.high, total.low)
    assert total.low <= max(total.value, total.found) <= total.high + 1e-9
    assert np.isfinite([total.value, total.low, total.high]).all()


@pytest.mark.parametrize("p", [[0.0], [1.5], [float("nan")], [0.5, 0.5]])
def test_impossible_probabilities_are_refused(p: list[float]) -> None:
    with pytest.raises(ValueError, match="probabilit"):
        estimate_total([1.0], p, size=1)


@pytest.mark.parametrize("size", [1e-200, 1e-160, 1e-12, 1e-6])
def test_scores_of_any_size_tune(size: float) -> None:
    y, p = np.array([1.0, 0.0, 1.0]), np.full(3, 0.5)
    tuned, others = power_tuning(y, p, np.full(3, size))
    assert np.isfinite([tuned, *others]).all()
    known = Auxiliary(score=np.full(3, size), group=np.zeros(3, dtype=np.int64), totals=np.array([6 * size]))
    total = estimate_total(y, p, size=6, known=known)
    assert total.low <= 4.0 <= total.high
