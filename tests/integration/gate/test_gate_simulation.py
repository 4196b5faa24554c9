"""The gate's error rates and power, as statistics: seeds fixed, tolerances from the binomial standard error."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tests.unit.gate.two_models import TWO, drawn, paired, risk, seen
from training.gate import Answer, Evidence, GatePolicy, judge

POLICY = GatePolicy(resamples=200)  # the error of a standard error from 200 resamples is 5 %
TRIALS = 80


def answers(
    before: float, after: float, n: int, *, previous: int = 0, golden_after: float | None = None
) -> Counter[Answer]:
    rng = np.random.default_rng(20)
    counts: Counter[Answer] = Counter()
    for _ in range(TRIALS):
        golden = None if golden_after is None else drawn(rng, 260, 3.0, golden_after)
        evidence = Evidence(classes=TWO, field=drawn(rng, n, before, after), golden=golden)
        counts[judge(evidence, POLICY, previous_challengers=previous).answer] += 1
    return counts


def at_most(rate: float) -> float:
    """The count that a true rate exceeds with chance 0.001 in these trials."""
    return TRIALS * rate + 3.1 * (TRIALS * rate * (1 - rate)) ** 0.5


@pytest.mark.parametrize(("previous", "n"), [(0, 80), (4, 160)])
def test_an_equal_challenger_is_promoted_no_oftener_than_its_part_of_the_error_budget(previous: int, n: int) -> None:
    promoted = answers(1.2, 1.2, n, previous=previous)[Answer.PROMOTE]
    assert promoted <= at_most(POLICY.better_alpha(previous))


def test_a_challenger_that_loses_just_the_margin_is_hardly_ever_promoted() -> None:
    # Average precision 0.75 against 0.67: the margin. Bound: the harm budget of the first challenger.
    assert answers(1.3, 0.96, 100)[Answer.PROMOTE] <= at_most(POLICY.harm_alpha(0))


def test_a_champion_that_fails_is_replaced_with_some_dozens_of_labels() -> None:
    # Average precision 0.50 against 0.77. Power 0.90, 0.95 and 0.99 by a larger simulation; 3.1 standard errors off.
    assert answers(0.4, 1.4, 40)[Answer.PROMOTE] >= 0.80 * TRIALS
    assert answers(0.4, 1.4, 100)[Answer.PROMOTE] >= 0.95 * TRIALS


def test_late_in_a_series_a_hundred_labels_still_show_a_large_gain() -> None:
    assert answers(0.4, 1.4, 100, previous=4)[Answer.PROMOTE] >= 0.92 * TRIALS


def test_a_challenger_that_knows_nothing_is_refused_and_never_promoted() -> None:
    counts = answers(1.4, 0.0, 100)
    assert counts[Answer.PROMOTE] == 0
    assert counts[Answer.REJECT] >= 0.95 * TRIALS


def test_forgetting_the_golden_set_is_never_promoted_whatever_the_field_gains() -> None:
    counts = answers(0.4, 1.4, 100, golden_after=1.5)
    assert counts[Answer.PROMOTE] == 0
    assert counts[Answer.REJECT] >= 0.9 * TRIALS


def test_a_challenger_that_has_only_learnt_the_base_rate_is_not_promoted() -> None:
    # The champion ranks a little and is badly calibrated; the challenger says the base rate with noise.
    rng = np.random.default_rng(3)
    counts: Counter[Answer] = Counter()
    for _ in range(40):
        labels = (rng.permutation(100) < 35).astype(np.int64)
        champion = risk(seen(labels, 1.0, rng) * 3 + 4)
        field = paired(labels, champion, risk(seen(labels, 0.0, rng) + rng.normal(size=100) * 0.2))
        counts[judge(Evidence(classes=TWO, field=field), POLICY).answer] += 1
    assert counts[Answer.PROMOTE] == 0
