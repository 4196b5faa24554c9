"""How many labels are asked for; numbers refer to training/label_plan.py."""

from __future__ import annotations

import numpy as np
import pytest

from training.decision import Check, Finding, Question, Role
from training.gate_policy import GatePolicy
from training.label_plan import MOST_TIMES, LabelPlan, plan_labels
from training.paired import Difference

POLICY = GatePolicy()
COUNTS = {"ok": 80, "crack": 20}


def check(role: Role, value: float, error: float, *, margin: float = 0.1, asks: bool = True) -> Check:
    deviations = np.random.default_rng(0).normal(scale=error, size=4_000)
    difference = Difference(
        champion=0.5, challenger=0.5 + value, error=error, effective=20.0, n=100, floor=1e-6, deviations=deviations
    )
    question = Question(difference=difference, margin=margin, share=1.0, refuse=0.05) if asks else None
    return Check(
        name="a measure", where="field samples", role=role, finding=Finding.UNDECIDED, sentence="", question=question
    )


def plan(*checks: Check, policy: GatePolicy = POLICY) -> LabelPlan:
    return plan_labels(checks, policy, policy.error_budget(1), COUNTS, {"crack"})


def test_a_clear_gain_needs_fewer_labels_than_a_faint_one() -> None:
    clear, faint = plan(check(Role.BETTER, 0.2, 0.08)), plan(check(Role.BETTER, 0.12, 0.08))
    assert 0 < clear.more["crack"] < faint.more["crack"]
    assert min(clear.chance, faint.chance) >= POLICY.planned_chance


def test_an_equal_challenger_is_planned_to_be_refused_for_want_of_a_gain_worth_having() -> None:
    equal, ask = check(Role.BETTER, 0.0, 0.05), 20
    found = plan(equal)
    # Rule 3: when t * error + 1.645 * error is below the gain worth having, one of the two is shown.
    sure = ((2.75 + 1.66) * 0.05 / 0.1) ** 2
    assert 0 < found.more["crack"] <= ask * (sure - 1) * 1.2


def test_the_chance_that_is_planned_for_is_the_chance_that_comes() -> None:
    """Simulated anew: truth from what is known now, then the mean of as many labels as asked for."""
    value, error = 0.13, 0.07
    found = plan(check(Role.BETTER, value, error))
    times = 1 + found.more["crack"] / COUNTS["crack"]
    rng = np.random.default_rng(1)
    truth = value + rng.normal(scale=error, size=20_000)
    fresh = truth + rng.normal(scale=error / np.sqrt(times - 1), size=20_000)
    later = Difference(champion=0.5, challenger=0.5, error=error / np.sqrt(times), effective=20 * times, n=1)
    seen = value / times + fresh * (1 - 1 / times)
    alpha = POLICY.error_budget(1).better
    decided = (seen + later.lower(alpha) > 0) | (seen + later.upper(0.05) < 0.1)
    # Standard error of a share of 20,000: 0.002; the plan's own 4,000 draws: 0.005; its steps are 10 % of the labels.
    assert POLICY.planned_chance - 0.02 <= decided.mean() <= POLICY.planned_chance + 0.06


def test_an_open_golden_check_is_not_answered_by_field_labels() -> None:
    golden = check(Role.PROVE, -0.02, 0.05, asks=False)
    assert plan(golden).more == {}
    gain = check(Role.BETTER, 0.3, 0.08)
    assert plan(golden, gain).more == {}  # rule 4: it could only be refused, and does not look like it


def test_harm_that_can_be_proved_is_planned_without_a_gain_to_ask_for() -> None:
    policy = GatePolicy(require_better=False)
    found = plan(check(Role.PROVE, 0.02, 0.08, margin=0.08), policy=policy)
    assert found.more["crack"] > 0


def test_a_request_is_bounded() -> None:
    found = plan(check(Role.BETTER, 0.05, 0.9))
    assert found.more["crack"] == pytest.approx(20 * (MOST_TIMES - 1), abs=1)
    assert found.in_all == pytest.approx(100 * (MOST_TIMES - 1), abs=1)
