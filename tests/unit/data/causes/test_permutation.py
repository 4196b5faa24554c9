"""Statistics tested as statistics: exact small cases, and the null distribution under informative sampling."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product
from typing import Any

import numpy as np
import pytest
from scipy import stats

from data.causes.permutation import at_first_sight, comparable, permutation_tests
from data.causes.strata import Rows, between, share_within, stretches
from data.priority_sampling import priority_sample

STEADY = 0.1


def rows(scores: Any, truth: Any, weight: Any, strata: Any) -> Rows:
    return Rows(
        scores=np.asarray(scores, dtype=float).reshape(len(truth), -1),
        truth=np.asarray(truth, dtype=float)[:, None],
        weight=np.asarray(weight, dtype=float),
        strata=np.asarray(strata),
    )


def by_the_book(s: np.ndarray, y: np.ndarray, w: np.ndarray) -> tuple[float, float]:
    """T and V of one stratum, written as rule 1 has them: over pairs."""
    n = len(s)
    total = sum(w[i] * w[j] * (y[i] - y[j]) * (s[i] - s[j]) for i in range(n) for j in range(i)) / n
    e = w.sum() / n * w * (y - np.average(y, weights=w))
    return total, float((e**2 * (s - np.average(s, weights=w)) ** 2).sum())


def exact_p(strata: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """t and p over every deal of (w, y) to the scores of each stratum."""
    per_stratum = [
        [by_the_book(s, y[list(order)], w[list(order)]) for order in permutations(range(len(s)))] for s, y, w in strata
    ]
    deals = [(sum(t for t, _ in deal), sum(v for _, v in deal)) for deal in product(*per_stratum)]
    under_dealing = np.mean([t**2 for t, _ in deals])  # the mean of T is 0
    squared = np.array([t**2 / (v + STEADY * under_dealing) for t, v in deals])
    return float(squared[0] ** 0.5), float(np.mean(squared >= squared[0] * (1 - 1e-9)))


def test_the_statistic_and_its_p_value_are_those_of_every_deal() -> None:
    random = np.random.default_rng(1)
    strata = [
        (random.normal(size=4), np.array([1.0, 0.0, 0.0, 1.0]), random.uniform(0.5, 4, 4)),
        (random.normal(size=3), np.array([0.0, 1.0, 0.0]), random.uniform(0.5, 4, 3)),
        (random.normal(size=4), np.array([0.0, 1.0, 0.3, 0.0]), random.uniform(0.5, 4, 4)),
    ]
    told = rows(
        np.concatenate([s for s, _, _ in strata]),
        np.concatenate([y for _, y, _ in strata]),
        np.concatenate([w for _, _, w in strata]),
        [7] * 4 + [2] * 3 + [5] * 4,
    )
    t, p = exact_p(strata)
    found = permutation_tests(told, 0, [1], random=np.random.default_rng(2), most=20_000)[0]
    assert found.t == pytest.approx(t)
    # 250 deals of each stratum stand for its 24 or 6: a finite pool, so a wider tolerance than the binomial's.
    assert abs(found.p - p) < 4 * (p * (1 - p) / 250) ** 0.5
    alone = rows(*strata[0], [0] * 4)
    t, p = exact_p(strata[:1])
    found = permutation_tests(alone, 0, [1], random=np.random.default_rng(2), most=2_000)[0]
    assert found.t == pytest.approx(t)
    assert abs(found.p - p) < 4 * (p * (1 - p) / 200) ** 0.5


def test_the_largest_of_a_variables_columns_counts_and_pays_for_the_others() -> None:
    random = np.random.default_rng(3)
    y = np.repeat([1.0, 0.0], 20)
    strong = y + random.normal(0, 0.5, 40)
    noise = random.normal(size=(40, 9))
    strata = np.arange(40) % 4
    told = rows(np.column_stack([noise, strong, noise[:, :1]]), y, np.ones(40), strata)
    several, alone = permutation_tests(told, 0, [10, 1], random=np.random.default_rng(4), most=5_000)
    assert (several.column, several.sign) == (9, 1)
    assert several.p < 0.01
    assert alone.p > 0.05
    falling = permutation_tests(
        rows(-strong, y, np.ones(40), strata), 0, [1], random=np.random.default_rng(4), most=500
    )
    assert falling[0].sign == -1


def test_so_many_strata_that_variables_are_tested_a_few_at_a_time_change_nothing_but_the_deals() -> None:
    random = np.random.default_rng(9)
    n = 12_000  # 6,000 strata: four columns fit at a time
    y, strata = (random.random(n) < 0.5).astype(float), np.arange(n) // 2
    scores = random.normal(size=(n, 7)) + np.array([0.1, 0, 0, 0, 0, 0, 0.1]) * y[:, None]
    tests = permutation_tests(rows(scores, y, np.ones(n), strata), 0, [1, 3, 1, 2], random=random, most=600)
    assert [test.p < 0.05 for test in tests] == [True, False, False, True]
    assert (tests[3].column, tests[3].sign) == (1, 1)


def test_strata_in_which_the_truth_does_not_differ_say_nothing() -> None:
    assert comparable(np.array([0, 0, 1, 0, 1.0]), np.array([3, 3, 1, 1, 9])).tolist() == [False] * 2 + [True] * 2 + [
        False
    ]
    told = rows([1, 2, 3, 4], [0, 0, 1, 1], np.ones(4), [0, 0, 1, 1])
    assert permutation_tests(told, 0, [1], random=np.random.default_rng(0), most=100)[0].p == 1.0


def test_a_scale_of_the_weights_or_of_the_scores_changes_nothing() -> None:
    random = np.random.default_rng(6)
    s, y, w = random.normal(size=60), (random.random(60) < 0.3).astype(float), random.uniform(1, 9, 60)
    strata = np.arange(60) % 5
    a, b = (
        permutation_tests(rows(k * s + c, y, v * w, strata), 0, [1], random=np.random.default_rng(1), most=400)[0]
        for k, c, v in ((1, 0, 1), (1e-3, 50, 1e4))
    )
    assert a.t == pytest.approx(b.t)
    assert a.p == b.p


VARIABLES = 5


def sampled_null(random: np.random.Generator, shifts: int = 20) -> Rows:
    """Variables that go with nothing, on a line whose sampler keeps what is cracked *or* has much of the first."""
    n = 2_000
    shift = np.repeat(np.arange(shifts), n // shifts)
    x = random.normal(size=(n, VARIABLES))
    crack = random.random(n) < 0.1 * np.exp(0.5 * random.normal(size=shifts)[shift])
    weight = 3.0 * crack + np.exp(1.5 * x[:, 0]) + 0.2
    kept = priority_sample(weight.tolist(), (1 - random.random(n)).tolist(), 300)
    drawn = np.flatnonzero(kept.drawn)
    return rows(x[drawn], crack[drawn].astype(float), 1 / kept.p[drawn], shift[drawn])


def p_values(told: list[Rows]) -> np.ndarray:
    found = []
    for seed, one in enumerate(told):
        tests = permutation_tests(one, 0, [1] * VARIABLES, random=np.random.default_rng(seed), most=1_000)
        found += [test.p for test in tests]
    return np.array(found)


def test_p_values_are_uniform_under_informative_sampling_and_would_not_be_without_weights() -> None:
    random = np.random.default_rng(8)
    told = [sampled_null(random) for _ in range(30)]
    p = p_values(told)
    m = len(p)
    for level in (0.01, 0.05, 0.2):
        # Variables of one line share its truth: the number below a level spreads more than a binomial.
        assert np.mean(p <= level) < level + 4 * (2 * level * (1 - level) / m) ** 0.5, level
    assert stats.kstest(p, "uniform").statistic < 2.2 / m**0.5
    naive = [
        Rows(scores=one.scores, truth=one.truth, weight=np.ones(len(one.weight)), strata=one.strata) for one in told
    ]
    assert np.mean(p_values(naive)[::VARIABLES] <= 0.05) > 0.5


@pytest.mark.parametrize("devices", [1, 4])
def test_what_drifts_within_a_shift_is_seldom_found_in_what_drifts(devices: int) -> None:
    """Truth and scores both wander slowly, each by itself: by parts alone they would go together far too often.

    So would they if each of four devices, which wander together, counted as a wandering of its own.
    """
    random = np.random.default_rng(12)
    plain, careful = [], []
    for seed in range(40):
        shift = np.repeat(np.arange(8), 120)
        quarter = np.arange(960) // 30
        wander = random.normal(size=(6, 32))
        y = random.random(960) < 0.15 * np.exp(0.9 * wander[0])[quarter]
        strata = devices * shift + random.integers(0, devices, size=960)
        told = rows(wander[1:, quarter].T + 0.3 * random.normal(size=(960, 5)), y, np.ones(960), strata)
        for near, found in ((None, plain), (quarter, careful)):
            tests = permutation_tests(
                replace(told, near=near), 0, [1] * 5, random=np.random.default_rng(seed), most=200
            )
            found += [test.p <= 0.05 for test in tests]
    assert np.mean(plain) > 0.3
    assert np.mean(careful) < 0.12


def test_at_first_sight_is_the_same_statistic() -> None:
    told = sampled_null(np.random.default_rng(11))
    first = at_first_sight(told, 0, [1] * VARIABLES)
    tests = permutation_tests(told, 0, [1] * VARIABLES, random=np.random.default_rng(1), most=1_000)
    assert [f.t for f in first] == [t.t for t in tests]
    assert max(abs(f.p - t.p) for f, t in zip(first, tests, strict=True)) < 0.15


def test_between_shifts_a_shift_is_one_unit_and_places_stay_out_of_it() -> None:
    parts = rows([1, 3, 5, 5], [1, 0, 0, 0], [1, 3, 2, 2], [0, 0, 1, 1])
    shifts = between(parts, np.array([4, 4, 6, 6]), np.array([9, 9, 9, 9]), np.zeros(4, dtype=int))
    assert shifts.scores.tolist() == [[2.5], [5.0]]
    assert (shifts.truth - shifts.truth[1]).tolist() == [[0.25], [0.0]]
    assert shifts.weight.tolist() == [4.0, 4.0]
    assert shifts.strata.tolist() == [9, 9]
    # A device that cracks everything, and is used in the first shift alone, says nothing of shifts.
    devices = between(
        rows([1, 2, 3], [1, 0, 0], [1, 1, 1], [0, 0, 0]), np.array([0, 0, 1]), np.zeros(3), np.array([1, 0, 0])
    )
    assert devices.truth.tolist() == [[0.0], [0.0]]


def test_the_variance_within_shifts_tells_a_recipe_from_a_measurement() -> None:
    shift = np.repeat(np.arange(10), 20)
    recipe = np.random.default_rng(0).normal(size=10)[shift][:, None]
    assert share_within(recipe, shift) < 1e-9
    assert share_within(np.random.default_rng(0).normal(size=(200, 1)), shift) > 0.8


def test_a_stretch_is_parts_of_one_place_that_follow_each_other_with_one_value() -> None:
    at, place = np.array([3.0, 1.0, 2.0, 4.0, 5.0, 6.0]), np.array([0, 0, 0, 0, 1, 1])
    codes, _ = stretches(np.array([1, 0, 0, 0, 0, 0]), place, at)
    assert codes.tolist() == [1, 0, 0, 2, 3, 3]
    random = np.random.default_rng(0)
    crew, times, one = np.repeat(np.arange(20) % 4, 30), np.arange(600.0), np.zeros(600, dtype=int)
    assert stretches(crew, one, times)[1] > 0.9
    assert abs(stretches(random.permutation(crew), one, times)[1]) < 0.2
    rare = (random.random(600) < 0.05).astype(int)
    assert abs(stretches(rare, one, times)[1]) < 0.2  # neighbours are equal here too, but no more than any two parts
    assert stretches(np.arange(600), one, times)[1] == pytest.approx(0, abs=0.01)
