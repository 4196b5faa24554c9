"""The error budget of a series; numbers refer to training/error_budget.py."""

from __future__ import annotations

import pytest

from training.error_budget import PROVABLE_GAIN, budget_of, effective_needed, least_provable, spent
from training.gate_policy import GatePolicy


def test_an_endless_series_of_challengers_spends_its_error_budget_and_no_more() -> None:
    total = sum(spent(k) for k in range(100_000))
    assert 0.9999 < total < 1.0
    assert spent(0) > spent(1) > spent(10) > 0


def test_by_default_ten_challengers_that_are_no_better_are_promoted_with_five_percent_at_most() -> None:
    levels = [GatePolicy().error_budget(k) for k in range(10)]
    assert sum(max(level.better, level.harm) for level in levels) <= 0.05


def test_what_was_spent_before_and_now_adds_up_to_what_the_next_one_finds_spent() -> None:
    for k in range(5):
        now, following = (budget_of(j, harm_series=0.05, better_series=0.05) for j in (k, k + 1))
        assert now.before + now.share == pytest.approx(following.before)
    assert budget_of(3, harm_series=0.05, better_series=0.05, spends=False).share == 0


def test_later_challengers_need_more_effective_samples_to_be_looked_at() -> None:
    needed = [effective_needed(GatePolicy().error_budget(k).better / 2) for k in (0, 2, 5, 9)]
    assert needed == sorted(needed)
    assert 5 <= needed[0] < needed[-1] <= 15


def test_where_it_is_looked_at_a_gain_that_is_not_out_of_reach_can_be_proved() -> None:
    for alpha in (0.02, 0.005, 0.0005):
        m = effective_needed(alpha)
        assert least_provable(m, alpha) <= PROVABLE_GAIN < least_provable(m - 1, alpha)
